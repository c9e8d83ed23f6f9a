/* guess.h: tokens guessed ahead of a model and checked many in one pass (Leviathan et al. 2023, "Fast inference from transformers
 * via speculative decoding"). A row's logits have the same bits in any batch, and a draw depends on the seed and the position
 * alone: so a guess is right exactly if the token chosen from its row is the one that was guessed, and what is generated, greedy
 * or sampled, is to the bit what it would be without.
 * Guesses come from the text itself (prompt lookup, Saxena 2023: what followed the last time these tokens were seen), or
 * from another session's smaller model. */
#ifndef WK_GUESS_H
#define WK_GUESS_H
#include "base/status.h"

enum { WK_MAX_GUESS = 64 };

typedef struct wk_guess {
    wick_session *draft;      /* borrowed, entered; NULL: the text guesses */
    int max;                  /* at most so many at a time; 0: none */
    int want;                 /* how many next time: grows while all are right, shrinks to how many were */
    int32_t id[WK_MAX_GUESS]; int n, right;  /* of the last pass, and how many of them were chosen since */
    int n_made, n_right;      /* in all */
} wk_guess;

void wk_guess_begin(wk_guess *g, wick_session *draft, int max);
/* Was id guessed next? Counts it. */
bool wk_guess_met(wk_guess *g, int32_t id);
/* Guesses what follows ids [n], at most room tokens, into g->id and g->n. Errors  those of the draft's passes. */
wick_status wk_guess_next(wk_guess *g, const int32_t *ids, int n, int room);

/* What followed the last place before the end where the longest run of 2 to 4 of the last tokens stood: out [max].
 * Returns how many. */
int wk_guess_lookup(const int32_t *ids, int n, int max, int32_t *out);

#endif
