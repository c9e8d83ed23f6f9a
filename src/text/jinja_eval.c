/* jinja_eval.c: walks the tree: statements write to r->out, expressions give values.
 * Scopes: jinja2's "Assignments" and "Scoping Behavior": for, macro, call, set and filter blocks, with and generation have one of
 * their own, if has none; what is set in an inner one stays there. Operators: Python's, with 64-bit integers: what needs more is an
 * error. Load: 10^3 to 10^5 nodes a rendering. */
#include "text/jinja.h"
#include <math.h>
#include <string.h>

typedef enum flow { GO, BREAK, CONTINUE } flow;
static flow exec_list(wk_jrun *r, const wk_jnode *n);

/* ---- variables ---- */

static const wk_jval *lookup(const wk_jrun *r, uint32_t sym) {
    for (const wk_jscope *s = r->scope; s; s = s->up)
        for (const wk_jvar *v = s->vars; v; v = v->next) if (v->sym == sym) return &v->val;
    return r->root[sym].kind == WK_J_MISSING ? NULL : &r->root[sym];
}

static void set_name(wk_jrun *r, uint32_t sym, wk_jval val) {
    if (!r->scope) { r->root[sym] = val; return; }
    for (wk_jvar *v = r->scope->vars; v; v = v->next)
        if (v->sym == sym) { v->val = val; return; }
    wk_jvar *v = wk_jalloc(&r->m, sizeof *v);
    *v = (wk_jvar){ r->scope->vars, sym, val };
    r->scope->vars = v;
}

/* A scope inside `up`, now the current one. */
static void open_scope(wk_jrun *r, wk_jscope *up) {
    wk_jscope *s = wk_jalloc(&r->m, sizeof *s);
    s->up = up;
    r->scope = s;
}

static void assign(wk_jrun *r, const wk_jnode *to, wk_jval v) {
    r->m.line = to->line;
    if (to->kind == WK_N_NAME) {
        set_name(r, to->sym, v);
    } else if (to->kind == WK_N_NSREF) {
        const wk_jval *ns = lookup(r, to->sym);
        if (!ns || ns->kind != WK_J_NAMESPACE)
            wk_jfail(&r->m, "'%s' is not a namespace: its attributes cannot be set", r->t->sym[to->sym].ptr);
        wk_jdict_set(r, ns->d, to->val, v);
    } else {
        wk_jlist l = wk_jiter(r, v);
        size_t n = 0;
        for (const wk_jnode *k = to->list; k; k = k->next) n++;
        if (l.n != n) wk_jfail(&r->m, "%zu values for %zu names", l.n, n);
        n = 0;
        for (const wk_jnode *k = to->list; k; k = k->next) assign(r, k, l.v[n++]);
    }
}

/* ---- operators ---- */

static _Noreturn void no_operator(wk_jrun *r, const char *op, wk_jval a, wk_jval b) {
    if (a.kind == WK_J_UNDEF) wk_jfail_undef(r, a);
    if (b.kind == WK_J_UNDEF) wk_jfail_undef(r, b);
    wk_jfail(&r->m, "'%s' does not work on %s and %s", op, wk_jtype(a), wk_jtype(b));
}

static const char *op_name(int op) {
    static const char *const names[] = { "==", "!=", "<=", ">=", "//", "**", "in", "not in" };
    static const char one[][2] = { "+", "-", "*", "/", "%", "<", ">" };
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) if (one[i][0] == op) return one[i];
    return names[op - WK_OP_EQ];
}

static wk_jval int_power(wk_jrun *r, int64_t x, int64_t n, bool *wraps) {
    int64_t y = 1;
    while (n && !*wraps) {
        if (n & 1) *wraps = __builtin_mul_overflow(y, x, &y);
        n >>= 1;
        if (n && !*wraps) *wraps = __builtin_mul_overflow(x, x, &x);
        wk_jstep(r, 1);
    }
    return wk_jint(y);
}

