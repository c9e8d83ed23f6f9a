/* jinja_parse.c: tokens to a syntax tree, by recursive descent.
 * Grammar: jinja2's template designer documentation; where it is silent, what jinja2 3.1 accepts ("is" takes the next primary as
 * its argument, ** binds to the left, a filter after -x applies to -x).
 * Load: hundreds to thousands of nodes, once per model. Nesting is limited. */
#include "text/jinja.h"
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 200, N_BUCKET = 1024 };

typedef struct symbol { struct symbol *next; uint32_t id; wk_str name; } symbol;
typedef struct parser {
    wk_jmem *m;
    const wk_jtok *t;        /* the next token; the last one is never passed */
    int depth, loops;        /* loops: around this point, within the same macro */
    uint8_t uses;            /* WK_J_USES_* seen so far in this macro */
    const wk_jnode *unknown; /* a filter or test that does not exist, outside any if: an error, as in jinja2 */
    symbol *bucket[N_BUCKET];
    wk_str *sym;
    size_t n_sym, cap_sym;
} parser;

static wk_jnode *expression(parser *p);
static wk_jnode *tuple(parser *p, bool with_cond, bool in_parens);
static wk_jnode *statements(parser *p, const char *const *ends);

/* ---- tokens ---- */

static const char *describe(const wk_jtok *t, char out[64]) {
    static const char *const names[] = {
        [WK_T_DATA] = "text", [WK_T_VAR_BEGIN] = "{{", [WK_T_VAR_END] = "}}", [WK_T_BLOCK_BEGIN] = "{%", [WK_T_BLOCK_END] = "%}",
        [WK_T_STRING] = "a string", [WK_T_END] = "the end of the template",
    };
    if (t->kind < sizeof names / sizeof *names && names[t->kind]) return names[t->kind];
    snprintf(out, 64, "'%.*s'", (int)(t->text.len < 40 ? t->text.len : 40), t->text.ptr);
    return out;
}

static _Noreturn void unexpected(parser *p, const char *wanted) {
    char got[64];
    p->m->line = p->t->line;
    wk_jfail(p->m, "expected %s, found %s", wanted, describe(p->t, got));
}

static bool is_op(const parser *p, int op) { return p->t->kind == WK_T_OP && p->t->op == op; }
static bool is_name(const wk_jtok *t, const char *name) { return t->kind == WK_T_NAME && wk_str_eq(t->text, name); }
static const wk_jtok *take(parser *p) { return p->t->kind == WK_T_END ? p->t : p->t++; }

static bool skip_op(parser *p, int op) {
    if (!is_op(p, op)) return false;
    take(p);
    return true;
}

static bool skip_name(parser *p, const char *name) {
    if (!is_name(p->t, name)) return false;
    take(p);
    return true;
}

static void need_op(parser *p, char op) {
    char wanted[4] = { '\'', op, '\'', 0 };
    if (!skip_op(p, op)) unexpected(p, wanted);
}

static const wk_jtok *need(parser *p, wk_jtok_kind kind, const char *wanted) {
    if (p->t->kind != kind) unexpected(p, wanted);
    return take(p);
}

/* ---- nodes ---- */

static wk_jnode *node(parser *p, wk_jnode_kind kind, uint32_t line) {
    wk_jnode *n = wk_jalloc(p->m, sizeof *n);
    n->kind = (uint8_t)kind;
    n->line = line;
    return n;
}

static wk_jnode *node2(parser *p, wk_jnode_kind kind, uint32_t line, wk_jnode *a, wk_jnode *b) {
    wk_jnode *n = node(p, kind, line);
    n->a = a;
    n->b = b;
    return n;
}

static wk_jnode *constant(parser *p, uint32_t line, wk_jval v) {
    wk_jnode *n = node(p, WK_N_CONST, line);
    n->val = v;
    return n;
}

