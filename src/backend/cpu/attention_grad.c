/* attention_grad.c: the steps of attention's gradient. Threads take sequences times query heads; those that are left over when each
 * has taken as many, they take by halves of the key blocks. Such a half leaves a share of dq, and heads that share keys and values
 * shares of dk and dv; a second step adds them in order. dq is the sum of two halves whoever makes them. */
#include "backend/cpu/plan.h"
#include <math.h>
#include <string.h>

/* A room's memory, and how much of it has been given out. */
typedef struct space { uint8_t *mem; size_t used; } space;

/* n rows of `cols` numbers. */
static float *part(space *s, int64_t n, int64_t cols) {
    void *at = s->mem ? s->mem + s->used : NULL;
    s->used += (wk_bytes3(n, cols, sizeof(float)) + 63) / 64 * 64;
    return at;
}

/* A thread's room for heads of hd and passes of up to max_rows rows; without memory, how much of it there has to be. */
static wk_attn_grad_room lay_out(space *s, int64_t hd, int64_t max_rows, bool by_pairs) {
    enum { TILE = WK_GRAD_ROWS, BLOCK = WK_PAGE_LEN };
    int64_t per = by_pairs ? 2 : 1, pad = (hd + 15) / 16 * 16, left = pad / per, turned = (left + 15) / 16 * 16;
    int64_t n = max_rows < WK_GRAD_SPAN ? (max_rows + 1) / 2 * 2 : WK_GRAD_SPAN;
    wk_attn_grad_room r = { .n_row = n };
    r.q = part(s, n, left);
    r.g = part(s, n, left);
    r.q_rows = by_pairs ? part(s, n, left) : r.q;
    r.g_rows = by_pairs ? part(s, n, left) : r.g;
    r.dq = part(s, 2 * n, pad);
    r.lse = part(s, n, 1);
    r.gy = part(s, n, 1);
    r.k = part(s, BLOCK, left);
    r.k_turned = part(s, turned, BLOCK);
    r.v_turned = part(s, turned, BLOCK);
    r.rows = part(s, turned * per, BLOCK);
    r.dk = part(s, BLOCK, pad);
    r.dv = part(s, BLOCK, pad);
    r.p = part(s, TILE, BLOCK);
    r.ds = part(s, TILE, BLOCK);
    r.ds_left = by_pairs ? part(s, TILE, BLOCK / per) : r.ds;
    return r;
}

/* Shares that are added up when all are there, each [max_rows][n_head * head_dim]: of dq, from the second half of key blocks; of dk
 * and dv where query heads share keys. */
enum { SHARE_DQ, SHARE_DK, SHARE_DV };
static float *share_of(const wk_step *s, const wk_cpu_plan *p, int i) {
    const wk_attr *a = &s->node->attr;
    return (float *)(void *)wk_slot_at(p, s->slot) + i * p->base.max_rows * (int64_t)a->n_head * a->head_dim;
}

/* Heads of all sequences, in order, that threads take whole: as many each. The others they take by halves. */
static int64_t n_whole(const wk_cpu_plan *p, const wk_attr *a, const wk_team *t) { return p->n_seq * a->n_head / t->n * t->n; }

/* Inputs g, q, k, v, y, lse. */
static void heads(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_attr *a = &s->node->attr;
    const wk_row_order *o = &p->order[wk_order_of(s->shape_in)], *keys = &p->order[WK_ALL_ROWS];
    int64_t hd = a->head_dim, group = a->n_head / a->n_head_kv, ld = a->n_head * hd, whole = n_whole(p, a, t);
    void (*by_pairs)(const wk_attn_grad *, const wk_attn_grad_room *) = wk_pairs_here().attend_grad;
    if (p->kv->block.dtype == WK_F32) by_pairs = NULL;
    wk_attn_grad_room room = lay_out(&(space){ wk_room(p, t), 0 }, hd, p->base.max_rows, by_pairs);
    float *dk = group > 1 ? share_of(s, p, SHARE_DK) : wk_out(p, s, 1);
    float *dv = group > 1 ? share_of(s, p, SHARE_DV) : wk_out(p, s, 2);
    atomic_int *taken = &p->taken[s->node - p->base.graph->node];
    for (int64_t i; (i = atomic_fetch_add_explicit(taken, 1, memory_order_relaxed)) < 2 * p->n_seq * a->n_head - whole;) {
        int64_t half = i < whole ? 0 : (i - whole) % 2, at_head = i < whole ? i : whole + (i - whole) / 2, h = at_head % a->n_head;
        const wk_seq_rows *seq = &p->seq[at_head / a->n_head];
        const int32_t *key_row = keys->row + seq->first[WK_ALL_ROWS];
        uint8_t *kv = p->kv->mem + (size_t)a->layer * p->kv->layer_bytes + (size_t)(h / group) * 2 * p->kv->block.n_bytes;
        wk_attn_grad at = {
            .attr = a, .g = wk_in(p, s, 0) + h * hd, .q = wk_in(p, s, 1) + h * hd, .y = wk_in(p, s, 4) + h * hd,
            .lse = wk_in(p, s, 5) + h, .ldq = ld, .ldlse = a->n_head, .halves = i < whole ? 3 : 1 << half,
            .dq = (half ? share_of(s, p, SHARE_DQ) : wk_out(p, s, 0)) + h * hd,
            .dk = dk + h * hd, .dv = dv + h * hd, .ldk = ld, .row = o->row + seq->first[o - p->order], .pos = o->pos,
            .n_row = seq->n[o - p->order], .key_row = key_row, .n_key_row = seq->n[WK_ALL_ROWS],
            .first_key = keys->pos[*key_row], .n_key = seq->n_key, .kv = kv, .page_bytes = p->kv->page_bytes,
            .v_at = p->kv->block.n_bytes, .page = p->batch->page + (int64_t)seq->seq * p->batch->max_page, .block = p->kv->block,
        };
        (by_pairs ? by_pairs : p->kernels->attend_grad)(&at, &room);
    }
}

