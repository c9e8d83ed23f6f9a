/* fuzz_safetensors.c: opens any bytes as a safetensors file, and as the header of one (whose length is then right, so that
 * more of them get past it); what opens has its tensors found by name and decoded. */
#include "format/safetensors.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_tensor(const wk_safetensors *s, const wk_tensor *t) {
    int64_t cols = wk_tensor_cols(t), rows = wk_tensor_rows(t);
    float *row = wk_dtypes[t->dtype].decode && cols <= 1 << 16 ? wk_alloc_array((size_t)cols, sizeof *row) : NULL;
    char *name = wk_strdup_n(t->name.ptr, t->name.len);
    if (!name || wk_safetensors_find(s, name) != t) abort();
    if (row && rows) {
        wk_tensor_row(t, 0, row);
        wk_tensor_row(t, rows - 1, row);
    }
    if (t->n_bytes) (void)*(const volatile uint8_t *)(t->data + t->n_bytes - 1);
    wk_free(name);
    wk_free(row);
}

static void read_file(const uint8_t *data, size_t size) {
    wk_safetensors *s;
    if (wk_safetensors_open_memory(data, size, "fuzz", &s)) return;
    for (size_t i = 0; i < wk_safetensors_n_tensor(s); i++) read_tensor(s, wk_safetensors_tensor(s, i));
    wk_safetensors_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { DATA = 16 };  /* bytes of tensors behind the header: what the seeds have */
    uint64_t n = size;
    uint8_t *file = wk_alloc(8 + size + DATA);
    read_file(data, size);
    if (!file) abort();
    memcpy(file, &n, 8);
    if (size) memcpy(file + 8, data, size);
    read_file(file, 8 + size + DATA);
    wk_free(file);
    return 0;
}