static uint32_t symbol_id(parser *p, wk_str name) {
    uint32_t h = 2166136261u;  /* FNV-1a */
    for (size_t i = 0; i < name.len; i++) h = (h ^ (unsigned char)name.ptr[i]) * 16777619u;
    symbol **at = &p->bucket[h % N_BUCKET];
    for (symbol *s = *at; s; s = s->next)
        if (s->name.len == name.len && !memcmp(s->name.ptr, name.ptr, name.len)) return s->id;
    symbol *s = wk_jalloc(p->m, sizeof *s);
    char *copy = wk_jalloc(p->m, name.len + 1);  /* ends with a NUL, for jansson */
    memcpy(copy, name.ptr, name.len);
    *s = (symbol){ *at, (uint32_t)p->n_sym, { copy, name.len } };
    *at = s;
    p->sym = wk_jgrow(p->m, p->sym, p->n_sym, &p->cap_sym, sizeof *p->sym);
    p->sym[p->n_sym++] = s->name;
    return s->id;
}

static wk_jnode *name_node(parser *p, const wk_jtok *t) {
    wk_jnode *n = node(p, WK_N_NAME, t->line);
    n->sym = symbol_id(p, t->text);
    return n;
}

static void enter(parser *p) {
    if (++p->depth <= MAX_DEPTH) return;
    p->m->line = p->t->line;
    wk_jfail(p->m, "more than %d expressions or blocks inside each other", MAX_DEPTH);
}

/* ---- expressions ---- */

/* n->list: positional; n->kw: WK_N_KEYWORD (val: the name, a: the value); star, star_star. The "(" is next. */
static void call_args(parser *p, wk_jnode *n) {
    wk_jnode **arg = &n->list, **kw = &n->kw;
    bool first = true;
    need_op(p, '(');
    while (!is_op(p, ')')) {
        if (!first) {
            need_op(p, ',');
            if (is_op(p, ')')) break;
        }
        first = false;
        const wk_jtok *t = p->t;
        p->m->line = t->line;
        if (skip_op(p, '*')) {
            if (n->star || n->star_star) wk_jfail(p->m, "a call takes one *arguments, before **keywords");
            n->star = expression(p);
        } else if (skip_op(p, WK_OP_POW)) {
            if (n->star_star) wk_jfail(p->m, "a call takes one **keywords");
            n->star_star = expression(p);
        } else if (t->kind == WK_T_NAME && t[1].kind == WK_T_OP && t[1].op == '=') {
            if (n->star_star) wk_jfail(p->m, "a keyword follows **keywords");
            for (wk_jnode *k = n->kw; k; k = k->next)
                if (k->val.s->n == t->text.len && !memcmp(k->val.s->p, t->text.ptr, t->text.len))
                    wk_jfail(p->m, "keyword '%.*s' is given twice", (int)t->text.len, t->text.ptr);
            p->t += 2;
            *kw = node2(p, WK_N_KEYWORD, t->line, expression(p), NULL);
            (*kw)->val = wk_jtext(p->m, t->text.ptr, t->text.len, 0);
            kw = &(*kw)->next;
        } else {
            if (n->star || n->star_star || n->kw) wk_jfail(p->m, "a positional argument follows keywords or *arguments");
            *arg = expression(p);
            arg = &(*arg)->next;
        }
    }
    need_op(p, ')');
}

/* Items up to close; a comma may stand before it. */
static wk_jnode *items(parser *p, char close, wk_jnode *(*item)(parser *p)) {
    wk_jnode *first = NULL, **last = &first;
    while (!is_op(p, close)) {
        if (first) {
            need_op(p, ',');
            if (is_op(p, close)) break;
        }
        *last = item(p);
        last = &(*last)->next;
    }
    need_op(p, close);
    return first;
}

static wk_jnode *pair(parser *p) {
    uint32_t line = p->t->line;
    wk_jnode *key = expression(p);
    need_op(p, ':');
    return node2(p, WK_N_PAIR, line, key, expression(p));
}

static wk_jnode *strings(parser *p) {
    const wk_jtok *t = p->t;
    size_t n = 0;
    for (const wk_jtok *s = t; s->kind == WK_T_STRING; s++) n += s->text.len;
    const char *text = t->text.ptr;
    if (t[1].kind == WK_T_STRING) {
        char *joined = wk_jalloc(p->m, n + 1), *to = joined;
        for (const wk_jtok *s = t; s->kind == WK_T_STRING; s++) {
            if (s->text.len) memcpy(to, s->text.ptr, s->text.len);
            to += s->text.len;
        }
        text = joined;
    }
    while (p->t->kind == WK_T_STRING) take(p);
    return constant(p, t->line, wk_jtext(p->m, text, n, 0));
}

