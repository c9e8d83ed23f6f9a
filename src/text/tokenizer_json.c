/* tokenizer_json.c: a tokenizer from tokenizer.json, with what tokenizer_config.json adds.
 * Format: the `tokenizers` package's serialisation (version "1.0"); each step by its "type". What is not known is refused by name.
 * Load: 30,000 to 260,000 entries in one JSON object; parsing it takes longer than anything here. Nothing of the JSON is kept.
 * The file is a stranger's: types, ids and nesting are checked; ids may leave holes, but not wide ones (MAX_HOLE). */
#include "text/tokenizer_parts.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 16, MAX_HOLE = 1 << 20, MAX_DECODE = 16, MAX_AROUND = 1024 };

typedef enum model_kind { BPE, UNIGRAM, WORDPIECE, WORDLEVEL } model_kind;
typedef struct loader {
    wk_tokenizer *t;
    const char *path;
    char *own;               /* where the next entry's spelling goes, in t->vocab.own */
    wk_decode_step decode[MAX_DECODE];
    size_t n_decode;
    bool fused, byte_tokens;
    model_kind model;
    double *score;           /* [n_vocab], of a unigram model */
} loader;

/* ---- values with their types checked; stage names the place in messages ---- */

static wick_status wrong(const loader *l, const char *stage, const char *key, const char *want) {
    return wk_fail(WICK_E_FORMAT, "%s: %s.%s must be %s", l->path, stage, key, want);
}

/* Absent or null: *out stays as it is. */
static wick_status get_bool(const loader *l, const char *stage, const json_t *o, const char *key, bool *out) {
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v)) return WICK_OK;
    if (!json_is_boolean(v)) return wrong(l, stage, key, "true or false");
    *out = json_is_true(v);
    return WICK_OK;
}

static wick_status get_str(const loader *l, const char *stage, const json_t *o, const char *key, bool needed, wk_str *out) {
    const json_t *v = json_object_get(o, key);
    if (!needed && (!v || json_is_null(v))) return WICK_OK;
    if (!json_is_string(v)) return wrong(l, stage, key, "a string");
    *out = (wk_str){ json_string_value(v), json_string_length(v) };
    return WICK_OK;
}

static wick_status get_small(const loader *l, const char *stage, const json_t *o, const char *key, int *out) {
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > 1000)
        return wrong(l, stage, key, "a number from 0 to 1000");
    *out = (int)json_integer_value(v);
    return WICK_OK;
}

static wick_status get_id(const loader *l, const char *stage, const char *key, const json_t *v, int32_t *out) {
    if (!json_is_integer(v)) return wrong(l, stage, key, "an id (an integer)");
    json_int_t id = json_integer_value(v);
    if (id < 0 || id >= INT32_MAX)
        return wk_fail(WICK_E_FORMAT, "%s: %s.%s: id %lld is outside 0..2147483646", l->path, stage, key, (long long)id);
    *out = (int32_t)id;
    return WICK_OK;
}

static wick_status keep(const loader *l, wk_str s, wk_str *out) {
    char *p = wk_arena_str(&l->t->strings, s.ptr, s.len);
    *out = (wk_str){ p, s.len };
    return p ? WICK_OK : wk_fail_memory(s.len, l->path);
}

static wick_status unknown_step(const loader *l, const char *stage, wk_str type) {
    return wk_fail(WICK_E_UNSUPPORTED, "%s: %s: the step \"%s\" is not known to wick", l->path, stage, wk_show(type).text);
}

/* Calls one for a step, or for each member of a (nested) Sequence. */
typedef wick_status (*step_fn)(loader *l, const char *stage, const json_t *o, wk_str type);
static wick_status each_step(loader *l, const char *stage, const char *list, const json_t *o, int depth, step_fn one) {
    wk_str type = { "", 0 };
    wick_status st;
    if (!o || json_is_null(o)) return WICK_OK;
    if (!json_is_object(o)) return wk_fail(WICK_E_FORMAT, "%s: %s must be an object or null", l->path, stage);
    if ((st = get_str(l, stage, o, "type", true, &type))) return st;
    if (!wk_str_eq(type, "Sequence")) return one(l, stage, o, type);
    if (depth == MAX_DEPTH)
        return wk_fail(WICK_E_FORMAT, "%s: %s: Sequences are nested more than %d deep", l->path, stage, MAX_DEPTH);
    const json_t *v = json_object_get(o, list);
    if (!json_is_array(v)) return wrong(l, stage, list, "an array");
    for (size_t i = 0; i < json_array_size(v) && !st; i++) {
        const json_t *e = json_array_get(v, i);
        if (!json_is_object(e)) return wrong(l, stage, list, "an array of steps");
        st = each_step(l, stage, list, e, depth + 1, one);
    }
    return st;
}

/* {"String": s} or {"Regex": s}. */
static wick_status get_pattern(const loader *l, const char *stage, const json_t *o, wk_str *s, bool *regex) {
    const json_t *p = json_object_get(o, "pattern"), *v = json_object_get(p, "String"), *r = json_object_get(p, "Regex");
    if (json_is_string(v) == json_is_string(r)) return wrong(l, stage, "pattern", "an object with \"String\" or \"Regex\"");
    *regex = json_is_string(r);
    *s = (wk_str){ json_string_value(*regex ? r : v), json_string_length(*regex ? r : v) };
    return WICK_OK;
}

static void name_place(const loader *l, const char *stage, char *out, size_t n) { snprintf(out, n, "%s: %s", l->path, stage); }

/* ---- normaliser ---- */