static wk_jval ints(wk_jrun *r, int op, int64_t x, int64_t y) {
    int64_t z = 0;
    bool wraps = false;
    wk_jval v = { 0 };
    if ((op == '/' || op == '%' || op == WK_OP_FLOORDIV) && !y) wk_jfail(&r->m, "division by zero");
    switch (op) {
    case '+': wraps = __builtin_add_overflow(x, y, &z); break;
    case '-': wraps = __builtin_sub_overflow(x, y, &z); break;
    case '*': wraps = __builtin_mul_overflow(x, y, &z); break;
    case '/': return wk_jfloat((double)x / (double)y);
    case '%': z = y == -1 ? 0 : x % y; if (z && (z < 0) != (y < 0)) z += y; break;  /* the sign is the divisor's */
    case WK_OP_FLOORDIV: wraps = y == -1 && x == INT64_MIN; if (!wraps) z = x / y - (x % y && (x < 0) != (y < 0)); break;
    case WK_OP_POW:
        if (y < 0 && !x) wk_jfail(&r->m, "0 to a negative power");
        if (y < 0) return wk_jfloat(pow((double)x, (double)y));
        v = int_power(r, x, y, &wraps);
        z = v.i;
        break;
    }
    if (wraps) wk_jfail(&r->m, "an integer above 2^63-1 (or below -2^63)");
    return wk_jint(z);
}

static wk_jval floats(wk_jrun *r, int op, double x, double y) {
    double z = 0;
    if ((op == '/' || op == '%' || op == WK_OP_FLOORDIV) && y == 0) wk_jfail(&r->m, "division by zero");
    switch (op) {
    case '+': z = x + y; break;
    case '-': z = x - y; break;
    case '*': z = x * y; break;
    case '/': z = x / y; break;
    case '%':
    case WK_OP_FLOORDIV: {
        double mod = fmod(x, y);
        if (mod != 0 && (mod < 0) != (y < 0)) mod += y;
        if (mod == 0) mod = copysign(0, y);
        double div = (x - mod) / y, whole = floor(div);
        z = op == '%' ? mod : div == 0 ? copysign(0, x / y) : div - whole > 0.5 ? whole + 1 : whole;
        break;
    }
    case WK_OP_POW:
        if (x == 0 && y < 0) wk_jfail(&r->m, "0 to a negative power");
        if (x < 0 && floor(y) != y && isfinite(y)) wk_jfail(&r->m, "a negative number to a power that is not whole");
        z = pow(x, y);
        if (isinf(z) && isfinite(x) && isfinite(y)) wk_jfail(&r->m, "the power is too large");
        break;
    }
    return wk_jfloat(z);
}

static wk_jval add_text(wk_jrun *r, wk_jval a, wk_jval b) {
    uint8_t markup = a.markup | b.markup;
    wk_jbuf out = { 0 };
    if (markup) a = wk_jescape(r, a), b = wk_jescape(r, b);
    wk_jput_str(r, &out, a.s);
    wk_jput_str(r, &out, b.s);
    return wk_jmark(wk_jput_end(r, &out), markup);
}

static wk_jval repeat(wk_jrun *r, wk_jval v, int64_t n) {
    if (v.kind == WK_J_STR) {
        wk_jbuf out = { 0 };
        for (int64_t i = 0; v.s->n && i < n; i++) {
            wk_jput_str(r, &out, v.s);
            wk_jstep(r, i % 16 == 0);
        }
        return wk_jmark(wk_jput_end(r, &out), v.markup);
    }
    wk_jval l = wk_jlist_new(r, v.l->type, 0);
    l.from = v.from;
    for (int64_t i = 0; v.l->n && i < n; i++)
        for (size_t k = 0; k < v.l->n; k++) {
            wk_jlist_add(r, l.l, v.l->v[k]);
            wk_jstep(r, k % 16 == 0);
        }
    return l;
}

static bool is_sequence(wk_jval v) { return v.kind == WK_J_STR || (v.kind == WK_J_LIST && v.l->type <= WK_J_SEQ_TUPLE); }

wk_jval wk_jbinary(wk_jrun *r, int op, wk_jval a, wk_jval b) {
    wk_jval v;
    if (wk_jnumeric(a) && wk_jnumeric(b)) {
        if (a.kind == WK_J_FLOAT || b.kind == WK_J_FLOAT) v = floats(r, op, wk_jas_float(a), wk_jas_float(b));
        else v = ints(r, op, wk_jas_int(a), wk_jas_int(b));
        v.from = a.from | b.from;
        return v;
    }
    if (a.kind == WK_J_UNDEF) wk_jfail_undef(r, a);
    if (op == '%' && a.kind == WK_J_STR) return wk_jmark(wk_jpercent(r, a.s, b, a.markup), a.markup);
    if (op == '+' && a.kind == WK_J_STR && b.kind == WK_J_STR) return add_text(r, a, b);
    if (op == '+' && is_sequence(a) && is_sequence(b) && a.kind == WK_J_LIST && b.kind == WK_J_LIST && a.l->type == b.l->type) {
        v = wk_jlist_new(r, a.l->type, a.l->n + b.l->n);
        for (size_t i = 0; i < a.l->n; i++) v.l->v[v.l->n++] = a.l->v[i];
        for (size_t i = 0; i < b.l->n; i++) v.l->v[v.l->n++] = b.l->v[i];
        v.from = a.from | b.from;
        return v;
    }
    if (op == '*' && is_sequence(a) && wk_jintegral(b)) return repeat(r, a, wk_jas_int(b));
    if (op == '*' && is_sequence(b) && wk_jintegral(a)) return repeat(r, b, wk_jas_int(a));
    no_operator(r, op_name(op), a, b);
}

