/* trainer.c: what is trained, and where: lists the parameters in the model's order, gives each its numbers and a weight in the
 * backend, and takes all of it down again. */
#include "train/trainer_parts.h"
#include "generate/random.h"
#include <float.h>
#include <math.h>
#include <string.h>

wk_trainer_options wk_trainer_defaults(void) {
    return (wk_trainer_options){ .n_layer = -1, .rank = 8, .alpha = 16, .max_row = 512,
                                 .optimizer = { WK_ADAMW, 0.9, 0.999, 1e-8, 0, 0.01 } };
}

static bool within(double x, double from, double below) { return x >= from && x < below; }  /* false for NaN */

static wick_status check_options(const wk_model *m, const wk_trainer_options *o) {
    if (!m->backend || !m->layer) return wk_fail(WICK_E_ARG, "the model was opened for its vocabulary only: nothing to train");
    if (o->max_row < 1 || o->max_row > WK_TRAIN_MAX_ROWS)
        return wk_fail(WICK_E_ARG, "%d rows: it must be 1 to %d", o->max_row, WK_TRAIN_MAX_ROWS);
    if (!within(o->dropout, 0, 1)) return wk_fail(WICK_E_ARG, "dropout %g: it must be from 0 to below 1", o->dropout);
    if (!within(o->label_smoothing, 0, 1))
        return wk_fail(WICK_E_ARG, "label smoothing %g: it must be from 0 to below 1", o->label_smoothing);
    if (!within(o->max_grad_norm, 0, INFINITY)) return wk_fail(WICK_E_ARG, "a gradient norm of at most %g", o->max_grad_norm);
    const wk_optimizer *p = &o->optimizer;
    double least_eps = p->kind == WK_ADAMW ? DBL_MIN : 0;  /* it is divided by */
    if (!within(p->beta1, 0, 1) || !within(p->beta2, 0, 1) || !within(p->eps, least_eps, INFINITY) ||
        !within(p->momentum, 0, 1) || !within(p->weight_decay, 0, INFINITY))
        return wk_fail(WICK_E_ARG, "optimiser: betas %g and %g, momentum %g must be from 0 to below 1, decay %g from 0, eps %g "
                       "above 0", p->beta1, p->beta2, p->momentum, p->weight_decay, p->eps);
    if (o->n_layer < -1 || o->n_layer > m->hp.n_layer)
        return wk_fail(WICK_E_ARG, "%d layers: the model has %lld, and -1 are all", o->n_layer, (long long)m->hp.n_layer);
    if (o->fine_tune == WK_TUNE_FULL) return WICK_OK;
    if (o->rank < 1 || o->rank > WK_LORA_MAX_RANK)
        return wk_fail(WICK_E_ARG, "rank %d: it must be 1 to %d", o->rank, WK_LORA_MAX_RANK);
    if (!isfinite(o->alpha)) return wk_fail(WICK_E_ARG, "alpha %g", o->alpha);
    bool embed = o->roles & 1u << WK_T_EMBED && o->whole & WK_WHOLE_EMBED,
         head = o->roles & 1u << WK_T_OUTPUT && o->whole & WK_WHOLE_HEAD;
    if (embed || head)
        return wk_fail(WICK_E_ARG, "an embedding or a head is either adapted or trained whole, not both");
    if (o->whole & (WK_WHOLE_NORMS | WK_WHOLE_LINEAR))
        return wk_fail(WICK_E_ARG, "an adapter cannot hold norms and projections: full fine-tuning trains them");
    return WICK_OK;
}

/* ---- the list of parameters ---- */

static wick_status add(wk_trainer *t, const wk_train_param *p) {
    size_t n;
    if (!wk_grow((void **)&t->pub, &t->cap_pub, t->n_param + 1, sizeof *t->pub) ||
        !wk_grow((void **)&t->param, &t->cap_param, t->n_param + 1, sizeof *t->param) ||
        !wk_mul_size((size_t)p->n_row, (size_t)p->n_col, &n) || !wk_add_size(t->n, n, &n))
        return wk_fail_memory((size_t)p->n_row * (size_t)p->n_col * sizeof(float), "the trained parameters");
    t->pub[t->n_param] = *p;
    t->param[t->n_param++] = (wk_trained){ .at = t->n, .n = n - t->n };
    t->n = n;
    t->embed |= p->role == WK_T_EMBED;
    if (t->embed) t->first_layer = 0;  /* the way to it is through all of them */
    if (p->layer >= 0 && p->layer < t->first_layer) t->first_layer = p->layer;
    return WICK_OK;
}

