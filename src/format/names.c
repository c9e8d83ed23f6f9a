/* names.c: hash index by open addressing, half full at most.
 * Load: 30 keys to 100,000 tensors, built once, a few lookups per tensor.
 * The names are a stranger's, so the hash starts from a random seed: no file can be made to collide. */
#include "format/names.h"
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static uint64_t hash(uint64_t seed, const char *s, size_t n) {
    uint64_t h = seed ^ n, w;
    while (n) {
        size_t m = n < 8 ? n : 8;
        w = 0;
        memcpy(&w, s, m);
        h = (h ^ w) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
        s += m;
        n -= m;
    }
    h *= seed | 1;
    return h ^ h >> 32;
}

static wk_str name_of(const wk_names *t, size_t i) {
    wk_str s;
    memcpy(&s, t->items + i * t->stride, sizeof s);
    return s;
}

/* The slot that holds this name, or the free one where it belongs. */
static size_t slot_of(const wk_names *t, const char *name, size_t len) {
    size_t k = hash(t->seed, name, len) & (t->n_slot - 1);
    for (; t->slot[k]; k = (k + 1) & (t->n_slot - 1)) {
        wk_str s = name_of(t, t->slot[k] - 1);
        if (s.len == len && !memcmp(s.ptr, name, len)) break;
    }
    return k;
}

wick_status wk_names_build(wk_names *t, const void *items, size_t n, size_t stride, size_t *dup) {
    *t = (wk_names){ .items = items, .n = n, .stride = stride, .n_slot = 4 };
    *dup = n;
    if (n >> 31) return wk_fail(WICK_E_UNSUPPORTED, "%zu names are more than 2^31 - 1", n);
    while (t->n_slot < 2 * n) t->n_slot *= 2;
    if (!(t->slot = wk_alloc_array(t->n_slot, sizeof *t->slot)))
        return wk_fail_memory(t->n_slot * sizeof *t->slot, "an index of names");
    if (getrandom(&t->seed, sizeof t->seed, GRND_NONBLOCK) != sizeof t->seed) t->seed = (uint64_t)time(NULL) * 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < n; i++) {
        wk_str s = name_of(t, i);
        size_t k = slot_of(t, s.ptr, s.len);
        if (t->slot[k] && *dup == n) *dup = i;
        if (!t->slot[k]) t->slot[k] = (uint32_t)i + 1;
    }
    return WICK_OK;
}

void wk_names_free(wk_names *t) {
    wk_free(t->slot);
    *t = (wk_names){ 0 };
}

size_t wk_names_find(const wk_names *t, const char *name, size_t len) {
    return t->n_slot ? (size_t)t->slot[slot_of(t, name, len)] - 1 : SIZE_MAX;
}

wk_shown wk_show(wk_str s) {
    wk_shown r = { { 0 } };
    size_t n = s.len <= 72 ? s.len : 69;
    for (size_t i = 0; i < n; i++) r.text[i] = s.ptr[i] >= ' ' && s.ptr[i] <= '~' ? s.ptr[i] : '?';
    if (n < s.len) memcpy(r.text + n, "...", 3);
    return r;
}

wk_shown wk_show_json(const json_t *v) {
    wk_shown r = { { 0 } };
    wk_str s = { json_string_value(v), json_string_length(v) };
    if (json_is_string(v)) snprintf(r.text, sizeof r.text, "\"%.72s\"", wk_show(s).text);
    else if (json_is_number(v)) snprintf(r.text, sizeof r.text, "%.10g", json_number_value(v));
    else if (json_is_boolean(v)) snprintf(r.text, sizeof r.text, "%s", json_is_true(v) ? "true" : "false");
    else if (json_is_array(v) || json_is_object(v)) snprintf(r.text, sizeof r.text, json_is_array(v) ? "a list" : "an object");
    else snprintf(r.text, sizeof r.text, v ? "null" : "absent");
    return r;
}