bool wk_jcompare(wk_jrun *r, int op, wk_jval a, wk_jval b) {
    int c;
    switch (op) {
    case WK_OP_EQ: return wk_jequal(r, a, b);
    case WK_OP_NE: return !wk_jequal(r, a, b);
    case WK_OP_IN: return wk_jcontains(r, b, a);
    case WK_OP_NOT_IN: return !wk_jcontains(r, b, a);
    }
    c = wk_jorder(r, a, b, op_name(op));
    return op == '<' ? c == -1 : op == '>' ? c == 1 : op == WK_OP_LE ? c <= 0 : c == 0 || c == 1;
}

/* ---- calls ---- */

static void eval_args(wk_jrun *r, const wk_jnode *n, wk_jcall *c) {
    *c = (wk_jcall){ 0 };
    for (const wk_jnode *k = n->list; k; k = k->next) {
        c->arg = wk_jgrow(&r->m, c->arg, c->n, &c->cap, sizeof *c->arg);
        c->arg[c->n] = wk_jeval(r, k);
        c->n++;
    }
    if (n->star) {
        wk_jlist l = wk_jiter(r, wk_jeval(r, n->star));
        for (size_t i = 0; i < l.n; i++) {
            c->arg = wk_jgrow(&r->m, c->arg, c->n, &c->cap, sizeof *c->arg);
            c->arg[c->n++] = l.v[i];
        }
    }
    if (n->kw || n->star_star) c->kw = wk_jdict_new(r).d;
    for (const wk_jnode *k = n->kw; k; k = k->next) {
        wk_jval v = wk_jeval(r, k->a);
        wk_jdict_set(r, c->kw, k->val, v);
    }
    if (n->star_star) {
        wk_jval d = wk_jeval(r, n->star_star);
        r->m.line = n->line;
        if (d.kind != WK_J_DICT) wk_jfail(&r->m, "what follows ** must be a dict, not %s", wk_jtype(d));
        for (size_t i = 0; i < d.d->n; i++) {
            const wk_jpair *p = &d.d->p[i];
            if (p->k.kind != WK_J_STR) wk_jfail(&r->m, "the keys of what follows ** must be text");
            if (wk_jdict_find(r, c->kw, p->k)) wk_jfail(&r->m, "keyword '%.*s' is given twice", (int)p->k.s->n, p->k.s->p);
            wk_jdict_set(r, c->kw, p->k, p->v);
        }
    }
}

wk_jval wk_jcall_builtin(wk_jrun *r, const wk_jbuiltin *fn, const char *what, wk_jval self, const wk_jcall *c) {
    wk_jval a[WK_J_MAX_PARAMS] = { 0 };
    const char *p = fn->params;
    bool lazy = *p == '~', named = *p != '-', all = p[lazy] == '*';
    size_t n = 0, used = 0;
    wk_jstep(r, 1);
    for (p += lazy || !named; *p && !all; n++) {
        size_t len = strcspn(p, " ");
        const wk_jval *kw = named && c->kw ? wk_jdict_find_str(r, c->kw, p, len) : NULL;
        if (n < c->n && kw) wk_jfail(&r->m, "%s '%s' is given '%.*s' twice", what, fn->name, (int)len, p);
        if (n < c->n) a[n] = c->arg[n];
        else if (kw) a[n] = *kw, used++;
        else if (n < (size_t)fn->need) wk_jfail(&r->m, "%s '%s' needs its argument '%.*s'", what, fn->name, (int)len, p);
        p += len + (p[len] == ' ');
    }
    if (!all && c->n > n) wk_jfail(&r->m, "%s '%s' takes %zu arguments, not %zu", what, fn->name, n, c->n);
    if (!all && c->kw && c->kw->n > used) wk_jfail(&r->m, "%s '%s' is given a keyword that it does not have", what, fn->name);
    if (!lazy) return fn->fn(r, self, a, c);
    wk_jval later = wk_jlist_new(r, WK_J_SEQ_GENERATOR, 0);
    later.l->lazy = wk_jalloc(&r->m, sizeof *later.l->lazy);
    *later.l->lazy = (wk_jlazy){ .fn = fn, .self = self, .c = *c };
    memcpy(later.l->lazy->a, a, sizeof a);
    return later;
}

