/* jinja_test.c: the tests ("x is ..."), as a table.
 * Names and results: jinja2's "List of Builtin Tests". */
#include "text/jinja.h"
#include <string.h>

#define TEST(name) static wk_jval name(wk_jrun *r, wk_jval v, wk_jval *a, const wk_jcall *c)
#define YES(x) do { (void)r, (void)v, (void)a, (void)c; return wk_jbool(x); } while (0)

TEST(t_defined) { YES(v.kind != WK_J_UNDEF); }
TEST(t_undefined) { YES(v.kind == WK_J_UNDEF); }
TEST(t_none) { YES(v.kind == WK_J_NONE); }
TEST(t_boolean) { YES(v.kind == WK_J_BOOL); }
TEST(t_true) { YES(v.kind == WK_J_BOOL && v.b); }
TEST(t_false) { YES(v.kind == WK_J_BOOL && !v.b); }
TEST(t_integer) { YES(v.kind == WK_J_INT); }
TEST(t_float) { YES(v.kind == WK_J_FLOAT); }
TEST(t_number) { YES(wk_jnumeric(v)); }
TEST(t_string) { YES(v.kind == WK_J_STR); }
TEST(t_mapping) { YES(v.kind == WK_J_DICT); }
TEST(t_iterable) { YES(wk_jiterable(v) || v.kind == WK_J_LOOP); }
/* What has a length and can be indexed: a dict too, and, as in jinja2, what is undefined. */
TEST(t_sequence) {
    YES(v.kind == WK_J_STR || v.kind == WK_J_DICT || v.kind == WK_J_UNDEF || (v.kind == WK_J_LIST && v.l->type <= WK_J_SEQ_RANGE));
}
TEST(t_callable) {
    YES(v.kind == WK_J_UNDEF || v.kind == WK_J_FUNC || v.kind == WK_J_METHOD || v.kind == WK_J_MACRO || v.kind == WK_J_LOOP ||
        v.kind == WK_J_JOINER);
}
TEST(t_escaped) { YES(v.kind == WK_J_STR && v.markup); }
TEST(t_sameas) {
    wk_jval o = a[0];
    bool plain = v.kind == WK_J_UNDEF || v.kind == WK_J_NONE || wk_jnumeric(v) || v.kind == WK_J_STR;
    YES(v.kind == o.kind && (plain ? wk_jequal(r, v, o) : v.p == o.p));
}
TEST(t_in) { YES(wk_jcontains(r, a[0], v)); }
TEST(t_eq) { YES(wk_jcompare(r, WK_OP_EQ, v, a[0])); }
TEST(t_ne) { YES(wk_jcompare(r, WK_OP_NE, v, a[0])); }
TEST(t_lt) { YES(wk_jcompare(r, '<', v, a[0])); }
TEST(t_le) { YES(wk_jcompare(r, WK_OP_LE, v, a[0])); }
TEST(t_gt) { YES(wk_jcompare(r, '>', v, a[0])); }
TEST(t_ge) { YES(wk_jcompare(r, WK_OP_GE, v, a[0])); }

static bool remainder_is(wk_jrun *r, wk_jval v, wk_jval by, int64_t wanted) {
    return wk_jequal(r, wk_jbinary(r, '%', v, by), wk_jint(wanted));
}
TEST(t_odd) { YES(remainder_is(r, v, wk_jint(2), 1)); }
TEST(t_even) { YES(remainder_is(r, v, wk_jint(2), 0)); }
TEST(t_divisibleby) { YES(remainder_is(r, v, a[0], 0)); }

static wk_jval ask(wk_jrun *r, wk_jval v, const char *method) {
    wk_jval fn = wk_jmethod_of(r, wk_jto_str(r, v), (wk_str){ method, strlen(method) });
    return wk_jcall_value(r, fn, &(wk_jcall){ 0 });
}
TEST(t_lower) { (void)a, (void)c; return ask(r, v, "islower"); }
TEST(t_upper) { (void)a, (void)c; return ask(r, v, "isupper"); }

static bool names(wk_jval v, const wk_jbuiltin *table) { return v.kind == WK_J_STR && wk_jfind(table, v.s->p, v.s->n); }
TEST(t_filter) { YES(names(v, wk_jfilters)); }
TEST(t_test) { YES(names(v, wk_jtests)); }

const wk_jbuiltin wk_jtests[] = {
    { "odd", t_odd, "", 0 },
    { "even", t_even, "", 0 },
    { "divisibleby", t_divisibleby, "num", 1 },
    { "defined", t_defined, "", 0 },
    { "undefined", t_undefined, "", 0 },
    { "filter", t_filter, "", 0 },
    { "test", t_test, "", 0 },
    { "none", t_none, "", 0 },
    { "boolean", t_boolean, "", 0 },
    { "false", t_false, "", 0 },
    { "true", t_true, "", 0 },
    { "integer", t_integer, "", 0 },
    { "float", t_float, "", 0 },
    { "lower", t_lower, "", 0 },
    { "upper", t_upper, "", 0 },
    { "string", t_string, "", 0 },
    { "mapping", t_mapping, "", 0 },
    { "number", t_number, "", 0 },
    { "sequence", t_sequence, "", 0 },
    { "iterable", t_iterable, "", 0 },
    { "callable", t_callable, "", 0 },
    { "sameas", t_sameas, "other", 1 },
    { "escaped", t_escaped, "", 0 },
    { "in", t_in, "seq", 1 },
    { "==", t_eq, "-b", 1 },
    { "eq", t_eq, "-b", 1 },
    { "equalto", t_eq, "-b", 1 },
    { "!=", t_ne, "-b", 1 },
    { "ne", t_ne, "-b", 1 },
    { ">", t_gt, "-b", 1 },
    { "gt", t_gt, "-b", 1 },
    { "greaterthan", t_gt, "-b", 1 },
    { "ge", t_ge, "-b", 1 },
    { ">=", t_ge, "-b", 1 },
    { "<", t_lt, "-b", 1 },
    { "lt", t_lt, "-b", 1 },
    { "lessthan", t_lt, "-b", 1 },
    { "<=", t_le, "-b", 1 },
    { "le", t_le, "-b", 1 },
    { NULL, NULL, NULL, 0 },
};
