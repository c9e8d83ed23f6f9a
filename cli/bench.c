/* bench.c: wick bench: tokens per second of reading a prompt and of generating.
 * As llama-bench measures: made-up tokens, an empty context each time, a warm-up, no sampling; a prompt runs in batches
 * with the last row's logits, generation a token at a time. Mean and sample standard deviation of -r rounds. */
#include "cli.h"
#include "base/clock.h"
#include "generate/generate.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LENGTHS = 16 };
typedef struct lengths { int n[MAX_LENGTHS], count; } lengths;
typedef struct measure { int n_prompt, n_gen, rounds; double *rate; double mean, stddev; } measure;

/* "128,512": 0 stands for none. */
static int parse_lengths(const char *flag_name, const char *text, lengths *out) {
    for (const char *p = text;; p++) {
        char *end;
        long v = strtol(p, &end, 10);
        if (end == p || (*end && *end != ',') || v < 0 || v > 1 << 20 || out->count == MAX_LENGTHS)
            return cli_usage("%s takes up to %d lengths from 0 to 2^20, as 128,512, not \"%s\"", flag_name, MAX_LENGTHS, text);
        if (v) out->n[out->count++] = (int)v;
        if (!*end) return EXIT_DONE;
        p = end;
    }
}

/* Some token for position i: a fixed sequence, so that every round and every run does the same. */
static int32_t token_at(int i, int n_vocab) {
    uint32_t x = (uint32_t)i * 2654435761u + 12345u;
    return (int32_t)((x >> 8) % (uint32_t)n_vocab);
}

/* Appends n tokens, at_once at a time, to an empty context. */
static int run_once(cli_model *m, int n, int at_once) {
    wk_runner *r = m->session->runner;
    wk_row *rows = m->session->rows;
    wk_runner_keep(r, 0, 0);
    wk_runner_expect(r, 0, n);
    for (int from = 0; from < n; from += at_once) {
        int step = n - from < at_once ? n - from : at_once;
        for (int i = 0; i < step; i++)
            rows[i] = (wk_row){ .token = token_at(from + i, m->info.n_vocab), .adapter = m->n_adapter ? 0 : -1,
                                .want = i == step - 1 };
        if (interrupted) return EXIT_INTERRUPTED;
        int code = cli_status(wk_runner_step(r, rows, step));
        if (code) return code;
    }
    return EXIT_DONE;
}

static int take(const opts *o, cli_model *m, measure *x) {
    int n = x->n_prompt + x->n_gen, at_once = x->n_gen ? 1 : wk_runner_n_batch(m->session->runner), code = EXIT_DONE;
    if (!o->no_warmup) {
        term_status(o, "%s %d, warming up", x->n_gen ? "generating" : "prompt of", n);
        code = run_once(m, x->n_gen ? 1 : n, at_once);
    }
    for (int i = 0; !code && i < x->rounds; i++) {
        term_status(o, "%s %d, round %d of %d", x->n_gen ? "generating" : "prompt of", n, i + 1, x->rounds);
        double started = wk_now();
        code = run_once(m, n, at_once);
        x->rate[i] = n / (wk_now() - started);
    }
    term_status(o, "%s", "");
    for (int i = 0; i < x->rounds; i++) x->mean += x->rate[i] / x->rounds;
    for (int i = 0; i < x->rounds; i++) x->stddev += (x->rate[i] - x->mean) * (x->rate[i] - x->mean);
    x->stddev = x->rounds > 1 ? sqrt(x->stddev / (x->rounds - 1)) : 0;
    return code;
}

/* ---- output ---- */

static void put_model(wk_buf *b, const opts *o, const cli_model *m) {
    put_key(b, "model");
    wk_buf_char(b, '{');
    put_str(b, "path", o->model);
    put_str(b, "name", m->info.name);
    put_str(b, "architecture", m->info.architecture);
    put_str(b, "types", m->info.types);
    put_int(b, "n_params", (int64_t)m->info.n_params);
    put_int(b, "n_bytes_file", (int64_t)m->info.n_bytes_file);
    put_int(b, "n_bytes_weights", (int64_t)m->info.n_bytes_weights);
    wk_buf_char(b, '}');
    put_int(b, "n_threads", wk_pool_n(m->model->m->backend->pool));
    put_int(b, "n_batch", wk_runner_n_batch(m->session->runner));
    put_str(b, "backend", m->model->m->backend->ops->name);
}

