/* vocab_gguf.c: tokenizer.ggml.* from a folder's tokenizer.json.
 * Keys: GGUF specification, "Tokenizer"; what a token type, a score and a pre-tokenizer's name mean, as in llama.cpp's converter
 * and gguf-py (MIT). SentencePiece's scores are not in tokenizer.json: they are made again from the order of the merges, which
 * transformers' converter lists best score first; -0, -1, -2 ... is what SentencePiece's BPE trainer gives.
 * Load: 30,000 to 260,000 entries, up to 600,000 merges, once. */
#include "convert/conversion.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name
#define MARK "\xE2\x96\x81"  /* U+2581 */
enum { MAX_PATTERN = 8 };

typedef struct vocab {
    wk_conversion *c;
    wk_gguf_keys *k;
    const wk_tokenizer *t;
    const json_t *j, *model;
    int32_t n;                  /* entries to write */
} vocab;

static wick_status cannot(const vocab *v, const char *what) {
    return wk_fail(WICK_E_UNSUPPORTED, "%s/tokenizer.json: %s: GGUF's keys cannot say that", v->c->from, what);
}

static bool has_type(const json_t *o, const char *type) {
    const char *s = json_string_value(json_object_get(o, "type"));
    return s && !strcmp(s, type);
}

/* A step or the members of a Sequence, one by one. */
static const json_t *step(const json_t *o, const char *list, size_t i) {
    if (!o || json_is_null(o)) return NULL;
    if (has_type(o, "Sequence")) return json_array_get(json_object_get(o, list), i);
    return i ? NULL : o;
}

/* ---- ids ---- */

wick_status wk_tokenizer_adds(const wk_conversion *c, int32_t bos_id, int32_t eos_id, bool *bos, bool *eos) {
    const wk_tokenizer *t = c->m->tokenizer;
    wk_ids ids = { 0 };
    wick_status st = wk_tokenize(t, NULL, 0, true, &ids);
    size_t i = 0;
    *bos = !st && i < ids.len && ids.ptr[i] == bos_id;
    i += *bos;
    *eos = !st && i < ids.len && ids.ptr[i] == eos_id;
    i += *eos;
    if (!st && i < ids.len)
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: the tokenizer puts %zu tokens around a text that are not its BOS and EOS: GGUF's "
                                         "keys cannot say that",
                     c->from, ids.len);
    wk_ids_free(&ids);
    return st;
}

static void put_id(const vocab *v, const char *key, int32_t id) {
    if (id >= 0) wk_gguf_put_int(v->k, key, WK_GGUF_U32, id);
}

/* A token that tokenizer_config.json names, else -1. */
static int32_t named(const vocab *v, const char *name) {
    const json_t *s = json_object_get(wk_checkpoint_tokenizer_config(v->c->m->ckpt), name);
    if (json_is_object(s)) s = json_object_get(s, "content");
    return json_is_string(s) ? wk_tokenizer_find(v->t, json_string_value(s), json_string_length(s)) : -1;
}

/* An id of config.json's, where it is one of the vocabulary. */
static int32_t configured(const vocab *v, const char *name) {
    const json_t *id = json_object_get(wk_checkpoint_config(v->c->m->ckpt), name);
    json_int_t n = json_is_integer(id) ? json_integer_value(id) : -1;
    return n >= 0 && n < v->n ? (int32_t)n : -1;
}

/* Every id that ends a turn has a key: eos, eot, eom. */
static void put_ends(const vocab *v, int32_t eos) {
    static const char *const names[] = { KEY("eot_token_id"), KEY("eom_token_id") };
    size_t n = 0;
    for (int32_t id = 0; id < wk_tokenizer_n_vocab(v->t); id++) {
        if (id == eos || !wk_tokenizer_is_end(v->t, id)) continue;
        if (n < 2) put_id(v, names[n++], id);
        else wk_buf_printf(&v->c->notes, "token %d ends a turn too, which GGUF has no further key for\n", id);
    }
}

