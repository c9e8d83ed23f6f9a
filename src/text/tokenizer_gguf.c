/* tokenizer_gguf.c: a tokenizer from a GGUF file's metadata (tokenizer.ggml.*).
 * Keys and their meaning: GGUF specification, "Tokenizer"; which pattern a pre-tokeniser's name stands for, and the defaults
 * where keys are absent, as in llama.cpp (MIT, llama.cpp authors), whose converter writes these names.
 * Load: 30,000 to 260,000 entries and up to 500,000 merges, before the first token of a prompt can appear: strings stay in
 * the file's map, tables are flat, and nothing is allocated per entry. */
#include "text/tokenizer_parts.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

/* ---- pre-tokenisers by name ---- */

#define GPT2 WK_GPT2_PATTERN
#define SHORT_FORMS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define CASED(digits) \
    SHORT_FORMS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CAMEL(after, digits) \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" after "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" after "|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define NO_STOPS " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

/* Characters of East Asia as several models list them; the cased letters and the punctuation of DeepSeek LLM's list. */
#define CJK "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define CJK_HANGUL "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define ASIAN \
    "[\\x{4E00}-\\x{9FFF}\\x{3400}-\\x{4DBF}\\x{F900}-\\x{FAFF}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}\\x{FF65}-" \
    "\\x{FF9F}\\x{2F00}-\\x{2FDF}\\x{E40}-\\x{E7F}\\x{E80}-\\x{EFF}\\x{1780}-\\x{17FF}\\x{1000}-\\x{109F}\\x{AA60}-" \
    "\\x{AA7F}\\x{A9E0}-\\x{A9FF}\\x{AC00}-\\x{D7AF}\\x{1100}-\\x{11FF}]+"
#define CASED_LETTERS \
    "[A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}" \
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}" \
    "\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}" \
    "\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-" \
    "\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}" \
    "\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}" \
    "\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-" \
    "\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-" \
    "\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-" \
    "\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}" \
    "-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}" \
    "\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-" \
    "\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}]+"
#define PUNCTUATION "[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+"
#define DEEPSEEK3(newlines) \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+" newlines \
    "|\\s+(?!\\S)|\\s+"
/* "by threes from the right", as 1,234,567 is read */
#define THREES "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))"
/* Letters but for Han, of GPT-4o's two kinds (kimi-k2) */
#define HAN_UPPER "(?:(?!\\p{Han})" UPPER ")"
#define HAN_LOWER "(?:(?!\\p{Han})" LOWER ")"
#define AFTER "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define LINES "[^\\n]+|[\\n]+"

