/* adapter_files.c: adapters as files: from one format to another. The model's sizes and names are needed, none of its weights. */
#include "adapter/lora_data.h"
#include "base/file.h"
#include "convert/conversion.h"
#include <string.h>

wick_status wk_adapter_file_open(const char *model, const char *adapter, wk_model **m, wk_lora_data **d) {
    wk_backend *collector = NULL;
    *m = NULL;
    *d = NULL;
    wick_status st = wk_collector_new(&collector);
    if (!st) st = wk_model_load(model, collector, false, NULL, NULL, NULL, m);
    if (!st) st = wk_lora_read(*m, adapter, d);
    if (!st) return WICK_OK;
    wk_model_free(*m);
    *m = NULL;
    return st;
}

/* By its name, or by what out ends in. */
static wick_status read_format(const char *name, const char *out, wk_lora_format *f) {
    static const char *const names[] = { [WK_LORA_PEFT] = "peft", [WK_LORA_MLX] = "mlx", [WK_LORA_GGUF] = "gguf" };
    size_t n = strlen(out);
    *f = n > 5 && !strcmp(out + n - 5, ".gguf") ? WK_LORA_GGUF : WK_LORA_PEFT;
    if (!name) return WICK_OK;
    for (*f = WK_LORA_PEFT; *f <= WK_LORA_GGUF; (*f)++) if (!strcmp(names[*f], name)) return WICK_OK;
    return wk_fail(WICK_E_ARG, "there is no adapter format \"%s\": peft, mlx and gguf are known", name);
}

static wick_status check_out(const char *adapter, const char *out, wk_lora_format f, bool force) {
    bool there = false;
    wick_status st = wk_file_look(out, &there);
    if (st || !there) return st;
    if (wk_same_file(adapter, out)) return wk_fail(WICK_E_ARG, "%s and %s are the same: write to another name", adapter, out);
    bool folder = wk_is_folder(out);
    if (folder == (f == WK_LORA_GGUF))
        return wk_fail(WICK_E_ARG, "%s: is a %s, a %s is to be written: choose another name", out, folder ? "folder" : "file",
                       folder ? "GGUF file" : "folder");
    if (force || (folder && wk_folder_empty(out))) return WICK_OK;
    return wk_fail(WICK_E_ARG, "%s: exists already: choose another name, or ask for it to be overwritten (--force)", out);
}

wick_status wick_adapter_convert(const char *model, const char *adapter, const char *out, const char *format, bool force) {
    wk_model *m = NULL;
    wk_lora_data *d = NULL;
    wk_lora_format f = WK_LORA_PEFT;
    wk_clear_error();
    if (!model || !adapter || !out || !*out) return wk_fail(WICK_E_ARG, "wick_adapter_convert: a path is missing");
    wick_status st = read_format(format, out, &f);
    if (!st) st = check_out(adapter, out, f, force);
    if (!st) st = wk_adapter_file_open(model, adapter, &m, &d);
    if (!st) st = wk_lora_write(m, d, out, f);
    wk_lora_data_free(d);
    wk_model_free(m);
    return st;
}
