/* graph.c: building graphs, and deriving their backward pass. */
#include "graph/graph.h"
#include "graph/op.h"
#include "graph/weight.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NO_IN { -1, -1, -1, -1, -1, -1, -1, -1 }
#define NO_OUT { -1, -1, -1, -1 }

wick_status wk_graph_new(bool saving, wk_graph **out) {
    *out = wk_alloc(sizeof **out);
    if (!*out) return wk_fail_memory(sizeof **out, "a graph");
    (*out)->saving = saving;
    return WICK_OK;
}

void wk_graph_free(wk_graph *g) {
    if (!g) return;
    wk_free(g->value);
    wk_free(g->node);
    wk_free(g);
}

static wk_val new_value(wk_graph *g, const wk_value *v, const char *name) {
    if (g->status) return WK_NO_VAL;
    if (!wk_grow((void **)&g->value, &g->cap_value, g->n_value + 1, sizeof *g->value)) {
        g->status = wk_fail_memory(sizeof *g->value, "a graph's values");
        return WK_NO_VAL;
    }
    wk_value *at = &g->value[g->n_value];
    *at = *v;
    snprintf(at->name, sizeof at->name, "%s", name ? name : "");
    return (wk_val)g->n_value++;
}

wk_val wk_graph_input(wk_graph *g, wk_shape s, const char *name) {
    return new_value(g, &(wk_value){ .kind = WK_VALUE_INPUT, .shape = s, .node = -1, .n_mat = 1, .keep = true }, name);
}

wk_val wk_graph_param(wk_graph *g, const wk_weight *w, const char *name) {
    for (size_t i = 0; i < g->n_value; i++)  /* a tied weight is one value */
        if (g->value[i].weight == w) return (wk_val)i;
    wk_shape s = { WK_ROWS_FIXED, w->n_mat * w->n_row, w->n_col, false };
    return new_value(g, &(wk_value){ .kind = WK_VALUE_PARAM, .shape = s, .node = -1, .weight = w, .n_mat = w->n_mat }, name);
}

wk_shape wk_in_shape(const wk_graph *g, const wk_node *n, int i) {
    return i < n->n_in && n->in[i] >= 0 ? g->value[n->in[i]].shape : (wk_shape){ 0 };
}

wick_status wk_op_misfit(const wk_node *n, const char *fmt, ...) {
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return wk_fail(WICK_E_ARG, "op %s: %s", wk_ops[n->op]->name, text);
}

/* Inputs that must be there are. */
static wick_status check_inputs(const wk_graph *g, const wk_node *n) {
    const wk_op_info *op = wk_ops[n->op];
    for (int i = 0; i < op->n_in; i++) {
        bool given = i < n->n_in && n->in[i] >= 0;
        if (!given && i < op->n_in - op->n_optional) return wk_op_misfit(n, "input %d is missing", i);
        if (given && (size_t)n->in[i] >= g->n_value) return wk_op_misfit(n, "input %d is not a value", i);
    }
    return WICK_OK;
}

wk_val wk_graph_op(wk_graph *g, wk_op op, const wk_val *in, int n_in, const wk_attr *attr, const char *name) {
    const wk_op_info *info = wk_ops[op];
    wk_node n = { .op = op, .n_in = info->n_in, .in = NO_IN, .out = NO_OUT };
    wk_shape out[WK_MAX_OUT] = { { 0 } };
    if (g->status) return WK_NO_VAL;
    for (int i = 0; i < n_in && i < WK_MAX_IN; i++) n.in[i] = in[i];
    if (attr) n.attr = *attr;
    g->status = check_inputs(g, &n);
    if (!g->status) g->status = info->shape(g, &n, out);
    if (g->status) return WK_NO_VAL;
    n.n_out = info->n_out + (g->saving ? info->n_save : 0);
    for (int i = 0; i < n.n_out; i++)
        n.out[i] = new_value(g, &(wk_value){ .kind = WK_VALUE_RESULT, .shape = out[i], .node = (int32_t)g->n_node, .n_mat = 1 },
                             name);
    if (!g->status && !wk_grow((void **)&g->node, &g->cap_node, g->n_node + 1, sizeof *g->node))
        g->status = wk_fail_memory(sizeof *g->node, "a graph's nodes");
    if (g->status) return WK_NO_VAL;
    g->node[g->n_node++] = n;
    return n.out[0];
}

wk_val wk_graph_out(const wk_graph *g, wk_val v, int i) {
    if (g->status || v < 0 || g->value[v].node < 0) return WK_NO_VAL;
    const wk_node *n = &g->node[g->value[v].node];
    return i < n->n_out ? n->out[i] : WK_NO_VAL;
}

