/* build.c: the forward graph of a decoder, from the columns of its architecture. Names follow GGUF's ("blk.3.attn_q"). */
#include "model/builder.h"
#include <math.h>
#include <stdio.h>

typedef wk_builder builder;

enum { FIRST_LORA = WK_T_Q, N_LORA = WK_T_DOWN - WK_T_Q + 1 };  /* roles that can carry an adapter lie in this stretch */

/* After the layers' the embedding's and the head's. */
int wk_model_n_slot(const wk_model *m) { return (int)m->hp.n_layer * N_LORA + 2; }
int wk_model_slot(const wk_model *m, int layer, wk_role role) {
    if (layer < 0) return (int)m->hp.n_layer * N_LORA + (role != WK_T_EMBED);
    return layer * N_LORA + (int)role - FIRST_LORA;
}

static const wk_layer *layer_of(const builder *b) { return b->layer < 0 ? &b->m->top : &b->m->layer[b->layer]; }

/* "blk.3.attn_q", or "output" outside the layers. */
static const char *name_of(const builder *b, wk_role role, char *buf, size_t cap) {
    wk_str base = { "", 0 };
    wk_arch_spelling(wk_arch_tensor(b->m->hp.arch, role, true), 0, &base);
    if (b->layer < 0) snprintf(buf, cap, "%.*s", (int)base.len, base.ptr);
    else snprintf(buf, cap, "blk.%d.%.*s", b->layer, (int)base.len, base.ptr);
    return buf;
}

static wk_val param(const builder *b, const wk_weight *w, wk_role role) {
    char name[40];
    for (size_t i = 0; b->train && i < b->train->n_swap; i++)
        if (w && b->train->swap[i].of == w) return wk_graph_param(b->g, b->train->swap[i].by, name_of(b, role, name, sizeof name));
    return w ? wk_graph_param(b->g, w, name_of(b, role, name, sizeof name)) : WK_NO_VAL;
}

static wk_val op(const builder *b, wk_op kind, const wk_val *in, int n, const wk_attr *a, wk_role role) {
    char name[40];
    return wk_graph_op(b->g, kind, in, n, a, name_of(b, role, name, sizeof name));
}

/* Normalises rows, or runs of `group` columns; x itself where the family has no such norm. */
static wk_val norm(const builder *b, wk_val x, wk_role role, int group) {
    const wk_weight *w = layer_of(b)->w[role];
    wk_attr a = { .eps = (float)b->m->hp.norm_eps, .group = group };
    return w ? op(b, WK_OP_RMS_NORM, (wk_val[]){ x, param(b, w, role) }, 2, &a, role) : x;
}

/* y and an adapter's share of it: of each row's, or of the one that is trained. */
static wk_val adapted(const builder *b, wk_val y, wk_val x, int slot, wk_role role) {
    wk_attr a = { .slot = slot };
    if (!b->train) return op(b, WK_OP_LORA, (wk_val[]){ y, x }, 2, &a, role);
    const wk_train_slot *t = &b->train->slot[slot];
    if (!t->a) return y;
    a.scale = t->scale;
    a.dropout = t->dropout;
    return op(b, WK_OP_LORA, (wk_val[]){ y, x, wk_graph_param(b->g, t->a, "lora_a"), wk_graph_param(b->g, t->b, "lora_b") }, 4, &a,
              role);
}

/* W x + bias, and an adapter's share where rows carry one. */
static wk_val linear(const builder *b, wk_val x, wk_role role) {
    const wk_layer *l = layer_of(b);
    int slot = wk_model_slot(b->m, b->layer, b->layer < 0 ? WK_T_OUTPUT : role);  /* tied: it is WK_T_EMBED */
    wk_val w = param(b, l->w[role], role), bias = param(b, l->bias[role], role);
    bool adaptable = b->layer < 0 || (role >= WK_T_Q && role <= WK_T_DOWN);
    const wk_weight *gain = adaptable && b->train ? b->train->slot[slot].gain : NULL;
    wk_val y = op(b, WK_OP_LINEAR, (wk_val[]){ x, w, gain ? WK_NO_VAL : bias }, 3, NULL, role);
    if (adaptable) y = adapted(b, y, x, slot, role);
    return gain ? op(b, WK_OP_GAIN, (wk_val[]){ y, wk_graph_param(b->g, gain, "gain"), bias }, 3, NULL, role) : y;
}

/* Behind the last layer's keys and values nobody asks for a row that is not wanted: there the wanted ones go on alone. */
static wk_val wanted(const builder *b, wk_val x) {
    return b->layer + 1 == b->m->hp.n_layer ? op(b, WK_OP_SELECT_ROWS, (wk_val[]){ x }, 1, NULL, WK_T_Q) : x;
}

/* Of the rows x to keys and values of all. */
static wk_val attention(const builder *b, wk_val x, wk_val all) {
    const wk_hparams *hp = &b->m->hp;
    bool windowed = hp->windowed[b->layer], local = windowed && b->m->freqs_local;
    wk_val q = norm(b, linear(b, x, WK_T_Q), WK_T_Q_NORM, (int)wk_hparams_dim(hp, WK_D_Q_NORM));
    wk_val k = norm(b, linear(b, all, WK_T_K), WK_T_K_NORM, (int)wk_hparams_dim(hp, WK_D_K_NORM));
    wk_val v = linear(b, all, WK_T_V);
    wk_val freqs = wk_graph_param(b->g, local ? b->m->freqs_local : b->m->freqs, local ? "rope_local" : "rope");
    wk_attr a = { .n_head = (int)hp->n_head,
                  .n_head_kv = (int)hp->n_head_kv,
                  .head_dim = (int)hp->head_dim,
                  .rot_dim = (int)hp->rot_dim,
                  .mscale = local ? b->m->mscale_local : b->m->mscale,
                  .scale = (float)hp->attn_scale,
                  .cap = (float)hp->attn_softcap,
                  .window = windowed ? (int)hp->window : 0,
                  .layer = b->layer,
                  .causal = true };
    wk_attr of_k = a;
    of_k.n_head = a.n_head_kv;
    q = op(b, WK_OP_ROPE, (wk_val[]){ q, freqs }, 2, &a, WK_T_Q);
    k = op(b, WK_OP_ROPE, (wk_val[]){ k, freqs }, 2, &of_k, WK_T_K);
    wk_val sinks = param(b, layer_of(b)->w[WK_T_SINKS], WK_T_SINKS);
    wk_val y = op(b, WK_OP_ATTENTION, (wk_val[]){ q, k, v, sinks }, 4, &a, WK_T_O);
    return linear(b, y, WK_T_O);
}

