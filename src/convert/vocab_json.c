/* vocab_json.c: tokenizer.json from a GGUF's vocabulary, so that the `tokenizers` package reads the same ids from a text as wick
 * and llama.cpp do. Format: that package's serialisation, version "1.0". SentencePiece joins neighbours whose text is an entry,
 * best score first; a list of merges that does the same names every pair of entries that makes an entry, in order of scores, as
 * transformers' converter lists them. Load: 30,000 to 260,000 entries, up to 600,000 merges, once. */
#include "convert/conversion.h"
#include "text/unicode.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name
#define MARK "\xE2\x96\x81"  /* U+2581 */

typedef struct out { const wk_conversion *c; const wk_gguf *g; const wk_tokenizer *t; wk_buf *b; int32_t n; } out;

static void str(const out *o, wk_str s) { wk_json_put_str(o->b, s.ptr, s.len); }
static void text(const out *o, const char *s) { wk_json_put_str(o->b, s, strlen(s)); }

/* Control tokens and what a user added are found in the text as it is; entries that only fill a hole are left out. */
static bool is_added(const out *o, int32_t id) {
    wk_token_kind k = wk_tokenizer_kind(o->t, id);
    return k == WK_TOKEN_CONTROL || k == WK_TOKEN_UNKNOWN || k == WK_TOKEN_USER;
}

static wick_status check_entries(const out *o) {
    size_t bad;
    for (int32_t id = 0; id < o->n; id++) {
        wk_str s = wk_tokenizer_entry(o->t, id);
        if (memchr(s.ptr, 0, s.len) || !wk_utf8_valid(s.ptr, s.len, &bad))
            return wk_fail(WICK_E_UNSUPPORTED, "%s: entry %d of the vocabulary is not text: tokenizer.json cannot hold it",
                           o->c->from, id);
    }
    return WICK_OK;
}

static void put_added(const out *o) {
    bool first = true;
    wk_buf_str(o->b, "  \"added_tokens\": [");
    for (int32_t id = 0; id < o->n; id++) {
        wk_str s = wk_tokenizer_entry(o->t, id);
        if (!is_added(o, id) || !s.len) continue;
        wk_buf_printf(o->b, "%s\n    {\"id\": %d, \"content\": ", first ? "" : ",", id);
        str(o, s);
        wk_buf_printf(o->b, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                            "\"special\": %s}",
                      wk_tokenizer_kind(o->t, id) == WK_TOKEN_USER ? "false" : "true");
        first = false;
    }
    wk_buf_str(o->b, "\n  ],\n");
}

static void put_entries(const out *o) {
    bool first = true;
    wk_buf_str(o->b, "    \"vocab\": {");
    for (int32_t id = 0; id < o->n; id++) {
        wk_str s = wk_tokenizer_entry(o->t, id);
        if (!s.len || wk_tokenizer_kind(o->t, id) == WK_TOKEN_UNUSED) continue;
        wk_buf_str(o->b, first ? "\n      " : ",\n      ");
        str(o, s);
        wk_buf_printf(o->b, ": %d", id);
        first = false;
    }
    wk_buf_str(o->b, "\n    },\n");
}

static void put_merge(const out *o, bool first, wk_str a, wk_str b) {
    wk_buf_str(o->b, first ? "\n      [" : ",\n      [");
    str(o, a);
    wk_buf_str(o->b, ", ");
    str(o, b);
    wk_buf_char(o->b, ']');
}

