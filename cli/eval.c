/* eval.c: wick eval: perplexity of a text.
 * As llama-perplexity defines it: the text, with BOS where the model adds it, is cut into windows of n tokens that do not
 * overlap, a rest is left out; a model that adds BOS sees it in place of each window's first token; positions n/2 .. n-2
 * of a window are scored on the token after them, so that each has at least half a window before it.
 * Load: thousands of windows, seconds each. */
#include "cli.h"
#include "base/clock.h"
#include "generate/generate.h"
#include <math.h>
#include <string.h>

typedef struct scores { double nll, nll2; int64_t n; } scores;  /* sums over scored tokens */

static double perplexity(const scores *s) { return exp(s->nll / (double)s->n); }

/* The perplexity's standard error, to first order from that of the mean. */
static double uncertainty(const scores *s) {
    double mean = s->nll / (double)s->n, var = s->nll2 / (double)s->n - mean * mean;
    return s->n > 1 && var > 0 ? sqrt(var / (double)(s->n - 1)) * perplexity(s) : 0;
}

/* -log softmax(logits)[id] */
static double neg_log_prob(const float *logits, int n_vocab, int32_t id) {
    float top = logits[0];
    double sum = 0;
    for (int i = 1; i < n_vocab; i++) top = logits[i] > top ? logits[i] : top;
    for (int i = 0; i < n_vocab; i++) sum += (double)expf(logits[i] - top);
    return log(sum) + (double)top - (double)logits[id];
}

/* Runs one window; bos >= 0 stands in place of its first token. */
static int score_window(cli_model *m, const int32_t *ids, int n, int32_t bos, scores *s) {
    wk_runner *r = m->session->runner;
    wk_row *rows = m->session->rows;
    int n_vocab = m->info.n_vocab, n_batch = wk_runner_n_batch(r);
    wk_runner_keep(r, 0, 0);
    wk_runner_expect(r, 0, n);
    for (int from = 0; from < n; from += n_batch) {
        int step = n - from < n_batch ? n - from : n_batch, out = 0;
        for (int i = 0; i < step; i++) {
            int at = from + i;
            rows[i] = (wk_row){ .token = at == 0 && bos >= 0 ? bos : ids[at], .adapter = m->n_adapter ? 0 : -1,
                                .want = at >= n / 2 && at < n - 1 };
        }
        if (interrupted) return EXIT_INTERRUPTED;
        int code = cli_status(wk_runner_step(r, rows, step));
        if (code) return code;
        for (int i = 0; i < step; i++) {
            if (!rows[i].want) continue;
            double nll = neg_log_prob(wk_runner_logits(r, out++), n_vocab, ids[from + i + 1]);
            s->nll += nll;
            s->nll2 += nll * nll;
            s->n++;
        }
    }
    return EXIT_DONE;
}

static void put_progress(const opts *o, int64_t done, int64_t n, double started, const scores *s) {
    double spent = wk_now() - started, left = spent / (double)done * (double)(n - done);
    if (spent < 1) return;
    term_status(o, "window %lld of %lld, perplexity %.4f, %.0f s left", (long long)done, (long long)n, perplexity(s), left);
}

static int put_result(const opts *o, const scores *s, int64_t n_window, int n_ctx, size_t n_token, double seconds) {
    if (!o->output || strcmp(o->output, "json")) {
        char line[160];
        snprintf(line, sizeof line, "perplexity %.4f +/- %.4f over %lld tokens in %lld windows of %d\n", perplexity(s),
                 uncertainty(s), (long long)s->n, (long long)n_window, n_ctx);
        out_str(line);
        return EXIT_DONE;
    }
    wk_buf b = { 0 };
    wk_buf_char(&b, '{');
    put_key(&b, "perplexity");
    wk_json_put_num(&b, perplexity(s));
    put_key(&b, "stderr");
    wk_json_put_num(&b, uncertainty(s));
    put_key(&b, "nll");
    wk_json_put_num(&b, s->nll / (double)s->n);
    put_int(&b, "n_scored", s->n);
    put_int(&b, "n_chunks", n_window);
    put_int(&b, "n_ctx", n_ctx);
    put_int(&b, "n_tokens", (int64_t)n_token);
    put_real(&b, "seconds", seconds);
    put_real(&b, "tokens_per_second", seconds > 0 ? (double)(n_window * n_ctx) / seconds : 0);
    wk_buf_char(&b, '}');
    out_buf(&b);
    return EXIT_DONE;
}

static int evaluate(const opts *o, cli_model *m, const int32_t *ids, size_t n, int32_t bos, int n_ctx) {
    int64_t n_window = (int64_t)n / n_ctx;
    scores s = { 0 };
    if (flag_given(o, chunks) && o->chunks > 0 && o->chunks < n_window) n_window = o->chunks;
    int code = cli_session(o, n_ctx, m);
    double started = wk_now();
    for (int64_t i = 0; !code && i < n_window; i++) {
        code = score_window(m, ids + i * n_ctx, n_ctx, bos, &s);
        if (!code) put_progress(o, i + 1, n_window, started, &s);
    }
    double seconds = wk_now() - started;
    term_status(o, "%s", "");
    return code ? code : put_result(o, &s, n_window, n_ctx, n, seconds);
}

/* The text's ids, with BOS where the model adds it (*bos, else -1) and without a final EOS. */
static int read_ids(const opts *o, cli_model *m, int32_t **ids, size_t *n, int32_t *bos) {
    wk_buf text = { 0 };
    int32_t *bare = NULL;
    size_t n_bare = 0;
    bool found;
    int code = cli_prompt(o, &text, &found);
    if (!code && !found) code = cli_usage("eval needs a text: -f FILE, or text piped in");
    if (!code) code = cli_tokenize(m->model, text.ptr, text.len, WICK_TOK_ADD, ids, n);
    if (!code) code = cli_tokenize(m->model, text.ptr, text.len, 0, &bare, &n_bare);
    size_t before = 0;
    if (!code) before = *n > n_bare && n_bare && memcmp(*ids, bare, n_bare * sizeof *bare) ? 1 : 0;
    if (!code) *bos = before ? (*ids)[0] : -1;
    if (!code && *n > n_bare + before) *n = n_bare + before;
    wk_free(bare);
    wk_buf_free(&text);
    return code;
}

int verb_eval(const opts *o) {
    cli_model m;
    int32_t *ids = NULL, bos = -1;
    size_t n = 0;
    int n_ctx = o->ctx_size ? (int)o->ctx_size : 512;
    int code = cli_open(o, false, &m);
    if (code) return code;
    if (m.info.n_label) code = cli_fail("%s: is a classifier; perplexity needs a model that predicts tokens", o->model);
    if (!code) code = read_ids(o, &m, &ids, &n, &bos);
    if (!code && n < 2 * (size_t)n_ctx)
        code = cli_fail("the text has %zu tokens, two windows of %d need %zu; give more text or a smaller -c", n, n_ctx,
                        2 * (size_t)n_ctx);
    if (!code) code = evaluate(o, &m, ids, n, bos, n_ctx);
    wk_free(ids);
    cli_close(&m);
    return code;
}
