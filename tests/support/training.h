/* training.h: what tests of the trainer share: a model on a backend of choice, rows made up or cut from a reference run. */
#ifndef WK_TEST_TRAINING_H
#define WK_TEST_TRAINING_H
#include "support/run.h"
#include "train/trainer.h"

enum { TRAIN_ROWS = 256 };

/* A model on the CPU backend with so many threads; 0: on the reference backend. */
wk_model *train_model(const char *path, int n_threads);
wk_trainer *train_new(wk_model *m, const wk_trainer_options *o, const wk_lora_data *initial);

/* A micro-batch that holds its own arrays. */
typedef struct train_rows {
    int32_t token[TRAIN_ROWS], pos[TRAIN_ROWS], seq[TRAIN_ROWS], label[TRAIN_ROWS];
    wk_train_rows r;
} train_rows;
/* Adds a sequence of n tokens; each row's label is the next token where mask (or NULL: everywhere) has that one, the last has
 * none. */
void train_add(train_rows *b, const int32_t *ids, const int32_t *mask, int n);
/* Adds n tokens made up from `seed`, below n_vocab. */
void train_make(train_rows *b, uint32_t seed, int n, int n_vocab);

/* The trainer's parameters, all of them, as bytes; free with free(). */
float *train_copy(const wk_trainer *t, size_t *n);

#endif
