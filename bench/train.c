/* train.c: how fast a LoRA trains: tokens per second of whole steps (forward, back, update) over rows of random tokens, and the
 * most memory that the process held. `train MODEL [--rows 512] [--steps 8] [--threads 0] [--rank 8] [--masked 0] [--no-checkpoint]`
 * prints one line of JSON; `--masked 50` leaves that share of the rows without a label, and makes each step once more with all
 * labels, the first of the two by turns: "of_whole" is the median of how many times as fast the masked one is. */
#include "base/clock.h"
#include "train/trainer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MAX_ROWS = 8192, MAX_STEPS = 1000 };
static int32_t token[MAX_ROWS], pos[MAX_ROWS], seq[MAX_ROWS], label[MAX_ROWS];

static void need(wick_status st) {
    if (!st) return;
    fprintf(stderr, "train: %s\n", wick_last_error());
    exit(1);
}

static int number(int argc, char **argv, const char *name, int otherwise) {
    for (int i = 2; i + 1 < argc; i++) if (!strcmp(argv[i], name)) return atoi(argv[i + 1]);
    return otherwise;
}

static bool has(int argc, char **argv, const char *name) {
    for (int i = 2; i < argc; i++) if (!strcmp(argv[i], name)) return true;
    return false;
}

static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static wk_train_rows rows_of(int n, int masked, int64_t n_vocab, uint64_t step) {
    for (int i = 0; i < n; i++) {
        uint64_t r = mixed((step << 32) + (uint64_t)i);
        token[i] = (int32_t)(r % (uint64_t)n_vocab);
        pos[i] = i;
        seq[i] = 0;
    }
    for (int i = 0; i < n; i++) label[i] = i + 1 < n && i * 100 >= masked * n ? token[i + 1] : WK_NO_LABEL;
    return (wk_train_rows){ n, 1, token, pos, seq, label };
}

static double one_step(wk_trainer *t, int n, int masked, int64_t n_vocab, int k, double *loss) {
    double began = wk_now();
    int64_t n_label = 1;
    wk_train_rows r = rows_of(n, masked, n_vocab, (uint64_t)k);
    need(wk_trainer_backward(t, &r, loss, &n_label));
    need(wk_trainer_update(t, 1e-4, NULL));
    *loss /= (double)n_label;
    return wk_now() - began;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "train MODEL [--rows N] [--steps N] [--threads N] [--rank N] [--masked PERCENT] [--no-checkpoint]\n");
        return 2;
    }
    int n = number(argc, argv, "--rows", 512), steps = number(argc, argv, "--steps", 8), masked = number(argc, argv, "--masked", 0);
    if (n < 1 || n > MAX_ROWS || steps < 1 || steps > MAX_STEPS) return 2;
    wk_trainer_options o = wk_trainer_defaults();
    o.max_row = n;
    o.rank = number(argc, argv, "--rank", 8);
    o.checkpoint = !has(argc, argv, "--no-checkpoint");
    o.max_grad_norm = 1;
    wk_backend *be;
    wk_model *m;
    wk_trainer *t;
    need(wk_cpu_new(number(argc, argv, "--threads", 0), &be));
    need(wk_model_load(argv[1], be, false, NULL, NULL, NULL, &m));
    need(wk_trainer_new(m, &o, NULL, &t));
    double took = 0, loss = 0, whole_loss, ratio[MAX_STEPS];
    for (int k = 0; k <= steps; k++) {  /* the first one warms up */
        double own = 0, whole = 0;
        for (int i = 0; i < 2; i++) {
            if ((i + k) % 2 == 0) own = one_step(t, n, masked, m->hp.n_vocab, k, &loss);
            else if (masked) whole = one_step(t, n, 0, m->hp.n_vocab, k, &whole_loss);
        }
        if (k) took += own, ratio[k - 1] = whole / own;
    }
    qsort(ratio, (size_t)steps, sizeof *ratio, by_value);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("{\"tokens_per_second\": %.1f, \"step_ms\": %.1f, \"peak_mb\": %.1f, \"trainer_mb\": %.1f, \"loss\": %.6f",
           n * steps / took, took / steps * 1e3, (double)use.ru_maxrss * 1024 / 1e6, (double)wk_trainer_bytes(t) / 1e6, loss);
    if (masked) printf(", \"of_whole\": %.4f", (ratio[(steps - 1) / 2] + ratio[steps / 2]) / 2);
    printf("}\n");
    wk_trainer_free(t);
    wk_model_free(m);
    return 0;
}
