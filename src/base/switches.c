/* switches.c: the environment's switches, read once. */
#include "base/switches.h"
#include <pthread.h>
#include <stdlib.h>

static struct { const char *name, *value; } table[WK_N_SWITCH] = {
    [WK_SWITCH_CPU] = { "WICK_CPU", NULL },
    [WK_SWITCH_DUMP] = { "WICK_DUMP", NULL },
};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_all(void) {
    for (int i = 0; i < WK_N_SWITCH; i++) table[i].value = getenv(table[i].name);
}

const char *wk_switch(wk_switch_id s) {
    pthread_once(&once, read_all);
    return table[s].value;
}
