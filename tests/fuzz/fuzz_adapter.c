/* fuzz_adapter.c: any bytes as an adapter's folder, for a tiny model: adapter_config.json, and behind a NUL the safetensors file:
 * its header where that begins with "{" (its length is then right, and as many numbers follow as it speaks of), else all of it.
 * mlx's where the configuration has "fine_tune_type", else PEFT's. What can be read is applied, and written in the other format
 * and read again. */
#include "fuzz/tiny_adapter.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where the header's tensors end, as far as it is believed. */
static size_t end_of(const char *header) {
    static const char key[] = "\"data_offsets\":[";
    size_t end = 0;
    for (const char *at = header; (at = strstr(at, key));) {
        at = strchr(at += sizeof key - 1, ',');
        if (!at) break;
        size_t n = strtoull(at + 1, NULL, 10);
        if (n <= 4096 && n > end) end = n;
    }
    return end;
}

static void put_tensors(const char *name, const uint8_t *data, size_t n) {
    wk_buf file = { 0 };
    uint64_t length = n;
    bool header = n && *data == '{';
    if (header) wk_buf_add(&file, &length, 8);
    wk_buf_add(&file, n ? (const void *)data : "", n);
    size_t end = header ? end_of(file.ptr + 8) : 0;
    for (size_t i = 0; i < end; i += 4) {
        float x = 0.02f * (float)(i / 4 % 13) - 0.1f;
        wk_buf_add(&file, &x, end - i < 4 ? end - i : 4);
    }
    if (file.failed) abort();
    folder_put(name, file.ptr ? file.ptr : "", file.len);
    wk_buf_free(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const mlx_key = "\"fine_tune_type\"";
    static wick_model *m;
    static char out[96];
    if (!m) {
        m = tiny_open();
        snprintf(out, sizeof out, "%s/out", folder);
    }
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t n = nul ? (size_t)(nul - data) : size;
    bool mlx = size && memmem(data, n, mlx_key, strlen(mlx_key));
    folder_put("adapter_config.json", size ? (const void *)data : "", n);
    folder_put(mlx ? "adapter_model.safetensors" : "adapters.safetensors", NULL, 0);
    put_tensors(mlx ? "adapters.safetensors" : "adapter_model.safetensors", nul ? nul + 1 : NULL, nul ? size - n - 1 : 0);
    tiny_apply(m, folder);
    tiny_rewrite(m, folder, out, mlx ? WK_LORA_PEFT : WK_LORA_MLX);
    wk_folder_remove(out);
    return 0;
}