static wk_val mlp(const builder *b, wk_val x) {
    wk_attr a = { .act = b->m->hp.act };
    wk_val gate = linear(b, x, WK_T_GATE), up = linear(b, x, WK_T_UP);
    return linear(b, op(b, WK_OP_GLU, (wk_val[]){ gate, up }, 2, &a, WK_T_GATE), WK_T_DOWN);
}

static wk_val experts(const builder *b, wk_val x, wk_role role, wk_val ids) {
    const wk_layer *l = layer_of(b);
    wk_val in[] = { x, param(b, l->w[role], role), ids, param(b, l->bias[role], role) };
    return op(b, WK_OP_EXPERT_LINEAR, in, 4, NULL, role);
}

static wk_val moe(const builder *b, wk_val x) {
    wk_attr a = { .act = b->m->hp.act, .n_used = (int)b->m->hp.n_expert_used, .norm_topk = b->m->hp.norm_topk };
    wk_val ids = op(b, WK_OP_ROUTE, (wk_val[]){ linear(b, x, WK_T_ROUTER) }, 1, &a, WK_T_ROUTER),
           weights = wk_graph_out(b->g, ids, 1);
    wk_val gate = experts(b, x, WK_T_GATE_EXPS, ids), up = experts(b, x, WK_T_UP_EXPS, ids);
    wk_val y = experts(b, op(b, WK_OP_GLU, (wk_val[]){ gate, up }, 2, &a, WK_T_GATE_EXPS), WK_T_DOWN_EXPS, ids);
    return op(b, WK_OP_COMBINE, (wk_val[]){ y, weights, ids }, 3, NULL, WK_T_DOWN_EXPS);
}

wk_val wk_build_layer(const wk_builder *b, wk_val x) {
    wk_val on = wanted(b, x), all = norm(b, x, WK_T_ATTN_NORM, 0), y = on == x ? all : norm(b, on, WK_T_ATTN_NORM, 0);
    y = norm(b, attention(b, y, all), WK_T_POST_ATTN_NORM, 0);
    x = op(b, WK_OP_ADD, (wk_val[]){ on, y }, 2, NULL, WK_T_O);
    y = norm(b, x, WK_T_FFN_NORM, 0);
    y = layer_of(b)->w[WK_T_ROUTER] ? moe(b, y) : mlp(b, y);
    y = norm(b, y, WK_T_POST_FFN_NORM, 0);
    return op(b, WK_OP_ADD, (wk_val[]){ x, y }, 2, NULL, WK_T_DOWN);
}

wk_val wk_build_embed(const wk_builder *b) {
    const wk_hparams *hp = &b->m->hp;
    wk_attr a = { .scale = hp->features & WK_EMBED_SCALE ? (float)sqrt((double)hp->n_embd) : 1 };
    wk_val x = op(b, WK_OP_EMBED, (wk_val[]){ param(b, b->m->top.w[WK_T_EMBED], WK_T_EMBED) }, 1, &a, WK_T_EMBED);
    return adapted(b, x, WK_NO_VAL, wk_model_slot(b->m, -1, WK_T_EMBED), WK_T_EMBED);
}

wk_val wk_build_head_input(const wk_builder *b, wk_val x) {
    return norm(b, x, WK_T_OUT_NORM, 0);
}

static wk_role head_of(const wk_model *m) {
    return m->hp.classify ? WK_T_SCORE : m->top.w[WK_T_OUTPUT] ? WK_T_OUTPUT : WK_T_EMBED;
}

wk_val wk_build_head_weight(const wk_builder *b) {
    wk_role role = head_of(b->m);
    return param(b, b->m->top.w[role], role);
}

wk_val wk_build_head(const wk_builder *b, wk_val x) {
    wk_attr a = { .cap = (float)b->m->hp.final_softcap };
    x = linear(b, x, head_of(b->m));
    if (a.cap > 0) x = op(b, WK_OP_SOFTCAP, (wk_val[]){ x }, 1, &a, WK_T_OUTPUT);
    wk_graph_keep(b->g, x);
    return x;
}

wick_status wk_model_graph(const wk_model *m, bool saving, bool keep_layers, wk_graph **out, wk_val *logits) {
    builder b = { m, NULL, -1, NULL };
    *out = NULL;
    wick_status st = wk_graph_new(saving, &b.g);
    if (st) return st;
    wk_val x = wk_build_embed(&b);
    for (b.layer = 0; b.layer < m->hp.n_layer; b.layer++) {
        x = wk_build_layer(&b, x);
        if (keep_layers) wk_graph_keep(b.g, x);
    }
    b.layer = -1;
    *logits = wk_build_head(&b, wk_build_head_input(&b, x));
    st = b.g->status;
    if (st) wk_graph_free(b.g);
    else *out = b.g;
    return st;
}
