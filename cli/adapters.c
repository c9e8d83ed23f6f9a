/* adapters.c: wick adapters: what an adapter is, and from one format to another. wick merge: into the weights. */
#include "adapter/lora_data.h"
#include "cli.h"
#include "convert/conversion.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- inspect ---- */

/* One kind of matrix in all layers: "q_proj": layers, ranks, scales. */
typedef struct kind {
    const char *name;
    int n, first, last;
    int64_t rank_from, rank_to;
    double scale_from, scale_to;
    bool dora;
} kind;

static const char *name_of(const wk_model *m, wk_role role) {
    const char *hf = wk_arch_tensor(m->hp.arch, role, false), *dot = hf ? strrchr(hf, '.') : NULL;
    return dot ? dot + 1 : hf;  /* NULL: of no folder's tensor, which no adapter has */
}

static kind kind_of(const wk_model *m, const wk_lora_data *d, wk_role role) {
    kind k = { .name = name_of(m, role) };
    for (size_t i = 0; i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i];
        double s = wk_lora_scale(d, x);
        if (x->role != role) continue;
        if (!k.n || x->layer < k.first) k.first = x->layer;
        if (!k.n || x->layer > k.last) k.last = x->layer;
        if (!k.n || x->rank < k.rank_from) k.rank_from = x->rank;
        if (!k.n || x->rank > k.rank_to) k.rank_to = x->rank;
        if (!k.n || s < k.scale_from) k.scale_from = s;
        if (!k.n || s > k.scale_to) k.scale_to = s;
        k.dora |= x->magnitude != NULL;
        k.n++;
    }
    return k;
}

static void put_range(wk_buf *b, const char *what, double from, double to) {
    if (from == to) wk_buf_printf(b, "%s%g", what, from);
    else wk_buf_printf(b, "%s%g to %g", what, from, to);
}

static uint64_t n_params(const wk_lora_data *d) {
    uint64_t n = 0;
    for (size_t i = 0; i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i];
        n += (uint64_t)(x->rank * (x->n_in + x->n_out) + (x->magnitude ? x->n_out : 0));
    }
    for (size_t i = 0; i < d->n_saved; i++) n += (uint64_t)(d->saved[i].n_row * d->saved[i].n_col);
    return n;
}

static void show_text(const wk_model *m, const wk_lora_data *d) {
    char count[32];
    wk_buf b = { 0 };
    /* Side by side for the reader's eye: names of one model differ too much (folders, copies, general.name) to be compared here. */
    wk_buf_printf(&b, "base model    %s\n", d->base_model ? d->base_model : "(not said)");
    wk_buf_printf(&b, "this model    %s\n", m->hp.name ? m->hp.name : "(has no name)");
    if (d->base_weights)
        wk_buf_printf(&b, "base weights  %s\n", wk_lora_check_base(m, d, "") ? "not this model's" : "this model's");
    wk_buf_printf(&b, "numbers       %s in %zu matrices\n", show_count(n_params(d), count), d->n_module);
    if (d->rslora) wk_buf_str(&b, "scale         alpha / sqrt(rank) (rsLoRA)\n");
    if (d->dropout > 0) wk_buf_printf(&b, "dropout       %g in training\n", d->dropout);
    for (int role = 0; role < WK_T_COUNT; role++) {
        kind k = kind_of(m, d, (wk_role)role);
        if (!k.n) continue;
        wk_buf_printf(&b, "%-13s ", k.name);
        if (k.last >= 0) put_range(&b, k.first == k.last ? "layer " : "layers ", k.first, k.last);
        if (k.last > k.first && k.n <= k.last - k.first) wk_buf_printf(&b, " (%d of them)", k.n);
        put_range(&b, k.last >= 0 ? ", rank " : "rank ", (double)k.rank_from, (double)k.rank_to);
        put_range(&b, ", scale ", k.scale_from, k.scale_to);
        wk_buf_str(&b, k.dora ? ", DoRA\n" : "\n");
    }
    for (size_t i = 0; i < d->n_saved; i++)
        wk_buf_printf(&b, "%-13s brought whole, %" PRId64 " x %" PRId64 "\n", name_of(m, d->saved[i].role), d->saved[i].n_row,
                      d->saved[i].n_col);
    if (b.len) b.len--;  /* out_buf ends the line */
    out_buf(&b);
}

static void show_json(const wk_model *m, const wk_lora_data *d) {
    wk_buf b = { 0 };
    wk_buf_char(&b, '{');
    put_str(&b, "base_model", d->base_model);
    put_str(&b, "model", m->hp.name);
    if (d->base_weights) put_bool(&b, "base_weights_match", wk_lora_check_base(m, d, "") == WICK_OK);
    put_int(&b, "n_params", (int64_t)n_params(d));
    put_bool(&b, "rslora", d->rslora);
    put_real(&b, "dropout", d->dropout);
    put_key(&b, "modules");
    wk_buf_char(&b, '[');
    for (size_t i = 0; i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i];
        put_key(&b, NULL);
        wk_buf_char(&b, '{');
        put_str(&b, "name", name_of(m, x->role));
        put_int(&b, "layer", x->layer);
        put_int(&b, "rank", x->rank);
        put_int(&b, "n_in", x->n_in);
        put_int(&b, "n_out", x->n_out);
        put_real(&b, "scale", wk_lora_scale(d, x));
        put_bool(&b, "dora", x->magnitude != NULL);
        wk_buf_char(&b, '}');
    }
    wk_buf_char(&b, ']');
    put_key(&b, "saved");
    wk_buf_char(&b, '[');
    for (size_t i = 0; i < d->n_saved; i++) put_str(&b, NULL, name_of(m, d->saved[i].role));
    wk_buf_str(&b, "]}");
    out_buf(&b);
}

static int inspect(const opts *o, const char *model, const char *adapter) {
    wk_model *m = NULL;
    wk_lora_data *d = NULL;
    if (o->out && strcmp(o->out, "json") && strcmp(o->out, "text"))
        return cli_usage("adapters inspect prints text or json (-o json), not \"%s\"", o->out);
    int code = cli_status(wk_adapter_file_open(model, adapter, &m, &d));
    if (!code && o->out && !strcmp(o->out, "json")) show_json(m, d);
    else if (!code) show_text(m, d);
    wk_lora_data_free(d);
    wk_model_free(m);
    return code;
}

/* ---- the verbs ---- */

int verb_adapters(const opts *o) {
    const char *word[3] = { NULL };  /* what to do, the model, the adapter; -m gives the model */
    size_t n = 0, at = 0;
    bool named = o->n_word && o->model && (!strcmp(o->word[0], "inspect") || !strcmp(o->word[0], "convert"));
    if (!named && o->model) word[n++] = o->model;
    while (n < 3 && at < o->n_word) {
        if (named && n == 1) word[n++] = o->model;
        else word[n++] = o->word[at++];
    }
    if (n < 3 || at < o->n_word)
        return cli_usage("adapters takes what to do, a model and an adapter: wick adapters inspect MODEL ADAPTER");
    if (!strcmp(word[0], "inspect")) return inspect(o, word[1], word[2]);
    if (strcmp(word[0], "convert")) return cli_usage("adapters can inspect or convert, not \"%s\"", word[0]);
    if (!o->out) return cli_usage("adapters convert needs a name to write to: wick adapters convert MODEL ADAPTER -o OUT");
    int code = cli_status(wick_adapter_convert(word[1], word[2], o->out, o->format, o->force));
    wk_buf b = { 0 };
    if (code || o->quiet) return code;
    wk_buf_printf(&b, "%s -> %s", word[2], o->out);
    out_buf(&b);
    return code;
}