static wk_jnode *primary(parser *p, bool with_namespace) {
    const wk_jtok *t = p->t;
    wk_jnode *n;
    switch (t->kind) {
    case WK_T_NAME:
        take(p);
        if (wk_str_eq(t->text, "true") || wk_str_eq(t->text, "True")) return constant(p, t->line, wk_jbool(true));
        if (wk_str_eq(t->text, "false") || wk_str_eq(t->text, "False")) return constant(p, t->line, wk_jbool(false));
        if (wk_str_eq(t->text, "none") || wk_str_eq(t->text, "None")) return constant(p, t->line, wk_jnone());
        n = name_node(p, t);
        if (n->sym == WK_SYM_CALLER) p->uses |= WK_J_USES_CALLER;
        if (n->sym == WK_SYM_VARARGS) p->uses |= WK_J_USES_VARARGS;
        if (n->sym == WK_SYM_KWARGS) p->uses |= WK_J_USES_KWARGS;
        if (with_namespace && skip_op(p, '.')) {
            n->kind = WK_N_NSREF;
            t = need(p, WK_T_NAME, "the name of an attribute");
            n->val = wk_jtext(p->m, t->text.ptr, t->text.len, 0);
        }
        return n;
    case WK_T_STRING: return strings(p);
    case WK_T_INT: return constant(p, take(p)->line, wk_jint(t->i));
    case WK_T_FLOAT: return constant(p, take(p)->line, wk_jfloat(t->f));
    default: break;
    }
    if (skip_op(p, '(')) {
        n = tuple(p, true, true);
        need_op(p, ')');
    } else if (skip_op(p, '[')) {
        n = node(p, WK_N_LIST, t->line);
        n->list = items(p, ']', expression);
    } else if (skip_op(p, '{')) {
        n = node(p, WK_N_DICT, t->line);
        n->list = items(p, '}', pair);
    } else {
        unexpected(p, "an expression");
    }
    return n;
}

/* One part of what stands between [ and ]: an expression, or WK_N_SLICE with a, b, c (each may be NULL). */
static wk_jnode *subscript(parser *p) {
    uint32_t line = p->t->line;
    wk_jnode *a = NULL, *b = NULL, *c = NULL, *n;
    if (!is_op(p, ':')) {
        a = expression(p);
        if (!is_op(p, ':')) return a;
    }
    need_op(p, ':');
    if (!is_op(p, ':') && !is_op(p, ']') && !is_op(p, ',')) b = expression(p);
    if (skip_op(p, ':') && !is_op(p, ']') && !is_op(p, ',')) c = expression(p);
    n = node2(p, WK_N_SLICE, line, a, b);
    n->c = c;
    return n;
}

/* WK_N_ATTR: a, val. WK_N_ITEM: a, b. WK_N_CALL: a and arguments. */
static wk_jnode *postfix(parser *p, wk_jnode *n) {
    for (;;) {
        uint32_t line = p->t->line;
        if (skip_op(p, '.')) {
            const wk_jtok *t = p->t;
            if (t->kind == WK_T_INT) {
                n = node2(p, WK_N_ITEM, line, n, constant(p, line, wk_jint(take(p)->i)));
            } else {
                need(p, WK_T_NAME, "a name or a number after '.'");
                n = node2(p, WK_N_ATTR, line, n, NULL);
                n->val = wk_jtext(p->m, t->text.ptr, t->text.len, 0);
            }
        } else if (skip_op(p, '[')) {
            wk_jnode *key = items(p, ']', subscript);
            if (!key || key->next) {
                wk_jnode *many = node(p, WK_N_TUPLE, line);
                many->list = key;
                key = many;
            }
            n = node2(p, WK_N_ITEM, line, n, key);
        } else if (is_op(p, '(')) {
            n = node2(p, WK_N_CALL, line, n, NULL);
            call_args(p, n);
        } else {
            return n;
        }
    }
}

