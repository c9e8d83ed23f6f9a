/* graph.h: a forward (and backward) pass as a list of ops on values, built once per mode, planned once for the largest
 * number of rows, run for any. Knows shapes and gradients, no bytes: those are a backend's.
 *
 * A batch is rows: T token rows, each with a position, a sequence and an adapter. T sizes everything: a value has
 * n * T rows (n = 1; k for rows routed to k experts), or n_out rows (those that were asked for), or a fixed number. */
#ifndef WK_GRAPH_H
#define WK_GRAPH_H
#include "base/mem.h"
#include "base/status.h"

typedef int32_t wk_val;  /* index of a value; WK_NO_VAL: none */
enum { WK_NO_VAL = -1, WK_MAX_IN = 8, WK_MAX_OUT = 4 };

typedef enum wk_op {
    WK_OP_EMBED,          /* y[T,d] = E[token] * scale */
    WK_OP_RMS_NORM,       /* y = x / sqrt(mean(x^2) + eps) * w, over runs of attr.group columns; saves 1/rms */
    WK_OP_LINEAR,         /* y[R,o] = W[o,i] x[R,i] (+ bias) */
    WK_OP_LORA,           /* y = base + scale * B(A x), by each row's adapter (without x: its token's), or of A and B given */
    WK_OP_ROPE,           /* rotates pairs (j, j + rot_dim/2) of each head by position * freq[j] */
    WK_OP_ATTENTION,      /* stores k, v in the cache, then attends from q, of all rows or those wanted, to what it holds, and to
                           * sinks; saves log-sum-exp */
    WK_OP_GLU,            /* y = act(gate) * up */
    WK_OP_ADD,            /* y = a + b */
    WK_OP_SOFTCAP,        /* y = cap * tanh(x / cap) */
    WK_OP_SELECT_ROWS,    /* y[n_out,d] = x[out_row] */
    WK_OP_ROUTE,          /* ids[T,k], weights[T,k] of the k largest of softmax(logits[T,E]) */
    WK_OP_EXPERT_LINEAR,  /* y[kT,o] = W[id][o,i] x (+ bias[id]), x of row t (T rows) or of row t*k+j (kT rows) */
    WK_OP_COMBINE,        /* y[T,d] = sum_j weight[t,j] x[t*k+j], added in order of expert index */
    WK_OP_CROSS_ENTROPY,  /* loss[R,1] of labels under softmax(W x), or of W x + scale * B mid; logits are made and used tile by
                           * tile; saves log-sum-exp */
    WK_OP_DROPOUT,        /* y = x with elements left out, where the batch drops; its own gradient */
    WK_OP_GAIN,           /* y = x * w (+ bias) by columns: DoRA's magnitude while it is trained */
    /* gradients: ops without a gradient of their own */
    WK_OP_RMS_NORM_GRAD,
    WK_OP_LINEAR_INPUT_GRAD,
    WK_OP_LINEAR_WEIGHT_GRAD,
    WK_OP_LINEAR_BIAS_GRAD,
    WK_OP_EMBED_GRAD,
    WK_OP_GAIN_GRAD,
    WK_OP_LORA_GRAD,
    WK_OP_ATTENTION_GRAD,
    WK_OP_SINKS_GRAD,
    WK_OP_GLU_GRAD,
    WK_OP_SOFTCAP_GRAD,
    WK_OP_SELECT_ROWS_GRAD,
    WK_OP_CROSS_ENTROPY_GRAD,
    WK_OP_CROSS_ENTROPY_WEIGHT_GRAD,
    WK_OP_ROUTE_GRAD,
    WK_OP_EXPERT_INPUT_GRAD,
    WK_OP_EXPERT_WEIGHT_GRAD,
    WK_OP_EXPERT_BIAS_GRAD,
    WK_OP_COMBINE_GRAD,
    WK_OP_COUNT
} wk_op;

enum { WK_NO_LABEL = -100 };  /* a row that no loss is taken on, as PyTorch's cross_entropy has it */

