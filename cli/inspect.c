/* inspect.c: wick inspect: what a model file or folder holds, without loading its weights. A part that cannot be used
 * (a tokenizer of an unknown kind, an architecture that wick does not run) is said in its line; the rest is still shown. */
#include "inspect.h"
#include "cli.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- gathering ---- */

/* "Q4_1 210, F32 61", most first; and sums. */
static void count_tensors(facts *f) {
    uint64_t n[WK_DTYPE_COUNT] = { 0 }, bytes[WK_DTYPE_COUNT] = { 0 };
    int main_type = 0;
    f->n_tensor = wk_checkpoint_n_tensor(f->ckpt);
    for (size_t i = 0; i < f->n_tensor; i++) {
        const wk_tensor *t = wk_checkpoint_tensor(f->ckpt, i);
        f->n_params += (uint64_t)(wk_tensor_rows(t) * wk_tensor_cols(t));
        f->n_bytes += t->n_bytes;
        n[t->dtype]++;
        bytes[t->dtype] += t->n_bytes;
        if (bytes[t->dtype] > bytes[main_type]) main_type = (int)t->dtype;
    }
    f->main_type = (wk_dtype)main_type;
    for (;;) {
        int best = 0;
        for (int i = 1; i < WK_DTYPE_COUNT; i++)
            if (n[i] > n[best]) best = i;
        if (!n[best]) break;
        wk_buf_printf(&f->types, "%s%s %" PRIu64, f->types.len ? ", " : "", wk_dtypes[best].name, n[best]);
        n[best] = 0;
    }
    wk_buf_add(&f->types, "", 0);
}

static void keep_error(char *to, size_t cap) { snprintf(to, cap, "%s", wick_last_error()); }

static int gather(const opts *o, facts *f) {
    /* With its weights if it has them, for the tensor list; else a vocabulary alone. */
    wick_status st = wk_checkpoint_open(o->model, false, &f->ckpt);
    if (st) {
        char why[1024];
        keep_error(why, sizeof why);
        if (st == WICK_E_IO || wk_checkpoint_open(o->model, true, &f->ckpt)) return cli_fail("%s", why);
    }
    count_tensors(f);
    const wk_gguf *g = wk_checkpoint_gguf(f->ckpt);
    json_t *tokenizer = wk_checkpoint_tokenizer_json(f->ckpt);
    f->model.ckpt = f->ckpt;
    f->runs = f->n_tensor > 0;
    if (f->n_tensor && wk_hparams_read(f->ckpt, &f->model.hp)) { f->runs = false; keep_error(f->hp_error, sizeof f->hp_error); }
    if (g && wk_gguf_has(g, "tokenizer.ggml.model")) st = wk_tokenizer_from_gguf(g, &f->tokenizer);
    else if (tokenizer) st = wk_tokenizer_from_json(tokenizer, wk_checkpoint_tokenizer_config(f->ckpt), o->model, &f->tokenizer);
    else st = WICK_OK;
    if (st) keep_error(f->tokenizer_error, sizeof f->tokenizer_error);
    f->template = o->chat_template ? o->chat_template : wk_checkpoint_chat_template(f->ckpt);
    if (o->chat_template_file) {
        int code = cli_read(o->chat_template_file, &f->template_text);
        if (code) return code;
        f->template = f->template_text.ptr;
    }
    wk_template *parsed = NULL;
    if (f->template && wk_template_parse(f->template, strlen(f->template), &parsed))
        keep_error(f->template_error, sizeof f->template_error);
    wk_template_free(parsed);
    return EXIT_DONE;
}

static void facts_free(facts *f) {
    wk_tokenizer_free(f->tokenizer);
    wk_hparams_free(&f->model.hp);
    wk_checkpoint_free(f->ckpt);
    wk_buf_free(&f->types);
    wk_buf_free(&f->template_text);
}

/* What a session would take: the KV cache at -c, and about what one forward pass keeps between its ops. */
static int plan_memory(const opts *o, facts *f) {
    const wk_hparams *h = &f->model.hp;
    const char *type = NULL;
    int code = cli_kv_type(o, &type);
    if (code || !f->runs) return code;
    f->kv_type = type ? wk_dtype_of_name(type) : f->main_type == WK_F32 ? WK_F32 : WK_F16;
    f->n_ctx = o->ctx_size ? o->ctx_size : h->n_ctx < 4096 ? h->n_ctx : 4096;
    f->kv_bytes = wk_model_kv_bytes(&f->model, f->n_ctx, f->kv_type);
    if (!f->kv_bytes)
        return cli_fail("%s: heads of %" PRId64 " numbers are no whole blocks of %s; give -ctk f16", o->model, h->head_dim,
                        wk_dtypes[f->kv_type].name);
    int64_t heads = (h->n_head + h->n_head_kv) * h->head_dim, ff = h->n_ff + h->n_ff_expert * h->n_expert_used;
    int64_t width = 4 * h->n_embd + 2 * heads + 2 * ff;
    f->buffer_bytes = (uint64_t)(512 * width + h->n_vocab) * sizeof(float);
    return EXIT_DONE;
}

