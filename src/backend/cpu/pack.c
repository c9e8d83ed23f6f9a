/* pack.c: weights from a file's rows to the interleaved planes of linear.h, in parallel, and back to single rows.
 * A file type is a row of the table below: its layout's columns. 16 rows are woven into a block straight from the file
 * (pack_weave_body.h); or the row names what takes a row's blocks apart for that (pack_take.c). Floats have both, for odd lengths.
 * Load: every weight of a model once, 0.1 to 40 GB, at memory speed; the file's pages are let go every few megabytes, so
 * that the peak is little more than the packed weights. */
#include "backend/cpu/pack.h"
#include "base/file.h"
#include "tensor/quant.h"
#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 4 << 20 };  /* of the file that a thread maps and packs at a time */

static const struct type { wk_layout l; wk_take_fn *take; } types[WK_DTYPE_COUNT] = {
    [WK_F32]    = { { .bits = 32 }, wk_take_plain },
    [WK_F16]    = { { .bits = 16 }, wk_take_plain },  /* or narrow_f16 */
    [WK_BF16]   = { { .bits = 16, .bf16 = true }, wk_take_plain },
    [WK_Q4_0]   = { .l = { .bits = 4, .group = 32, .scale = WK_SCALE_F16, .zero = WK_ZERO_MID } },
    [WK_Q4_1]   = { .l = { .bits = 4, .group = 32, .scale = WK_SCALE_F16, .zero = WK_ZERO_MIN } },
    [WK_Q5_0]   = { .l = { .bits = 5, .group = 32, .scale = WK_SCALE_F16, .zero = WK_ZERO_MID } },
    [WK_Q5_1]   = { .l = { .bits = 5, .group = 32, .scale = WK_SCALE_F16, .zero = WK_ZERO_MIN } },
    [WK_Q8_0]   = { .l = { .bits = 8, .group = 32, .scale = WK_SCALE_F16, .zero = WK_ZERO_MID } },
    [WK_Q2_K]   = { .l = { .bits = 2, .group = 16, .scale = WK_SCALE_NIBBLE, .zero = WK_ZERO_MIN } },
    [WK_Q3_K]   = { .l = { .bits = 3, .group = 16, .scale = WK_SCALE_SIX, .zero = WK_ZERO_MID } },
    [WK_Q4_K]   = { .l = { .bits = 4, .group = 32, .scale = WK_SCALE_SUPER, .zero = WK_ZERO_MIN } },
    [WK_Q5_K]   = { .l = { .bits = 5, .group = 32, .scale = WK_SCALE_SUPER, .zero = WK_ZERO_MIN } },
    [WK_Q6_K]   = { .l = { .bits = 6, .group = 16, .scale = WK_SCALE_SUPER, .zero = WK_ZERO_MID } },
    [WK_IQ4_NL] = { .l = { .bits = 4, .group = 32, .scale = WK_SCALE_F16, .map = wk_iq4_values } },
    [WK_IQ4_XS] = { .l = { .bits = 4, .group = 32, .scale = WK_SCALE_SUPER, .map = wk_iq4_values } },
    [WK_MXFP4]  = { .l = { .bits = 4, .group = 32, .scale = WK_SCALE_E8M0, .map = wk_fp4_values } },
};
/* Float16 whose values bfloat16 holds unchanged, as is true of most models, which were trained in it: half the products' work. */
static const struct type narrow_f16 = { { .bits = 16, .bf16 = true }, .take = wk_take_narrow };
/* Float32 that wk_pack_bf16() rounds. */
static const struct type rounded_f32 = { { .bits = 16, .bf16 = true }, wk_take_bf16 };
/* The other types of numbers become float32, the other types of codes 8 bits with a float32 scale per 32. */
static const struct type other_number = { { .bits = 32 }, .take = wk_take_float };
static const struct type other_code = {
    { .bits = 8, .group = 32, .scale = WK_SCALE_F32, .zero = WK_ZERO_MID }, .take = wk_take_rounded
};

/* ---- planes ---- */

int wk_scale_bytes(const wk_layout *l) {
    static const int bytes[] = {
        [WK_SCALE_F32] = 4, [WK_SCALE_F16] = 2, [WK_SCALE_BF16] = 2, [WK_SCALE_E8M0] = 1, [WK_SCALE_SUPER] = 1,
        [WK_SCALE_NIBBLE] = 1, [WK_SCALE_SIX] = WK_SIX_BYTES  /* of 256 inputs */
    };
    return bytes[l->scale];
}
static int zero_bytes(const wk_layout *l) { return l->zero == WK_ZERO_U8 ? 1 : wk_scale_bytes(l); }

