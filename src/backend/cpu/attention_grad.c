/* attention_grad.c: the steps of attention's gradient. Threads divide sequences times query heads; heads that share keys and
 * values leave their shares of dk and dv beside each other, and a second step adds them in order. */
#include "backend/cpu/plan.h"
#include <math.h>
#include <string.h>

static size_t round64(size_t n) { return (n + 63) / 64 * 64; }

/* Bytes of the room's parts: q and g of a tile, its weights and their gradients; a block six times. */
static size_t tile_bytes(int64_t pad) { return wk_bytes3(WK_GRAD_ROWS, pad, sizeof(float)); }
static size_t pair_bytes(void) { return wk_bytes3(WK_GRAD_ROWS, WK_PAGE_LEN, sizeof(float)); }
static size_t block_bytes(int64_t pad) { return wk_bytes3(WK_PAGE_LEN, pad, sizeof(float)); }

static wk_attn_grad_room room_of(const wk_cpu_plan *p, const wk_team *t, int64_t hd) {
    int64_t pad = (hd + 15) / 16 * 16;
    uint8_t *at = wk_room(p, t);
    wk_attn_grad_room r;
    float **part[] = { &r.q, &r.g, &r.p, &r.ds, &r.k, &r.k_turned, &r.v, &r.v_turned, &r.dk, &r.dv };
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        *part[i] = (float *)(void *)at;
        at += round64(i < 2 ? tile_bytes(pad) : i < 4 ? pair_bytes() : block_bytes(pad));
    }
    return r;
}

/* Inputs g, q, k, v, y, lse. */
static void heads(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_attr *a = &s->node->attr;
    const wk_batch *b = p->batch;
    int64_t hd = a->head_dim, group = a->n_head / a->n_head_kv;
    wk_attn_grad_room room = room_of(p, t, hd);
    float *dk = s->slot < 0 ? wk_out(p, s, 1) : (float *)(void *)(p->mem + p->slot[s->slot].at);
    float *dv = s->slot < 0 ? wk_out(p, s, 2) : (float *)(void *)(p->mem + p->slot[s->slot2].at);
    int64_t item = 0;
    for (int64_t first = 0, end; first < b->n_row; first = end) {
        int32_t seq = b->seq[p->order[first]];
        for (end = first + 1; end < b->n_row && b->seq[p->order[end]] == seq;) end++;
        for (int64_t h = 0; h < a->n_head; h++, item++) {
            if (item % t->n != t->i) continue;
            uint8_t *kv = p->kv->mem + (size_t)a->layer * p->kv->layer_bytes + (size_t)(h / group) * 2 * p->kv->block.n_bytes;
            wk_attn_grad at = {
                .attr = a, .g = wk_in(p, s, 0) + h * hd, .q = wk_in(p, s, 1) + h * hd, .y = wk_in(p, s, 4) + h * hd,
                .lse = wk_in(p, s, 5) + h, .ldq = a->n_head * hd, .ldlse = a->n_head, .dq = wk_out(p, s, 0) + h * hd,
                .dk = dk + h * hd, .dv = dv + h * hd, .ldk = a->n_head * hd, .row = p->order + first, .n_row = (int)(end - first),
                .pos = b->pos, .n_key = b->pos[p->order[end - 1]] + 1, .kv = kv, .page_bytes = p->kv->page_bytes,
                .v_at = p->kv->block.n_bytes, .page = b->page + (int64_t)seq * b->max_page, .block = p->kv->block,
            };
            p->kernels->attend_grad(&at, &room);
        }
    }
}

/* dk and dv of a KV head: its query heads' shares, in order. */
static void gather(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_attr *a = &s->node->attr;
    int64_t hd = a->head_dim, group = a->n_head / a->n_head_kv, from, to;
    wk_team_share(t, (int64_t)p->batch->n_row * a->n_head_kv, 1, &from, &to);
    for (int i = 0; i < 2; i++) {
        const float *share = (const float *)(const void *)(p->mem + p->slot[i ? s->slot2 : s->slot].at);
        for (int64_t k = from; k < to; k++) {
            float *sum = wk_out(p, s, i + 1) + k * hd;
            memcpy(sum, share + k * group * hd, (size_t)hd * sizeof *sum);
            for (int64_t h = 1; h < group; h++) p->kernels->add(sum, share + (k * group + h) * hd, hd, sum);
        }
    }
}

void wk_lower_attention_grad(wk_lowering *l, const wk_node *n) {
    wk_cpu_plan *p = l->p;
    const wk_attr *a = &n->attr;
    int64_t pad = (a->head_dim + 15) / 16 * 16;
    int slot[2] = { -1, -1 };
    size_t room = 2 * tile_bytes(pad) + 2 * pair_bytes() + 6 * block_bytes(pad) + 10 * 64;
    for (int i = 0; i < 2 && a->n_head > a->n_head_kv; i++)
        slot[i] = wk_lower_slot(l, wk_bytes3(p->base.max_rows, (int64_t)a->n_head * a->head_dim, sizeof(float)), l->k);
    for (int step = 0; step < (slot[0] < 0 ? 1 : 2); step++) {
        wk_step *s = wk_lower_step(l, step ? gather : heads);
        if (!s) return;
        s->slot = slot[0];
        s->slot2 = slot[1];
        for (int i = 0; i < n->n_in && !step; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_NONE, 0);
        if (!step) wk_lower_value(l, n->out[0], true, WK_SPLIT_NONE, 0);
        if (!step) wk_lower_scratch(l, WK_SPACE_KV, a->layer, false, WK_SPLIT_NONE, 0);
        for (int i = 0; i < 2; i++) {
            if (slot[i] >= 0) wk_lower_scratch(l, WK_SPACE_SLOT, slot[i], !step, WK_SPLIT_NONE, 0);
            if (step || slot[i] < 0) wk_lower_value(l, n->out[i + 1], true, WK_SPLIT_RUNS, a->head_dim);
        }
    }
    if (p->room_bytes < room) p->room_bytes = room;
}

/* Inputs g, y, lse, sinks. A head's sum is one thread's, in order of rows. */
static void sinks(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t n_head = s->node->attr.n_head, hd = s->node->attr.head_dim, from, to;
    wk_team_share(t, n_head, 1, &from, &to);
    for (int64_t h = from; h < to; h++) {
        float sum = 0;
        for (int64_t r = 0; r < p->batch->n_row; r++) {
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
