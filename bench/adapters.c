/* adapters.c: adapters MODEL [ROUNDS]: what an adapter costs, and what changing it costs. Random adapters on all seven projections,
 * ranks 16 (cost in generation and in a prompt of 512) and 8 (loading; also on q and v alone). A line of JSON for each number:
 *   {"what":"generate","base":..,"adapter":..,"share":..,"low":..,"high":..,"pairs":..,"thirds":[..]}
 *      seconds a token without and with it, medians; share: median of the pairs' ratios less one, the quartiles,
 *      and medians of the first, second and last third of the pairs
 * A pair is one pass without and one with it, a token or a prompt, the first of them by turns: what the machine's other
 * tenants do for longer than that meets both. */
#include "adapter/lora_data.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "generate/generate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_PROMPT = 512, N_GEN = 64, MAX_ROUNDS = 101, MAX_PAIRS = MAX_ROUNDS * N_GEN, N_SWAP = 100000 };

static void must(wick_status st) {
    if (!st) return;
    fprintf(stderr, "adapters: %s\n", wick_last_error());
    exit(1);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

static float *noise(int64_t n, float size, uint64_t *state) {
    float *x = wk_alloc_array((size_t)n, sizeof *x);
    if (!x) must(wk_fail_memory((size_t)n * sizeof *x, "an adapter"));
    for (int64_t i = 0; i < n; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        x[i] = size * ((float)(int32_t)(*state >> 32) / 2147483648.0f);
    }
    return x;
}

/* A random adapter of a rank, of all projections or of q and v alone. */
static wk_lora_data *make(const wk_model *m, int rank, bool all) {
    wk_lora_data *d = wk_alloc(sizeof *d);
    uint64_t state = (uint64_t)rank;
    d->module = wk_alloc_array((size_t)m->hp.n_layer * 7, sizeof *d->module);
    for (int layer = 0; layer < m->hp.n_layer; layer++)
        for (int role = WK_T_Q; role <= WK_T_DOWN; role++) {
            wk_lora_module x = { .layer = layer, .role = (wk_role)role, .rank = rank, .alpha = 2.0 * rank };
            if (!all && role != WK_T_Q && role != WK_T_V) continue;
            if (!wk_lora_sizes(m, layer, x.role, &x.n_in, &x.n_out)) continue;
            x.a = noise(rank * x.n_in, 0.02f, &state);
            x.b = noise(rank * x.n_out, 0.02f, &state);
            d->module[d->n_module++] = x;
        }
    return d;
}

/* Seconds of a prompt, or of the next token. */
static double run(wk_runner *r, bool prompt, bool adapter) {
    static wk_row rows[N_PROMPT];
    int n = prompt ? N_PROMPT : 1;
    for (int i = 0; i < n; i++) rows[i] = (wk_row){ 100 + i * 71 % 1000, 0, adapter ? 0 : -1, i == n - 1 };
    if (prompt) wk_runner_keep(r, 0, 0);
    double from = wk_now();
    must(wk_runner_step(r, rows, n));
    return wk_now() - from;
}

/* n pairs of passes. */
static void cost(wk_runner *r, bool prompt, int n) {
    static double base[MAX_PAIRS], with[MAX_PAIRS], share[MAX_PAIRS], third[3];
    for (int i = 0; i < n; i++) {
        if (!prompt && i % N_GEN == 0) {
            wk_runner_keep(r, 0, 0);
            for (int k = 0; k < 8; k++) run(r, false, k % 2);
        }
        for (int k = 0; k < 2; k++) *((k + i) % 2 ? &with[i] : &base[i]) = run(r, prompt, (k + i) % 2);
        share[i] = with[i] / base[i] - 1;
    }
    for (int k = 0; k < 3; k++) third[k] = median(share + n * k / 3, n * (k + 1) / 3 - n * k / 3);
    double s = median(share, n), b = median(base, n), w = median(with, n);
    printf("{\"what\":\"%s\",\"base\":%.6f,\"adapter\":%.6f,\"share\":%.4f,\"low\":%.4f,\"high\":%.4f,\"pairs\":%d,"
           "\"thirds\":[%.4f,%.4f,%.4f]}\n",
           prompt ? "prompt" : "generate", b, w, s, share[n / 4], share[n * 3 / 4], n, third[0], third[1], third[2]);
    fflush(stdout);
}

static void costs(wk_model *m, int rounds) {
    wk_runner *r;
    wick_adapter *a;
    wk_lora_data *d = make(m, 16, true);
    must(wk_adapter_from_data(m, d, &a));
    must(wk_runner_new(m, N_PROMPT, N_PROMPT, 1, WK_F16, &r));
    const wk_lora_set *sets[] = { &a->set };
    wk_runner_adapters(r, sets, 1);
    run(r, true, true);
    cost(r, false, rounds * N_GEN);
    cost(r, true, rounds);
    wk_runner_free(r);
    wk_adapter_drop(a);
    wk_lora_data_free(d);
}

static void load(wick_model *m, int rounds, bool all) {
    char folder[] = "/tmp/wick-bench-XXXXXX";
    double t[MAX_ROUNDS], read[MAX_ROUNDS];
    wick_adapter *a;
    wk_lora_data *d = make(m->m, 8, all), *got;
    must(wk_lora_sample_base(m->m, d));
    if (!mkdtemp(folder)) exit(1);
    must(wk_lora_write(m->m, d, folder, WK_LORA_PEFT));
    wk_lora_data_free(d);
    for (int i = 0; i < rounds; i++) {
        double from = wk_now();
        must(wick_adapter_load(m, folder, &a));
        t[i] = wk_now() - from;
        wick_adapter_free(a);
        from = wk_now();
        must(wk_lora_read(m->m, folder, &got));
        read[i] = wk_now() - from;
        wk_lora_data_free(got);
    }
    double s = median(t, rounds);
    printf("{\"what\":\"load %s\",\"seconds\":%.6f,\"read\":%.6f}\n", all ? "all" : "q v", s, median(read, rounds));
    wk_folder_remove(folder);
}

static double resident_mb(void) {
    long pages = 0, ignored;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &ignored, &pages) != 2) pages = 0;
    if (f) fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