/* Around a text: BOS and EOS as the file says. */
static wick_status put_post(const out *o) {
    bool bos, eos;
    const int32_t id[2] = { wk_tokenizer_bos(o->t), wk_tokenizer_eos(o->t) };
    wick_status st = wk_tokenizer_adds(o->c, id[0], id[1], &bos, &eos);
    const bool on[2] = { bos, eos };
    if (!bos && !eos) {
        wk_buf_str(o->b, "  \"post_processor\": null,\n");
        return st;
    }
    wk_buf_str(o->b, "  \"post_processor\": {\"type\": \"TemplateProcessing\"");
    for (int pair = 0; pair < 2; pair++) {
        wk_buf_str(o->b, pair ? ", \"pair\": [" : ", \"single\": [");
        for (int q = 0, n = 0; q <= pair; q++) {
            for (int e = 0; e < 2; e++) {
                if (e) wk_buf_printf(o->b, "%s{\"Sequence\": {\"id\": \"%c\", \"type_id\": %d}}", n++ ? ", " : "", 'A' + q, q);
                if (!on[e]) continue;
                wk_buf_printf(o->b, "%s{\"SpecialToken\": {\"id\": ", n++ ? ", " : "");
                str(o, wk_tokenizer_entry(o->t, id[e]));
                wk_buf_printf(o->b, ", \"type_id\": %d}}", q);
            }
        }
        wk_buf_char(o->b, ']');
    }
    wk_buf_str(o->b, ", \"special_tokens\": {");
    for (int e = 0, n = 0; e < 2; e++) {
        wk_str s = wk_tokenizer_entry(o->t, id[e]);
        if (!on[e] || (e && bos && id[0] == id[1])) continue;
        if (n++) wk_buf_str(o->b, ", ");
        str(o, s);
        wk_buf_str(o->b, ": {\"id\": ");
        str(o, s);
        wk_buf_printf(o->b, ", \"ids\": [%d], \"tokens\": [", id[e]);
        str(o, s);
        wk_buf_str(o->b, "]}");
    }
    wk_buf_str(o->b, "}},\n");
    return st;
}

