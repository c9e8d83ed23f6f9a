/* pack_gptq.c: packs GPTQ layers straight from their arrays.
 * Layout: tensor.h; Frantar et al. 2022 (GPTQ), as AutoGPTQ writes it. Codes lie by input, eight (or four) to a word, outputs
 * side by side; scales and zeros lie [group][output], as our planes do. With desc_act, g_idx sends inputs to groups in any
 * order: inputs are sorted by group, so that a group is contiguous again, and activations are permuted the same way.
 * Load: 5 to 40 GB at most; every word is read once. */
#include "backend/cpu/pack.h"
#include "base/file.h"
#include "tensor/quant.h"
#include <inttypes.h>
#include <string.h>

typedef struct job {
    wk_packed *w;
    const wk_gptq *q;
    const int32_t *row_from;
} job;

static uint32_t code_word(const job *j, int64_t i, int64_t o) { return wk_get_u32(j->q->qweight + 4 * (i * j->w->n_out + o)); }

static int zero_of(const wk_gptq *q, int64_t n_out, int64_t g, int64_t o) {
    int64_t per = 32 / q->bits;
    return (int)(wk_get_u32(q->qzeros + 4 * (g * (n_out / per) + o / per)) >> (o % per * q->bits) & ((1u << q->bits) - 1)) + !q->v2;
}

/* Eight nibbles, lowest first, to eight bytes. */
static uint64_t spread(uint32_t w) {
    uint64_t x = w;
    x = (x | x << 16) & 0x0000ffff0000ffffu;
    x = (x | x << 8) & 0x00ff00ff00ff00ffu;
    return (x | x << 4) & 0x0f0f0f0f0f0f0f0fu;
}

/* Codes of output o, inputs [i, i + 32), in the order of the planes. */
static void take_chunk(const job *j, int64_t o, int64_t i, uint8_t *out) {
    const int32_t *perm = j->w->perm;
    if (j->q->bits == 8) {
        for (int k = 0; k < 32; k++) {
            int64_t f = perm ? perm[i + k] : i + k;
            out[k] = (uint8_t)(code_word(j, f / 4, o) >> (f % 4 * 8));
        }
    } else if (perm) {
        uint8_t c[32];
        for (int k = 0; k < 32; k++) c[k] = code_word(j, perm[i + k] / 8, o) >> (perm[i + k] % 8 * 4) & 15;
        for (int k = 0; k < 16; k++) out[k] = (uint8_t)(c[k] | c[k + 16] << 4);
    } else {
        for (int k = 0; k < 2; k++) {
            uint64_t v = spread(code_word(j, i / 8 + k, o)) | spread(code_word(j, i / 8 + 2 + k, o)) << 4;
            memcpy(out + 8 * k, &v, 8);
        }
    }
}

static void pack_block(const job *j, int64_t block, wk_part part[16]) {
    wk_packed *w = j->w;
    int chunk_bytes = w->l.bits * 4, scale_bytes = wk_dtypes[j->q->scale_type].bytes;
    for (int64_t span = 0; span * WK_SUPER < w->n_in; span++) {
        int64_t i0 = span * WK_SUPER, n = w->n_in - i0 < WK_SUPER ? w->n_in - i0 : WK_SUPER;
        for (int64_t c = 0; c < n / WK_CHUNK; c++)
            for (int r = 0; r < 16; r++) {
                int64_t o = block * 16 + r;
                if (o < w->n_out)
                    take_chunk(j, j->row_from ? j->row_from[o] : o, i0 + c * WK_CHUNK, part[r].code + c * chunk_bytes);
            }
        wk_weave_codes(w, block, span, part);
    }
    for (int64_t g = 0; g < w->n_group; g++)
        for (int r = 0; r < 16; r++) {
            int64_t o = block * 16 + r, at = (block * w->n_group + g) * 16 + r;
            bool in = o < w->n_out;
            if (j->row_from && in) o = j->row_from[o];
            if (in) memcpy(w->scale + at * scale_bytes, j->q->scales + (g * w->n_out + o) * scale_bytes, (size_t)scale_bytes);
            else memset(w->scale + at * scale_bytes, 0, (size_t)scale_bytes);
            if (w->zero) w->zero[at] = in ? (uint8_t)zero_of(j->q, w->n_out, g, o) : 0;
        }
}

