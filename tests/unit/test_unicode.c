/* test_unicode.c: UTF-8, character classes and normal forms; and each hand-written scanner against pcre2 on random text. */
#include "text/tokenizer_parts.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static uint64_t seed = 88172645463325252u;
static uint32_t pick(uint32_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % n;
}

/* ---- UTF-8 ---- */

static void test_round_trip(void **state) {
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char s[4];
        size_t n = wk_utf8_put(s, c), len, got;
        if (c >= 0xD800 && c < 0xE000) {
            assert_int_equal(wk_utf8_at(s, n, &len), WK_UTF8_BAD);
            continue;
        }
        assert_int_equal(wk_utf8_at(s, n, &len), WK_UTF8_WHOLE);
        assert_int_equal(len, n);
        assert_int_equal(wk_utf8_get(s, &got), c);
        assert_int_equal(got, n);
        for (size_t k = 1; k < n; k++) {
            assert_int_equal(wk_utf8_at(s, k, &len), WK_UTF8_CUT);
            assert_int_equal(len, k);
        }
        assert_ptr_equal(wk_utf8_back(s, s + n), s);
    }
}

static void test_bad_utf8(void **state) {
    (void)state;
    static const struct { const char *text; size_t len, bad; } all[] = {  /* len: what one U+FFFD stands for */
        { "\x80", 1, 0 }, { "\xC0\x80", 1, 0 }, { "\xC1\xBF", 1, 0 }, { "\xE0\x80\x80", 1, 0 }, { "\xE0\x9F\xBF", 1, 0 },
        { "\xED\xA0\x80", 1, 0 }, { "\xF0\x80\x80\x80", 1, 0 }, { "\xF4\x90\x80\x80", 1, 0 }, { "\xF5\x80\x80\x80", 1, 0 },
        { "\xFF", 1, 0 }, { "\xE2\x82z", 2, 0 }, { "\xF0\x9F\x98z", 3, 0 }, { "\xC3z", 1, 0 }, { "abcdefgh\xE2\x28\xA1", 1, 8 },
        { "12345678901234567\xC3", 1, 17 },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t len, bad = 99, n = strlen(all[i].text);
        assert_false(wk_utf8_valid(all[i].text, n, &bad));
        assert_int_equal(bad, all[i].bad);
        wk_utf8_at(all[i].text + bad, n - bad, &len);
        assert_int_equal(len, all[i].len);
    }
    size_t bad;
    assert_true(wk_utf8_valid("", 0, &bad));
    static const char good[] = "a\0b \xE2\x82\xAC 1234567 \xF0\x9F\x98\x80";
    assert_true(wk_utf8_valid(good, sizeof good - 1, &bad));
}

/* ---- classes ---- */

/* Which of [from, to) a class matches, by pcre2. */
static void mark(const char *class, uint8_t *is, uint8_t bit) {
    enum { BLOCK = 4096 };
    static char text[4 * BLOCK];
    static uint32_t at[4 * BLOCK];
    wk_pattern *p;
    wk_search s;
    bool found;
    size_t a, b;
    assert_int_equal(wk_pattern_new(class, strlen(class), "test", &p), WICK_OK);
    for (uint32_t base = 0; base < 0x110000; base += BLOCK) {
        size_t n = 0;
        for (uint32_t c = base; c < base + BLOCK; c++) {
            if (c >= 0xD800 && c < 0xE000) continue;
            at[n] = c;
            n += wk_utf8_put(text + n, c);
        }
        assert_int_equal(wk_search_new(p, n, &s), WICK_OK);
        for (size_t from = 0; !wk_search_next(&s, text, n, from, &found, &a, &b) && found; from = b) is[at[a]] |= bit;
        wk_search_free(&s);
    }
    wk_pattern_free(p);
}

/* utf8proc knows Unicode 15, pcre2 10.42 Unicode 14: characters that are new in 15 are left out, as is U+180E, which pcre2 counts
 * as white space although it has not had that property since Unicode 6.3. */
