/* bert.c: BERT's normaliser in one walk: controls go, white space becomes a space, Chinese characters stand alone, accents go,
 * capitals become small.
 * Source: BERT's tokenization.py (Devlin et al. 2019) as the `tokenizers` package's BertNormalizer has it.
 * Load: every text that an encoder reads; ASCII goes by a table, and a run of other characters is taken apart by utf8proc. */
#include "text/tokenizer_parts.h"
#include <utf8proc.h>

static bool is_chinese(uint32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* Categories Cc, Cf, Cs and Co. */
static bool is_control(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CS || k == UTF8PROC_CATEGORY_CO;
}

static char ascii(const wk_bert_norm *how, char c) {  /* 0: goes */
    if (how->clean && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) return ' ';
    if (how->clean && ((uint8_t)c < 0x20 || c == 0x7F)) return 0;
    return how->lower && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* A run without ASCII: cleaned into out's end, or by way of a (accents), lower case last. */
static wick_status run(const wk_bert_norm *how, const char *p, size_t n, wk_buf *a, wk_buf *b, wk_buf *out) {
    a->len = b->len = 0;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t c = wk_utf8_get(p + i, &len);
        bool space = wk_char_class(c) & WK_CH_SPACE, alone = how->chinese && is_chinese(c);
        if (how->clean && (c == 0xFFFD || is_control(c))) continue;  /* U+0085 is both: it goes */
        if (how->clean && space) { wk_buf_char(a, ' '); continue; }
        if (alone) wk_buf_char(a, ' ');
        wk_buf_add(a, p + i, len);
        if (alone) wk_buf_char(a, ' ');
    }
    if (a->failed) return wk_fail_memory(n, "normalised text");
    if (how->accents) {
        wick_status st = wk_normal_form_of(WK_NFD, a->ptr, a->len, b);
        if (st) return st;
        a->len = 0;
        for (size_t i = 0, len; i < b->len; i += len)
            if (!wk_is_nonspacing(wk_utf8_get(b->ptr + i, &len))) wk_buf_add(a, b->ptr + i, len);
    }
    if (how->lower) wk_lower_case(a->ptr, a->len, out); else wk_buf_add(out, a->ptr, a->len);
    return WICK_OK;
}

wick_status wk_bert_normalize(const wk_bert_norm *how, wk_str text, wk_buf *out) {
    wk_buf a = { 0 }, b = { 0 };
    char table[128];
    bool goes[128];
    wick_status st = WICK_OK;
    for (int c = 0; c < 128; c++) {
        table[c] = ascii(how, (char)c);
        goes[c] = how->clean && !table[c];
    }
    if (!wk_grow((void **)&out->ptr, &out->cap, out->len + text.len + 1, 1)) return wk_fail_memory(text.len, "normalised text");
    for (size_t i = 0, from; i < text.len && !st;) {
        if (!wk_grow((void **)&out->ptr, &out->cap, out->len + text.len - i, 1)) out->failed = true;
        if (out->failed) { st = wk_fail_memory(text.len, "normalised text"); break; }
        for (; i < text.len && (uint8_t)text.ptr[i] < 0x80; i++)
            if (!goes[(uint8_t)text.ptr[i]]) out->ptr[out->len++] = table[(uint8_t)text.ptr[i]];
        for (from = i; i < text.len && (uint8_t)text.ptr[i] >= 0x80;) i++;
        if (from < i) st = run(how, text.ptr + from, i - from, &a, &b, out);
    }
    wk_buf_free(&a);
    wk_buf_free(&b);
    return st;
}
