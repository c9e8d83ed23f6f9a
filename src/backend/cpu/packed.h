/* packed.h: weights in memory: one layout described by columns, and the products with it.
 *
 * 16 output rows are interleaved. Columns of the layout: bits of a code (2 to 6, 8, in planes), group (inputs that share a
 * scale), scale (f16, or 4, 6 or 8 bits under an f16 per 256), zero (none, an integer, a minimum stored as the scale is), value
 * map (linear or 16 entries), input permutation (GPTQ act-order). F32, F16 and BF16 weights are interleaved as they are, F16 as
 * BF16 where that holds all of a matrix's values unchanged.
 * Packed bytes exceed the file's by at most 3 %; no scale is rounded.
 *
 * Every output element is summed in an order that the layout alone fixes: one row or a thousand, one thread or
 * many, give the same bits. Activations are rounded to int8 per row and per group of 32 inputs for quantised
 * weights (scale = max|x| / 127), to bfloat16 for bfloat16 ones, and stay float32 for other float weights. */
#ifndef WK_PACKED_H
#define WK_PACKED_H
#include "base/thread.h"
#include "tensor/tensor.h"

enum { WK_PACK_ROWS = 16 };  /* output rows interleaved */

typedef struct wk_packed wk_packed;

/* Packs matrix m (of a 3-D tensor [n_mat, n_out, n_in]; 0 for 2-D) in parallel (pool NULL: by the caller), letting go of the file's
 * pages as it goes (when release). row_from  [n_out] or NULL: packed row r is the tensor's row row_from[r]. Errors
 * WICK_E_UNSUPPORTED (a dtype without decoder), WICK_E_FORMAT (n_in no multiple of the block), WICK_E_MEMORY. */
wick_status wk_pack(wk_pool *pool, const wk_tensor *t, int64_t m, const int32_t *row_from, bool release, wk_packed **out);
/* Many weights at one go, threads taking pieces of all their bytes: small ones then keep all threads busy, each in pages of its
 * own. Begins as { .pool = ... }. What add() gives is laid out, and filled by run(); until then t's data must stay, and the
 * weight must not be freed unless the list is cut or freed first. row_from is copied. Errors as wk_pack()'s; run(): WICK_E_MEMORY.
 * cut() forgets all but the first n_job. */
typedef struct wk_packing {
    wk_pool *pool;
    struct wk_pack_job *job; size_t n_job, cap_job;
    int64_t n_bytes;  /* of the file, to be packed */
    _Atomic int64_t next;  /* the first of them that no thread has taken */
} wk_packing;
wick_status wk_packing_add(wk_packing *p, const wk_tensor *t, int64_t m, const int32_t *row_from, bool release, wk_packed **out);
wick_status wk_packing_run(wk_packing *p);
void wk_packing_cut(wk_packing *p, size_t n_job);
void wk_packing_free(wk_packing *p);
void wk_packed_free(wk_packed *w);
/* Memory for the next n_bytes of weights, or for some megabytes of them: got from the kernel, and so cleared, before they are there
 * to be packed; and no longer held for them. Errors  WICK_E_MEMORY. */
typedef struct wk_spare wk_spare;
wick_status wk_spare_new(size_t n_bytes, wk_spare **out);
void wk_spare_free(wk_spare *s);
int64_t wk_packed_n_out(const wk_packed *w);
int64_t wk_packed_n_in(const wk_packed *w);
size_t wk_packed_bytes(const wk_packed *w);

/* As wk_pack(): float32 rows [n_out, n_in], rounded to bfloat16. */
wick_status wk_pack_bf16(wk_pool *pool, const wk_tensor *t, wk_packed **out);
/* Are activations rounded for w? If not, wk_linear_plain() takes them as they lie. */
bool wk_packed_rounds(const wk_packed *w);

/* The left operand: activations prepared for w (rounded, permuted, or just laid out).
 * Weights with equal non-negative kinds and n_in share one prepared operand; kind -1 shares with none. */
int wk_act_kind(const wk_packed *w);
/* Bytes for n_row prepared rows. 64-byte aligned memory is needed. */
size_t wk_act_bytes(const wk_packed *w, int64_t n_row);
/* Prepares rows [r0, r1) of x [n_row, ldx] into act (room for n_row rows). Threads may do different rows at the same time. */
void wk_act_prepare(const wk_packed *w, const float *x, int64_t ldx, int64_t r0, int64_t r1, int64_t n_row, void *act);

