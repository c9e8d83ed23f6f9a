/* sampler.c: see sampler.h for what is chosen and why. Load: 32,000 to 262,000 logits a token, 40 candidates kept of
 * them by default. So nothing sorts a whole vocabulary: greedy is one pass, top-k a heap of k, top-p alone a heap from
 * which only what it keeps is popped. */
#include "generate/sampler.h"
#include "base/mem.h"
#include "generate/random.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- options ---- */

wick_status wk_sampler_check(const wick_generate_options *o, int32_t n_vocab) {
    const struct { const char *name; double value, min, max; } reals[] = {
        { "temperature", (double)o->temperature, 0, 1e6 },
        { "top_p", (double)o->top_p, 0, 1 },
        { "min_p", (double)o->min_p, 0, 1 },
        { "repeat_penalty", (double)o->repeat_penalty, 1e-3, 1e3 },
        { "frequency_penalty", (double)o->frequency_penalty, -1e3, 1e3 },
        { "presence_penalty", (double)o->presence_penalty, -1e3, 1e3 },
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        if (!(reals[i].value >= reals[i].min && reals[i].value <= reals[i].max))
            return wk_fail(WICK_E_ARG, "%s is %g, it can be %g to %g", reals[i].name, reals[i].value, reals[i].min, reals[i].max);
    if (o->penalty_last_n < -1)
        return wk_fail(WICK_E_ARG, "penalty_last_n is %d, it can be -1 (the whole context), 0 (off) or more", o->penalty_last_n);
    if (o->n_top_logprobs < 0 || o->n_top_logprobs > WK_MAX_TOP_LOGPROBS)
        return wk_fail(WICK_E_ARG, "n_top_logprobs is %d, it can be 0 to %d", o->n_top_logprobs, WK_MAX_TOP_LOGPROBS);
    if (o->n_logit_bias && !o->logit_bias) return wk_fail(WICK_E_ARG, "n_logit_bias is %zu and logit_bias NULL", o->n_logit_bias);
    for (size_t i = 0; i < o->n_logit_bias; i++) {
        const wick_logit_bias *b = &o->logit_bias[i];
        if (b->id < 0 || b->id >= n_vocab)
            return wk_fail(WICK_E_ARG, "logit_bias[%zu] names token %" PRId32 ", this model has 0 to %" PRId32, i, b->id,
                           n_vocab - 1);
        if (!(b->bias < INFINITY))
            return wk_fail(WICK_E_ARG, "logit_bias[%zu] is %g, it can be a number or -inf (never)", i, (double)b->bias);
    }
    return WICK_OK;
}

wick_status wk_sampler_begin(wk_sampler *s, const wick_generate_options *o) {
    size_t n = (size_t)s->n_vocab, n_ctx = (size_t)s->n_ctx;
    for (int i = 0; i < s->n_ids; i++) s->seen[s->ids[i]].count = 0;
    s->n_ids = s->head = s->n_used = 0;
    s->o = *o;
    s->n_ring = o->penalty_last_n < 0 || o->penalty_last_n > s->n_ctx ? s->n_ctx : o->penalty_last_n;
    s->penalise = false;  /* until all that it needs is there */
    bool penalise = s->n_ring && (o->repeat_penalty != 1 || o->frequency_penalty != 0 || o->presence_penalty != 0);
    if ((penalise || o->n_logit_bias) && !s->logits && !(s->logits = wk_alloc_array(n, sizeof *s->logits)))
        return wk_fail_memory(n * sizeof *s->logits, "biased logits");
    if (o->temperature > 0 && !s->cand && !(s->cand = wk_alloc_array(n, sizeof *s->cand)))
        return wk_fail_memory(n * sizeof *s->cand, "candidate tokens");
    if (!penalise) return WICK_OK;
    if (!s->seen) s->seen = wk_alloc_array(n, sizeof *s->seen);
    if (!s->ids) s->ids = wk_alloc_array(n_ctx, sizeof *s->ids);
    if (!s->ring) s->ring = wk_alloc_array(n_ctx, sizeof *s->ring);
    if (!s->seen || !s->ids || !s->ring) return wk_fail_memory(n * sizeof *s->seen + n_ctx * 8, "penalties");
    s->penalise = true;
    return WICK_OK;
}

void wk_sampler_free(wk_sampler *s) {
    wk_free(s->logits);
    wk_free(s->cand);
    wk_free(s->seen);
    wk_free(s->ids);
    wk_free(s->ring);
    *s = (wk_sampler){ 0 };
}

/* ---- penalties ---- */

void wk_sampler_accept(wk_sampler *s, int32_t id) {
    if (!s->penalise) return;
    if (s->n_used == s->n_ring) {  /* the oldest leaves; the last of the different ones takes its place if it was its last */
        int32_t old = s->ring[s->head];
        if (--s->seen[old].count == 0) {
            int32_t last = s->ids[--s->n_ids];
            s->ids[s->seen[old].at] = last;
            s->seen[last].at = s->seen[old].at;
        }
    } else {
        s->n_used++;
    }
    s->ring[s->head] = id;
    s->head = s->head + 1 < s->n_ring ? s->head + 1 : 0;
    if (s->seen[id].count++ == 0) {
        s->seen[id].at = s->n_ids;
        s->ids[s->n_ids++] = id;
    }
}

/* The logits to choose from: the model's own, or a copy with biases and penalties. */
static const float *adjusted(wk_sampler *s, const float *logits) {
    const wick_generate_options *o = &s->o;
    if (!o->n_logit_bias && !s->penalise) return logits;
    float *l = s->logits;
    memcpy(l, logits, (size_t)s->n_vocab * sizeof *l);
    for (size_t i = 0; i < o->n_logit_bias; i++) l[o->logit_bias[i].id] += o->logit_bias[i].bias;
    for (int i = 0; s->penalise && i < s->n_ids; i++) {
        float *x = &l[s->ids[i]];
        *x = *x > 0 ? *x / o->repeat_penalty : *x * o->repeat_penalty;
        *x -= (float)s->seen[s->ids[i]].count * o->frequency_penalty + o->presence_penalty;
    }
    return l;
}

/* ---- heaps ---- */

static bool better(wk_candidate a, wk_candidate b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

/* Lets c[i] of a heap of n sink to its place. best: the best stands at the root, else the worst. */
static inline void sink(wk_candidate *c, int n, int i, bool best) {
    wk_candidate x = c[i];
    for (int k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && better(c[k + 1], c[k]) == best) k++;
        if (better(c[k], x) != best) break;
        c[i] = c[k];
    }
    c[i] = x;
}

static void heapify(wk_candidate *c, int n, bool best) {
    for (int i = n / 2 - 1; i >= 0; i--) sink(c, n, i, best);
}

/* Moves the root behind the heap's end. */
static void pop(wk_candidate *c, int n, bool best) {
    wk_candidate root = c[0];
    c[0] = c[n - 1];
    c[n - 1] = root;
    sink(c, n - 1, 0, best);
}

enum { LANES = 16 };  /* logits looked at together: the inner loops over them become vector instructions */

static bool any_above(const float *l, float limit) {
    int any = 0;
    for (int j = 0; j < LANES; j++) any |= l[j] > limit;
    return any;
}

/* The k best of l [n], best first, into c; returns how many there are (impossible ones are left out). Once the heap is
 * full nearly nothing gets in, so whole lanes are passed over. */
static int select_best(const float *l, int32_t n, int k, wk_candidate *c) {
    int m = 0;
    int32_t i = 0;
    for (; i < n && m < k; i++)
        if (l[i] > -INFINITY) c[m++] = (wk_candidate){ l[i], i };
    heapify(c, m, false);
    while (i < n) {
        if (i + LANES <= n && !any_above(l + i, c[0].logit)) {
            i += LANES;
            continue;
        }
        for (int32_t end = i + LANES < n ? i + LANES : n; i < end; i++)
            if (l[i] > c[0].logit) {  /* an equal one has the higher id, so it is worse */
                c[0] = (wk_candidate){ l[i], i };
                sink(c, m, 0, false);
            }
    }
    for (int left = m; left > 1; left--) pop(c, left, false);
    return m;
}

/* ---- choosing ---- */

/* Index of the largest, -1 if none is a number. The maximum first, lane by lane; then who has it. */
static int32_t arg_max(const float *l, int32_t n, float *max) {
    float lane[LANES], best = -INFINITY;
    int32_t i = 0;
    for (int j = 0; j < LANES; j++) lane[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane[j] = l[i + j] > lane[j] ? l[i + j] : lane[j];
    for (; i < n; i++) best = l[i] > best ? l[i] : best;
    for (int j = 0; j < LANES; j++) best = lane[j] > best ? lane[j] : best;
    *max = best;
    for (i = 0; best > -INFINITY && i < n; i++)
        if (l[i] == best) return i;
    return -1;
}

/* sum of exp(l - max) */
static double exp_sum(const float *l, int32_t n, float max) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++)
        if (l[i] > -INFINITY) sum += (double)expf(l[i] - max);
    return sum;
}

