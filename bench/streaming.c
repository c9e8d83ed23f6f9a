/* streaming.c: what handing out tokens costs: streaming MODEL [-n tokens] [-r rounds] [-t threads]. Prints one JSON object:
 *   callback  a generation with a callback beside one without, in turns; and the time inside streaming code, counted in the run
 *   ring      pulled from a ring of 64 on this thread beside a callback, in turns
 *   rings     rings of 1 to 1024
 *   decode    ids to text as they come, beside the whole text decoded anew for each token
 *   allocations  between the first token and the last, by callback and by ring
 * Every way has to give the same ids and the same text, and no allocation: else it says so and exits with 1. Times never fail. */
#include "base/clock.h"
#include "generate/generate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a run gave. */
typedef struct heard {
    wk_buf text;
    int32_t *ids; int n, cap;
    uint64_t allocated_from, allocated_to;  /* wk_alloc_count() at the first token and at the last */
} heard;

typedef struct bench {
    wick_model *model;
    wick_session *session;
    wick_generate_options o;
    int n_round;
    heard first;    /* the run that all others must equal */
    uint64_t n_alloc[2];  /* most between first and last token: callback, ring */
    bool wrong;
} bench;

static const char PROMPT[] = "Once upon a time there was a river that";
enum { USUAL_RING = 64, RING_ROUNDS = 5 };

/* ---- one run ---- */

/* Makes room beforehand, so that what a run allocates is the library's. */
static bool heard_begin(heard *h, int n_token) {
    if (!wk_grow((void **)&h->text.ptr, &h->text.cap, (size_t)n_token * 64, 1)) return false;
    if (h->cap < n_token && !(h->ids = wk_realloc_array(h->ids, (size_t)n_token, sizeof *h->ids))) return false;
    h->cap = n_token;
    h->text.len = 0;
    h->n = 0;
    return true;
}

static bool hear(const wick_token *t, void *user) {
    heard *h = user;
    wk_buf_add(&h->text, t->text, t->n_text);
    if (h->n == h->cap) return false;
    h->ids[h->n++] = t->id;
    h->allocated_to = wk_alloc_count();
    if (h->n == 1) h->allocated_from = h->allocated_to;
    return true;
}

static void heard_free(heard *h) {
    wk_buf_free(&h->text);
    wk_free(h->ids);
}

static int fail(bench *b, const char *what) {
    b->wrong = true;
    return fprintf(stderr, "streaming: %s: %s\n", what, wick_last_error()), -1;
}

/* Generates; ring 0: by callback (none if h is NULL), else pulled on this thread. Seconds, or a negative number. */
static double generate(bench *b, size_t ring, heard *h, wick_result *r) {
    wick_prompt p = { .text = PROMPT };
    wick_session_reset(b->session);
    if (h && !heard_begin(h, b->o.n_predict)) return fail(b, "out of memory");
    double from = wk_now();
    if (!ring) {
        if (wick_generate(b->session, &p, &b->o, h ? hear : NULL, h, r)) return fail(b, "a callback's run");
        return wk_now() - from;
    }
    wick_stream *st;
    wick_token t;
    wick_status status;
    if (wick_stream_new(b->session, &p, &b->o, ring, &st)) return fail(b, "a stream");
    while (!(status = wick_stream_next(st, -1, &t)) && hear(&t, h)) {}
    double took = wk_now() - from;
    wick_stream_result(st, r);
    if (status != WICK_E_END) took = fail(b, "a stream's run");
    wick_stream_free(st);
    return took;
}

/* Holds a run against the first. */
static void compare(bench *b, const heard *h, size_t ring) {
    const heard *a = &b->first;
    uint64_t n = h->allocated_to - h->allocated_from;
    if (n > b->n_alloc[ring != 0]) b->n_alloc[ring != 0] = n;
    if (h->n == a->n && !memcmp(h->ids, a->ids, (size_t)h->n * sizeof *h->ids) && h->text.len == a->text.len
        && !memcmp(h->text.ptr, a->text.ptr, h->text.len))
        return;
    fprintf(stderr, "streaming: a ring of %zu gave other tokens or other text than the callback\n", ring);
    b->wrong = true;
}

/* ---- the parts; each prints a key and its value ---- */

static void callback_part(bench *b, heard *h) {
    printf("{\"tokens\": %d,\n \"callback\": [", b->first.n);
    for (int i = 0; i < b->n_round && !b->wrong; i++) {
        double took[2];  /* without, with; which goes first alternates */
        wick_result r[2];
        for (int j = 0; j < 2; j++) {
            int with = j ^ (i & 1);
            took[with] = generate(b, 0, with ? h : NULL, &r[with]);
        }
        if (!b->wrong) compare(b, h, 0);
        printf("%s\n  {\"without_s\": %.6f, \"with_s\": %.6f, \"stream_s\": %.6f}", i ? "," : "", took[0], took[1], r[1].stream_s);
    }
}

