/* attention.c: the steps of attention: rows store their keys and values in the cache, then every query head reads what
 * its sequence's pages hold. Threads take tiles of a KV head from a common list, or divide query heads where there are few
 * rows; never positions. */
#include "backend/cpu/plan.h"

static size_t round64(size_t n) { return (n + 63) / 64 * 64; }

/* Bytes of wk_attn_room's parts, in its order. */
enum { N_PART = 6 };
static void part_bytes(int64_t head_dim, size_t *n) {
    int64_t pad = (head_dim + 15) / 16 * 16;
    const int64_t rows[N_PART] = { WK_TILE_ROWS, WK_TILE_ROWS, WK_TILE_ROWS, WK_TILE_ROWS, head_dim, WK_PAGE_LEN },
                  cols[N_PART] = { pad, pad, WK_PAGE_LEN, 16, WK_PAGE_LEN, pad };
    for (int i = 0; i < N_PART; i++) n[i] = round64(wk_bytes3(rows[i], cols[i], sizeof(float)));
}

size_t wk_attn_room_bytes(int64_t head_dim) {
    size_t n[N_PART], all = 0;
    part_bytes(head_dim, n);
    for (int i = 0; i < N_PART; i++) all += n[i];
    return all;
}

static wk_attn_room room_of(const wk_cpu_plan *p, const wk_team *t, int64_t head_dim) {
    wk_attn_room r;
    float **part[N_PART] = { &r.q, &r.y, &r.score, &r.sum, &r.k, &r.v };
    uint8_t *at = wk_room(p, t);
    size_t n[N_PART];
    part_bytes(head_dim, n);
    for (int i = 0; i < N_PART; at += n[i++]) *part[i] = (float *)(void *)at;
    return r;
}

static uint8_t *block_of(const wk_cpu_plan *p, const wk_attr *a, int64_t head, int32_t page) {
    return p->kv->mem + (size_t)page * p->kv->page_bytes + (size_t)a->layer * p->kv->layer_bytes +
           (size_t)head * 2 * p->kv->block.n_bytes;
}

static void store(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_attr *a = &s->node->attr;
    const wk_batch *b = p->batch;
    int64_t hd = a->head_dim, from, to;
    wk_team_share(t, (int64_t)b->n_row * a->n_head_kv, 1, &from, &to);
    for (int64_t i = from; i < to; i++) {
        int64_t r = i / a->n_head_kv, pos = b->pos[r];
        uint8_t *keys = block_of(p, a, i % a->n_head_kv, b->page[(int64_t)b->seq[r] * b->max_page + pos / WK_PAGE_LEN]);
        p->kernels->store_kv(&p->kv->block, wk_in(p, s, 1) + i * hd, wk_in(p, s, 2) + i * hd, (int)(pos % WK_PAGE_LEN),
                             keys, keys + p->kv->block.n_bytes);
    }
}

/* Keys and values that are held in 16 bits or less meet queries and weights as pairs of bfloat16 where that is faster. */
static void (*attend_tile(const wk_cpu_plan *p))(const wk_attn_tile *, const wk_attn_room *) {
    void (*by_pairs)(const wk_attn_tile *, const wk_attn_room *) = wk_pairs_here().attend;
    return by_pairs && p->kv->block.dtype != WK_F32 ? by_pairs : p->kernels->attend;
}