/* Of m candidates, best first, how many top-p keeps; total is the sum over them (and over what else there was). */
static int top_p_cut(const wk_candidate *c, int m, float max, double total, double top_p) {
    double sum = 0;
    for (int i = 0; i < m; i++)
        if ((sum += (double)expf(c[i].logit - max)) >= top_p * total) return i + 1;
    return m;
}

/* Filters with top-k: a heap of k, then cuts from the list's end. */
static int filter_top_k(wk_sampler *s, const float *l, float max, float floor) {
    wk_candidate *c = s->cand;
    int m = select_best(l, s->n_vocab, s->o.top_k, c);
    if (s->o.top_p < 1) {
        double total = 0;
        for (int i = 0; i < m; i++) total += (double)expf(c[i].logit - max);
        m = top_p_cut(c, m, max, total, (double)s->o.top_p);
    }
    while (m > 1 && c[m - 1].logit < floor) m--;
    return m;
}

/* Filters without top-k. What min-p drops need not be looked at, nor what top-p surely drops: tokens that are each below
 * (1 - p) / n of the whole are together below 1 - p. The rest, usually a few, is a heap popped until p is reached. */
static int filter_all(wk_sampler *s, const float *l, float max, float floor) {
    wk_candidate *c = s->cand;
    double top_p = (double)s->o.top_p, total = 0, sum = 0;
    int m = 0, kept = 0;
    if (top_p < 1) {
        total = exp_sum(l, s->n_vocab, max);
        float cut = max + (float)log((1 - top_p) * total / s->n_vocab) - 1e-2f;  /* a little lower: rounding */
        if (cut > floor) floor = cut;
    }
    for (int32_t i = 0; i < s->n_vocab; i++)
        if (l[i] >= floor && l[i] > -INFINITY) c[m++] = (wk_candidate){ l[i], i };
    if (top_p >= 1) return m;
    heapify(c, m, true);
    while (kept < m) {
        float logit = c[0].logit;
        pop(c, m - kept++, true);
        if ((sum += (double)expf(logit - max)) >= top_p * total) break;
    }
    memmove(c, c + m - kept, (size_t)kept * sizeof *c);  /* worst first: the order of a draw is free, so it stays */
    return kept;
}