/* Swaps between two adapters of a session that holds a prompt; every thousandth is followed by a token. */
static void swap(wick_model *m) {
    static double t[N_SWAP];
    wick_session *s;
    wick_adapter *a[2];
    float *logits;
    for (int i = 0; i < 2; i++) {
        wk_lora_data *d = make(m->m, 8 << i, false);
        must(wk_adapter_from_data(m->m, d, &a[i]));
        wk_lora_data_free(d);
    }
    wick_session_options o;
    wick_session_defaults(&o);
    o.n_ctx = 256;
    must(wick_session_new(m, &o, &s));
    logits = malloc((size_t)m->m->hp.n_vocab * sizeof *logits);
    must(wick_session_apply_adapter(s, a[0], 1));
    must(wick_logits(s, &(int32_t){ 7 }, 1, logits, (size_t)m->m->hp.n_vocab));
    must(wick_session_apply_adapter(s, a[1], 1));
    must(wick_logits(s, &(int32_t){ 7 }, 1, logits, (size_t)m->m->hp.n_vocab));
    for (int i = 0; i < N_SWAP; i++) t[i] = 1;  /* its pages are none of the swaps' */
    uint64_t live = wk_alloc_live(), count = wk_alloc_count();
    double before = resident_mb();
    before = resident_mb();  /* nor are those that looking takes the first time */
    for (int i = 0; i < N_SWAP; i++) {
        double from = wk_now();
        must(wick_session_apply_adapter(s, a[i % 2], 1));
        t[i] = wk_now() - from;
        if (i % 1000 == 0) must(wick_logits(s, &(int32_t){ 7 }, 1, logits, (size_t)m->m->hp.n_vocab));
    }
    double after = resident_mb(), middle = median(t, N_SWAP);
    printf("{\"what\":\"swap\",\"median_us\":%.3f,\"p99_us\":%.3f,\"n\":%d,\"grew_mb\":%.3f,\"allocations\":%llu,\"kept\":%lld}\n",
           middle * 1e6, t[N_SWAP / 100 * 99] * 1e6, N_SWAP, after - before,
           (unsigned long long)(wk_alloc_count() - count), (long long)(wk_alloc_live() - live));
    free(logits);
    wick_session_free(s);
    wick_adapter_free(a[0]);
    wick_adapter_free(a[1]);
}

int main(int argc, char **argv) {
    wick_model_options o;
    wick_model *m;
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    if (argc < 2 || rounds < 1 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "adapters MODEL [ROUNDS]\n");
        return 2;
    }
    wick_model_defaults(&o);
    if (getenv("WICK_BENCH_THREADS")) o.n_threads = atoi(getenv("WICK_BENCH_THREADS"));
    must(wick_model_open(argv[1], &o, &m));
    costs(m->m, rounds);
    load(m, rounds, false);
    load(m, rounds, true);
    swap(m);
    wick_model_free(m);
    return 0;
}
