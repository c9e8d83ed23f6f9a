/* test_emit.c: stop texts against a search that looks at every place, whatever the borders between tokens. */
#include "generate/emit.h"
#include "support/lab.h"
#include "support/run.h"
#include <stdlib.h>
#include <string.h>

/* Where the text is cut: the stop text that ends first, the longest of those that end together; n if none comes. */
static size_t brute_cut(const char *text, size_t n, const char *const *stop, size_t n_stop) {
    for (size_t end = 1; end <= n; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < n_stop; i++) {
            size_t len = strlen(stop[i]);
            if (len <= end && len > longest && !memcmp(text + end - len, stop[i], len)) longest = len;
        }
        if (longest) return end - longest;
    }
    return n;
}

/* May the last k bytes of text[0..n) be the beginning of a stop text? The most such k, below the stop's length. */
static size_t brute_held(const char *text, size_t n, const char *const *stop, size_t n_stop) {
    size_t most = 0;
    for (size_t i = 0; i < n_stop; i++)
        for (size_t k = strlen(stop[i]) - 1; k > most; k--)
            if (k <= n && !memcmp(text + n - k, stop[i], k)) most = k;
    return most;
}

static void against_brute_force(void **state) {
    (void)state;
    lab_rng rng = { 1, 0 };
    for (int round = 0; round < 20000; round++) {
        char text[64], word[4][8] = { { 0 } };
        const char *stop[4];
        size_t n = (size_t)lab_pick(&rng, 1, 40), n_stop = (size_t)lab_pick(&rng, 1, 4), cut = n;
        for (size_t i = 0; i < n; i++) text[i] = (char)lab_pick(&rng, 'a', 'b' + round % 2);
        for (size_t i = 0; i < n_stop; i++) {
            int len = lab_pick(&rng, 1, 7);
            for (int k = 0; k < len; k++) word[i][k] = (char)lab_pick(&rng, 'a', 'b' + round % 2);
            stop[i] = word[i];
        }
        wk_stops s;
        ok(wk_stops_new(&s, stop, n_stop));
        for (size_t i = 0; i < n && cut == n; i++) {
            size_t len = wk_stops_feed(&s, text[i]);
            if (len) cut = i + 1 - len;
            else assert_int_equal(wk_stops_held(&s), brute_held(text, i + 1, stop, n_stop));
        }
        assert_int_equal(cut, brute_cut(text, n, stop, n_stop));
        wk_stops_reset(&s);
        assert_int_equal(wk_stops_held(&s), 0);
        wk_stops_free(&s);
    }
}

static void wrong_stop_texts(void **state) {
    (void)state;
    wk_stops s;
    char *longest = calloc(WK_MAX_STOP_LEN + 2, 1);
    memset(longest, 'x', WK_MAX_STOP_LEN + 1);
    ok(wk_stops_new(&s, NULL, 0));
    refused(wk_stops_new(&s, NULL, 1), WICK_E_ARG, "NULL");
    refused(wk_stops_new(&s, (const char *const[]){ "a", NULL }, 2), WICK_E_ARG, "stop text 1 has 0 bytes");
    refused(wk_stops_new(&s, (const char *const[]){ "" }, 1), WICK_E_ARG, "stop text 0 has 0 bytes");
    refused(wk_stops_new(&s, (const char *const[]){ "a\xC3" }, 1), WICK_E_ARG, "not UTF-8 at byte 1");
    refused(wk_stops_new(&s, (const char *const[]){ longest }, 1), WICK_E_ARG, "4097 bytes");
    refused(wk_stops_new(&s, (const char *const[]){ "a" }, WK_MAX_STOPS + 1), WICK_E_ARG, "at most 256");
    longest[WK_MAX_STOP_LEN] = 0;
    ok(wk_stops_new(&s, (const char *const[]){ longest }, 1));
    wk_stops_free(&s);
    free(longest);
    for (uint64_t k = 1;; k++) {
        wk_alloc_fail_at(k);
        wick_status st = wk_stops_new(&s, (const char *const[]){ "ab", "c" }, 2);
        wk_alloc_fail_at(0);
        wk_stops_free(&s);
        if (!st) break;
        assert_int_equal(st, WICK_E_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(against_brute_force), cmocka_unit_test(wrong_stop_texts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
