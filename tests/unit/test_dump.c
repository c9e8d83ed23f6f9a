/* test_dump.c: WICK_DUMP=ops prints a line per output of each op: the same for one thread and for two. */
#include "graph/op.h"
#include "support/lab.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* Runs a small graph with stderr in a file, and gives what was printed. */
static void dump(int n_thread, char *text, size_t cap) {
    wk_backend *be = NULL;
    lab l;
    lab_rows rows;
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_int_equal(wk_cpu_new(n_thread, &be), WICK_OK);
    lab_new(&l, be, false, 5);
    wk_attr norm = { .eps = 1e-5f }, route = { .n_used = 2 };
    wk_val x = LAB_OP(&l, WK_OP_RMS_NORM, &norm, lab_input(&l, 1, 40), lab_vector(&l, 40, 1));
    x = LAB_OP(&l, WK_OP_LINEAR, NULL, x, lab_matrix(&l, WK_F32, 1, 30, 40));
    LAB_OP(&l, WK_OP_ROUTE, &route, x);
    lab_plan(&l, 3);
    lab_fill(&l, (lab_rng){ 9, 0 }, 3);
    lab_rows_new(&rows, &(lab_rng){ 1, 0 }, 1);
    for (int i = 0; i < 3; i++) lab_rows_add(&rows, 0, 0);
    int saved = dup(STDERR_FILENO);
    fflush(stderr);
    dup2(fileno(f), STDERR_FILENO);
    wick_status st = be->ops->run(l.plan, &rows.batch, NULL);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(st, WICK_OK);
    rewind(f);
    text[fread(text, 1, cap - 1, f)] = 0;
    fclose(f);
    lab_free(&l);
}

static void test_dump(void **state) {
    static char one[4096], two[4096];
    (void)state;
    dump(1, one, sizeof one);
    dump(2, two, sizeof two);
    assert_string_equal(one, two);
    assert_non_null(strstr(one, "rms_norm          rms_norm                 [3, 40] sum "));
    assert_non_null(strstr(one, "route             route                    [3, 2] sum "));
    int lines = 0;
    for (const char *p = one; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 4);  /* route has two outputs */
}

int main(void) {
    setenv("WICK_DUMP", "ops", 1);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_dump) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
