/* pack_parts.c: packs weights whose codes, zeros and scales lie apart, straight from their arrays.
 * Layouts: tensor/parts.h; ours: linear.h. GPTQ's and AWQ's codes lie by input, outputs side by side, and their scales and zeros
 * [group][output], as our planes do. With desc_act, g_idx sends inputs to groups in any order: inputs are sorted by group, so
 * that a group is contiguous again, and activations are permuted the same way.
 * Load: 5 to 60 GB at most; every word is read once. */
#include "backend/cpu/pack.h"
#include "base/file.h"
#include <string.h>

typedef struct job {
    wk_packed *w;
    const wk_parts *p;
    int64_t first;            /* the matrix's first output, of stacked ones counted through by the tensor */
    const int32_t *row_from;
} job;

/* Which output packed row r is; -1: past the last. */
static int64_t output(const job *j, int64_t r) {
    return r >= j->w->n_out ? -1 : wk_parts_output(j->p, j->first + (j->row_from ? j->row_from[r] : r));
}

/* ---- codes ---- */

/* Eight nibbles, lowest first, to eight bytes. */
static uint64_t spread(uint32_t w) {
    uint64_t x = w;
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    return (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
}

/* The nibbles of output o and inputs [i, i + 8), lowest first, where they lie so. */
static uint32_t word_at(const wk_parts *p, int64_t o, int64_t i) {
    return wk_get_u32(p->order == WK_CODES_FP4 ? p->codes + (o * p->n_in + i) / 2 : p->codes + 4 * (i / 8 * p->n_out + o));
}

static void take_words(const wk_parts *p, int64_t o, int64_t i, uint8_t out[16]) {
    for (int k = 0; k < 2; k++) {
        uint64_t v = spread(word_at(p, o, i + 8 * k)) | spread(word_at(p, o, i + 16 + 8 * k)) << 4;
        memcpy(out + 8 * k, &v, 8);
    }
}

/* Codes of inputs [i, i + 32) one by one; perm: those inputs of the file. */
static void take_each(const wk_parts *p, const int32_t *perm, int64_t o, int64_t i, uint8_t c[WK_CHUNK]) {
    if (p->order == WK_CODES_AWQ) {
        const uint8_t *word = p->codes + 4 * (i * (p->n_out / 8) + o / 8);
        for (int k = 0; k < WK_CHUNK; k++, word += p->n_out / 2) c[k] = wk_get_u32(word) >> wk_awq_shift(o) & 15;
        return;
    }
    for (int k = 0; k < WK_CHUNK; k++) c[k] = (uint8_t)wk_parts_code(p, o, perm ? perm[i + k] : i + k);
}

/* A chunk in the order of the planes. */
static void take_chunk(const job *j, int64_t o, int64_t i, uint8_t *out) {
    const wk_parts *p = j->p;
    uint8_t c[WK_CHUNK];
    if (p->bits == 4 && p->order != WK_CODES_AWQ && !j->w->perm) {
        take_words(p, o, i, out);
        return;
    }
    take_each(p, j->w->perm, o, i, c);
    if (p->bits == 8) memcpy(out, c, sizeof c);
    else for (int k = 0; k < 16; k++) out[k] = (uint8_t)(c[k] | c[k + 16] << 4);
}

static void pack_codes(const job *j, int64_t block, wk_part part[16]) {
    wk_packed *w = j->w;
    int chunk_bytes = w->l.bits * 4;
    for (int64_t span = 0; span * WK_SUPER < w->n_in; span++) {
        int64_t i0 = span * WK_SUPER, n = w->n_in - i0 < WK_SUPER ? w->n_in - i0 : WK_SUPER;
        for (int64_t c = 0; c < n / WK_CHUNK; c++)
            for (int r = 0; r < 16; r++) {
                int64_t o = output(j, block * 16 + r);
                if (o >= 0) take_chunk(j, o, i0 + c * WK_CHUNK, part[r].code + c * chunk_bytes);
            }
        wk_weavers_here()->codes(w, block, span, part);
    }
}

/* The same for 8-bit floats, which have no chunks. */
static void pack_floats(const job *j, int64_t block, wk_part part[16]) {
    wk_packed *w = j->w;
    for (int64_t span = 0; span * WK_SUPER < w->n_in; span++) {
        int64_t i0 = span * WK_SUPER, n = w->n_in - i0 < WK_SUPER ? w->n_in - i0 : WK_SUPER;
        for (int r = 0; r < 16; r++) {
            int64_t o = output(j, block * 16 + r);
            if (o >= 0) memcpy(part[r].code, j->p->codes + o * w->n_in + i0, (size_t)n);
            else memset(part[r].code, 0, (size_t)n);
        }
        wk_weavers_here()->codes(w, block, span, part);
    }
}

/* ---- scales and zeros ---- */

static void pack_scales(const job *j, int64_t block) {
    wk_packed *w = j->w;
    size_t n = (size_t)wk_dtypes[j->p->scale_type].bytes;
    for (int64_t g = 0; g < w->n_group; g++)
        for (int r = 0; r < 16; r++) {
            int64_t o = output(j, block * 16 + r), at = (block * w->n_group + g) * 16 + r;
            if (o >= 0) memcpy(w->scale + (size_t)at * n, wk_parts_scale_at(j->p, o, g), n);
            else memset(w->scale + (size_t)at * n, 0, n);
            if (w->zero) w->zero[at] = o >= 0 ? (uint8_t)wk_parts_zero(j->p, o, g) : 0;
        }
}

/* Of 8-bit floats, as float32. */
static void pack_float_scales(const job *j, int64_t block) {
    wk_packed *w = j->w;
    int n = w->l.one_scale ? 1 : 16;
    float *scale = (float *)(void *)w->scale + block * w->n_group * n;
    for (int64_t g = 0; g < w->n_group; g++)
        for (int r = 0; r < n; r++) {
            int64_t o = output(j, block * 16 + r);
            *scale++ = o >= 0 ? wk_parts_scale(j->p, o, g) : 0;
        }
}

static void pack_share(const wk_team *t, void *arg) {
    const job *j = arg;
    wk_part part[16];
    int64_t from, to;
    memset(part, 0, sizeof part);
    wk_team_share(t, j->w->n_block, 1, &from, &to);
    for (int64_t b = from; b < to; b++) {
        (j->w->l.eight ? pack_floats : pack_codes)(j, b, part);
        (j->w->l.eight ? pack_float_scales : pack_scales)(j, b);
    }
}

/* ---- the layout ---- */

/* What the zeros are: all the middle of the range (symmetric quantisation), or bytes. False: one is 256, which is stored as 255. */
static bool zeros_of(const wk_parts *p, wk_zero *zero) {
    *zero = WK_ZERO_MID;
    for (int64_t g = 0; g < p->n_group; g++)
        for (int64_t o = 0; o < p->n_out; o++) {
            int z = wk_parts_zero(p, o, g);
            if (z > UINT8_MAX) return false;
            if (z != 1 << (p->bits - 1)) *zero = WK_ZERO_U8;
        }
    return true;
}

static wk_scale scale_of(wk_dtype t) {
    return t == WK_F16 ? WK_SCALE_F16 : t == WK_BF16 ? WK_SCALE_BF16 : t == WK_F8_E8M0 ? WK_SCALE_E8M0 : WK_SCALE_F32;
}

/* Do the outputs of each block have their scales in common? */
static bool rows_share(const wk_parts *p, int64_t first, int64_t n, const int32_t *row_from) {
    for (int64_t r = 0; r < n; r++) {
        int64_t head = r & ~(int64_t)15, a = row_from ? row_from[head] : head, b = row_from ? row_from[r] : r;
        if (wk_parts_output(p, first + a) / p->rows != wk_parts_output(p, first + b) / p->rows) return false;
    }
    return true;
}

/* The layout that holds p as it is; false: none does. */
static bool layout_of(const wk_tensor *t, int64_t first, const int32_t *row_from, wk_layout *l) {
    const wk_parts *p = t->parts;
    bool whole = p->group >= p->n_in;  /* one group, of any length */
    *l = (wk_layout){ .bits = p->bits, .group = (int)(whole ? p->n_in : p->group), .scale = scale_of(p->scale_type) };
    if (p->order == WK_CODES_FP4) {
        l->map = wk_fp4_values;
        return l->group == WK_CHUNK && l->scale == WK_SCALE_E8M0;
    }
    if (p->order == WK_CODES_BYTES) {
        l->eight = t->dtype == WK_F8_E4M3 ? WK_EIGHT_E4M3 : WK_EIGHT_E5M2;
        l->scale = WK_SCALE_F32;
        l->one_scale = rows_share(p, first, t->shape[t->n_dim - 2], row_from);
        return true;
    }
    if (!zeros_of(p, &l->zero)) return false;
    return p->group >= 1 && p->n_group == (p->n_in + p->group - 1) / p->group && (whole || p->group % WK_CHUNK == 0);
}

/* Sorts inputs by group into w->perm, or leaves that NULL if they are sorted. *regular: every group but the last is full. */
static wick_status sort_inputs(const wk_parts *p, wk_packed *w, bool *regular) {
    int64_t n_in = w->n_in, n = 0;
    bool sorted = true;
    int32_t *next = wk_alloc_array((size_t)p->n_group, sizeof *next);  /* where the group's next input goes */
    if (!next) return wk_fail_memory((size_t)p->n_group * sizeof *next, "a quantised layer's groups");
    for (int64_t g = 0; g < p->n_group; g++) next[g] = (int32_t)(g * p->group);
    for (; n < n_in; n++) {
        int64_t g = wk_get_u32(p->g_idx + 4 * n);
        if (g >= p->n_group || next[g] >= (g + 1) * p->group || next[g] >= n_in) break;
        sorted = sorted && next[g] == n;
        w->perm[next[g]++] = (int32_t)n;
    }
    wk_free(next);
    *regular = n == n_in;  /* no group overflowed, so all are full */
    if (sorted) w->perm = NULL;
    return WICK_OK;
}

wick_status wk_pack_parts(wk_pool *pool, const wk_tensor *t, int64_t m, const int32_t *row_from, bool release, wk_packed **out) {
    const wk_parts *p = t->parts;
    bool regular = true;
    wk_layout l;
    wk_packed *w;
    int64_t n_out = t->shape[t->n_dim - 2], first = m * n_out;
    if (!layout_of(t, first, row_from, &l)) return WICK_OK;
    wick_status st = wk_packed_new(&l, n_out, p->n_in, p->g_idx && p->group < p->n_in, &w);
    if (st) return st;
    if (w->perm) st = sort_inputs(p, w, &regular);
    if (st || !regular) {
        wk_packed_free(w);
        return st;
    }
    job j = { w, p, first, row_from };
    wk_share_out(pool, pack_share, &j);
    bool by_rows = p->order == WK_CODES_FP4 || p->order == WK_CODES_BYTES;
    size_t row_bytes = (size_t)(p->n_in * p->bits / 8);
    if (release && by_rows) {
        int64_t from = wk_parts_output(p, first), to = wk_parts_output(p, first + n_out - 1) + 1;
        wk_file_release(p->codes + (size_t)from * row_bytes, (size_t)(to - from) * row_bytes);
    } else if (release) wk_file_release(p->codes, (size_t)p->n_out * row_bytes);
    *out = w;
    return WICK_OK;
}