/* Dots are part of a filter's or test's name; none of ours has one. */
static wk_jnode *named(parser *p, wk_jnode_kind kind, uint32_t line, wk_jnode *of) {
    const wk_jtok *t = need(p, WK_T_NAME, kind == WK_N_FILTER ? "the name of a filter" : "the name of a test");
    wk_jnode *n = node2(p, kind, line, of, NULL);
    wk_str name = t->text;
    while (skip_op(p, '.')) {
        const wk_jtok *more = need(p, WK_T_NAME, "a name after '.'");
        name.len = (size_t)(more->text.ptr + more->text.len - name.ptr);
    }
    n->val = wk_jtext(p->m, name.ptr, name.len, 0);
    n->fn = wk_jfind(kind == WK_N_FILTER ? wk_jfilters : wk_jtests, name.ptr, name.len);
    if (!n->fn && !p->unknown) p->unknown = n;
    return n;
}

/* WK_N_FILTER: a (NULL: the block's text), fn, val, arguments. The name is next. */
static wk_jnode *filter(parser *p, wk_jnode *of) {
    wk_jnode *n = named(p, WK_N_FILTER, p->t->line, of);
    if (is_op(p, '(')) call_args(p, n);
    return n;
}

/* WK_N_TEST: as a filter. "is" has been read. */
static wk_jnode *test(parser *p, wk_jnode *of) {
    uint32_t line = p->t->line;
    bool negated = skip_name(p, "not");
    wk_jnode *n = named(p, WK_N_TEST, line, of);
    const wk_jtok *t = p->t;
    if (is_op(p, '(')) {
        call_args(p, n);
    } else if (t->kind == WK_T_NAME || t->kind == WK_T_STRING || t->kind == WK_T_INT || t->kind == WK_T_FLOAT || is_op(p, '[') ||
               is_op(p, '{')) {
        if (is_name(t, "is")) unexpected(p, "no second 'is'");
        if (!is_name(t, "else") && !is_name(t, "or") && !is_name(t, "and")) n->list = postfix(p, primary(p, false));
    }
    return negated ? node2(p, WK_N_NOT, line, n, NULL) : n;
}

static wk_jnode *unary(parser *p, bool with_filter) {
    uint32_t line = p->t->line;
    wk_jnode *n;
    if (is_op(p, '-') || is_op(p, '+')) {
        enter(p);
        bool minus = take(p)->op == '-';
        n = node2(p, minus ? WK_N_NEG : WK_N_POS, line, unary(p, false), NULL);
        p->depth--;
    } else {
        n = primary(p, false);
    }
    n = postfix(p, n);
    while (with_filter) {
        if (skip_op(p, '|')) n = filter(p, n);
        else if (skip_name(p, "is")) n = test(p, n);
        else if (is_op(p, '(')) n = postfix(p, n);
        else break;
    }
    return n;
}

/* Two-operand operators by how tightly they bind; ops: characters and WK_OP_*. */
typedef enum level { L_OR, L_AND, L_NOT, L_COMPARE, L_ADD, L_CONCAT, L_MULTIPLY, L_POWER, L_UNARY } level;

static int operator_here(const parser *p, level l) {
    static const uint8_t ops[][7] = {
        [L_COMPARE] = { WK_OP_EQ, WK_OP_NE, '<', '>', WK_OP_LE, WK_OP_GE },
        [L_ADD] = { '+', '-' }, [L_CONCAT] = { '~' }, [L_MULTIPLY] = { '*', '/', WK_OP_FLOORDIV, '%' }, [L_POWER] = { WK_OP_POW },
    };
    if (l == L_OR) return is_name(p->t, "or");
    if (l == L_AND) return is_name(p->t, "and");
    if (l == L_COMPARE && is_name(p->t, "in")) return WK_OP_IN;
    if (l == L_COMPARE && is_name(p->t, "not") && is_name(p->t + 1, "in")) return WK_OP_NOT_IN;
    for (const uint8_t *op = ops[l]; p->t->kind == WK_T_OP && *op; op++) if (*op == p->t->op) return *op;
    return 0;
}

