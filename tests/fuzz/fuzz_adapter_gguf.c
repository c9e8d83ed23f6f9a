/* fuzz_adapter_gguf.c: any bytes as a GGUF adapter for a tiny model. What can be read is applied, and written as PEFT's folder and
 * read again. */
#include "fuzz/tiny_adapter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static wick_model *m;
    static char path[96], out[96];
    if (!m) {
        m = tiny_open();
        snprintf(path, sizeof path, "%s/adapter.gguf", folder);
        snprintf(out, sizeof out, "%s/out", folder);
    }
    folder_put("adapter.gguf", size ? (const void *)data : "", size);
    tiny_apply(m, path);
    tiny_rewrite(m, path, out, WK_LORA_PEFT);
    wk_folder_remove(out);
    return 0;
}