void wk_graph_keep(wk_graph *g, wk_val v) {
    if (!g->status && v >= 0) g->value[v].keep = true;
}

/* Marks what lies between of[] and out: on[v] is set where d out / d v is asked for or leads to one that is. */
static void mark_paths(const wk_graph *g, size_t first, size_t n_node, const wk_val *of, int n, bool *on) {
    for (int i = 0; i < n; i++) on[of[i]] = true;
    for (size_t k = first; k < n_node; k++) {
        const wk_node *node = &g->node[k];
        bool any = false;
        for (int i = 0; i < node->n_in; i++) any |= node->in[i] >= 0 && on[node->in[i]];
        for (int i = 0; any && i < node->n_out; i++) on[node->out[i]] = true;
    }
}

/* grad[v] += g_in; the first contribution is taken as it is. */
static void accumulate(wk_graph *g, wk_val *grad, wk_val v, wk_val g_in) {
    if (g_in < 0) return;
    grad[v] = grad[v] < 0 ? g_in : wk_graph_op(g, WK_OP_ADD, (wk_val[]){ grad[v], g_in }, 2, NULL, "grad");
}

/* A node's inputs as its gradient rule is to see them: where that reads a cheap output of a node from first on, the output made
 * again; once, as again[v] remembers. Gradients are still added up under the value's own name, so their order stays. */
static wk_node with_remade(wk_graph *g, const wk_node *node, size_t first, wk_val *again) {
    wk_node n = *node;
    for (int i = 0; g->remaking && i < n.n_in; i++) {
        wk_val v = n.in[i];
        if (v < 0 || !(wk_ops[n.op]->grad_reads >> i & 1) || g->value[v].keep || g->value[v].node < (int32_t)first) continue;
        wk_node from = g->node[g->value[v].node];
        if (!wk_ops[from.op]->cheap || from.out[0] != v) continue;
        if (again[v] < 0) {
            bool saving = g->saving;
            g->saving = false;
            again[v] = wk_graph_op(g, from.op, from.in, from.n_in, &from.attr, "again");
            g->saving = saving;
        }
        n.in[i] = again[v];
    }
    return n;
}

wick_status wk_graph_backward_from(wk_graph *g, size_t first, wk_val out, wk_val seed, const wk_val *of, int n, wk_val *grads) {
    if (g->status) return g->status;
    size_t n_value = g->n_value, n_node = g->n_node;
    bool *on = wk_alloc_array(n_value, sizeof *on);
    wk_val *grad = wk_alloc_array(n_value, sizeof *grad), *again = wk_alloc_array(n_value, sizeof *again);
    if (!on || !grad || !again) g->status = wk_fail_memory(n_value * sizeof *grad, "a backward pass");
    else {
        memset(grad, 0xff, n_value * sizeof *grad);  /* WK_NO_VAL */
        memset(again, 0xff, n_value * sizeof *again);
        mark_paths(g, first, n_node, of, n, on);
        grad[out] = seed;
    }
    for (size_t k = n_node; !g->status && k-- > first;) {
        wk_node node = g->node[k];  /* a copy: the array grows */
        wk_val g_out[WK_MAX_OUT] = NO_OUT, g_in[WK_MAX_IN] = NO_IN;
        bool want[WK_MAX_IN] = { false }, any_out = false, any_in = false;
        for (int i = 0; i < node.n_out; i++) any_out |= (g_out[i] = grad[node.out[i]]) >= 0;
        for (int i = 0; i < node.n_in; i++) any_in |= want[i] = node.in[i] >= 0 && on[node.in[i]];
        if (!any_out || !any_in) continue;
        if (!wk_ops[node.op]->grad) g->status = wk_fail(WICK_E_UNSUPPORTED, "op %s has no gradient", wk_ops[node.op]->name);
        else {
            wk_node seen = with_remade(g, &node, first, again);
            if (!g->status) g->status = wk_ops[node.op]->grad(g, &seen, g_out, want, g_in);
        }
        for (int i = 0; !g->status && i < node.n_in; i++) if (want[i]) accumulate(g, grad, node.in[i], g_in[i]);
    }
    for (int i = 0; i < n; i++) grads[i] = g->status ? WK_NO_VAL : grad[of[i]];
    wk_free(on);
    wk_free(grad);
    wk_free(again);
    return g->status;
}

wick_status wk_graph_backward(wk_graph *g, wk_val out, wk_val seed, const wk_val *of, int n, wk_val *grads) {
    wick_status st = wk_graph_backward_from(g, 0, out, seed, of, n, grads);
    for (int i = 0; !st && i < n; i++) wk_graph_keep(g, grads[i]);
    return st;
}
