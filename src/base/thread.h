/* thread.h: threads, and the one pool of them. All threads of the pool run the same function on their own share; inside it they
 * meet at barriers. Waiting spins briefly, then sleeps, so that an idle program costs nothing. */
#ifndef WK_THREAD_H
#define WK_THREAD_H
#include "base/status.h"
#include <pthread.h>

/* As pthread_create with default attributes. Signals that a process gets from outside are left to the threads of the program:
 * a thread that waits for one would sleep on if a worker of ours ran the handler. */
int wk_thread_new(pthread_t *out, void *(*fn)(void *arg), void *arg);

typedef struct wk_pool wk_pool;
/* One thread's place in a run. */
typedef struct wk_team { wk_pool *pool; int i, n; } wk_team;
typedef void (*wk_team_fn)(const wk_team *t, void *arg);

/* Cores (as the system counts them) that this process may use, at least 1. */
int wk_n_cores(void);
/* n threads, the caller's included; 0: one per core that this process may use. Errors  WICK_E_ARG (n outside 0..1024),
 * WICK_E_MEMORY. */
wick_status wk_pool_new(int n, wk_pool **out);
void wk_pool_free(wk_pool *p);
int wk_pool_n(const wk_pool *p);
/* Runs fn on every thread and returns when all are done. Callers from several threads take turns. */
void wk_pool_run(wk_pool *p, wk_team_fn fn, void *arg);
/* The same, or without a pool by the caller alone. */
void wk_share_out(wk_pool *p, wk_team_fn fn, void *arg);
/* Waits until every thread of the team is here. */
void wk_team_barrier(const wk_team *t);
/* This thread's share of [0, n), cut at multiples of step: *from .. *to. */
void wk_team_share(const wk_team *t, int64_t n, int64_t step, int64_t *from, int64_t *to);

/* One call beside the caller's own work: on a thread of its own, or at once where there can be none. */
typedef struct wk_aside {
    wick_status (*fn)(void *arg);
    void *arg;
    wick_status st;
    char *error;  /* its message, as messages are kept per thread */
    pthread_t thread;
    bool apart;
} wk_aside;
void wk_aside_start(wk_aside *a, wick_status (*fn)(void *arg), void *arg);
/* Waits for it. Returns what fn returned; if it failed its message becomes this thread's. */
wick_status wk_aside_join(wk_aside *a);

#endif
