/* plan.c: makes a plan: lowers every node to steps, finds where threads must wait, and lays out all memory up front. */
#include "backend/cpu/plan.h"
#include "graph/op.h"
#include <string.h>

static const wk_lower_fn lower[WK_OP_COUNT] = {
    [WK_OP_EMBED] = wk_lower_embed,
    [WK_OP_RMS_NORM] = wk_lower_rms_norm,
    [WK_OP_LINEAR] = wk_lower_linear,
    [WK_OP_LORA] = wk_lower_lora,
    [WK_OP_ROPE] = wk_lower_rope,
    [WK_OP_ATTENTION] = wk_lower_attention,
    [WK_OP_GLU] = wk_lower_glu,
    [WK_OP_ADD] = wk_lower_add,
    [WK_OP_SOFTCAP] = wk_lower_softcap,
    [WK_OP_SELECT_ROWS] = wk_lower_select_rows,
    [WK_OP_ROUTE] = wk_lower_route,
    [WK_OP_EXPERT_LINEAR] = wk_lower_expert_linear,
    [WK_OP_COMBINE] = wk_lower_combine,
    [WK_OP_GAIN] = wk_lower_gain,
    [WK_OP_GAIN_GRAD] = wk_lower_gain_grad,
    [WK_OP_RMS_NORM_GRAD] = wk_lower_rms_norm_grad,
    [WK_OP_LINEAR_INPUT_GRAD] = wk_lower_linear_input_grad,
    [WK_OP_LINEAR_WEIGHT_GRAD] = wk_lower_linear_weight_grad,
    [WK_OP_LINEAR_BIAS_GRAD] = wk_lower_linear_bias_grad,
    [WK_OP_EMBED_GRAD] = wk_lower_embed_grad,
    [WK_OP_LORA_GRAD] = wk_lower_lora_grad,
    [WK_OP_DROPOUT] = wk_lower_dropout,
    [WK_OP_ATTENTION_GRAD] = wk_lower_attention_grad,
    [WK_OP_SINKS_GRAD] = wk_lower_sinks_grad,
    [WK_OP_GLU_GRAD] = wk_lower_glu_grad,
    [WK_OP_SOFTCAP_GRAD] = wk_lower_softcap_grad,
    [WK_OP_SELECT_ROWS_GRAD] = wk_lower_select_rows_grad,
    [WK_OP_CROSS_ENTROPY] = wk_lower_cross_entropy,
    [WK_OP_CROSS_ENTROPY_GRAD] = wk_lower_cross_entropy_grad,
    [WK_OP_CROSS_ENTROPY_WEIGHT_GRAD] = wk_lower_cross_entropy_weight_grad,
    [WK_OP_ROUTE_GRAD] = wk_lower_route_grad,
    [WK_OP_EXPERT_INPUT_GRAD] = wk_lower_expert_input_grad,
    [WK_OP_EXPERT_WEIGHT_GRAD] = wk_lower_expert_weight_grad,
    [WK_OP_EXPERT_BIAS_GRAD] = wk_lower_expert_bias_grad,
    [WK_OP_COMBINE_GRAD] = wk_lower_combine_grad,
};

size_t wk_bytes3(int64_t a, int64_t b, int64_t c) {
    size_t n;
    return a >= 0 && b >= 0 && c >= 0 && wk_mul_size((size_t)a, (size_t)b, &n) && wk_mul_size(n, (size_t)c, &n) ? n : SIZE_MAX;
}

/* a + b on a 64-byte boundary; SIZE_MAX stays. */
static size_t after(size_t a, size_t b) {
    size_t n;
    return wk_add_size(a, b, &n) && n <= SIZE_MAX - 64 ? (n + 63) / 64 * 64 : SIZE_MAX;
}

static void no_memory(wk_lowering *l) {
    if (!l->status) l->status = wk_fail_memory(l->p->mem_bytes, "a plan");
}

