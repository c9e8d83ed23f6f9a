/* curve.h: a loss curve in characters. */
#ifndef CLI_CURVE_H
#define CLI_CURVE_H
#include "base/mem.h"

/* Points so far; y NaN is left out. */
typedef struct curve { double *x, *y; size_t n, cap; } curve;
bool curve_add(curve *c, double x, double y);
void curve_free(curve *c);
/* Draws curves over each other, the first solid, later ones as single marks, width columns wide with the numbers at the left,
 * height lines high; braille with utf8 (2 x 4 dots a character, Unicode 28xx), else ASCII. Each line ends with a newline. */
void curve_draw(wk_buf *b, const curve *const *c, int n, int width, int height, bool utf8);

#endif