/* Puts a plane of n * m * size bytes at *at, on a 64-byte boundary. False: the sum wraps. */
static bool add_plane(size_t *at, int64_t n, int64_t m, int size, size_t *offset) {
    size_t bytes;
    if (!wk_add_size(*at, 63, at)) return false;
    *offset = *at &= ~(size_t)63;
    return wk_mul_size((size_t)n, (size_t)m, &bytes) && wk_mul_size(bytes, (size_t)size, &bytes) && wk_add_size(*at, bytes, at);
}

static wk_like like_of(const wk_layout *l) {
    static const wk_layout common[WK_N_LIKE] = {
        [WK_LIKE_Q4_0] = WK_LAYOUT_Q4_0, [WK_LIKE_Q4_1] = WK_LAYOUT_Q4_1, [WK_LIKE_Q5_0] = WK_LAYOUT_Q5_0,
        [WK_LIKE_Q5_1] = WK_LAYOUT_Q5_1, [WK_LIKE_Q8_0] = WK_LAYOUT_Q8_0, [WK_LIKE_Q2_K] = WK_LAYOUT_Q2_K,
        [WK_LIKE_Q3_K] = WK_LAYOUT_Q3_K, [WK_LIKE_Q4_K] = WK_LAYOUT_Q4_K, [WK_LIKE_Q5_K] = WK_LAYOUT_Q5_K,
        [WK_LIKE_Q6_K] = WK_LAYOUT_Q6_K,
    };
    if (wk_holds_floats(l)) return WK_LIKE_FLOATS;
    for (int i = WK_LIKE_Q4_0; i <= WK_LIKE_Q6_K; i++) {
        const wk_layout *c = &common[i];
        if (l->bits == c->bits && l->group == c->group && l->scale == c->scale && l->zero == c->zero && l->map == c->map)
            return (wk_like)i;
    }
    return WK_LIKE_CODES;
}

/* Makes *w a weight of this layout with planes of its own, whatever it was. */
static wick_status lay_out(wk_packed *w, const wk_layout *l, int64_t n_out, int64_t n_in, bool permuted) {
    bool codes = !wk_holds_floats(l), super = codes && wk_has_super(l), six = codes && l->scale == WK_SCALE_SIX;
    *w = (wk_packed){ .l = *l, .n_out = n_out, .n_in = n_in, .n_held = n_in, .n_block = n_out / 16 + (n_out % 16 != 0),
                      .like = like_of(l) };
    int unit = n_in < WK_CHUNK ? 2 : WK_CHUNK;
    if (wk_holds_bf16(l)) w->n_held = (n_in + unit - 1) / unit * unit;
    if (l->group) w->n_group = n_in / l->group + (n_in % l->group != 0);
    if (codes) {
        w->n_chunk = n_in / WK_CHUNK;
        w->n_super = super ? n_in / WK_SUPER : 0;
    }
    const struct { bool has; int64_t n, m; int size; void *to; } plane[] = {
        { true, w->n_block, codes ? w->n_chunk : w->n_held, codes ? wk_code_bytes(l) : 2 * l->bits, &w->code },
        { codes && wk_high_bytes(l), w->n_block, w->n_chunk, wk_high_bytes(l), &w->high },
        { l->group > 0, w->n_block, six ? w->n_super : w->n_group, (l->one_scale ? 1 : 16) * wk_scale_bytes(l), &w->scale },
        { codes && l->zero >= WK_ZERO_U8 && l->scale != WK_SCALE_NIBBLE, w->n_block, w->n_group, 16 * zero_bytes(l), &w->zero },
        { super, w->n_block, w->n_super, 32, &w->super },
        { super && l->zero == WK_ZERO_MIN, w->n_block, w->n_super, 32, &w->super_min },
        { permuted, 1, n_in, sizeof(int32_t), &w->perm },
    };
    enum { N_PLANE = sizeof plane / sizeof plane[0] };
    size_t offset[N_PLANE], at = 0;
    bool ok = true;
    for (int i = 0; i < N_PLANE && ok; i++)
        if (plane[i].has) ok = add_plane(&at, plane[i].n, plane[i].m, plane[i].size, &offset[i]);
    if (!ok || !(w->mem = wk_weight_alloc(at, &w->slab))) return wk_fail_memory(ok ? at : SIZE_MAX, "packed weights");
    w->n_bytes = at;
    for (int i = 0; i < N_PLANE; i++) {
        void *p = plane[i].has ? (uint8_t *)w->mem + offset[i] : NULL;
        memcpy(plane[i].to, &p, sizeof p);
    }
    return WICK_OK;
}