/* WK_N_BINARY, _AND, _OR: op, a, b. WK_N_COMPARE: a, list of WK_N_OPERAND (op, a). WK_N_CONCAT: list. WK_N_NOT: a. */
static wk_jnode *binary(parser *p, level l) {
    uint32_t line = p->t->line;
    if (l == L_UNARY) return unary(p, true);
    if (l == L_NOT) {
        if (!skip_name(p, "not")) return binary(p, L_COMPARE);
        enter(p);
        wk_jnode *n = node2(p, WK_N_NOT, line, binary(p, L_NOT), NULL);
        p->depth--;
        return n;
    }
    wk_jnode *left = binary(p, l + 1), **last = NULL;
    for (int op; (op = operator_here(p, l)) != 0; line = p->t->line) {
        take(p);
        if (op == WK_OP_NOT_IN) take(p);
        wk_jnode *right = binary(p, l + 1);
        if (l == L_COMPARE || l == L_CONCAT) {
            if (!last) {
                wk_jnode *n = node2(p, l == L_COMPARE ? WK_N_COMPARE : WK_N_CONCAT, line, left, NULL);
                last = &n->list;
                if (l == L_CONCAT) { *last = left; last = &left->next; }
                left = n;
            }
            if (l == L_COMPARE) {
                right = node2(p, WK_N_OPERAND, line, right, NULL);
                right->op = (uint8_t)op;
            }
            *last = right;
            last = &right->next;
        } else {
            left = node2(p, l == L_OR ? WK_N_OR : l == L_AND ? WK_N_AND : WK_N_BINARY, line, left, right);
            left->op = (uint8_t)op;
        }
    }
    return left;
}

/* WK_N_COND: a if b else c (NULL: undefined). Filters that do not exist may stand in one: it may never come to them. */
static wk_jnode *expression(parser *p) {
    const wk_jnode *unknown = p->unknown;
    uint32_t line = p->t->line;
    enter(p);
    wk_jnode *n = binary(p, L_OR);
    while (skip_name(p, "if")) {
        n = node2(p, WK_N_COND, line, n, binary(p, L_OR));
        if (skip_name(p, "else")) n->c = expression(p);
        p->unknown = unknown;
        line = p->t->line;
    }
    p->depth--;
    return n;
}

/* Where a list of things with commas may end after a comma. */
static bool at_tuple_end(const parser *p) { return p->t->kind == WK_T_VAR_END || p->t->kind == WK_T_BLOCK_END || is_op(p, ')'); }

/* An expression, or several with commas as WK_N_TUPLE: list. */
static wk_jnode *tuple(parser *p, bool with_cond, bool in_parens) {
    uint32_t line = p->t->line;
    wk_jnode *first = NULL, **last = &first;
    bool comma = false;
    while (!at_tuple_end(p)) {
        *last = with_cond ? expression(p) : binary(p, L_OR);
        last = &(*last)->next;
        if (!is_op(p, ',')) break;
        comma = true;
        take(p);
    }
    if (!comma && first) return first;
    if (!comma && !in_parens) unexpected(p, "an expression");
    wk_jnode *n = node(p, WK_N_TUPLE, line);
    n->list = first;
    return n;
}

/* ---- statements ---- */

static void can_assign(parser *p, const wk_jnode *n) {
    p->m->line = n->line;
    if (n->kind == WK_N_TUPLE) {
        for (const wk_jnode *k = n->list; k; k = k->next) can_assign(p, k);
    } else if (n->kind == WK_N_NAME || n->kind == WK_N_NSREF) {
        if (n->kind == WK_N_NAME && n->sym == WK_SYM_LOOP && p->loops) wk_jfail(p->m, "'loop' cannot be assigned to inside a loop");
    } else {
        wk_jfail(p->m, "this cannot be assigned to; only names can, and attributes of a namespace");
    }
}

/* Names, with commas as WK_N_TUPLE. */
static wk_jnode *target(parser *p, bool with_namespace) {
    uint32_t line = p->t->line;
    uint8_t uses = p->uses;
    wk_jnode *first = NULL, **last = &first, *n;
    bool comma = false;
    while (!at_tuple_end(p)) {
        *last = primary(p, with_namespace);
        last = &(*last)->next;
        if (!is_op(p, ',')) break;
        comma = true;
        take(p);
    }
    if (!first) unexpected(p, "a name to assign to");
    n = first;
    if (comma) {
        n = node(p, WK_N_TUPLE, line);
        n->list = first;
    }
    can_assign(p, n);
    p->uses = uses;  /* a name that is assigned is not a use of it */
    return n;
}

/* A name that is not a constant's. */
static wk_jnode *only_name(parser *p, const char *wanted) {
    static const char *const constants[] = { "true", "false", "none", "True", "False", "None" };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (is_name(p->t, constants[i])) unexpected(p, wanted);
    return name_node(p, need(p, WK_T_NAME, wanted));
}

