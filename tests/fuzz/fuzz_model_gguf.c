/* fuzz_model_gguf.c: any bytes as the file of a whole model, by the public way in: opened, its tensors bound and packed, and where
 * that succeeds two tokens generated in a tiny context. The file lies in memory (memfd), under a name that open() takes. */
#include "wick.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(wick_model *m) {
    wick_session_options so;
    wick_generate_options go;
    wick_session *s;
    wick_prompt by_ids = { .ids = (const int32_t[]){ 0, 1, 2 }, .n_ids = 3 }, by_text = { .text = "ab <s>" };
    wick_session_defaults(&so);
    so.n_ctx = 16;
    so.n_batch = 4;
    if (wick_session_new(m, &so, &s)) return;
    wick_generate_defaults(m, &go);
    go.n_predict = 2;
    wick_generate(s, &by_ids, &go, NULL, NULL, NULL);
    wick_session_reset(s);
    wick_generate(s, &by_text, &go, NULL, NULL, NULL);
    wick_session_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    static char path[40];
    wick_model_options o;
    wick_model *m;
    if (fd < 0) {
        if ((fd = memfd_create("fuzz", MFD_CLOEXEC)) < 0) abort();
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size) abort();
    wick_model_defaults(&o);
    o.n_threads = 1;
    wick_status st = wick_model_open(path, &o, &m);
    if (st && !*wick_last_error()) abort();
    if (!st) run(m);
    if (!st) wick_model_free(m);
    return 0;
}
