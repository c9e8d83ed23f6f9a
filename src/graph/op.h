/* op.h: an op is one entry: shape rule, reference kernel, saved outputs, gradient rule. One file per op in graph/ops/. */
#ifndef WK_OP_H
#define WK_OP_H
#include "graph/graph.h"
#include "tensor/dtype.h"

/* A value as reference kernels see it: double throughout, so that finite differences are sharp. */
typedef struct wk_ref_array {
    double *f;         /* [rows, cols] */
    int32_t *i;        /* instead of f for ids */
    int64_t rows, cols;
    int64_t n_mat;     /* params: matrices stacked (rows / n_mat each) */
    wk_dtype dtype;    /* params: the file's type (a quantised one rounds activations); else WK_F32 */
    const bool *bf16;  /* params: [n_mat] bfloat16 holds all values of a matrix of BF16 or F16: so it does activations */
} wk_ref_array;

/* A wk_lora_term and the scale of its set; arrays without f are not there. also: the next of a stack. */
typedef struct wk_ref_lora { wk_ref_array a, b, gain, bias, w; double scale, share; const struct wk_ref_lora *also; } wk_ref_lora;

/* Everything that a reference kernel may look at. */
typedef struct wk_ref_call {
    const wk_node *node;
    const wk_ref_array *in;      /* [n_in]; f and i NULL where the input was left out */
    wk_ref_array *out;           /* [n_out]; f and i NULL where a saved output was not asked for */
    const wk_batch *batch;
    const wk_ref_lora *const *lora;  /* [n_adapter], this node's slot, NULL: nothing there; NULL: no adapters */
    double *k, *v;               /* this node's layer of the cache: [page][page_len][n_head_kv * head_dim] */
    int page_len;
    wk_dtype kv_type;
    wk_rows rows;                /* of output 0 */
    bool round;                  /* round activations to int8 before quantised weights, to bfloat16 before such; keys and values to
                                    kv_type */
} wk_ref_call;

typedef struct wk_op_info {
    const char *name;
    int n_in, n_optional;        /* inputs, of which the last n_optional may be WK_NO_VAL */
    int n_out, n_save;           /* outputs, and further ones kept for the gradient */
    bool in_place;               /* output 0 may lie where input 0 did, if nobody reads that later */
    bool cheap;                  /* a pass over its inputs: output 0 may be made again for a gradient, to the same bits */
    unsigned grad_reads;         /* bits of inputs whose values the gradient rule reads and that may be remade */
    double tol;                  /* backends against the reference, relative */
    /* Checks the inputs' shapes and sets out[0..n_out + n_save). Errors  WICK_E_ARG through wk_op_misfit(). */
    wick_status (*shape)(const wk_graph *g, const wk_node *n, wk_shape *out);
    void (*reference)(const wk_ref_call *c);
    /* Adds nodes that make d loss / d in[i] for every i with want[i], from g_out[i] (WK_NO_VAL: zero). NULL: no gradient. */
    wick_status (*grad)(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in);
} wk_op_info;

extern const wk_op_info *const wk_ops[WK_OP_COUNT];

/* The shape of a node's input; a zero shape where it was left out. */
wk_shape wk_in_shape(const wk_graph *g, const wk_node *n, int i);
wick_status wk_op_misfit(const wk_node *n, const char *fmt, ...) WK_PRINTF(2, 3);

/* What kernels round activations to before matrix m of w. */
typedef enum wk_rounding { WK_ROUND_NONE, WK_ROUND_INT8, WK_ROUND_BF16 } wk_rounding;
wk_rounding wk_rounding_of(const wk_ref_call *c, const wk_ref_array *w, int64_t m);
/* Rounds n numbers to int8 by groups of 32 with scale max|x| / 127 (the last group may be short), in place: what kernels on
 * quantised weights do to activations. */
void wk_round_act(double *x, int64_t n);
/* Rounds a head's n numbers to the cache's type, in place. */
void wk_round_kv(double *x, int64_t n, wk_dtype type);

#endif
