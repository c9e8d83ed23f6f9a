/* fuzz_tokenizer_json.c: any bytes as tokenizer.json, and behind the first NUL a text for it, cut into spans that are trusted by
 * turns; ids are decoded again. Text of a request must give no control token (but for one that stands for what is unknown). */
#include "text/tokenizer_parts.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void go_back(const wk_tokenizer *t, const wk_ids *ids) {
    wk_decoder d;
    wk_buf out = { 0 };
    wk_decoder_init(&d, t, true);
    for (size_t i = 0; i < ids->len; i++) {
        if (ids->ptr[i] < 0 || ids->ptr[i] >= wk_tokenizer_n_vocab(t)) abort();
        wk_decode(&d, ids->ptr[i], &out);
    }
    wk_decode_end(&d, &out);
    wk_buf_free(&out);
}

static void use(const wk_tokenizer *t, const char *text, size_t n) {
    wk_span span[3] = { { text, n / 3, true }, { text + n / 3, n / 3, false }, { text + n / 3 * 2, n - n / 3 * 2, true } };
    wk_span request = { text, n, false };
    wk_ids ids = { 0 };
    if (!wk_tokenize(t, span, 3, true, &ids)) go_back(t, &ids);
    ids.len = 0;
    if (!wk_tokenize(t, &request, 1, false, &ids))
        for (size_t i = 0; i < ids.len; i++)
            if (wk_tokenizer_kind(t, ids.ptr[i]) == WK_TOKEN_CONTROL && ids.ptr[i] != t->unk) abort();
    wk_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    json_t *j;
    wk_tokenizer *t;
    if (wk_json_parse((const char *)data, n, "fuzz", &j)) return 0;
    if (!wk_tokenizer_from_json(j, j, "fuzz", &t)) {
        if (end && n + 1 < size) use(t, (const char *)end + 1, size - n - 1);
        use(t, "<s>Hello w\xC3\xB6rld's 123\n\n  \xE4\xBD\xA0 </s>", 33);
        for (int32_t id = 0; id < wk_tokenizer_n_vocab(t); id += 1 + id / 64) {
            wk_str e = wk_tokenizer_entry(t, id);
            if (e.len && wk_tokenizer_find(t, e.ptr, e.len) != id) abort();
        }
    }
    wk_tokenizer_free(t);
    json_decref(j);
    return 0;
}
