/* text.c: text to ids and back, and chats, for the public interface. */
#include "generate/generate.h"
#include <string.h>

wick_status wk_need_tokenizer(const wick_model *m) {
    if (m->m->tokenizer) return WICK_OK;
    return wk_fail(WICK_E_UNSUPPORTED, "%s: there is no tokenizer in it: give ids instead of text, or add tokenizer.json",
                   wk_checkpoint_path(m->m->ckpt));
}

wick_status wick_tokenize(const wick_model *m, const char *text, size_t n_text, unsigned flags, int32_t *ids, size_t cap,
                          size_t *n) {
    wk_ids found = { 0 };
    wk_clear_error();
    if (n) *n = 0;
    if (!m || (!text && n_text) || (!ids && cap) || !n)
        return wk_fail(WICK_E_ARG, "wick_tokenize: %s is NULL", !m ? "the model" : !n ? "n" : !ids && cap ? "ids" : "text");
    if (flags & ~(unsigned)(WICK_TOK_SPECIAL | WICK_TOK_ADD))
        return wk_fail(WICK_E_ARG, "wick_tokenize: flags has unknown bits: %#x", flags);
    wick_status st = wk_need_tokenizer(m);
    wk_span span = { text ? text : "", n_text, flags & WICK_TOK_SPECIAL };
    if (!st) st = wk_tokenize(m->m->tokenizer, &span, 1, flags & WICK_TOK_ADD, &found);
    if (!st) {
        size_t fits = found.len < cap ? found.len : cap;
        if (fits) memcpy(ids, found.ptr, fits * sizeof *ids);
        *n = found.len;
        if (found.len > cap) st = wk_fail(WICK_E_LENGTH, "wick_tokenize: %zu tokens, the buffer has room for %zu", found.len, cap);
    }
    wk_ids_free(&found);
    return st;
}

wick_status wick_detokenize(const wick_model *m, const int32_t *ids, size_t n_ids, bool with_special, char *text, size_t cap,
                            size_t *n) {
    wk_decoder d;
    wk_buf out = { 0 };
    wk_clear_error();
    if (n) *n = 0;
    if (!m || (!ids && n_ids) || (!text && cap))
        return wk_fail(WICK_E_ARG, "wick_detokenize: %s is NULL", !m ? "the model" : !text && cap ? "text" : "ids");
    wick_status st = wk_need_tokenizer(m);
    if (st) return st;
    int32_t n_vocab = wk_tokenizer_n_vocab(m->m->tokenizer);
    wk_decoder_init(&d, m->m->tokenizer, with_special);
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= n_vocab) {
            wk_buf_free(&out);
            return wk_fail(WICK_E_ARG, "wick_detokenize: ids[%zu] is %d, this vocabulary has 0 to %d", i, ids[i], n_vocab - 1);
        }
        wk_decode(&d, ids[i], &out);
    }
    wk_decode_end(&d, &out);
    if (out.failed) st = wk_fail_memory(out.len, "text");
    else if (out.len >= cap)
        st = wk_fail(WICK_E_LENGTH, "wick_detokenize: %zu bytes and a NUL, the buffer has room for %zu", out.len, cap);
    else {
        if (out.len) memcpy(text, out.ptr, out.len);
        text[out.len] = 0;
    }
    if (n && !out.failed) *n = out.len;
    wk_buf_free(&out);
    return st;
}

/* ---- single tokens ---- */

static bool in_vocabulary(const wick_model *m, int32_t id) {
    return m && m->m->tokenizer && id >= 0 && id < wk_tokenizer_n_vocab(m->m->tokenizer);
}

const char *wick_token_piece(const wick_model *m, int32_t id, size_t *n) {
    bool there = in_vocabulary(m, id);
    wk_str s = there ? wk_tokenizer_bytes(m->m->tokenizer, id) : (wk_str){ 0 };
    if (n) *n = s.len;
    return there && !s.ptr ? "" : s.ptr;
}

bool wick_token_is_control(const wick_model *m, int32_t id) {
    return in_vocabulary(m, id) && wk_tokenizer_kind(m->m->tokenizer, id) == WK_TOKEN_CONTROL;
}

bool wick_token_is_end(const wick_model *m, int32_t id) { return m && wk_is_end(m, id); }

/* ---- chats ---- */

/* Sets a variable of the template that the request left out. */
static bool set_default(json_t *vars, const char *key, json_t *value) {
    if (!value) return false;
    if (!json_object_get(vars, key)) return json_object_set_new(vars, key, value) == 0;
    json_decref(value);
    return true;
}

/* The spelling of a control token, as templates use it; a vocabulary without one leaves it undefined. */
static bool set_token(json_t *vars, const char *key, const wk_tokenizer *t, int32_t id) {
    wk_str s = id >= 0 ? wk_tokenizer_entry(t, id) : (wk_str){ 0 };
    return id < 0 || set_default(vars, key, json_stringn(s.ptr ? s.ptr : "", s.len));
}

static wick_status render(const wick_model *m, json_t *vars, wk_rendered *out) {
    const wk_tokenizer *t = m->m->tokenizer;
    json_t *now = json_object_get(vars, "now");
    if (!json_is_array(json_object_get(vars, "messages")))
        return wk_fail(WICK_E_FORMAT, "the chat has no \"messages\": it must be an object with a list of them");
    if (now && !json_is_string(now))
        return wk_fail(WICK_E_FORMAT, "\"now\" of the chat must be a string in ISO form, as \"2026-01-02T03:04:05\"");
    char *when = now ? wk_strdup(json_string_value(now)) : NULL;
    if (now && !when) return wk_fail_memory(json_string_length(now), "a time");
    json_object_del(vars, "now");
    wick_status st = WICK_OK;
    if (!set_default(vars, "add_generation_prompt", json_true()) || !set_token(vars, "bos_token", t, wk_tokenizer_bos(t))
        || !set_token(vars, "eos_token", t, wk_tokenizer_eos(t)))
        st = wk_fail_memory(64, "the chat's variables");
    if (!st) st = wk_template_render(m->m->chat, vars, when, NULL, out);
    wk_free(when);
    return st;
}