wick_status wk_packed_new(const wk_layout *l, int64_t n_out, int64_t n_in, bool permuted, wk_packed **out) {
    wk_packed *w = wk_alloc(sizeof *w);
    *out = NULL;
    if (!w) return wk_fail_memory(sizeof *w, "a packed weight");
    wick_status st = lay_out(w, l, n_out, n_in, permuted);
    if (st) wk_packed_free(w);
    else *out = w;
    return st;
}

void wk_packed_free(wk_packed *w) {
    if (!w) return;
    wk_weight_free(w->slab);
    wk_free(w);
}

int64_t wk_packed_n_out(const wk_packed *w) { return w->n_out; }
int64_t wk_packed_n_in(const wk_packed *w) { return w->n_in; }
size_t wk_packed_bytes(const wk_packed *w) { return w->n_bytes; }

/* ---- packing ---- */

/* A weight to be filled. */
struct wk_pack_job {
    wk_packed *w;
    const wk_dtype_info *d;
    wk_take_fn *take;
    wk_weave_fn *weave;       /* or NULL: by way of parts */
    const uint8_t *data;      /* the matrix's rows */
    size_t row_bytes;
    int32_t *row_from;        /* own copy */
    bool release, narrow;     /* narrow: float16 as bfloat16, as long as no value is lost */
    atomic_bool lost;
};
typedef struct wk_pack_job job;

static int64_t block_bytes(const job *j) { return WK_PACK_ROWS * (int64_t)j->row_bytes; }
static int64_t bytes_of(const job *j) { return j->w->n_block * block_bytes(j); }

/* Packed row r in the file from byte `at` on, or NULL past the last. */
static const uint8_t *source(const job *j, int64_t r, size_t at) {
    return r >= j->w->n_out ? NULL : j->data + (size_t)(j->row_from ? j->row_from[r] : r) * j->row_bytes + at;
}

/* n inputs of 16 rows by way of parts. row: NULL past the last. */
static void take_span(job *j, int64_t block, int64_t span, int n, const uint8_t *const row[16], wk_part part[16]) {
    const wk_weavers *weavers = wk_weavers_here();
    wk_packed *w = j->w;
    size_t code_bytes = (size_t)w->l.bits / 8;
    for (int r = 0; r < 16; r++) {
        if (row[r]) j->take(j->d, row[r], n, &part[r]);
        else memset(&part[r], 0, sizeof part[r]);
        if (row[r] && j->narrow && part[r].lost) atomic_store(&j->lost, true);
        if (n < WK_SUPER) memset(part[r].code + (size_t)n * code_bytes, 0, (size_t)(w->n_held - w->n_in) * code_bytes);
    }
    weavers->codes(w, block, span, part);
    if (w->scale) weavers->scales(w, block, span, part);
}

/* Packs a block of 16 rows, and fetches the next one's bytes meanwhile: 16 rows are too many streams for the processor to see. Into
 * L2: L1 holds hardly more than this block and its copy, and has few places for lines on their way. */
static void pack_block(job *j, int64_t block, wk_part part[16]) {
    static const uint8_t zeros[4 * WK_SUPER];  /* rows past the last */
    const wk_packed *w = j->w;
    size_t span_bytes = (size_t)(WK_SUPER / j->d->block * j->d->bytes), at = 0;
    size_t ahead = span_bytes < j->row_bytes ? span_bytes : j->row_bytes;
    for (int64_t span = 0; span * WK_SUPER < w->n_in; span++, at += span_bytes) {
        int n = (int)(w->n_in - span * WK_SUPER < WK_SUPER ? w->n_in - span * WK_SUPER : WK_SUPER);
        bool straight = (j->weave || j->narrow) && w->n_held == w->n_in;
        const uint8_t *row[16];
        for (int r = 0; r < 16; r++) {
            const uint8_t *next = source(j, block * 16 + 16 + r, at);
            if (next) for (size_t b = 0; b < ahead; b += 64) __builtin_prefetch(next + b, 0, 2);
            row[r] = source(j, block * 16 + r, at);
            if (straight && !row[r]) row[r] = zeros;
        }
        if (straight && j->narrow) {
            if (!wk_weavers_here()->narrow(j->w, block, span, n, row)) atomic_store(&j->lost, true);
        } else if (straight) j->weave(j->w, block, span, n, row);
        else take_span(j, block, span, n, row, part);
    }
}

