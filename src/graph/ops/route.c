/* route.c: a mixture of experts: which experts a row goes to, what they make of it, and their weighted sum.
 * Fedus et al. 2021; softmax over all experts, then the k largest (Qwen3-MoE, Mixtral). Equal weights: the lower index.
 * Chosen experts are listed from the largest weight down; their outputs are added in order of expert index. */
#include "graph/ops/ops.h"
#include "graph/ops/product.h"
#include <math.h>
#include <string.h>

static wick_status route_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape x = wk_in_shape(g, n, 0);
    int k = n->attr.n_used;
    if (x.kind == WK_ROWS_FIXED || x.n != 1) return wk_op_misfit(n, "needs one row per token");
    if (k < 1 || k > x.cols) return wk_op_misfit(n, "%d of %lld experts", k, (long long)x.cols);
    out[0] = (wk_shape){ x.kind, 1, k, true };
    out[1] = (wk_shape){ x.kind, 1, k, false };
    return WICK_OK;
}

static void route_reference(const wk_ref_call *c) {
    int64_t E = c->in[0].cols, k = c->node->attr.n_used;
    for (int64_t t = 0; t < c->out[0].rows; t++) {
        const double *x = c->in[0].f + t * E;
        int32_t *id = c->out[0].i + t * k;
        double *weight = c->out[1].f + t * k, max = x[0], sum = 0, chosen = 0;
        for (int64_t e = 1; e < E; e++) max = fmax(max, x[e]);
        for (int64_t e = 0; e < E; e++) sum += exp(x[e] - max);
        for (int64_t j = 0; j < k; j++) {
            int64_t best = -1;
            for (int64_t e = 0; e < E; e++) {
                bool taken = false;
                for (int64_t i = 0; i < j; i++) taken |= id[i] == e;
                if (!taken && (best < 0 || x[e] > x[best])) best = e;
            }
            id[j] = (int32_t)best;
            chosen += weight[j] = exp(x[best] - max) / sum;
        }
        for (int64_t j = 0; c->node->attr.norm_topk && j < k; j++) weight[j] /= chosen;
    }
}

static wick_status route_grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    (void)want;
    if (g_out[1] < 0) return g->status;  /* which experts are chosen has no gradient, their weights have */
    g_in[0] = wk_graph_op(g, WK_OP_ROUTE_GRAD, (wk_val[]){ g_out[1], n->in[0], n->out[0] }, 3, &n->attr, "route_grad");
    return g->status;
}

const wk_op_info wk_op_route = {
    .name = "route", .n_in = 1, .n_out = 2, .tol = 1e-5, .shape = route_shape, .reference = route_reference, .grad = route_grad,
};

/* Inputs g [T, k], logits [T, E], ids. With p the softmax over all experts, or over the chosen ones where weights are divided
 * by their sum: dlogit_e = p_e (g_e - sum over chosen of g p), g_e being 0 where e is not chosen. */
static wick_status route_grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, 1);
    return wk_in_shape(g, n, 2).ids ? WICK_OK : wk_op_misfit(n, "input 2 is no list of experts");
}

static void route_grad_reference(const wk_ref_call *c) {
    int64_t E = c->in[1].cols, k = c->in[2].cols;
    for (int64_t t = 0; t < c->in[1].rows; t++) {
        const double *g = c->in[0].f + t * k, *x = c->in[1].f + t * E;
        const int32_t *id = c->in[2].i + t * k;
        double *dx = c->out[0].f + t * E, top = x[id[0]], sum = 0, mean = 0;
        if (c->node->attr.norm_topk) for (int64_t j = 0; j < k; j++) sum += exp(x[id[j]] - top);
        else for (int64_t e = 0; e < E; e++) sum += exp(x[e] - top);
        for (int64_t j = 0; j < k; j++) mean += g[j] * exp(x[id[j]] - top) / sum;
        for (int64_t e = 0; e < E; e++) dx[e] = c->node->attr.norm_topk ? 0 : -exp(x[e] - top) / sum * mean;
        for (int64_t j = 0; j < k; j++) {
            double p = exp(x[id[j]] - top) / sum;
            dx[id[j]] = p * (g[j] - mean);
        }
    }
}

const wk_op_info wk_op_route_grad = {
    .name = "route_grad", .n_in = 3, .n_out = 1, .tol = 1e-5, .shape = route_grad_shape, .reference = route_grad_reference,
};