/* A weight of the model that is trained whole: a float32 copy takes its place in training's graphs. */
static wick_status add_whole(wk_trainer *t, int layer, wk_role role, const wk_weight *w, bool bias) {
    for (size_t i = 0; w && i < t->n_swap; i++) if (t->swap[i].of == w) return WICK_OK;
    if (!w) return WICK_OK;
    if (wk_dtypes[w->dtype].quantised) {
        char of[32] = "";
        if (layer >= 0) snprintf(of, sizeof of, " of layer %d", layer);
        return wk_fail(WICK_E_UNSUPPORTED, "%s%s is %s: quantised weights cannot be trained whole; train an adapter, or convert "
                       "the model to floats (wick convert MODEL -o FOLDER --type f32)", wk_roles[role].gguf, of,
                       wk_dtypes[w->dtype].name);
    }
    if (!wk_grow((void **)&t->swap, &t->cap_swap, t->n_swap + 1, sizeof *t->swap))
        return wk_fail_memory(t->n_swap * sizeof *t->swap, "the trained parameters");
    t->swap[t->n_swap++] = (wk_swap){ w, NULL };
    return add(t, &(wk_train_param){ bias ? WK_PARAM_BIAS : WK_PARAM_WEIGHT, layer, role, w->n_mat * w->n_row, w->n_col,
                                     NULL });
}

/* A and B, and a magnitude: those that `from` has, or new ones. */
static wick_status add_adapter(wk_trainer *t, int layer, wk_role role, const wk_lora_module *from) {
    int64_t n_in, n_out, rank = from ? from->rank : t->o.rank;
    bool dora = from ? from->magnitude != NULL : t->o.fine_tune == WK_TUNE_DORA;
    if (!wk_lora_sizes(t->m, layer, role, &n_in, &n_out)) return WICK_OK;
    if (dora && layer < 0)
        return wk_fail(WICK_E_UNSUPPORTED, "DoRA of %s cannot be trained: leave it out of the keys, or train lora",
                       role == WK_T_EMBED ? "the embedding" : "the head");
    wk_train_slot *s = &t->slot[wk_model_slot(t->m, layer, role)];
    wk_lora_data scale = { .rslora = from ? t->data.rslora : t->o.rslora };
    wk_lora_module x = { .rank = rank, .alpha = from ? from->alpha : t->o.alpha };
    s->scale = (float)(wk_lora_scale(&scale, &x) * (role == WK_T_EMBED ? wk_lora_embed_scale(t->m) : 1));
    s->dropout = (float)t->o.dropout;
    bool by_token = role == WK_T_EMBED;
    wick_status st = add(t, &(wk_train_param){ WK_PARAM_A, layer, role, by_token ? n_in : rank, by_token ? rank : n_in, NULL });
    if (!st) st = add(t, &(wk_train_param){ WK_PARAM_B, layer, role, n_out, rank, NULL });
    if (!st && dora) {
        st = add(t, &(wk_train_param){ WK_PARAM_MAGNITUDE, layer, role, 1, n_out, NULL });
        if (!st) t->param[t->n_param - 1].base = t->m->layer[layer].w[role];
    }
    t->data.n_module++;
    return st;
}

static const wk_lora_module *module_of(const wk_lora_data *d, int layer, wk_role role) {
    for (size_t i = 0; d && i < d->n_module; i++)
        if (d->module[i].layer == layer && d->module[i].role == role) return &d->module[i];
    return NULL;
}

static bool is_vector(wk_role role) { return wk_roles[role].rows == WK_D_ONE; }