static void enter_call(wk_jrun *r) {
    if (++r->calls > r->max_calls) wk_jfail(&r->m, "more than %u calls inside each other", r->max_calls);
}

/* What the statements write, as text. */
static wk_jval capture(wk_jrun *r, const wk_jnode *body, flow *f) {
    wk_jbuf b = { 0 }, *saved = r->out;
    r->out = &b;
    flow got = exec_list(r, body);
    r->out = saved;
    if (f) *f = got;
    return wk_jput_end(r, &b);
}

wk_jval wk_jcall_macro(wk_jrun *r, const wk_jmacro *m, const wk_jcall *c) {
    const wk_jnode *def = m->def;
    const char *name = r->t->sym[def->sym].ptr;
    wk_jscope *saved = r->scope;
    size_t n = 0, used = 0;
    bool caller_named = false;
    enter_call(r);
    open_scope(r, m->scope);
    for (const wk_jnode *k = def->list; k; k = k->next) {  /* all exist before a default is read */
        wk_str param = r->t->sym[k->sym];
        const wk_jval *kw = c->kw && n >= c->n ? wk_jdict_find_str(r, c->kw, param.ptr, param.len) : NULL;
        set_name(r, k->sym, n < c->n ? c->arg[n] : kw ? *kw : wk_jundefined(r, param));
        used += kw != NULL;
        caller_named |= k->sym == WK_SYM_CALLER;
        n++;
    }
    const wk_jval *caller = c->kw && (def->flag & WK_J_USES_CALLER) && !caller_named ? wk_jdict_find_str(r, c->kw, "caller", 6)
                                                                                     : NULL;
    if ((def->flag & WK_J_USES_CALLER) && !caller_named)
        set_name(r, WK_SYM_CALLER,
                 caller && caller->kind != WK_J_NONE ? *caller
                                                     : wk_jundefined_hint(r, "no caller: this macro was not called by {% call %}"));
    used += caller != NULL;
    if (def->flag & WK_J_USES_KWARGS) {
        wk_jval rest = wk_jdict_new(r);
        for (size_t i = 0; c->kw && i < c->kw->n; i++) {
            bool taken = caller && caller == &c->kw->p[i].v;
            size_t at = 0;
            for (const wk_jnode *k = def->list; k; k = k->next, at++)
                taken |= at >= c->n && r->t->sym[k->sym].len == c->kw->p[i].k.s->n &&
                         !memcmp(r->t->sym[k->sym].ptr, c->kw->p[i].k.s->p, c->kw->p[i].k.s->n);
            if (!taken) wk_jdict_set(r, rest.d, c->kw->p[i].k, c->kw->p[i].v);
        }
        set_name(r, WK_SYM_KWARGS, rest);
    } else if (c->kw && c->kw->n > used) {
        wk_jfail(&r->m, "macro '%s' is given a keyword that it does not have", name);
    }
    if (def->flag & WK_J_USES_VARARGS)
        set_name(r, WK_SYM_VARARGS, wk_jlist_of(r, WK_J_SEQ_TUPLE, c->n > n ? c->arg + n : NULL, c->n > n ? c->n - n : 0));
    else if (c->n > n) wk_jfail(&r->m, "macro '%s' takes %zu arguments, not %zu", name, n, c->n);
    n = 0;
    for (const wk_jnode *k = def->list; k; k = k->next, n++) {
        wk_str param = r->t->sym[k->sym];
        if (n >= c->n && k->b && !(c->kw && wk_jdict_find_str(r, c->kw, param.ptr, param.len)))
            set_name(r, k->sym, wk_jeval(r, k->b));
    }
    wk_jval v = capture(r, def->body, NULL);
    r->scope = saved;
    r->calls--;
    return v;
}

