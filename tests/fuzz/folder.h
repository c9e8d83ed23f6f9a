/* folder.h: a folder of its own for a fuzz target whose input is a model's folder; it goes when the process ends. */
#ifndef WK_FUZZ_FOLDER_H
#define WK_FUZZ_FOLDER_H
#include "base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64];
static const char *const in_folder[] = { "config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json",
                                         "model.safetensors", "adapter_config.json", "adapter_model.safetensors",
                                         "adapters.safetensors", "adapter.gguf", "train.jsonl", "train.yaml" };

static void folder_remove(void) {
    char path[128];
    for (size_t i = 0; i < sizeof in_folder / sizeof *in_folder; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, in_folder[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void folder_make(void) {
    const char *shm = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";  /* memory, not a disk */
    snprintf(folder, sizeof folder, "%s/wick-fuzz-XXXXXX", shm);
    if (!mkdtemp(folder)) abort();
    atexit(folder_remove);
}

/* NULL: takes the file away. */
static void folder_put(const char *name, const void *data, size_t n) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = data ? fopen(path, "wb") : NULL;
    if (!data) unlink(path);
    else if (!f || fwrite(data, 1, n, f) != n) abort();
    if (f && fclose(f)) abort();
}

#endif