typedef enum wk_rows { WK_ROWS_FIXED, WK_ROWS_T, WK_ROWS_OUT } wk_rows;
/* rows: n, n * T or n * n_out, by kind. ids: int32 instead of float32. */
typedef struct wk_shape { wk_rows kind; int64_t n, cols; bool ids; } wk_shape;

/* clipped: gpt-oss' variant of silu: both inputs clipped, see glu.c. */
typedef enum wk_act { WK_ACT_SILU, WK_ACT_GELU_TANH, WK_ACT_GELU, WK_ACT_SWIGLU_CLIPPED } wk_act;

/* What an op needs besides its inputs; each op reads its own fields, the rest are zero. */
typedef struct wk_attr {
    float eps;        /* rms_norm */
    float scale;      /* embed: factor; attention: of q.k; lora with A and B, cross_entropy with B: alpha / rank */
    float cap;        /* softcap; attention, cross_entropy: of the scores, 0 none */
    int group;        /* rms_norm: columns normalised together (head_dim for q and k norms), 0: all */
    int n_head, n_head_kv, head_dim;  /* rope (n_head), attention */
    int rot_dim;      /* rope: leading dimensions of a head that rotate */
    float mscale;     /* rope: factor on cos and sin (yarn), 1: none */
    bool inverse;     /* rope: turns back, which is its gradient */
    int window;       /* attention: keys visible, the row's own included; 0: all */
    int layer;        /* attention: which layer of the KV cache */
    bool causal;      /* attention */
    wk_act act;       /* glu */
    int n_used;       /* route: experts of a row */
    bool norm_topk;   /* route: chosen weights are divided by their sum */
    int slot;         /* lora, dropout: which of an adapter's terms */
    float dropout;    /* dropout, lora with A and B: chance that an element of x is left out, where the batch drops */
    float smoothing;  /* cross_entropy: share of the target that is spread evenly over all outputs */
    bool of_b;        /* cross_entropy_weight_grad: of B, not of W */
} wk_attr;

typedef enum wk_value_kind { WK_VALUE_INPUT, WK_VALUE_PARAM, WK_VALUE_RESULT } wk_value_kind;

struct wk_weight;  /* weight.h */
typedef struct wk_value {
    wk_value_kind kind;
    wk_shape shape;                /* of a param: rows n_mat * n_row */
    int32_t node;                  /* that makes it (RESULT), else -1 */
    const struct wk_weight *weight;/* PARAM */
    int64_t n_mat;                 /* PARAM: matrices stacked, 1 usually */
    bool keep;                     /* must be readable after a run: its memory is not reused */
    char name[40];                 /* "blk.3.attn_q", for dumps and errors */
} wk_value;

typedef struct wk_node {
    wk_op op;
    int n_in, n_out;               /* n_out counts saved outputs too, where they are kept */
    wk_val in[WK_MAX_IN];          /* WK_NO_VAL: optional input left out */
    wk_val out[WK_MAX_OUT];
    wk_attr attr;
} wk_node;

typedef struct wk_graph {
    wk_value *value; size_t n_value, cap_value;
    wk_node *node; size_t n_node, cap_node;   /* in an order that runs */
    bool saving;                   /* ops add the outputs that their gradients need */
    bool remaking;                 /* the way back makes cheap outputs again that it reads, so that they need not live until then */
    wick_status status;            /* first failure of a builder call: builders return WK_NO_VAL after it */
} wk_graph;

wick_status wk_graph_new(bool saving, wk_graph **out);
void wk_graph_free(wk_graph *g);

/* Builders. After a failure they do nothing, and g->status says what it was: check once at the end. */
wk_val wk_graph_input(wk_graph *g, wk_shape s, const char *name);
wk_val wk_graph_param(wk_graph *g, const struct wk_weight *w, const char *name);
/* Adds a node; its shape rule sets the outputs. Returns output 0. */
wk_val wk_graph_op(wk_graph *g, wk_op op, const wk_val *in, int n_in, const wk_attr *attr, const char *name);
/* Output i of the node that made v. */
wk_val wk_graph_out(const wk_graph *g, wk_val v, int i);
void wk_graph_keep(wk_graph *g, wk_val v);

