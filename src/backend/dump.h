/* dump.h: WICK_DUMP=ops: a line per op on stderr. Two runs' dumps differ first at the first wrong op. */
#ifndef WK_DUMP_H
#define WK_DUMP_H
#include "graph/graph.h"

/* Is it asked for? */
bool wk_dump_wanted(void);
/* Op, name, shape, sum and norm, and a hash of the bytes, of value v: rows of numbers (int32 for ids, else float32). */
void wk_dump_value(const wk_graph *g, wk_val v, int64_t rows, const void *data);

#endif
