/* attention.c: stores the rows' keys and values in the paged cache, then, per query head,
 * y = softmax(scale * q.k (capped) over visible positions) v, reading keys and values as the cache stores them, those of
 * the same pass too. Head h reads KV head h / (n_head / n_head_kv). Vaswani et al. 2017, section 3.2.1; grouped heads:
 * Ainslie et al. 2023. q [R, n_head * hd], of all rows or of those wanted, as is y; k and v [T, n_head_kv * hd]; saved:
 * log-sum-exp [R, n_head].
 * Visible to position p: j <= p where causal, and p - j < window where there is a window.
 * Sinks [n_head] (optional): a score of each head that takes its share of the softmax and adds nothing to y (gpt-oss' model card,
 * section 2.2; Miller 2023, "Attention is off by one").
 * The gradient reads keys and values from the cache, as the pass left them there: that the cache rounds them counts as the
 * identity, and positions from before this pass are constants. Dao et al. 2022, appendix B.2. */
#include "graph/ops/ops.h"
#include <math.h>
#include <string.h>

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape q = wk_in_shape(g, n, 0), k = wk_in_shape(g, n, 1), v = wk_in_shape(g, n, 2);
    const wk_attr *a = &n->attr;
    if (q.kind == WK_ROWS_FIXED || q.n != 1 || k.kind != WK_ROWS_T || k.n != 1 || v.kind != WK_ROWS_T || v.n != 1)
        return wk_op_misfit(n, "needs one row per token, keys and values of all");
    if (a->n_head_kv <= 0 || a->n_head % a->n_head_kv) return wk_op_misfit(n, "%d heads for %d KV heads", a->n_head, a->n_head_kv);
    if (q.cols != (int64_t)a->n_head * a->head_dim || k.cols != (int64_t)a->n_head_kv * a->head_dim || v.cols != k.cols)
        return wk_op_misfit(n, "q, k, v of %lld, %lld, %lld columns for %d and %d heads of %d", (long long)q.cols,
                            (long long)k.cols, (long long)v.cols, a->n_head, a->n_head_kv, a->head_dim);
    if (n->in[3] >= 0 && wk_in_shape(g, n, 3).n * wk_in_shape(g, n, 3).cols != a->n_head)
        return wk_op_misfit(n, "sinks for %lld heads, there are %d", (long long)wk_in_shape(g, n, 3).cols, a->n_head);
    out[0] = q;
    out[1] = (wk_shape){ q.kind, 1, a->n_head, false };
    return WICK_OK;
}

/* Index in the cache of a sequence's position. */
static int64_t slot(const wk_ref_call *c, int32_t seq, int64_t pos) {
    const wk_batch *b = c->batch;
    return (int64_t)b->page[(int64_t)seq * b->max_page + pos / c->page_len] * c->page_len + pos % c->page_len;
}

static void store(const wk_ref_call *c) {
    int64_t hd = c->node->attr.head_dim, d = c->in[1].cols;
    for (int t = 0; t < c->batch->n_row; t++) {
        int64_t at = slot(c, c->batch->seq[t], c->batch->pos[t]) * d;
        memcpy(c->k + at, c->in[1].f + t * d, (size_t)d * sizeof(double));
        memcpy(c->v + at, c->in[2].f + t * d, (size_t)d * sizeof(double));
        for (int64_t h = 0; c->round && h < d; h += hd) {
            wk_round_kv(c->k + at + h, hd, c->kv_type);
            wk_round_kv(c->v + at + h, hd, c->kv_type);
        }
    }
}

/* A head of the batch's row t, which is row r of q: two passes over the visible positions (largest score, then sums). */
static void attend(const wk_ref_call *c, int64_t r, int t, int64_t h, int64_t n_pos) {
    const wk_attr *a = &c->node->attr;
    int64_t hd = a->head_dim, d = c->in[1].cols, kv = h / (a->n_head / a->n_head_kv) * hd, pos = c->batch->pos[t];
    const double *q = c->in[0].f + r * c->in[0].cols + h * hd;
    double *y = c->out[0].f + r * c->in[0].cols + h * hd, max = c->in[3].f ? c->in[3].f[h] : -INFINITY, sum = 0;
    memset(y, 0, (size_t)hd * sizeof *y);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j < n_pos; j++) {
            if ((a->causal && j > pos) || (a->window && pos - j >= a->window)) continue;
            const double *k = c->k + slot(c, c->batch->seq[t], j) * d + kv, *v = c->v + slot(c, c->batch->seq[t], j) * d + kv;
            double s = 0;
            for (int64_t i = 0; i < hd; i++) s += q[i] * k[i];
            s *= (double)a->scale;
            if (a->cap > 0) s = (double)a->cap * tanh(s / (double)a->cap);
            if (pass == 0) { max = fmax(max, s); continue; }
            double p = exp(s - max);
            sum += p;
            for (int64_t i = 0; i < hd; i++) y[i] += p * v[i];
        }
    if (c->in[3].f) sum += exp(c->in[3].f[h] - max);
    for (int64_t i = 0; i < hd; i++) y[i] /= sum;
    if (c->node->n_out > 1) c->out[1].f[r * a->n_head + h] = max + log(sum);
}

/* Positions that row t's sequence holds: its newest row is in this batch. */
static int64_t n_positions(const wk_batch *b, int t) {
    int64_t n = 0;
    for (int u = 0; u < b->n_row; u++) if (b->seq[u] == b->seq[t] && b->pos[u] >= n) n = b->pos[u] + 1;
    return n;
}

