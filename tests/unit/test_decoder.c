/* test_decoder.c: ids to text as they come: only whole characters, the same as all at once, U+FFFD for what can never be one. */
#include "base/file.h"
#include "text/tokenizer_parts.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BAD "\xEF\xBF\xBD"

/* Entries 0..255 are bytes, in order; then some pieces. decoder: JSON text. */
static wk_tokenizer *byte_tokens(const char *decoder) {
    static const char *const more[] = { "\xE2\x96\x81", "\xE2\x96\x81hi", "x", "\xE2\x82\xAC", "<s>", "<u>\xE2\x96\x81", "<unk>" };
    json_t *vocab = json_object(), *j;
    char name[8];
    for (int b = 0; b < 256; b++) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        json_object_set_new(vocab, name, json_integer(b));
    }
    for (int i = 0; i < 7; i++) json_object_set_new(vocab, more[i], json_integer(256 + i));
    j = json_pack("{s:{s:s,s:o,s:[],s:b,s:s},s:[{s:i,s:s,s:b},{s:i,s:s,s:b}]}", "model", "type", "BPE", "vocab", vocab, "merges",
                  "byte_fallback", 1, "unk_token", "<unk>", "added_tokens", "id", 260, "content", "<s>", "special", 1,
                  "id", 261, "content", "<u>\xE2\x96\x81", "special", 0);
    assert_non_null(j);
    json_t *d = json_loads(decoder, 0, NULL);
    assert_non_null(d);
    json_object_set_new(j, "decoder", d);
    wk_tokenizer *t;
    if (wk_tokenizer_from_json(j, NULL, "x", &t)) fail_msg("%s", wick_last_error());
    json_decref(j);
    return t;
}

static const char fallback[] =
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}";

/* Decodes one id after the other; every piece must be whole UTF-8. */
static void decode(const wk_tokenizer *t, const int *id, size_t n, bool special, bool started, wk_buf *out) {
    wk_decoder d;
    size_t bad;
    out->len = 0;
    wk_decoder_init(&d, t, special);
    d.started = started;
    for (size_t i = 0, before = 0; i <= n; i++, before = out->len) {
        if (i < n) wk_decode(&d, id[i], out); else wk_decode_end(&d, out);
        if (out->len > before && !wk_utf8_valid(out->ptr + before, out->len - before, &bad))
            fail_msg("after token %zu: not whole", i);
    }
    assert_int_equal(d.n_held, 0);
}

static void test_pieces(void **state) {
    (void)state;
    static const struct { int n, id[8]; bool special, started; const char *text; } all[] = {
        { 3, { 0xE2, 0x82, 0xAC }, false, false, "\xE2\x82\xAC" },
        { 4, { 0xF0, 0x9F, 0x98, 0x80 }, false, false, "\xF0\x9F\x98\x80" },
        { 2, { 0xE2, 0x82 }, false, false, BAD },               /* cut off at the end: one for all of it */
        { 3, { 0xE2, 0x82, 258 }, false, false, BAD "x" },      /* cut off by a letter */
        { 3, { 0xE2, 0x82, 259 }, false, false, BAD "\xE2\x82\xAC" },
        { 4, { 0xE2, 0xE2, 0x82, 0xAC }, false, false, BAD "\xE2\x82\xAC" },
        { 2, { 0x80, 'a' }, false, false, BAD "a" },
        { 3, { 0xC0, 0x80, 'a' }, false, false, BAD BAD "a" },
        { 3, { 0xED, 0xA0, 0x80 }, false, false, BAD BAD BAD }, /* a surrogate is none */
        { 4, { 0xF4, 0x90, 0x80, 0x80 }, false, false, BAD BAD BAD BAD },
        { 1, { 257 }, false, false, "hi" },                     /* the first space is SentencePiece's */
        { 2, { 257, 257 }, false, false, "hi hi" },
        { 1, { 257 }, false, true, " hi" },                     /* going on with a text */
        { 2, { 256, 257 }, false, false, " hi" },
        { 1, { 0x20 }, false, false, "" },
        { 2, { 260, 257 }, false, false, "hi" },
        { 2, { 260, 257 }, true, false, "<s> hi" },
        { 3, { 0xE2, 260, 258 }, false, false, BAD "x" },
        { 4, { 0xE2, 260, 0x82, 0xAC }, false, false, "\xE2\x82\xAC" },  /* what is not shown does not come between */
        { 4, { 0xE2, 260, 0x82, 0xAC }, true, false, BAD "<s>" BAD BAD },
        { 2, { 261, 258 }, false, false, "<u> x" },
        { 2, { 262, 258 }, false, false, "x" },
        { 2, { 262, 258 }, true, false, "<unk>x" },
        { 4, { -1, 99999, 263, 258 }, true, false, "x" },       /* ids of nothing */
        { 0, { 0 }, true, false, "" },
    };
    wk_tokenizer *t = byte_tokens(fallback);
    wk_buf out = { 0 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        decode(t, all[i].id, (size_t)all[i].n, all[i].special, all[i].started, &out);
        if (out.len != strlen(all[i].text) || (out.len && memcmp(out.ptr, all[i].text, out.len)))
            fail_msg("row %zu: \"%.*s\", not \"%s\"", i, (int)out.len, out.len ? out.ptr : "", all[i].text);
    }
    wk_buf_free(&out);
    wk_tokenizer_free(t);
}