static int digit64(char c) {
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52
         : c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Base64 (RFC 4648, section 4) into out, which has room for 3 / 4 of it. SIZE_MAX: it is not. */
static size_t base64(wk_str s, uint8_t *out) {
    size_t n = 0;
    uint32_t bits = 0;
    if (s.len % 4) return SIZE_MAX;
    for (int k = 0; k < 2 && s.len && s.ptr[s.len - 1] == '='; k++) s.len--;
    for (size_t i = 0; i < s.len; i++) {
        int d = digit64(s.ptr[i]);
        if (d < 0) return SIZE_MAX;
        bits = bits << 6 | (uint32_t)d;
        if (i % 4) out[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return n;
}

static wick_status charsmap(const loader *l, const char *stage, const json_t *o, wk_charsmap **map) {
    wk_str s = { "", 0 };
    char what[700];
    wick_status st = get_str(l, stage, o, "precompiled_charsmap", true, &s);
    if (st) return st;
    uint8_t *p = wk_alloc(s.len + 1);
    if (!p) return wk_fail_memory(s.len, l->path);
    size_t n = base64(s, p);
    snprintf(what, sizeof what, "%s: %s.precompiled_charsmap", l->path, stage);
    st = n == SIZE_MAX ? wrong(l, stage, "precompiled_charsmap", "base64") : wk_charsmap_new(p, n, what, map);
    wk_free(p);
    return st;
}

static wick_status get_bert(const loader *l, const char *stage, const json_t *o, wk_bert_norm *b) {
    *b = (wk_bert_norm){ .clean = true, .chinese = true, .lower = true };
    wick_status st = get_bool(l, stage, o, "clean_text", &b->clean);
    if (!st) st = get_bool(l, stage, o, "handle_chinese_chars", &b->chinese);
    if (!st) st = get_bool(l, stage, o, "lowercase", &b->lower);
    b->accents = b->lower;
    return st ? st : get_bool(l, stage, o, "strip_accents", &b->accents);
}

static wick_status normalizer(loader *l, const char *stage, const json_t *o, wk_str type) {
    static const struct {
        const char *name;
        wk_normal_form form;
    } forms[] = { { "NFC", WK_NFC }, { "NFD", WK_NFD }, { "NFKC", WK_NFKC }, { "NFKD", WK_NFKD } };
    wk_norm s = { .kind = WK_NORM_FORM, .left = true, .right = true }, *at = NULL;
    wk_str from = { "", 0 }, to = { "", 0 };
    bool regex = false, known = false;
    char where[600];
    wick_status st = WICK_OK;
    for (int i = 0; i < 4; i++) if (wk_str_eq(type, forms[i].name)) { s.form = forms[i].form; known = true; }
    if (known) {
    } else if (wk_str_eq(type, "Lowercase")) {
        s.kind = WK_NORM_LOWERCASE;
    } else if (wk_str_eq(type, "StripAccents")) {
        s.kind = WK_NORM_STRIP_ACCENTS;
    } else if (wk_str_eq(type, "Strip")) {
        s.kind = WK_NORM_STRIP;
        st = get_bool(l, stage, o, "strip_left", &s.left);
        if (!st) st = get_bool(l, stage, o, "strip_right", &s.right);
    } else if (wk_str_eq(type, "Prepend")) {
        s.kind = WK_NORM_PREPEND;
        st = get_str(l, stage, o, "prepend", true, &to);
    } else if (wk_str_eq(type, "Replace")) {
        st = get_pattern(l, stage, o, &from, &regex);
        if (!st) st = get_str(l, stage, o, "content", true, &to);
        s.kind = regex ? WK_NORM_REPLACE_PATTERN : WK_NORM_REPLACE;
    } else if (wk_str_eq(type, "BertNormalizer")) {
        s.kind = WK_NORM_BERT;
        st = get_bert(l, stage, o, &s.bert);
    } else if (wk_str_eq(type, "Nmt")) {
        s.kind = WK_NORM_NMT;
    } else if (wk_str_eq(type, "ByteLevel")) {
        s.kind = WK_NORM_BYTE_CHARS;
    } else if (wk_str_eq(type, "Precompiled")) {
        s.kind = WK_NORM_CHARSMAP_HF;
        st = charsmap(l, stage, o, &s.map);
    } else {
        return unknown_step(l, stage, type);
    }
    if (!st) st = keep(l, from, &s.from);
    if (!st) st = keep(l, to, &s.to);
    if (!st && !(at = wk_add_norm(l->t))) st = WICK_E_UNSUPPORTED;
    if (st) {
        wk_charsmap_free(s.map);
        return st;
    }
    *at = s;
    name_place(l, stage, where, sizeof where);
    return regex ? wk_pattern_new(from.ptr, from.len, where, &at->pattern) : WICK_OK;
}

/* ---- pre-tokeniser ---- */

static wick_status get_behavior(const loader *l, const char *stage, const json_t *o, wk_behavior *out) {
    static const struct { const char *name; wk_behavior b; } all[] = {
        { "Removed", WK_REMOVED }, { "Isolated", WK_ISOLATED }, { "MergedWithPrevious", WK_WITH_PREVIOUS },
        { "MergedWithNext", WK_WITH_NEXT }, { "Contiguous", WK_CONTIGUOUS },
    };
    wk_str s = { NULL, 0 };
    wick_status st = get_str(l, stage, o, "behavior", false, &s);
    if (st || !s.ptr) return st;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) if (wk_str_eq(s, all[i].name)) { *out = all[i].b; return WICK_OK; }
    return wk_fail(WICK_E_UNSUPPORTED, "%s: %s: the behavior \"%s\" is not known to wick", l->path, stage, wk_show(s).text);
}

static wick_status add_pre(loader *l, wk_pre s) {
    wk_pre *at = wk_add_pre(l->t);
    wick_status st = at ? WICK_OK : WICK_E_UNSUPPORTED;
    if (at) *at = s;
    return st || !s.text.ptr ? st : keep(l, s.text, &at->text);
}

static wick_status pre_byte_level(loader *l, const char *stage, const json_t *o) {
    bool prefix = true, cut = true;
    wick_status st = get_bool(l, stage, o, "add_prefix_space", &prefix);
    if (!st) st = get_bool(l, stage, o, "use_regex", &cut);
    if (!st && prefix) st = add_pre(l, (wk_pre){ .kind = WK_PRE_PREFIX, .text = WK_STR(" ") });
    if (!st && cut) st = add_pre(l, (wk_pre){ .kind = WK_PRE_SCAN, .scan = wk_scan_gpt2 });
    return st ? st : add_pre(l, (wk_pre){ .kind = WK_PRE_BYTE_CHARS });
}

/* "replacement", and when it is put in front: "prepend_scheme", or before tokenizers 0.15 "add_prefix_space". */
static wick_status get_metaspace(const loader *l, const char *stage, const json_t *o, wk_str *mark, wk_prepend *scheme) {
    wk_str s = { NULL, 0 };
    bool prefix = true;
    size_t n;
    wick_status st = get_str(l, stage, o, "replacement", true, mark);
    if (!st && (!mark->len || (wk_utf8_get(mark->ptr, &n), n != mark->len))) st = wrong(l, stage, "replacement", "one character");
    if (!st) st = get_bool(l, stage, o, "add_prefix_space", &prefix);
    if (!st) st = get_str(l, stage, o, "prepend_scheme", false, &s);
    *scheme = prefix ? WK_PREPEND_ALWAYS : WK_PREPEND_NEVER;
    if (st || !s.ptr) return st;
    if (wk_str_eq(s, "always")) *scheme = WK_PREPEND_ALWAYS;
    else if (wk_str_eq(s, "first")) *scheme = WK_PREPEND_FIRST;
    else if (wk_str_eq(s, "never")) *scheme = WK_PREPEND_NEVER;
    else return wrong(l, stage, "prepend_scheme", "\"always\", \"first\" or \"never\"");
    return WICK_OK;
}

static wick_status pre_metaspace(loader *l, const char *stage, const json_t *o) {
    wk_pre s = { .kind = WK_PRE_METASPACE };
    bool cut = true;
    wick_status st = get_metaspace(l, stage, o, &s.text, &s.scheme);
    if (!st) st = get_bool(l, stage, o, "split", &cut);
    if (!st) st = add_pre(l, s);
    return st || !cut ? st : add_pre(l, (wk_pre){ .kind = WK_PRE_STRING, .text = s.text, .behavior = WK_WITH_NEXT });
}

static wick_status pre_split(loader *l, const char *stage, const json_t *o) {
    wk_pre s = { .kind = WK_PRE_STRING, .behavior = WK_ISOLATED };
    bool regex = false;
    char where[600];
    wick_status st = get_pattern(l, stage, o, &s.text, &regex);
    if (!st) st = get_behavior(l, stage, o, &s.behavior);
    if (!st) st = get_bool(l, stage, o, "invert", &s.invert);
    name_place(l, stage, where, sizeof where);
    if (st || !regex) return st ? st : add_pre(l, s);
    return wk_add_split(l->t, s.text.ptr, s.text.len, s.behavior, s.invert, where);
}

static wick_status pre_tokenizer(loader *l, const char *stage, const json_t *o, wk_str type) {
    wk_pre s = { .kind = WK_PRE_CLASS, .behavior = WK_ISOLATED };
    bool each = false;
    wick_status st = WICK_OK;
    if (wk_str_eq(type, "ByteLevel")) return pre_byte_level(l, stage, o);
    if (wk_str_eq(type, "Metaspace")) return pre_metaspace(l, stage, o);
    if (wk_str_eq(type, "Split")) return pre_split(l, stage, o);
    if (wk_str_eq(type, "Digits")) {
        s.mask = WK_CH_NUMBER;
        st = get_bool(l, stage, o, "individual_digits", &each);
        s.behavior = each ? WK_ISOLATED : WK_CONTIGUOUS;
    } else if (wk_str_eq(type, "Punctuation")) {
        s.mask = WK_CH_PUNCT;
        st = get_behavior(l, stage, o, &s.behavior);
    } else if (wk_str_eq(type, "WhitespaceSplit")) {
        s.mask = WK_CH_SPACE;
        s.behavior = WK_REMOVED;
    } else if (wk_str_eq(type, "Whitespace")) {
        s.kind = WK_PRE_WORDS;
    } else if (wk_str_eq(type, "UnicodeScripts")) {
        s.kind = WK_PRE_SCRIPTS;
    } else if (wk_str_eq(type, "BertPreTokenizer")) {
        st = add_pre(l, (wk_pre){ .kind = WK_PRE_CLASS, .mask = WK_CH_SPACE, .behavior = WK_REMOVED });
        s.mask = WK_CH_PUNCT;
    } else if (wk_str_eq(type, "FixedLength")) {
        const json_t *length = json_object_get(o, "length");
        s.kind = WK_PRE_LENGTH;
        if (!json_is_integer(length) || json_integer_value(length) < 1 || json_integer_value(length) > INT32_MAX)
            return wrong(l, stage, "length", "a number from 1 to 2147483647");
        s.mask = (unsigned)json_integer_value(length);
    } else if (wk_str_eq(type, "CharDelimiterSplit")) {
        s.kind = WK_PRE_STRING;
        s.behavior = WK_REMOVED;
        st = get_str(l, stage, o, "delimiter", true, &s.text);
    } else {
        return unknown_step(l, stage, type);
    }
    return st ? st : add_pre(l, s);
}

/* ---- decoder ---- */

static wick_status push_decode(loader *l, const char *stage, wk_decode_step s) {
    if (l->n_decode == MAX_DECODE)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: %s: more than %d steps", l->path, stage, MAX_DECODE);
    wick_status st = keep(l, s.from, &s.from);
    if (!st) st = keep(l, s.to, &s.to);
    if (!st) l->decode[l->n_decode++] = s;
    return st;
}

/* Tokens without the prefix are words: a space comes between them, which the clean-up takes away before some. */
static wick_status decode_wordpiece(loader *l, const char *stage, const json_t *o) {
    wk_decode_step s = { .kind = WK_DECODE_INSIDE, .from = WK_STR("##") };
    bool clean = true;
    wick_status st = get_str(l, stage, o, "prefix", false, &s.from);
    if (!st) st = get_bool(l, stage, o, "cleanup", &clean);
    if (!st) st = push_decode(l, stage, s);
    if (!st && clean) st = push_decode(l, stage, (wk_decode_step){ .kind = WK_DECODE_CLEAN_UP });
    if (!st) st = keep(l, s.from, &l->t->inside);
    l->t->strip_first = l->t->spaced = true;
    return st;
}

/* Words end with a suffix, which becomes a space between them. Only by itself: no other step knows which token is the last. */
static wick_status decode_bpe(loader *l, const char *stage, const json_t *o) {
    wk_decode_step s = { .kind = WK_DECODE_REPLACE, .from = WK_STR("</w>"), .to = WK_STR(" ") };
    wick_status st = get_str(l, stage, o, "suffix", false, &s.from);
    if (!st && !s.from.len) st = wrong(l, stage, "suffix", "one character or more");
    if (!st) st = push_decode(l, stage, s);
    return st ? st : keep(l, s.from, &l->t->word_end);
}

/* Connectionist temporal classification (Graves et al. 2006, section 3): equal neighbours are one, the blank is nothing. */
static wick_status decode_ctc(loader *l, const char *stage, const json_t *o) {
    wk_decode_step blank = { .kind = WK_DECODE_REPLACE, .from = WK_STR("<pad>"), .to = WK_STR(""), .control = true };
    wk_decode_step words = { .kind = WK_DECODE_REPLACE, .from = WK_STR("|"), .to = WK_STR(" "), .control = true };
    bool clean = true;
    wick_status st = get_str(l, stage, o, "pad_token", false, &blank.from);
    if (!st) st = get_str(l, stage, o, "word_delimiter_token", false, &words.from);
    if (!st && (!blank.from.len || !words.from.len))
        st = wrong(l, stage, blank.from.len ? "word_delimiter_token" : "pad_token", "one character or more");
    if (!st) st = get_bool(l, stage, o, "cleanup", &clean);
    if (!st) st = push_decode(l, stage, blank);
    if (!st && clean) st = push_decode(l, stage, (wk_decode_step){ .kind = WK_DECODE_CLEAN_UP, .control = true });
    if (!st && clean) st = push_decode(l, stage, words);
    l->t->once = true;
    return st;
}

/* Once tokens are fused, only what works on the whole text's first space, or on single characters, can be done as ids come. */
static wick_status decoder(loader *l, const char *stage, const json_t *o, wk_str type) {
    wk_decode_step s = { .kind = WK_DECODE_BYTE_LEVEL };
    wk_prepend scheme;
    bool regex = false;
    size_t n;
    wick_status st = WICK_OK;
    if (wk_str_eq(type, "Fuse")) {  /* nothing that wick does looks at where tokens meet */
        l->fused = true;
        return WICK_OK;
    }
    if (l->t->word_end.len || (wk_str_eq(type, "BPEDecoder") && (l->n_decode || l->fused)))
        return wk_fail(WICK_E_UNSUPPORTED, "%s: %s: BPEDecoder beside other steps is not known to wick", l->path, stage);
    if (wk_str_eq(type, "WordPiece")) return decode_wordpiece(l, stage, o);
    if (wk_str_eq(type, "BPEDecoder")) return decode_bpe(l, stage, o);
    if (wk_str_eq(type, "CTC")) return decode_ctc(l, stage, o);
    if (wk_str_eq(type, "ByteLevel")) {
    } else if (wk_str_eq(type, "ByteFallback")) {
        s.kind = WK_DECODE_BYTE_FALLBACK;
        l->byte_tokens = true;
    } else if (wk_str_eq(type, "Replace")) {
        s.kind = WK_DECODE_REPLACE;
        st = get_pattern(l, stage, o, &s.from, &regex);
        if (!st) st = get_str(l, stage, o, "content", true, &s.to);
        if (!st && (regex || !s.from.len || (l->fused && (wk_utf8_get(s.from.ptr, &n), n != s.from.len))))
            return wk_fail(
                WICK_E_UNSUPPORTED,
                "%s: %s: Replace of a regular expression, of nothing, or of several characters after Fuse is not known to wick",
                l->path, stage);
    } else if (wk_str_eq(type, "Metaspace")) {
        s.kind = WK_DECODE_REPLACE;
        s.to = WK_STR(" ");
        st = get_metaspace(l, stage, o, &s.from, &scheme);
        l->t->strip_first = l->t->strip_marks = scheme != WK_PREPEND_NEVER;
    } else if (wk_str_eq(type, "Strip")) {
        s.kind = WK_DECODE_STRIP;
        st = get_str(l, stage, o, "content", true, &s.from);
        if (!st) st = get_small(l, stage, o, "start", &s.left);
        if (!st) st = get_small(l, stage, o, "stop", &s.right);
        if (!st && l->fused) {
            if (!wk_str_eq(s.from, " ") || s.left > 1 || s.right)
                return wk_fail(WICK_E_UNSUPPORTED,
                               "%s: %s: Strip after Fuse of anything but one space at the beginning is not known to wick", l->path,
                               stage);
            l->t->strip_first = s.left;
            return WICK_OK;
        }
        if (!st && !s.from.len) return wrong(l, stage, "content", "one character");
    } else {
        return unknown_step(l, stage, type);
    }
    return st ? st : push_decode(l, stage, s);
}

/* ---- vocabulary and merges ---- */

/* A spelling's copy in vocab.own, which has room for all of them. */
static wk_str own(loader *l, const char *p, size_t n) {
    char *at = l->own;
    memcpy(at, p, n);
    l->own += n;
    return (wk_str){ at, n };
}

/* A unigram vocabulary's entry i: [spelling, score]. */
static wick_status scored(const loader *l, const json_t *vocab, size_t i, wk_str *s, double *score) {
    const json_t *e = json_array_get(vocab, i), *text = json_array_get(e, 0), *number = json_array_get(e, 1);
    if (json_array_size(e) != 2 || !json_is_string(text) || !json_is_number(number))
        return wk_fail(WICK_E_FORMAT, "%s: model.vocab[%zu] must be [spelling, score]", l->path, i);
    *s = (wk_str){ json_string_value(text), json_string_length(text) };
    *score = json_number_value(number);
    return WICK_OK;
}

/* How many ids there are (the greatest + 1) and how many bytes their spellings have. */
static wick_status measure(loader *l, const json_t *vocab, const json_t *added, int32_t *n, size_t *bytes) {
    const char *key;
    const json_t *v;
    size_t count = json_object_size(vocab) + json_array_size(vocab) + json_array_size(added), i;
    int32_t max = -1, id = 0;
    double score;
    wick_status st = WICK_OK;
    *bytes = 1;
    json_object_foreach((json_t *)vocab, key, v) {
        if ((st = get_id(l, "model.vocab", key, v, &id))) return st;
        if (id > max) max = id;
        *bytes += strlen(key);
    }
    if (json_array_size(vocab) > INT32_MAX / 2)
        return wk_fail(WICK_E_FORMAT, "%s: model.vocab has %zu entries; up to %d are possible", l->path, json_array_size(vocab),
                       INT32_MAX / 2);
    for (i = 0; i < json_array_size(vocab); i++) {
        wk_str s;
        if ((st = scored(l, vocab, i, &s, &score))) return st;
        max = (int32_t)i;
        *bytes += s.len;
    }
    json_array_foreach(added, i, v) {
        wk_str s = { "", 0 };
        if (!json_is_object(v)) return wk_fail(WICK_E_FORMAT, "%s: added_tokens[%zu] must be an object", l->path, i);
        if ((st = get_id(l, "added_tokens", "id", json_object_get(v, "id"), &id)) ||
            (st = get_str(l, "added_tokens", v, "content", true, &s)))
            return st;
        if (id > max) max = id;
        *bytes += s.len;
    }
    if (max < 0) return wk_fail(WICK_E_FORMAT, "%s: model.vocab is empty", l->path);
    if ((size_t)max > count + MAX_HOLE)
        return wk_fail(WICK_E_FORMAT, "%s: id %d is far beyond the vocabulary's %zu entries; holes of up to %d ids are allowed",
                       l->path, max, count, MAX_HOLE);
    *n = max + 1;
    return WICK_OK;
}

/* An id's spelling, copied; it is not entered yet. */
static wick_status fill_entry(loader *l, int32_t id, const char *p, size_t n) {
    wk_vocabulary *v = &l->t->vocab;
    if (v->entry[id].len)
        return wk_fail(WICK_E_FORMAT, "%s: id %d is both \"%s\" and \"%s\"", l->path, id, wk_show(v->entry[id]).text,
                       wk_show((wk_str){ p, n }).text);
    v->kind[id] = WK_TOKEN_NORMAL;
    v->entry[id] = own(l, p, n);
    return WICK_OK;
}

static wick_status read_vocab(loader *l, const json_t *vocab, const json_t *added) {
    wk_vocabulary *v = &l->t->vocab;
    const char *key;
    const json_t *e;
    int32_t n = 0;
    size_t bytes = 0;
    wick_status st = measure(l, vocab, added, &n, &bytes);
    if (!st) st = wk_vocabulary_new(v, n);
    if (!st && !(v->own = l->own = wk_alloc(bytes))) st = wk_fail_memory(bytes, "the vocabulary");
    if (st) return st;
    json_object_foreach((json_t *)vocab, key, e) {
        if ((st = fill_entry(l, (int32_t)json_integer_value(e), key, strlen(key)))) return st;
    }
    if (l->model == UNIGRAM && !(l->score = wk_alloc_array((size_t)n, sizeof *l->score)))
        return wk_fail_memory((size_t)n * sizeof *l->score, "the vocabulary");
    for (int32_t i = 0; l->model == UNIGRAM && i < n; i++) {
        wk_str s = { "", 0 };
        l->score[i] = NAN;
        if ((size_t)i >= json_array_size(vocab)) continue;
        if ((st = scored(l, vocab, (size_t)i, &s, &l->score[i])) || (st = fill_entry(l, i, s.ptr, s.len))) return st;
    }
    return wk_vocabulary_index(v, l->path);
}

/* One merge: "a b", or ["a", "b"], which also holds entries with spaces. */
static bool merge_text(const json_t *e, wk_merge_text *m) {
    const json_t *a = json_array_get(e, 0), *b = json_array_get(e, 1);
    if (json_array_size(e) == 2 && json_is_string(a) && json_is_string(b)) {
        *m = (wk_merge_text){ { json_string_value(a), json_string_length(a) }, { json_string_value(b), json_string_length(b) } };
    } else if (json_is_string(e)) {
        const char *p = json_string_value(e), *end = p + json_string_length(e), *space = memchr(p, ' ', (size_t)(end - p));
        if (!space || memchr(space + 1, ' ', (size_t)(end - space - 1))) return false;
        *m = (wk_merge_text){ { p, (size_t)(space - p) }, { space + 1, (size_t)(end - space - 1) } };
    } else {
        return false;
    }
    return m->left.len && m->right.len;
}

static wick_status read_merges(loader *l, const json_t *merges) {
    wk_merge_text batch[WK_MERGE_BATCH];
    char what[600];
    size_t n = json_array_size(merges);
    int32_t expected = 0;
    wick_status st = json_is_array(merges) ? WICK_OK : wrong(l, "model", "merges", "an array");
    if (!st && n >= UINT32_MAX / 4) st = wk_fail(WICK_E_FORMAT, "%s: %zu merges are more than wick can hold", l->path, n);
    if (!st) st = wk_bpe_new(&l->t->bpe, n);
    name_place(l, "model.merges", what, sizeof what);
    for (size_t i = 0, k = 0; i < n && !st; i++) {
        if (!merge_text(json_array_get(merges, i), &batch[k++]))
            return wk_fail(WICK_E_FORMAT, "%s: merge %zu is neither \"a b\" nor [\"a\", \"b\"]", what, i);
        if (k < WK_MERGE_BATCH && i + 1 < n) continue;
        st = wk_bpe_read(&l->t->bpe, &l->t->vocab, batch, k, (uint32_t)(i + 1 - k), &expected, what);
        k = 0;
    }
    return st;
}

/* ---- added tokens ---- */

static wick_status read_added_token(loader *l, const json_t *o) {
    static const char stage[] = "added_tokens";
    wk_vocabulary *v = &l->t->vocab;
    wk_added a = { .id = (int32_t)json_integer_value(json_object_get(o, "id")) };
    wk_str content = { "", 0 }, text;
    bool special = false;
    wick_status st = get_bool(l, stage, o, "special", &special);
    bool normalized = !special;
    if (!st) st = get_bool(l, stage, o, "normalized", &normalized);
    if (!st) st = get_bool(l, stage, o, "single_word", &a.single_word);
    if (!st) st = get_bool(l, stage, o, "lstrip", &a.lstrip);
    if (!st) st = get_bool(l, stage, o, "rstrip", &a.rstrip);
    if (!st) st = get_str(l, stage, o, "content", true, &content);
    if (st || !content.len) return st;
    if (v->entry[a.id].len != content.len || memcmp(v->entry[a.id].ptr, content.ptr, content.len)) {
        st = fill_entry(l, a.id, content.ptr, content.len);
        if (!st) st = wk_vocabulary_set(v, a.id, v->entry[a.id], l->path);
    }
    if (!st && (v->kind[a.id] == WK_TOKEN_CONTROL || v->kind[a.id] == WK_TOKEN_USER))
        st = wk_fail(WICK_E_FORMAT, "%s: added_tokens has \"%s\" twice", l->path, wk_show(content).text);
    if (st) return st;
    a.control = special;
    a.text = v->entry[a.id];
    v->kind[a.id] = special ? WK_TOKEN_CONTROL : WK_TOKEN_USER;
    /* Control tokens are always looked for in the raw text: where a character came from is known there. */
    if (special || !normalized || !l->t->n_norm) return wk_matcher_add(&l->t->raw, &a);
    wk_buf x = { 0 }, y = { 0 };
    st = wk_normalize(l->t->norm, l->t->n_norm, a.text, &x, &y, &text);
    if (!st) st = keep(l, text, &a.text);
    if (!st && a.text.len) st = wk_matcher_add(&l->t->normalized, &a);
    wk_buf_free(&x);
    wk_buf_free(&y);
    return st;
}

/* ---- what is put around a text ---- */

static wick_status push_id(const loader *l, int32_t **list, size_t *n, int32_t id) {
    if (id < 0 || id >= l->t->vocab.n)
        return wk_fail(WICK_E_FORMAT, "%s: post_processor: id %d is outside the vocabulary of %d", l->path, id, l->t->vocab.n);
    if (*n == MAX_AROUND)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: post_processor puts more than %d tokens before or behind a text", l->path,
                       MAX_AROUND);
    int32_t *p = wk_realloc_array(*list, *n + 1, sizeof *p);
    if (!p) return wk_fail_memory((*n + 1) * sizeof *p, l->path);
    p[*n] = id;
    *list = p;
    ++*n;
    return WICK_OK;
}

static wick_status template_ids(const loader *l, const json_t *o) {
    static const char stage[] = "post_processor";
    const json_t *single = json_object_get(o, "single"), *special = json_object_get(o, "special_tokens"), *e, *id;
    bool after = false;
    size_t i, k;
    wick_status st = json_is_array(single) ? WICK_OK : wrong(l, stage, "single", "an array");
    json_array_foreach(single, i, e) {
        const json_t *s = json_object_get(e, "SpecialToken"), *q = json_object_get(e, "Sequence");
        wk_str name = { "", 0 };
        int32_t v = 0;
        if (st) return st;
        if (q && !s && !after) { after = true; continue; }
        if (!s || q)
            return wk_fail(WICK_E_UNSUPPORTED, "%s: %s.single[%zu] is not a special token or the one sequence", l->path, stage, i);
        if ((st = get_str(l, stage, s, "id", true, &name))) return st;
        const json_t *ids = json_object_get(json_object_getn(special, name.ptr, name.len), "ids");
        if (!json_array_size(ids))
            return wk_fail(WICK_E_FORMAT, "%s: %s.special_tokens has no ids for \"%s\"", l->path, stage, wk_show(name).text);
        json_array_foreach(ids, k, id) {
            if ((st = get_id(l, stage, "special_tokens.ids", id, &v))) return st;
            if ((st = push_id(l, after ? &l->t->suffix : &l->t->prefix, after ? &l->t->n_suffix : &l->t->n_prefix, v))) return st;
        }
    }
    return st;
}

static wick_status post_processor(loader *l, const char *stage, const json_t *o, wk_str type) {
    if (wk_str_eq(type, "ByteLevel")) return WICK_OK;  /* trims offsets, which wick does not report */
    if (l->t->n_prefix || l->t->n_suffix)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: %s: more than one step that adds tokens", l->path, stage);
    if (wk_str_eq(type, "TemplateProcessing")) return template_ids(l, o);
    if (!wk_str_eq(type, "RobertaProcessing") && !wk_str_eq(type, "BertProcessing")) return unknown_step(l, stage, type);
    int32_t cls = 0, sep = 0;
    wick_status st = get_id(l, stage, "cls", json_array_get(json_object_get(o, "cls"), 1), &cls);
    if (!st) st = get_id(l, stage, "sep", json_array_get(json_object_get(o, "sep"), 1), &sep);
    if (!st) st = push_id(l, &l->t->prefix, &l->t->n_prefix, cls);
    return st ? st : push_id(l, &l->t->suffix, &l->t->n_suffix, sep);
}

/* A token that tokenizer_config.json names: a string, or an object with "content". */
static wick_status config_token(const loader *l, const json_t *config, const char *key, int32_t *id) {
    const json_t *v = json_object_get(config, key);
    if (json_is_object(v)) v = json_object_get(v, "content");
    if (!v || json_is_null(v)) return WICK_OK;
    if (!json_is_string(v)) return wrong(l, "tokenizer_config", key, "a string");
    *id = wk_tokenizer_find(l->t, json_string_value(v), json_string_length(v));
    if (*id < 0 && json_string_length(v))
        return wk_fail(WICK_E_FORMAT, "%s: tokenizer_config.json's %s \"%.60s\" is not in the vocabulary", l->path, key,
                       json_string_value(v));
    return WICK_OK;
}

static wick_status read_config(loader *l, const json_t *config) {
    wk_tokenizer *t = l->t;
    bool add_bos = false, add_eos = false, said = t->n_prefix || t->n_suffix;
    wick_status st = config_token(l, config, "bos_token", &t->bos);
    if (!st) st = config_token(l, config, "eos_token", &t->eos);
    if (!st && t->eos >= 0) st = wk_tokenizer_add_end(t, t->eos);
    if (!st) st = get_bool(l, "tokenizer_config", config, "add_bos_token", &add_bos);
    if (!st) st = get_bool(l, "tokenizer_config", config, "add_eos_token", &add_eos);
    if (st || said) return st;  /* the post-processor has the last word */
    if (add_bos && t->bos >= 0) st = push_id(l, &t->prefix, &t->n_prefix, t->bos);
    if (!st && add_eos && t->eos >= 0) st = push_id(l, &t->suffix, &t->n_suffix, t->eos);
    return st;
}

/* ---- the model ---- */

/* BPE alone has dropout; what it says when it says nothing is not looked at. */
static wick_status check_bpe(const loader *l, const json_t *m) {
    const json_t *dropout = json_object_get(m, "dropout");
    if (json_is_number(dropout) && json_number_value(dropout) != 0)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: model.dropout is %g; merges left out at random are not known to wick", l->path,
                       json_number_value(dropout));
    return WICK_OK;
}