wk_step *wk_lower_step(wk_lowering *l, wk_step_fn run) {
    wk_cpu_plan *p = l->p;
    const wk_node *n = &l->g->node[l->k];
    if (l->status) return NULL;
    if (!wk_grow((void **)&p->step, &p->cap_step, p->n_step + 1, sizeof *p->step) ||
        !wk_grow((void **)&l->access, &l->cap_access, p->n_step + 1, sizeof *l->access)) {
        no_memory(l);
        return NULL;
    }
    l->access[p->n_step].n = 0;
    wk_step *s = &p->step[p->n_step++];
    *s = (wk_step){ .run = run, .node = n, .when = WK_ALL_MODES, .slot = -1, .slot2 = -1, .table = -1, .copy = -1 };
    l->when = WK_ALL_MODES;
    for (int i = 0; i < n->n_in; i++) s->in[i] = n->in[i] >= 0 && p->offset[n->in[i]] >= 0 ? (size_t)p->offset[n->in[i]] : 0;
    for (int i = 0; i < n->n_out; i++) s->out[i] = (size_t)p->offset[n->out[i]];
    s->shape_in = wk_in_shape(l->g, n, 0);
    s->shape_out = l->g->value[n->out[0]].shape;
    return s;
}

wk_step *wk_lower_step_ahead(wk_lowering *l, int64_t k, wk_step_fn run) {
    int64_t here = l->k;
    l->k = k;
    wk_step *s = wk_lower_step(l, run);
    l->k = here;
    return s;
}

static void touch(wk_lowering *l, wk_access a) {
    struct wk_accesses *list;
    if (l->status) return;
    list = &l->access[l->p->n_step - 1];
    a.when = l->when;
    list->a[list->n++] = a;
}

/* A value's bytes at most. */
static size_t bytes_of(const wk_cpu_plan *p, const wk_value *v) {
    return wk_bytes3(wk_shape_rows(v->shape, p->base.max_rows, p->base.max_rows), v->shape.cols, sizeof(float));
}

void wk_lower_value(wk_lowering *l, wk_val v, bool write, wk_split split, int64_t unit) {
    if (l->status || v < 0 || l->g->value[v].kind == WK_VALUE_PARAM) return;
    wk_shape s = l->g->value[v].shape;
    size_t at = (size_t)l->p->offset[v];
    touch(l, (wk_access){ 0, WK_SPACE_VALUE, at, at + bytes_of(l->p, &l->g->value[v]), write, split, unit, s.cols, s });
}

void wk_lower_scratch_cols(wk_lowering *l, wk_space space, int64_t i, bool write, wk_split split, int64_t unit, int64_t cols) {
    touch(l, (wk_access){ 0, space, (size_t)i, (size_t)i + 1, write, split, unit, cols, { WK_ROWS_T, 1, cols, false } });
}
void wk_lower_scratch(wk_lowering *l, wk_space space, int64_t i, bool write, wk_split split, int64_t unit) {
    wk_lower_scratch_cols(l, space, i, write, split, unit, unit);
}

int wk_lower_slot(wk_lowering *l, size_t n_bytes, int64_t until) {
    wk_cpu_plan *p = l->p;
    size_t i = 0;
    if (l->status) return -1;
    while (i < p->n_slot && p->slot[i].until >= l->k) i++;
    if (i == p->n_slot) {
        if (!wk_grow((void **)&p->slot, &p->cap_slot, i + 1, sizeof *p->slot)) {
            no_memory(l);
            return -1;
        }
        p->slot[p->n_slot++] = (wk_slot){ 0 };
    }
    for (size_t r = 0; r < p->n_ready; r++) if (p->ready[r].slot == (int)i) p->ready[r].slot = -1;  /* what was there is gone */
    p->slot[i].until = until;
    if (p->slot[i].n_bytes < n_bytes) p->slot[i].n_bytes = n_bytes;
    return (int)i;
}

void wk_lower_own(wk_lowering *l, int slot, size_t n_bytes) {
    if (slot >= 0 && l->p->slot[slot].own_bytes < n_bytes) l->p->slot[slot].own_bytes = after(n_bytes, 0);
}