/* Inputs x [T or k*T, n_in], W [n_expert, n_out, n_in], ids [T, k], (bias [n_expert * n_out]); y [k*T, n_out]. */
static wick_status expert_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape x = wk_in_shape(g, n, 0), w = wk_in_shape(g, n, 1), id = wk_in_shape(g, n, 2);
    if (!id.ids) return wk_op_misfit(n, "input 2 is no list of experts");
    if (x.kind == WK_ROWS_FIXED || x.kind != id.kind || (x.n != 1 && x.n != id.cols))
        return wk_op_misfit(n, "%lld rows per token for %lld experts", (long long)x.n, (long long)id.cols);
    if (x.cols != w.cols) return wk_op_misfit(n, "input of %lld columns, a weight for %lld", (long long)x.cols, (long long)w.cols);
    if (n->in[3] >= 0 && wk_in_shape(g, n, 3).n * wk_in_shape(g, n, 3).cols != w.n)
        return wk_op_misfit(n, "%lld biases for %lld outputs of all experts", (long long)wk_in_shape(g, n, 3).cols, (long long)w.n);
    out[0] = (wk_shape){ x.kind, id.cols, w.n / g->value[n->in[1]].n_mat, false };
    return WICK_OK;
}

static void expert_reference(const wk_ref_call *c) {
    const wk_ref_array *x = &c->in[0], *w = &c->in[1], *id = &c->in[2];
    int64_t k = id->cols, n_out = w->rows / w->n_mat;
    for (int64_t r = 0; r < c->out[0].rows; r++) {
        int64_t from = x->rows == c->out[0].rows ? r : r / k;
        const double *bias = c->in[3].f ? c->in[3].f + id->i[r] * n_out : NULL;
        wk_ref_product(w->f + id->i[r] * n_out * w->cols, x->f + from * x->cols, n_out, w->cols, bias,
                       wk_rounding_of(c, w, id->i[r]), c->out[0].f + r * n_out);
    }
}

static wick_status expert_grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    if (want[0])
        g_in[0] = wk_graph_op(g, WK_OP_EXPERT_INPUT_GRAD, (wk_val[]){ g_out[0], n->in[1], n->in[2], n->in[0] }, 4, NULL,
                              "expert_input_grad");
    if (want[1])
        g_in[1] = wk_graph_op(g, WK_OP_EXPERT_WEIGHT_GRAD, (wk_val[]){ g_out[0], n->in[1], n->in[2], n->in[0] }, 4, NULL,
                              "expert_weight_grad");
    if (want[3])
        g_in[3] = wk_graph_op(g, WK_OP_EXPERT_BIAS_GRAD, (wk_val[]){ g_out[0], n->in[3], n->in[2] }, 3, NULL, "expert_bias_grad");
    return g->status;
}

const wk_op_info wk_op_expert_linear = {
    .name = "expert_linear", .n_in = 4, .n_optional = 1, .n_out = 1, .tol = 1e-5, .shape = expert_shape,
    .reference = expert_reference,
    .grad = expert_grad,
};

/* Inputs g [k*T, n_out], W, ids, x (for its shape): dx = W[id]^T g; where a row of x went to k experts, their sum, in the order
 * that ids has. */
static wick_status expert_grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, 3);
    return WICK_OK;
}

static void expert_grad_reference(const wk_ref_call *c) {
    const wk_ref_array *g = &c->in[0], *w = &c->in[1], *id = &c->in[2];
    int64_t k = id->cols, n_out = g->cols, n_in = w->cols, share = c->out[0].rows == g->rows ? 1 : k;
    memset(c->out[0].f, 0, (size_t)(c->out[0].rows * n_in) * sizeof(double));
    for (int64_t r = 0; r < g->rows; r++)
        for (int64_t o = 0; o < n_out; o++)
            for (int64_t i = 0; i < n_in; i++)
                c->out[0].f[r / share * n_in + i] += g->f[r * n_out + o] * w->f[(id->i[r] * n_out + o) * n_in + i];
}

const wk_op_info wk_op_expert_input_grad = {
    .name = "expert_input_grad", .n_in = 4, .n_out = 1, .tol = 1e-5, .shape = expert_grad_shape, .reference = expert_grad_reference,
};

/* Inputs g [k*T, n_out], W (for its shape), ids, x: dW[e] = sum over the rows of expert e of g x^T; zero where it has none. */
static wick_status expert_weight_grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, 1);
    return WICK_OK;
}

static void expert_weight_grad_reference(const wk_ref_call *c) {
    const wk_ref_array *g = &c->in[0], *id = &c->in[2], *x = &c->in[3];
    int64_t n_out = g->cols, n_in = x->cols, share = x->rows == g->rows ? 1 : id->cols;
    memset(c->out[0].f, 0, (size_t)(c->out[0].rows * n_in) * sizeof(double));
    for (int64_t r = 0; r < g->rows; r++)
        for (int64_t o = 0; o < n_out; o++)
            for (int64_t i = 0; i < n_in; i++)
                c->out[0].f[(id->i[r] * n_out + o) * n_in + i] += g->f[r * n_out + o] * x->f[r / share * n_in + i];
}

