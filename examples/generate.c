/* generate.c: continues a text, and prints it when it is done.
 *   generate model.gguf "The capital of France is" */
#include "wick.h"
#include <stdio.h>
#include <string.h>

enum { N_PREDICT = 32 };
typedef struct text { char bytes[4096]; size_t n; } text;

/* Called with each token; the text comes in whole characters. */
static bool add(const wick_token *t, void *user) {
    text *out = user;
    if (t->n_text > sizeof out->bytes - out->n) return false;
    memcpy(out->bytes + out->n, t->text, t->n_text);
    out->n += t->n_text;
    return true;
}

static int run(wick_session *session, const wick_model *model, const char *prompt) {
    wick_generate_options options;
    wick_generate_defaults(model, &options);
    options.n_predict = N_PREDICT;
    options.temperature = 0;

    text out = { .n = 0 };
    wick_result result;
    if (wick_generate(session, &(wick_prompt){ .text = prompt }, &options, add, &out, &result)) return 1;
    printf("%s", prompt);
    fwrite(out.bytes, 1, out.n, stdout);
    printf("\n\n%d tokens of prompt, %d generated, %s\n", result.n_prompt, result.n_generated,
           wick_finish_name(result.finish_reason));
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s MODEL [TEXT]\n", argv[0]);
        return 2;
    }
    wick_model *model = NULL;
    wick_session *session = NULL;
    int failed = wick_model_open(argv[1], NULL, &model) || wick_session_new(model, NULL, &session) ||
                 run(session, model, argc > 2 ? argv[2] : "The capital of France is");
    if (failed) fprintf(stderr, "%s\n", wick_last_error());
    wick_session_free(session);
    wick_model_free(model);
    return failed;
}