void wk_lower_ready(wk_lowering *l, wk_ready r) {
    wk_cpu_plan *p = l->p;
    if (wk_grow((void **)&p->ready, &p->cap_ready, p->n_ready + 1, sizeof *p->ready)) p->ready[p->n_ready++] = r;
    else no_memory(l);
}

int wk_lower_find(const wk_lowering *l, wk_val x, int kind) {
    const wk_cpu_plan *p = l->p;
    for (size_t i = 0; i < p->n_ready; i++)
        if (p->ready[i].x == x && p->ready[i].ids < 0 && p->ready[i].kind == kind && p->ready[i].slot >= 0) return p->ready[i].slot;
    return -1;
}

int wk_lower_copy(const wk_lowering *l, wk_val v) { return wk_lower_find(l, v, WK_READY_COPY); }

int wk_lower_value_or_copy(wk_lowering *l, wk_val v, wk_split split, int64_t unit) {
    unsigned when = l->when;
    int copy = wk_lower_copy(l, v);
    if (copy >= 0) {
        l->when = when & WK_WITH_ONE;
        wk_lower_scratch(l, WK_SPACE_SLOT, copy, false, WK_SPLIT_EACH, 0);
        l->when = when & ~(unsigned)WK_WITH_ONE;
    }
    wk_lower_value(l, v, false, split, unit);
    l->when = when;
    return copy;
}

/* Do two values share bytes? */
static bool overlap(const wk_lowering *l, wk_val v, wk_val u) {
    const wk_cpu_plan *p = l->p;
    if (u < 0 || p->offset[u] < 0) return false;
    size_t at_v = (size_t)p->offset[v], at_u = (size_t)p->offset[u];
    return at_v < at_u + bytes_of(p, &l->g->value[u]) && at_u < at_v + bytes_of(p, &l->g->value[v]);
}

bool wk_lower_is_free(const wk_lowering *l, wk_val v, int64_t k) {
    for (const wk_node *n = &l->g->node[l->k], *end = &l->g->node[k]; n < end; n++) {
        for (int i = 0; i < n->n_in; i++) if (overlap(l, v, n->in[i])) return false;
        for (int i = 0; i < n->n_out; i++) if (overlap(l, v, n->out[i])) return false;
    }
    return true;
}

size_t wk_lower_place(wk_lowering *l, size_t n_bytes) {
    size_t at = l->p->mem_bytes;
    l->p->mem_bytes = after(at, n_bytes);
    return at;
}

static const wk_cpu_weight *weight_of(wk_lowering *l, int i, bool vector) {
    const wk_node *n = &l->g->node[l->k];
    const wk_value *v = &l->g->value[n->in[i]];
    const wk_cpu_weight *w = (const wk_cpu_weight *)v->weight;
    if (l->status) return NULL;
    if (v->kind == WK_VALUE_PARAM && (vector ? w->vec != NULL : w->mat != NULL)) return w;
    l->status = wk_fail(WICK_E_ARG, "op %s: input %d (%s) is no weight %s", wk_ops[n->op]->name, i, v->name,
                        vector ? "loaded as a vector" : "loaded as a matrix");
    return NULL;
}
const wk_cpu_weight *wk_lower_matrix(wk_lowering *l, int i) { return weight_of(l, i, false); }
const wk_cpu_weight *wk_lower_vector(wk_lowering *l, int i) { return weight_of(l, i, true); }

/* In parts of how much is a single row shared out? 0: it is not, or there are several. */
static int64_t part_of_row(const wk_access *a) {
    if (wk_shape_rows(a->shape, 1, 1) != 1) return 0;
    return a->split == WK_SPLIT_COLS ? WK_COL_STEP : a->split == WK_SPLIT_RUNS ? a->unit : 0;
}

