/* stream.c: what streaming costs: stream MODEL [TOKENS] [PAIRS] [THREADS]. Pairs of generations of the same tokens, one with
 * a callback that looks at each token and one without; which goes first alternates. Prints JSON: seconds of each, and the
 * seconds that each streamed run spent in streaming code as it counted them itself. */
#include "wick.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct tally { size_t n_bytes; int n_token; } tally;

static bool count(const wick_token *t, void *user) {
    tally *all = user;
    all->n_bytes += strlen(t->text);
    all->n_token++;
    return true;
}

int main(int argc, char **argv) {
    if (argc < 2) return fprintf(stderr, "usage: stream MODEL [TOKENS] [PAIRS] [THREADS]\n"), 2;
    int n_pair = argc > 3 ? atoi(argv[3]) : 20;
    wick_model_options mo;
    wick_model_defaults(&mo);
    if (argc > 4) mo.n_threads = atoi(argv[4]);
    wick_model *m = NULL;
    wick_session *s = NULL;
    if (wick_model_open(argv[1], &mo, &m) || wick_session_new(m, NULL, &s)) return fprintf(stderr, "%s\n", wick_last_error()), 1;
    wick_generate_options o;
    wick_generate_defaults(m, &o);
    o.n_predict = argc > 2 ? atoi(argv[2]) : 64;
    o.temperature = 0;
    o.ignore_end = true;
    wick_prompt p = { .text = "Once upon a time there was a river that" };
    tally all = { 0 };
    printf("{\"pairs\": [");
    for (int i = -1; i < n_pair; i++) {  /* pair -1 warms up */
        wick_result r[2];  /* without, with */
        for (int j = 0; j < 2; j++) {
            int with = j ^ (i & 1);
            wick_session_reset(s);
            if (wick_generate(s, &p, &o, with ? count : NULL, &all, &r[with]))
                return fprintf(stderr, "%s\n", wick_last_error()), 1;
        }
        if (i < 0) continue;
        printf("%s{\"without_s\": %.6f, \"with_s\": %.6f, \"stream_s\": %.6f, \"tokens\": %d}", i ? ", " : "",
               r[0].prompt_s + r[0].generate_s, r[1].prompt_s + r[1].generate_s, r[1].stream_s, r[1].n_generated);
    }
    printf("], \"bytes\": %zu}\n", all.n_bytes);
    wick_session_free(s);
    wick_model_free(m);
    return 0;
}