wk_jval wk_jcall_value(wk_jrun *r, wk_jval fn, const wk_jcall *c) {
    wk_jval v;
    switch ((wk_jkind)fn.kind) {
    case WK_J_FUNC: return wk_jcall_builtin(r, fn.fn, "function", (wk_jval){ 0 }, c);
    case WK_J_METHOD:
        v = wk_jcall_builtin(r, fn.m->fn, "method", fn.m->self, c);
        if (fn.m->self.kind != WK_J_STR || !fn.m->self.markup) return v;
        for (size_t i = 0; v.kind == WK_J_LIST && i < v.l->n; i++) v.l->v[i].markup = v.l->v[i].kind == WK_J_STR;
        return wk_jmark(v, v.kind == WK_J_STR);
    case WK_J_MACRO: return wk_jcall_macro(r, fn.macro, c);
    case WK_J_LOOP:
        if (c->n != 1 || c->kw) wk_jfail(&r->m, "loop() takes the items of the next level");
        return wk_jcall_loop(r, fn.loop, c->arg[0]);
    case WK_J_JOINER:
        if (c->n || c->kw) wk_jfail(&r->m, "a joiner takes no arguments");
        return fn.cycler->pos++ ? fn.cycler->items->v[0] : wk_jlit(r, "");
    case WK_J_UNDEF: wk_jfail_undef(r, fn);
    default: wk_jfail(&r->m, "a value of type %s cannot be called", wk_jtype(fn));
    }
}

static wk_jval call(wk_jrun *r, const wk_jnode *n, wk_jval caller) {
    wk_jval fn = wk_jeval(r, n->a);
    wk_jcall c;
    eval_args(r, n, &c);
    r->m.line = n->line;
    if (caller.kind != WK_J_MISSING) {
        if (!c.kw) c.kw = wk_jdict_new(r).d;
        if (wk_jdict_find_str(r, c.kw, "caller", 6)) wk_jfail(&r->m, "keyword 'caller' is given twice");
        wk_jdict_set(r, c.kw, wk_jlit(r, "caller"), caller);
    }
    return wk_jcall_value(r, fn, &c);
}

/* ---- expressions ---- */

static wk_jval sequence(wk_jrun *r, const wk_jnode *n, wk_jseq type) {
    wk_jval l = wk_jlist_new(r, type, 0);
    for (const wk_jnode *k = n->list; k; k = k->next) wk_jlist_add(r, l.l, wk_jeval(r, k));
    return l;
}

static wk_jval dict(wk_jrun *r, const wk_jnode *n) {
    wk_jval d = wk_jdict_new(r);
    for (const wk_jnode *k = n->list; k; k = k->next) {
        wk_jval key = wk_jeval(r, k->a), v = wk_jeval(r, k->b);
        r->m.line = k->line;
        wk_jdict_set(r, d.d, key, v);
    }
    return d;
}

static wk_jval subscript(wk_jrun *r, const wk_jnode *n) {
    wk_jval v = wk_jeval(r, n->a), none = wk_jnone();
    const wk_jnode *s = n->b;
    if (s->kind == WK_N_SLICE) {
        wk_jval a = s->a ? wk_jeval(r, s->a) : none, b = s->b ? wk_jeval(r, s->b) : none, c = s->c ? wk_jeval(r, s->c) : none;
        r->m.line = n->line;
        return wk_jslice(r, v, a, b, c);
    }
    wk_jval key = wk_jeval(r, s);
    r->m.line = n->line;
    return wk_jgetitem(r, v, key);
}

static wk_jval concat(wk_jrun *r, const wk_jnode *n) {
    wk_jbuf b = { 0 };
    for (const wk_jnode *k = n->list; k; k = k->next) wk_jput_val(r, &b, wk_jeval(r, k));
    return wk_jput_end(r, &b);
}

static wk_jval compare(wk_jrun *r, const wk_jnode *n) {
    wk_jval a = wk_jeval(r, n->a);
    for (const wk_jnode *k = n->list; k; k = k->next) {
        wk_jval b = wk_jeval(r, k->a);
        r->m.line = k->line;
        if (!wk_jcompare(r, k->op, a, b)) return wk_jbool(false);
        a = b;
    }
    return wk_jbool(true);
}

static wk_jval apply(wk_jrun *r, const wk_jnode *n) {
    wk_jval v = n->a ? wk_jeval(r, n->a) : r->block;
    const char *what = n->kind == WK_N_FILTER ? "filter" : "test";
    wk_jcall c;
    eval_args(r, n, &c);
    r->m.line = n->line;
    if (!n->fn) wk_jfail(&r->m, "there is no %s named '%.*s'", what, (int)n->val.s->n, n->val.s->p);
    return wk_jcall_builtin(r, n->fn, what, v, &c);
}