static wick_status check_model(loader *l, const json_t *m) {
    static const char *const names[] = {
        [BPE] = "BPE", [UNIGRAM] = "Unigram", [WORDPIECE] = "WordPiece", [WORDLEVEL] = "WordLevel"
    };
    wk_str type = { "", 0 };
    int i = 0;
    wick_status st = json_is_object(m) ? get_str(l, "model", m, "type", true, &type)
                                       : wk_fail(WICK_E_FORMAT, "%s: there is no model", l->path);
    if (st) return st;
    while (i < 4 && !wk_str_eq(type, names[i])) i++;
    if (i == 4)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: the model \"%s\" is not known to wick; BPE, Unigram, WordPiece and WordLevel are",
                       l->path, wk_show(type).text);
    l->model = (model_kind)i;
    if (i == BPE && (st = check_bpe(l, m))) return st;
    const json_t *vocab = json_object_get(m, "vocab");
    if (i == UNIGRAM) return json_is_array(vocab) ? WICK_OK : wrong(l, "model", "vocab", "an array");
    return json_is_object(vocab) ? WICK_OK : wrong(l, "model", "vocab", "an object");
}

/* model.unk_token, or what the package takes where the file says nothing (NULL: none). */
static wick_status get_unk(const loader *l, const json_t *m, const char *by_default) {
    wk_vocabulary *v = &l->t->vocab;
    wk_str unk = { by_default, by_default ? strlen(by_default) : 0 };
    wick_status st = get_str(l, "model", m, "unk_token", false, &unk);
    if (st || !unk.len) return st;
    l->t->unk = wk_vocabulary_find(v, unk.ptr, unk.len);
    if (l->t->unk < 0)
        return wk_fail(WICK_E_FORMAT, "%s: model.unk_token \"%s\" is not in the vocabulary", l->path, wk_show(unk).text);
    if (v->kind[l->t->unk] == WK_TOKEN_NORMAL) v->kind[l->t->unk] = WK_TOKEN_UNKNOWN;
    return WICK_OK;
}

