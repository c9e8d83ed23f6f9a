/* sampler.h: chooses a token from a row of logits.
 *
 * Order of steps, as llama.cpp's default chain has it: biases, penalties, top-k, top-p, min-p, temperature, draw. Each
 * probability-based filter sees the distribution that the filters before it left, at temperature 1.
 *
 * Decisions
 * - Ties go to the lower id, everywhere.
 * - temperature 0 is the arg max after biases and penalties; the filters cannot change it and are skipped.
 * - top-p keeps the token that reaches p. min-p keeps what is at least min_p times the most likely. top_k <= 0 is off.
 * - Penalties look back on the last penalty_last_n tokens, the prompt's included (-1: the whole context), as llama.cpp
 *   and not OpenAI does. repeat_penalty: Keskar et al. 2019, section 4.1, with negative logits multiplied; frequency and
 *   presence: count * frequency + presence, once each, taken off.
 * - logprob, prob and the alternatives are of the model's own distribution: before biases, penalties and temperature.
 * - The draw uses wk_uniform(seed, position), position being the new token's place in the sequence.
 * - NaN counts as impossible, as -inf does; a row without a possible token is an error. */
#ifndef WK_SAMPLER_H
#define WK_SAMPLER_H
#include "base/status.h"

enum { WK_MAX_TOP_LOGPROBS = 20 };

/* A token that may be chosen. */
typedef struct wk_candidate { float logit; int32_t id; } wk_candidate;

/* What was chosen. */
typedef struct wk_choice {
    int32_t id;
    float logit, prob, logprob;                       /* the model's own; prob and logprob 0 unless asked for */
    wick_top_logprob top[WK_MAX_TOP_LOGPROBS]; int n_top;
} wk_choice;

/* Zero-initialise and set n_vocab and n_ctx. */
typedef struct wk_sampler {
    int32_t n_vocab;
    int n_ctx;                                        /* penalties look back on so many at most */
    wick_generate_options o;                          /* logit_bias is borrowed */
    bool penalise;
    float *logits;                                    /* [n_vocab] with biases and penalties; NULL while none were asked for */
    wk_candidate *cand;                               /* [n_vocab]; NULL while all was greedy */
    /* The last tokens and how often each occurs among them, kept as they come and go. */
    struct { int32_t count, at; } *seen;              /* [n_vocab]; at: its place in ids */
    int32_t *ids; int n_ids;                          /* [n_ctx] the different tokens */
    int32_t *ring; int n_ring, head, n_used;          /* [n_ctx], of which n_ring in use */
} wk_sampler;

/* Errors  WICK_E_ARG: an option out of range, named with its limits. */
wick_status wk_sampler_check(const wick_generate_options *o, int32_t n_vocab);
/* Takes checked options and forgets earlier tokens. Allocates what they need and an earlier begin did not.
 * Errors  WICK_E_MEMORY. */
wick_status wk_sampler_begin(wk_sampler *s, const wick_generate_options *o);
void wk_sampler_free(wk_sampler *s);
/* A token joined the sequence: the prompt's, and each that is generated. */
void wk_sampler_accept(wk_sampler *s, int32_t id);
/* Chooses the token at a position from logits [n_vocab]. No allocation. Errors  WICK_E_FORMAT: no logit is a number. */
wick_status wk_sampler_choose(wk_sampler *s, const float *logits, uint64_t position, wk_choice *out);

#endif