static wick_status add_layer(wk_trainer *t, int layer, unsigned whole, const wk_lora_data *initial) {
    const wk_layer *l = &t->m->layer[layer];
    bool chosen = t->o.n_layer < 0 || layer >= t->m->hp.n_layer - t->o.n_layer;
    wick_status st = WICK_OK;
    for (wk_role r = WK_T_FIRST_LAYER; !st && r < WK_T_COUNT; r++) {
        if (t->o.fine_tune == WK_TUNE_FULL) {
            bool linear = whole & WK_WHOLE_LINEAR && (!t->o.roles || t->o.roles >> r & 1);
            if (chosen && (is_vector(r) ? (whole & WK_WHOLE_NORMS) != 0 : linear)) st = add_whole(t, layer, r, l->w[r], false);
            if (!st && chosen && linear) st = add_whole(t, layer, r, l->bias[r], true);
            continue;
        }
        const wk_lora_module *x = module_of(initial, layer, r);
        bool adaptable = r >= WK_T_Q && r <= WK_T_DOWN && (!t->o.roles || t->o.roles >> r & 1);
        if (initial ? x != NULL : chosen && adaptable) st = add_adapter(t, layer, r, x);
    }
    return st;
}

/* Is the head the embedding's matrix? */
static bool is_tied(const wk_model *m) { return !m->hp.classify && !m->top.w[WK_T_OUTPUT]; }

/* What an adapter to begin from has, held against the model. */
static wick_status check_initial(const wk_trainer *t, const wk_lora_data *d) {
    if (t->o.fine_tune == WK_TUNE_FULL)
        return wk_fail(WICK_E_ARG, "full fine-tuning cannot begin from an adapter: merge it first");
    for (size_t i = 0; i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i];
        int64_t n_in, n_out;
        if (!wk_lora_sizes(t->m, x->layer, x->role, &n_in, &n_out) || n_in != x->n_in || n_out != x->n_out || x->rank < 1 ||
            x->rank > WK_LORA_MAX_RANK)
            return wk_fail(WICK_E_ARG, "an adapter of %s in layer %d, %lld to %lld by rank %lld, does not fit the model",
                           wk_roles[x->role].gguf, x->layer, (long long)x->n_in, (long long)x->n_out, (long long)x->rank);
    }
    const wk_lora_saved *table[2] = { NULL, NULL };  /* the embedding, the head */
    for (size_t i = 0; i < d->n_saved; i++) {
        const wk_lora_saved *x = &d->saved[i];
        bool top = x->role == WK_T_EMBED || x->role == WK_T_OUTPUT || x->role == WK_T_SCORE;
        const wk_weight *w = top ? t->m->top.w[x->role == WK_T_OUTPUT && is_tied(t->m) ? WK_T_EMBED : x->role] : NULL;
        table[x->role != WK_T_EMBED] = x;
        if (!w || w->n_row != x->n_row || w->n_col != x->n_col)
            return wk_fail(WICK_E_ARG, "a saved %s [%lld, %lld] does not fit the model", wk_roles[x->role].gguf,
                           (long long)x->n_row, (long long)x->n_col);
    }
    if (!is_tied(t->m) || !d->n_saved) return WICK_OK;
    if (table[0] && table[1] && !memcmp(table[0]->w, table[1]->w, (size_t)(table[0]->n_row * table[0]->n_col) * sizeof(float)))
        return WICK_OK;
    return wk_fail(WICK_E_ARG, "the model's embedding and head are one matrix, which is trained as one: an adapter that brings one "
                   "of them, or two that differ, cannot be trained on");
}

/* Adapters outside the layers: only those that are asked for, or that there are. */
static wick_status add_outer(wk_trainer *t, wk_role role, const wk_lora_data *initial) {
    const wk_lora_module *x = module_of(initial, -1, role);
    int64_t n_in, n_out;
    if (t->o.fine_tune == WK_TUNE_FULL || (initial ? !x : !(t->o.roles >> role & 1))) return WICK_OK;
    if (!wk_lora_sizes(t->m, -1, role, &n_in, &n_out))
        return wk_fail(WICK_E_ARG, "the model has no %s that could be adapted", role == WK_T_EMBED ? "embedding" : "lm_head");
    return add_adapter(t, -1, role, x);
}

