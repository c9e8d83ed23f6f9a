/* stream.c: a generation on a thread of its own, pulled from through a bounded ring. The ring has a mutex and two
 * conditions; whoever waits sleeps on one. Slots own their text and trade it with the reader's by pointer, so a token is
 * copied once and a slot is free the moment it was taken. Load: 10 to 1000 tokens a second, a few bytes each. */
#include "base/clock.h"
#include "base/thread.h"
#include "generate/generate.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MAX_RING = 65536, USUAL_TEXT = 64 };

typedef struct slot {
    wick_token t;
    char *text; size_t cap;
    wick_top_logprob *top;      /* [n_top_logprobs] */
} slot;

struct wick_stream {
    wk_job job;
    pthread_t thread;
    int fd;                     /* an eventfd: not zero while next() would not wait */
    char *texts;                /* what slots' texts are at first, USUAL_TEXT each */
    wick_top_logprob *tops;

    pthread_mutex_t lock;       /* of all below */
    pthread_cond_t filled, drained;
    slot *ring; size_t n_ring, head, n;
    slot taken;                 /* the reader's, until its next call */
    bool closing, done, signalled;
    wick_status status;         /* what ended it, once done */
    wick_result result;
    char message[WK_MESSAGE];
};

/* Makes the descriptor readable or not, to match; with the lock held. */
static void signal_fd(wick_stream *st) {
    bool ready = st->n || st->done;
    uint64_t one = 1;
    ssize_t n = 0;
    if (ready == st->signalled) return;
    if (ready) n = write(st->fd, &one, sizeof one);
    else n = read(st->fd, &one, sizeof one);
    if (n == sizeof one) st->signalled = ready;  /* cannot fail: the count is 0 or 1, and only we change it */
}

/* ---- the generating side ---- */

static bool own_text(const wick_stream *st, const slot *s) {
    return s->text < st->texts || s->text >= st->texts + (st->n_ring + 1) * USUAL_TEXT;
}

/* Room for n bytes and a NUL; texts that grew stay grown. */
static bool grow_text(wick_stream *st, slot *s, size_t n) {
    if (n < s->cap) return true;
    size_t cap = s->cap;
    while (cap <= n) cap *= 2;
    char *text = wk_alloc(cap);
    if (!text) return false;
    if (own_text(st, s)) wk_free(s->text);
    s->text = text;
    s->cap = cap;
    return true;
}

static bool put(const wick_token *t, void *user, double *waited_s) {
    wick_stream *st = user;
    pthread_mutex_lock(&st->lock);
    if (st->n == st->n_ring && !st->closing) {
        double from = wk_now();
        while (st->n == st->n_ring && !st->closing) pthread_cond_wait(&st->drained, &st->lock);
        *waited_s = wk_now() - from;
    }
    slot *s = &st->ring[(st->head + st->n) % st->n_ring];
    bool ok = !st->closing && grow_text(st, s, t->n_text);
    if (ok) {
        s->t = *t;
        memcpy(s->text, t->text, t->n_text + 1);
        if (t->n_top) memcpy(s->top, t->top, t->n_top * sizeof *s->top);
        st->n++;
        signal_fd(st);
        pthread_cond_signal(&st->filled);
    } else if (!st->closing) {
        st->status = WICK_E_MEMORY;
    }
    pthread_mutex_unlock(&st->lock);
    return ok;
}

static void *generate(void *arg) {
    wick_stream *st = arg;
    wick_result r;
    wick_status status = wk_job_run(&st->job, put, st, &r);
    pthread_mutex_lock(&st->lock);
    if (st->status) status = wk_fail_memory(USUAL_TEXT, "a stream's text");
    st->status = status;
    st->result = r;
    strncpy(st->message, wick_last_error(), sizeof st->message - 1);
    st->done = true;
    signal_fd(st);
    pthread_cond_signal(&st->filled);
    pthread_mutex_unlock(&st->lock);
    return NULL;
}

/* ---- the reading side ---- */

