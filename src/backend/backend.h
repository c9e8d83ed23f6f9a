/* backend.h: what a backend must fill in. Nothing above it touches tensor bytes except through these calls.
 * A backend is handed a whole graph, plans it, and runs the plan. */
#ifndef WK_BACKEND_H
#define WK_BACKEND_H
#include "base/thread.h"
#include "graph/graph.h"
#include "graph/weight.h"
#include "tensor/tensor.h"

typedef struct wk_backend wk_backend;

/* Memory that a backend holds ready. */
typedef struct wk_spare wk_spare;

/* How to make a weight. */
typedef struct wk_weight_source {
    const wk_tensor *const *tensor; int n_tensor;  /* one tensor (2-D, 3-D stacked, or a vector), or n 2-D ones that are stacked,
                                                    * or n vectors of one length, one after the other */
    const int32_t *row_from;   /* [n_row]: row r is the tensor's row row_from[r]; of stacked matrices, row r of each is that
                                * matrix's row row_from[r]; of a vector, [its length], elements; NULL: as they are */
    float add;                 /* added to every element of a vector (Gemma keeps norm weights less one) */
    bool vector;               /* norms, biases, frequencies: kept as float32 */
    bool release;              /* the file's pages may go */
    bool bf16;                 /* one float32 matrix, held rounded to bfloat16 */
    bool alone;                /* made by the calling thread, which may be one of the pool's in a run: many small weights are
                                * shared out whole */
    bool later;                /* may be made ready with others, by weights_ready(): until then the tensors' data stays, and the
                                * weight is not read, nor freed before the last call of weights_ready() */
} wk_weight_source;

/* The KV cache's memory: pages of page_len positions, for all layers. */
typedef struct wk_kv_shape { int n_layer, n_head_kv, head_dim, n_page, page_len; wk_dtype dtype; } wk_kv_shape;
typedef struct wk_kv { wk_kv_shape shape; size_t n_bytes; } wk_kv;

/* A graph made ready for at most max_rows rows; backends begin their structs with it. */
typedef struct wk_plan { const wk_graph *graph; int max_rows; size_t n_bytes; wk_backend *backend; } wk_plan;

enum { WK_PAGE_LEN = 64 };  /* positions of a KV page; attention's key blocks do not straddle pages */

typedef struct wk_backend_ops {
    const char *name;
    /* All needed, unless marked optional. */
    void (*free)(wk_backend *be);
    wick_status (*weight_new)(wk_backend *be, const wk_weight_source *s, wk_weight **out);
    /* Optional: finishes all weights that were made with `later`. NULL: they are ready at once. */
    wick_status (*weights_ready)(wk_backend *be);
    void (*weight_free)(wk_backend *be, wk_weight *w);
    /* Optional, both: memory for weights of n_bytes that are to come, made ready by a thread that has nothing else to do; and an
     * end to holding what they do not use of it. */
    wick_status (*spare_new)(wk_backend *be, size_t n_bytes, wk_spare **out);
    void (*spare_free)(wk_backend *be, wk_spare *spare);
    /* Overwrites rows [row, row + n) of a float32 or bfloat16 weight (rows counted over its stacked matrices; a vector is one
     * row) with in [n, n_col], as graphs see them: wk_weight_source's add and row_from do not act again. Plans keep seeing the
     * weight. Not while a plan runs. Errors  WICK_E_UNSUPPORTED: the weight is of another type. */
    wick_status (*weight_write)(wk_backend *be, wk_weight *w, int64_t row, int64_t n, const float *in);
    /* Are activations rounded for a weight's products: to int8, or to bfloat16? Of one that is ready. */
    bool (*weight_rounds)(wk_backend *be, const wk_weight *w);
    /* Row r of a weight, counted over its stacked matrices, or all of a vector (r = 0), as float32: out [n_col]. */
    void (*weight_row)(wk_backend *be, const wk_weight *w, int64_t r, float *out);
    wick_status (*kv_new)(wk_backend *be, const wk_kv_shape *s, wk_kv **out);
    void (*kv_free)(wk_backend *be, wk_kv *kv);
    /* Errors  WICK_E_UNSUPPORTED: an op that this backend does not have (named), WICK_E_MEMORY. The graph must outlive the plan. */
    wick_status (*plan_new)(wk_backend *be, const wk_graph *g, int max_rows, wk_plan **out);
    void (*plan_free)(wk_plan *p);
    /* Runs every node for the batch. kv may be NULL for graphs without attention. No allocation. */
    wick_status (*run)(wk_plan *p, const wk_batch *b, wk_kv *kv);
    /* Rows [row, row + n) of a value that is kept, after a run: out [n, cols]. */
    void (*read)(wk_plan *p, wk_val v, int64_t row, int64_t n, float *out);
    /* Sets rows of a graph input before a run. */
    void (*write)(wk_plan *p, wk_val v, int64_t row, int64_t n, const float *in);
    /* Optional: a value's rows in the backend's own memory, valid until the next run; saves a copy of logits. NULL: use read. */
    const float *(*view)(wk_plan *p, wk_val v, int64_t row);
} wk_backend_ops;

struct wk_backend {
    const wk_backend_ops *ops;
    wk_pool *pool;             /* owned */
};

/* Runs the ops' own kernels in double. round: as the other backends round (activations to int8, keys and values to the cache's
 * type); finite differences turn it off. */
wick_status wk_reference_new(bool round, wk_backend **out);
/* CPU kernels chosen at run time. n_threads as wk_pool_new(). */
wick_status wk_cpu_new(int n_threads, wk_backend **out);

#endif
