/* runs.h: the list of all trainings, in an SQLite file: what was asked for, how it went, every point of its log. */
#ifndef WK_TRAIN_RUNS_H
#define WK_TRAIN_RUNS_H
#include "base/mem.h"
#include "base/status.h"

typedef struct wk_runs wk_runs;
typedef struct wk_run {
    int64_t id;
    const char *name, *status, *model, *data, *adapter_path, *started, *options;  /* started: UTC, ISO form; options: JSON */
    const char *error;             /* why it failed; NULL: it did not, or nobody knows */
    double seconds;                /* of training, all its parts together */
    wick_train_point last;         /* the newest numbers; NaN where there never were any */
    double best_val_loss, first_train_loss, first_val_loss;
} wk_run;

/* $XDG_DATA_HOME/wick/runs.db or ~/.local/share/wick/runs.db, whose folders are made; path overrides it. Free with wk_free().
 * Errors  WICK_E_IO (no home), WICK_E_MEMORY. */
wick_status wk_runs_path(const char *path, char **out);
/* Opens or makes the file. read_only: it has to be there. Errors  WICK_E_IO, WICK_E_FORMAT (not such a file), WICK_E_MEMORY. */
wick_status wk_runs_open(const char *path, bool read_only, wk_runs **out);
void wk_runs_close(wk_runs *r);
/* A new run, or for a resumed one that of the same adapter_path, an absolute one (its points after `iteration` go). *id is its
 * number.
 * Errors  WICK_E_IO. */
wick_status wk_runs_begin(wk_runs *r, const wk_run *run, int iteration, int64_t *id);
wick_status wk_runs_add(wk_runs *r, int64_t id, const wick_train_point *p);
/* status: "running", "done", "stopped" (early), "interrupted", "failed"; error: NULL, or why. Errors  WICK_E_IO. */
wick_status wk_runs_end(wk_runs *r, int64_t id, const char *status, const char *error, double seconds);
/* Takes a run and its points off the list. Errors  WICK_E_ARG (no such run), WICK_E_IO. */
wick_status wk_runs_delete(wk_runs *r, int64_t id);
/* Every run, newest last; fn may stop it. id above 0: that one alone. Errors  WICK_E_IO, WICK_E_ARG (no such run). */
wick_status wk_runs_each(wk_runs *r, int64_t id, bool (*fn)(const wk_run *run, void *user), void *user);
wick_status wk_runs_points(wk_runs *r, int64_t id, bool (*fn)(const wick_train_point *p, void *user), void *user);

#endif