static wick_status list_params(wk_trainer *t, const wk_lora_data *initial) {
    bool full = t->o.fine_tune == WK_TUNE_FULL, all = t->o.n_layer < 0 || t->o.n_layer == t->m->hp.n_layer;
    unsigned whole = t->o.whole ? t->o.whole : full ? WK_WHOLE_ALL : 0;
    const wk_layer *top = &t->m->top;
    wk_role head = t->m->hp.classify ? WK_T_SCORE : is_tied(t->m) ? WK_T_EMBED : WK_T_OUTPUT;
    for (size_t i = 0; initial && i < initial->n_saved; i++)
        whole |= initial->saved[i].role == WK_T_EMBED ? WK_WHOLE_EMBED : WK_WHOLE_HEAD;
    wick_status st = WICK_OK;
    if (whole & WK_WHOLE_EMBED || (whole & WK_WHOLE_HEAD && head == WK_T_EMBED))
        st = add_whole(t, -1, WK_T_EMBED, top->w[WK_T_EMBED], false);
    if (!st) st = add_outer(t, WK_T_EMBED, initial);
    for (int l = 0; !st && l < t->m->hp.n_layer; l++) st = add_layer(t, l, whole, initial);
    if (!st) st = add_outer(t, WK_T_OUTPUT, initial);
    if (!st) st = add_outer(t, WK_T_SCORE, initial);
    if (!st && whole & WK_WHOLE_NORMS && all) st = add_whole(t, -1, WK_T_OUT_NORM, top->w[WK_T_OUT_NORM], false);
    if (!st && whole & WK_WHOLE_HEAD && head != WK_T_EMBED) st = add_whole(t, -1, head, top->w[head], false);
    if (!st && !t->n_param)
        st = wk_fail(WICK_E_ARG, "there is nothing to train: the model has none of the projections or layers that were chosen");
    return st;
}

/* ---- their numbers ---- */

static float *numbers(wk_trainer *t, size_t i) { return t->w + t->param[i].at; }

/* Uniform from -width to width. */
static void spread(wk_trainer *t, size_t i, double width) {
    float *w = numbers(t, i);
    for (size_t k = 0; k < t->param[i].n; k++) w[k] = (float)((2 * wk_uniform(t->o.seed, t->param[i].at + k) - 1) * width);
}

/* to [n_col, n_row] = from [n_row, n_col] with rows and columns exchanged. */
static void turn(const float *from, int64_t n_row, int64_t n_col, float *to) {
    for (int64_t r = 0; r < n_row; r++)
        for (int64_t c = 0; c < n_col; c++) to[c * n_row + r] = from[r * n_col + c];
}

/* What a parameter begins with. */
static wick_status begin(wk_trainer *t, size_t i, const wk_lora_data *initial) {
    const wk_train_param *p = &t->pub[i];
    const wk_lora_module *x = module_of(initial, p->layer, p->role);
    const wk_backend *be = t->m->backend;
    float *w = numbers(t, i);
    size_t n = t->param[i].n;
    const float *from = NULL;
    bool outer = p->role == WK_T_EMBED;
    switch (p->kind) {
    case WK_PARAM_A:
        from = x && !outer ? x->a : NULL;
        if (!outer) spread(t, i, 1 / sqrt((double)p->n_col));
        else if (x) turn(x->a, p->n_col, p->n_row, w);
        break;
    case WK_PARAM_B:
        from = x ? x->b : NULL;
        if (outer) spread(t, i, sqrt(3.0));
        break;
    case WK_PARAM_MAGNITUDE: from = x ? x->magnitude : NULL; break;  /* else dora.c's */
    case WK_PARAM_WEIGHT:
    case WK_PARAM_BIAS: {
        const wk_layer *l = p->layer < 0 ? &t->m->top : &t->m->layer[p->layer];
        const wk_weight *of = p->kind == WK_PARAM_BIAS ? l->bias[p->role] : l->w[p->role];
        for (int64_t r = 0; r < p->n_row; r++) be->ops->weight_row(t->m->backend, of, r, w + r * p->n_col);
        for (size_t k = 0; initial && k < initial->n_saved; k++)
            if (p->layer < 0 && initial->saved[k].role == p->role) from = initial->saved[k].w;
        break;
    }
    }
    if (from) memcpy(w, from, n * sizeof *w);
    for (size_t k = 0; k < n; k++)
        if (!isfinite(w[k]))
            return wk_fail(WICK_E_ARG, "%s of layer %d has a number that is not finite", wk_roles[p->role].gguf, p->layer);
    return WICK_OK;
}