static void test_other_decoders(void **state) {
    (void)state;
    static const int id[] = { 257, 258, 257 };
    static const struct { const char *decoder, *text; } all[] = {
        { "null", "\xE2\x96\x81hi x \xE2\x96\x81hi" },
        { "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"always\"}", "hix hi" },
        { "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"never\"}", " hix hi" },
        { "{\"type\":\"Sequence\",\"decoders\":["
          "{\"type\":\"Strip\",\"content\":\"i\",\"start\":0,\"stop\":2},{\"type\":\"Fuse\"}]}",
          "\xE2\x96\x81hx\xE2\x96\x81h" },
        { "{\"type\":\"Sequence\",\"decoders\":[]}", "\xE2\x96\x81hix\xE2\x96\x81hi" },
    };
    wk_buf out = { 0 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        wk_tokenizer *t = byte_tokens(*all[i].decoder == 'n' ? "{\"type\":\"Fuse\"}" : all[i].decoder);
        t->join = *all[i].decoder == 'n';
        decode(t, id, 3, false, false, &out);
        if (out.len != strlen(all[i].text) || memcmp(out.ptr, all[i].text, out.len))
            fail_msg("row %zu: \"%.*s\"", i, (int)out.len, out.ptr);
        wk_tokenizer_free(t);
    }
    wk_buf_free(&out);
}

static void test_byte_alphabet(void **state) {
    (void)state;
    int seen = 0;
    for (uint32_t c = 0; c < 0x200; c++) {
        int b = wk_byte_of_char(c);
        if (b < 0) continue;
        assert_int_equal(wk_char_of_byte((uint8_t)b), c);
        seen++;
    }
    assert_int_equal(seen, 256);
    assert_int_equal(wk_char_of_byte(' '), 0x120);
    assert_int_equal(wk_char_of_byte('\n'), 0x10A);
    assert_int_equal(wk_char_of_byte(0xAD), 0x143);
}

/* Random ids of a real vocabulary: whole UTF-8 at each step, the same text in one go, and no allocation once the buffer is
 * there. */
static void test_real_vocabulary(void **state) {
    (void)state;
    static const char *const names[] = { "SmolLM2-135M-Instruct.Q4_1.gguf", "models/ggml-vocab-llama-spm.gguf" };
    const char *cache = getenv("WICK_TEST_CACHE");
    char path[1024];
    for (int k = 0; k < 2; k++) {
        wk_gguf *g;
        wk_tokenizer *t;
        snprintf(path, sizeof path, "%s/%s", cache ? cache : "WICK_TEST_CACHE", names[k]);
        if (!wk_file_exists(path)) {
            print_message("%s is not there\n", path);
            skip();
        }
        assert_int_equal(wk_gguf_open(path, &g), WICK_OK);
        assert_int_equal(wk_tokenizer_from_gguf(g, &t), WICK_OK);
        wk_buf out = { 0 }, bytes = { 0 }, once = { 0 };
        wk_buf_add(&out, path, sizeof path);
        while (out.len < 1 << 20) wk_buf_add(&out, path, sizeof path);
        uint32_t seed = 7, n = (uint32_t)wk_tokenizer_n_vocab(t);
        for (int round = 0; round < 500; round++) {
            int id[100];
            for (int i = 0; i < 100; i++) {
                seed = seed * 1664525 + 1013904223;
                id[i] = (int)((seed >> 8) % (round % 2 ? n : 300));  /* the first 300 hold the bytes */
            }
            uint64_t before = wk_alloc_count();
            decode(t, id, 100, true, false, &out);
            assert_int_equal(wk_alloc_count(), before);
            bytes.len = 0;
            for (int i = 0; i < 100; i++) {
                wk_str s = wk_tokenizer_bytes(t, id[i]);
                wk_buf_add(&bytes, s.ptr, s.len);
            }
            size_t len, bad, skip_first = k == 1 && bytes.len && bytes.ptr[0] == ' ';
            once.len = 0;
            for (size_t i = skip_first; i < bytes.len; i += len) {
                wk_utf8_state s = wk_utf8_at(bytes.ptr + i, bytes.len - i, &len);
                if (s == WK_UTF8_WHOLE) wk_buf_add(&once, bytes.ptr + i, len); else wk_buf_str(&once, BAD);
            }
            assert_int_equal(out.len, once.len);
            assert_memory_equal(out.ptr, once.ptr, once.len);
            assert_true(wk_utf8_valid(out.ptr, out.len, &bad));
        }
        wk_buf_free(&out);
        wk_buf_free(&bytes);
        wk_buf_free(&once);
        wk_tokenizer_free(t);
        wk_gguf_free(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_other_decoders),
        cmocka_unit_test(test_byte_alphabet),
        cmocka_unit_test(test_real_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