/* Query heads [h0, h1) of a tile. */
static void attend_heads(const wk_step *s, const wk_cpu_plan *p, const wk_attn_room *room, const wk_row_tile *tile, int64_t h0,
                         int64_t h1) {
    const wk_attr *a = &s->node->attr;
    const wk_row_order *o = &p->order[wk_order_of(s->shape_in)];
    int64_t group = a->n_head / a->n_head_kv, hd = a->head_dim, most = WK_TILE_ROWS / tile->n;
    for (int64_t h = h0, next; h < h1; h = next) {
        next = h / group * group + group;  /* the end of this KV head's */
        if (next > h1) next = h1;
        if (next - h > most) next = h + most;
        wk_attn_tile at = {
            .attr = a, .q = wk_in(p, s, 0) + h * hd, .y = wk_out(p, s, 0) + h * hd,
            .sink = s->weight ? s->weight->vec + h : NULL,
            .lse = s->node->n_out > 1 ? wk_out(p, s, 1) + h : NULL, .ldq = s->shape_out.cols, .ldlse = a->n_head,
            .row = o->row + tile->first, .pos = o->pos, .n_row = tile->n, .n_head = (int)(next - h), .n_key = tile->n_key,
            .kv = block_of(p, a, h / group, 0), .page_bytes = p->kv->page_bytes, .v_at = p->kv->block.n_bytes,
            .page = p->batch->page + (int64_t)tile->seq * p->batch->max_page, .block = p->kv->block,
        };
        attend_tile(p)(&at, room);
    }
}

static void attend(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_attr *a = &s->node->attr;
    wk_attn_room room = room_of(p, t, a->head_dim);
    const wk_row_order *o = &p->order[wk_order_of(s->shape_in)];
    int64_t group = a->n_head / a->n_head_kv, n = (int64_t)o->n_tile * a->n_head_kv;
    if (n < 4 * t->n || p->mode & WK_MODE_ONE) {  /* of one row the plan counts on a share of heads */
        int64_t from, to;
        wk_team_share(t, a->n_head, 1, &from, &to);
        for (int i = 0; i < o->n_tile; i++) attend_heads(s, p, &room, &o->tile[i], from, to);
        return;
    }
    atomic_int *taken = &p->taken[s->node - p->base.graph->node];
    for (int64_t i; (i = n - 1 - atomic_fetch_add_explicit(taken, 1, memory_order_relaxed)) >= 0;) {  /* the dear ones first */
        int64_t h = i % a->n_head_kv * group;
        attend_heads(s, p, &room, &o->tile[i / a->n_head_kv], h, h + group);
    }
}

/* A layer's keys and values: of one row by query heads, of which `unit` share a part. */
static void lower_kv(wk_lowering *l, const wk_attr *a, bool write, int64_t unit) {
    l->when = WK_WITH_ONE;
    wk_lower_scratch_cols(l, WK_SPACE_KV, a->layer, write, WK_SPLIT_RUNS, unit, a->n_head);
    l->when = WK_ALL_MODES & ~WK_WITH_ONE;
    wk_lower_scratch(l, WK_SPACE_KV, a->layer, write, WK_SPLIT_NONE, 0);
    l->when = WK_ALL_MODES;
}

void wk_lower_attention(wk_lowering *l, const wk_node *n) {
    wk_cpu_plan *p = l->p;
    const wk_attr *a = &n->attr;
    if (!wk_lower_step(l, store)) return;
    wk_lower_value(l, n->in[1], false, WK_SPLIT_RUNS, a->head_dim);
    wk_lower_value(l, n->in[2], false, WK_SPLIT_RUNS, a->head_dim);
    lower_kv(l, a, true, a->n_head / a->n_head_kv);
    const wk_cpu_weight *sinks = n->in[3] >= 0 ? wk_lower_vector(l, 3) : NULL;
    wk_step *s = wk_lower_step(l, attend);
    if (!s) return;
    s->weight = sinks;
    lower_kv(l, a, false, 1);
    l->when = WK_WITH_ONE;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, a->head_dim);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, a->head_dim);
    l->when = WK_ALL_MODES & ~WK_WITH_ONE;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_NONE, 0);
    l->when = WK_ALL_MODES;
    if (n->n_out > 1) wk_lower_value(l, n->out[1], true, WK_SPLIT_NONE, 0);
    int rows = WK_TILE_ROWS / (a->n_head / a->n_head_kv);
    if (rows > 6) rows -= rows % 6;  /* as most register tiles have rows */
    if (p->tile_rows > rows) p->tile_rows = rows > 0 ? rows : 1;
    if (p->room_bytes < wk_attn_room_bytes(a->head_dim)) p->room_bytes = wk_attn_room_bytes(a->head_dim);
}
