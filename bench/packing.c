/* packing.c: how fast a model's file becomes packed weights, beside how fast the same threads copy it.
 *   bench/packing MODEL copy|pack [THREADS]
 * copy: the mapped file's bytes into fresh memory, in huge pages where there are such, as packed weights lie. pack: what opening
 * a model does past its header and without its text, through the CPU backend. The file is in the system's cache (it is read once
 * before); a process measures once, so that no memory is used again. Prints one line of JSON: bytes of the file, seconds, the
 * most memory that the process held. */
#include "base/clock.h"
#include "base/file.h"
#include "model/bind.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "packing MODEL copy|pack [THREADS]\n");
        return 2;
    }
    int n_thread = argc > 3 ? atoi(argv[3]) : 0;
    size_t size = warm(argv[1]);
    double took = strcmp(argv[2], "pack") ? copy(argv[1], n_thread) : pack(argv[1], n_thread);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("{\"bytes\": %zu, \"seconds\": %.6f, \"peak\": %ld}\n", size, took, use.ru_maxrss * 1024);
    return 0;
}
