/* stream_callback.c: shows each token as it is made, with its probability; Ctrl-C stops cleanly.
 *   stream_callback model.gguf "Once upon a time" */
#include "wick.h"
#include <signal.h>
#include <stdio.h>

static wick_session *session;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    wick_session_cancel(session);  /* safe in a signal handler */
}

static bool on_token(const wick_token *t, void *user) {
    double *sum = user;
    printf("%3d  id %-6d  %5.1f %%  \"%s\"\n", t->index, t->id, 100 * (double)t->prob, t->text);
    fflush(stdout);
    *sum += (double)t->logprob;
    return true;  /* false would stop */
}

static wick_status run(const wick_model *model, const char *prompt) {
    double sum = 0;
    wick_result r;
    wick_generate_options options;
    wick_generate_defaults(model, &options);
    options.n_predict = 24;
    options.logprobs = true;
    options.seed = 7;
    wick_status status = wick_generate(session, &(wick_prompt){ .text = prompt }, &options, on_token, &sum, &r);
    if (status && status != WICK_E_CANCELLED) return status;
    if (r.n_generated)
        printf("ended: %s; %.1f tokens/s; mean log-probability %.3f; %.2f %% of the time went into streaming\n",
               wick_finish_name(r.finish_reason), r.n_generated / r.generate_s, sum / r.n_generated,
               100 * r.stream_s / r.generate_s);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s MODEL [TEXT]\n", argv[0]);
        return 2;
    }
    wick_model *model = NULL;
    wick_status status = wick_model_open(argv[1], NULL, &model);
    if (!status) status = wick_session_new(model, NULL, &session);
    if (!status) {
        signal(SIGINT, on_interrupt);
        status = run(model, argc > 2 ? argv[2] : "Once upon a time");
    }
    if (status) fprintf(stderr, "%s\n", wick_last_error());
    signal(SIGINT, SIG_DFL);
    wick_session_free(session);
    wick_model_free(model);
    return status == WICK_E_CANCELLED ? 130 : status != WICK_OK;
}