/* What a thread has passed of a file and not let go of yet. */
typedef struct trail { const uint8_t *from, *to; } trail;

/* Adds [p, p + n), and lets go of what has become a window, or lies elsewhere. Between a layer's weights there are norms, less than
 * a page. */
static void trail_add(trail *t, const uint8_t *p, size_t n) {
    enum { GAP = 4095 };
    bool joins = t->from && p >= t->to && p - t->to <= GAP;
    if (t->from && (!joins || t->to - t->from >= PIECE_BYTES)) wk_file_release(t->from, (size_t)(t->to - t->from)), joins = false;
    if (!joins) t->from = p;
    t->to = p + n;
}

/* Blocks [from, to), a window of the file at a time. */
static void pack_blocks(job *j, int64_t from, int64_t to, trail *passed) {
    wk_part part[16];
    int64_t each = block_bytes(j), step = PIECE_BYTES / each + 1, whole = j->w->n_out * (int64_t)j->row_bytes;
    for (int64_t b = from, end; b < to && !atomic_load(&j->lost); b = end) {
        end = b + step < to ? b + step : to;
        const uint8_t *window = j->data + b * each;
        size_t n = (size_t)((end * each < whole ? end * each : whole) - b * each);
        if (j->release) wk_file_expect(window, n);  /* else it was looked at before */
        for (; b < end; b++) pack_block(j, b, part);
        if (j->release) trail_add(passed, window, n);
    }
}

/* How many of n blocks begin before byte `at`. */
static int64_t blocks_before(const job *j, int64_t at) {
    int64_t each = block_bytes(j), n = at > 0 ? (at + each - 1) / each : 0;
    return n < j->w->n_block ? n : j->w->n_block;
}

/* Whichever thread is free takes the next piece of all jobs' bytes, so that none waits for one that was late or held up. Pages of
 * the file and of packed weights, but for a few, are a thread's own. */
static void pack_share(const wk_team *t, void *arg) {
    wk_packing *p = arg;
    trail passed = { 0 };
    int64_t from, to, at = 0;
    size_t i = 0;
    (void)t;
    while ((from = atomic_fetch_add(&p->next, PIECE_BYTES)) < p->n_bytes) {
        to = from + PIECE_BYTES;
        for (; i < p->n_job && at + bytes_of(&p->job[i]) <= from; i++) at += bytes_of(&p->job[i]);
        int64_t start = at;
        for (size_t k = i; k < p->n_job && start < to; start += bytes_of(&p->job[k]), k++)
            pack_blocks(&p->job[k], blocks_before(&p->job[k], from - start), blocks_before(&p->job[k], to - start), &passed);
    }
    if (passed.from) wk_file_release(passed.from, (size_t)(passed.to - passed.from));
}

static void run_one(wk_pool *pool, job *j) {
    wk_packing p = { .pool = pool, .job = j, .n_job = 1, .cap_job = 1, .n_bytes = bytes_of(j) };
    wk_share_out(pool, pack_share, &p);
}

/* GPTQ and AWQ layers whose inputs are not in regular groups: by way of float32 rows. */
static wick_status pack_irregular(wk_pool *pool, const wk_tensor *t, const int32_t *row_from, wk_packed **out) {
    int64_t n_out = t->shape[0], n_in = t->shape[1];
    size_t n;
    float *rows = wk_mul_size((size_t)n_out, (size_t)n_in, &n) ? wk_alloc_array(n, sizeof *rows) : NULL;
    wk_packed *w = NULL;
    if (!rows) return wk_fail_memory(SIZE_MAX, "a quantised layer's weights");
    for (int64_t r = 0; r < n_out; r++) wk_tensor_row(t, r, rows + r * n_in);
    wick_status st = wk_packed_new(&other_code.l, n_out, n_in, false, &w);
    job j = { .w = w, .d = &wk_dtypes[WK_F32], .take = other_code.take, .data = (const uint8_t *)rows,
              .row_bytes = (size_t)n_in * sizeof *rows, .row_from = (int32_t *)(uintptr_t)row_from };
    if (!st) run_one(pool, &j);
    wk_free(rows);
    *out = w;
    return st;
}

