/* train_graph.c: forward, loss, and back through head, layers and embedding, a piece at a time. */
#include "model/builder.h"

/* The way back so far. of[n_of] and piece[n_of] are for the input of the piece at hand. */
typedef struct way_back { wk_builder *b; size_t n_of; wk_val *of, *piece, *grad; } way_back;

/* Gradients through the nodes from first_node on, which make out from x: those of parameters are added to what is there. Takes
 * d loss / d out, returns d loss / d x; x WK_NO_VAL: nobody asks. */
static wk_val back_through(way_back *w, size_t first_node, wk_val out, wk_val d_out, wk_val x) {
    w->of[w->n_of] = x;
    if (wk_graph_backward_from(w->b->g, first_node, out, d_out, w->of, (int)w->n_of + (x >= 0), w->piece)) return WK_NO_VAL;
    for (size_t i = 0; i < w->n_of; i++) {
        if (w->piece[i] < 0) continue;
        wk_val sum[] = { w->grad[i], w->piece[i] };
        w->grad[i] = w->grad[i] < 0 ? w->piece[i] : wk_graph_op(w->b->g, WK_OP_ADD, sum, 2, NULL, "grad");
    }
    return x >= 0 ? w->piece[w->n_of] : WK_NO_VAL;
}

/* Back from the loss. input[i] is layer i's input, input[n_layer] the head's. */
static void back(way_back *w, const wk_train_parts *p, const wk_val *input, size_t head_node, wk_val loss, wk_val seed) {
    wk_builder *b = w->b;
    int n = (int)b->m->hp.n_layer;
    if (!p->checkpoint) {
        back_through(w, 0, loss, seed, WK_NO_VAL);
        return;
    }
    wk_val d = back_through(w, head_node, loss, seed, p->first_layer < n || p->embed ? input[n] : WK_NO_VAL);
    for (b->layer = n - 1; b->layer >= p->first_layer && !b->g->status; b->layer--) {
        size_t from = b->g->n_node;
        wk_val again = wk_build_layer(b, input[b->layer]);
        d = back_through(w, from, again, d, b->layer > p->first_layer || p->embed ? input[b->layer] : WK_NO_VAL);
    }
    b->layer = -1;
    if (p->embed && !b->g->status) back_through(w, 0, input[0], d, WK_NO_VAL);
}

/* The loss of the wanted rows: the output projection, with its adapter, and cross entropy in one. */
static wk_val loss_of(const wk_builder *b, wk_val x) {
    int slot = wk_model_slot(b->m, -1, WK_T_OUTPUT);
    const wk_train_slot *t = &b->train->slot[slot];
    wk_attr a = { .cap = (float)b->m->hp.final_softcap, .smoothing = b->train->smoothing, .scale = t->scale };
    wk_val in[] = { x, wk_build_head_weight(b), WK_NO_VAL, WK_NO_VAL };
    if (t->a) {
        wk_attr drop = { .slot = slot, .dropout = t->dropout };
        if (t->dropout > 0) x = wk_graph_op(b->g, WK_OP_DROPOUT, &x, 1, &drop, "dropout");
        in[2] = wk_graph_op(b->g, WK_OP_LINEAR, (wk_val[]){ x, wk_graph_param(b->g, t->a, "lora_a") }, 2, NULL, "lora_a");
        in[3] = wk_graph_param(b->g, t->b, "lora_b");
    }
    return wk_graph_op(b->g, WK_OP_CROSS_ENTROPY, in, 4, &a, "loss");
}

static void build(wk_builder *b, way_back *w, wk_val *input, wk_train_graph *out) {
    const wk_train_parts *p = b->train;
    int n = (int)b->m->hp.n_layer;
    bool inside = p->n_of && !p->checkpoint;  /* layers' ops save what their gradients need */
    for (size_t i = 0; i < p->n_of; i++) {
        w->of[i] = wk_graph_param(b->g, p->of[i], "trained");
        w->grad[i] = WK_NO_VAL;
    }
    b->g->saving = p->n_of && p->embed;
    b->g->remaking = inside;
    input[0] = wk_build_embed(b);
    for (b->layer = 0; b->layer < n; b->layer++) {
        b->g->saving = inside && b->layer >= p->first_layer;
        input[b->layer + 1] = wk_build_layer(b, input[b->layer]);
    }
    b->layer = -1;
    b->g->saving = p->n_of > 0;
    size_t head_node = b->g->n_node;
    wk_val x = wk_build_head_input(b, input[n]);
    if (p->logits) {
        out->logits = wk_build_head(b, x);
        return;
    }
    out->loss = loss_of(b, x);
    wk_graph_keep(b->g, out->loss);
    if (!p->n_of) return;
    out->seed = wk_graph_input(b->g, (wk_shape){ WK_ROWS_OUT, 1, 1, false }, "seed");
    back(w, p, input, head_node, out->loss, out->seed);
    for (size_t i = 0; i < p->n_of; i++) wk_graph_keep(b->g, out->grad[i]);
}

wick_status wk_model_train_graph(const wk_model *m, const wk_train_parts *parts, wk_train_graph *out) {
    size_t n = parts->n_of, n_layer = (size_t)m->hp.n_layer;
    wk_builder b = { m, NULL, -1, parts };
    *out = (wk_train_graph){ NULL, WK_NO_VAL, WK_NO_VAL, WK_NO_VAL, NULL };
    wk_val *scratch = wk_alloc_array(2 * (n + 1) + n_layer + 1, sizeof *scratch);
    out->grad = wk_alloc_array(n + 1, sizeof *out->grad);
    wick_status st = scratch && out->grad ? wk_graph_new(false, &b.g) : wk_fail_memory((n + 1) * sizeof *scratch, "a graph");
    if (!st) {
        way_back w = { &b, n, scratch, scratch + n + 1, out->grad };
        out->g = b.g;
        build(&b, &w, scratch + 2 * (n + 1), out);
        st = b.g->status;
    }
    wk_free(scratch);
    if (st) wk_train_graph_free(out);
    return st;
}

void wk_train_graph_free(wk_train_graph *t) {
    wk_graph_free(t->g);
    wk_free(t->grad);
    *t = (wk_train_graph){ 0 };
}