static bool at_end(const parser *p, const char *const *ends) {
    for (; *ends; ends++) if (is_name(p->t, *ends)) return true;
    return false;
}

/* The body of a block after its opening tag's words, up to (and not taking) one of the words in ends. */
static wk_jnode *body(parser *p, const char *const *ends) {
    skip_op(p, ':');
    need(p, WK_T_BLOCK_END, "'%}'");
    wk_jnode *first = statements(p, ends);
    if (p->t->kind == WK_T_END) {
        p->m->line = p->t->line;
        wk_jfail(p->m, "the template ends where {%% %s %%} should be", ends[0]);
    }
    return first;
}

static wk_jnode *body_to(parser *p, const char *end) {
    wk_jnode *first = body(p, (const char *const[]){ end, NULL });
    take(p);
    return first;
}

/* A body with a scope of its own: a filter that does not exist is an error in it, even inside an if. */
typedef struct inner { const wk_jnode *unknown; int loops; } inner;
static inner open_inner(parser *p) {
    inner saved = { p->unknown, p->loops };
    p->unknown = NULL;
    return saved;
}

static void no_unknown(parser *p) {
    if (!p->unknown) return;
    p->m->line = p->unknown->line;
    const wk_jstr *name = p->unknown->val.s;
    wk_jfail(p->m, "there is no %s named '%.*s'", p->unknown->kind == WK_N_FILTER ? "filter" : "test", (int)name->n, name->p);
}

static void close_inner(parser *p, inner saved) {
    no_unknown(p);
    p->unknown = saved.unknown;
    p->loops = saved.loops;
}

/* WK_N_SET: a target, b value. WK_N_SET_BLOCK: a target, b filters, body. */
static wk_jnode *set(parser *p, uint32_t line) {
    wk_jnode *to = target(p, true), *n;
    if (skip_op(p, '=')) return node2(p, WK_N_SET, line, to, tuple(p, true, false));
    inner in = open_inner(p);
    n = node2(p, WK_N_SET_BLOCK, line, to, NULL);
    while (skip_op(p, '|')) n->b = filter(p, n->b);
    n->body = body_to(p, "endset");
    close_inner(p, in);
    return n;
}

/* WK_N_FOR: a target, b items, c condition, flag recursive, body, orelse. */
static wk_jnode *for_loop(parser *p, uint32_t line) {
    wk_jnode *n = node(p, WK_N_FOR, line);
    p->loops++;
    n->a = target(p, false);
    p->loops--;
    if (!skip_name(p, "in")) unexpected(p, "'in'");
    n->b = tuple(p, false, false);
    inner in = open_inner(p);
    if (skip_name(p, "if")) n->c = expression(p);
    n->flag = skip_name(p, "recursive");
    p->loops++;
    n->body = body(p, (const char *const[]){ "endfor", "else", NULL });
    p->loops--;
    if (is_name(take(p), "else")) n->orelse = body_to(p, "endfor");
    close_inner(p, in);
    return n;
}

/* WK_N_IF: list of WK_N_BRANCH (a condition, body), orelse. No scope of its own. */
static wk_jnode *if_else(parser *p, uint32_t line) {
    const wk_jnode *unknown = p->unknown;
    wk_jnode *n = node(p, WK_N_IF, line), **last = &n->list;
    const wk_jtok *word;
    do {
        wk_jnode *branch = *last = node(p, WK_N_BRANCH, p->t->line);
        last = &branch->next;
        branch->a = tuple(p, false, false);
        branch->body = body(p, (const char *const[]){ "endif", "elif", "else", NULL });
        word = take(p);
    } while (is_name(word, "elif"));
    if (is_name(word, "else")) n->orelse = body_to(p, "endif");
    p->unknown = unknown;
    return n;
}

/* Parameters as a list of WK_N_NAME, b: the default. */
static wk_jnode *signature(parser *p) {
    wk_jnode *first = NULL, **last = &first;
    bool defaults = false;
    need_op(p, '(');
    while (!is_op(p, ')')) {
        if (first) need_op(p, ',');
        wk_jnode *n = only_name(p, "the name of a parameter");
        for (wk_jnode *k = first; k; k = k->next) if (k->sym == n->sym) unexpected(p, "a different name for each parameter");
        if (skip_op(p, '=')) n->b = expression(p), defaults = true;
        else if (defaults) unexpected(p, "a default: parameters after one with a default need one too");
        *last = n;
        last = &n->next;
    }
    need_op(p, ')');
    return first;
}

