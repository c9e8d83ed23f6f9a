/* curve.c: draws loss curves into a terminal. Load: some thousand points, at each report. */
#include "curve.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL = 9, MAX_WIDTH = 160, MAX_HEIGHT = 24 };

bool curve_add(curve *c, double x, double y) {
    size_t cap = c->cap;
    if (!wk_grow((void **)&c->x, &cap, c->n + 1, sizeof *c->x)) return false;
    if (!wk_grow((void **)&c->y, &c->cap, c->n + 1, sizeof *c->y)) return false;
    c->x[c->n] = x;
    c->y[c->n++] = y;
    return true;
}

void curve_free(curve *c) {
    wk_free(c->x);
    wk_free(c->y);
    *c = (curve){ 0 };
}

typedef struct canvas { uint8_t dot[MAX_HEIGHT * 4][MAX_WIDTH * 2]; int w, h; double x0, x1, y0, y1; } canvas;

static int place(double v, double lo, double hi, int n) {
    int i = hi > lo ? (int)((v - lo) / (hi - lo) * (n - 1) + 0.5) : n / 2;
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static void mark(canvas *k, int x, int y, char ink) { k->dot[k->h - 1 - y][x] = (uint8_t)ink; }

/* From point to point, one dot a column, and upright where it is steep. */
static void stroke(canvas *k, const curve *c) {
    int px = -1, py = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (!isfinite(c->y[i])) continue;
        int x = place(c->x[i], k->x0, k->x1, k->w), y = place(c->y[i], k->y0, k->y1, k->h);
        int steps = px < 0 ? 0 : x - px > abs(y - py) ? x - px : abs(y - py);
        for (int s = 0; s <= steps; s++)
            mark(k, steps ? px + (x - px) * s / steps : x, steps ? py + (y - py) * s / steps : y, '*');
        px = x;
        py = y;
    }
}

/* reach: dots from a cross's middle to its ends; 0 in ASCII, where a character is one. */
static void cross(canvas *k, const curve *c, int reach) {
    for (size_t i = 0; i < c->n; i++) {
        if (!isfinite(c->y[i])) continue;
        int x = place(c->x[i], k->x0, k->x1, k->w), y = place(c->y[i], k->y0, k->y1, k->h);
        for (int d = -reach; d <= reach; d++) {
            if (x + d >= 0 && x + d < k->w) mark(k, x + d, y, '+');
            if (y + d >= 0 && y + d < k->h) mark(k, x, y + d, '+');
        }
    }
}

/* Dots of braille from the top, left column 1 2 3 7, right column 4 5 6 8: bits in this order. */
static void put_braille(wk_buf *b, const canvas *k, int row, int col) {
    static const uint8_t bit[4][2] = { { 1, 8 }, { 2, 16 }, { 4, 32 }, { 64, 128 } };
    unsigned c = 0x2800;
    for (int y = 0; y < 4; y++) for (int x = 0; x < 2; x++) if (k->dot[row * 4 + y][col * 2 + x]) c |= bit[y][x];
    const char utf8[3] = { (char)(0xE0 | c >> 12), (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63)) };
    wk_buf_add(b, utf8, 3);
}

/* Takes a curve's points into the canvas's ends; are there any? */
static bool widen(canvas *k, const curve *c) {
    bool any = false;
    for (size_t i = 0; i < c->n; i++) {
        if (!isfinite(c->y[i])) continue;
        any = true;
        k->x0 = fmin(k->x0, c->x[i]);
        k->x1 = fmax(k->x1, c->x[i]);
        k->y0 = fmin(k->y0, c->y[i]);
        k->y1 = fmax(k->y1, c->y[i]);
    }
    return any;
}

/* The number beside a row, in the columns that are there: a digit less rather than a row that no longer fits the terminal. */
static void put_label(wk_buf *b, double y) {
    char text[32];
    int digits = 4;
    while (snprintf(text, sizeof text, "%.*g", digits, y) > LABEL - 2 && digits > 1) digits--;
    wk_buf_printf(b, "%*s ", LABEL - 2, text);
}

/* The ends of x, and between them, where there is room, the legend. */
static void put_below(wk_buf *b, const canvas *k, const char *legend, int cols) {
    char first[32], last[32];
    int room = cols - snprintf(first, sizeof first, "%.0f", k->x0) - snprintf(last, sizeof last, "%.0f", k->x1);
    int n = (int)strlen(legend) + 2 > room ? 0 : (int)strlen(legend), gap = (room - n) / 2;
    wk_buf_printf(b, "%*s%s%*s%.*s%*s%s\n", LABEL, "", first, gap, "", n, legend, room - n - gap, "", last);
}

void curve_draw(wk_buf *b, const curve *train, const curve *val, int width, int height, bool utf8) {
    static _Thread_local canvas k;
    char legend[64] = "";
    int cols = width - LABEL < MAX_WIDTH ? width - LABEL : MAX_WIDTH, rows = height < MAX_HEIGHT ? height : MAX_HEIGHT;
    if (cols < 8 || rows < 2) return;
    k = (canvas){ .w = utf8 ? cols * 2 : cols, .h = utf8 ? rows * 4 : rows, .x0 = INFINITY, .x1 = -INFINITY, .y0 = INFINITY,
                  .y1 = -INFINITY };
    bool line = widen(&k, train), crosses = widen(&k, val), level = !(k.y0 < k.y1);
    if (!(k.x0 < k.x1)) return;
    stroke(&k, train);
    cross(&k, val, utf8);
    for (int row = 0; row < rows; row++) {
        if (level ? row == rows / 2 : row == 0 || row == rows - 1) put_label(b, row ? k.y0 : k.y1);
        else wk_buf_printf(b, "%*s", LABEL - 1, "");
        wk_buf_str(b, utf8 ? "\u2502" : "|");
        for (int col = 0; col < cols; col++) {
            if (utf8) put_braille(b, &k, row, col);
            else wk_buf_char(b, k.dot[row][col] ? (char)k.dot[row][col] : ' ');
        }
        wk_buf_char(b, '\n');
    }
    if (line) snprintf(legend, sizeof legend, "%s train loss", utf8 ? "line:" : "*");
    if (crosses) snprintf(legend + strlen(legend), sizeof legend - strlen(legend), "%s%s validation loss", line ? ", " : "",
                          utf8 ? "crosses:" : "+");
    put_below(b, &k, legend, cols);
}