static void mark_bytes(const loader *l, bool wanted) {
    wk_vocabulary *v = &l->t->vocab;
    for (int32_t id = 0; id < v->n && (wanted || l->byte_tokens); id++)
        if (v->kind[id] == WK_TOKEN_NORMAL && wk_byte_token(v->entry[id]) >= 0) v->kind[id] = WK_TOKEN_BYTE;
}

static wick_status get_affix(loader *l, const json_t *m, const char *key, wk_str *out) {
    wk_str s = { "", 0 };
    wick_status st = get_str(l, "model", m, key, false, &s);
    if (st || !s.len) return st;
    if (s.len > WK_MAX_AFFIX)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: model.%s has %zu bytes; up to %d are possible", l->path, key, s.len, WK_MAX_AFFIX);
    return keep(l, s, out);
}

static wick_status read_bpe(loader *l, const json_t *m) {
    wk_bpe *b = &l->t->bpe;
    wick_status st = get_bool(l, "model", m, "byte_fallback", &b->byte_fallback);
    if (!st) st = get_bool(l, "model", m, "fuse_unk", &b->fuse_unk);
    if (!st) st = get_bool(l, "model", m, "ignore_merges", &b->ignore_merges);
    if (!st) st = get_affix(l, m, "continuing_subword_prefix", &b->inside);
    if (!st) st = get_affix(l, m, "end_of_word_suffix", &b->last);
    if (!st && b->byte_fallback && (b->inside.len || b->last.len))
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: model.byte_fallback beside %s is not known to wick", l->path,
                     b->last.len ? "end_of_word_suffix" : "continuing_subword_prefix");
    if (!st) st = get_unk(l, m, NULL);
    if (!st) mark_bytes(l, b->byte_fallback);
    return st ? st : read_merges(l, json_object_get(m, "merges"));
}