/* The second halves' dq of a head that was halved, to this thread's numbers [from, to) of rows times heads. */
static void add_half(const wk_step *s, const wk_cpu_plan *p, int64_t head, int64_t from, int64_t to) {
    const wk_attr *a = &s->node->attr;
    const wk_row_order *o = &p->order[wk_order_of(s->shape_in)];
    const wk_seq_rows *seq = &p->seq[head / a->n_head];
    for (int r = 0; r < seq->n[o - p->order]; r++) {
        int64_t k = o->row[seq->first[o - p->order] + r] * (int64_t)a->n_head + head % a->n_head, hd = a->head_dim;
        float *dq = wk_out(p, s, 0) + k * hd;
        if (from <= k && k < to) p->kernels->add(dq, share_of(s, p, SHARE_DQ) + k * hd, hd, dq);
    }
}

/* The shares, in order. */
static void gather(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_attr *a = &s->node->attr;
    int64_t hd = a->head_dim, group = a->n_head / a->n_head_kv, from, to;
    wk_team_share(t, wk_rows_of(p, s->shape_out) * a->n_head, 1, &from, &to);
    for (int64_t i = n_whole(p, a, t); i < p->n_seq * a->n_head; i++) add_half(s, p, i, from, to);
    wk_team_share(t, (int64_t)p->batch->n_row * a->n_head_kv, 1, &from, &to);
    for (int i = 1; i < 3 && group > 1; i++) {
        const float *share = share_of(s, p, i == 1 ? SHARE_DK : SHARE_DV);
        for (int64_t k = from; k < to; k++) {
            const float *of = share + k * group * hd;
            float *sum = wk_out(p, s, i) + k * hd;
            p->kernels->add(of, of + hd, hd, sum);
            for (int64_t h = 2; h < group; h++) p->kernels->add(sum, of + h * hd, hd, sum);
        }
    }
}

void wk_lower_attention_grad(wk_lowering *l, const wk_node *n) {
    wk_cpu_plan *p = l->p;
    const wk_attr *a = &n->attr;
    bool shared = a->n_head > a->n_head_kv;
    for (int by_pairs = 0; by_pairs < 2; by_pairs++) {  /* which depends on the cache */
        space need = { 0 };
        lay_out(&need, a->head_dim, p->base.max_rows, by_pairs);
        if (p->room_bytes < need.used) p->room_bytes = need.used;
    }
    int64_t n_share = shared ? 3 : 1;
    int slot = wk_lower_slot(l, wk_bytes3(n_share * p->base.max_rows, (int64_t)a->n_head * a->head_dim, sizeof(float)), l->k);
    wk_step *s = wk_lower_step(l, heads);
    if (!s) return;
    s->slot = slot;
    for (int i = 0; i < n->n_in; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_NONE, 0);
    wk_lower_scratch(l, WK_SPACE_KV, a->layer, false, WK_SPLIT_NONE, 0);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_NONE, 0);
    for (int i = 0; i < (shared ? 1 : 3); i++) wk_lower_value(l, n->out[i], true, WK_SPLIT_NONE, 0);
    s = wk_lower_step(l, gather);
    if (!s) return;
    s->slot = slot;
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, false, WK_SPLIT_NONE, 0);
    for (int i = 0; i < (shared ? 3 : 1); i++) wk_lower_value(l, n->out[i], true, WK_SPLIT_RUNS, a->head_dim);
}

/* Inputs g, y, lse, sinks. A head's sum is one thread's, in order of rows. */
static void sinks(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t n_head = s->node->attr.n_head, hd = s->node->attr.head_dim, from, to;
    wk_team_share(t, n_head, 1, &from, &to);
    for (int64_t h = from; h < to; h++) {
        float sum = 0;
        for (int64_t r = 0; r < wk_rows_of(p, s->shape_in); r++) {
            int64_t k = r * n_head + h;
            float gy = p->kernels->dot(wk_in(p, s, 0) + k * hd, wk_in(p, s, 1) + k * hd, hd);
            sum -= expf(s->weight->vec[h] - wk_in(p, s, 2)[k]) * gy;
        }
        wk_out(p, s, 0)[h] = sum;
    }
}

void wk_lower_sinks_grad(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_vector(l, 3);
    wk_step *s = wk_lower_step(l, sinks);
    if (!s) return;
    s->weight = w;
    for (int i = 0; i < 3; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_NONE, 0);
}
