/* plot.c: line charts and heat maps as SVG. Tick steps of 1, 2 or 5 times a power of ten: Heckbert 1990, "Nice numbers for graph
 * labels" (Graphics Gems). Load: some thousand points a line; of more than two to a pixel each run is drawn as its extremes. */
#include "train/plot.h"
#include "base/number.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 560, HEIGHT = 250, LEFT = 58, RIGHT = 14, TOP = 34, BOTTOM = 36, MAX_TICK = 12 };

void wk_put_html(wk_buf *b, const char *s) {
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '&') wk_buf_str(b, "&amp;");
        else if (c == '<') wk_buf_str(b, "&lt;");
        else if (c == '>') wk_buf_str(b, "&gt;");
        else if (c == '"') wk_buf_str(b, "&quot;");
        else if ((c < 32 && c != '\n' && c != '\t') || c == 127) wk_buf_str(b, "\xEF\xBF\xBD");
        else wk_buf_char(b, (char)c);
    }
}

static void put(wk_buf *b, const char *fmt, double v) {
    char t[64];
    wk_format_number(t, sizeof t, fmt, v);
    wk_buf_str(b, t);
}

void wk_put_short(wk_buf *b, double v) {
    double a = fabs(v);
    if (!isfinite(v)) wk_buf_str(b, "\xE2\x80\x93");
    else if (a != 0 && (a < 1e-3 || a >= 1e9)) put(b, "%.3g", v);
    else if (a < 1000) put(b, "%.4g", v);
    else {
        char t[40];
        wk_format_number(t, sizeof t, "%.0f", v);
        size_t n = strlen(t);
        for (size_t i = 0; i < n; i++) {
            if (i && (n - i) % 3 == 0 && t[i - 1] != '-') wk_buf_char(b, ',');
            wk_buf_char(b, t[i]);
        }
    }
}

typedef struct axis { double lo, hi, step; } axis;

/* About `want` steps of a round size that hold lo and hi. */
static axis make_axis(double lo, double hi, int want) {
    if (!(hi > lo)) {
        double pad = lo != 0 ? fabs(lo) * 0.1 : 1;
        lo -= pad;
        hi += pad;
    }
    double raw = (hi - lo) / want, power = pow(10, floor(log10(raw))), f = raw / power;
    double step = power * (f < 1.5 ? 1 : f < 3 ? 2 : f < 7 ? 5 : 10);
    return (axis){ floor(lo / step + 1e-9) * step, ceil(hi / step - 1e-9) * step, step };
}

static double place_x(const axis *a, double v) { return LEFT + (v - a->lo) / (a->hi - a->lo) * (WIDTH - LEFT - RIGHT); }
static double place_y(const axis *a, double v) { return HEIGHT - BOTTOM - (v - a->lo) / (a->hi - a->lo) * (HEIGHT - TOP - BOTTOM); }

static void put_tick(wk_buf *b, const axis *a, double v) {
    char t[64];
    if (fabs(v) < a->step * 1e-6) v = 0;
    /* one notation along an axis: decimals as far as they can be read */
    char fixed[16];
    bool wide = a->step < 1e-6 || a->hi >= 1e6;
    snprintf(fixed, sizeof fixed, "%%.%df", (int)ceil(-log10(a->step) - 1e-9));
    wk_format_number(t, sizeof t, v == 0 ? "%.0f" : wide ? "%.1e" : a->step < 1e-3 ? fixed : "%.6g", v);
    wk_buf_str(b, t);
}