/* Each pattern cuts what the one before it left. merge_whole: a word that is an entry is taken without merging. */
static const struct { const char *names; bool merge_whole, add_bos; const char *pattern[WK_MAX_PRE_PATTERN]; } pre_tokenizers[] = {
    { " default ", false, false, { "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
    { " llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano ", true, true, { CASED("\\p{N}{1,3}") } },
    { " dbrx smaug-bpe chatglm-bpe ", false, false, { CASED("\\p{N}{1,3}") } },
    { " glm4 glm5 ", true, false, { CASED("\\p{N}{1,3}") } },
    { " minicpm5 ", true, false, { "\\p{N}{1,3}", CASED("\\p{N}+") } },
    { " jais-2 ", false, false,
      { SHORT_FORMS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s{512}(?!\\S)|"
        "\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|"
        "\\s{1}" } },
    { " qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 ", false, false, { CASED("\\p{N}") } },
    { " laguna ", false, false, { LINES, CASED("\\p{N}") } },
    { " ufakzeka ", false, false,
      { "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { " bailingmoe bailingmoe2 llada-moe ", false, false,
      { "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|"
        "\\s+(?!\\S)|\\s+" } },
    { " seed-coder ", false, false,
      { SHORT_FORMS
        "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { " exaone-moe ", false, false,
      { SHORT_FORMS
        "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|"
        "\\s+(?!\\S)|\\s+" } },
    { " qwen35 ", false, false,
      { SHORT_FORMS
        "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { " gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat a.x-4.0 mellum modern-bert jina-es jina-de jina-v2-es "
      "jina-v2-de jina-v1-en jina-v2-code roberta-bpe ", false, false, { GPT2 } },
    { " smollm starcoder refact command-r codeshell exaone minerva-7b mellum2 ", false, false, { "\\p{N}", GPT2 } },
    { " falcon ", false, false, { "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]" } },
    { " deepseek-coder ", false, false, { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK_HANGUL, "\\p{N}" } },
    { " deepseek-llm ", false, false,
      { "[\\r\\n]", "\\s?" CASED_LETTERS, "\\s?" PUNCTUATION, "\\s+\\z", CJK_HANGUL, "\\p{N}+" } },
    { " deepseek-v3 hunyuan-dense joyai-llm hy_v4 ", false, false, { "\\p{N}{1,3}", CJK, DEEPSEEK3("[\\r\\n]*|\\s*[\\r\\n]+") } },
    { " spark2_5 ", false, false, { "\\p{N}{1,3}", CJK, DEEPSEEK3("|[\\r\\n]"), "\\p{N}" } },
    { " afmoe ", false, false,
      { THREES, ASIAN, DEEPSEEK3("[\\r\\n]*|\\s*[\\r\\n]+") } },
    { " tekken ", true, true, { CAMEL("", "\\p{N}") } },
    { " gpt-4o llama4 kanana2 talkie minimax-m2 ", false, false, { CAMEL(AFTER, "\\p{N}{1,3}") } },
    { " granite-embed-multi-97m ", true, false, { CAMEL(AFTER, "\\p{N}{1,3}") } },
    { " tiny_aya cohere2moe ", false, false, { THREES, CAMEL(AFTER, "\\p{N}{1,3}") } },
    { " youtu ", true, false,
      { "[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|"
        "[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{2019}\\x{2014}\\x{FF1A}\\x{FF1B}\\x{FF0C}\\x{3001}-\\x{303F}"
        "\\x{FE30}-\\x{FE4F}]+|[\\x{3105}-\\x{312F}]+|" CJK, CAMEL(AFTER, "\\p{N}") } },
    { " kimi-k2 ", false, false,
      { "\\p{Han}+|[^\\r\\n\\p{L}\\p{N}]?" HAN_UPPER "*" HAN_LOWER "+" AFTER
        "|[^\\r\\n\\p{L}\\p{N}]?" HAN_UPPER "+" HAN_LOWER "*" AFTER
        "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { " superbpe ", false, false, { "\\p{N}+", "(?=(\\d{3})+(?!\\d))" } },
    { " chameleon ", false, true,
      { "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
        "[\\p{P}!-/:-@\\[-`{-~]", GPT2 } },
    { " bloom poro-chat gpt3-finnish ", false, false, { NO_STOPS } },
    { " viking ", false, false, { NO_STOPS, "\\p{N}" } },
};

enum { N_PRE = sizeof pre_tokenizers / sizeof *pre_tokenizers };

/* The row of a name, or N_PRE. */
static size_t find_pre(wk_str name) {
    char padded[64];
    size_t i = 0;
    if (!name.len || name.len >= 48 || memchr(name.ptr, ' ', name.len) || memchr(name.ptr, 0, name.len)) return N_PRE;
    snprintf(padded, sizeof padded, " %.*s ", (int)name.len, name.ptr);
    while (i < N_PRE && !strstr(pre_tokenizers[i].names, padded)) i++;
    return i;
}

const char *const *wk_pre_tokenizer_patterns(wk_str name, bool *whole) {
    size_t i = find_pre(name);
    if (i == N_PRE) return NULL;
    *whole = pre_tokenizers[i].merge_whole;
    return pre_tokenizers[i].pattern;
}

const char *wk_pre_tokenizer_name(const char *const *pattern, size_t n, bool whole, char out[64]) {
    for (size_t i = 0; i < N_PRE; i++) {
        const char *const *have = pre_tokenizers[i].pattern;
        bool same = n <= WK_MAX_PRE_PATTERN && pre_tokenizers[i].merge_whole == whole && (n == WK_MAX_PRE_PATTERN || !have[n]);
        for (size_t k = 0; same && k < n; k++) same = have[k] && !strcmp(have[k], pattern[k]);
        if (!same) continue;
        snprintf(out, 64, "%.*s", (int)strcspn(pre_tokenizers[i].names + 1, " "), pre_tokenizers[i].names + 1);
        return out;
    }
    return NULL;
}

static wick_status set_pre_tokenizer(wk_tokenizer *t, wk_str name, const char *path, bool *add_bos) {
    char where[128];
    size_t i = find_pre(name);
    wick_status st = WICK_OK;
    if (i == N_PRE)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: the pre-tokenizer \"%s\" (" KEY("pre") ") is not known to wick", path,
                       wk_show(name).text);
    snprintf(where, sizeof where, KEY("pre") " \"%s\"", wk_show(name).text);
    for (size_t k = 0; k < WK_MAX_PRE_PATTERN && pre_tokenizers[i].pattern[k] && !st; k++)
        st = wk_add_split(t, pre_tokenizers[i].pattern[k], strlen(pre_tokenizers[i].pattern[k]), WK_ISOLATED, false, where);
    t->bpe.ignore_merges = pre_tokenizers[i].merge_whole;
    *add_bos = pre_tokenizers[i].add_bos;
    return st;
}

/* ---- arrays ---- */

/* An array that must be there (or may be missing: n is 0 then) with n_want elements, of numbers or of strings. */
static wick_status array(const wk_gguf *g, const char *key, bool needed, bool strings, uint64_t n_want, wk_gguf_array *a) {
    bool found = false;
    *a = (wk_gguf_array){ 0 };
    wick_status st = wk_gguf_arr(g, key, a, &found);
    if (st) return st;
    if (!found)
        return needed ? wk_fail(WICK_E_FORMAT, "%s: key \"%s\" is missing; convert the model again", wk_gguf_path(g), key)
                      : WICK_OK;
    if ((a->type == WK_GGUF_STR) != strings || a->type == WK_GGUF_BOOL)
        return wk_fail(WICK_E_FORMAT, "%s: key \"%s\" must be an array of %s", wk_gguf_path(g), key,
                       strings ? "strings" : "numbers");
    if (n_want != UINT64_MAX && a->n != n_want)
        return wk_fail(WICK_E_FORMAT, "%s: key \"%s\" has %" PRIu64 " elements, the vocabulary has %" PRIu64 " entries",
                       wk_gguf_path(g), key, a->n, n_want);
    return WICK_OK;
}

static wick_status read_entries(wk_tokenizer *t, const wk_gguf *g) {
    static const uint8_t kinds[] = { WK_TOKEN_NORMAL, WK_TOKEN_NORMAL, WK_TOKEN_UNKNOWN, WK_TOKEN_CONTROL,
                                     WK_TOKEN_USER,   WK_TOKEN_UNUSED, WK_TOKEN_BYTE };
    wk_gguf_array tokens, types;
    wick_status st = array(g, KEY("tokens"), true, true, UINT64_MAX, &tokens);
    if (!st && (!tokens.n || tokens.n > INT32_MAX / 2))
        st = wk_fail(WICK_E_FORMAT, "%s: key \"" KEY("tokens") "\" has %" PRIu64 " entries; 1 to %d are possible", wk_gguf_path(g),
                     tokens.n, INT32_MAX / 2);
    if (!st) st = array(g, KEY("token_type"), false, false, tokens.n, &types);
    if (!st) st = wk_vocabulary_new(&t->vocab, (int32_t)tokens.n);
    const uint8_t *at = tokens.data;
    for (int32_t id = 0; !st && id < t->vocab.n; id++) {
        int64_t type = types.n ? wk_gguf_arr_int(&types, (uint64_t)id) : 1;
        if (type < 0 || type > 6)
            return wk_fail(WICK_E_FORMAT, "%s: key \"" KEY("token_type") "\": entry %d has type %" PRId64 ", 0 to 6 are known",
                           wk_gguf_path(g), id, type);
        t->vocab.kind[id] = kinds[type];
        t->vocab.entry[id] = wk_gguf_arr_str(&tokens, &at);
    }
    return st ? st : wk_vocabulary_index(&t->vocab, wk_gguf_path(g));
}

static wick_status read_merges(wk_tokenizer *t, const wk_gguf *g) {
    wk_gguf_array a;
    wk_merge_text batch[WK_MERGE_BATCH];
    int32_t expected = 0;
    char what[600];
    wick_status st = array(g, KEY("merges"), true, true, UINT64_MAX, &a);
    if (!st && a.n >= UINT32_MAX / 4)
        st = wk_fail(WICK_E_FORMAT, "%s: %" PRIu64 " merges are more than wick can hold", wk_gguf_path(g), a.n);
    if (!st) st = wk_bpe_new(&t->bpe, (size_t)a.n);
    snprintf(what, sizeof what, "%s: " KEY("merges"), wk_gguf_path(g));
    const uint8_t *at = a.data;
    for (uint64_t i = 0, k = 0; !st && i < a.n; i++) {
        wk_str s = wk_gguf_arr_str(&a, &at);
        const char *space = s.len > 1 ? memchr(s.ptr + 1, ' ', s.len - 1) : NULL;  /* the first may be a space itself */
        size_t left = space ? (size_t)(space - s.ptr) : 0;
        if (!space || left + 1 == s.len)
            return wk_fail(WICK_E_FORMAT, "%s: merge %" PRIu64 " is \"%s\", not two entries with a space between them", what, i,
                           wk_show(s).text);
        batch[k++] = (wk_merge_text){ { s.ptr, left }, { space + 1, s.len - left - 1 } };
        if (k == WK_MERGE_BATCH || i + 1 == a.n) {
            st = wk_bpe_read(&t->bpe, &t->vocab, batch, (size_t)k, (uint32_t)(i + 1 - k), &expected, what);
            k = 0;
        }
    }
    return st;
}

/* Scores as numbers whose order is the merges' order: the best is the smallest. */
static wick_status read_scores(wk_tokenizer *t, const wk_gguf *g) {
    wk_gguf_array a;
    wick_status st = array(g, KEY("scores"), true, false, (uint64_t)t->vocab.n, &a);
    if (st) return st;
    t->bpe.rank = wk_alloc_array((size_t)t->vocab.n, sizeof *t->bpe.rank);
    if (!t->bpe.rank) return wk_fail_memory((size_t)t->vocab.n * sizeof *t->bpe.rank, "scores");
    for (int32_t id = 0; id < t->vocab.n; id++) {
        float score = (float)wk_gguf_arr_real(&a, (uint64_t)id) + 0.0f;  /* -0 becomes 0 */
        uint32_t bits;
        if (isnan(score))
            return wk_fail(WICK_E_FORMAT, "%s: key \"" KEY("scores") "\": entry %d is not a number", wk_gguf_path(g), id);
        memcpy(&bits, &score, sizeof bits);
        bits = bits >> 31 ? bits & 0x7FFFFFFF : ~bits & 0x7FFFFFFF;  /* magnitude: of negative scores the smaller is better */
        t->bpe.rank[id] = score < 0 ? bits | 0x80000000u : bits;
        if (t->vocab.kind[id] == WK_TOKEN_BYTE) t->bpe.rank[id] = WK_NO_RANK;
    }
    return WICK_OK;
}

/* ---- special ids ---- */

static wick_status id_of(const wk_gguf *g, const char *key, int32_t n, int32_t *id) {
    int64_t v = -1;
    bool found = false;
    wick_status st = wk_gguf_int(g, key, 0, n - 1, &v, &found);
    *id = !st && found ? (int32_t)v : -1;
    return st;
}

/* A control token with one of several spellings, or -1. */
static int32_t control_named(const wk_tokenizer *t, const char *const *name) {
    for (; *name; name++) {
        int32_t id = wk_tokenizer_find(t, *name, strlen(*name));
        if (id >= 0 && wk_tokenizer_kind(t, id) == WK_TOKEN_CONTROL) return id;
    }
    return -1;
}

static wick_status one_id(int32_t id, int32_t **list, size_t *n) {
    *list = wk_alloc(sizeof **list);
    if (!*list) return wk_fail_memory(sizeof **list, "a tokenizer");
    **list = id;
    *n = 1;
    return WICK_OK;
}

/* bos and eos: are they added where the file does not say? */
static wick_status read_special(wk_tokenizer *t, const wk_gguf *g, bool default_bos, bool default_eos) {
    /* what a turn ends with in files that name no eot or eom: older converters wrote only eos. Not <|end|> where <|return|> exists:
     * there it ends a message inside a turn. */
    static const char *const eot_names[] = { "<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end_of_turn|>", "<|end|>",
                                             "<end_of_utterance>", "<EOT>", NULL };
    static const char *const eom_names[] = { "<|eom_id|>", NULL };
    int32_t n = t->vocab.n, eot = -1, eom = -1;
    bool add_bos = default_bos, add_eos = default_eos, said = false, said_eos = false;
    wick_status st = id_of(g, KEY("bos_token_id"), n, &t->bos);
    if (!st) st = id_of(g, KEY("eos_token_id"), n, &t->eos);
    if (!st) st = id_of(g, KEY("eot_token_id"), n, &eot);
    if (!st) st = id_of(g, KEY("eom_token_id"), n, &eom);
    if (!st) st = id_of(g, KEY("unknown_token_id"), n, &t->unk);
    if (!st) st = wk_gguf_bool(g, KEY("add_bos_token"), &add_bos, &said);
    if (!st) st = wk_gguf_bool(g, KEY("add_eos_token"), &add_eos, &said_eos);
    if (st) return st;
    if (eot < 0) eot = control_named(t, eot_names);
    if (eot >= 0 && wk_str_eq(t->vocab.entry[eot], "<|end|>") && wk_tokenizer_find(t, "<|return|>", 10) >= 0) eot = -1;
    if (eom < 0) eom = control_named(t, eom_names);
    const int32_t ends[] = { t->eos, eot, eom };
    for (int i = 0; i < 3 && !st; i++) if (ends[i] >= 0) st = wk_tokenizer_add_end(t, ends[i]);
    if (!st && add_bos && t->bos < 0 && said)
        st = wk_fail(WICK_E_FORMAT, "%s: " KEY("add_bos_token") " is true, but there is no " KEY("bos_token_id"), wk_gguf_path(g));
    if (!st && add_eos && t->eos < 0 && said_eos)
        st = wk_fail(WICK_E_FORMAT, "%s: " KEY("add_eos_token") " is true, but there is no " KEY("eos_token_id"), wk_gguf_path(g));
    if (!st && add_bos && t->bos >= 0) st = one_id(t->bos, &t->prefix, &t->n_prefix);
    if (!st && add_eos && t->eos >= 0) st = one_id(t->eos, &t->suffix, &t->n_suffix);
    /* without types, at least these two never come from a request's text */
    if (!st && !wk_gguf_has(g, KEY("token_type")))
        for (int i = 0; i < 2; i++) if ((i ? t->eos : t->bos) >= 0) t->vocab.kind[i ? t->eos : t->bos] = WK_TOKEN_CONTROL;
    return st;
}

static wick_status read_added(wk_tokenizer *t) {
    wick_status st = WICK_OK;
    for (int32_t id = 0; id < t->vocab.n && !st; id++) {
        bool control = !wk_may_form(&t->vocab, id);
        if (t->vocab.entry[id].len && (control || t->vocab.kind[id] == WK_TOKEN_USER))
            st = wk_matcher_add(&t->raw, &(wk_added){ .text = t->vocab.entry[id], .id = id, .control = control });
    }
    return st;
}

/* ---- the kinds of BPE ---- */

static const wk_str mark = { "\xE2\x96\x81", 3 };  /* U+2581, SentencePiece's space */

/* Every byte needs a token, unless an unknown token stands in. */
static wick_status check_byte_tokens(const wk_tokenizer *t, const char *path) {
    uint64_t have[4] = { 0 };
    for (int32_t id = 0; id < t->vocab.n; id++) {
        wk_str s = t->vocab.entry[id];
        if (t->vocab.kind[id] != WK_TOKEN_BYTE) continue;
        int b = wk_byte_token(s);
        if (b < 0)
            return wk_fail(WICK_E_FORMAT, "%s: entry %d is a byte token but spelled \"%s\"; \"<0x00>\" to \"<0xFF>\" are possible",
                           path, id, wk_show(s).text);
        have[b >> 6] |= (uint64_t)1 << (b & 63);
    }
    for (int b = 0; b < 256 && t->unk < 0; b++)
        if (!(have[b >> 6] >> (b & 63) & 1))
            return wk_fail(WICK_E_FORMAT,
                           "%s: the vocabulary has no byte token <0x%02X> and no unknown token, so some texts would have no ids",
                           path, (unsigned)b);
    return WICK_OK;
}

/* The first unknown token, where no key names one. */
static void find_unknown(wk_tokenizer *t) {
    for (int32_t id = 0; id < t->vocab.n && t->unk < 0; id++) if (t->vocab.kind[id] == WK_TOKEN_UNKNOWN) t->unk = id;
}

static wick_status sentencepiece_bpe(wk_tokenizer *t, const wk_gguf *g) {
    static const wk_decode_step decode[] = { { .kind = WK_DECODE_BYTE_FALLBACK },
                                             { .kind = WK_DECODE_REPLACE, .from = { "\xE2\x96\x81", 3 }, .to = { " ", 1 } } };
    wk_norm *step;
    bool add_space = true;
    wick_status st = wk_gguf_bool(g, KEY("add_space_prefix"), &add_space, NULL);
    t->bpe.by_text = t->bpe.byte_fallback = true;
    t->strip_first = add_space;
    if (!st && add_space) {
        if (!(step = wk_add_norm(t))) return WICK_E_UNSUPPORTED;
        *step = (wk_norm){ .kind = WK_NORM_PREPEND, .to = mark };
    }
    if (!st) {
        if (!(step = wk_add_norm(t))) return WICK_E_UNSUPPORTED;
        *step = (wk_norm){ .kind = WK_NORM_REPLACE, .from = { " ", 1 }, .to = mark };
    }
    if (!st) st = read_scores(t, g);
    if (!st) st = read_special(t, g, true, false);
    find_unknown(t);
    if (!st) st = check_byte_tokens(t, wk_gguf_path(g));
    return st ? st : wk_decoder_table(&t->vocab, decode, 2);
}

/* Gemma 4 and those cut as it is: merges by rank over characters, bytes for what is no entry, spaces as marks; lines never merge
 * with their ends. */
static wick_status marked_bpe(wk_tokenizer *t, const wk_gguf *g, bool add_bos) {
    static const wk_decode_step decode[] = { { .kind = WK_DECODE_BYTE_FALLBACK },
                                             { .kind = WK_DECODE_REPLACE, .from = { "\xE2\x96\x81", 3 }, .to = { " ", 1 } } };
    bool add_space = false;
    wick_status st = wk_gguf_bool(g, KEY("add_space_prefix"), &add_space, NULL);
    t->bpe.byte_fallback = true;
    if (!st && add_space)
        st = wk_fail(WICK_E_UNSUPPORTED,
                     "%s: " KEY("add_space_prefix") " is true, which no tokenizer of this kind is known to have", wk_gguf_path(g));
    wk_norm *step = st ? NULL : wk_add_norm(t);
    if (!st && !step) st = WICK_E_UNSUPPORTED;
    if (!st) *step = (wk_norm){ .kind = WK_NORM_REPLACE, .from = { " ", 1 }, .to = mark };
    if (!st) st = wk_add_split(t, LINES, strlen(LINES), WK_ISOLATED, false, "lines");
    for (int32_t id = 0; id < t->vocab.n && !st; id++)  /* converters mark them as normal */
        if (wk_byte_token(t->vocab.entry[id]) >= 0) t->vocab.kind[id] = WK_TOKEN_BYTE;
    if (!st) st = read_special(t, g, add_bos, false);
    find_unknown(t);
    if (!st) st = check_byte_tokens(t, wk_gguf_path(g));
    if (!st) st = read_merges(t, g);
    return st ? st : wk_decoder_table(&t->vocab, decode, 2);
}

static wick_status gemma4_bpe(wk_tokenizer *t, const wk_gguf *g) { return marked_bpe(t, g, true); }

/* Merges over the characters of words between white space, which is dropped (jina-embeddings-v2-base-zh). What is no entry is the
 * unknown token or nothing. */
static wick_status whitespace_bpe(wk_tokenizer *t, const wk_gguf *g) {
    bool lower = false;
    wick_status st = wk_gguf_bool(g, KEY("normalizer.lowercase"), &lower, NULL);
    wk_norm *step = !st && lower ? wk_add_norm(t) : NULL;
    wk_pre *cut = st ? NULL : wk_add_pre(t);
    if (!st && (!cut || (lower && !step))) st = WICK_E_UNSUPPORTED;
    if (step) *step = (wk_norm){ .kind = WK_NORM_LOWERCASE };
    if (cut) *cut = (wk_pre){ .kind = WK_PRE_CLASS, .mask = WK_CH_SPACE, .behavior = WK_REMOVED };
    t->bpe.byte_fallback = true;
    if (!st) st = read_special(t, g, false, false);
    find_unknown(t);
    if (!st) st = read_merges(t, g);
    return st ? st : wk_decoder_table(&t->vocab, NULL, 0);
}

static wick_status byte_level_bpe(wk_tokenizer *t, const wk_gguf *g) {
    static const wk_decode_step decode = { .kind = WK_DECODE_BYTE_LEVEL };
    wk_str pre = { "", 0 };
    bool found = false, add_bos = false;
    wick_status st = wk_gguf_str(g, KEY("pre"), &pre, &found);
    if (!st && !found)
        st = wk_fail(
            WICK_E_UNSUPPORTED,
            "%s: key \"" KEY("pre") "\" is missing, so how to cut text into words cannot be known; convert the model again",
            wk_gguf_path(g));
    if (!st && wk_str_eq(pre, "granite-embed-multi-311m")) return marked_bpe(t, g, true);
    if (!st && wk_str_eq(pre, "sarvam-moe")) return marked_bpe(t, g, false);
    if (!st && wk_str_eq(pre, "whitespace")) return whitespace_bpe(t, g);
    t->bpe.from_bytes = true;
    if (!st) st = set_pre_tokenizer(t, pre, wk_gguf_path(g), &add_bos);
    if (!st) st = read_special(t, g, add_bos, false);  /* before the merges: it may make control tokens */
    if (!st) st = read_merges(t, g);
    return st ? st : wk_decoder_table(&t->vocab, &decode, 1);
}

/* ---- unigram ("t5") ---- */

static wick_status read_charsmap(wk_tokenizer *t, const wk_gguf *g) {
    static const char key[] = KEY("precompiled_charsmap");
    wk_gguf_array a = { 0 };
    wk_charsmap *map = NULL;
    bool found = false;
    char what[700];
    wick_status st = wk_gguf_arr(g, key, &a, &found);
    if (st || !found || !a.n) return st;
    if (a.type != WK_GGUF_U8 && a.type != WK_GGUF_I8)
        return wk_fail(WICK_E_FORMAT, "%s: key \"%s\" must be an array of bytes", wk_gguf_path(g), key);
    snprintf(what, sizeof what, "%s: key \"%s\"", wk_gguf_path(g), key);
    st = wk_charsmap_new(a.data, (size_t)a.n, what, &map);
    wk_norm *step = st ? NULL : wk_add_norm(t);
    if (step) *step = (wk_norm){ .kind = WK_NORM_CHARSMAP, .map = map }; else wk_charsmap_free(map);
    return st || step ? st : WICK_E_UNSUPPORTED;
}

/* Where no entry has a mark but at its beginning, a text may be cut before each: no piece reaches over such a place. */
static wick_status cut_at_marks(wk_tokenizer *t) {
    for (int32_t id = 0; id < t->vocab.n; id++) {
        wk_str e = t->vocab.entry[id];
        if (e.len > mark.len && !isnan(t->unigram.score[id]) && memmem(e.ptr + 1, e.len - 1, mark.ptr, mark.len)) return WICK_OK;
    }
    if (wk_vocabulary_find(&t->vocab, mark.ptr, mark.len) < 0) return WICK_OK;  /* runs of unknown characters become one token */
    wk_pre *s = wk_add_pre(t);
    if (!s) return WICK_E_UNSUPPORTED;
    *s = (wk_pre){ .kind = WK_PRE_STRING, .text = mark, .behavior = WK_WITH_NEXT };
    return WICK_OK;
}

static wick_status unigram(wk_tokenizer *t, const wk_gguf *g) {
    static const wk_decode_step decode[] = { { .kind = WK_DECODE_BYTE_FALLBACK },
                                             { .kind = WK_DECODE_REPLACE, .from = { "\xE2\x96\x81", 3 }, .to = { " ", 1 } } };
    wk_gguf_array a;
    wk_norm *step;
    bool prefix = false, squeeze = false;
    wick_status st = read_charsmap(t, g);
    if (!st) st = wk_gguf_bool(g, KEY("add_space_prefix"), &prefix, NULL);
    if (!st) st = wk_gguf_bool(g, KEY("remove_extra_whitespaces"), &squeeze, NULL);
    if (!st && !(step = wk_add_norm(t))) st = WICK_E_UNSUPPORTED;
    if (!st) *step = (wk_norm){ .kind = WK_NORM_SPACES, .to = mark, .left = prefix, .right = squeeze };
    if (!st) st = array(g, KEY("scores"), true, false, (uint64_t)t->vocab.n, &a);
    if (!st) st = read_special(t, g, false, true);
    if (st) return st;
    find_unknown(t);
    t->strip_first = prefix;
    t->unigram.byte_fallback = true;
    double *score = wk_alloc_array((size_t)t->vocab.n, sizeof *score);
    if (!score) return wk_fail_memory((size_t)t->vocab.n * sizeof *score, "scores");
    for (int32_t id = 0; id < t->vocab.n; id++) {
        score[id] = (float)wk_gguf_arr_real(&a, (uint64_t)id);
        if (isnan(score[id])) {
            wk_free(score);
            return wk_fail(WICK_E_FORMAT, "%s: key \"" KEY("scores") "\": entry %d is not a number", wk_gguf_path(g), id);
        }
        if (t->vocab.kind[id] == WK_TOKEN_USER) score[id] = 0;  /* found before: in text it costs nothing */
    }
    st = wk_unigram_ready(t, score, false, wk_gguf_path(g));
    if (!st) st = cut_at_marks(t);
    return st ? st : wk_decoder_table(&t->vocab, decode, 2);
}

/* ---- WordPiece ("bert"): the converter spells "##ing" as "ing" and "the" as U+2581 "the" ---- */

/* The first of several keys that is there, else the entry of a usual spelling. */
static wick_status bert_id(const wk_tokenizer *t, const wk_gguf *g, const char *const *keys, const char *spelling, int32_t *id) {
    wick_status st = WICK_OK;
    for (*id = -1; *keys && *id < 0 && !st; keys++) st = id_of(g, *keys, t->vocab.n, id);
    if (*id < 0) *id = wk_tokenizer_find(t, spelling, strlen(spelling));
    return st;
}

static wick_status wordpiece(wk_tokenizer *t, const wk_gguf *g) {
    static const char *const cls_keys[] = { KEY("cls_token_id"), KEY("bos_token_id"), NULL };
    static const char *const sep_keys[] = { KEY("seperator_token_id"), KEY("separator_token_id"), KEY("eos_token_id"), NULL };
    static const char *const unk_keys[] = { KEY("unknown_token_id"), NULL };
    static const wk_decode_step decode[] = { { .kind = WK_DECODE_REPLACE, .from = { "\xE2\x96\x81", 3 }, .to = { " ", 1 } },
                                             { .kind = WK_DECODE_CLEAN_UP } };
    int32_t cls, sep;
    bool add_cls = true, add_sep = true, lower = true;
    wick_status st = bert_id(t, g, cls_keys, "[CLS]", &cls);
    if (!st) st = bert_id(t, g, sep_keys, "[SEP]", &sep);
    if (!st) st = bert_id(t, g, unk_keys, "[UNK]", &t->unk);
    if (!st) st = id_of(g, KEY("bos_token_id"), t->vocab.n, &t->bos);
    if (!st) st = id_of(g, KEY("eos_token_id"), t->vocab.n, &t->eos);
    if (!st) st = wk_gguf_bool(g, KEY("add_bos_token"), &add_cls, NULL);
    if (!st) st = wk_gguf_bool(g, KEY("add_sep_token"), &add_sep, NULL);
    if (!st) st = wk_gguf_bool(g, KEY("normalizer.lowercase"), &lower, NULL);
    bool accents = lower;
    if (!st) st = wk_gguf_bool(g, KEY("normalizer.strip_accents"), &accents, NULL);
    wk_norm *norm = st ? NULL : wk_add_norm(t);
    wk_pre *spaces = norm ? wk_add_pre(t) : NULL, *marks = spaces ? wk_add_pre(t) : NULL;
    if (!st && !marks) st = WICK_E_UNSUPPORTED;
    if (st) return st;
    *norm = (wk_norm){ .kind = WK_NORM_BERT, .bert = { .clean = true, .chinese = true, .accents = accents, .lower = lower } };
    *spaces = (wk_pre){ .kind = WK_PRE_CLASS, .mask = WK_CH_SPACE, .behavior = WK_REMOVED };
    *marks = (wk_pre){ .kind = WK_PRE_CLASS, .mask = WK_CH_PUNCT, .behavior = WK_ISOLATED };
    if (add_cls && cls >= 0) st = one_id(cls, &t->prefix, &t->n_prefix);
    if (!st && add_sep && sep >= 0) st = one_id(sep, &t->suffix, &t->n_suffix);
    t->strip_first = t->spaced = true;
    t->wordpiece.max_chars = INT64_MAX;
    int32_t *id = wk_alloc_array((size_t)t->vocab.n, sizeof *id);
    size_t n = 0;
    if (!st && !id) st = wk_fail_memory((size_t)t->vocab.n * sizeof *id, "the vocabulary");
    for (int32_t i = 0; i < t->vocab.n && !st; i++) if (wk_may_form(&t->vocab, i)) id[n++] = i;
    if (!st) st = wk_wordpiece_ready(t, id, n, mark, WK_STR(""), wk_gguf_path(g));
    wk_free(id);
    return st ? st : wk_decoder_table(&t->vocab, decode, 2);
}

wick_status wk_tokenizer_from_gguf(const wk_gguf *g, wk_tokenizer **out) {
    wk_tokenizer *t = NULL;
    wk_str model = { "", 0 };
    bool found = false;
    *out = NULL;
    wick_status st = wk_gguf_str(g, KEY("model"), &model, &found);
    if (st || !found || wk_str_eq(model, "no_vocab") || wk_str_eq(model, "none")) return st;
    static const struct { const char *name; wick_status (*make)(wk_tokenizer *t, const wk_gguf *g); } all[] = {
        { "gpt2", byte_level_bpe }, { "llama", sentencepiece_bpe }, { "t5", unigram }, { "bert", wordpiece },
        { "gemma4", gemma4_bpe }, { "whitespace", whitespace_bpe },
    };
    enum { N = sizeof all / sizeof *all };
    size_t i = 0;
    while (i < N && !wk_str_eq(model, all[i].name)) i++;
    if (i == N)
        return wk_fail(WICK_E_UNSUPPORTED,
                       "%s: the tokenizer model \"%s\" (" KEY("model") ") is not known to wick; gpt2, llama, t5, bert, gemma4 "
                       "and whitespace are", wk_gguf_path(g), wk_show(model).text);
    st = wk_tokenizer_new(&t);
    if (!st) st = read_entries(t, g);
    if (!st) st = all[i].make(t, g);
    if (!st) st = read_added(t);
    if (!st) st = wk_tokenizer_finish(t);
    if (!st) { *out = t; t = NULL; }
    wk_tokenizer_free(t);
    return st;
}