static void make_locks(wick_stream *st) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&st->lock, NULL);
    pthread_cond_init(&st->filled, &monotonic);
    pthread_cond_init(&st->drained, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static wick_status make_ring(wick_stream *st, size_t n_ring, size_t n_top) {
    st->n_ring = n_ring;
    st->ring = wk_alloc_array(n_ring, sizeof *st->ring);
    st->texts = wk_alloc_array(n_ring + 1, USUAL_TEXT);
    if (n_top) st->tops = wk_alloc_array((n_ring + 1) * n_top, sizeof *st->tops);
    if (!st->ring || !st->texts || (n_top && !st->tops)) return wk_fail_memory(n_ring * sizeof *st->ring, "a stream");
    for (size_t i = 0; i <= n_ring; i++)
        *(i < n_ring ? &st->ring[i] : &st->taken) = (slot){ .text = st->texts + i * USUAL_TEXT,
                                                            .cap = USUAL_TEXT,
                                                            .top = n_top ? st->tops + i * n_top : NULL };
    return WICK_OK;
}

static void free_ring(wick_stream *st) {
    for (size_t i = 0; st->ring && st->texts && i <= st->n_ring; i++) {
        slot *s = i < st->n_ring ? &st->ring[i] : &st->taken;
        if (s->text && own_text(st, s)) wk_free(s->text);
    }
    wk_free(st->ring);
    wk_free(st->texts);
    wk_free(st->tops);
}

static void free_parts(wick_stream *st) {
    free_ring(st);
    wk_job_free(&st->job);
    if (st->fd >= 0) close(st->fd);
    pthread_cond_destroy(&st->filled);
    pthread_cond_destroy(&st->drained);
    pthread_mutex_destroy(&st->lock);
    wk_free(st);
}

wick_status wick_stream_new(wick_session *s, const wick_prompt *p, const wick_generate_options *o, size_t n_ring,
                            wick_stream **out) {
    wk_clear_error();
    if (!out) return wk_fail(WICK_E_ARG, "wick_stream_new: out is NULL");
    *out = NULL;
    if (!s) return wk_fail(WICK_E_ARG, "wick_stream_new: the session is NULL");
    if (n_ring < 1 || n_ring > MAX_RING) return wk_fail(WICK_E_ARG, "n_ring is %zu, it can be 1 to %d", n_ring, MAX_RING);
    wick_stream *st = wk_alloc(sizeof *st);
    if (!st) return wk_fail_memory(sizeof *st, "a stream");
    make_locks(st);
    st->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    wick_status status = st->fd < 0 ? wk_fail(WICK_E_IO, "no descriptor for a stream: %s", strerror(errno)) : WICK_OK;
    if (!status) status = wk_job_new(&st->job, s, p, o);
    if (!status) status = make_ring(st, n_ring, (size_t)st->job.o.n_top_logprobs);
    if (!status) status = wk_session_enter(s);
    if (!status && (errno = wk_thread_new(&st->thread, generate, st))) {
        wk_session_leave(s);
        status = wk_fail(WICK_E_MEMORY, "no thread for a stream: %s", strerror(errno));
    }
    if (status) free_parts(st);
    else *out = st;
    return status;
}

/* Waits for a token or the end; timeout_ms as in wick.h. With the lock held. */
static bool wait_filled(wick_stream *st, int timeout_ms) {
    struct timespec until;
    if (timeout_ms > 0) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += timeout_ms / 1000;
        until.tv_nsec += timeout_ms % 1000 * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
    }
    while (!st->n && !st->done) {
        if (timeout_ms < 0) pthread_cond_wait(&st->filled, &st->lock);
        else if (!timeout_ms || pthread_cond_timedwait(&st->filled, &st->lock, &until) == ETIMEDOUT) return st->n || st->done;
    }
    return true;
}

wick_status wick_stream_next(wick_stream *st, int timeout_ms, wick_token *out) {
    wick_status status = WICK_OK;
    wk_clear_error();
    if (!st || !out) return wk_fail(WICK_E_ARG, "wick_stream_next: %s is NULL", st ? "out" : "the stream");
    pthread_mutex_lock(&st->lock);
    if (!wait_filled(st, timeout_ms)) {
        status = wk_fail(WICK_E_TIMEOUT, "no token within %d ms", timeout_ms);
    } else if (st->n) {
        slot *s = &st->ring[st->head], was = st->taken;
        st->taken = *s;
        *s = was;
        st->head = (st->head + 1) % st->n_ring;
        st->n--;
        signal_fd(st);
        pthread_cond_signal(&st->drained);
        *out = st->taken.t;
        out->text = st->taken.text;
        out->top = out->n_top ? st->taken.top : NULL;
    } else if (st->status) {
        status = wk_fail(st->status, "%s", st->message);
    } else {
        status = wk_fail(WICK_E_END, "the stream has ended");
    }
    pthread_mutex_unlock(&st->lock);
    return status;
}

int wick_stream_fd(const wick_stream *st) { return st ? st->fd : -1; }

void wick_stream_result(const wick_stream *st, wick_result *result) {
    if (!result) return;
    *result = (wick_result){ 0 };
    if (!st) return;
    wick_stream *shared = (wick_stream *)st;  /* the lock is no part of what a reader sees */
    pthread_mutex_lock(&shared->lock);
    if (st->done) *result = st->result;
    pthread_mutex_unlock(&shared->lock);
}

void wick_stream_free(wick_stream *st) {
    if (!st) return;
    pthread_mutex_lock(&st->lock);
    st->closing = true;
    if (!st->done) wick_session_cancel(st->job.s);
    pthread_cond_signal(&st->drained);
    pthread_mutex_unlock(&st->lock);
    pthread_join(st->thread, NULL);
    wk_session_leave(st->job.s);
    free_parts(st);
}
