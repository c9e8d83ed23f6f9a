/* state.c: a trainer's state as bytes, in the machine's order (little-endian everywhere that wick runs):
 *   "WKTRAIN1", length of the print, the print, counters n_update, n_micro, n_gathered, n (u64 each), w, g, then the moments
 *   that the optimiser keeps (float32 [n] each), and a checksum of all that (u64).
 * The print is a line that says what was trained and how; two runs with the same print go on alike. */
#include "train/trainer_parts.h"
#include <string.h>

static const char MAGIC[] = "WKTRAIN1";
enum { MAX_PRINT = 1024 };

uint64_t wk_state_sum(const void *p, size_t n, uint64_t h) {
    for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)p)[i]) * 0x100000001b3u;
    return h;
}

/* A number that stands for the parameters' places and shapes, and for what an adapter that was begun from counts in each. */
static uint64_t shapes_of(const wk_trainer *t) {
    uint64_t h = WK_STATE_SUM;
    for (size_t i = 0; i < t->n_param; i++) {
        const wk_train_param *p = &t->pub[i];
        int64_t v[] = { p->kind, p->layer, p->role, p->n_row, p->n_col };
        h = wk_state_sum(v, sizeof v, h);
    }
    for (size_t i = 0; i < t->data.n_module; i++) {
        double alpha = t->data.module[i].alpha;
        if (alpha != t->o.alpha) h = wk_state_sum(&alpha, sizeof alpha, h ^ i);
    }
    return h;
}

static void print_of(const wk_trainer *t, wk_buf *b) {
    const wk_trainer_options *o = &t->o;
    const wk_optimizer *p = &o->optimizer;
    static const char *const tune[] = { "lora", "dora", "full" }, *const opt[] = { "adamw", "sgd", "lion" };
    const char *root = t->data.rslora ? " over its root" : "";
    wk_buf_printf(b, "%s, %zu parameters in %zu arrays (%016llx), rank %d, alpha %.17g%s, dropout %.17g, ", tune[o->fine_tune],
                  t->n, t->n_param, (unsigned long long)shapes_of(t), o->rank, o->alpha, root, o->dropout);
    wk_buf_printf(b, "%s (%.17g, %.17g, %.17g, %.17g, %.17g), ", opt[p->kind], p->beta1, p->beta2, p->eps, p->momentum,
                  p->weight_decay);
    wk_buf_printf(b, "norm %.17g, smoothing %.17g, seed %llu", o->max_grad_norm, o->label_smoothing, (unsigned long long)o->seed);
}

static void put(wk_buf *b, uint64_t v) { wk_buf_add(b, &v, sizeof v); }

wick_status wk_trainer_save(const wk_trainer *t, wk_buf *out) {
    size_t from = out->len, bytes = t->n * sizeof(float);
    const float *array[] = { t->w, t->g, t->m1, t->m2 };
    wk_buf print = { 0 };
    print_of(t, &print);
    wk_buf_add(out, MAGIC, 8);
    put(out, print.len);
    wk_buf_add(out, print.ptr, print.len);
    put(out, t->n_update);
    put(out, t->n_micro);
    put(out, t->n_gathered);
    put(out, t->n);
    for (size_t i = 0; i < sizeof array / sizeof *array; i++) if (array[i]) wk_buf_add(out, array[i], bytes);
    if (!out->failed) put(out, wk_state_sum(out->ptr + from, out->len - from, WK_STATE_SUM));
    bool ok = !print.failed && !out->failed;
    wk_buf_free(&print);
    return ok ? WICK_OK : wk_fail_memory(bytes * 4, "a training's state");
}

/* Cuts n bytes off the front. */
static const uint8_t *take(const uint8_t **at, size_t *left, size_t n) {
    const uint8_t *p = *at;
    if (*left < n) return NULL;
    *at += n;
    *left -= n;
    return p;
}

static bool take_u64(const uint8_t **at, size_t *left, uint64_t *v) {
    const uint8_t *p = take(at, left, sizeof *v);
    if (p) memcpy(v, p, sizeof *v);
    return p != NULL;
}

static wick_status cut_off(size_t n) {
    return wk_fail(WICK_E_FORMAT, "a training's state of %zu bytes is cut off or damaged", n);
}

static wick_status check_print(const wk_trainer *t, const uint8_t *found, size_t n) {
    wk_buf print = { 0 };
    wick_status st = WICK_OK;
    print_of(t, &print);
    if (print.failed) st = wk_fail_memory(MAX_PRINT, "a training's state");
    else if (print.len != n || memcmp(print.ptr, found, n))
        st = wk_fail(WICK_E_ARG, "the state is of another training:\n  it is   %.*s\n  this is %s", (int)n, (const char *)found,
                     print.ptr);
    wk_buf_free(&print);
    return st;
}

wick_status wk_trainer_restore(wk_trainer *t, const void *bytes, size_t n) {
    const uint8_t *at = bytes, *print;
    size_t left = n < 8 ? 0 : n - 8, size = t->n * sizeof(float);
    uint64_t n_print, count[4], sum;
    const uint8_t *magic = take(&at, &left, 8);
    if (!magic || memcmp(magic, MAGIC, 8)) return wk_fail(WICK_E_FORMAT, "these %zu bytes are no state of a training", n);
    memcpy(&sum, (const uint8_t *)bytes + n - 8, sizeof sum);
    if (sum != wk_state_sum(bytes, n - 8, WK_STATE_SUM) || !take_u64(&at, &left, &n_print) || n_print > MAX_PRINT ||
        !(print = take(&at, &left, n_print)))
        return cut_off(n);
    wick_status st = check_print(t, print, n_print);
    if (st) return st;
    for (int i = 0; i < 4; i++) if (!take_u64(&at, &left, &count[i])) return cut_off(n);
    float *array[] = { t->w, t->g, t->m1, t->m2 };
    if (count[3] != t->n || left != size * (2 + (size_t)wk_optimizer_n_moment(&t->o.optimizer))) return cut_off(n);
    for (int i = 0; i < 4; i++) if (array[i]) memcpy(array[i], take(&at, &left, size), size);
    t->n_update = count[0];
    t->n_micro = count[1];
    t->n_gathered = count[2];
    for (size_t i = 0; !st && i < t->n_param; i++) {
        if (t->pub[i].kind == WK_PARAM_MAGNITUDE) st = wk_dora_lengths(t, i);
        if (!st) st = wk_trained_write(t, i);
    }
    return st;
}