static void pack_share(const wk_team *t, void *arg) {
    const job *j = arg;
    wk_part part[16];
    int64_t from, to;
    memset(part, 0, sizeof part);
    wk_team_share(t, j->w->n_block, 1, &from, &to);
    for (int64_t b = from; b < to; b++) pack_block(j, b, part);
}

/* Are all zeros the middle of the range (symmetric quantisation)? */
static bool all_middle(const wk_gptq *q, int64_t n_out) {
    for (int64_t g = 0; g < q->n_group; g++)
        for (int64_t o = 0; o < n_out; o++)
            if (zero_of(q, n_out, g, o) != 1 << (q->bits - 1)) return false;
    return true;
}

/* Sorts inputs by group into w->perm, or leaves that NULL if they are sorted. *regular: every group but the last has q->group. */
static wick_status sort_inputs(const wk_gptq *q, wk_packed *w, bool *regular) {
    int64_t n_in = w->n_in, n = 0;
    bool sorted = true;
    int32_t *next = wk_alloc_array((size_t)q->n_group, sizeof *next);  /* where the group's next input goes */
    if (!next) return wk_fail_memory((size_t)q->n_group * sizeof *next, "a GPTQ layer's groups");
    for (int64_t g = 0; g < q->n_group; g++) next[g] = (int32_t)(g * q->group);
    for (; n < n_in; n++) {
        int64_t g = wk_get_u32(q->g_idx + 4 * n);
        if (g >= q->n_group || next[g] >= (g + 1) * q->group || next[g] >= n_in) break;
        sorted = sorted && next[g] == n;
        w->perm[next[g]++] = (int32_t)n;
    }
    wk_free(next);
    *regular = n == n_in;  /* no group overflowed, so all are full */
    if (sorted) w->perm = NULL;
    return WICK_OK;
}

wick_status wk_pack_gptq(wk_pool *pool, const wk_tensor *t, const int32_t *row_from, bool release, wk_packed **out) {
    const wk_gptq *q = t->gptq;
    int64_t n_out = t->shape[0], n_in = t->shape[1];
    if (t->n_dim != 2 || !q || (q->bits != 4 && q->bits != 8) || n_out % (32 / q->bits))
        return wk_fail(WICK_E_UNSUPPORTED,
                       "GPTQ layer \"%.*s\": 4 or 8 bits and whole words of outputs are needed; it has %d bits and %" PRId64
                       " outputs",
                       (int)t->name.len, t->name.ptr, q ? q->bits : 0, n_out);
    bool middle = all_middle(q, n_out), whole = q->group >= n_in, regular = true;
    if (q->group < 1 || q->n_group != n_in / q->group + (n_in % q->group != 0) || (q->group % WK_CHUNK && !whole)) return WICK_OK;
    if (q->bits == 8 && !middle) return WICK_OK;  /* code - zero would not fit in int8 */
    wk_layout l = { .bits = q->bits, .group = whole ? (int)n_in : q->group, .zero = middle ? WK_ZERO_MID : WK_ZERO_U8,
                    .scale = q->scale_type == WK_F16 ? WK_SCALE_F16 : q->scale_type == WK_BF16 ? WK_SCALE_BF16 : WK_SCALE_F32 };
    wk_packed *w;
    wick_status st = wk_packed_new(&l, n_out, n_in, q->g_idx && !whole, &w);
    if (st) return st;
    if (w->perm) st = sort_inputs(q, w, &regular);
    if (st || !regular) {
        wk_packed_free(w);
        return st;
    }
    job j = { w, q, row_from };
    wk_pool_run(pool, pack_share, &j);
    if (release) wk_file_release(q->qweight, (size_t)(n_in / (32 / q->bits) * n_out * 4));
    *out = w;
    return WICK_OK;
}
