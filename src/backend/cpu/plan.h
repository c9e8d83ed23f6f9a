/* plan.h: a graph as the CPU backend runs it: a list of steps over one block of memory.
 *
 * Every thread walks the whole list and does its share of each step: rows, heads or columns, never the inner dimension
 * of a sum. A node becomes one or more steps ("lowering", one function an op). A step names the memory that it reads and
 * writes and how threads divide it; from that the plan knows before which steps threads must wait for each other. A
 * thread goes on without waiting when what it needs is its own part of what was just made: rows normed, then rounded.
 *
 * A single row is normed and rounded in less time than a meeting takes: each thread does both for itself, into a copy of its
 * own. And the parts that it is shared out in are known: where they come out even, a thread's columns are its heads.
 *
 * Steps by columns that follow each other without waiting (a product and the residual added to it; gate, up and glu) are
 * a group: a thread takes pieces of its columns through all of the group, and when it has no more, pieces of others'.
 * Load: most of a pass is products, and a thread whose core is shared with another guest of the host falls behind in all. */
#ifndef WK_PLAN_H
#define WK_PLAN_H
#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/packed.h"
#include <stdatomic.h>

typedef struct wk_cpu_weight {
    wk_weight base;
    wk_packed **mat;  /* [n_mat], or */
    float *vec;       /* [n_col] for vectors */
} wk_cpu_weight;

typedef struct wk_cpu_kv {
    wk_kv base;
    uint8_t *mem;               /* [page][layer][KV head][keys, values]: pages in use lie together */
    wk_kv_block block;
    size_t layer_bytes, page_bytes;
} wk_cpu_kv;

/* What a run is like; a step is in some of these and waits in some. FEW: fewer rows than there is work for by rows. ONE, which is
 * FEW too: a single row, and no more than one wanted. */
enum { WK_MODE_LORA = 1, WK_MODE_FEW = 2, WK_MODE_ONE = 4, WK_N_MODE = 8 };
enum { WK_WITH_LORA = 0xaa, WK_WITH_ONE = 0xf0, WK_ALL_MODES = 0xff };  /* bit m: in mode m */

typedef struct wk_cpu_plan wk_cpu_plan;
typedef struct wk_step wk_step;
typedef void (*wk_step_fn)(const wk_step *s, const wk_cpu_plan *p, const wk_team *t);
struct wk_step {
    wk_step_fn run;
    const wk_node *node;
    unsigned when, wait;           /* bit m: runs in mode m; threads meet before it */
    bool by_cols;                  /* touches columns of wk_my_cols() alone, of a team of any size, and no room */
    int n_group[WK_N_MODE];        /* in mode m: steps from this one on that are a group; 0: none begins here */
    size_t in[WK_MAX_IN], out[WK_MAX_OUT];  /* where in the plan's memory; in[] of params: unused */
    wk_shape shape_in, shape_out;  /* of in[0] and out[0] */
    wk_shape shape_x;              /* of cross_entropy's x, in its gradients */
    const wk_cpu_weight *weight;   /* the node's matrix or vector */
    const float *bias;
    int64_t lora_in;               /* columns of a lora's x */
    size_t first, n;               /* operands made ahead: of wk_cpu_plan's ahead[]; of a loss, n rows whose logits it keeps */
    bool adds;                     /* to what lies at out[0] already */
    int slot, slot2, table;        /* scratch: indices of wk_cpu_plan's slot[], rope[], sort[] */
    bool each;                     /* in mode ONE every thread does all of it, or has slot's operand to itself */
    int copy;                      /* slot of each thread's copy of a row in mode ONE: what a norm makes, others' x; -1: none */
};

/* Scratch that outlives its step, used again when its last reader is done. */
typedef struct wk_slot {
    size_t at, n_bytes, own_bytes;  /* own_bytes: from a thread's copy to the next's */
    int64_t until;
} wk_slot;
/* An operand made ready for products: which value, how, in which slot. WK_READY_COPY: as it is, for each thread; WK_READY_MIDS:
 * what the B of the trained lora is multiplied with that makes the value. */
enum { WK_READY_COPY = -2, WK_READY_MIDS = -3 };
typedef struct wk_ready { wk_val x, ids; int kind; int slot; } wk_ready;
/* Operands that a lora's B is multiplied with, or parts of them: whose x, which of an adapter's terms, in which slot. */
typedef struct wk_lora_ahead { wk_val x; int term; int slot; } wk_lora_ahead;
/* cos and sin of a run's positions: each [max_rows][half]. */
typedef struct wk_rope_table { wk_val freq; int half; float mscale; size_t at, sin_at; } wk_rope_table;
/* Rows of a list of experts by expert: item[k * rows] in order of expert, from start[e] to start[e + 1]. */
typedef struct wk_sort_table { wk_val ids; wk_shape shape; int64_t k, n_expert; size_t item, start; } wk_sort_table;