static wk_jval sign(wk_jrun *r, const wk_jnode *n) {
    wk_jval v = wk_jeval(r, n->a);
    r->m.line = n->line;
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    if (!wk_jnumeric(v)) wk_jfail(&r->m, "a value of type %s has no sign", wk_jtype(v));
    wk_jval zero = wk_jint(0);
    zero.from = v.from;
    if (n->kind == WK_N_POS) return wk_jbinary(r, '+', zero, v);
    if (v.kind == WK_J_FLOAT) { v.f = -v.f; return v; }
    return wk_jbinary(r, '-', zero, v);
}

wk_jval wk_jeval(wk_jrun *r, const wk_jnode *n) {
    wk_jval v = { 0 };
    const wk_jval *found;
    wk_jenter(r);
    wk_jstep(r, 1);
    r->m.line = n->line;
    switch ((wk_jnode_kind)n->kind) {
    case WK_N_CONST: v = n->val; break;
    case WK_N_NAME:
        found = lookup(r, n->sym);
        v = found ? *found : wk_jundefined(r, r->t->sym[n->sym]);
        break;
    case WK_N_TUPLE: v = sequence(r, n, WK_J_SEQ_TUPLE); break;
    case WK_N_LIST: v = sequence(r, n, WK_J_SEQ_LIST); break;
    case WK_N_DICT: v = dict(r, n); break;
    case WK_N_ATTR:
        v = wk_jeval(r, n->a);
        r->m.line = n->line;
        v = wk_jgetattr(r, v, (wk_str){ n->val.s->p, n->val.s->n });
        break;
    case WK_N_ITEM: v = subscript(r, n); break;
    case WK_N_CALL: v = call(r, n, v); break;
    case WK_N_FILTER: case WK_N_TEST: v = apply(r, n); break;
    case WK_N_BINARY: {
        wk_jval a = wk_jeval(r, n->a), b = wk_jeval(r, n->b);
        r->m.line = n->line;
        v = wk_jbinary(r, n->op, a, b);
        break;
    }
    case WK_N_NEG: case WK_N_POS: v = sign(r, n); break;
    case WK_N_NOT: v = wk_jbool(!wk_jtruth(r, wk_jeval(r, n->a))); break;
    case WK_N_AND: v = wk_jeval(r, n->a); if (wk_jtruth(r, v)) v = wk_jeval(r, n->b); break;
    case WK_N_OR: v = wk_jeval(r, n->a); if (!wk_jtruth(r, v)) v = wk_jeval(r, n->b); break;
    case WK_N_CONCAT: v = concat(r, n); break;
    case WK_N_COMPARE: v = compare(r, n); break;
    case WK_N_COND:
        if (wk_jtruth(r, wk_jeval(r, n->b))) v = wk_jeval(r, n->a);
        else
            v = n->c ? wk_jeval(r, n->c)
                     : wk_jundefined_hint(r, "an inline if without an else came out false: its value is undefined");
        break;
    default: wk_jfail(&r->m, "a slice stands where only an index can");
    }
    wk_jleave(r);
    return v;
}

/* ---- loops ---- */

/* The next item that meets the loop's condition; WK_J_MISSING at the end. */
static wk_jval fetch(wk_jrun *r, wk_jloop *l) {
    wk_jscope *saved = r->scope;
    while (l->pos < l->items.n) {
        wk_jval v = l->items.v[l->pos++];
        if (!l->node->c || l->tested) return v;
        open_scope(r, l->scope);
        assign(r, l->node->a, v);
        bool meets = wk_jtruth(r, wk_jeval(r, l->node->c));
        r->scope = saved;
        if (meets) return v;
    }
    return (wk_jval){ 0 };
}

static wk_jval peek(wk_jrun *r, wk_jloop *l) {
    if (l->after.kind == WK_J_MISSING) l->after = fetch(r, l);
    return l->after;
}

int64_t wk_jloop_length(wk_jrun *r, wk_jloop *l) {
    if (l->length >= 0) return l->length;
    if (!l->node->c) return l->length = (int64_t)l->items.n;
    wk_jval rest = wk_jlist_new(r, WK_J_SEQ_LIST, 0), v;
    while ((v = fetch(r, l)).kind != WK_J_MISSING) wk_jlist_add(r, rest.l, v);
    l->items = *rest.l;
    l->pos = 0;
    l->tested = true;
    return l->length = (int64_t)rest.l->n + l->index0 + 1 + (l->after.kind != WK_J_MISSING);
}

