/* checkpoint.h: a run's state in one file, whole or not at all: written to a temporary name, synced, renamed, the folder synced.
 * Whoever is killed at any moment finds either the file before or the file after. Checksums tell a damaged one. */
#ifndef WK_TRAIN_CHECKPOINT_H
#define WK_TRAIN_CHECKPOINT_H
#include "train/trainer.h"

/* Saves the trainer and `extra`, the caller's own bytes (position in the data, generator, counts).
 * Errors  WICK_E_IO (the file before is untouched then), WICK_E_MEMORY. */
wick_status wk_checkpoint_write(const char *path, const wk_trainer *t, const void *extra, size_t n_extra);
/* Looks at the caller's bytes before the trainer is touched; an error of its own ends the reading. */
typedef wick_status (*wk_checkpoint_check_fn)(void *arg, const char *extra, size_t n);
/* Restores both. extra is appended to; check: NULL, or asked first. Errors  WICK_E_IO (not there), WICK_E_FORMAT (cut off, damaged,
 * another run's), check's: the trainer is as it was. */
wick_status wk_checkpoint_read(const char *path, wk_trainer *t, wk_checkpoint_check_fn check, void *arg, wk_buf *extra);

#endif