static void test_classes(void **state) {
    (void)state;
    static const struct { const char *regex; unsigned class; } all[] = {
        { "\\p{L}", WK_CH_LETTER }, { "\\p{N}", WK_CH_NUMBER }, { "\\s", WK_CH_SPACE }, { "[^\\s\\p{L}\\p{N}]", WK_CH_OTHER },
        { "\\p{M}", WK_CH_MARK }, { "[\\p{P}$+<=>^`|~]", WK_CH_PUNCT },
    };
    uint8_t *is = wk_alloc(0x110000);
    int n_new = 0;
    for (int i = 0; i < 6; i++) mark(all[i].regex, is, (uint8_t)(1 << i));
    mark("\\p{Cn}", is, 64);
    for (uint32_t c = 0; c < 0x110000; c++) {
        unsigned k = wk_char_class(c), want = 0;
        if (c == 0x180E || (c >= 0xD800 && c < 0xE000)) continue;
        for (int i = 0; i < 6; i++) if (is[c] >> i & 1) want |= all[i].class;
        if ((k & 0xFu) != (want & 0xFu) && is[c] & 64) { n_new++; continue; }
        unsigned same = k & (WK_CH_LETTER | WK_CH_NUMBER | WK_CH_SPACE | WK_CH_OTHER | WK_CH_MARK | WK_CH_PUNCT);
        if (same != want && !(is[c] & 64)) fail_msg("U+%04X: class %x, pcre2 says %x", c, same, want);
        if (k & (WK_CH_LETTER | WK_CH_MARK)) assert_true(k & WK_CH_WORD);
    }
    assert_in_range(n_new, 4000, 6000);  /* 4,192 ideographs of extension H and some hundred others */
    assert_true(wk_char_class('_') & WK_CH_WORD);
    assert_true(wk_char_class(0x24B6) & WK_CH_WORD);   /* circled A is alphabetic */
    assert_false(wk_char_class(0xB2) & WK_CH_WORD);    /* superscript two is not */
    assert_true(wk_char_class(0x2160) & WK_CH_WORD);   /* Roman numeral one is */
    assert_true(wk_is_nonspacing(0x301));
    assert_false(wk_is_nonspacing(0x903));             /* spacing mark */
    wk_free(is);
}

/* ---- normal forms ---- */

static void test_normal_forms(void **state) {
    (void)state;
    static const struct { wk_normal_form form; const char *in, *out; } all[] = {
        { WK_NFC, "e\xCC\x81", "\xC3\xA9" }, { WK_NFD, "\xC3\xA9", "e\xCC\x81" },
        { WK_NFKC, "\xEF\xAC\x81 \xC2\xBD", "fi 1\xE2\x81\x84" "2" },
        { WK_NFKD, "\xE2\x84\xAB", "A\xCC\x8A" }, { WK_NFC, "\xE2\x84\xAB", "\xC3\x85" }, { WK_NFC, "plain", "plain" },
        { WK_NFD, "", "" },
        { WK_NFC, "\xEA\xB0\x80", "\xEA\xB0\x80" }, { WK_NFD, "\xEA\xB0\x80", "\xE1\x84\x80\xE1\x85\xA1" },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        wk_buf b = { 0 };
        assert_int_equal(wk_normal_form_of(all[i].form, all[i].in, strlen(all[i].in), &b), WICK_OK);
        assert_int_equal(b.len, strlen(all[i].out));
        assert_memory_equal(b.len ? b.ptr : "", all[i].out, b.len);
        wk_buf_free(&b);
    }
    wk_buf b = { 0 };
    wk_lower_case("AZ\xC3\x89\xC4\xB0\xE1\xBA\x9E z", 11, &b);
    assert_string_equal(b.ptr, "az\xC3\xA9i\xCC\x87\xC3\x9F z");
    wk_buf_free(&b);
}