/* Floats that lie input by input: turned over, 16 rows of packed ones at a time so that a line of the file serves them all. */
static wick_status pack_turned(wk_pool *pool, const wk_tensor *t, const int32_t *row_from, bool release, wk_packed **out) {
    enum { ROWS = 16 };
    const wk_parts *p = t->parts;
    int64_t n_out = t->shape[0], n_in = t->shape[1];
    size_t n, size = (size_t)wk_dtypes[t->dtype].bytes, row_bytes = (size_t)n_in * size;
    uint8_t *rows = wk_mul_size((size_t)n_out, row_bytes, &n) ? wk_alloc_aligned(n) : NULL;
    if (!rows) return wk_fail_memory(SIZE_MAX, "a layer's weights");
    for (int64_t r = 0; r < n_out; r += ROWS)
        for (int64_t i = 0; i < n_in; i++)
            for (int64_t k = r; k < r + ROWS && k < n_out; k++)
                memcpy(rows + (size_t)k * row_bytes + (size_t)i * size,
                       p->codes + (size_t)(i * p->n_out + wk_parts_output(p, k)) * size, size);
    wk_tensor plain = *t;
    plain.parts = NULL;
    plain.data = rows;
    plain.n_bytes = n;
    wick_status st = wk_pack(pool, &plain, 0, row_from, false, out);
    wk_free_aligned(rows);
    if (release) wk_file_release(p->codes, (size_t)(p->n_out * n_in) * size);
    return st;
}

static wick_status check(const wk_tensor *t, int64_t m, const struct type *type) {
    int64_t n_in = wk_tensor_cols(t);
    int name = (int)t->name.len;
    if (t->n_dim < 2 || t->n_dim > 3)
        return wk_fail(WICK_E_FORMAT, "tensor \"%.*s\" has %d dimensions; a weight has 2, stacked experts 3", name, t->name.ptr,
                       t->n_dim);
    for (int i = 0; i < t->n_dim; i++)
        if (t->shape[i] < 1 || t->shape[i] > INT32_MAX)
            return wk_fail(WICK_E_FORMAT, "tensor \"%.*s\": dimension %d is %" PRId64 "; 1 to %d can be", name, t->name.ptr, i,
                           t->shape[i], INT32_MAX);
    if (t->n_dim == 3 ? m < 0 || m >= t->shape[0] : m != 0)
        return wk_fail(WICK_E_ARG, "tensor \"%.*s\" has no matrix %" PRId64, name, t->name.ptr, m);
    if (!t->parts && !wk_dtypes[t->dtype].decode)
        return wk_fail(WICK_E_UNSUPPORTED, "tensor \"%.*s\" is of type %s, which weights cannot be", name, t->name.ptr,
                       wk_dtypes[t->dtype].name);
    int unit = wk_holds_floats(&type->l) ? 1 : WK_CHUNK;
    if (wk_dtypes[t->dtype].block > unit) unit = wk_dtypes[t->dtype].block;
    if (n_in % unit)
        return wk_fail(WICK_E_FORMAT, "tensor \"%.*s\" has rows of %" PRId64 "; type %s needs a multiple of %d", name, t->name.ptr,
                       n_in, wk_dtypes[t->dtype].name, unit);
    return WICK_OK;
}

/* 8-bit floats without scales of their own. */
static wick_status pack_f8(wk_pool *pool, const wk_tensor *t, int64_t m, const int32_t *row_from, bool release, wk_packed **out) {
    const float one = 1;
    int64_t n_out = t->shape[t->n_dim - 2], n_in = wk_tensor_cols(t);
    wk_parts p = { .order = WK_CODES_BYTES, .bits = 8, .n_out = n_out, .n_in = n_in, .group = n_in, .rows = n_out, .n_group = 1,
                   .codes = t->data, .scales = (const uint8_t *)&one, .scale_type = WK_F32 };
    wk_tensor apart = *t;
    apart.parts = &p;
    return wk_pack_parts(pool, &apart, m, row_from, release, out);
}

/* Does bfloat16 hold the first row unchanged? Where it holds no other row either, that is known before there is memory. */
static bool first_row_narrow(const job *j, int64_t n_in) {
    wk_part part;
    for (int64_t i = 0; i < n_in; i += WK_SUPER) {
        wk_take_narrow(j->d, j->data + i * j->d->bytes, (int)(n_in - i < WK_SUPER ? n_in - i : WK_SUPER), &part);
        if (part.lost) return false;
    }
    return true;
}

