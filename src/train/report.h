/* report.h: a run as one HTML file: what was asked for, its curves, answers before and after, and pictures of the adapter. */
#ifndef WK_TRAIN_REPORT_H
#define WK_TRAIN_REPORT_H
#include "adapter/lora_data.h"

typedef struct wk_report_sample { char *prompt, *before, *after, *wanted; } wk_report_sample;  /* NULL: not there */

typedef struct wk_report {
    const wick_train_options *options;
    const char *title, *model, *status;
    const char *warning;                 /* a sentence below them; NULL: none */
    const wick_train_point *point; size_t n_point;
    const wk_lora_data *lora;            /* NULL: no pictures of it */
    const wk_report_sample *sample; size_t n_sample;
    double seconds;
    uint64_t n_trained_param, n_train, n_valid;
} wk_report;
/* Writes the report: one file that needs no network, light or dark as the reader's system is.
 * Errors  WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_report_write(const char *path, const wk_report *r);

#endif