static wick_status read_unigram(loader *l, const json_t *m) {
    wk_vocabulary *v = &l->t->vocab;
    const json_t *unk = json_object_get(m, "unk_id"), *alpha = json_object_get(m, "alpha");
    char what[700];
    wick_status st = get_bool(l, "model", m, "byte_fallback", &l->t->unigram.byte_fallback);
    if (!st && alpha && !json_is_null(alpha))
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: model.alpha: cutting at random is not known to wick", l->path);
    if (!st && unk && !json_is_null(unk)) st = get_id(l, "model", "unk_id", unk, &l->t->unk);
    if (!st && l->t->unk >= (int32_t)json_array_size(json_object_get(m, "vocab")))
        st = wk_fail(WICK_E_FORMAT, "%s: model.unk_id %d is outside the vocabulary of %zu", l->path, l->t->unk,
                     json_array_size(json_object_get(m, "vocab")));
    if (st) return st;
    if (l->t->unk >= 0 && v->kind[l->t->unk] == WK_TOKEN_NORMAL) v->kind[l->t->unk] = WK_TOKEN_UNKNOWN;
    mark_bytes(l, l->t->unigram.byte_fallback);
    double *score = l->score;
    l->score = NULL;  /* the model's now */
    snprintf(what, sizeof what, "%s: model.vocab", l->path);
    return wk_unigram_ready(l->t, score, true, what);
}