/* Lays j's weight out and puts it on the list, which then owns j's copy of row_from. */
static wick_status add_job(wk_packing *p, const struct type *type, int64_t n_out, int64_t n_in, const int32_t *row_from, job *j,
                           wk_packed **out) {
    if (!wk_grow((void **)&p->job, &p->cap_job, p->n_job + 1, sizeof *p->job)) return wk_fail_memory(sizeof *j, "a weight");
    if (row_from && !(j->row_from = wk_alloc_array((size_t)n_out, sizeof *row_from)))
        return wk_fail_memory((size_t)n_out * sizeof *row_from, "an order of rows");
    if (row_from) memcpy(j->row_from, row_from, (size_t)n_out * sizeof *row_from);
    j->take = type->take;
    wick_status st = wk_packed_new(&type->l, n_out, n_in, false, out);
    if (st) {
        wk_free(j->row_from);
        return st;
    }
    j->w = *out;
    p->n_bytes += bytes_of(j);
    p->job[p->n_job++] = *j;
    return WICK_OK;
}

wick_status wk_packing_add(wk_packing *p, const wk_tensor *t, int64_t m, const int32_t *row_from, bool release, wk_packed **out) {
    const wk_dtype_info *d = &wk_dtypes[t->dtype];
    const struct type *type = types[t->dtype].l.bits ? &types[t->dtype] : d->quantised ? &other_code : &other_number;
    int64_t n_out = t->n_dim >= 2 ? t->shape[t->n_dim - 2] : 1, n_in = wk_tensor_cols(t);
    size_t row_bytes, bytes;
    *out = NULL;
    wick_status st = check(t, m, type);
    if (st) return st;
    if (t->parts && t->parts->order == WK_CODES_FLOATS) return pack_turned(p->pool, t, row_from, release, out);
    if (t->parts) {
        st = wk_pack_parts(p->pool, t, m, row_from, release, out);
        return st || *out ? st : pack_irregular(p->pool, t, row_from, out);
    }
    if (!wk_row_bytes(t->dtype, n_in, &row_bytes) || !wk_mul_size(row_bytes, (size_t)n_out, &bytes) ||
        (uint64_t)(m + 1) > t->n_bytes / bytes)
        return wk_fail(WICK_E_FORMAT, "tensor \"%.*s\" has %" PRIu64 " bytes, fewer than its shape needs", (int)t->name.len,
                       t->name.ptr, t->n_bytes);
    if (t->dtype == WK_F8_E4M3 || t->dtype == WK_F8_E5M2) return pack_f8(p->pool, t, m, row_from, release, out);
    job j = { .d = d, .data = t->data + (size_t)m * bytes, .row_bytes = row_bytes, .release = release };
    j.narrow = t->dtype == WK_F16 && first_row_narrow(&j, n_in);
    if (!j.narrow) j.weave = wk_weavers_here()->file[t->dtype];
    return add_job(p, j.narrow ? &narrow_f16 : type, n_out, n_in, row_from, &j, out);
}

/* Keeps the jobs whose values bfloat16 does not hold after all, as float16 ones. */
static wick_status widen_lost(wk_packing *p) {
    wick_status st = WICK_OK;
    size_t n = 0;
    p->n_bytes = 0;
    for (size_t i = 0; i < p->n_job; i++) {
        job *j = &p->job[i];
        if (!atomic_load(&j->lost) || st) {
            wk_free(j->row_from);
            continue;
        }
        wk_weight_free(j->w->slab);
        st = lay_out(j->w, &types[WK_F16].l, j->w->n_out, j->w->n_in, false);
        j->take = types[WK_F16].take;
        j->weave = wk_weavers_here()->file[WK_F16];
        j->narrow = false;
        atomic_store(&j->lost, false);
        p->n_bytes += bytes_of(j);
        p->job[n++] = *j;
    }
    p->n_job = n;
    return st;
}

static int by_place(const void *a, const void *b) {
    const job *x = a, *y = b;
    return (x->data > y->data) - (x->data < y->data);
}

wick_status wk_packing_run(wk_packing *p) {
    wick_status st = WICK_OK;
    while (!st && p->n_job) {
        qsort(p->job, p->n_job, sizeof *p->job, by_place);
        atomic_store(&p->next, 0);
        wk_share_out(p->pool, pack_share, p);
        st = widen_lost(p);
    }
    return st;
}