/* Has every thread the same share of a single row in both? By columns and by heads it has where these come out even. */
static bool same_share(const wk_cpu_plan *p, const wk_access *a, const wk_access *b) {
    int64_t part_a = part_of_row(a), part_b = part_of_row(b), from_a, from_b, to;
    if (!part_a || !part_b || a->cols != b->cols) return false;
    for (wk_team t = { NULL, 1, p->n_thread }; t.i < t.n; t.i++) {
        wk_team_share(&t, a->cols, part_a, &from_a, &to);
        wk_team_share(&t, b->cols, part_b, &from_b, &to);
        if (from_a != from_b) return false;
    }
    return true;
}

/* Do two steps have to be kept apart in mode m? Not when every thread touches the same part in both; whoever takes a group's piece
 * is known within the group alone. */
static bool conflict(const wk_cpu_plan *p, unsigned m, const wk_access *a, const wk_access *b, bool same_cols) {
    if (!(a->when >> m & 1) || !(b->when >> m & 1)) return false;
    if (a->space != b->space || a->from >= b->to || b->from >= a->to || !(a->write || b->write)) return false;
    if (a->split == WK_SPLIT_NONE || b->split == WK_SPLIT_NONE || a->from != b->from) return true;
    if (m & WK_MODE_ONE && same_share(p, a, b)) return false;
    if (a->split != b->split || a->unit != b->unit || a->cols != b->cols) return true;
    if (a->split == WK_SPLIT_COLS) return !same_cols;
    return a->split == WK_SPLIT_RUNS && (a->shape.kind != b->shape.kind || a->shape.n != b->shape.n);
}

static bool steps_conflict(const wk_cpu_plan *p, unsigned m, const struct wk_accesses *a, const struct wk_accesses *b,
                           bool same_cols) {
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < b->n; j++) if (conflict(p, m, &a->a[i], &b->a[j], same_cols)) return true;
    return false;
}

/* Of few rows weights are read, best in one long run: no groups. */
static bool grouped(const wk_step *s, unsigned m) { return s->by_cols && !(m & WK_MODE_FEW); }

/* Must threads meet before step i, having met before step `met`? group: where the group begins that it would belong to; it and
 * earlier ones may be by columns of a group, or of a thread's own share as step i's then are. */
static bool has_to_wait(const wk_lowering *l, unsigned m, size_t met, size_t group, size_t i) {
    const wk_step *s = l->p->step;
    for (size_t j = met; j < i; j++)
        if (s[j].when >> m & 1 &&
            steps_conflict(l->p, m, &l->access[i], &l->access[j], grouped(&s[i], m) ? j >= group : !grouped(&s[j], m)))
            return true;
    return false;
}

/* Marks the steps before which threads meet, those that conflict with one since the last meeting, and groups. */
static void find_waits(wk_lowering *l) {
    wk_step *s = l->p->step;
    for (unsigned m = 0; m < WK_N_MODE; m++) {
        size_t met = 0, last = 0, group = 0;  /* last: the step before in this mode, of the group that begins at `group` */
        for (size_t i = 0; i < l->p->n_step; i++) {
            if (!(s[i].when >> m & 1)) continue;
            bool joins = i > 0 && grouped(&s[i], m) && grouped(&s[last], m) && s[i].shape_out.cols == s[last].shape_out.cols;
            if (!joins) group = i;
            if (has_to_wait(l, m, met, group, i)) s[i].wait |= 1u << m, met = group = i;
            if (grouped(&s[i], m)) s[group].n_group[m] = (int)(i - group) + 1;
            last = i;
        }
    }
}