/* The body of a macro (or of a call block) into n: list parameters, body, flag WK_J_USES_*. */
static void macro_body(parser *p, wk_jnode *n, const char *end) {
    p->uses = 0;
    p->loops = 0;
    n->body = body_to(p, end);
    n->flag = p->uses;
    for (wk_jnode *k = n->list; k; k = k->next) {
        if (k->sym == WK_SYM_VARARGS) n->flag &= (uint8_t)~WK_J_USES_VARARGS;
        if (k->sym == WK_SYM_KWARGS) n->flag &= (uint8_t)~WK_J_USES_KWARGS;
        if (k->sym == WK_SYM_CALLER && (n->flag & WK_J_USES_CALLER) && !k->b) {
            p->m->line = n->line;
            wk_jfail(p->m, "a parameter named 'caller' needs a default");
        }
    }
}

/* WK_N_MACRO: sym, and as macro_body(). */
static wk_jnode *macro(parser *p, uint32_t line) {
    wk_jnode *n = only_name(p, "the name of the macro");
    uint8_t uses = p->uses;
    inner in = open_inner(p);
    n->kind = WK_N_MACRO;
    n->line = line;
    n->list = signature(p);
    macro_body(p, n, "endmacro");
    p->uses |= uses;
    close_inner(p, in);
    return n;
}

/* WK_N_CALL_BLOCK: a the call, and as macro_body(): the caller. */
static wk_jnode *call_block(parser *p, uint32_t line) {
    wk_jnode *n = node(p, WK_N_CALL_BLOCK, line);
    if (is_op(p, '(')) n->list = signature(p);
    n->a = expression(p);
    if (n->a->kind != WK_N_CALL) unexpected(p, "a call of a macro before it");
    n->sym = WK_SYM_CALLER;
    inner in = open_inner(p);
    uint8_t uses = p->uses;
    macro_body(p, n, "endcall");
    p->uses |= uses;
    close_inner(p, in);
    return n;
}

/* WK_N_FILTER_BLOCK: b filters, body. */
static wk_jnode *filter_block(parser *p, uint32_t line) {
    wk_jnode *n = node(p, WK_N_FILTER_BLOCK, line);
    inner in = open_inner(p);
    n->b = filter(p, NULL);
    while (skip_op(p, '|')) n->b = filter(p, n->b);
    n->body = body_to(p, "endfilter");
    close_inner(p, in);
    return n;
}

/* WK_N_WITH: list of WK_N_PAIR (a target, b value), body. */
static wk_jnode *with(parser *p, uint32_t line) {
    wk_jnode *n = node(p, WK_N_WITH, line), **last = &n->list;
    while (p->t->kind != WK_T_BLOCK_END) {
        if (n->list) need_op(p, ',');
        wk_jnode *to = target(p, false);
        need_op(p, '=');
        *last = node2(p, WK_N_PAIR, line, to, expression(p));
        last = &(*last)->next;
    }
    inner in = open_inner(p);
    n->body = body_to(p, "endwith");
    close_inner(p, in);
    return n;
}

/* WK_N_OUTPUT: list of expressions, text as WK_N_CONST. */
static wk_jnode *print(parser *p, uint32_t line) {
    wk_jnode *n = node(p, WK_N_OUTPUT, line), **last = &n->list;
    while (p->t->kind != WK_T_BLOCK_END) {
        if (n->list) need_op(p, ',');
        *last = expression(p);
        last = &(*last)->next;
    }
    return n;
}

/* WK_N_BREAK, WK_N_CONTINUE. */
static wk_jnode *jump(parser *p, uint32_t line) {
    bool out = is_name(p->t - 1, "break");
    p->m->line = line;
    if (!p->loops) wk_jfail(p->m, "{%% %s %%} outside a loop", out ? "break" : "continue");
    return node(p, out ? WK_N_BREAK : WK_N_CONTINUE, line);
}