static void reference(const wk_ref_call *c) {
    store(c);
    for (int64_t r = 0; r < c->in[0].rows; r++) {
        int t = wk_batch_row(c->batch, c->rows, r);
        int64_t n_pos = n_positions(c->batch, t);
        for (int64_t h = 0; h < c->node->attr.n_head; h++) attend(c, r, t, h, n_pos);
    }
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    wk_val in[] = { g_out[0], n->in[0], n->in[1], n->in[2], n->out[0], n->out[1] };
    wk_val dq = want[0] || want[1] || want[2] ? wk_graph_op(g, WK_OP_ATTENTION_GRAD, in, 6, &n->attr, "attention_grad") : WK_NO_VAL;
    for (int i = 0; i < 3; i++) if (want[i]) g_in[i] = wk_graph_out(g, dq, i);
    wk_val of_sinks[] = { g_out[0], n->out[0], n->out[1], n->in[3] };
    if (want[3]) g_in[3] = wk_graph_op(g, WK_OP_SINKS_GRAD, of_sinks, 4, &n->attr, "sinks_grad");
    return g->status;
}

const wk_op_info wk_op_attention = {
    .name = "attention", .n_in = 4, .n_optional = 1, .n_out = 1, .n_save = 1, .tol = 1e-5, .shape = shape,
    .reference = reference, .grad = grad,
};

/* Inputs g, q, k, v, y, lse; outputs dq, dk, dv. With s a pair's score before the cap, p = exp(capped s - lse), D = g.y of the
 * query row: dv_j += p g, ds = p (g.v_j - D) (1 - (capped s / cap)^2) scale, dq += ds k_j, dk_j += ds q. */
static wick_status grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    for (int i = 0; i < 3; i++) out[i] = wk_in_shape(g, n, i + 1);
    return WICK_OK;
}

/* What the batch's row u, as a key, gets from head h of row r of q. */
static void pair_grad(const wk_ref_call *c, int64_t r, int u, const double *k, const double *v, int64_t h) {
    const wk_attr *a = &c->node->attr;
    int64_t hd = a->head_dim, at = r * c->in[1].cols + h * hd, to = u * c->in[2].cols + h / (a->n_head / a->n_head_kv) * hd;
    const double *g = c->in[0].f + at, *q = c->in[1].f + at, *y = c->in[4].f + at;
    double s = 0, gv = 0, gy = 0, slope = 1;
    for (int64_t i = 0; i < hd; i++) {
        s += q[i] * k[i] * (double)a->scale;
        gv += g[i] * v[i];
        gy += g[i] * y[i];
    }
    if (a->cap > 0) {
        double capped = tanh(s / (double)a->cap);
        s = (double)a->cap * capped;
        slope = 1 - capped * capped;
    }
    double p = exp(s - c->in[5].f[r * a->n_head + h]), ds = p * (gv - gy) * slope * (double)a->scale;
    for (int64_t i = 0; i < hd; i++) {
        c->out[0].f[at + i] += ds * k[i];
        if (u < 0) continue;
        c->out[1].f[to + i] += ds * q[i];
        c->out[2].f[to + i] += p * g[i];
    }
}

static void grad_reference(const wk_ref_call *c) {
    const wk_attr *a = &c->node->attr;
    const wk_batch *b = c->batch;
    int64_t d = c->in[2].cols;
    for (int i = 0; i < 3; i++) memset(c->out[i].f, 0, (size_t)(c->out[i].rows * c->out[i].cols) * sizeof(double));
    for (int64_t i = 0; i < c->in[1].rows; i++) {
        int t = wk_batch_row(b, c->rows, i);
        int64_t n_pos = n_positions(b, t), pos = b->pos[t];
        for (int64_t j = 0; j < n_pos; j++) {
            if ((a->causal && j > pos) || (a->window && pos - j >= a->window)) continue;
            int u = -1;  /* the row of this pass that is position j */
            for (int r = 0; r < b->n_row; r++) if (b->seq[r] == b->seq[t] && b->pos[r] == j) u = r;
            for (int64_t h = 0; h < a->n_head; h++) {
                int64_t kv = slot(c, b->seq[t], j) * d + h / (a->n_head / a->n_head_kv) * a->head_dim;
                pair_grad(c, i, u, c->k + kv, c->v + kv, h);
            }
        }
    }
}

const wk_op_info wk_op_attention_grad = {
    .name = "attention_grad", .n_in = 6, .n_out = 3, .tol = 1e-5, .shape = grad_shape, .reference = grad_reference,
};

/* Inputs g, y, lse, sinks: dsink_h = - sum over rows of exp(sink_h - lse) g.y of the head: a sink takes its share of the softmax,
 * lse has it, and its value is zero. */
static wick_status sinks_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, 3);
    return WICK_OK;
}

static void sinks_reference(const wk_ref_call *c) {
    int64_t n_head = c->node->attr.n_head, hd = c->node->attr.head_dim;
    memset(c->out[0].f, 0, (size_t)n_head * sizeof(double));
    for (int64_t k = 0; k < c->in[0].rows * n_head; k++) {
        double gy = 0;
        for (int64_t i = 0; i < hd; i++) gy += c->in[0].f[k * hd + i] * c->in[1].f[k * hd + i];
        c->out[0].f[k % n_head] -= exp(c->in[3].f[k % n_head] - c->in[2].f[k]) * gy;
    }
}

const wk_op_info wk_op_sinks_grad = {
    .name = "sinks_grad", .n_in = 4, .n_out = 1, .tol = 1e-5, .shape = sinks_shape, .reference = sinks_reference,
};
