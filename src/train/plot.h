/* plot.h: pictures for the report, as SVG that takes its colours from the page's style sheet. */
#ifndef WK_TRAIN_PLOT_H
#define WK_TRAIN_PLOT_H
#include "base/mem.h"

/* A line: points whose y is NaN are left out. */
typedef struct wk_line { const char *name; const double *x, *y; size_t n; } wk_line;
/* Lines over a common x, the axes labelled. zero: y begins at 0. Appends <svg>. */
void wk_plot_lines(wk_buf *b, const char *title, const char *x_name, const wk_line *line, int n_line, bool zero);

/* Values [n_row, n_col], darker is larger, NaN an empty cell; each cell tells its value. */
void wk_plot_heat(wk_buf *b, const char *title, const char *row_name, const char *const *row, int n_row, const char *const *col,
                  int n_col, const double *value);

/* Text for HTML and SVG: markup characters as entities; control characters other than newline and tab as U+FFFD. */
void wk_put_html(wk_buf *b, const char *s);
/* A number for people: 0.0123, 1.5e-05, 12,345. */
void wk_put_short(wk_buf *b, double v);

#endif
