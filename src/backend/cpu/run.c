/* run.c: runs a plan for a batch: checks it, groups its rows by sequence, and sends every thread down the list of steps.
 * Nothing is allocated here. */
#include "backend/cpu/plan.h"
#include "backend/dump.h"
#include "graph/op.h"
#include <string.h>

/* What the batch says about memory is held against what there is. */
static wick_status check_kv(const wk_cpu_plan *p, const wk_batch *b, const wk_node *n) {
    const wk_kv_shape *s = p->kv ? &p->kv->base.shape : NULL;
    if (!s) return wk_fail(WICK_E_ARG, "op attention: the run was given no KV cache");
    if (n->attr.layer >= s->n_layer || n->attr.n_head_kv != s->n_head_kv || n->attr.head_dim != s->head_dim)
        return wk_fail(WICK_E_ARG, "op attention: layer %d of %d heads of %d, the KV cache has %d layers of %d heads of %d",
                       n->attr.layer, n->attr.n_head_kv, n->attr.head_dim, s->n_layer, s->n_head_kv, s->head_dim);
    for (int r = 0; r < b->n_row; r++) {
        int32_t last = b->pos[r] / WK_PAGE_LEN;
        if (b->seq[r] < 0 || b->seq[r] >= b->n_seq || b->pos[r] < 0 || last >= b->max_page)
            return wk_fail(WICK_E_ARG, "row %d: position %d of sequence %d, the block table has %d sequences of %d pages", r,
                           b->pos[r], b->seq[r], b->n_seq, b->max_page);
        const int32_t *page = b->page + (int64_t)b->seq[r] * b->max_page;
        for (int32_t i = 0; i <= last; i++)
            if (page[i] < 0 || page[i] >= s->n_page)
                return wk_fail(WICK_E_ARG, "row %d: page %d of sequence %d is %d, the KV cache has %d", r, i, b->seq[r], page[i],
                               s->n_page);
    }
    return WICK_OK;
}

static wick_status check(const wk_cpu_plan *p, const wk_batch *b) {
    const wk_graph *g = p->base.graph;
    bool kv_known = false;
    if (b->n_row > p->base.max_rows || b->n_out > p->base.max_rows)
        return wk_fail(WICK_E_ARG, "%d rows, %d wanted: the plan is for %d", b->n_row, b->n_out, p->base.max_rows);
    for (size_t k = 0; k < g->n_node; k++) {
        const wk_node *n = &g->node[k];
        if (n->op == WK_OP_EMBED || (n->op == WK_OP_LORA && n->in[1] < 0 && n->in[2] >= 0)) {
            int64_t n_vocab = g->value[n->in[n->op == WK_OP_EMBED ? 0 : 2]].shape.n;
            for (int r = 0; r < b->n_row; r++)
                if (b->token[r] < 0 || b->token[r] >= n_vocab)
                    return wk_fail(WICK_E_ARG, "row %d: token %d, the embedding has %lld", r, b->token[r], (long long)n_vocab);
        }
        if (n->op == WK_OP_CROSS_ENTROPY && b->label) {
            int64_t n_out = g->value[n->in[1]].shape.n;
            for (int r = 0; r < b->n_row; r++)
                if (b->label[r] >= n_out)
                    return wk_fail(WICK_E_ARG, "row %d: label %d, the head has %lld outputs", r, b->label[r], (long long)n_out);
        }
        if (n->op == WK_OP_ATTENTION && !kv_known) {
            wick_status st = check_kv(p, b, n);
            if (st) return st;
            kv_known = true;
        }
    }
    return WICK_OK;
}

static const wk_rows kind_of[WK_N_ORDER] = { WK_ROWS_T, WK_ROWS_OUT };

/* The sequence of row r of those that an order has. */
static int32_t seq_of(const wk_batch *b, int order, int32_t r) { return b->seq[wk_batch_row(b, kind_of[order], r)]; }

/* n rows by sequence, in their order: they mostly come so already. */
static void sort_rows(wk_cpu_plan *p, const wk_batch *b, int order, int n) {
    wk_row_order *o = &p->order[order];
    for (int32_t r = 0, at; r < n; r++) {
        for (at = r; at > 0 && seq_of(b, order, o->row[at - 1]) > seq_of(b, order, r); at--) o->row[at] = o->row[at - 1];
        o->row[at] = r;
        o->pos[r] = b->pos[wk_batch_row(b, kind_of[order], r)];
    }
    o->n_tile = 0;
}

/* The next sequence, whose rows begin at s->first in either order of n[] rows; and tiles of them. */
static void take_seq(wk_cpu_plan *p, const wk_batch *b, const int *n, wk_seq_rows *s) {
    s->seq = seq_of(b, WK_ALL_ROWS, p->order[WK_ALL_ROWS].row[s->first[WK_ALL_ROWS]]);
    for (int i = 0; i < WK_N_ORDER; i++) {
        wk_row_order *o = &p->order[i];
        int at = s->first[i], end = at;
        while (end < n[i] && seq_of(b, i, o->row[end]) == s->seq) end++;
        if (i == WK_ALL_ROWS) s->n_key = o->pos[o->row[end - 1]] + 1;
        s->n[i] = end - at;
        for (; at < end; at += p->tile_rows)
            o->tile[o->n_tile++] = (wk_row_tile){ s->seq, at, end - at < p->tile_rows ? end - at : p->tile_rows, s->n_key };
    }
}