static void ring_part(bench *b, heard *h) {
    printf("],\n \"ring\": [");
    for (int i = 0; i < b->n_round && !b->wrong; i++) {
        double took[2];  /* callback, ring */
        wick_result r;
        for (int j = 0; j < 2; j++) {
            int by_ring = j ^ (i & 1);
            took[by_ring] = generate(b, by_ring ? USUAL_RING : 0, h, &r);
            if (!b->wrong) compare(b, h, by_ring ? USUAL_RING : 0);
        }
        printf("%s\n  {\"callback_s\": %.6f, \"ring_s\": %.6f}", i ? "," : "", took[0], took[1]);
    }
}

static void rings_part(bench *b, heard *h) {
    printf("],\n \"rings\": [");
    int n_round = b->n_round < RING_ROUNDS ? b->n_round : RING_ROUNDS;
    for (int i = 0; i < n_round; i++)
        for (size_t ring = 1; ring <= 1024 && !b->wrong; ring *= 2) {
            wick_result r;
            double took = generate(b, ring, h, &r);
            if (!b->wrong) compare(b, h, ring);
            printf("%s\n  {\"slots\": %zu, \"s\": %.6f}", i || ring > 1 ? "," : "", ring, took);
        }
}

/* A token's share of decoding n tokens, in ns: as they come, from the bytes that each token was found to stand for at open (what
 * sessions do); and by decoding all ids so far anew for each token, which is what a stream is left with without that table. */
static void decode_part(bench *b) {
    const heard *h = &b->first;
    size_t cap = h->text.len + 64, n = 0;
    char *text = wk_alloc(cap);
    wk_buf grown = { 0 };
    wk_decoder d;
    double table = 0, anew = 0;
    if (!text) fail(b, "out of memory");
    for (int round = 0; round < b->n_round && !b->wrong; round++) {
        double from = wk_now();
        grown.len = 0;
        wk_decoder_init(&d, b->model->m->tokenizer, false);
        for (int i = 0; i < h->n; i++) wk_decode(&d, h->ids[i], &grown);
        wk_decode_end(&d, &grown);
        double then = wk_now();
        for (int i = 0; i < h->n && !b->wrong; i++)
            if (wick_detokenize(b->model, h->ids, (size_t)i + 1, false, text, cap, &n)) fail(b, "decoding");
        double now = wk_now();
        if (!b->wrong && (n != grown.len || memcmp(text, grown.ptr, n))) {
            fprintf(stderr, "streaming: decoded as they come, the ids give another text than all at once\n");
            b->wrong = true;
        }
        if (!round || then - from < table) table = then - from;
        if (!round || now - then < anew) anew = now - then;
    }
    printf("],\n \"decode\": {\"table_ns\": %.1f, \"anew_ns\": %.1f},\n", 1e9 * table / h->n, 1e9 * anew / h->n);
    wk_free(text);
    wk_buf_free(&grown);
}

static bool open_model(bench *b, const char *path, int n_thread) {
    wick_model_options mo;
    wick_model_defaults(&mo);
    if (n_thread) mo.n_threads = n_thread;
    if (wick_model_open(path, &mo, &b->model) || wick_session_new(b->model, NULL, &b->session)) return !fail(b, path);
    wick_generate_defaults(b->model, &b->o);
    b->o.temperature = 0;
    b->o.ignore_end = true;
    return true;
}

static int usage(void) { return fprintf(stderr, "usage: streaming MODEL [-n tokens] [-r rounds] [-t threads]\n"), 2; }

int main(int argc, char **argv) {
    bench b = { .n_round = 20 };
    heard h = { 0 };
    wick_result r;
    int n_token = 96, n_thread = 0;
    if (argc < 2 || argc % 2) return usage();
    for (int i = 2; i < argc; i += 2) {
        int value = atoi(argv[i + 1]), *to = !strcmp(argv[i], "-n") ? &n_token
                                           : !strcmp(argv[i], "-r") ? &b.n_round
                                           : !strcmp(argv[i], "-t") ? &n_thread : NULL;
        if (!to || value < 1) return usage();
        *to = value;
    }
    if (open_model(&b, argv[1], n_thread)) {
        b.o.n_predict = n_token;
        generate(&b, 0, &b.first, &r);  /* warms up too */
    }
    if (!b.wrong) callback_part(&b, &h);
    if (!b.wrong) ring_part(&b, &h);
    if (!b.wrong) rings_part(&b, &h);
    if (!b.wrong) decode_part(&b);
    if (!b.wrong) printf(" \"allocations\": {\"callback\": %llu, \"ring\": %llu}}\n", (unsigned long long)b.n_alloc[0],
                         (unsigned long long)b.n_alloc[1]);
    if (b.n_alloc[0] || b.n_alloc[1]) {
        fprintf(stderr, "streaming: memory was allocated between tokens\n");
        b.wrong = true;
    }
    heard_free(&h);
    heard_free(&b.first);
    wick_session_free(b.session);
    wick_model_free(b.model);
    return b.wrong;
}