void wk_packing_cut(wk_packing *p, size_t n_job) {
    while (p->n_job > n_job) {
        const job *j = &p->job[--p->n_job];
        p->n_bytes -= bytes_of(j);
        wk_free(j->row_from);
    }
}

void wk_packing_free(wk_packing *p) {
    for (size_t i = 0; i < p->n_job; i++) wk_free(p->job[i].row_from);  /* their weights may be gone */
    wk_free(p->job);
    *p = (wk_packing){ .pool = p->pool };
}

/* Packs what was added, *out alone; st: of the adding. */
static wick_status finish_one(wk_packing *p, wick_status st, wk_packed **out) {
    if (!st) st = wk_packing_run(p);
    wk_packing_free(p);
    if (st) wk_packed_free(*out);
    if (st) *out = NULL;
    return st;
}

wick_status wk_pack(wk_pool *pool, const wk_tensor *t, int64_t m, const int32_t *row_from, bool release, wk_packed **out) {
    wk_packing p = { .pool = pool };
    wick_status st = wk_packing_add(&p, t, m, row_from, release, out);
    return finish_one(&p, st, out);
}

wick_status wk_pack_bf16(wk_pool *pool, const wk_tensor *t, wk_packed **out) {
    int64_t n_out = t->shape[0], n_in = wk_tensor_cols(t);
    wk_packing p = { .pool = pool };
    job j = { .d = &wk_dtypes[WK_F32], .data = t->data, .row_bytes = (size_t)n_in * sizeof(float),
              .weave = wk_weavers_here()->rounded };
    *out = NULL;
    wick_status st = check(t, 0, &rounded_f32);
    assert(t->dtype == WK_F32 && t->n_dim == 2 && t->n_bytes >= (size_t)n_out * j.row_bytes);
    if (!st) st = add_job(&p, &rounded_f32, n_out, n_in, NULL, &j, out);
    return finish_one(&p, st, out);
}

/* ---- reading back ---- */

static uint16_t u16_at(const uint8_t *plane, int64_t i) {
    uint16_t v;
    memcpy(&v, plane + 2 * i, 2);
    return v;
}

/* Item i of a plane of scales. */
static float scale_item(wk_scale kind, const uint8_t *plane, int64_t i) {
    union { uint32_t u; float f; } x;
    switch (kind) {
    case WK_SCALE_F16:  return wk_f16_to_f32(u16_at(plane, i));
    case WK_SCALE_BF16: return wk_bf16_to_f32(u16_at(plane, i));
    case WK_SCALE_E8M0: x.u = plane[i] < 2 ? 0x00200000u << plane[i] : (uint32_t)(plane[i] - 1) << 23; return x.f;
    default:            memcpy(&x.f, plane + 4 * i, 4); return x.f;
    }
}

/* Row r's item of the group, or of the 256, that has input p. */
static int64_t group_item(const wk_packed *w, int64_t block, int64_t p, int r) {
    int64_t g = block * w->n_group + p / w->l.group;
    return w->l.one_scale ? g : g * 16 + r;
}
static int64_t super_item(const wk_packed *w, int64_t block, int64_t p, int r) {
    return (block * w->n_super + p / WK_SUPER) * 16 + r;
}

int wk_times_at(const wk_packed *w, int64_t block, int64_t p, int r) {
    int64_t i = group_item(w, block, p, r), g = p % WK_SUPER / w->l.group;
    if (w->l.scale == WK_SCALE_SUPER) return (int8_t)w->scale[i];
    if (w->l.scale == WK_SCALE_NIBBLE) return w->scale[i] & 15;
    const uint8_t *six = w->scale + (block * w->n_super + p / WK_SUPER) * 16 * WK_SIX_BYTES + r;
    return ((six[g % 8 * 16] >> (g / 8 * 4) & 15) | (six[(8 + g % 4) * 16] >> (g / 4 * 2) & 3) << 4) - 32;
}

float wk_super_at(const wk_packed *w, int64_t block, int64_t p, int r) {
    return wk_f16_to_f32(u16_at(w->super, super_item(w, block, p, r)));
}

float wk_scale_at(const wk_packed *w, int64_t block, int64_t p, int r) {
    if (wk_has_super(&w->l)) return wk_super_at(w, block, p, r) * (float)wk_times_at(w, block, p, r);
    return scale_item(w->l.scale, w->scale, group_item(w, block, p, r));
}

