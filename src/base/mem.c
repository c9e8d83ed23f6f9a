/* mem.c: allocation with injected failure and a count, arenas, growing strings. */
#include "base/mem.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_uint_fast64_t n_alloc, fail_at, n_live;

/* Counts one allocation; true if this is the one that has to fail. */
static bool injected(void) {
    uint64_t n = atomic_fetch_add_explicit(&n_alloc, 1, memory_order_relaxed) + 1;
    return n == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

void wk_alloc_fail_at(uint64_t k) { atomic_store(&fail_at, k ? atomic_load(&n_alloc) + k : 0); }
uint64_t wk_alloc_count(void) { return atomic_load(&n_alloc); }
uint64_t wk_alloc_live(void) { return atomic_load(&n_live); }

/* A fresh block, or NULL, as it is given out. */
static void *given(void *p) {
    if (p) atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    return p;
}

void *wk_alloc(size_t n) { return n && !injected() ? given(calloc(1, n)) : NULL; }

void *wk_alloc_array(size_t n, size_t size) {
    size_t total;
    return wk_mul_size(n, size, &total) ? wk_alloc(total) : NULL;
}

void *wk_realloc_array(void *p, size_t n, size_t size) {
    size_t total;
    if (!wk_mul_size(n, size, &total) || !total || injected()) return NULL;
    return p ? realloc(p, total) : given(realloc(NULL, total));
}

void *wk_alloc_table(size_t n, size_t size) {
    void *p = wk_realloc_array(NULL, n, size);
    if (p) memset(p, 0, n * size);
    return p;
}

void *wk_alloc_aligned(size_t n) {
    enum { HUGE_PAGE = 2 << 20 };
    void *p = NULL;
    if (!n || n > SIZE_MAX - HUGE_PAGE || injected()) return NULL;
    if (posix_memalign(&p, n >= 2 * HUGE_PAGE ? HUGE_PAGE : 64, n)) return NULL;
    if (n >= 2 * HUGE_PAGE) madvise(p, n, MADV_HUGEPAGE);  /* advice: refusal is fine */
    return given(p);
}

void wk_free(void *p) {
    if (p) atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    free(p);
}
void wk_free_aligned(void *p) { wk_free(p); }

char *wk_strdup_n(const char *s, size_t n) {
    char *p = n < SIZE_MAX ? wk_alloc(n + 1) : NULL;
    if (p && n) memcpy(p, s, n);
    return p;
}

char *wk_strdup(const char *s) { return wk_strdup_n(s, strlen(s)); }

bool wk_grow(void **p, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t n = *cap ? *cap : 16;
    while (n < need) {
        if (n > SIZE_MAX / 2) return false;
        n *= 2;
    }
    void *q = wk_realloc_array(*p, n, size);
    if (!q) return false;
    *p = q;
    *cap = n;
    return true;
}

void wk_buf_add(wk_buf *b, const void *p, size_t n) {
    size_t need;
    if (b->failed) return;
    if (b->limit && (n > b->limit || b->len > b->limit - n)) {
        b->failed = b->full = true;
        return;
    }
    if (!wk_add_size(b->len, n, &need) || !wk_add_size(need, 1, &need) || !wk_grow((void **)&b->ptr, &b->cap, need, 1)) {
        b->failed = true;
        return;
    }
    if (n) memcpy(b->ptr + b->len, p, n);
    b->len += n;
    b->ptr[b->len] = 0;
}

void wk_buf_str(wk_buf *b, const char *s) { wk_buf_add(b, s, strlen(s)); }
void wk_buf_char(wk_buf *b, char c) { wk_buf_add(b, &c, 1); }

void wk_buf_printf(wk_buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && !b->failed && wk_grow((void **)&b->ptr, &b->cap, b->len + (size_t)n + 1, 1)) {
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    } else {
        b->failed = true;
    }
    va_end(again);
}

void wk_buf_free(wk_buf *b) {
    wk_free(b->ptr);
    *b = (wk_buf){ 0 };
}

struct wk_arena_block {
    struct wk_arena_block *next;
    size_t used, cap;
    _Alignas(16) char data[];
};

void *wk_arena_alloc(wk_arena *a, size_t n) {
    enum { BLOCK = 16384 };
    if (n > SIZE_MAX / 2) return NULL;
    n = (n + 15) & ~(size_t)15;
    if (!a->head || a->head->cap - a->head->used < n) {
        size_t cap = n > BLOCK ? n : BLOCK;
        struct wk_arena_block *b = wk_alloc(sizeof *b + cap);
        if (!b) return NULL;
        b->cap = cap;
        b->next = a->head;
        a->head = b;
    }
    void *p = a->head->data + a->head->used;
    a->head->used += n;
    return p;
}

char *wk_arena_str(wk_arena *a, const char *s, size_t n) {
    char *p = n < SIZE_MAX ? wk_arena_alloc(a, n + 1) : NULL;
    if (p && n) memcpy(p, s, n);
    return p;
}

void wk_arena_free(wk_arena *a) {
    for (struct wk_arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        wk_free(b);
    }
    a->head = NULL;
}

bool wk_str_eq(wk_str a, const char *b) { return strlen(b) == a.len && !memcmp(a.ptr, b, a.len); }
