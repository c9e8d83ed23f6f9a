/* adapter_swap.c: one session, two adapters: load, apply, generate, swap, generate, remove, compare.
 *   adapter_swap MODEL ADAPTER [OTHER [PROMPT]]
 * Greedy, so that texts can be compared: after the adapter is taken off the session says what it said before. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "wick.h"

enum { N = 32, MAX_TEXT = 4096 };
typedef struct answer { char text[MAX_TEXT]; size_t n; int n_id; int32_t id[N]; } answer;

static bool on_token(const wick_token *t, void *user) {
    answer *a = user;
    if (a->n_id < N) a->id[a->n_id++] = t->id;
    if (a->n + t->n_text < sizeof a->text) {
        memcpy(a->text + a->n, t->text, t->n_text);
        a->n += t->n_text;
    }
    return true;
}

static wick_status say(wick_session *s, const wick_model *m, const char *text, const char *who, answer *a) {
    wick_generate_options o;
    wick_generate_defaults(m, &o);
    o.temperature = 0;
    o.n_predict = N;
    *a = (answer){ .n = 0 };
    wick_status st = wick_generate(s, &(wick_prompt){ .text = text }, &o, on_token, a, NULL);
    if (!st) printf("%s: %s%.*s\n\n", who, text, (int)a->n, a->text);
    return st;
}

static double microseconds(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

int main(int argc, char **argv) {
    wick_model *m = NULL;
    wick_session *s = NULL;
    wick_adapter *one = NULL, *two = NULL;
    answer plain, first, second, again;
    double swap = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: adapter_swap MODEL ADAPTER [OTHER [PROMPT]]\n");
        return 2;
    }
    const char *text = argc > 4 ? argv[4] : "Once upon a time";
    wick_status st = wick_model_open(argv[1], NULL, &m);
    if (!st) st = wick_session_new(m, NULL, &s);
    if (!st) st = wick_adapter_load(m, argv[2], &one);
    if (!st) st = wick_adapter_load(m, argc > 3 ? argv[3] : argv[2], &two);
    if (!st) st = say(s, m, text, "without", &plain);
    if (!st) st = wick_session_apply_adapter(s, one, 1);
    if (!st) st = say(s, m, text, "with the first", &first);
    swap = microseconds();
    if (!st) st = wick_session_apply_adapter(s, two, 1);  /* a change of pointers */
    swap = microseconds() - swap;
    if (!st) st = say(s, m, text, "with the second", &second);
    if (!st) st = wick_session_remove_adapter(s);
    if (!st) st = say(s, m, text, "without again", &again);
    if (st) fprintf(stderr, "adapter_swap: %s\n", wick_last_error());
    bool same = !st && plain.n_id == again.n_id && !memcmp(plain.id, again.id, sizeof plain.id);
    if (!st) printf("swapped in %.1f us; without an adapter the same as before: %s\n", swap, same ? "yes" : "no");
    wick_adapter_free(one);
    wick_adapter_free(two);
    wick_session_free(s);
    wick_model_free(m);
    return same ? 0 : 1;
}