/* Its weight in the backend, and the place in training's graphs where it belongs. */
static wick_status place(wk_trainer *t, size_t i, const wk_lora_data *initial) {
    const wk_train_param *p = &t->pub[i];
    wk_trained *x = &t->param[i];
    bool vector = p->kind == WK_PARAM_MAGNITUDE || p->kind == WK_PARAM_BIAS || (p->kind == WK_PARAM_WEIGHT && is_vector(p->role));
    wk_tensor data = { WK_STR("trained"), WK_F32, vector ? 1 : 2, { vector ? p->n_col : p->n_row, vector ? 1 : p->n_col, 1, 1 },
                       (const uint8_t *)numbers(t, i), x->n * sizeof(float), NULL };
    int64_t n_mat = vector || p->kind != WK_PARAM_WEIGHT || p->layer < 0 ? 1 : t->m->layer[p->layer].w[p->role]->n_mat;
    if (n_mat > 1) {  /* experts */
        data.n_dim = 3;
        data.shape[0] = n_mat;
        data.shape[1] = p->n_row / n_mat;
        data.shape[2] = p->n_col;
    }
    wk_weight_source s = { .tensor = (const wk_tensor *[]){ &data }, .n_tensor = 1, .vector = vector };
    s.bf16 = (p->kind == WK_PARAM_A || p->kind == WK_PARAM_B) && wk_lora_bf16(t->m, p->layer, p->role);
    wick_status st = t->m->backend->ops->weight_new(t->m->backend, &s, &x->weight);
    if (st) return st;
    t->of[i] = x->weight;
    if (p->kind == WK_PARAM_WEIGHT || p->kind == WK_PARAM_BIAS) {
        const wk_layer *l = p->layer < 0 ? &t->m->top : &t->m->layer[p->layer];
        const wk_weight *of = p->kind == WK_PARAM_BIAS ? l->bias[p->role] : l->w[p->role];
        for (size_t k = 0; k < t->n_swap; k++) if (t->swap[k].of == of) t->swap[k].by = x->weight;
        return WICK_OK;
    }
    wk_train_slot *slot = &t->slot[wk_model_slot(t->m, p->layer, p->role)];
    if (p->kind == WK_PARAM_A) slot->a = x->weight;
    else if (p->kind == WK_PARAM_B) slot->b = x->weight;
    else {
        slot->gain = x->weight;
        x->length = wk_alloc_array(x->n, sizeof *x->length);
        st = x->length ? wk_dora_lengths(t, i) : wk_fail_memory(x->n * sizeof *x->length, "row lengths");
        if (!st && !initial) memcpy(numbers(t, i), x->length, x->n * sizeof *x->length);  /* B is zero: W's own */
        if (!st) st = wk_trained_write(t, i);
    }
    return st;
}

