/* classify.c: sorts lines of text into a classifier's classes and prints each with its probability.
 *   classify model-folder "I liked it" "not my thing" */
#include "wick.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The likeliest of n classes, and its probability: the softmax of the logits. */
static int best_of(const float *logits, int n, double *probability) {
    int best = 0;
    double sum = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    for (int i = 0; i < n; i++) sum += exp((double)logits[i] - (double)logits[best]);
    *probability = 1 / sum;
    return best;
}

static wick_status run(wick_model *model, char **texts, int n_text) {
    wick_model_info info = { .size = sizeof info };
    wick_session *session = NULL;
    float *logits = NULL;
    wick_status status = wick_model_describe(model, &info);
    if (!status) status = wick_session_new(model, NULL, &session);
    if (!status && !(logits = calloc((size_t)info.n_label + 1, sizeof *logits))) status = WICK_E_MEMORY;
    for (int i = 0; !status && i < n_text; i++) {
        status = wick_classify(session, texts[i], strlen(texts[i]), logits, (size_t)info.n_label);
        if (status) break;
        double probability;
        int class = best_of(logits, info.n_label, &probability);
        const char *name = wick_model_label(model, class);
        printf("%-12s %5.1f %%  %s\n", name ? name : "?", 100 * probability, texts[i]);
    }
    free(logits);
    wick_session_free(session);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL TEXT...\n", argv[0]);
        return 2;
    }
    wick_model *model = NULL;
    int failed = wick_model_open(argv[1], NULL, &model) || run(model, argv + 2, argc - 2);
    if (failed) fprintf(stderr, "%s\n", wick_last_error());
    wick_model_free(model);
    return failed;
}
