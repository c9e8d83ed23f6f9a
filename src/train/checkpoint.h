/* checkpoint.h: a run's state in one file, whole or not at all: written to a temporary name, synced, renamed, the folder synced.
 * Whoever is killed at any moment finds either the file before or the file after. Checksums tell a damaged one. */
#ifndef WK_TRAIN_CHECKPOINT_H
#define WK_TRAIN_CHECKPOINT_H
#include "train/trainer.h"

/* Saves the trainer and `extra`, the caller's own bytes (position in the data, generator, counts).
 * Errors  WICK_E_IO (the file before is untouched then), WICK_E_MEMORY. */
wick_status wk_checkpoint_write(const char *path, const wk_trainer *t, const void *extra, size_t n_extra);
/* Restores both. extra is appended to. Errors  WICK_E_IO (not there), WICK_E_FORMAT (cut off, damaged, another run's): the trainer
 * is as it was. */
wick_status wk_checkpoint_read(const char *path, wk_trainer *t, wk_buf *extra);

#endif