/* y[r][o] = sum_i W[o][i] x[r][i] (+ bias[o]) for all n_row rows and output rows [o0, o1); o0 is a multiple of
 * WK_PACK_ROWS, o1 too or n_out. y [n_row, ldy]. bias [n_out] or NULL. Nothing outside y[0..n_row)[o0..o1) is written. */
void wk_linear(const wk_packed *w, const void *act, int64_t n_row, int64_t o0, int64_t o1, float *y, int64_t ldy,
               const float *bias);

/* Without a bias, from rows of x that were not prepared, for weights that activations are not rounded for. x [n_row, ldx]. */
void wk_linear_plain(const wk_packed *w, const float *x, int64_t ldx, int64_t n_row, int64_t o0, int64_t o1, float *y,
                     int64_t ldy);

/* wk_linear(), added to y, which the sum begins with; for any number of rows by the path for many. Prepared rows lie stride bytes
 * apart. */
void wk_linear_add(const wk_packed *w, const void *act, size_t stride, int64_t n_row, int64_t o0, int64_t o1, float *y,
                   int64_t ldy);
/* That, y [n_row, ldy] having room for outputs [o0, o1) alone. */
void wk_linear_add_part(const wk_packed *w, const void *act, size_t stride, int64_t n_row, int64_t o0, int64_t o1, float *y,
                        int64_t ldy);
/* wk_linear() likewise. */
void wk_linear_part(const wk_packed *w, const void *act, int64_t n_row, int64_t o0, int64_t o1, float *y, int64_t ldy,
                    const float *bias);

/* The product with float weights of few outputs, an adapter's A, as sums over parts of its inputs that threads can share out: how
 * many there are; parts [from, to) of one prepared row, y [to - from][ldy]; and n_row rows, stride bytes apart: each output the sum
 * of its parts in order, y [n_row][n_out]. */
int64_t wk_linear_n_part(int64_t n_in);
void wk_linear_parts(const wk_packed *w, const void *act, int64_t from, int64_t to, float *y, int64_t ldy);
void wk_linear_in_parts(const wk_packed *w, const void *act, size_t stride, int64_t n_row, float *y);

/* Row o as float32 [n_in] (embedding rows; the input order is the file's own). */
void wk_packed_row(const wk_packed *w, int64_t o, float *out);

/* Overwrites row o of a float32 or bfloat16 weight. */
void wk_packed_write(wk_packed *w, int64_t o, const float *in);

/* The left operand of gradients with respect to inputs. For codes and bfloat16 weights, g's rows are rounded to 8 bits as
 * activations are, and so are the weights (codes once more), with one scale for 32 outputs x 32 inputs. For other floats, matrices
 * of fewer than 32 inputs and permuted codes all stays float32. */
bool wk_grad_rounds(const wk_packed *w);
/* Bytes from one prepared row of n numbers to the next; at most 4 (n rounded up to 32). */
size_t wk_grad_stride(const wk_packed *w, int64_t n);
/* Prepares n_row rows of n numbers of g [n_row, ldg]. */
void wk_grad_prepare(const wk_packed *w, const float *g, int64_t ldg, int64_t n_row, int64_t n, void *out);
/* Rounds n_row rows of n numbers of x [n_row, ldx] to bfloat16, out [n_row, ld], zeros up to ld = n rounded up to 32. */
void wk_round_rows(const float *x, int64_t ldx, int64_t n_row, int64_t n, uint16_t *out);

/* dx[r][i] (+)= sum over o in [o0, o1) (o0 a multiple of 64) of g[r][o - o0] W[o][i] for input columns [i0, i1) (multiples of
 * 32, i1 or n_in). g: prepared rows, stride bytes apart; or float32 rows if not wk_grad_rounds(w). Rounded ones are summed as a
 * forward pass sums; others in an order that follows from W. dx [n_row, ldx]: rows and columns may be shared out in any
 * way. */
void wk_linear_input_grad(const wk_packed *w, const void *g, size_t stride, int64_t n_row, int64_t o0, int64_t o1, int64_t i0,
                          int64_t i1, bool add, float *dx, int64_t ldx);
/* With g of float32, for w of floats, an adapter's matrices above all, whose gradients are to keep all bits; or permuted codes. */
void wk_linear_input_grad_f32(const wk_packed *w, const float *g, int64_t ldg, int64_t n_row, int64_t o0, int64_t o1, int64_t i0,
                              int64_t i1, bool add, float *dx, int64_t ldx);

#endif
