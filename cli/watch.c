/* watch.c: says how far a long prompt has been read, since nothing else is seen until the first token. The library calls
 * back for tokens only, so a thread of its own looks at the session; there is none unless standard error is a terminal. */
#include "cli.h"
#include "base/thread.h"
#include <pthread.h>
#include <unistd.h>

static struct {
    const opts *o;
    const wick_session *s;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool on, done;
} watch = { .lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER };

static void *look(void *arg) {
    enum { FIRST_MS = 1000, THEN_MS = 200 };
    (void)arg;
    pthread_mutex_lock(&watch.lock);
    for (int ms = FIRST_MS; !watch.done; ms = THEN_MS) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += ms * 1000000L;
        t.tv_sec += t.tv_nsec / 1000000000L;
        t.tv_nsec %= 1000000000L;
        int waited = 0;
        while (!watch.done && !waited) waited = pthread_cond_timedwait(&watch.over, &watch.lock, &t);
        if (!watch.done) term_status(watch.o, "reading the prompt, %d tokens so far", wick_session_n_used(watch.s));
    }
    pthread_mutex_unlock(&watch.lock);
    return NULL;
}

void watch_begin(const opts *o, const wick_session *s) {
    if (o->quiet || !isatty(STDERR_FILENO)) return;
    watch.o = o;
    watch.s = s;
    watch.done = false;
    watch.on = !wk_thread_new(&watch.thread, look, NULL);
}

void watch_end(void) {
    if (!watch.on) return;
    pthread_mutex_lock(&watch.lock);
    watch.done = true;
    pthread_cond_signal(&watch.over);
    pthread_mutex_unlock(&watch.lock);
    pthread_join(watch.thread, NULL);
    watch.on = false;
    term_status(watch.o, "%s", "");
}
