/* fuzz_tokenizer_gguf.c: any bytes as a GGUF file, its tokenizer made and used on a text of template and request, the ids decoded
 * again. Text of a request must give no control token (but for one that stands for what is unknown). */
#include "text/tokenizer_parts.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] = "<s>Hello w\xC3\xB6rld's 123\n\n  \xE4\xBD\xA0 </s> ab abc aaaa <c><u>";

static void use(const wk_tokenizer *t) {
    wk_span span[] = { { text, 20, true }, { text + 20, sizeof text - 21, false } }, request = { text, sizeof text - 1, false };
    wk_ids ids = { 0 };
    wk_buf out = { 0 };
    wk_decoder d;
    size_t bad;
    if (!wk_tokenize(t, &request, 1, false, &ids))
        for (size_t i = 0; i < ids.len; i++)
            if (wk_tokenizer_kind(t, ids.ptr[i]) == WK_TOKEN_CONTROL && ids.ptr[i] != t->unk) abort();
    if (wk_tokenize(t, span, 2, true, &ids)) wk_clear_error();
    wk_decoder_init(&d, t, true);
    for (size_t i = 0; i < ids.len; i++) wk_decode(&d, ids.ptr[i], &out);
    for (int32_t id = 0; id < wk_tokenizer_n_vocab(t) && id < 1000; id++) wk_decode(&d, id, &out);
    wk_decode_end(&d, &out);
    if (out.len && !wk_utf8_valid(out.ptr, out.len, &bad)) abort();
    wk_buf_free(&out);
    wk_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    wk_gguf *g;
    wk_tokenizer *t;
    if (wk_gguf_open_memory(data, size, "fuzz", &g)) return 0;
    if (!wk_tokenizer_from_gguf(g, &t) && t) use(t);
    wk_tokenizer_free(t);
    wk_gguf_free(g);
    return 0;
}