/* Many templates write '<|' + role + '|>': the bare name of a role may be part of a control token, wherever it came from. */
static bool is_role(const char *p, size_t n) {
    static const char *const roles[] = { "system", "developer", "user",    "assistant",  "model",
                                         "tool",   "function",  "ipython", "observation" };
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (wk_str_eq((wk_str){ p, n }, roles[i])) return true;
    return false;
}

/* The template's text may hold control tokens, the request's may not. */
wick_status wk_chat_ids(const wick_model *m, const wk_rendered *r, size_t n_text, wk_ids *out) {
    wk_span *spans = wk_alloc_array(r->n_piece ? r->n_piece : 1, sizeof *spans);
    size_t n = 0;
    if (!spans) return wk_fail_memory(r->n_piece * sizeof *spans, "a chat's pieces");
    for (; n < r->n_piece && r->piece[n].from < n_text; n++) {
        const wk_piece *p = &r->piece[n];
        const char *text = r->text.ptr + p->from;
        size_t len = (p->to < n_text ? p->to : n_text) - p->from;
        spans[n] = (wk_span){ text, len, !p->request || is_role(text, len) };
    }
    wick_status st = wk_tokenize(m->m->tokenizer, spans, n, false, out);
    wk_free(spans);
    return st;
}

/* WICK_E_UNSUPPORTED without a template, or what is wrong with the one that the files have. */
static wick_status need_template(const wick_model *m) {
    if (m->m->chat) return WICK_OK;
    if (!m->m->chat_text)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: there is no chat template in it: give plain text, or a template of your own",
                       wk_checkpoint_path(m->m->ckpt));
    wk_template *t = NULL;
    wick_status st = wk_template_parse(m->m->chat_text, strlen(m->m->chat_text), &t);
    wk_template_free(t);
    return st ? wk_fail_in(st, "the model's chat template")
              : wk_fail(WICK_E_TEMPLATE, "the model's chat template could not be read");
}

wick_status wk_chat_text(const wick_model *m, json_t *vars, wk_rendered *out) {
    wick_status st = wk_need_tokenizer(m);
    if (!st) st = need_template(m);
    if (!st && !json_is_object(vars)) st = wk_fail(WICK_E_FORMAT, "the chat is not a JSON object with \"messages\"");
    return st ? st : render(m, vars, out);
}

static wick_status chat(const wick_model *m, const char *json, wk_rendered *text, wk_ids *ids) {
    json_t *vars = NULL;
    wick_status st = wk_json_parse(json, strlen(json), "the chat", &vars);
    if (!st) st = wk_chat_text(m, vars, text);
    if (!st) st = wk_chat_ids(m, text, text->text.len, ids);
    json_decref(vars);
    return st;
}

wick_status wick_chat_render(const wick_model *m, const char *json, wick_chat *out) {
    wk_rendered text = { 0 };
    wk_ids ids = { 0 };
    wk_clear_error();
    if (out) *out = (wick_chat){ 0 };
    if (!m || !json || !out) return wk_fail(WICK_E_ARG, "wick_chat_render: %s is NULL", !m ? "the model" : !json ? "json" : "out");
    wick_status st = chat(m, json, &text, &ids);
    if (!st) {
        wk_buf_add(&text.text, "", 0);  /* an empty rendering is a text too */
        if (text.text.failed) st = wk_fail_memory(1, "a chat");
    }
    if (!st) {
        *out = (wick_chat){ text.text.ptr, text.text.len, ids.ptr, ids.len };
        text.text = (wk_buf){ 0 };
        ids = (wk_ids){ 0 };
    }
    wk_rendered_free(&text);
    wk_ids_free(&ids);
    return st;
}

void wick_chat_free(wick_chat *c) {
    if (!c) return;
    wk_free(c->text);
    wk_free(c->ids);
    *c = (wick_chat){ 0 };
}

/* ---- prompts ---- */

wick_status wk_prompt_ids(const wick_model *m, const wick_prompt *p, wk_ids *out) {
    wk_rendered text = { 0 };
    wick_status st;
    *out = (wk_ids){ 0 };
    if (!p || !!p->text + !!p->ids + !!p->messages != 1)
        return wk_fail(WICK_E_ARG, "the prompt %s: set exactly one of text, ids and messages",
                       p ? "has none or several of its forms" : "is NULL");
    if (p->messages) {
        st = chat(m, p->messages, &text, out);
        wk_rendered_free(&text);
    } else if (p->text) {
        wk_span span = { p->text, p->n_text ? p->n_text : strlen(p->text), true };
        st = wk_need_tokenizer(m);
        if (!st) st = wk_tokenize(m->m->tokenizer, &span, 1, true, out);
    } else {
        st = wk_grow((void **)&out->ptr, &out->cap, p->n_ids, sizeof *out->ptr)
                 ? WICK_OK
                 : wk_fail_memory(p->n_ids * sizeof *out->ptr, "a prompt");
        if (!st && p->n_ids) memcpy(out->ptr, p->ids, p->n_ids * sizeof *out->ptr);
        if (!st) out->len = p->n_ids;
    }
    if (!st && !out->len) st = wk_fail(WICK_E_ARG, "the prompt is empty: there is nothing to continue");
    if (st) wk_ids_free(out);
    return st;
}