/* Places [first, first + n) of a wk_row_order, of one sequence, which holds n_key positions. */
typedef struct wk_row_tile { int32_t seq; int first, n, n_key; } wk_row_tile;
/* The rows of a value, all or the wanted ones, by sequence and in each by position. */
typedef struct wk_row_order {
    int32_t *row;                  /* [max_rows] */
    int32_t *pos;                  /* [max_rows] by row of the value */
    wk_row_tile *tile; int n_tile; /* [max_rows] */
} wk_row_order;
enum { WK_ALL_ROWS, WK_WANTED_ROWS, WK_N_ORDER };
/* A sequence's places in either order. */
typedef struct wk_seq_rows { int32_t seq; int n_key, first[WK_N_ORDER], n[WK_N_ORDER]; } wk_seq_rows;

/* Most rank that an adapter may have: its loader refuses more. */
enum { WK_MAX_RANK = 1024, WK_LORA_ROWS = 48 };

struct wk_cpu_plan {
    wk_plan base;
    const wk_kernels *kernels;
    int n_thread;
    wk_step *step; size_t n_step, cap_step;
    uint8_t *mem; size_t mem_bytes;
    int64_t *offset;               /* [n_value] */
    wk_slot *slot; size_t n_slot, cap_slot;
    wk_ready *ready; size_t n_ready, cap_ready;
    wk_lora_ahead *ahead; size_t n_ahead, cap_ahead;
    wk_rope_table *rope; size_t n_rope, cap_rope;
    wk_sort_table *sort; size_t n_sort, cap_sort;
    size_t room_at, room_bytes;    /* each thread's own scratch: room_at + i * room_bytes */
    int tile_rows;                 /* rows of a wk_row_tile at most */
    /* the run in progress */
    const wk_batch *batch;
    wk_cpu_kv *kv;
    unsigned mode;
    bool in_groups;                /* else steps of a group are by threads' own columns, like all others */
    wk_row_order order[WK_N_ORDER];
    wk_seq_rows *seq; int n_seq;   /* [max_rows] */
    atomic_int *taken;             /* [n_node] pieces of a node's work that threads took, where they do not divide it */
    atomic_int *piece;             /* [2][n_thread][piece_ld] pieces of a thread's share of the group at a step that were taken: of
                                    * this run, and of the next, which the thread clears meanwhile */
    size_t piece_ld;
    unsigned turn;                 /* which of the two */
};

/* ---- for lowering ---- */
typedef enum wk_split {
    WK_SPLIT_NONE,   /* any thread may touch any of it */
    WK_SPLIT_COLS,   /* by columns: wk_my_cols() */
    WK_SPLIT_RUNS,   /* by runs of `unit` numbers (a row, a head): wk_my_runs() */
    WK_SPLIT_EACH,   /* a slot's copies: each thread its own */
} wk_split;
typedef enum wk_space { WK_SPACE_VALUE, WK_SPACE_SLOT, WK_SPACE_KV, WK_SPACE_ROPE, WK_SPACE_SORT } wk_space;
typedef struct wk_access {
    unsigned when;   /* bit m: in mode m */
    wk_space space;
    size_t from, to;
    bool write;
    wk_split split;
    int64_t unit, cols;
    wk_shape shape;
} wk_access;
enum { WK_MAX_ACCESS = 16 };
typedef struct wk_lowering {
    wk_cpu_plan *p;
    const wk_graph *g;
    int64_t k;         /* the node being lowered */
    unsigned when;     /* what is said of touching holds in these modes; all, for each new step */
    struct wk_accesses { wk_access a[WK_MAX_ACCESS]; int n; } *access; size_t cap_access;  /* [n_step] */
    wick_status status;
} wk_lowering;

/* Adds a step of the node; NULL: no memory. */
wk_step *wk_lower_step(wk_lowering *l, wk_step_fn run);
/* The same of a later node, whose step is done before those of nodes in between; wk_lower_is_free() says of each output whether its
 * place allows that. */