/* ---- text ---- */

/* A file's strings may hold line ends and worse, also where the output is not a terminal. */
static void one_line(char *s) {
    for (; *s; s++) if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
}

static void put_field(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put_field(const char *name, const char *fmt, ...) {
    char text[2048], line[2100];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    one_line(text);
    int n = snprintf(line, sizeof line, "  %-14s %s", name, text);
    out_text(line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
    out_str("\n");
}

static void text_sizes(const facts *f) {
    const wk_hparams *h = &f->model.hp;
    put_field("layers", "%" PRId64 ", width %" PRId64 ", feed-forward %" PRId64, h->n_layer, h->n_embd,
              h->n_expert ? h->n_ff_expert : h->n_ff);
    put_field("heads", "%" PRId64 " of %" PRId64 ", %" PRId64 " of keys and values", h->n_head, h->head_dim, h->n_head_kv);
    if (h->n_expert) put_field("experts", "%" PRId64 ", %" PRId64 " used for a token", h->n_expert, h->n_expert_used);
    if (h->window) put_field("window", "%" PRId64 " tokens", h->window);
    if (h->classify)
        put_field("classes", "%" PRId64 "%s%s", h->n_label, h->n_label_name ? ", the first is " : "",
                  h->n_label_name ? h->label[0] : "");
    put_field("context", "%" PRId64 " tokens", h->n_ctx);
}

static void text_tokenizer(const facts *f) {
    const wk_tokenizer *t = f->tokenizer;
    char line[512] = "", *p = line;
    if (*f->tokenizer_error) { put_field("tokenizer", "cannot be used: %s", f->tokenizer_error); return; }
    if (!t) { put_field("tokenizer", "none"); return; }
    const struct { const char *name; int32_t id; } marks[] = { { "BOS", wk_tokenizer_bos(t) }, { "EOS", wk_tokenizer_eos(t) } };
    for (int i = 0; i < 2; i++) {
        if (marks[i].id < 0) continue;
        wk_str e = wk_tokenizer_entry(t, marks[i].id);
        p += snprintf(p, 200, ", %s %d %.*s", marks[i].name, marks[i].id, e.len < 100 ? (int)e.len : 100, e.ptr);
    }
    put_field("tokenizer", "%d tokens%s", wk_tokenizer_n_vocab(t), line);
}

static void text_template(const facts *f) {
    enum { LINES = 8, COLUMNS = 100 };
    if (!f->template) { put_field("chat template", "none"); return; }
    if (*f->template_error) put_field("chat template", "cannot be used: %s", f->template_error);
    else put_field("chat template", "%zu bytes", strlen(f->template));
    const char *p = f->template;
    for (int i = 0; *p && i < LINES; i++) {
        size_t n = strcspn(p, "\n"), shown = n < COLUMNS ? n : COLUMNS;
        while (shown < n && ((unsigned char)p[shown] & 0xC0) == 0x80) shown--;  /* whole characters */
        out_str("    ");
        out_text(p, shown);
        out_str(shown < n ? "...\n" : "\n");
        p += n + (p[n] == '\n');
    }
    if (*p) out_str("    ... (-o json has all of it)\n");
}

static void text_memory(const facts *f) {
    char w[32], k[32], b[32], all[32];
    if (!f->runs) return;
    put_field("memory", "about %s: weights %s, KV cache %s (%s, %" PRId64 " tokens), buffers %s",
              show_bytes(f->n_bytes + f->kv_bytes + f->buffer_bytes, all), show_bytes(f->n_bytes, w), show_bytes(f->kv_bytes, k),
              wk_dtypes[f->kv_type].name, f->n_ctx, show_bytes(f->buffer_bytes, b));
}

static void put_text(const opts *o, const facts *f) {
    char n[32], bytes[32];
    const wk_hparams *h = &f->model.hp;
    bool bold = term_color(o, stdout);
    char name[256];
    snprintf(name, sizeof name, "%s", f->runs && h->name && *h->name ? h->name : o->model);
    one_line(name);
    out_str(bold ? "\033[1m" : "");
    out_text(name, strlen(name));
    out_str(bold ? "\033[0m\n" : "\n");
    const char *format = wk_checkpoint_gguf(f->ckpt) ? "GGUF" : f->n_tensor ? "safetensors" : "tokenizer.json";
    put_field("format", "%s, %zu tensors, %s", format, f->n_tensor, show_bytes(f->n_bytes, bytes));
    if (f->runs) put_field("architecture", "%s%s", h->arch->name, h->wrapped ? " (the text part; pictures are not read)" : "");
    else if (f->n_tensor) put_field("architecture", "cannot be run: %s", f->hp_error);
    else put_field("architecture", "none: a vocabulary without weights");
    if (f->n_tensor) put_field("parameters", "%s", show_count(f->n_params, n));
    if (f->n_tensor) put_field("types", "%s", f->types.ptr);
    if (f->runs) text_sizes(f);
    text_tokenizer(f);
    text_template(f);
    text_memory(f);
}

/* ---- JSON ---- */

static void json_memory(wk_buf *b, const facts *f) {
    put_key(b, "memory");
    wk_buf_char(b, '{');
    put_int(b, "weights_bytes", (int64_t)f->n_bytes);
    put_int(b, "kv_bytes", (int64_t)f->kv_bytes);
    put_str(b, "kv_type", wk_dtypes[f->kv_type].name);
    put_int(b, "n_ctx", f->n_ctx);
    put_int(b, "buffers_bytes", (int64_t)f->buffer_bytes);
    wk_buf_char(b, '}');
}

static void json_sizes(wk_buf *b, const wk_hparams *h) {
    put_str(b, "architecture", h->arch->name);
    put_str(b, "name", h->name);
    put_str(b, "task", h->classify ? "classify" : "generate");
    const struct { const char *name; int64_t v; } sizes[] = {
        { "n_vocab", h->n_vocab }, { "n_ctx_train", h->n_ctx }, { "n_embd", h->n_embd }, { "n_layer", h->n_layer },
        { "n_head", h->n_head }, { "n_head_kv", h->n_head_kv }, { "head_dim", h->head_dim }, { "n_ff", h->n_ff },
        { "n_expert", h->n_expert }, { "n_expert_used", h->n_expert_used }, { "n_label", h->classify ? h->n_label : 0 },
        { "sliding_window", h->window },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) put_int(b, sizes[i].name, sizes[i].v);
}

static void json_tokenizer(wk_buf *b, const facts *f) {
    put_key(b, "tokenizer");
    if (!f->tokenizer) { wk_buf_str(b, "null"); return; }
    wk_buf_char(b, '{');
    put_int(b, "n_tokens", wk_tokenizer_n_vocab(f->tokenizer));
    put_int(b, "bos", wk_tokenizer_bos(f->tokenizer));
    put_int(b, "eos", wk_tokenizer_eos(f->tokenizer));
    put_key(b, "end_of_turn");
    wk_buf_char(b, '[');
    for (int32_t i = 0; i < wk_tokenizer_n_vocab(f->tokenizer); i++)
        if (wk_tokenizer_is_end(f->tokenizer, i)) put_int(b, NULL, i);
    wk_buf_str(b, "]}");
}

static void put_json(const opts *o, const facts *f) {
    wk_buf b = { 0 };
    wk_buf_char(&b, '{');
    put_str(&b, "path", o->model);
    put_str(&b, "format", wk_checkpoint_gguf(f->ckpt) ? "gguf" : "safetensors");
    put_bool(&b, "runs", f->runs);
    if (f->runs) json_sizes(&b, &f->model.hp);
    else put_str(&b, "architecture", NULL);
    put_int(&b, "n_params", (int64_t)f->n_params);
    put_int(&b, "n_bytes_file", (int64_t)f->n_bytes);
    put_int(&b, "n_tensors", (int64_t)f->n_tensor);
    put_str(&b, "types", f->types.ptr);
    json_tokenizer(&b, f);
    put_str(&b, "chat_template", f->template);
    const struct { const char *what, *why; } problems[] = {
        { "architecture", f->hp_error }, { "tokenizer", f->tokenizer_error }, { "chat_template", f->template_error },
    };
    put_key(&b, "problems");
    wk_buf_char(&b, '{');
    for (int i = 0; i < 3; i++)
        if (*problems[i].why) put_str(&b, problems[i].what, problems[i].why);
    wk_buf_char(&b, '}');
    if (f->runs) json_memory(&b, f);
    if (o->keys) list_keys(&b, f->ckpt, true);
    if (o->tensors) list_tensors(&b, f->ckpt, true);
    wk_buf_char(&b, '}');
    out_buf(&b);
}

int verb_inspect(const opts *o) {
    facts f = { 0 };
    bool json = o->output && !strcmp(o->output, "json");
    if (!o->model) return cli_usage("inspect needs a model: wick inspect model.gguf");
    if (o->prompt) return show_tokens(o, json);
    int code = gather(o, &f);
    if (!code) code = plan_memory(o, &f);
    if (!code && json) put_json(o, &f);
    else if (!code) {
        wk_buf b = { 0 };
        put_text(o, &f);
        if (o->keys) list_keys(&b, f.ckpt, false);
        if (o->tensors) list_tensors(&b, f.ckpt, false);
        out_text(b.ptr, b.len);
        wk_buf_free(&b);
    }
    facts_free(&f);
    return code;
}
