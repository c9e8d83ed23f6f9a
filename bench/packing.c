/* packing.c: how fast a model's file becomes packed weights, beside how fast the same threads copy it.
 *   bench/packing MODEL [PAIRS [THREADS]]   copies and packs in turns
 *   bench/packing MODEL copy|pack [THREADS]   one of them once, for a profiler
 * copy: the mapped file's bytes into fresh memory, in huge pages where there are such, as packed weights lie. pack: what opening
 * a model does past its header and without its text, through the CPU backend. The file is in the system's cache (it is read once
 * before); each is measured once in a process of its own, so that no memory is used again.
 * What a virtual machine's host grants changes within seconds, up to tenfold, so a pack counts only between two copies that agree
 * within 15 %, and is held against their mean; a copy and a pack before all that bring the host's memory in. Tries end at PAIRS
 * (5) that count, or at four times as many. Prints one line of JSON: bytes of the file; seconds of [copy before, pack, copy after]
 * of those that count, how many were tried, the median of copy / pack, and the most memory that a pack held. */
#include "base/clock.h"
#include "base/file.h"
#include "model/bind.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(wick_status st) {
    if (!st) return;
    fprintf(stderr, "packing: %s\n", wick_last_error());
    exit(1);
}

/* Reads the file once; its size. */
static size_t warm(const char *path) {
    static char buffer[1 << 20];
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) need(wk_fail(WICK_E_IO, "%s cannot be opened", path));
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) size += (size_t)n;
    close(fd);
    return size;
}

typedef struct copying { const uint8_t *from; uint8_t *to; size_t size; } copying;

static void copy_share(const wk_team *t, void *arg) {
    const copying *c = arg;
    int64_t from, to;
    wk_team_share(t, (int64_t)c->size, 2 << 20, &from, &to);
    memcpy(c->to + from, c->from + from, (size_t)(to - from));
}

static double copy(const char *path, int n_thread) {
    wk_file f;
    wk_pool *pool;
    need(wk_pool_new(n_thread, &pool));
    double at = wk_now();
    need(wk_file_map(&f, path));
    copying c = { f.data, wk_alloc_aligned(f.size), f.size };
    if (!c.to) need(wk_fail_memory(f.size, "a copy"));
    wk_pool_run(pool, copy_share, &c);
    double took = wk_now() - at;
    wk_free_aligned(c.to);
    wk_file_unmap(&f);
    wk_pool_free(pool);
    return took;
}

static double pack(const char *path, int n_thread) {
    wk_model *m = wk_alloc(sizeof *m);
    if (!m) need(wk_fail_memory(sizeof *m, "a model"));
    need(wk_cpu_new(n_thread, &m->backend));
    need(wk_checkpoint_open(path, false, &m->ckpt));
    need(wk_hparams_read(m->ckpt, &m->hp));
    double at = wk_now();
    need(wk_model_bind(m, NULL, NULL));
    double took = wk_now() - at;
    wk_model_free(m);
    return took;
}

typedef struct measured { double seconds; long peak; } measured;

/* One copy or pack in a process of its own. */
static measured measure(const char *path, bool packs, int n_thread) {
    measured m = { 0 };
    int end[2], status;
    fflush(stdout);
    if (pipe(end)) need(wk_fail(WICK_E_IO, "no pipe"));
    pid_t child = fork();
    if (child < 0) need(wk_fail(WICK_E_IO, "no process"));
    if (!child) {
        struct rusage use;
        m.seconds = packs ? pack(path, n_thread) : copy(path, n_thread);
        getrusage(RUSAGE_SELF, &use);
        m.peak = use.ru_maxrss * 1024;
        _exit(write(end[1], &m, sizeof m) != sizeof m);
    }
    close(end[1]);
    bool ok = read(end[0], &m, sizeof m) == sizeof m;
    close(end[0]);
    if (waitpid(child, &status, 0) != child || status || !ok) need(wk_fail(WICK_E_IO, "a measurement failed"));
    return m;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void turns(const char *path, size_t size, int n_pair, int n_thread) {
    enum { MOST = 100 };
    double ratio[MOST];
    int n = 0, tried = 0;
    long peak = 0;
    if (n_pair > MOST) n_pair = MOST;
    measure(path, false, n_thread);
    measure(path, true, n_thread);
    printf("{\"bytes\": %zu, \"counted\": [", size);
    for (double before = measure(path, false, n_thread).seconds, after; n < n_pair && tried < 4 * n_pair; tried++, before = after) {
        measured m = measure(path, true, n_thread);
        after = measure(path, false, n_thread).seconds;
        if (m.peak > peak) peak = m.peak;
        if (after > 1.15 * before || before > 1.15 * after) continue;
        printf("%s[%.6f, %.6f, %.6f]", n ? ", " : "", before, m.seconds, after);
        ratio[n++] = (before + after) / 2 / m.seconds;
    }
    qsort(ratio, (size_t)n, sizeof *ratio, ascending);
    printf("], \"tried\": %d, \"ratio\": %.3f, \"peak\": %ld}\n", tried,
           n ? (ratio[n / 2] + ratio[(n - 1) / 2]) / 2 : 0, peak);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "packing MODEL [PAIRS [THREADS]]\npacking MODEL copy|pack [THREADS]\n");
        return 2;
    }
    int n_thread = argc > 3 ? atoi(argv[3]) : 0;
    const char *what = argc > 2 ? argv[2] : "5";
    size_t size = warm(argv[1]);
    if (!strcmp(what, "copy")) printf("%.6f\n", copy(argv[1], n_thread));
    else if (!strcmp(what, "pack")) printf("%.6f\n", pack(argv[1], n_thread));
    else turns(argv[1], size, atoi(what), n_thread);
    return 0;
}