static wick_status alloc_numbers(wk_trainer *t) {
    int n_moment = wk_optimizer_n_moment(&t->o.optimizer);
    size_t rows = (size_t)t->o.max_row, most = 0, n_thread = (size_t)wk_pool_n(t->m->backend->pool);
    for (size_t i = 0; i < t->n_param; i++) {
        if (t->param[i].n > most) most = t->param[i].n;
        if (t->pub[i].kind != WK_PARAM_MAGNITUDE) continue;
        size_t n_col = (size_t)t->pub[i - 2].n_col;  /* A's */
        if (n_col > t->dora_col) t->dora_col = n_col;
    }
    if (t->dora_col && !(t->dora_row = wk_alloc_array(n_thread * t->dora_col, sizeof *t->dora_row)))
        return wk_fail_memory(n_thread * t->dora_col * sizeof *t->dora_row, "row lengths");
    t->w = wk_alloc_array(t->n, sizeof *t->w);
    t->g = wk_alloc_array(t->n, sizeof *t->g);
    if (n_moment > 0) t->m1 = wk_alloc_array(t->n, sizeof *t->m1);
    if (n_moment > 1) t->m2 = wk_alloc_array(t->n, sizeof *t->m2);
    t->of = wk_alloc_array(t->n_param, sizeof *t->of);
    t->row = wk_alloc_array(rows + most, sizeof *t->row);
    t->square = wk_alloc_array(wk_train_n_square(t->n), sizeof *t->square);
    t->len = wk_alloc_array(4 * rows, sizeof *t->len);
    if (!t->w || !t->g || (n_moment > 0 && !t->m1) || (n_moment > 1 && !t->m2) || !t->of || !t->row || !t->square ||
        !t->len)
        return wk_fail_memory(t->n * sizeof *t->w * (2 + (size_t)n_moment), "the trained parameters");
    t->out_row = t->len + rows;
    t->rope = t->out_row + rows;
    t->label = t->rope + rows;
    return WICK_OK;
}

/* ---- the adapter as others see it ---- */

static wick_status show_adapter(wk_trainer *t, const wk_lora_data *initial) {
    wk_lora_data *d = &t->data;
    size_t n_module = 0;
    d->dropout = t->o.dropout;
    d->module = wk_alloc_array(d->n_module + 1, sizeof *d->module);
    d->saved = wk_alloc_array(2, sizeof *d->saved);
    d->task_type = wk_strdup(t->m->hp.classify ? "SEQ_CLS" : "CAUSAL_LM");
    if (initial && initial->base_model) d->base_model = wk_strdup(initial->base_model);
    if (!d->module || !d->saved || !d->task_type || (initial && initial->base_model && !d->base_model))
        return wk_fail_memory(d->n_module * sizeof *d->module, "an adapter");
    for (size_t i = 0; i < t->n_param; i++) {
        const wk_train_param *p = &t->pub[i];
        const wk_lora_module *from = module_of(initial, p->layer, p->role);
        float *w = numbers(t, i);
        if (p->kind == WK_PARAM_A) {
            bool outer = p->role == WK_T_EMBED;
            if (outer && !(w = t->embed_a = wk_alloc_array(t->param[i].n, sizeof *w)))
                return wk_fail_memory(t->param[i].n * sizeof *w, "an adapter");
            int64_t rank = outer ? p->n_col : p->n_row, n_in = outer ? p->n_row : p->n_col;
            double alpha = from ? from->alpha : t->o.alpha;
            d->module[n_module++] = (wk_lora_module){ NULL, p->layer, p->role, rank, n_in, 0, alpha, w, NULL, NULL,
                                                      false, false };
        } else if (p->kind == WK_PARAM_B) {
            d->module[n_module - 1].b = w;
            d->module[n_module - 1].n_out = p->n_row;
        } else if (p->kind == WK_PARAM_MAGNITUDE) d->module[n_module - 1].magnitude = w;
        else d->saved[d->n_saved++] = (wk_lora_saved){ NULL, p->role, p->n_row, p->n_col, w };
    }
    if (d->n_saved && is_tied(t->m)) {  /* an adapter's embedding takes the place of the embedding alone */
        d->saved[d->n_saved] = d->saved[0];
        d->saved[d->n_saved++].role = WK_T_OUTPUT;
    }
    return WICK_OK;
}

wick_status wk_trainer_lora(wk_trainer *t, const wk_lora_data **out) {
    if (t->o.fine_tune == WK_TUNE_FULL) return wk_fail(WICK_E_ARG, "full fine-tuning makes no adapter");
    for (size_t i = 0; t->embed_a && i < t->n_param; i++)
        if (t->pub[i].kind == WK_PARAM_A && t->pub[i].role == WK_T_EMBED)
            turn(numbers(t, i), t->pub[i].n_row, t->pub[i].n_col, t->embed_a);
    *out = &t->data;
    return WICK_OK;
}

