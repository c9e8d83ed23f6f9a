/* lab.h: small random graphs on a backend, for tests that hold one backend against another or against itself.
 * Everything follows from a seed: two labs with the same seed build the same weights, inputs and batches. */
#ifndef WK_LAB_H
#define WK_LAB_H
#include "backend/backend.h"

/* Counter-based: the i-th number of a stream does not depend on who asked before. */
typedef struct lab_rng { uint64_t seed, n; } lab_rng;
uint64_t lab_next(lab_rng *r);
int lab_pick(lab_rng *r, int lo, int hi);       /* lo..hi */
float lab_noise(lab_rng *r);                    /* -1..1, now and then tiny or large */
#define lab_one_of(r, ...) lab_choose(r, (const int[]){ __VA_ARGS__ }, (int)(sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int)))
int lab_choose(lab_rng *r, const int *from, int n);

enum { LAB_WEIGHTS = 96, LAB_INPUTS = 8 };
typedef struct lab {
    wk_backend *be;
    wk_graph *g;
    wk_plan *plan;
    wk_kv *kv;
    lab_rng rng;
    wk_weight *weight[LAB_WEIGHTS]; int n_weight;
    wk_val input[LAB_INPUTS]; int n_input;
} lab;

/* be becomes the lab's. */
void lab_new(lab *l, wk_backend *be, bool saving, uint64_t seed);
void lab_free(lab *l);
wk_val lab_input(lab *l, int n, int cols);                 /* a graph input of n * T rows */
/* Values of order 1 / sqrt(cols). GPTQ and AWQ: one matrix, rows in eights. */
wk_weight *lab_weight(lab *l, wk_dtype type, int n_mat, int rows, int cols);
wk_val lab_matrix(lab *l, wk_dtype type, int n_mat, int rows, int cols);
wk_weight *lab_vector_weight(lab *l, int n, float around);
wk_val lab_vector(lab *l, int n, float around);            /* values about `around` */
wk_val lab_op(lab *l, wk_op op, const wk_attr *a, int n_in, ...);
#define LAB_OP(l, op, a, ...) lab_op(l, op, a, (int)(sizeof((wk_val[]){ __VA_ARGS__ }) / sizeof(wk_val)), __VA_ARGS__)
void lab_keep_all(lab *l);
void lab_plan(lab *l, int max_rows);
void lab_kv(lab *l, int n_layer, int n_head_kv, int head_dim, int n_page, wk_dtype type);
/* Fills the inputs' rows for T rows from r. */
void lab_fill(lab *l, lab_rng r, int T);

/* Sequences with room to grow: a batch takes next rows of them. */
enum { LAB_SEQS = 6, LAB_PAGES = 8, LAB_ROWS = 256 };
typedef struct lab_rows {
    int len[LAB_SEQS], n_seq;
    int32_t page[LAB_SEQS * LAB_PAGES];
    int32_t token[LAB_ROWS], pos[LAB_ROWS], seq[LAB_ROWS], adapter[LAB_ROWS], out[LAB_ROWS];
    wk_batch batch;
} lab_rows;
void lab_rows_new(lab_rows *b, lab_rng *r, int n_seq);      /* pages in random order: n_seq * LAB_PAGES of them */
void lab_rows_add(lab_rows *b, int seq, int32_t token);     /* the sequence's next position */
void lab_rows_clear(lab_rows *b);                           /* for the next batch; sequences stay */

#endif
