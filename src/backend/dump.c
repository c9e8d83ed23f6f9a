/* dump.c: a line per op: see dump.h. */
#include "backend/dump.h"
#include "base/switches.h"
#include "graph/op.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

bool wk_dump_wanted(void) {
    const char *v = wk_switch(WK_SWITCH_DUMP);
    return v && !strcmp(v, "ops");
}

void wk_dump_value(const wk_graph *g, wk_val v, int64_t rows, const void *data) {
    const wk_value *x = &g->value[v];
    const float *f = data;
    const int32_t *id = data;
    int64_t n = rows * x->shape.cols;
    uint64_t hash = 14695981039346656037u;  /* FNV-1a, over 32-bit words */
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        double e = x->shape.ids ? (double)id[i] : (double)f[i];
        uint32_t word;
        memcpy(&word, &id[i], sizeof word);
        hash = (hash ^ word) * 1099511628211u;
        sum += e;
        squares += e * e;
    }
    fprintf(stderr, "%-17s %-24s [%" PRId64 ", %" PRId64 "] sum %.5g norm %.5g %016" PRIx64 "\n", wk_ops[g->node[x->node].op]->name,
            x->name, rows, x->shape.cols, sum, sqrt(squares), hash);
}
