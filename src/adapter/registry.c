/* registry.c: a list under a lock. An adapter that is taken out, or whose name another gets, lives on with the sessions that have
 * it. Load: up to some hundreds of names, looked up once a request. */
#include "adapter/registry.h"
#include <pthread.h>
#include <string.h>

typedef struct entry { char *name; wick_adapter *a; } entry;
struct wick_adapters {
    wk_model *m;
    pthread_mutex_t lock;
    entry *e; size_t n, cap;
};

wick_status wk_registry_new(wk_model *m, wk_registry **out) {
    wk_registry *r = *out = wk_alloc(sizeof *r);
    if (!r) return wk_fail_memory(sizeof *r, "a registry of adapters");
    r->m = m;
    pthread_mutex_init(&r->lock, NULL);
    return WICK_OK;
}

void wk_registry_free(wk_registry *r) {
    if (!r) return;
    for (size_t i = 0; i < r->n; i++) {
        wk_adapter_drop(r->e[i].a);
        wk_free(r->e[i].name);
    }
    pthread_mutex_destroy(&r->lock);
    wk_free(r->e);
    wk_free(r);
}

wk_model *wk_registry_model(const wk_registry *r) { return r->m; }

/* SIZE_MAX: nobody has it. Under the lock. */
static size_t find(const wk_registry *r, const char *name) {
    for (size_t i = 0; i < r->n; i++) if (!strcmp(r->e[i].name, name)) return i;
    return SIZE_MAX;
}

wick_status wk_registry_put(wk_registry *r, const char *name, wick_adapter *a) {
    size_t len = strlen(name);
    if (!len || len > WK_ADAPTER_NAME_MAX)
        return wk_fail(WICK_E_ARG, "an adapter's name has %zu bytes, it must have 1 to %d", len, WK_ADAPTER_NAME_MAX);
    if (a->model != r->m) return wk_fail(WICK_E_ARG, "\"%s\" was loaded for another model: load it again for this one", name);
    pthread_mutex_lock(&r->lock);
    size_t i = find(r, name);
    wick_adapter *old = NULL;
    char *own = i == SIZE_MAX ? wk_strdup(name) : NULL;
    bool room = i != SIZE_MAX || (own && wk_grow((void **)&r->e, &r->cap, r->n + 1, sizeof *r->e));
    if (room && i == SIZE_MAX) r->e[r->n++] = (entry){ own, wk_adapter_hold(a) };
    else if (room) {
        old = r->e[i].a;
        r->e[i].a = wk_adapter_hold(a);
    }
    pthread_mutex_unlock(&r->lock);
    wk_adapter_drop(old);
    if (room) return WICK_OK;
    wk_free(own);
    return wk_fail_memory(len, "a registry of adapters");
}

/* Which names there are, for a message. */
static wick_status unknown(wk_registry *r, const char *name) {
    wk_buf names = { 0 };
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n && i < 20; i++) wk_buf_printf(&names, "%s\"%.60s\"", i ? ", " : "", r->e[i].name);
    if (r->n > 20) wk_buf_str(&names, ", ...");
    pthread_mutex_unlock(&r->lock);
    wick_status st = wk_fail(WICK_E_ARG, "no adapter is called \"%.60s\"; loaded are %s", name,
                             names.failed ? "others" : names.len ? names.ptr : "none");
    wk_buf_free(&names);
    return st;
}

wick_status wk_registry_take(wk_registry *r, const char *name) {
    entry gone = { 0 };
    pthread_mutex_lock(&r->lock);
    size_t i = find(r, name);
    if (i != SIZE_MAX) {
        gone = r->e[i];
        memmove(r->e + i, r->e + i + 1, (--r->n - i) * sizeof *r->e);
    }
    pthread_mutex_unlock(&r->lock);
    if (!gone.name) return unknown(r, name);
    wk_adapter_drop(gone.a);
    wk_free(gone.name);
    return WICK_OK;
}

wick_status wk_registry_get(wk_registry *r, const char *name, wick_adapter **out) {
    pthread_mutex_lock(&r->lock);
    size_t i = find(r, name);
    *out = i == SIZE_MAX ? NULL : wk_adapter_hold(r->e[i].a);
    pthread_mutex_unlock(&r->lock);
    return *out ? WICK_OK : unknown(r, name);
}

size_t wk_registry_count(wk_registry *r) {
    pthread_mutex_lock(&r->lock);
    size_t n = r->n;
    pthread_mutex_unlock(&r->lock);
    return n;
}

wick_status wk_registry_at(wk_registry *r, size_t i, char *name, size_t cap, wick_adapter **out) {
    wick_status st = WICK_OK;
    size_t need = 0, n;
    *out = NULL;
    pthread_mutex_lock(&r->lock);
    n = r->n;
    if (i < n && (need = strlen(r->e[i].name) + 1) <= cap) {
        memcpy(name, r->e[i].name, need);
        *out = wk_adapter_hold(r->e[i].a);
    }
    pthread_mutex_unlock(&r->lock);
    if (i >= n) st = wk_fail(WICK_E_END, "adapter %zu: there are %zu", i, n);
    else if (!*out) st = wk_fail(WICK_E_LENGTH, "the adapter's name needs %zu bytes, there are %zu", need, cap);
    return st;
}
