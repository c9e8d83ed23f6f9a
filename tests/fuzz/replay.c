/* replay.c: gives a fuzz target a main() that runs it over every file of the folders and files named, so that corpora
 * are replayed by any compiler and under Valgrind too; a target with a mutator of its own also runs over a few mutants of each.
 * With libFuzzer this file is left out. */
#include "base/file.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) __attribute__((weak));

static void replay_mutants(const wk_buf *b) {
    enum { MUTANTS = 16, ROOM = 4096 };
    size_t max = b->len + ROOM;
    uint8_t *data = wk_alloc(max);
    for (unsigned seed = 0; data && seed < MUTANTS; seed++) {
        if (b->len) memcpy(data, b->ptr, b->len);
        LLVMFuzzerTestOneInput(data, LLVMFuzzerCustomMutator(data, b->len, max, seed));
    }
    wk_free(data);
}

static int replay_file(const char *path) {
    wk_buf b = { 0 };
    if (wk_file_read(path, (size_t)1 << 28, &b)) {
        fprintf(stderr, "%s\n", wick_last_error());
        return 0;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)(b.ptr ? b.ptr : ""), b.len);
    if (LLVMFuzzerCustomMutator) replay_mutants(&b);
    wk_buf_free(&b);
    return 1;
}

int main(int argc, char **argv) {
    int n = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (!d) {
            n += replay_file(argv[i]);
            continue;
        }
        for (struct dirent *e; (e = readdir(d));) {
            char *path = e->d_name[0] == '.' ? NULL : wk_path_join(argv[i], e->d_name);
            if (path) n += replay_file(path);
            wk_free(path);
        }
        closedir(d);
    }
    printf("%d inputs replayed\n", n);
    return n ? 0 : 1;
}