/* WK_N_GENERATION: body. */
static wk_jnode *generation(parser *p, uint32_t line) {
    wk_jnode *n = node(p, WK_N_GENERATION, line);
    inner in = open_inner(p);
    p->loops = 0;
    n->body = body_to(p, "endgeneration");
    close_inner(p, in);
    return n;
}

/* A block that nothing inherits from is its body in a scope of its own. WK_N_SCOPE: body. */
static wk_jnode *block(parser *p, uint32_t line) {
    wk_jnode *n = node(p, WK_N_SCOPE, line);
    const wk_jtok *name = need(p, WK_T_NAME, "the name of the block");
    inner in = open_inner(p);
    p->loops = 0;
    skip_name(p, "scoped");
    n->body = body_to(p, "endblock");
    if (p->t->kind == WK_T_NAME && p->t->text.len == name->text.len && !memcmp(p->t->text.ptr, name->text.ptr, name->text.len))
        take(p);
    close_inner(p, in);
    return n;
}

static wk_jnode *refused(parser *p, uint32_t line) {
    const wk_str w = p->t[-1].text;
    p->m->line = line;
    wk_jfail(p->m, "{%% %.*s %%} is not supported: a chat template has no other templates beside it", (int)w.len, w.ptr);
}

static wk_jnode *autoescape(parser *p, uint32_t line) {
    p->m->line = line;
    wk_jfail(p->m, "{%% autoescape %%} is not supported: text is never escaped by itself; use the filter 'escape'");
}

static wk_jnode *statement(parser *p) {
    static const struct { const char *word; wk_jnode *(*parse)(parser *, uint32_t);
    } words[] = {
        { "set", set },         { "for", for_loop },          { "if", if_else },
        { "macro", macro },     { "call", call_block },       { "filter", filter_block },
        { "with", with },       { "print", print },           { "break", jump },
        { "continue", jump },   { "generation", generation }, { "block", block },
        { "include", refused }, { "import", refused },        { "from", refused },
        { "extends", refused }, { "autoescape", autoescape },
    };
    const wk_jtok *t = need(p, WK_T_NAME, "the name of a tag");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (wk_str_eq(t->text, words[i].word)) return words[i].parse(p, t->line);
    p->m->line = t->line;
    wk_jfail(p->m, "unknown tag '%.*s', or one that closes nothing", (int)(t->text.len < 40 ? t->text.len : 40), t->text.ptr);
}

/* Up to one of the words in ends after a {%, which is then next; NULL: to the end of the template. */
static wk_jnode *statements(parser *p, const char *const *ends) {
    wk_jnode *first = NULL, **last = &first, *out = NULL, **part = NULL;
    enter(p);
    while (p->t->kind != WK_T_END) {
        const wk_jtok *t = take(p);
        if (t->kind == WK_T_BLOCK_BEGIN) {
            if (ends && at_end(p, ends)) break;
            *last = statement(p);
            last = &(*last)->next;
            need(p, WK_T_BLOCK_END, "'%}'");
            out = NULL;
            continue;
        }
        if (!out) {
            out = *last = node(p, WK_N_OUTPUT, t->line);
            last = &out->next;
            part = &out->list;
        }
        if (t->kind == WK_T_DATA) {
            *part = constant(p, t->line, wk_jtext(p->m, t->text.ptr, t->text.len, 0));
        } else {
            *part = tuple(p, true, false);
            need(p, WK_T_VAR_END, "'}}'");
        }
        part = &(*part)->next;
    }
    p->depth--;
    return first;
}

void wk_jparse(wk_jmem *m, const char *src, size_t n, wk_template *t) {
    static const char *const fixed[] = {
        [WK_SYM_LOOP] = "loop", [WK_SYM_CALLER] = "caller", [WK_SYM_VARARGS] = "varargs", [WK_SYM_KWARGS] = "kwargs"
    };
    parser *p = wk_jalloc(m, sizeof *p);
    p->m = m;
    for (size_t i = 0; i < WK_SYM_FIXED; i++) symbol_id(p, (wk_str){ fixed[i], strlen(fixed[i]) });
    p->t = wk_jlex(m, src, n);
    t->body = statements(p, NULL);
    no_unknown(p);
    t->sym = p->sym;
    t->n_sym = (uint32_t)p->n_sym;
}