static wick_status lower_all(wk_lowering *l) {
    wk_cpu_plan *p = l->p;
    l->status = wk_graph_layout(l->g, p->base.max_rows, sizeof(float), 64, p->offset, &p->mem_bytes);
    if (l->status) return l->status;
    for (l->k = 0; !l->status && l->k < (int64_t)l->g->n_node; l->k++) {
        const wk_node *n = &l->g->node[l->k];
        if (lower[n->op]) lower[n->op](l, n);
        else l->status = wk_fail(WICK_E_UNSUPPORTED, "op %s: the CPU backend does not have it", wk_ops[n->op]->name);
    }
    if (l->status) return l->status;
    find_waits(l);
    for (size_t i = 0; i < p->n_slot; i++) {
        size_t own = wk_bytes3((int64_t)p->slot[i].own_bytes, p->n_thread, 1);
        p->slot[i].at = wk_lower_place(l, own > p->slot[i].n_bytes ? own : p->slot[i].n_bytes);
    }
    p->mem_bytes = after(p->mem_bytes, 4096);
    p->room_bytes = after(p->room_bytes, 4096 - 64);  /* threads do not share cache lines or pages that adjoin */
    p->room_at = wk_lower_place(l, wk_bytes3((int64_t)p->room_bytes, p->n_thread, 1));
    return WICK_OK;
}

void wk_cpu_plan_free(wk_plan *plan) {
    wk_cpu_plan *p = (wk_cpu_plan *)plan;
    if (!p) return;
    wk_free(p->step);
    wk_free(p->offset);
    wk_free(p->slot);
    wk_free(p->ready);
    wk_free(p->ahead);
    wk_free(p->rope);
    wk_free(p->sort);
    for (int i = 0; i < WK_N_ORDER; i++) {
        wk_free(p->order[i].row);
        wk_free(p->order[i].pos);
        wk_free(p->order[i].tile);
    }
    wk_free(p->seq);
    wk_free(p->taken);
    wk_free(p->piece);
    wk_free_aligned(p->mem);
    wk_free(p);
}

/* Room for the order of a run's rows. */
static bool alloc_orders(wk_cpu_plan *p, size_t n) {
    bool ok = (p->seq = wk_alloc_array(n, sizeof *p->seq)) != NULL;
    for (int i = 0; i < WK_N_ORDER; i++) {
        wk_row_order *o = &p->order[i];
        ok &= (o->row = wk_alloc_array(n, sizeof *o->row)) && (o->pos = wk_alloc_array(n, sizeof *o->pos)) &&
              (o->tile = wk_alloc_array(n, sizeof *o->tile));
    }
    return ok;
}

wick_status wk_cpu_plan_new(wk_backend *be, const wk_graph *g, int max_rows, wk_plan **out) {
    wk_cpu_plan *p = wk_alloc(sizeof *p);
    wk_lowering l = { .p = p, .g = g };
    *out = NULL;
    if (!p) return wk_fail_memory(sizeof *p, "a plan");
    p->base = (wk_plan){ g, max_rows, 0, be };
    p->kernels = wk_kernels_here();
    p->n_thread = wk_pool_n(be->pool);
    p->tile_rows = WK_TILE_ROWS;
    size_t n = max_rows > 0 ? (size_t)max_rows : 0;
    p->offset = wk_alloc_array(g->n_value ? g->n_value : 1, sizeof *p->offset);
    p->taken = wk_alloc_array(g->n_node ? g->n_node : 1, sizeof *p->taken);
    if (!n) l.status = wk_fail(WICK_E_ARG, "a plan for %d rows", max_rows);
    else if (!p->offset || !p->taken || !alloc_orders(p, n)) l.status = wk_fail_memory(n * sizeof *p->seq, "a plan");
    else lower_all(&l);
    p->piece_ld = (p->n_step + 15) / 16 * 16;  /* a thread's are on lines of their own */
    if (!l.status && !(p->piece = wk_alloc_array(2 * p->piece_ld * (size_t)p->n_thread, sizeof *p->piece)))
        l.status = wk_fail_memory(p->piece_ld * sizeof *p->piece, "a plan");
    if (!l.status) {
        p->mem = wk_alloc_aligned(p->mem_bytes);
        p->base.n_bytes = p->mem_bytes + sizeof *p + p->cap_step * sizeof *p->step;
        if (!p->mem) l.status = wk_fail_memory(p->mem_bytes, "a plan's values");
    }
    wk_free(l.access);
    if (l.status) wk_cpu_plan_free(&p->base);
    else *out = &p->base;
    return l.status;
}