/* Rows by sequence, all and those wanted. */
static void group_rows(wk_cpu_plan *p, const wk_batch *b) {
    int n[WK_N_ORDER] = { b->n_row, b->n_out };
    wk_seq_rows s = { 0 };
    for (int i = 0; i < WK_N_ORDER; i++) sort_rows(p, b, i, n[i]);
    for (p->n_seq = 0; s.first[WK_ALL_ROWS] < b->n_row; p->n_seq++) {
        take_seq(p, b, n, &s);
        p->seq[p->n_seq] = s;
        for (int i = 0; i < WK_N_ORDER; i++) s.first[i] += s.n[i];
    }
}

/* A gradient finds a key's row by its distance from the sequence's first. */
static wick_status check_gaps(const wk_cpu_plan *p, const wk_batch *b) {
    for (int i = 1; i < b->n_row; i++) {
        int32_t r = p->order[WK_ALL_ROWS].row[i], before = p->order[WK_ALL_ROWS].row[i - 1];
        if (b->seq[r] == b->seq[before] && b->pos[r] != b->pos[before] + 1)
            return wk_fail(WICK_E_ARG, "row %d: position %d of sequence %d follows %d, attention_grad allows no gaps",
                           r, b->pos[r], b->seq[r], b->pos[before]);
    }
    return WICK_OK;
}

enum { PIECES = 8 };  /* of a thread's share of a group */

static atomic_int *pieces_of(const wk_cpu_plan *p, unsigned turn, int thread) {
    return p->piece + ((size_t)turn * (size_t)p->n_thread + (size_t)thread) * p->piece_ld;
}

/* The n steps from s on, a piece of columns at a time: this thread's own, then what others have left. */
static void run_group(const wk_step *s, int n, const wk_cpu_plan *p, const wk_team *t) {
    for (int k = 0; k < t->n; k++) {
        int owner = (t->i + k) % t->n;
        atomic_int *taken = pieces_of(p, p->turn, owner) + (s - p->step);
        for (int i; (i = atomic_fetch_add_explicit(taken, 1, memory_order_relaxed)) < PIECES;) {
            wk_team piece = { t->pool, owner * PIECES + i, t->n * PIECES };
            for (const wk_step *at = s; at < s + n; at++) if (at->when >> p->mode & 1) at->run(at, p, &piece);
        }
    }
}

static void run_steps(const wk_team *t, void *arg) {
    const wk_cpu_plan *p = arg;
    memset(pieces_of(p, !p->turn, t->i), 0, p->n_step * sizeof *p->piece);
    for (const wk_step *s = p->step, *end = s + p->n_step; s < end; s++) {
        if (!(s->when >> p->mode & 1)) continue;
        if (s->wait >> p->mode & 1) wk_team_barrier(t);
        int n = p->in_groups ? s->n_group[p->mode] : 0;
        if (n) run_group(s, n, p, t), s += n - 1;
        else s->run(s, p, t);
    }
}

/* No step of s's node comes after s. */
static bool is_last(const wk_cpu_plan *p, const wk_step *s) {
    for (const wk_step *end = p->step + p->n_step, *k = s + 1; k < end; k++) if (k->node == s->node) return false;
    return true;
}

/* As run_steps(), one step at a time, and a line for what each node made. */
static void run_and_dump(const wk_team *t, void *arg) {
    const wk_cpu_plan *p = arg;
    for (const wk_step *s = p->step, *end = s + p->n_step; s < end; s++) {
        if (s->when >> p->mode & 1) s->run(s, p, t);
        wk_team_barrier(t);
        if (t->i == 0 && is_last(p, s))
            for (int i = 0; i < s->node->n_out; i++) {
                wk_val v = s->node->out[i];
                wk_dump_value(p->base.graph, v, wk_rows_of(p, p->base.graph->value[v].shape), p->mem + p->offset[v]);
            }
        wk_team_barrier(t);
    }
}

wick_status wk_cpu_run(wk_plan *plan, const wk_batch *b, wk_kv *kv) {
    wk_cpu_plan *p = (wk_cpu_plan *)plan;
    p->batch = b;
    p->kv = (wk_cpu_kv *)kv;
    bool dump = wk_dump_wanted(), one = b->n_row == 1 && b->n_out <= 1 && !dump;  /* copies are not where values are looked for */
    p->mode = (b->adapter ? WK_MODE_LORA : 0u) | (b->n_row < 4 * p->n_thread ? WK_MODE_FEW : 0u) | (one ? WK_MODE_ONE : 0u);
    p->in_groups = !b->adapter || wk_lora_all_ahead(p, b);  /* what is not made ahead each thread makes once, for all its columns */
    wick_status st = check(p, b);
    if (st || b->n_row <= 0) return st;
    if (kv) group_rows(p, b);
    for (size_t k = 0; k < p->base.graph->n_node; k++) atomic_store_explicit(&p->taken[k], 0, memory_order_relaxed);
    for (size_t k = 0; kv && k < p->base.graph->n_node; k++)
        if (p->base.graph->node[k].op == WK_OP_ATTENTION_GRAD && (st = check_gaps(p, b))) return st;
    p->turn = !p->turn;
    wk_pool_run(plan->backend->pool, dump ? run_and_dump : run_steps, p);
    return WICK_OK;
}
