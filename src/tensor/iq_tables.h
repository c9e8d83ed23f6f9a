/* iq_tables.h: the code books of the IQ1, IQ2 and IQ3 block types: what a block's grid indices stand for.
 * They are data that the file format fixes, taken from ggml-common.h of llama.cpp and repacked:
 *
 * MIT License. Copyright (c) 2023-2026 The ggml authors
 * Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
 * files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
 * modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
 * Software is furnished to do so, subject to the following conditions:
 * The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
 * WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
 * COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
 * ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */
#ifndef WK_IQ_TABLES_H
#define WK_IQ_TABLES_H
#include <stdint.h>

/* 8 elements of 2 bits, the first lowest: 0 1 2 stand for 8 25 43. */
extern const uint16_t wk_iq2xxs_grid[256], wk_iq2xs_grid[512], wk_iq2s_grid[1024];
/* 8 elements of 2 bits: 0 1 2 stand for -1 0 1. */
extern const uint16_t wk_iq1_grid[2048];
/* 4 elements of 3 bits: 0..7 stand for 4 12 20 28 36 44 52 62 (XXS), and for 1 3 5 7 9 11 13 15 (S). */
extern const uint16_t wk_iq3xxs_grid[256], wk_iq3s_grid[512];

#endif
