/* curve.h: a loss curve in characters. */
#ifndef CLI_CURVE_H
#define CLI_CURVE_H
#include "base/mem.h"

/* Points so far; y NaN is left out. */
typedef struct curve { double *x, *y; size_t n, cap; } curve;
bool curve_add(curve *c, double x, double y);
void curve_free(curve *c);
/* Draws losses over each other, those of training as a line, of validation as crosses, width columns wide with the numbers at the
 * left, height lines high, and below them a line with the ends of x and what is what; braille with utf8 (2 x 4 dots a character,
 * Unicode 28xx), else ASCII. Each line ends with a newline. Nothing where all points have one x. */
void curve_draw(wk_buf *b, const curve *train, const curve *val, int width, int height, bool utf8);

#endif
