/* log.h: a run's log as files: a JSON object a line, the same as CSV, and event files for TensorBoard. */
#ifndef WK_TRAIN_LOG_H
#define WK_TRAIN_LOG_H
#include "base/mem.h"
#include "base/status.h"

/* The points so far, and the folder that they are written to: log.jsonl and log.csv, and tensorboard/ on request. */
typedef struct wk_train_log {
    char *folder, *events;   /* events: the event file's path, or NULL */
    wick_train_point *point; size_t n, cap;
} wk_train_log;
/* Opens the log of a run that stands at `iteration`: later points that the files hold (of a run that was killed) are dropped from
 * them; at 0 the files begin anew. Errors  WICK_E_IO, WICK_E_FORMAT (the line of log.jsonl), WICK_E_MEMORY. */
wick_status wk_train_log_open(wk_train_log *l, const char *folder, int iteration, bool events);
/* Appends a point to all files. Errors  WICK_E_IO (full disk, read-only folder), WICK_E_MEMORY. */
wick_status wk_train_log_add(wk_train_log *l, const wick_train_point *p);
/* Writes all points to files that are made anew. Errors  as wk_train_log_open(). */
wick_status wk_train_log_write(wk_train_log *l);
void wk_train_log_free(wk_train_log *l);

/* A point's numbers by the log's keys, in the log's order. */
enum { WK_N_LOG_KEY = 8 };
extern const char *const wk_log_key[WK_N_LOG_KEY];
double wk_log_value(const wick_train_point *p, int key);

/* ---- event files: tfevents.c ---- */

/* CRC-32C (Castagnoli; RFC 3720, appendix B.4). */
uint32_t wk_crc32c(const void *p, size_t n);
/* Appends the records that open an event file, with which what earlier files say of steps from first on is void; and one with a
 * point's numbers (NaN left out). wall_time: seconds since 1970. */
void wk_events_head(wk_buf *b, double wall_time, int first);
void wk_events_point(wk_buf *b, const wick_train_point *p, double wall_time);

#endif
