/* tokenize.c: how fast a model's tokenizer is on one thread: tokenize MODEL FILE [ROUNDS]. The text is cut into blocks of
 * about 4 kB at line ends, as its peer in bench.py cuts it; a round does all of them. Prints JSON: bytes, ids, a checksum of
 * the ids, seconds of each round. */
#include "base/clock.h"
#include "wick.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096 };

static char *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) return NULL;
    *n = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(*n + 1);
    if (text && fread(text, 1, *n, f) != *n) *n = 0;
    fclose(f);
    return text;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: tokenize MODEL FILE [ROUNDS]\n"), 2;
    size_t n_text = 0;
    char *text = read_file(argv[2], &n_text);
    if (!text) return perror(argv[2]), 1;
    wick_model_options o;
    wick_model_defaults(&o);
    o.vocab_only = true;
    wick_model *m = NULL;
    if (wick_model_open(argv[1], &o, &m)) return fprintf(stderr, "%s\n", wick_last_error()), 1;
    size_t cap = n_text + 16;
    int32_t *ids = malloc(cap * sizeof *ids);
    if (!ids) return 1;
    int n_round = argc > 3 ? atoi(argv[3]) : 5;
    size_t n_ids = 0;
    uint64_t sum = 0;
    printf("{\"bytes\": %zu, \"seconds\": [", n_text);
    for (int r = 0; r < n_round; r++) {
        n_ids = 0;
        sum = 0;
        double spent = 0;
        for (size_t at = 0; at < n_text;) {
            size_t n = n_text - at < BLOCK ? n_text - at : BLOCK, n_new = 0;
            const char *end = memchr(text + at + n, '\n', n_text - at - n);
            n = end ? (size_t)(end + 1 - (text + at)) : n_text - at;
            double start = wk_now();
            if (wick_tokenize(m, text + at, n, WICK_TOK_SPECIAL, ids, cap, &n_new))
                return fprintf(stderr, "%s\n", wick_last_error()), 1;
            spent += wk_now() - start;
            for (size_t i = 0; i < n_new; i++) sum = (sum * 31 + (uint64_t)ids[i]) % 1000000007;
            n_ids += n_new;
            at += n;
        }
        printf("%s%.6f", r ? ", " : "", spent);
    }
    printf("], \"ids\": %zu, \"checksum\": %llu}\n", n_ids, (unsigned long long)sum);
    free(ids);
    free(text);
    wick_model_free(m);
    return 0;
}