static wk_jval loop_cycle(wk_jrun *r, wk_jval self, wk_jval *a, const wk_jcall *c) {
    (void)a;
    if (!c->n || c->kw) wk_jfail(&r->m, "loop.cycle() needs values to choose from");
    return c->arg[(size_t)self.loop->index0 % c->n];
}

static wk_jval loop_changed(wk_jrun *r, wk_jval self, wk_jval *a, const wk_jcall *c) {
    (void)a;
    wk_jval now = wk_jlist_of(r, WK_J_SEQ_TUPLE, c->arg, c->n), *last = &self.loop->changed;
    bool changed = last->kind == WK_J_MISSING || !wk_jequal(r, *last, now);
    if (changed) *last = now;
    return wk_jbool(changed);
}

wk_jval wk_jloop_attr(wk_jrun *r, wk_jloop *l, wk_str name) {
    static const wk_jbuiltin methods[] = { { "cycle", loop_cycle, "*", 0 },
                                           { "changed", loop_changed, "*", 0 },
                                           { NULL, NULL, NULL, 0 } };
    if (wk_str_eq(name, "index")) return wk_jint(l->index0 + 1);
    if (wk_str_eq(name, "index0")) return wk_jint(l->index0);
    if (wk_str_eq(name, "first")) return wk_jbool(l->index0 == 0);
    if (wk_str_eq(name, "last")) return wk_jbool(peek(r, l).kind == WK_J_MISSING);
    if (wk_str_eq(name, "length")) return wk_jint(wk_jloop_length(r, l));
    if (wk_str_eq(name, "revindex")) return wk_jint(wk_jloop_length(r, l) - l->index0);
    if (wk_str_eq(name, "revindex0")) return wk_jint(wk_jloop_length(r, l) - l->index0 - 1);
    if (wk_str_eq(name, "depth")) return wk_jint(l->depth0 + 1);
    if (wk_str_eq(name, "depth0")) return wk_jint(l->depth0);
    if (wk_str_eq(name, "previtem")) return l->index0 ? l->before : wk_jundefined_hint(r, "there is no previous item");
    if (wk_str_eq(name, "nextitem"))
        return peek(r, l).kind != WK_J_MISSING ? l->after : wk_jundefined_hint(r, "there is no next item");
    const wk_jbuiltin *fn = wk_jfind(methods, name.ptr, name.len);
    if (!fn) return (wk_jval){ 0 };
    wk_jmethod *m = wk_jalloc(&r->m, sizeof *m);
    *m = (wk_jmethod){ { .kind = WK_J_LOOP, .loop = l }, fn };
    return (wk_jval){ .kind = WK_J_METHOD, .m = m };
}

/* As jinja2's: the else part runs when no round came to its end, so after a break in the first one too. */
static flow run_loop(wk_jrun *r, const wk_jnode *n, wk_jlist items, wk_jscope *scope, int64_t depth0) {
    wk_jscope *saved = r->scope;
    wk_jloop *l = wk_jalloc(&r->m, sizeof *l);
    bool whole = false;
    flow f = GO;
    *l = (wk_jloop){ .node = n, .scope = scope, .items = items, .index0 = -1, .depth0 = depth0, .length = -1 };
    for (wk_jval v; f != BREAK && (v = peek(r, l)).kind != WK_J_MISSING;) {
        l->after = (wk_jval){ 0 };
        l->index0++;
        l->before = l->current;
        l->current = v;
        open_scope(r, scope);
        set_name(r, WK_SYM_LOOP, (wk_jval){ .kind = WK_J_LOOP, .loop = l });
        assign(r, n->a, v);
        f = exec_list(r, n->body);
        whole |= f == GO;
        r->scope = scope;
    }
    f = GO;
    if (!whole && n->orelse) {
        open_scope(r, scope);
        f = exec_list(r, n->orelse);
    }
    r->scope = saved;
    return f;
}

wk_jval wk_jcall_loop(wk_jrun *r, const wk_jloop *l, wk_jval items) {
    wk_jbuf b = { 0 }, *saved = r->out;
    if (!l->node->flag) wk_jfail(&r->m, "this loop is called but not marked: {%% for ... recursive %%}");
    enter_call(r);
    r->out = &b;
    run_loop(r, l->node, wk_jiter(r, items), l->scope, l->depth0 + 1);
    r->out = saved;
    r->calls--;
    return wk_jput_end(r, &b);
}

/* ---- statements ---- */