static void put_model_head(const out *o, const char *unk_or_null, bool fallback, bool whole) {
    wk_buf_str(o->b, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ");
    if (unk_or_null) text(o, unk_or_null);
    else wk_buf_str(o->b, "null");
    wk_buf_printf(o->b, ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
                        "    \"byte_fallback\": %s,\n    \"ignore_merges\": %s,\n",
                  fallback ? "true" : "false", whole ? "true" : "false");
    put_entries(o);
    wk_buf_str(o->b, "    \"merges\": [");
}

/* ---- byte-level BPE ---- */

static wick_status put_byte_level(const out *o) {
    const char *const *pattern = NULL;
    wk_str pre = { "", 0 };
    wk_gguf_array merges = { 0 };
    bool whole = false;
    wick_status st = wk_gguf_str(o->g, KEY("pre"), &pre, NULL);
    if (!st) st = wk_gguf_arr(o->g, KEY("merges"), &merges, NULL);
    if (!st) pattern = wk_pre_tokenizer_patterns(pre, &whole);
    if (st) return st;
    if (!pattern)  /* the tokenizer was made: it is of the kinds that read characters */
        return wk_fail(WICK_E_UNSUPPORTED, "%s: a tokenizer cut as \"%s\" (" KEY("pre") ") cannot be converted yet",
                       wk_gguf_path(o->g), wk_show(pre).text);
    bool gpt2 = false;  /* the last one may be left to ByteLevel */
    wk_buf_str(o->b, "  \"normalizer\": null,\n  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n");
    for (size_t i = 0; i < WK_MAX_PRE_PATTERN && pattern[i]; i++) {
        gpt2 = (i + 1 == WK_MAX_PRE_PATTERN || !pattern[i + 1]) && !strcmp(pattern[i], WK_GPT2_PATTERN);
        if (gpt2) break;
        wk_buf_str(o->b, "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        text(o, pattern[i]);
        wk_buf_str(o->b, "}, \"behavior\": \"Isolated\", \"invert\": false},\n");
    }
    wk_buf_printf(o->b, "    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": "
                        "%s}\n  ]},\n",
                  gpt2 ? "true" : "false");
    st = put_post(o);
    wk_buf_str(o->b, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, "
                     "\"use_regex\": true},\n");
    put_model_head(o, NULL, false, whole);
    const uint8_t *at = merges.data;
    for (uint64_t i = 0; i < merges.n; i++) {
        wk_str s = wk_gguf_arr_str(&merges, &at);
        const char *space = s.len > 1 ? memchr(s.ptr + 1, ' ', s.len - 1) : NULL;
        size_t left = space ? (size_t)(space - s.ptr) : 0;
        if (space) put_merge(o, !i, (wk_str){ s.ptr, left }, (wk_str){ space + 1, s.len - left - 1 });
    }
    return st;
}

/* ---- SentencePiece's BPE ---- */

typedef struct pair { float score; int32_t left, right; } pair;
typedef struct pairs { pair *ptr; size_t n, cap; } pairs;

static int by_score(const void *a, const void *b) {
    const pair *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return (x->right > y->right) - (x->right < y->right);
}

static bool forms(const out *o, int32_t id) {
    wk_token_kind k = id < 0 ? WK_TOKEN_CONTROL : wk_tokenizer_kind(o->t, id);
    return k == WK_TOKEN_NORMAL || k == WK_TOKEN_USER || k == WK_TOKEN_UNUSED;
}

/* Every way to make one entry from two. False: no memory. */
static bool add_splits(const out *o, int32_t id, float score, pairs *p) {
    wk_str s = wk_tokenizer_entry(o->t, id);
    for (size_t i = 1; i < s.len; i++) {
        if (((unsigned char)s.ptr[i] & 0xC0) == 0x80) continue;  /* inside a character */
        int32_t a = wk_tokenizer_find(o->t, s.ptr, i), b = forms(o, a) ? wk_tokenizer_find(o->t, s.ptr + i, s.len - i) : -1;
        if (!forms(o, b)) continue;
        if (!wk_grow((void **)&p->ptr, &p->cap, p->n + 1, sizeof *p->ptr)) return false;
        p->ptr[p->n++] = (pair){ score, a, b };
    }
    return true;
}

static wick_status put_splits(const out *o) {
    wk_gguf_array scores = { 0 };
    pairs p = { 0 };
    wick_status st = wk_gguf_arr(o->g, KEY("scores"), &scores, NULL);
    for (int32_t id = 0; !st && id < o->n && (uint64_t)id < scores.n; id++)
        if (forms(o, id) && !add_splits(o, id, (float)wk_gguf_arr_real(&scores, (uint64_t)id), &p))
            st = wk_fail_memory(p.n * sizeof *p.ptr, "merges");
    if (p.n) qsort(p.ptr, p.n, sizeof *p.ptr, by_score);
    for (size_t i = 0; !st && i < p.n; i++)
        put_merge(o, !i, wk_tokenizer_entry(o->t, p.ptr[i].left), wk_tokenizer_entry(o->t, p.ptr[i].right));
    wk_free(p.ptr);
    return st;
}

static wick_status put_pieces(const out *o) {
    bool prefix = true;
    const char *unk = NULL;
    char own[256];
    int64_t unk_id = -1;
    wick_status st = wk_gguf_bool(o->g, KEY("add_space_prefix"), &prefix, NULL);
    if (!st) st = wk_gguf_int(o->g, KEY("unknown_token_id"), 0, o->n - 1, &unk_id, NULL);
    for (int32_t id = 0; unk_id < 0 && id < o->n; id++) if (wk_tokenizer_kind(o->t, id) == WK_TOKEN_UNKNOWN) unk_id = id;
    wk_str s = wk_tokenizer_entry(o->t, (int32_t)unk_id);
    if (unk_id >= 0 && s.len < sizeof own) {
        memcpy(own, s.ptr, s.len);
        own[s.len] = 0;
        unk = own;
    }
    wk_buf_printf(o->b, "  \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [%s"
                        "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"" MARK "\"}]},\n"
                        "  \"pre_tokenizer\": null,\n",
                  prefix ? "{\"type\": \"Prepend\", \"prepend\": \"" MARK "\"}, " : "");
    if (!st) st = put_post(o);
    wk_buf_printf(o->b, "  \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": "
                        "{\"String\": \"" MARK
                        "\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}%s]},\n",
                  prefix ? ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}" : "");
    put_model_head(o, unk, true, false);
    return st ? st : put_splits(o);
}

wick_status wk_put_tokenizer_json(const wk_conversion *c, wk_buf *b) {
    out o = { .c = c, .g = wk_checkpoint_gguf(c->m->ckpt), .t = c->m->tokenizer, .b = b,
             .n = wk_tokenizer_n_vocab(c->m->tokenizer) };
    wk_str model = { "", 0 };
    wick_status st = wk_gguf_str(o.g, KEY("model"), &model, NULL);
    if (!st) st = check_entries(&o);
    if (st) return st;
    wk_buf_str(b, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    put_added(&o);
    if (wk_str_eq(model, "gpt2")) st = put_byte_level(&o);
    else if (wk_str_eq(model, "llama")) st = put_pieces(&o);
    else st = wk_fail(WICK_E_UNSUPPORTED, "%s: a tokenizer of the kind \"%s\" cannot be converted yet: \"gpt2\" and \"llama\" can",
                      c->from,
                      wk_show(model).text);
    wk_buf_str(b, "\n    ]\n  }\n}\n");
    return st;
}