/* Appends the backward pass: from seed = d loss / d out (a value shaped as out), grads[i] = d loss / d of[i].
 * of[] are values or float params; a value that out does not depend on gets WK_NO_VAL. Whoever is not on the way costs nothing.
 * Errors  WICK_E_UNSUPPORTED: an op on the way has no gradient (named). */
wick_status wk_graph_backward(wk_graph *g, wk_val out, wk_val seed, const wk_val *of, int n, wk_val *grads);
/* The same through a piece of the graph: the nodes from `first` on. What lies before them is taken as given, also where it depends
 * on of[]; grads are not kept. */
wick_status wk_graph_backward_from(wk_graph *g, size_t first, wk_val out, wk_val seed, const wk_val *of, int n, wk_val *grads);

/* Rows of a shape for T rows with n_out wanted. */
static inline int64_t wk_shape_rows(wk_shape s, int64_t T, int64_t n_out) {
    return s.kind == WK_ROWS_FIXED ? s.n : s.kind == WK_ROWS_T ? s.n * T : s.n * n_out;
}

/* Where values lie in one block of memory: offsets [n_value] in bytes for T = n_out = max_rows, -1 for params. Values whose
 * lives do not overlap share. elem: bytes of a number. *total: the block's size. Errors  WICK_E_MEMORY. */
wick_status wk_graph_layout(const wk_graph *g, int64_t max_rows, size_t elem, size_t align, int64_t *offset, size_t *total);

/* What an adapter does at one slot: y, which was W x, becomes gain * (y + scale * B(A x)); what y holds of a bias is left out of
 * that (DoRA, Liu et al. 2024, eq. 5) and comes back unchanged. Empty fields do nothing.
 * w in place of W: a head or an embedding that the adapter brings whole. At the embedding's slot, where x is a token, a and w have
 * a row for each token. */
typedef struct wk_lora_term {
    const struct wk_weight *a, *b;        /* [r, n_in] ([n_in, r] at the embedding), [n_out, r] */
    float scale;
    const struct wk_weight *gain, *bias;  /* vectors [n_out], or NULL: DoRA's m / |W + s B A|, and beside it the layer's own bias */
    const struct wk_weight *w;            /* [n_out, n_in] ([n_in, n_out]), or NULL */
} wk_lora_term;
/* An adapter as ops see it, and those stacked on it: each adds scale times the change that it makes to W x alone (a w counts
 * whole, of the first that has one, unless scale is 0). */
typedef struct wk_lora_set {
    const wk_lora_term *slot; int n_slot;
    float scale;
    const struct wk_lora_set *also;       /* the next of a stack, or NULL */
} wk_lora_set;

/* One pass's data. Sequences are indices of rows of the block table. Rows of a sequence come in order of position and together
 * are its newest; pages for them are already in the table. */
typedef struct wk_batch {
    int n_row;                    /* T */
    const int32_t *token;         /* [T] */
    const int32_t *pos;           /* [T], 0-based in the sequence */
    const int32_t *seq;           /* [T] */
    const int32_t *adapter;       /* [T] index into adapters, -1: none; NULL: none at all */
    const wk_lora_set *const *adapters; int n_adapter;
    int n_out;
    const int32_t *out_row;       /* [n_out] rows whose result is wanted, ascending */
    const int32_t *label;         /* [T] what each row must predict, -100: nothing; for cross_entropy */
    bool drop;                    /* training: dropout drops, by (drop_seed, drop_step) and an element's place */
    uint64_t drop_seed, drop_step;
    const int32_t *rope;          /* [T] which set of a rope's frequencies, where it has several; NULL: the first */
    const int32_t *page;          /* block table [n_seq][max_page]: page of positions p*page_len.. */
    int max_page, n_seq;
} wk_batch;

/* The batch's row that row i of a value of one row per token is: of all rows, or of those wanted. */
static inline int32_t wk_batch_row(const wk_batch *b, wk_rows kind, int64_t i) {
    return kind == WK_ROWS_OUT ? b->out_row[i] : (int32_t)i;
}

#endif