static wick_status put_special(const vocab *v) {
    bool add_bos, add_eos;
    const char *unk = json_string_value(json_object_get(v->model, "unk_token"));
    int32_t bos = wk_tokenizer_bos(v->t), eos = wk_tokenizer_eos(v->t), pad = named(v, "pad_token");
    int32_t unknown = named(v, "unk_token");
    if (bos < 0) bos = configured(v, "bos_token_id");
    if (eos < 0) eos = configured(v, "eos_token_id");
    for (int32_t id = 0; eos < 0 && id < wk_tokenizer_n_vocab(v->t); id++) if (wk_tokenizer_is_end(v->t, id)) eos = id;
    wick_status st = wk_tokenizer_adds(v->c, bos, eos, &add_bos, &add_eos);
    if (pad < 0) pad = configured(v, "pad_token_id");
    if (unk) unknown = wk_tokenizer_find(v->t, unk, strlen(unk));
    put_id(v, KEY("bos_token_id"), bos);
    put_id(v, KEY("eos_token_id"), eos);
    put_ends(v, eos);
    put_id(v, KEY("unknown_token_id"), unknown);
    put_id(v, KEY("padding_token_id"), pad);
    wk_gguf_put_bool(v->k, KEY("add_bos_token"), add_bos);
    wk_gguf_put_bool(v->k, KEY("add_eos_token"), add_eos);
    return st;
}

/* ---- entries ---- */

static void put_entries(const vocab *v) {
    /*                              NORMAL UNKNOWN CONTROL USER UNUSED BYTE */
    static const int32_t types[] = { 1,     2,      3,      4,   5,     6 };
    wk_gguf_put_array(v->k, KEY("tokens"), WK_GGUF_STR, (uint64_t)v->n);
    for (int32_t id = 0; id < v->n; id++) {
        wk_str s = wk_tokenizer_entry(v->t, id);
        char filler[32];
        if (!s.len) s = (wk_str){ filler, (size_t)snprintf(filler, sizeof filler, "[PAD%d]", id) };
        wk_gguf_add_str(v->k, s.ptr, s.len);
    }
    wk_gguf_put_array(v->k, KEY("token_type"), WK_GGUF_I32, (uint64_t)v->n);
    for (int32_t id = 0; id < v->n; id++) {
        const char *unk = json_string_value(json_object_get(v->model, "unk_token"));
        wk_str s = wk_tokenizer_entry(v->t, id);
        wk_token_kind kind = s.len ? wk_tokenizer_kind(v->t, id) : WK_TOKEN_UNUSED;
        if (unk && wk_str_eq(s, unk)) kind = WK_TOKEN_UNKNOWN;
        wk_gguf_add_i32(v->k, types[kind]);
    }
}

/* The two halves of a merge, "a b" or ["a", "b"]; the loader has checked that it is one. */
static void halves(const json_t *m, wk_str *a, wk_str *b) {
    if (json_is_array(m)) {
        const json_t *x = json_array_get(m, 0), *y = json_array_get(m, 1);
        *a = (wk_str){ json_string_value(x), json_string_length(x) };
        *b = (wk_str){ json_string_value(y), json_string_length(y) };
        return;
    }
    const char *s = json_string_value(m), *space = memchr(s, ' ', json_string_length(m));
    *a = (wk_str){ s, (size_t)(space - s) };
    *b = (wk_str){ space + 1, json_string_length(m) - a->len - 1 };
}

static wick_status put_merges(const vocab *v) {
    const json_t *merges = json_object_get(v->model, "merges"), *m;
    size_t i;
    wk_buf s = { 0 };
    wick_status st = WICK_OK;
    wk_gguf_put_array(v->k, KEY("merges"), WK_GGUF_STR, json_array_size(merges));
    json_array_foreach(merges, i, m) {
        wk_str a, b;
        halves(m, &a, &b);
        if (memchr(a.ptr, ' ', a.len) || memchr(b.ptr, ' ', b.len)) {
            st = cannot(v, "a merge of entries with spaces");
            break;
        }
        s.len = 0;
        wk_buf_add(&s, a.ptr, a.len);
        wk_buf_char(&s, ' ');
        wk_buf_add(&s, b.ptr, b.len);
        wk_gguf_add_str(v->k, s.ptr, s.len);
    }
    if (s.failed) st = wk_fail_memory(s.len, "merges");
    wk_buf_free(&s);
    return st;
}

/* ---- byte-level BPE ---- */

