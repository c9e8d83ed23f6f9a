/* switches.h: what the environment can switch on for people who work on wick: one table. Flags of the program have their
 * own names in the environment; these are not flags. */
#ifndef WK_SWITCHES_H
#define WK_SWITCHES_H

typedef enum wk_switch_id {
    WK_SWITCH_CPU,   /* WICK_CPU=c, avx2, avx512, neon, ... (cpu.c): use no better instructions than these */
    WK_SWITCH_DUMP,  /* WICK_DUMP=ops: after each op its name, shape and a checksum, on stderr */
    WK_N_SWITCH
} wk_switch_id;

/* A switch's value, or NULL. Read from the environment once. */
const char *wk_switch(wk_switch_id s);

#endif