static void put_measure(wk_buf *b, const measure *x) {
    put_int(b, "n_prompt", x->n_prompt);
    put_int(b, "n_gen", x->n_gen);
    put_real(b, "tokens_per_second", x->mean);
    put_real(b, "stddev", x->stddev);
    put_key(b, "samples");
    wk_buf_char(b, '[');
    for (int i = 0; i < x->rounds; i++) put_real(b, NULL, x->rate[i]);
    wk_buf_char(b, ']');
}

static void put_json(const opts *o, const cli_model *m, const measure *x, int n, bool lines) {
    wk_buf b = { 0 };
    for (int i = 0; lines && i < n; i++) {
        wk_buf_str(&b, i ? "\n{" : "{");
        put_measure(&b, &x[i]);
        put_model(&b, o, m);
        put_machine(&b);
        wk_buf_char(&b, '}');
    }
    if (!lines) {
        wk_buf_str(&b, "{\"results\":[");
        for (int i = 0; i < n; i++) {
            put_key(&b, NULL);
            wk_buf_char(&b, '{');
            put_measure(&b, &x[i]);
            wk_buf_char(&b, '}');
        }
        wk_buf_char(&b, ']');
        put_model(&b, o, m);
        put_machine(&b);
        wk_buf_char(&b, '}');
    }
    out_buf(&b);
}

static void put_csv(const cli_model *m, const measure *x, int n) {
    wk_buf b = { 0 };
    wk_buf_str(&b, "n_prompt,n_gen,n_threads,tokens_per_second,stddev");
    for (int i = 0; i < n; i++)
        wk_buf_printf(&b, "\n%d,%d,%d,%.4f,%.4f", x[i].n_prompt, x[i].n_gen, wk_pool_n(m->model->m->backend->pool), x[i].mean,
                      x[i].stddev);
    out_buf(&b);
}

static void put_table(const opts *o, const cli_model *m, const measure *x, int n) {
    wk_buf b = { 0 };
    char size[32], params[32];
    const char *slash = strrchr(o->model, '/'), *pm = term_utf8() ? "\u00b1" : "+/-";
    const char *name = *m->info.name ? m->info.name : slash && slash[1] ? slash + 1 : o->model;
    wk_buf_str(&b, "| model | size | params | threads | test | tok/s |\n| --- | ---: | ---: | ---: | ---: | ---: |");
    for (int i = 0; i < n; i++)
        wk_buf_printf(&b, "\n| %s | %s | %s | %d | %s%d | %.2f %s %.2f |", name, show_bytes(m->info.n_bytes_file, size),
                      show_count(m->info.n_params, params), wk_pool_n(m->model->m->backend->pool), x[i].n_gen ? "tg" : "pp",
                      x[i].n_prompt + x[i].n_gen, x[i].mean, pm, x[i].stddev);
    out_buf(&b);
}

int verb_bench(const opts *o) {
    measure x[2 * MAX_LENGTHS] = { 0 };
    lengths prompt = { 0 }, gen = { 0 };
    cli_model m = { 0 };
    int n = 0, longest = 0, rounds = o->repetitions ? (int)o->repetitions : 5;
    int code = parse_lengths("-p", o->n_prompt ? o->n_prompt : "512", &prompt);
    if (!code) code = parse_lengths("-n", o->n_gen ? o->n_gen : "128", &gen);
    for (int i = 0; i < prompt.count; i++) x[n++] = (measure){ .n_prompt = prompt.n[i] };
    for (int i = 0; i < gen.count; i++) x[n++] = (measure){ .n_gen = gen.n[i] };
    if (!code && !n) code = cli_usage("-p 0 and -n 0 leave nothing to measure");
    double *rates = wk_alloc_array((size_t)n * (size_t)rounds, sizeof *rates);
    if (!code && !rates) code = cli_fail("out of memory");
    for (int i = 0; i < n; i++) {
        x[i].rounds = rounds;
        x[i].rate = rates + i * rounds;
        if (x[i].n_prompt + x[i].n_gen > longest) longest = x[i].n_prompt + x[i].n_gen;
    }
    if (!code) code = cli_open(o, false, &m);
    if (!code) code = cli_session(o, longest, &m);
    for (int i = 0; !code && i < n; i++) code = take(o, &m, &x[i]);
    const char *form = o->output ? o->output : "md";
    if (code) ;  /* said already */
    else if (!strcmp(form, "json") || !strcmp(form, "jsonl")) put_json(o, &m, x, n, form[4]);
    else if (!strcmp(form, "csv")) put_csv(&m, x, n);
    else put_table(o, &m, x, n);
    cli_close(&m);
    wk_free(rates);
    return code;
}