/* The expression that a pre-tokenizer's step cuts by, or NULL. */
static const char *pattern_of(const json_t *s, bool *byte_level) {
    const char *behavior = json_string_value(json_object_get(s, "behavior"));
    *byte_level = has_type(s, "ByteLevel");
    if (*byte_level) return json_is_false(json_object_get(s, "use_regex")) ? "" : WK_GPT2_PATTERN;
    if (has_type(s, "Digits")) return json_is_true(json_object_get(s, "individual_digits")) ? "\\p{N}" : NULL;
    if (!has_type(s, "Split") || !behavior || strcmp(behavior, "Isolated")) return NULL;
    if (json_is_true(json_object_get(s, "invert"))) return NULL;
    return json_string_value(json_object_get(json_object_get(s, "pattern"), "Regex"));
}

static wick_status find_pre(const vocab *v, char out[64], const char **name) {
    const json_t *pre = json_object_get(v->j, "pre_tokenizer"), *s;
    const char *pattern[MAX_PATTERN + 1] = { NULL };
    bool byte_level = false, whole = json_is_true(json_object_get(v->model, "ignore_merges"));
    size_t n = 0;
    if ((*name = v->c->o->pre)) {
        if (wk_pre_tokenizer_patterns((wk_str){ *name, strlen(*name) }, &whole)) return WICK_OK;
        return wk_fail(WICK_E_ARG, "the pre-tokenizer \"%s\" is not one of GGUF's (" KEY("pre") ") that wick knows", *name);
    }
    for (size_t i = 0; (s = step(pre, "pretokenizers", i)); i++) {
        const char *p = pattern_of(s, &byte_level);
        const json_t *prefix = json_object_get(s, "add_prefix_space");
        if (byte_level && !json_is_false(prefix)) return cannot(v, "pre_tokenizer.add_prefix_space is true");
        if (!p || n == MAX_PATTERN) { n = 0; break; }
        if (*p) pattern[n++] = p;
    }
    *name = n ? wk_pre_tokenizer_name(pattern, n, whole, out) : NULL;
    if (*name) return WICK_OK;
    return wk_fail(WICK_E_UNSUPPORTED,
                   "%s/tokenizer.json: its pre_tokenizer cuts text in a way that has no name (" KEY("pre") ") "
                   "known to wick%s%.200s%s: if "
                   "you know the name that llama.cpp has for it, give it (--pre NAME)",
                   v->c->from, n ? ": \"" : "", n ? pattern[0] : "", n ? "\"" : "");
}

static wick_status put_byte_level(const vocab *v) {
    const json_t *norm = json_object_get(v->j, "normalizer"), *s;
    const char *pre = NULL;
    char own[64];
    for (size_t i = 0; (s = step(norm, "normalizers", i)); i++) {
        if (!has_type(s, "NFC")) return cannot(v, "its normalizer changes the text");
        wk_buf_str(&v->c->notes, "tokenizer.json brings text to Unicode form NFC first, which GGUF does not say: text in "
                                 "another form gets "
                                 "other ids\n");
    }
    wick_status st = find_pre(v, own, &pre);
    if (st) return st;
    wk_gguf_put_str(v->k, KEY("model"), "gpt2", 4);
    wk_gguf_put_str(v->k, KEY("pre"), pre, strlen(pre));
    put_entries(v);
    return put_merges(v);
}

/* ---- SentencePiece's BPE ---- */

/* Is a space put in front of a text? Steps that SentencePiece does not take are refused. */
static wick_status read_pieces(const vocab *v, bool *prefix) {
    const json_t *norm = json_object_get(v->j, "normalizer"), *pre = json_object_get(v->j, "pre_tokenizer"), *s;
    bool marks = false;
    *prefix = false;
    for (size_t i = 0; (s = step(norm, "normalizers", i)); i++) {
        const char *to = json_string_value(json_object_get(s, "content"));
        const char *first = json_string_value(json_object_get(s, "prepend"));
        const char *from = json_string_value(json_object_get(json_object_get(s, "pattern"), "String"));
        if (has_type(s, "Prepend") && first && !strcmp(first, MARK)) *prefix = true;
        else if (has_type(s, "Replace") && from && !strcmp(from, " ") && to && !strcmp(to, MARK)) marks = true;
        else return cannot(v, "its normalizer is not SentencePiece's");
    }
    for (size_t i = 0; (s = step(pre, "pretokenizers", i)); i++) {
        const char *scheme = json_string_value(json_object_get(s, "prepend_scheme"));
        const char *at = json_string_value(json_object_get(json_object_get(s, "pattern"), "String"));
        if (has_type(s, "Split") && marks && at && !strcmp(at, " ")) continue;  /* no spaces are left */
        if (!has_type(s, "Metaspace") || !json_is_false(json_object_get(s, "split")))
            return cannot(v, "its pre_tokenizer is not SentencePiece's");
        *prefix = !scheme || strcmp(scheme, "never");
        marks = true;
    }
    return marks ? WICK_OK : cannot(v, "spaces stay as they are");
}