/* Draws one of m candidates by exp((logit - max) / temperature); their logits become weights. */
static int32_t draw(wk_candidate *c, int m, float max, float temperature, double u) {
    double sum = 0, at = 0;
    for (int i = 0; i < m; i++) {
        c[i].logit = expf((c[i].logit - max) / temperature);
        sum += (double)c[i].logit;
    }
    for (int i = 0; i < m; i++)
        if ((at += (double)c[i].logit) > u * sum) return c[i].id;
    return c[m - 1].id;  /* rounding */
}

/* The chosen token's log-probability and the likeliest alternatives, of the model's own distribution. */
static void add_logprobs(const wk_sampler *s, const float *logits, wk_choice *out) {
    float max;
    wk_candidate best[WK_MAX_TOP_LOGPROBS];
    arg_max(logits, s->n_vocab, &max);
    double log_sum = (double)max + log(exp_sum(logits, s->n_vocab, max));
    out->logprob = (float)((double)out->logit - log_sum);
    out->prob = (float)exp((double)out->logit - log_sum);
    out->n_top = s->o.n_top_logprobs ? select_best(logits, s->n_vocab, s->o.n_top_logprobs, best) : 0;
    for (int i = 0; i < out->n_top; i++)
        out->top[i] = (wick_top_logprob){ best[i].id, (float)((double)best[i].logit - log_sum) };
}

wick_status wk_sampler_choose(wk_sampler *s, const float *logits, uint64_t position, wk_choice *out) {
    const wick_generate_options *o = &s->o;
    const float *l = adjusted(s, logits);
    float max;
    int32_t id = arg_max(l, s->n_vocab, &max);
    if (id < 0)
        return wk_fail(WICK_E_FORMAT, "no token can follow at position %" PRIu64 ": every logit is NaN or -inf; a bias forbids "
                       "them all, or the weights are damaged", position);
    if (o->temperature > 0 && max < INFINITY) {
        float floor = o->min_p > 0 ? max + (float)log((double)o->min_p) : -INFINITY;
        int m = o->top_k > 0 && o->top_k < s->n_vocab ? filter_top_k(s, l, max, floor) : filter_all(s, l, max, floor);
        if (m > 1) id = draw(s->cand, m, max, o->temperature, wk_uniform(o->seed, position));
    }
    out->id = id;
    out->logit = logits[id];
    out->prob = out->logprob = 0;
    out->n_top = 0;
    if (o->logprobs || o->n_top_logprobs) add_logprobs(s, logits, out);
    return WICK_OK;
}
