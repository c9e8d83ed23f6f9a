/* pack_mem.c: memory for packed weights: slabs of huge pages, so that the kernel hands out 2 MB at a touch, not 4 KB: fresh
 * small pages come at 2 GB/s, huge ones at 10. Load: some 300 weights a model, mostly of 0.1 to 10 MB, made one after the
 * other and freed together. A slab goes when the last weight in it does. */
#include "backend/cpu/pack.h"
#include "backend/cpu/unroll.h"
#include <pthread.h>

struct wk_slab {
    uint8_t *mem;
    size_t used, size;
    int n_user;
};

#if defined(WK_SANITIZED)
enum { SLAB_BYTES = 0 };  /* each weight by itself, with guards around it */
#else
enum { SLAB_BYTES = 32 << 20 };
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct wk_slab *current;  /* the one that small weights are put into */

static struct wk_slab *slab_new(size_t size) {
    struct wk_slab *s = wk_alloc(sizeof *s);
    if (!s) return NULL;
    *s = (struct wk_slab){ .mem = wk_alloc_aligned(size), .size = size };
    if (s->mem) return s;
    wk_free(s);
    return NULL;
}

/* A slab with room for n bytes, or NULL. */
static struct wk_slab *slab_for(size_t n) {
    if (n > SLAB_BYTES / 2) return slab_new(n);
    if (current && current->size - current->used >= n) return current;
    struct wk_slab *s = slab_new(SLAB_BYTES);
    if (s) current = s;
    return s;
}

void *wk_weight_alloc(size_t n, struct wk_slab **slab) {
    void *p = NULL;
    if (n > SIZE_MAX - 63) return NULL;
    n = (n + 63) & ~(size_t)63;
    pthread_mutex_lock(&lock);
    struct wk_slab *s = slab_for(n);
    if (s) {
        p = s->mem + s->used;
        s->used += n;
        s->n_user++;
    }
    pthread_mutex_unlock(&lock);
    *slab = s;
    return p;
}

wick_status wk_spare_new(size_t n, wk_spare **out) {
    enum { PAGE = 4096 };  /* at least */
    *out = NULL;
    if (n > SLAB_BYTES / 2) n = SLAB_BYTES / 2;
    if (!n) return WICK_OK;
    pthread_mutex_lock(&lock);  /* meanwhile nobody takes what is written over */
    struct wk_slab *s = slab_for(n);
    for (size_t i = 0; s && i < n; i += PAGE) ((volatile uint8_t *)s->mem)[s->used + i] = 0;
    if (s) s->n_user++;
    pthread_mutex_unlock(&lock);
    *out = (wk_spare *)s;
    return s ? WICK_OK : wk_fail_memory(n, "weights");
}

void wk_weight_free(struct wk_slab *s) {
    if (!s) return;
    pthread_mutex_lock(&lock);
    bool last = --s->n_user == 0;
    if (last && s == current) current = NULL;
    pthread_mutex_unlock(&lock);
    if (!last) return;
    wk_free_aligned(s->mem);
    wk_free(s);
}

void wk_spare_free(wk_spare *s) { wk_weight_free((struct wk_slab *)s); }