/* The piece that merge i makes, or -1. */
static int32_t made_by(const vocab *v, const json_t *m, wk_buf *text) {
    wk_str a, b;
    halves(m, &a, &b);
    text->len = 0;
    wk_buf_add(text, a.ptr, a.len);
    wk_buf_add(text, b.ptr, b.len);
    return text->failed ? -1 : wk_tokenizer_find(v->t, text->ptr, text->len);
}

/* Scores from the merges that make pieces: -0, -1, ... in their order. Pieces of equal score lie among each other: those whose
 * merges overlap share one. Pieces that no merge makes come after. last [n] is room to work in. */
static wick_status rank_pieces(const vocab *v, float *score, size_t *last) {
    const json_t *merges = json_object_get(v->model, "merges"), *m;
    size_t i, end = 0;
    wk_buf text = { 0 };
    int32_t id, rank = -1;
    json_array_foreach(merges, i, m) if ((id = made_by(v, m, &text)) >= 0) last[id] = i + 1;
    json_array_foreach(merges, i, m) {
        if ((id = made_by(v, m, &text)) < 0) continue;
        if (i >= end) rank++;
        if (last[id] > end) end = last[id];
        score[id] = -(float)rank;
    }
    for (id = 0; id < v->n; id++) {
        wk_token_kind kind = wk_tokenizer_kind(v->t, id);
        if (!last[id]) score[id] = kind == WK_TOKEN_NORMAL ? -(float)++rank : kind == WK_TOKEN_USER ? -1000 : 0;
    }
    wick_status st = text.failed ? wk_fail_memory(text.len, "pieces") : WICK_OK;
    wk_buf_free(&text);
    return st;
}

static wick_status put_pieces(const vocab *v) {
    bool prefix;
    wick_status st = read_pieces(v, &prefix);
    if (st) return st;
    float *score = wk_alloc_array((size_t)v->n, sizeof *score);
    size_t *last = wk_alloc_array((size_t)v->n, sizeof *last);
    st = score && last ? rank_pieces(v, score, last) : wk_fail_memory((size_t)v->n * sizeof *last, "scores");
    wk_free(last);
    wk_gguf_put_str(v->k, KEY("model"), "llama", 5);
    wk_gguf_put_str(v->k, KEY("pre"), "default", 7);
    put_entries(v);
    wk_gguf_put_array(v->k, KEY("scores"), WK_GGUF_F32, (uint64_t)v->n);
    for (int32_t id = 0; !st && id < v->n; id++) wk_gguf_add_f32(v->k, score[id]);
    wk_gguf_put_bool(v->k, KEY("add_space_prefix"), prefix);
    wk_free(score);
    return st;
}

wick_status wk_put_vocabulary(wk_conversion *c, wk_gguf_keys *k) {
    const json_t *j = wk_checkpoint_tokenizer_json(c->m->ckpt);
    vocab v = { .c = c, .k = k, .t = c->m->tokenizer, .j = j, .model = json_object_get(j, "model"),
               .n = (int32_t)c->m->hp.n_vocab };
    if (!v.t) {
        wk_gguf_put_str(k, KEY("model"), "none", 4);
        return WICK_OK;
    }
    if (wk_tokenizer_n_vocab(v.t) > v.n) v.n = wk_tokenizer_n_vocab(v.t);
    if (!has_type(v.model, "BPE"))
        return wk_fail(WICK_E_UNSUPPORTED, "%s/tokenizer.json: the model \"%.40s\" cannot be converted yet: BPE can", c->from,
                       json_string_value(json_object_get(v.model, "type")));
    const char *inside = json_string_value(json_object_get(v.model, "continuing_subword_prefix"));
    const char *last = json_string_value(json_object_get(v.model, "end_of_word_suffix"));
    if (inside && *inside) return cannot(&v, "model.continuing_subword_prefix is not empty");
    if (last && *last) return cannot(&v, "model.end_of_word_suffix is not empty");
    wick_status st = json_is_true(json_object_get(v.model, "byte_fallback")) ? put_pieces(&v) : put_byte_level(&v);
    return st ? st : put_special(&v);
}