/* ---- scanners ---- */

/* Characters of every kind that a pattern tells apart, the frequent ones more often. */
static size_t random_text(char *out, size_t n_char) {
    static const uint32_t odd[] = {
        0x17F, 0xE9, 0x301, 0x130, 0x1C5, 0xAA, 0x4F60, 0xAC00, 0x5D0, 0x928, 0x93F, 0xE01, 0xB2, 0xBD, 0x663, 0x2167, 0x2460,
        0xA0, 0x85, 0x2003, 0x3000, 0x2028, 0x1680, 0x200B, 0x200D, 0xFEFF, 0x1F600, 0x20AC, 0x2019, 0xFF0C, 0x10FFFF, 0xE000,
        0x378, 0x20000, 0x1D7CE,
    };
    static const char common[] = "abestdmvlrTSRELVD 0123456789''' \n\r\t  .,!?-_()<>=$'";
    size_t n = 0;
    uint32_t bias = pick(4);
    for (size_t i = 0; i < n_char; i++) {
        uint32_t kind = pick(10), c = ' ';
        if (kind < 6 - bias) c = (uint8_t)common[pick(sizeof common - 1)];
        else if (kind < 7) c = odd[pick(sizeof odd / sizeof *odd)];
        else if (kind < 8) c = (uint8_t)"  \n\n\r\t \v"[pick(8)];
        else if (kind == 8) c = pick(128);
        else do c = pick(0x30000); while ((c >= 0xD800 && c < 0xE000) || c == 0x180E);
        for (uint32_t again = pick(20) ? 1 : 1 + pick(5); again; again--) n += wk_utf8_put(out + n, c);
    }
    return n;
}

static bool newer_than_pcre2(const char *p, size_t n, wk_search *s) {
    bool found;
    size_t a, b;
    return wk_search_next(s, p, n, 0, &found, &a, &b) || found;
}

static void test_scanners(void **state) {
    (void)state;
#define CASED(digits) "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    static const struct { const char *regex; wk_scanner scan; } all[] = {
        { "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", wk_scan_gpt2 },
        { CASED("\\p{N}{1,3}"), wk_scan_llama3 },
        { CASED("\\p{N}"), wk_scan_qwen2 },
    };
    static char text[8 * 64 * 6];
    wk_pattern *p, *unassigned;
    wk_search s, u;
    assert_int_equal(wk_pattern_new("\\p{Cn}", 6, "test", &unassigned), WICK_OK);
    assert_int_equal(wk_search_new(unassigned, 1 << 30, &u), WICK_OK);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        assert_true(wk_scanner_of(all[k].regex, strlen(all[k].regex)) == all[k].scan);
        assert_int_equal(wk_pattern_new(all[k].regex, strlen(all[k].regex), "test", &p), WICK_OK);
        assert_int_equal(wk_search_new(p, 1 << 30, &s), WICK_OK);
        for (int round = 0, used = 0; used < 20000; round++) {
            size_t n = random_text(text, 1 + pick(60)), at = 0;
            if (newer_than_pcre2(text, n, &u)) continue;
            used++;
            while (at < n) {
                bool found;
                size_t a, b, len = all[k].scan(text + at, text + n);
                assert_int_equal(wk_search_next(&s, text, n, at, &found, &a, &b), WICK_OK);
                if (found && a == at && b == at + len) { at = b; continue; }
                fail_msg("scanner %zu, round %d: \"%.*s\" at byte %zu: %zu bytes, pcre2 takes %zu..%zu", k, round, (int)n, text,
                         at, len, a, b);
            }
        }
        wk_search_free(&s);
        wk_pattern_free(p);
    }
    assert_null(wk_scanner_of("\\w+", 3));
    wk_search_free(&u);
    wk_pattern_free(unassigned);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bad_utf8),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_normal_forms),
        cmocka_unit_test(test_scanners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
