/* stream_pull.c: pulls tokens from a generation that runs on its own thread, out of a poll() loop as a server has one.
 * While nothing is ready the loop is free for other work: here it counts how often it looked.
 *   stream_pull model.gguf "Once upon a time" */
#include "wick.h"
#include <poll.h>
#include <stdio.h>

/* Prints until the stream ends; *n_idle counts the times that nothing was there yet. */
static wick_status pull(wick_stream *stream, int *n_idle) {
    struct pollfd ready = { .fd = wick_stream_fd(stream), .events = POLLIN };
    for (wick_token t;;) {
        if (poll(&ready, 1, 20) == 0) {
            ++*n_idle;  /* 20 ms without a token: other descriptors would have their turn */
            continue;
        }
        wick_status status = wick_stream_next(stream, 0, &t);
        if (status == WICK_E_TIMEOUT) continue;
        if (status) return status == WICK_E_END ? WICK_OK : status;
        fwrite(t.text, 1, t.n_text, stdout);
        fflush(stdout);
    }
}

static wick_status run(const wick_model *model, wick_session *session, const char *prompt) {
    enum { RING = 16 };  /* so many tokens may wait; then the generation does */
    wick_generate_options options;
    wick_generate_defaults(model, &options);
    options.n_predict = 48;
    wick_stream *stream = NULL;
    wick_status status = wick_stream_new(session, &(wick_prompt){ .text = prompt }, &options, RING, &stream);
    if (status) return status;
    int n_idle = 0;
    printf("%s", prompt);
    status = pull(stream, &n_idle);
    wick_result r;
    wick_stream_result(stream, &r);
    if (!status)
        printf("\n\n%d tokens, ended: %s; nothing to do %d times\n", r.n_generated, wick_finish_name(r.finish_reason), n_idle);
    wick_stream_free(stream);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s MODEL [TEXT]\n", argv[0]);
        return 2;
    }
    wick_model *model = NULL;
    wick_session *session = NULL;
    int failed = wick_model_open(argv[1], NULL, &model) || wick_session_new(model, NULL, &session) ||
                 run(model, session, argc > 2 ? argv[2] : "Once upon a time");
    if (failed) fprintf(stderr, "%s\n", wick_last_error());
    wick_session_free(session);
    wick_model_free(model);
    return failed;
}