const char *wk_trainer_base_weights(const wk_trainer *t) { return t->data.base_weights; }

/* ---- beginning and end ---- */

wick_status wk_trainer_new(wk_model *m, const wk_trainer_options *o, const wk_lora_data *initial, wk_trainer **out) {
    *out = NULL;
    wick_status st = check_options(m, o);
    if (st) return st;
    wk_trainer *t = wk_alloc(sizeof *t);
    if (!t) return wk_fail_memory(sizeof *t, "a trainer");
    t->m = m;
    t->o = *o;
    t->first_layer = (int)m->hp.n_layer;
    t->data.rslora = initial ? initial->rslora : o->rslora;
    t->slot = wk_alloc_array((size_t)wk_model_n_slot(m), sizeof *t->slot);
    if (!t->slot) st = wk_fail_memory((size_t)wk_model_n_slot(m) * sizeof *t->slot, "a trainer");
    if (!st && initial) st = check_initial(t, initial);
    if (!st) st = list_params(t, initial);
    if (!st) st = alloc_numbers(t);
    for (size_t i = 0; !st && i < t->n_param; i++) {
        t->pub[i].w = numbers(t, i);
        st = begin(t, i, initial);
        if (!st) st = place(t, i, initial);
    }
    if (!st && o->fine_tune != WK_TUNE_FULL) st = show_adapter(t, initial);
    if (!st) st = wk_lora_sample_base(m, &t->data);
    if (!st) st = wk_train_pass_need(t, &t->train);
    if (st) wk_trainer_free(t);
    else *out = t;
    return st;
}

static void pass_free(wk_trainer *t, wk_train_pass *p) {
    t->m->backend->ops->plan_free(p->plan);
    wk_train_graph_free(&p->t);
}

void wk_trainer_free(wk_trainer *t) {
    if (!t) return;
    const wk_backend_ops *ops = t->m->backend->ops;
    pass_free(t, &t->train);
    pass_free(t, &t->eval);
    pass_free(t, &t->logits);
    ops->kv_free(t->m->backend, t->kv);
    for (size_t i = 0; i < t->n_param; i++) {
        ops->weight_free(t->m->backend, t->param[i].weight);
        wk_free(t->param[i].length);
    }
    wk_free(t->embed_a);
    wk_free(t->data.module);
    wk_free(t->data.saved);
    wk_free(t->data.task_type);
    wk_free(t->data.base_model);
    wk_free(t->data.base_weights);
    wk_free(t->pub);
    wk_free(t->param);
    wk_free(t->w);
    wk_free(t->g);
    wk_free(t->m1);
    wk_free(t->m2);
    wk_free(t->slot);
    wk_free(t->swap);
    wk_free(t->of);
    wk_free(t->page);
    wk_free(t->len);
    wk_free(t->row);
    wk_free(t->square);
    wk_free(t->dora_row);
    wk_free(t);
}

const wk_train_param *wk_trainer_params(const wk_trainer *t, size_t *n) {
    *n = t->n_param;
    return t->pub;
}
uint64_t wk_trainer_n_param(const wk_trainer *t) { return t->n; }
uint64_t wk_trainer_n_update(const wk_trainer *t) { return t->n_update; }

size_t wk_trainer_state_bytes(const wk_trainer *t) {
    return t->n * sizeof(float) * (2 + (size_t)wk_optimizer_n_moment(&t->o.optimizer));
}

size_t wk_trainer_bytes(const wk_trainer *t) {
    const wk_train_pass *p[] = { &t->train, &t->eval, &t->logits };
    size_t n = wk_trainer_state_bytes(t) + (t->kv ? t->kv->n_bytes : 0);
    for (size_t i = 0; i < t->n_param; i++) n += t->param[i].weight->n_bytes;
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) n += p[i]->plan ? p[i]->plan->n_bytes : 0;
    return n;
}