wk_step *wk_lower_step_ahead(wk_lowering *l, int64_t k, wk_step_fn run);
/* What the last step touches: a value (nothing for WK_NO_VAL and params), or scratch i of a space. */
void wk_lower_value(wk_lowering *l, wk_val v, bool write, wk_split split, int64_t unit);
void wk_lower_scratch(wk_lowering *l, wk_space space, int64_t i, bool write, wk_split split, int64_t unit);
/* The same of a row of `cols` parts. */
void wk_lower_scratch_cols(wk_lowering *l, wk_space space, int64_t i, bool write, wk_split split, int64_t unit, int64_t cols);
/* Scratch from now until node `until` is done; -1: no memory (status is set). */
int wk_lower_slot(wk_lowering *l, size_t n_bytes, int64_t until);
/* In mode ONE each thread has n_bytes of the slot for a copy. */
void wk_lower_own(wk_lowering *l, int slot, size_t n_bytes);
/* The slot has that now. */
void wk_lower_ready(wk_lowering *l, wk_ready r);
/* The slot that has x so; -1: none. */
int wk_lower_find(const wk_lowering *l, wk_val x, int kind);
/* The slot with each thread's copy of v in mode ONE; -1: v has no copies. */
int wk_lower_copy(const wk_lowering *l, wk_val v);
/* That the last step reads v, by `split` where it has no copies; returns the slot of these, or -1. */
int wk_lower_value_or_copy(wk_lowering *l, wk_val v, wk_split split, int64_t unit);
/* Is v's place nobody's from the node being lowered until node k, which makes v? */
bool wk_lower_is_free(const wk_lowering *l, wk_val v, int64_t k);
/* Scratch for the whole plan. */
size_t wk_lower_place(wk_lowering *l, size_t n_bytes);
/* The node's input i as a packed matrix, or a vector; NULL: it is not (status is set). */
const wk_cpu_weight *wk_lower_matrix(wk_lowering *l, int i);
const wk_cpu_weight *wk_lower_vector(wk_lowering *l, int i);
/* a * b * c; SIZE_MAX where it wraps, which no allocation survives. */
size_t wk_bytes3(int64_t a, int64_t b, int64_t c);

/* ---- for steps ---- */
enum { WK_COL_STEP = 2 * WK_PACK_ROWS };  /* as many outputs as a product's tile has */
static inline float *wk_in(const wk_cpu_plan *p, const wk_step *s, int i) { return (float *)(void *)(p->mem + s->in[i]); }
static inline float *wk_out(const wk_cpu_plan *p, const wk_step *s, int i) { return (float *)(void *)(p->mem + s->out[i]); }
static inline int64_t wk_rows_of(const wk_cpu_plan *p, wk_shape s) { return wk_shape_rows(s, p->batch->n_row, p->batch->n_out); }
static inline int wk_order_of(wk_shape s) { return s.kind == WK_ROWS_OUT ? WK_WANTED_ROWS : WK_ALL_ROWS; }
static inline void wk_my_cols(const wk_team *t, int64_t cols, int64_t *from, int64_t *to) {
    wk_team_share(t, cols, WK_COL_STEP, from, to);
}
static inline void wk_my_runs(const wk_cpu_plan *p, const wk_team *t, wk_shape s, int64_t unit, int64_t *from, int64_t *to) {
    wk_team_share(t, wk_rows_of(p, s) * (s.cols / unit), 1, from, to);
}
/* Scratch of slot i: of all threads, or in mode ONE this thread's copy. */
static inline int64_t wk_n_item(const wk_cpu_plan *p, const wk_sort_table *t) { return t->k * wk_rows_of(p, t->shape); }
static inline uint8_t *wk_slot_at(const wk_cpu_plan *p, int i) { return p->mem + p->slot[i].at; }
static inline uint8_t *wk_own_slot(const wk_cpu_plan *p, const wk_team *t, int i) {
    return wk_slot_at(p, i) + (size_t)t->i * p->slot[i].own_bytes;
}
static inline bool wk_each(const wk_cpu_plan *p, const wk_step *s) { return s->each && p->mode & WK_MODE_ONE; }
static inline uint8_t *wk_operand(const wk_cpu_plan *p, const wk_step *s, const wk_team *t) {
    return wk_each(p, s) ? wk_own_slot(p, t, s->slot) : wk_slot_at(p, s->slot);
}
/* Rows of input i, or this thread's copy of the only one. */
static inline float *wk_in_or_copy(const wk_cpu_plan *p, const wk_step *s, const wk_team *t, int i) {
    return s->copy >= 0 && p->mode & WK_MODE_ONE ? (float *)(void *)wk_own_slot(p, t, s->copy) : wk_in(p, s, i);
}
static inline void *wk_room(const wk_cpu_plan *p, const wk_team *t) { return p->mem + p->room_at + (size_t)t->i * p->room_bytes; }

/* One function an op; in rows.c, product.c, lora.c, attention.c, experts.c, loss.c; gradients in grads.c, lora_train.c,
 * attention_grad.c, experts_grad.c, loss.c. */
