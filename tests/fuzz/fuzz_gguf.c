/* fuzz_gguf.c: opens any bytes as a GGUF file; what opens is read through every accessor, and its tensors' first and last
 * rows are decoded, so that a length that was not checked reads outside the input. */
#include "format/gguf.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_key(const wk_gguf *g, size_t i) {
    wk_gguf_type type, element;
    uint64_t n, sum = 0;
    int64_t whole;
    double real;
    bool flag;
    wk_gguf_array a;
    wk_str s, name = wk_gguf_key(g, i, &type, &element, &n);
    char *key = wk_strdup_n(name.ptr, name.len);
    if (!key) abort();
    wk_gguf_int(g, key, -5, 1000, &whole, NULL);
    wk_gguf_real(g, key, &real, NULL);
    wk_gguf_bool(g, key, &flag, NULL);
    if (!wk_gguf_str(g, key, &s, &flag) && flag) for (size_t k = 0; k < s.len; k++) sum += (uint8_t)s.ptr[k];
    if (!wk_gguf_arr(g, key, &a, &flag) && flag) {
        const uint8_t *cursor = a.data;
        for (uint64_t k = 0; k < a.n; k++) {
            sum += (uint64_t)wk_gguf_arr_int(&a, k) + (wk_gguf_arr_real(&a, k) > 0);
            s = wk_gguf_arr_str(&a, &cursor);
            if (s.len) sum += (uint8_t)s.ptr[0] + (uint64_t)(uint8_t)s.ptr[s.len - 1];
        }
        if (element == WK_GGUF_STR && cursor != a.end) abort();
    }
    wk_free(key);
    (void)*(volatile uint64_t *)&sum;
}

static void read_tensor(const wk_tensor *t) {
    int64_t cols = wk_tensor_cols(t), rows = wk_tensor_rows(t);
    float *row = wk_dtypes[t->dtype].decode && cols <= 1 << 16 ? wk_alloc_array((size_t)cols, sizeof *row) : NULL;
    if (row) {
        wk_tensor_row(t, 0, row);
        wk_tensor_row(t, rows - 1, row);
    }
    wk_free(row);
    if (t->n_bytes) (void)*(const volatile uint8_t *)(t->data + t->n_bytes - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    wk_gguf *g;
    if (wk_gguf_open_memory(data, size, "fuzz", &g)) return 0;
    for (size_t i = 0; i < wk_gguf_n_key(g); i++) read_key(g, i);
    for (size_t i = 0; i < wk_gguf_n_tensor(g); i++) read_tensor(wk_gguf_tensor(g, i));
    wk_gguf_free(g);
    return 0;
}
