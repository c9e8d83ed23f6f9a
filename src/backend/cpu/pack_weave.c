/* pack_weave.c: weaves 16 rows into a block's planes: [16 rows][n] items become [n][16].
 * Types whose codes need no arithmetic, or little, go straight from the file's rows, four rows' 16 bytes at a time; what their bits
 * need is done to woven words, so that one instruction serves four rows. The others come as parts (pack_take.c).
 * Layouts: GGUF specification, "ggml_type"; ours: linear.h. Load: every byte of a model once, beside the zeroing of the memory that
 * it goes to, so half a cycle a byte is what there is time for. */
#include "backend/cpu/pack.h"
#include <string.h>

typedef const uint8_t *const rows16[16];
typedef uint32_t words4 __attribute__((vector_size(16)));
typedef uint16_t halves8 __attribute__((vector_size(16)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));

static inline words4 load16(const uint8_t *p) {
    words4 v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store16(uint8_t *p, words4 v) { memcpy(p, &v, sizeof v); }

/* ---- turning ---- */

/* out[k] becomes word k of the four. */
static inline void turn4(words4 a, words4 b, words4 c, words4 d, words4 out[4]) {
    words4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    words4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
}

/* Words 0 to 3 after byte `at` of rows r to r + 3: out[k] is word k of the four rows. */
static inline void turn_rows(rows16 row, int r, int64_t at, words4 out[4]) {
    turn4(load16(row[r] + at), load16(row[r + 1] + at), load16(row[r + 2] + at), load16(row[r + 3] + at), out);
}

static inline halves8 even_halves(words4 a, words4 b) {
    return __builtin_shufflevector((halves8)a, (halves8)b, 0, 2, 4, 6, 8, 10, 12, 14);
}
static inline halves8 odd_halves(words4 a, words4 b) {
    return __builtin_shufflevector((halves8)a, (halves8)b, 1, 3, 5, 7, 9, 11, 13, 15);
}

/* A word of each of 16 rows to the rows' lower halves, or the upper ones. */
static inline void store_lower(uint8_t *dst, const words4 v[4]) {
    store16(dst, (words4)even_halves(v[0], v[1]));
    store16(dst + 16, (words4)even_halves(v[2], v[3]));
}
static inline void store_upper(uint8_t *dst, const words4 v[4]) {
    store16(dst, (words4)odd_halves(v[0], v[1]));
    store16(dst + 16, (words4)odd_halves(v[2], v[3]));
}

static inline bytes16 even_bytes(words4 a, words4 b) {
    return __builtin_shufflevector((bytes16)a, (bytes16)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
static inline bytes16 odd_bytes(words4 a, words4 b) {
    return __builtin_shufflevector((bytes16)a, (bytes16)b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

/* A word of each of 16 rows to [4][16] bytes. */
static inline void store_bytes(uint8_t *dst, const words4 v[4]) {
    words4 even = (words4)even_bytes(v[0], v[1]), even2 = (words4)even_bytes(v[2], v[3]);
    words4 odd = (words4)odd_bytes(v[0], v[1]), odd2 = (words4)odd_bytes(v[2], v[3]);
    store16(dst, (words4)even_bytes(even, even2));
    store16(dst + 16, (words4)even_bytes(odd, odd2));
    store16(dst + 32, (words4)odd_bytes(even, even2));
    store16(dst + 48, (words4)odd_bytes(odd, odd2));
}

/* The word after byte `at` of rows r to r + 3. */
static inline words4 gather4(rows16 row, int r, int64_t at) {
    return (words4){ wk_get_u32(row[r] + at), wk_get_u32(row[r + 1] + at), wk_get_u32(row[r + 2] + at),
                     wk_get_u32(row[r + 3] + at) };
}

/* Where a's bits above s and b's bits below meet (m: of b), they change places. */
static inline void swap(words4 *a, words4 *b, int s, uint32_t m) {
    words4 t = ((*a >> s) ^ *b) & m;
    *b ^= t;
    *a ^= t << s;
}
static inline words4 swap_within(words4 x, int s, uint32_t m) {
    words4 t = ((x >> s) ^ x) & m;
    return x ^ t ^ (t << s);
}

/* 32 bits, input i's at bit i, to bit i / 4 of byte i % 4: the number's five bits turned by two, in four exchanges. */
static inline words4 turn_bits(words4 x) {
    x = swap_within(x, 1, 0x22222222);
    x = swap_within(x, 3, 0x0a0a0a0a);
    x = swap_within(x, 6, 0x00cc00cc);
    return swap_within(x, 12, 0x0000f0f0);
}

/* Four words whose bytes hold four pairs of bits: word k's bytes become pair k of the four. */
static inline void turn_pairs(words4 v[4]) {
    swap(&v[0], &v[2], 4, 0x0f0f0f0f);
    swap(&v[1], &v[3], 4, 0x0f0f0f0f);
    swap(&v[0], &v[1], 2, 0x33333333);
    swap(&v[2], &v[3], 2, 0x33333333);
}

/* Eight words: word g's bytes become bit g of the eight. */
static inline void turn_eight(words4 v[8]) {
    for (int k = 0; k < 4; k++) swap(&v[k], &v[k + 4], 4, 0x0f0f0f0f);
    for (int k = 0; k < 2; k++) swap(&v[k], &v[k + 2], 2, 0x33333333), swap(&v[k + 4], &v[k + 6], 2, 0x33333333);
    for (int k = 0; k < 8; k += 2) swap(&v[k], &v[k + 1], 1, 0x55555555);
}

/* ---- items as they are, from byte `at` of each row ---- */

static void weave_words(uint8_t *dst, rows16 row, int64_t at, int n) {
    int j = 0;
    for (; j + 4 <= n; j += 4)
        for (int r = 0; r < 16; r += 4) {
            words4 v[4];
            turn_rows(row, r, at + 4 * j, v);
            for (int k = 0; k < 4; k++) store16(dst + 64 * (j + k) + 4 * r, v[k]);
        }
    for (; j < n; j++)
        for (int r = 0; r < 16; r++) memcpy(dst + 64 * j + 4 * r, row[r] + at + 4 * j, 4);
}

/* As words of two, then parted. */
static void weave_halves(uint8_t *dst, rows16 row, int64_t at, int n) {
    int j = 0;
    for (; j + 8 <= n; j += 8)
        for (int r = 0; r < 16; r += 8) {
            words4 v[4], u[4];
            turn_rows(row, r, at + 2 * j, v);
            turn_rows(row, r + 4, at + 2 * j, u);
            for (int k = 0; k < 4; k++) {
                store16(dst + 32 * (j + 2 * k) + 2 * r, (words4)even_halves(v[k], u[k]));
                store16(dst + 32 * (j + 2 * k + 1) + 2 * r, (words4)odd_halves(v[k], u[k]));
            }
        }
    for (; j < n; j++)
        for (int r = 0; r < 16; r++) memcpy(dst + 32 * j + 2 * r, row[r] + at + 2 * j, 2);
}

static void weave_bytes(uint8_t *dst, rows16 row, int64_t at, int n) {
    int64_t j = at, end = at + n;
    for (; j + 4 <= end; j += 4, dst += 64) {
        words4 v[4];
        for (int r = 0; r < 4; r++) v[r] = gather4(row, 4 * r, j);
        store_bytes(dst, v);
    }
    for (; j < end; j++)
        for (int r = 0; r < 16; r++) *dst++ = row[r][j];
}

static void weave(uint8_t *dst, rows16 row, int64_t at, int n, int size) {
    if (size == 4) weave_words(dst, row, at, n);
    else if (size == 2) weave_halves(dst, row, at, n);
    else weave_bytes(dst, row, at, n);
}

/* ---- from parts ---- */

static void point(const wk_part part[16], size_t field, const uint8_t *row[16]) {
    for (int r = 0; r < 16; r++) row[r] = (const uint8_t *)&part[r] + field;
}

/* The codes' plane, as rows of 16 items lie. */
static void weave_plain(wk_packed *w, int64_t at, int n, rows16 row) {
    switch (w->l.bits) {
    case 32: weave_words(w->code + at * 64, row, 0, n); break;
    case 16:
        if (w->l.bf16) weave_words(w->code + at * 32, row, 0, n / 2);
        else weave_halves(w->code + at * 32, row, 0, n);
        break;
    case 8:
        if (w->l.eight) weave_bytes(w->code + at * 16, row, 0, n);
        else weave_words(w->code + at * 16, row, 0, n / 4);
        break;
    default: weave_words(w->code + at / WK_CHUNK * wk_code_bytes(&w->l), row, 0, n / WK_CHUNK * wk_code_bytes(&w->l) / 64);
    }
}

void wk_weave_codes(wk_packed *w, int64_t block, int64_t span, const wk_part part[16]) {
    int64_t left = w->n_held - span * WK_SUPER, at = block * w->n_held + span * WK_SUPER;
    int n = (int)(left < WK_SUPER ? left : WK_SUPER);
    const uint8_t *row[16];
    point(part, offsetof(wk_part, code), row);
    weave_plain(w, at, n, row);
}

void wk_weave_scales(wk_packed *w, int64_t block, int64_t span, const wk_part part[16]) {
    const wk_layout *l = &w->l;
    int64_t g = span * WK_SUPER / l->group, left = w->n_group - g, at = block * w->n_group + g;
    int n = (int)(left < WK_SUPER / l->group ? left : WK_SUPER / l->group), size = wk_scale_bytes(l);
    const uint8_t *row[16];
    point(part, offsetof(wk_part, scale), row);
    weave(w->scale + at * 16 * size, row, 0, n, size);
    point(part, offsetof(wk_part, super), row);
    if (w->super) weave_halves(w->super + (block * w->n_super + span) * 32, row, 0, 1);
}

/* ---- straight from the file ---- */

void wk_weave_floats(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    weave_plain(w, block * w->n_held + span * WK_SUPER, n, row);
}

/* Woven as words of two, and turned into bfloat16 before it has left the first cache, whole lines at a time. */
bool wk_weave_narrow(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    _Alignas(64) uint8_t woven[WK_SUPER * 32];
    weave_words(woven, row, 0, n / 2);
    return wk_narrow(woven, 8 * n, w->code + (block * w->n_held + span * WK_SUPER) * 32);
}

/* Float32, rounded likewise. */
void wk_weave_rounded(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    _Alignas(64) uint8_t woven[WK_SUPER * 64];
    weave_words(woven, row, 0, n);
    wk_round_pairs(woven, n / 2, w->code + (block * w->n_held + span * WK_SUPER) * 32);
}

/* A file's block of 32: its bytes, and where in it are a minimum and fifth bits (0: none) and codes. An f16 scale comes first. */
typedef struct block32 { int bytes, min, high, code; } block32;

static inline __attribute__((always_inline)) void weave_32(wk_packed *w, int64_t block, int64_t span, int n, rows16 row,
                                                          block32 b) {
    int64_t to = block * w->n_chunk + span * (WK_SUPER / WK_CHUNK);
    int size = b.bytes - b.code;  /* 16 or 32 of codes */
    uint32_t flip = size == 32 ? 0x80808080 : 0;  /* of int8; ours are 128 more */
    uint8_t *code = w->code + to * 16 * size, *high = b.high ? w->high + to * 64 : NULL, *scale = w->scale + to * 32,
            *zero = b.min ? w->zero + to * 32 : NULL;
    for (int64_t at = 0; at < n / WK_CHUNK * b.bytes; at += b.bytes, code += 16 * size, scale += 32) {
        words4 head[4];
        for (int r = 0; r < 4; r++) {
            words4 v[4];
            for (int j = 0; j < size / 4; j += 4) {
                turn_rows(row, 4 * r, at + b.code + 4 * j, v);
                for (int k = 0; k < 4; k++)
                    store16(code + 64 * (j + k) + 16 * r, v[k] ^ flip);
            }
            head[r] = gather4(row, 4 * r, at);  /* scale, and what follows */
            if (b.high) store16(high + 16 * r, turn_bits(gather4(row, 4 * r, at + b.high)));
        }
        store_lower(scale, head);
        if (b.min) store_upper(zero, head), zero += 32;
        if (b.high) high += 64;
    }
}
#define WEAVE_32(name, ...) void name(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) { \
    weave_32(w, block, span, n, row, (block32){ __VA_ARGS__ }); \
}
WEAVE_32(wk_weave_q4_0, .bytes = 18, .code = 2)  /* and IQ4_NL */
WEAVE_32(wk_weave_q4_1, .bytes = 20, .min = 2, .code = 4)
WEAVE_32(wk_weave_q5_0, .bytes = 22, .high = 2, .code = 6)
WEAVE_32(wk_weave_q5_1, .bytes = 24, .min = 2, .high = 4, .code = 8)
WEAVE_32(wk_weave_q8_0, .bytes = 34, .code = 2)

/* K-quants: blocks of 256 inputs, a span. Two chunks lie in the low and the high nibbles of 32 bytes, ours each in nibbles of 16: a
 * chunk's four woven words. turned[1] is the second chunk's. */
static inline void turn_nibbles(rows16 row, int r, int64_t at, words4 turned[2][4]) {
    words4 low[4], high[4];
    for (int i = 0; i < 4; i++) {
        words4 a = load16(row[r + i] + at), b = load16(row[r + i] + at + 16);
        low[i] = (a & 0x0f0f0f0fu) | (b & 0x0f0f0f0fu) << 4;
        high[i] = (a >> 4 & 0x0f0f0f0fu) | (b & 0xf0f0f0f0u);
    }
    turn4(low[0], low[1], low[2], low[3], turned[0]);
    turn4(high[0], high[1], high[2], high[3], turned[1]);
}

static inline void store_nibbles(uint8_t *dst, rows16 row, int r, int64_t at, int second) {
    words4 turned[2][4];
    turn_nibbles(row, r, at, turned);
    for (int k = 0; k < 4; k++) {
        store16(dst + 64 * k + 4 * r, turned[0][k]);
        store16(dst + 256 * second + 64 * k + 4 * r, turned[1][k]);
    }
}

/* 32 bytes of fifth or third bits, bit g of byte j input 32 g + j's: byte j's inputs 4 k + j are bit k of ours. */
static inline void store_bits(uint8_t *dst, rows16 row, int r, int64_t at) {
    words4 v[8];
    turn_rows(row, r, at, v);
    turn_rows(row, r, at + 16, v + 4);
    turn_eight(v);
    for (int g = 0; g < 8; g++) store16(dst + 64 * g + 4 * r, v[g]);
}

/* 32 bytes of pairs, at bit 2 k of byte j input 32 k + j's: chunk k's are bytes 8 i + j at bit 2 i of ours. */
static inline void store_pairs(uint8_t *dst, rows16 row, int r, int64_t at) {
    words4 v[8];
    turn_rows(row, r, at, v);
    turn_rows(row, r, at + 16, v + 4);
    for (int m = 0; m < 2; m++) {
        words4 u[4] = { v[m], v[m + 2], v[m + 4], v[m + 6] };
        turn_pairs(u);
        for (int k = 0; k < 4; k++) store16(dst + 128 * k + 64 * m + 4 * r, u[k]);
    }
}

/* f16 d, f16 dmin, 8 scales and 8 minima of 6 bits in 12 bytes: groups 0..3 whole in bytes 0..3 and 4..7, groups 4..7 low nibbles
 * in bytes 8..11, top bits above the first eight. */
static inline void weave_scales_6(wk_packed *w, int64_t at, rows16 row) {
    words4 super[4], scale[2][4], min[2][4];
    for (int r = 0; r < 4; r++) {
        words4 v[4];
        turn_rows(row, 4 * r, 0, v);
        super[r] = v[0];
        scale[0][r] = v[1] & 0x3f3f3f3fu;
        min[0][r] = v[2] & 0x3f3f3f3fu;
        scale[1][r] = (v[3] & 0x0f0f0f0fu) | (v[1] >> 2 & 0x30303030u);
        min[1][r] = (v[3] >> 4 & 0x0f0f0f0fu) | (v[2] >> 2 & 0x30303030u);
    }
    store_lower(w->super + at * 32, super);
    store_upper(w->super_min + at * 32, super);
    for (int k = 0; k < 2; k++) {
        store_bytes(w->scale + at * 128 + 64 * k, scale[k]);
        store_bytes(w->zero + at * 128 + 64 * k, min[k]);
    }
}

/* f16 d, f16 dmin, 12 bytes of scales, 128 of codes */
void wk_weave_q4_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    (void)n;
    weave_scales_6(w, at, row);
    for (int k = 0; k < 4; k++)
        for (int r = 0; r < 16; r += 4) store_nibbles(w->code + at * 2048 + 512 * k, row, r, 16 + 32 * k, 1);
}

/* As Q4_K with 32 bytes of fifth bits before the codes. */
void wk_weave_q5_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    (void)n;
    weave_scales_6(w, at, row);
    for (int r = 0; r < 16; r += 4) store_bits(w->high + at * 512, row, r, 16);
    for (int k = 0; k < 4; k++)
        for (int r = 0; r < 16; r += 4) store_nibbles(w->code + at * 2048 + 512 * k, row, r, 48 + 32 * k, 1);
}

/* 128 bytes of low nibbles, 64 of top 2 bits, 16 int8 scales, f16 d. In each half of 128: nibbles of byte j are inputs j and
 * 64 + j; top bits of byte j belong to inputs 32 k + j, at bit 2 k. */
void wk_weave_q6_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    (void)n;
    weave_bytes(w->scale + at * 256, row, 192, 16);
    weave_halves(w->super + at * 32, row, 208, 1);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < 16; r += 4) {
            for (int k = 0; k < 2; k++) store_nibbles(w->code + at * 2048 + 1024 * h + 256 * k, row, r, 64 * h + 32 * k, 2);
            store_pairs(w->high + at * 1024 + 512 * h, row, r, 128 + 32 * h);
        }
}

/* 16 bytes of scales, low, and minima, high, 64 of codes as Q3_K's pairs lie, f16 d, f16 dmin */
void wk_weave_q2_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    (void)n;
    weave_bytes(w->scale + at * 256, row, 0, 16);
    weave_halves(w->super + at * 32, row, 80, 1);
    weave_halves(w->super_min + at * 32, row, 82, 1);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < 16; r += 4) store_pairs(w->code + at * 1024 + 512 * h, row, r, 16 + 32 * h);
}

/* 32 bytes of third bits (set: 4 more), 64 of 2-bit codes (in each half of 128, byte j has inputs 32 k + j at bit 2 k), 12 of
 * scales, which ours lie as, f16 d. Codes are 4 too many. */
void wk_weave_q3_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    (void)n;
    weave_bytes(w->scale + at * 16 * WK_SIX_BYTES, row, 96, WK_SIX_BYTES);
    weave_halves(w->super + at * 32, row, 108, 1);
    for (int r = 0; r < 16; r += 4) {
        store_bits(w->high + at * 512, row, r, 0);
        for (int h = 0; h < 2; h++) store_pairs(w->code + at * 1024 + 512 * h, row, r, 32 + 32 * h);
    }
}