float wk_min_at(const wk_packed *w, int64_t block, int64_t p, int r) {
    int64_t i = group_item(w, block, p, r);
    if (!wk_has_min(&w->l)) return 0;
    if (w->l.zero == WK_ZERO_U8) return wk_scale_at(w, block, p, r) * (float)(128 - w->zero[i]);
    if (!wk_has_super(&w->l)) return scale_item(w->l.scale, w->zero, i);
    int min = w->l.scale == WK_SCALE_NIBBLE ? w->scale[i] >> 4 : w->zero[i];
    return -(wk_f16_to_f32(u16_at(w->super_min, super_item(w, block, p, r))) * (float)min);
}

int wk_code_at(const wk_packed *w, int64_t block, int64_t p, int r) {
    const wk_layout *l = &w->l;
    int64_t c = block * w->n_chunk + p / WK_CHUNK;
    int i = (int)(p % WK_CHUNK), q;
    int64_t at = r * 4 + i % 4, pair = i % 8 / 4 * 64 + at;
    if (l->bits == 8) q = w->code[c * 512 + i / 4 * 64 + at];
    else if (l->bits < 4) q = w->code[c * 128 + pair] >> (i / 8 * 2) & 3;
    else q = w->code[c * 256 + i % 16 / 4 * 64 + at] >> (i / 16 * 4) & 15;
    if (l->bits == 6) q |= (w->high[c * 128 + pair] >> (i / 8 * 2) & 3) << 4;
    if (l->bits == 3 || l->bits == 5) q |= (w->high[c * 64 + at] >> (i / 4) & 1) << (l->bits - 1);
    if (l->map) return l->map[q];
    if (wk_has_middle(l)) return q - (1 << (l->bits - 1));
    if (l->zero == WK_ZERO_U8) return q - w->zero[(block * w->n_group + p / l->group) * 16 + r];
    return q;
}

float wk_weight_at(const wk_packed *w, int64_t block, int64_t p, int r) {
    int64_t i = (block * w->n_held + p) * 16 + r, pair = (block * w->n_held + p / 2 * 2) * 16 + 2 * r + p % 2;
    float f;
    if (w->l.eight) {
        f = w->l.eight == WK_EIGHT_E4M3 ? wk_e4m3_to_f32(w->code[i]) : wk_f16_to_f32((uint16_t)(w->code[i] << 8));
        return f * wk_scale_at(w, block, p, r);
    }
    switch (w->l.bits) {
    case 32: memcpy(&f, w->code + 4 * i, 4); return f;
    case 16: return w->l.bf16 ? wk_bf16_to_f32(u16_at(w->code, pair)) : wk_f16_to_f32(u16_at(w->code, i));
    default: f = (float)wk_code_at(w, block, p, r) * wk_scale_at(w, block, p, r);
             return wk_has_min(&w->l) ? f + wk_min_at(w, block, p, r) : f;
    }
}

void wk_packed_row(const wk_packed *w, int64_t o, float *out) {
    assert(o >= 0 && o < w->n_out);
    int64_t block = o / 16;
    int r = (int)(o % 16);
    float scale = 0, min = 0;
    for (int64_t p = 0; p < w->n_in; p++) {
        float *to = &out[w->perm ? w->perm[p] : p];
        if (wk_holds_floats(&w->l)) {
            *to = wk_weight_at(w, block, p, r);
            continue;
        }
        if (p % 16 == 0) scale = wk_scale_at(w, block, p, r), min = wk_min_at(w, block, p, r);
        float v = (float)wk_code_at(w, block, p, r) * scale;
        *to = wk_has_min(&w->l) ? v + min : v;
    }
}

void wk_packed_write(wk_packed *w, int64_t o, const float *in) {
    assert(o >= 0 && o < w->n_out && (w->l.bits == 32 || wk_holds_bf16(&w->l)));
    int64_t block = o / 16 * w->n_held * 16;
    float *to = (float *)(void *)w->code + block + o % 16;
    uint16_t *pair = (uint16_t *)(void *)w->code + block + o % 16 * 2;
    for (int64_t i = 0; i < w->n_in; i++)
        if (w->l.bits == 32) to[16 * i] = in[i];
        else pair[i / 2 * 32 + i % 2] = wk_f32_to_bf16(in[i]);
}