typedef void (*wk_lower_fn)(wk_lowering *l, const wk_node *n);
void wk_lower_embed(wk_lowering *l, const wk_node *n);
void wk_lower_rms_norm(wk_lowering *l, const wk_node *n);
void wk_lower_rope(wk_lowering *l, const wk_node *n);
void wk_lower_glu(wk_lowering *l, const wk_node *n);
void wk_lower_add(wk_lowering *l, const wk_node *n);
void wk_lower_softcap(wk_lowering *l, const wk_node *n);
void wk_lower_select_rows(wk_lowering *l, const wk_node *n);
void wk_lower_linear(wk_lowering *l, const wk_node *n);
void wk_lower_lora(wk_lowering *l, const wk_node *n);
void wk_lower_attention(wk_lowering *l, const wk_node *n);
void wk_lower_route(wk_lowering *l, const wk_node *n);
void wk_lower_expert_linear(wk_lowering *l, const wk_node *n);
void wk_lower_combine(wk_lowering *l, const wk_node *n);
void wk_lower_gain(wk_lowering *l, const wk_node *n);
void wk_lower_gain_grad(wk_lowering *l, const wk_node *n);
void wk_lower_rms_norm_grad(wk_lowering *l, const wk_node *n);
void wk_lower_linear_input_grad(wk_lowering *l, const wk_node *n);
void wk_lower_linear_weight_grad(wk_lowering *l, const wk_node *n);
void wk_lower_linear_bias_grad(wk_lowering *l, const wk_node *n);
void wk_lower_embed_grad(wk_lowering *l, const wk_node *n);
void wk_lower_lora_trained(wk_lowering *l, const wk_node *n);
/* Before a linear's product: A x of the trained loras of all linears of its x, where these can be made already. */
void wk_lower_lora_ahead(wk_lowering *l, const wk_node *linear);
void wk_lower_lora_grad(wk_lowering *l, const wk_node *n);
void wk_lower_dropout(wk_lowering *l, const wk_node *n);
void wk_lower_attention_grad(wk_lowering *l, const wk_node *n);
void wk_lower_sinks_grad(wk_lowering *l, const wk_node *n);
void wk_lower_glu_grad(wk_lowering *l, const wk_node *n);
void wk_lower_softcap_grad(wk_lowering *l, const wk_node *n);
void wk_lower_select_rows_grad(wk_lowering *l, const wk_node *n);
void wk_lower_cross_entropy(wk_lowering *l, const wk_node *n);
void wk_lower_cross_entropy_grad(wk_lowering *l, const wk_node *n);
void wk_lower_cross_entropy_weight_grad(wk_lowering *l, const wk_node *n);
void wk_lower_route_grad(wk_lowering *l, const wk_node *n);
void wk_lower_expert_input_grad(wk_lowering *l, const wk_node *n);
void wk_lower_expert_weight_grad(wk_lowering *l, const wk_node *n);
void wk_lower_expert_bias_grad(wk_lowering *l, const wk_node *n);
void wk_lower_combine_grad(wk_lowering *l, const wk_node *n);
/* The last node of those that read v, if all are linears, and loras after them; else -1. */
int64_t wk_last_product(const wk_lowering *l, wk_val v);
/* The slot that has the node's first input ready for w, with a step that fills it unless an earlier one did; -1: no memory. */
int wk_lower_made_ready(wk_lowering *l, const wk_cpu_weight *w);
/* That the last step, s, reads the operand in its slot. */
void wk_lower_operand(wk_lowering *l, const wk_step *s, wk_split split, int64_t unit);
/* Is node k a linear whose result, and whose input, the lora after it takes, in place? One step then makes both. */
bool wk_lora_follows(const wk_cpu_plan *p, const wk_graph *g, int64_t k);
/* Are the operands of all adapters' B made before the steps that take them, whoever runs these? Of few rows they are not. */
bool wk_lora_all_ahead(const wk_cpu_plan *p, const wk_batch *b);
/* Is node k's first output a gradient that the node after it adds, in place, to what is there of it? Then node k may do so. */
bool wk_add_follows(const wk_cpu_plan *p, const wk_graph *g, int64_t k);
/* Lets the last step, of node k, do so where an add follows; it has declared what it touches but its first output. */
void wk_lower_sum(wk_lowering *l, const wk_node *n, wk_split split, int64_t unit);
/* Where the order of a list of ids lies (wk_cpu_plan's sort[]), with a step that makes it unless an earlier one did. ids is the
 * node's input 2; w has the experts. */
int wk_lower_sort(wk_lowering *l, const wk_node *n, const wk_cpu_weight *w);

/* The hooks of the backend, in plan.c and run.c. */
wick_status wk_cpu_plan_new(wk_backend *be, const wk_graph *g, int max_rows, wk_plan **out);
void wk_cpu_plan_free(wk_plan *p);
wick_status wk_cpu_run(wk_plan *p, const wk_batch *b, wk_kv *kv);

/* Bytes of a thread's room for attention with heads of head_dim, and its parts. */
size_t wk_attn_room_bytes(int64_t head_dim);

#endif