const wk_op_info wk_op_expert_weight_grad = {
    .name = "expert_weight_grad", .n_in = 4, .n_out = 1, .tol = 1e-5, .shape = expert_weight_grad_shape,
    .reference = expert_weight_grad_reference,
};

/* Inputs g [k*T, n_out], bias [n_expert * n_out] (for its shape), ids: dbias[e] = sum over the rows of expert e of g. */
static wick_status expert_bias_grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, 1);
    return WICK_OK;
}

static void expert_bias_grad_reference(const wk_ref_call *c) {
    const wk_ref_array *g = &c->in[0], *id = &c->in[2];
    memset(c->out[0].f, 0, (size_t)(c->out[0].rows * c->out[0].cols) * sizeof(double));
    for (int64_t r = 0; r < g->rows; r++)
        for (int64_t o = 0; o < g->cols; o++) c->out[0].f[id->i[r] * g->cols + o] += g->f[r * g->cols + o];
}

const wk_op_info wk_op_expert_bias_grad = {
    .name = "expert_bias_grad", .n_in = 3, .n_out = 1, .tol = 1e-5, .shape = expert_bias_grad_shape,
    .reference = expert_bias_grad_reference,
};

/* Inputs x [k*T, d], weights [T, k], ids [T, k]; y [T, d]. */
static wick_status combine_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape x = wk_in_shape(g, n, 0), w = wk_in_shape(g, n, 1), id = wk_in_shape(g, n, 2);
    if (x.kind == WK_ROWS_FIXED || x.kind != w.kind || x.kind != id.kind || x.n != w.cols || id.cols != w.cols || !id.ids)
        return wk_op_misfit(n, "%lld rows per token, %lld weights", (long long)x.n, (long long)w.cols);
    out[0] = (wk_shape){ x.kind, 1, x.cols, false };
    return WICK_OK;
}

static void combine_reference(const wk_ref_call *c) {
    int64_t d = c->in[0].cols, k = c->in[1].cols;
    for (int64_t t = 0; t < c->out[0].rows; t++) {
        for (int64_t i = 0; i < d; i++) c->out[0].f[t * d + i] = 0;
        for (int32_t last = -1, next; ; last = next) {
            int64_t at = -1;  /* the chosen expert with the lowest index above last */
            for (int64_t j = 0; j < k; j++) {
                int32_t id = c->in[2].i[t * k + j];
                if (id > last && (at < 0 || id < c->in[2].i[t * k + at])) at = j;
            }
            if (at < 0) break;
            next = c->in[2].i[t * k + at];
            for (int64_t i = 0; i < d; i++) c->out[0].f[t * d + i] += c->in[1].f[t * k + at] * c->in[0].f[(t * k + at) * d + i];
        }
    }
}

static wick_status combine_grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    wk_val dx = wk_graph_op(g, WK_OP_COMBINE_GRAD, (wk_val[]){ g_out[0], n->in[0], n->in[1] }, 3, NULL, "combine_grad");
    for (int i = 0; i < 2; i++) if (want[i]) g_in[i] = wk_graph_out(g, dx, i);
    return g->status;
}

const wk_op_info wk_op_combine = {
    .name = "combine", .n_in = 3, .n_out = 1, .tol = 1e-5, .shape = combine_shape, .reference = combine_reference,
    .grad = combine_grad,
};

/* Inputs g [T, d], x [k*T, d], weights [T, k]: dx[t*k+j] = weight[t,j] g[t], dweight[t,j] = g[t].x[t*k+j]. */
static wick_status combine_grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, 1);
    out[1] = wk_in_shape(g, n, 2);
    return WICK_OK;
}

static void combine_grad_reference(const wk_ref_call *c) {
    int64_t d = c->in[0].cols, k = c->in[2].cols;
    for (int64_t i = 0; i < c->in[1].rows; i++) {
        const double *g = c->in[0].f + i / k * d, *x = c->in[1].f + i * d;
        c->out[1].f[i] = 0;
        for (int64_t j = 0; j < d; j++) {
            c->out[0].f[i * d + j] = c->in[2].f[i] * g[j];
            c->out[1].f[i] += g[j] * x[j];
        }
    }
}

const wk_op_info wk_op_combine_grad = {
    .name = "combine_grad", .n_in = 3, .n_out = 2, .tol = 1e-5, .shape = combine_grad_shape, .reference = combine_grad_reference,
};