static wick_status read_wordpiece(loader *l, const json_t *m) {
    const json_t *vocab = json_object_get(m, "vocab"), *max = json_object_get(m, "max_input_chars_per_word"), *e;
    wk_str inside = WK_STR("##");
    const char *key;
    char what[700];
    size_t n = 0;
    l->t->wordpiece.max_chars = 100;
    if (max && (!json_is_integer(max) || json_integer_value(max) < 0))
        return wrong(l, "model", "max_input_chars_per_word", "a number of characters");
    if (max) l->t->wordpiece.max_chars = json_integer_value(max);
    wick_status st = get_str(l, "model", m, "continuing_subword_prefix", false, &inside);
    if (!st) st = get_unk(l, m, "[UNK]");
    if (st) return st;
    int32_t *id = wk_alloc_array(json_object_size(vocab) + 1, sizeof *id);
    if (!id) return wk_fail_memory(json_object_size(vocab) * sizeof *id, "the vocabulary");
    json_object_foreach((json_t *)vocab, key, e) {
        if (wk_may_form(&l->t->vocab, (int32_t)json_integer_value(e))) id[n++] = (int32_t)json_integer_value(e);
    }
    snprintf(what, sizeof what, "%s: model.vocab", l->path);
    st = wk_wordpiece_ready(l->t, id, n, WK_STR(""), inside, what);
    wk_free(id);
    return st;
}

