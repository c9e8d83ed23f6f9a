/* thread.c: the thread pool, and one call aside. Load: a forward pass runs a few hundred steps of 10 us to 10 ms with a
 * barrier after each, so a barrier must cost well under a microsecond when nobody is late. */
#include "base/thread.h"
#include "base/mem.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

struct wk_pool {
    int n;
    int n_spin;                 /* looks before a waiting thread sleeps */
    pthread_t *thread;          /* [n - 1] */
    struct worker { wk_pool *pool; int i; } *worker;
    pthread_mutex_t callers;    /* one run at a time */
    pthread_mutex_t lock;       /* for sleepers */
    pthread_cond_t wake;
    wk_team_fn fn;
    void *arg;
    _Alignas(64) atomic_uint run;      /* counts runs; workers wait for it to change */
    _Alignas(64) atomic_uint arrived;  /* at the present barrier */
    _Alignas(64) atomic_uint phase;    /* counts barriers passed */
    atomic_int sleepers;
    atomic_bool stop;
};

int wk_thread_new(pthread_t *out, void *(*fn)(void *arg), void *arg) {
    /* Those that a thread brings on itself, and a profiler's, must reach it: blocked, a fault ends the process unheard. */
    static const int own[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF };
    sigset_t others, before;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&others, own[i]);
    pthread_sigmask(SIG_BLOCK, &others, &before);
    int failed = pthread_create(out, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

enum { SPINS = 1000 };

/* Waits until *a differs from old: spins for some 20 us, then sleeps on the condition. Where there are more threads than cores
 * whoever spins keeps from its core those that it waits for: there it sleeps at once. */
static unsigned wait_change(wk_pool *p, atomic_uint *a, unsigned old) {
    unsigned now;
    for (int i = 0; i < p->n_spin; i++) {
        if ((now = atomic_load_explicit(a, memory_order_acquire)) != old) return now;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while ((now = atomic_load(a)) == old) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
    return now;
}

/* Advances *a and wakes whoever sleeps on it. */
static void advance(wk_pool *p, atomic_uint *a) {
    atomic_fetch_add(a, 1);
    if (atomic_load(&p->sleepers)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

void wk_team_barrier(const wk_team *t) {
    wk_pool *p = t->pool;
    if (p->n == 1) return;
    unsigned phase = atomic_load_explicit(&p->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&p->arrived, 1, memory_order_acq_rel) + 1 == (unsigned)p->n) {
        atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
        advance(p, &p->phase);
    } else {
        wait_change(p, &p->phase, phase);
    }
}

static void *work(void *arg) {
    struct worker *w = arg;
    wk_pool *p = w->pool;
    for (unsigned seen = 0;;) {
        seen = wait_change(p, &p->run, seen);
        if (atomic_load(&p->stop)) return NULL;
        wk_team t = { p, w->i, p->n };
        p->fn(&t, p->arg);
        wk_team_barrier(&t);
    }
}

void wk_pool_run(wk_pool *p, wk_team_fn fn, void *arg) {
    pthread_mutex_lock(&p->callers);
    p->fn = fn;
    p->arg = arg;
    wk_team t = { p, 0, p->n };
    if (p->n > 1) advance(p, &p->run);
    fn(&t, arg);
    wk_team_barrier(&t);
    pthread_mutex_unlock(&p->callers);
}

void wk_share_out(wk_pool *p, wk_team_fn fn, void *arg) {
    if (p) wk_pool_run(p, fn, arg);
    else fn(&(wk_team){ NULL, 0, 1 }, arg);
}

void wk_team_share(const wk_team *t, int64_t n, int64_t step, int64_t *from, int64_t *to) {
    int64_t steps = (n + step - 1) / step;
    *from = steps * t->i / t->n * step;
    *to = steps * (t->i + 1) / t->n * step;
    if (*from > n) *from = n;
    if (*to > n) *to = n;
}

int wk_n_cores(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

wick_status wk_pool_new(int n, wk_pool **out) {
    *out = NULL;
    if (n < 0 || n > 1024) return wk_fail(WICK_E_ARG, "%d threads: 1 to 1024 can be asked for, or 0 for one per core", n);
    wk_pool *p = wk_alloc_aligned(sizeof *p);
    if (!p) return wk_fail_memory(sizeof *p, "a thread pool");
    *p = (wk_pool){ .n = 1 };
    pthread_mutex_init(&p->callers, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    if (!n) n = wk_n_cores();
    p->n_spin = n > wk_n_cores() ? 0 : SPINS;
    if (n > 1) {
        p->thread = wk_alloc_array((size_t)n - 1, sizeof *p->thread);
        p->worker = wk_alloc_array((size_t)n - 1, sizeof *p->worker);
    }
    bool ok = n == 1 || (p->thread && p->worker);
    p->n = n;  /* workers read it: set before the first starts */
    int started = 0;
    for (; ok && started < n - 1; started++) {
        p->worker[started] = (struct worker){ p, started + 1 };
        if (wk_thread_new(&p->thread[started], work, &p->worker[started])) break;
    }
    if (started == n - 1) {
        *out = p;
        return WICK_OK;
    }
    p->n = started + 1;  /* no run was started, so none of them has read n yet */
    wk_pool_free(p);
    return wk_fail(WICK_E_MEMORY, "could not start %d threads", n);
}

void wk_pool_free(wk_pool *p) {
    if (!p) return;
    if (p->n > 1) {
        atomic_store(&p->stop, true);
        advance(p, &p->run);
        for (int i = 0; i < p->n - 1; i++) pthread_join(p->thread[i], NULL);
    }
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->callers);
    wk_free(p->thread);
    wk_free(p->worker);
    wk_free_aligned(p);
}

int wk_pool_n(const wk_pool *p) { return p->n; }

static void *run_aside(void *arg) {
    wk_aside *a = arg;
    a->st = a->fn(a->arg);
    if (a->st) a->error = wk_strdup(wick_last_error());
    return NULL;
}

void wk_aside_start(wk_aside *a, wick_status (*fn)(void *arg), void *arg) {
    *a = (wk_aside){ .fn = fn, .arg = arg };
    a->apart = !wk_thread_new(&a->thread, run_aside, a);
    if (!a->apart) run_aside(a);
}

wick_status wk_aside_join(wk_aside *a) {
    if (a->apart) pthread_join(a->thread, NULL);
    if (a->st && a->error) wk_fail(a->st, "%s", a->error);
    else if (a->st) wk_fail_memory(1, "a message");
    wk_free(a->error);
    return a->st;
}