static void put_axes(wk_buf *b, const axis *x, const axis *y, const char *x_name) {
    for (int i = 0; i <= MAX_TICK && y->lo + i * y->step <= y->hi + y->step * 1e-6; i++) {
        double v = y->lo + i * y->step, at = place_y(y, v);
        wk_buf_printf(b,
                      "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"tick\" x=\"%d\" y=\"%.1f\" "
                      "text-anchor=\"end\">",
                      LEFT, WIDTH - RIGHT, at, at, LEFT - 6, at + 4);
        put_tick(b, y, v);
        wk_buf_str(b, "</text>");
    }
    for (int i = 0; i <= MAX_TICK && x->lo + i * x->step <= x->hi + x->step * 1e-6; i++) {
        double v = x->lo + i * x->step;
        wk_buf_printf(b, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", place_x(x, v), HEIGHT - BOTTOM + 16);
        put_tick(b, x, v);
        wk_buf_str(b, "</text>");
    }
    wk_buf_printf(b, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">", WIDTH - RIGHT, HEIGHT - 4);
    wk_put_html(b, x_name);
    wk_buf_str(b, "</text>");
}

/* Of points that share a pixel column the smallest and the largest are drawn, in their order. */
static void put_line(wk_buf *b, const wk_line *l, const axis *x, const axis *y, int color) {
    size_t n = 0, last = 0;
    for (size_t i = 0; i < l->n; i++) n += isfinite(l->y[i]) ? 1 : 0;
    if (!n) return;
    wk_buf_printf(b, "<polyline class=\"line c%d\" points=\"", color);
    for (size_t i = 0; i < l->n;) {
        size_t lo = SIZE_MAX, hi = SIZE_MAX;
        int column = (int)place_x(x, l->x[i]);
        for (; i < l->n && (int)place_x(x, l->x[i]) == column; i++) {
            if (!isfinite(l->y[i])) continue;
            if (lo == SIZE_MAX || l->y[i] < l->y[lo]) lo = i;
            if (hi == SIZE_MAX || l->y[i] > l->y[hi]) hi = i;
            last = i;
        }
        if (lo == SIZE_MAX) continue;
        size_t first = lo < hi ? lo : hi, second = lo < hi ? hi : lo;
        wk_buf_printf(b, "%.1f,%.1f ", place_x(x, l->x[first]), place_y(y, l->y[first]));
        if (second != first) wk_buf_printf(b, "%.1f,%.1f ", place_x(x, l->x[second]), place_y(y, l->y[second]));
    }
    wk_buf_str(b, "\"/>");
    for (size_t i = 0; i < l->n; i++) {  /* few points are dots too; of many the last, with its value */
        if (!isfinite(l->y[i]) || (n > 40 && i != last)) continue;
        wk_buf_printf(b, "<circle class=\"dot c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>", color, place_x(x, l->x[i]),
                      place_y(y, l->y[i]));
        wk_put_html(b, l->name);
        wk_buf_str(b, " ");
        wk_put_short(b, l->y[i]);
        wk_buf_str(b, " at ");
        wk_put_short(b, l->x[i]);
        wk_buf_str(b, "</title></circle>");
    }
}

void wk_plot_lines(wk_buf *b, const char *title, const char *x_name, const wk_line *line, int n_line, bool zero) {
    double x0 = INFINITY, x1 = -INFINITY, y0 = zero ? 0 : INFINITY, y1 = -INFINITY;
    for (int k = 0; k < n_line; k++)
        for (size_t i = 0; i < line[k].n; i++) {
            if (!isfinite(line[k].y[i])) continue;
            x0 = fmin(x0, line[k].x[i]);
            x1 = fmax(x1, line[k].x[i]);
            y0 = fmin(y0, line[k].y[i]);
            y1 = fmax(y1, line[k].y[i]);
        }
    wk_buf_printf(b, "<svg viewBox=\"0 0 %d %d\" role=\"img\"><text class=\"head\" x=\"%d\" y=\"18\">", WIDTH, HEIGHT, LEFT);
    wk_put_html(b, title);
    wk_buf_str(b, "</text>");
    if (x1 >= x0) {
        axis x = make_axis(x0, x1, 5), y = make_axis(y0, y1, 4);
        if (x0 >= 0 && x.lo < 0) x.lo = 0;  /* a single point */
        put_axes(b, &x, &y, x_name);
        for (int k = 0; k < n_line; k++) put_line(b, &line[k], &x, &y, k);
        for (int k = 0, at = WIDTH - RIGHT; n_line > 1 && k < n_line; k++) {
            at -= 14 * (int)strlen(line[n_line - 1 - k].name) / 2 + 34;
            wk_buf_printf(
                b, "<line class=\"line c%d\" x1=\"%d\" x2=\"%d\" y1=\"14\" y2=\"14\"/><text class=\"tick\" x=\"%d\" y=\"18\">",
                n_line - 1 - k, at, at + 18, at + 23);
            wk_put_html(b, line[n_line - 1 - k].name);
            wk_buf_str(b, "</text>");
        }
    } else
        wk_buf_printf(b, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">nothing was measured</text>", WIDTH / 2,
                      HEIGHT / 2);
    wk_buf_str(b, "</svg>\n");
}

void wk_plot_heat(wk_buf *b, const char *title, const char *row_name, const char *const *row, int n_row, const char *const *col,
                  int n_col, const double *value) {
    const int left = 90, top = 44, cell_w = n_col > 24 ? 16 : 24, cell_h = 22;
    int width = left + n_col * cell_w + 20, height = top + n_row * cell_h + 34;
    double most = 0;
    for (int i = 0; i < n_row * n_col; i++) if (isfinite(value[i])) most = fmax(most, value[i]);
    if (width < 420) width = 420;
    wk_buf_printf(b, "<svg viewBox=\"0 0 %d %d\" style=\"max-width:%dpx\" role=\"img\"><text class=\"head\" x=\"8\" y=\"18\">",
                  width, height, width);
    wk_put_html(b, title);
    wk_buf_str(b, "</text>");
    for (int i = 0; i < n_row; i++) {
        wk_buf_printf(b, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">", left - 8, top + i * cell_h + 15);
        wk_put_html(b, row[i]);
        wk_buf_str(b, "</text>");
        for (int j = 0; j < n_col; j++) {
            double v = value[i * n_col + j];
            if (!isfinite(v)) continue;
            wk_buf_printf(b, "<rect class=\"cell\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill-opacity=\"%.3f\"><title>",
                          left + j * cell_w, top + i * cell_h, cell_w - 2, cell_h - 2, most > 0 ? 0.06 + 0.94 * v / most : 0.06);
            wk_put_html(b, row[i]);
            wk_buf_str(b, ", ");
            wk_put_html(b, row_name);
            wk_buf_char(b, ' ');
            wk_put_html(b, col[j]);
            wk_buf_str(b, ": ");
            wk_put_short(b, v);
            wk_buf_str(b, "</title></rect>");
        }
    }
    for (int j = 0; j < n_col; j++) {
        if (n_col > 24 && j % 2) continue;
        wk_buf_printf(b, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">", left + j * cell_w + cell_w / 2 - 1,
                      top - 6);
        wk_put_html(b, col[j]);
        wk_buf_str(b, "</text>");
    }
    int y = top + n_row * cell_h + 10;  /* what the shades mean */
    wk_buf_printf(b, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">0</text>", left - 8, y + 11);
    for (int i = 0; i < 10; i++)
        wk_buf_printf(b, "<rect class=\"cell\" x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill-opacity=\"%.3f\"/>", left + i * 12,
                      y, 0.06 + 0.94 * i / 9);
    wk_buf_printf(b, "<text class=\"tick\" x=\"%d\" y=\"%d\">", left + 128, y + 11);
    wk_put_short(b, most);
    wk_buf_str(b, "</text></svg>\n");
}