static flow set_block(wk_jrun *r, const wk_jnode *n) {
    wk_jscope *outer = r->scope;
    flow f;
    open_scope(r, outer);
    wk_jval v = capture(r, n->body, &f);
    if (f != GO) return f;
    if (n->b) {
        r->block = v;
        v = wk_jeval(r, n->b);
    }
    r->scope = outer;
    assign(r, n->a, v);
    return GO;
}

static flow filter_block(wk_jrun *r, const wk_jnode *n) {
    wk_jscope *outer = r->scope;
    flow f;
    open_scope(r, outer);
    wk_jval v = capture(r, n->body, &f);
    if (f != GO) return f;
    r->block = v;
    v = wk_jeval(r, n->b);
    r->m.line = n->line;
    wk_jput_str(r, r->out, wk_jneed_str(r, v, "what a filter block gives"));
    r->scope = outer;
    return GO;
}

static flow if_else(wk_jrun *r, const wk_jnode *n) {
    for (const wk_jnode *k = n->list; k; k = k->next)
        if (wk_jtruth(r, wk_jeval(r, k->a))) return exec_list(r, k->body);
    return exec_list(r, n->orelse);
}

static flow with(wk_jrun *r, const wk_jnode *n) {
    wk_jscope *outer = r->scope, *inner;
    open_scope(r, outer);
    inner = r->scope;
    for (const wk_jnode *k = n->list; k; k = k->next) {
        r->scope = outer;
        wk_jval v = wk_jeval(r, k->b);
        r->scope = inner;
        assign(r, k->a, v);
    }
    flow f = exec_list(r, n->body);
    r->scope = outer;
    return f;
}

static wk_jval macro(wk_jrun *r, const wk_jnode *n) {
    wk_jmacro *m = wk_jalloc(&r->m, sizeof *m);
    *m = (wk_jmacro){ n, r->scope };
    return (wk_jval){ .kind = WK_J_MACRO, .macro = m };
}

static void generation(wk_jrun *r, const wk_jnode *n) {
    wk_jscope *outer = r->scope;
    open_scope(r, outer);
    const wk_jstr *s = capture(r, n->body, NULL).s;
    r->scope = outer;
    for (size_t i = 0, end; i < s->n; i = end) {
        for (end = s->from ? i + 1 : s->n; end < s->n && s->from[end] == s->from[i];) end++;
        wk_jput(r, r->out, s->p + i, end - i, wk_jfrom_at(s, i) | WK_J_GENERATION);
    }
}

static flow exec(wk_jrun *r, const wk_jnode *n) {
    wk_jscope *outer = r->scope;
    flow f = GO;
    switch ((wk_jnode_kind)n->kind) {
    case WK_N_OUTPUT:
        for (const wk_jnode *k = n->list; k; k = k->next) {
            if (k->kind == WK_N_CONST && k->val.kind == WK_J_STR) wk_jput_str(r, r->out, k->val.s);
            else wk_jput_val(r, r->out, wk_jeval(r, k));
        }
        return GO;
    case WK_N_SET: assign(r, n->a, wk_jeval(r, n->b)); return GO;
    case WK_N_SET_BLOCK: return set_block(r, n);
    case WK_N_FOR: return run_loop(r, n, wk_jiter(r, wk_jeval(r, n->b)), outer, 0);
    case WK_N_IF: return if_else(r, n);
    case WK_N_MACRO: set_name(r, n->sym, macro(r, n)); return GO;
    case WK_N_CALL_BLOCK: wk_jput_str(r, r->out, wk_jneed_str(r, call(r, n->a, macro(r, n)), "what a call block gives")); return GO;
    case WK_N_FILTER_BLOCK: return filter_block(r, n);
    case WK_N_WITH: return with(r, n);
    case WK_N_BREAK: return BREAK;
    case WK_N_CONTINUE: return CONTINUE;
    case WK_N_GENERATION: generation(r, n); return GO;
    default:  /* WK_N_SCOPE */
        open_scope(r, outer);
        f = exec_list(r, n->body);
        r->scope = outer;
        return f;
    }
}

static flow exec_list(wk_jrun *r, const wk_jnode *n) {
    flow f = GO;
    wk_jenter(r);
    for (; n && f == GO; n = n->next) {
        wk_jstep(r, 1);
        r->m.line = n->line;
        f = exec(r, n);
    }
    wk_jleave(r);
    return f;
}

void wk_jexec_template(wk_jrun *r) { exec_list(r, r->t->body); }