static wick_status read_model(loader *l, const json_t *m) {
    if (l->model == BPE) return read_bpe(l, m);
    if (l->model == UNIGRAM) return read_unigram(l, m);
    if (l->model == WORDPIECE) return read_wordpiece(l, m);
    wick_status st = get_unk(l, m, "<unk>");
    if (!st && l->t->unk < 0) st = wrong(l, "model", "unk_token", "an entry, else some texts would have no ids");
    l->t->encode = wk_wordlevel_word;
    return st;
}

wick_status wk_tokenizer_from_json(json_t *j, json_t *config, const char *path, wk_tokenizer **out) {
    loader l = { .path = path };
    const json_t *model = json_object_get(j, "model"), *added = json_object_get(j, "added_tokens"), *e;
    size_t i;
    *out = NULL;
    if (!json_is_object(j)) return wk_fail(WICK_E_FORMAT, "%s: not a JSON object", path);
    if (added && !json_is_array(added) && !json_is_null(added))
        return wk_fail(WICK_E_FORMAT, "%s: added_tokens must be an array", path);
    wick_status st = check_model(&l, model);
    if (!st) st = wk_tokenizer_new(&l.t);
    if (!st) st = each_step(&l, "normalizer", "normalizers", json_object_get(j, "normalizer"), 0, normalizer);
    if (!st) st = each_step(&l, "pre_tokenizer", "pretokenizers", json_object_get(j, "pre_tokenizer"), 0, pre_tokenizer);
    if (!st) st = each_step(&l, "decoder", "decoders", json_object_get(j, "decoder"), 0, decoder);
    if (!st) l.t->join = !json_is_object(json_object_get(j, "decoder"));
    /* nothing looks at the characters: the model reads bytes */
    if (!st && l.model == BPE && l.t->n_pre && l.t->pre[l.t->n_pre - 1].kind == WK_PRE_BYTE_CHARS) {
        l.t->n_pre--;
        l.t->bpe.from_bytes = true;
    }
    if (!st) st = read_vocab(&l, json_object_get(model, "vocab"), added);
    json_array_foreach(added, i, e) if (!st) st = read_added_token(&l, e);
    if (!st) st = read_model(&l, model);
    if (!st) st = each_step(&l, "post_processor", "processors", json_object_get(j, "post_processor"), 0, post_processor);
    if (!st) st = read_config(&l, config);
    if (!st) st = wk_decoder_table(&l.t->vocab, l.decode, l.n_decode);
    if (!st) st = wk_tokenizer_finish(l.t);
    if (!st) { *out = l.t; l.t = NULL; }
    wk_free(l.score);
    wk_tokenizer_free(l.t);
    return st;
}
