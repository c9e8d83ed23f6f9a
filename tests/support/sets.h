/* sets.h: the instruction sets that this machine has, for tests that go through all of them:
 *     for (int i = 0; sets_use(i); i++) { ... wk_cpu_name() is in use ... }
 * from plain C up to everything that is there (less what WICK_CPU forbids); after the last, all is in use again. */
#ifndef WK_TEST_SETS_H
#define WK_TEST_SETS_H
#include <stdbool.h>

/* Limits the kernels to the i-th set; false, and no limit, past the last. */
bool sets_use(int i);
/* How many of n random cases to run: all, or about a quarter with WICK_TEST_FEW in the environment, where they are slow. */
int sets_cases(int n);

#endif
