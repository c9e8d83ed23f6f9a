/* jinja_value.c: making values, comparing them, asking them for items and attributes.
 * Behaviour: Python's built-in types as jinja2's sandbox shows them: an index or a key that is not there gives undefined, not an
 * error. Load: a chat's messages and tools, tens to thousands of values a rendering. */
#include "text/jinja.h"
#include <math.h>
#include <string.h>

/* ---- making ---- */

wk_jval wk_jnone(void) { return (wk_jval){ .kind = WK_J_NONE }; }
wk_jval wk_jbool(bool b) { return (wk_jval){ .kind = WK_J_BOOL, .b = b }; }
wk_jval wk_jint(int64_t i) { return (wk_jval){ .kind = WK_J_INT, .i = i }; }
wk_jval wk_jfloat(double f) { return (wk_jval){ .kind = WK_J_FLOAT, .f = f }; }

static wk_jval undefined(wk_jrun *r, wk_jundef why) {
    wk_jundef *u = wk_jalloc(&r->m, sizeof *u);
    *u = why;
    return (wk_jval){ .kind = WK_J_UNDEF, .u = u };
}

wk_jval wk_jundefined(wk_jrun *r, wk_str name) { return undefined(r, (wk_jundef){ .name = name }); }
wk_jval wk_jundefined_hint(wk_jrun *r, const char *hint) { return undefined(r, (wk_jundef){ .hint = hint }); }
wk_jval wk_jundefined_in(wk_jrun *r, wk_jval owner, wk_str name) {
    return undefined(r, (wk_jundef){ .name = name, .owner = wk_jtype(owner) });
}
wk_jval wk_jrefused(wk_jrun *r, wk_jval owner, wk_str name) {
    return undefined(r, (wk_jundef){ .name = name, .owner = wk_jtype(owner), .refused = true });
}

_Noreturn void wk_jfail_undef(wk_jrun *r, wk_jval v) {
    const wk_jundef *u = v.u;
    int n = (int)(u->name.len < 100 ? u->name.len : 100);
    if (u->hint) wk_jfail(&r->m, "%s", u->hint);
    if (u->refused)
        wk_jfail(&r->m, "'%.*s' of a %s is refused: a template cannot change values, only namespaces", n, u->name.ptr, u->owner);
    if (u->owner) wk_jfail(&r->m, "this %s has no '%.*s'", u->owner, n, u->name.ptr);
    wk_jfail(&r->m, "'%.*s' is undefined", n, u->name.ptr);
}

wk_jval wk_jlist_new(wk_jrun *r, wk_jseq type, size_t cap) {
    wk_jlist *l = wk_jalloc(&r->m, sizeof *l);
    size_t bytes;
    if (!wk_mul_size(cap, sizeof *l->v, &bytes)) bytes = SIZE_MAX;
    *l = (wk_jlist){ .type = type, .cap = cap };
    if (cap) l->v = wk_jalloc(&r->m, bytes);
    wk_jstep(r, cap / 16);
    return (wk_jval){ .kind = WK_J_LIST, .l = l };
}

void wk_jlist_add(wk_jrun *r, wk_jlist *l, wk_jval v) {
    l->v = wk_jgrow(&r->m, l->v, l->n, &l->cap, sizeof v);
    l->v[l->n++] = v;
}

wk_jval wk_jlist_of(wk_jrun *r, wk_jseq type, const wk_jval *v, size_t n) {
    wk_jval l = wk_jlist_new(r, type, n);
    if (n) memcpy(l.l->v, v, n * sizeof *v);
    l.l->n = n;
    return l;
}

wk_jval wk_jdict_new(wk_jrun *r) { return (wk_jval){ .kind = WK_J_DICT, .d = wk_jalloc(&r->m, sizeof(wk_jdict)) }; }

wk_jval *wk_jdict_find_str(wk_jrun *r, const wk_jdict *d, const char *p, size_t n) {
    wk_jstep(r, d->n / 16);
    for (size_t i = 0; i < d->n; i++)
        if (d->p[i].k.kind == WK_J_STR && d->p[i].k.s->n == n && !memcmp(d->p[i].k.s->p, p, n)) return &d->p[i].v;
    return NULL;
}

wk_jval *wk_jdict_find(wk_jrun *r, const wk_jdict *d, wk_jval key) {
    if (key.kind == WK_J_STR) return wk_jdict_find_str(r, d, key.s->p, key.s->n);
    wk_jstep(r, d->n / 16);
    for (size_t i = 0; i < d->n; i++) if (wk_jequal(r, d->p[i].k, key)) return &d->p[i].v;
    return NULL;
}

static bool hashable(wk_jrun *r, wk_jval v) {
    if (v.kind == WK_J_DICT) return false;
    if (v.kind != WK_J_LIST) return true;
    bool ok = v.l->type != WK_J_SEQ_LIST && v.l->type != WK_J_SEQ_KEYS && v.l->type != WK_J_SEQ_ITEMS;
    wk_jenter(r);
    for (size_t i = 0; ok && v.l->type == WK_J_SEQ_TUPLE && i < v.l->n; i++) ok = hashable(r, v.l->v[i]);
    wk_jleave(r);
    return ok;
}

void wk_jneed_key(wk_jrun *r, wk_jval v) {
    if (!hashable(r, v)) wk_jfail(&r->m, "a value of type %s cannot be a key", wk_jtype(v));
}

void wk_jdict_set(wk_jrun *r, wk_jdict *d, wk_jval key, wk_jval v) {
    wk_jneed_key(r, key);
    wk_jval *old = wk_jdict_find(r, d, key);
    if (old) { *old = v; return; }
    d->p = wk_jgrow(&r->m, d->p, d->n, &d->cap, sizeof *d->p);
    d->p[d->n++] = (wk_jpair){ key, v };
}

wk_jval wk_jdict_view(wk_jrun *r, const wk_jdict *d, wk_jseq type) {
    wk_jval l = wk_jlist_new(r, type, d->n);
    for (size_t i = 0; i < d->n; i++) {
        const wk_jpair *p = &d->p[i];
        wk_jlist_add(r, l.l,
                     type == WK_J_SEQ_KEYS     ? p->k
                     : type == WK_J_SEQ_VALUES ? p->v
                                               : wk_jlist_of(r, WK_J_SEQ_TUPLE, (wk_jval[]){ p->k, p->v }, 2));
    }
    return l;
}

/* Strings stay in the JSON value, which outlives the run. */
wk_jval wk_jfrom_json(wk_jrun *r, json_t *j, uint8_t from) {
    wk_jval v = wk_jnone();
    wk_jenter(r);
    switch (json_typeof(j)) {
    case JSON_NULL: break;
    case JSON_TRUE: v = wk_jbool(true); break;
    case JSON_FALSE: v = wk_jbool(false); break;
    case JSON_INTEGER: v = wk_jint(json_integer_value(j)); break;
    case JSON_REAL: v = wk_jfloat(json_real_value(j)); break;
    case JSON_STRING: v = wk_jtext(&r->m, json_string_value(j), json_string_length(j), from); break;
    case JSON_ARRAY:
        v = wk_jlist_new(r, WK_J_SEQ_LIST, json_array_size(j));
        for (size_t i = 0; i < json_array_size(j); i++) wk_jlist_add(r, v.l, wk_jfrom_json(r, json_array_get(j, i), from));
        break;
    case JSON_OBJECT:
        v = wk_jdict_new(r);
        for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it)) {  /* keys differ already */
            wk_jdict *d = v.d;
            d->p = wk_jgrow(&r->m, d->p, d->n, &d->cap, sizeof *d->p);
            d->p[d->n++] = (wk_jpair){ wk_jtext(&r->m, json_object_iter_key(it), json_object_iter_key_len(it), from),
                                       wk_jfrom_json(r, json_object_iter_value(it), from) };
        }
        break;
    }
    v.from = from;
    wk_jleave(r);
    return v;
}

/* ---- asking ---- */

const char *wk_jtype(wk_jval v) {
    static const char *const kinds[] = {
        [WK_J_MISSING] = "nothing",  [WK_J_UNDEF] = "Undefined", [WK_J_NONE] = "NoneType",
        [WK_J_BOOL] = "bool",        [WK_J_INT] = "int",         [WK_J_FLOAT] = "float",
        [WK_J_STR] = "str",          [WK_J_DICT] = "dict",       [WK_J_NAMESPACE] = "Namespace",
        [WK_J_FUNC] = "function",    [WK_J_METHOD] = "method",   [WK_J_MACRO] = "Macro",
        [WK_J_LOOP] = "LoopContext", [WK_J_CYCLER] = "Cycler",   [WK_J_JOINER] = "Joiner",
    };
    static const char *const seqs[] = {
        [WK_J_SEQ_LIST] = "list", [WK_J_SEQ_TUPLE] = "tuple", [WK_J_SEQ_RANGE] = "range", [WK_J_SEQ_KEYS] = "dict_keys",
        [WK_J_SEQ_VALUES] = "dict_values", [WK_J_SEQ_ITEMS] = "dict_items", [WK_J_SEQ_GENERATOR] = "generator",
    };
    return v.kind == WK_J_LIST ? seqs[v.l->type] : kinds[v.kind];
}

int64_t wk_jneed_int(wk_jrun *r, wk_jval v, const char *what) {
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    if (!wk_jintegral(v)) wk_jfail(&r->m, "%s must be an integer, not %s", what, wk_jtype(v));
    return wk_jas_int(v);
}

const wk_jstr *wk_jneed_str(wk_jrun *r, wk_jval v, const char *what) {
    if (v.kind != WK_J_STR) wk_jfail(&r->m, "%s must be text, not %s", what, wk_jtype(v));
    return v.s;
}

bool wk_jhas_length(wk_jval v) {
    return v.kind == WK_J_STR || v.kind == WK_J_DICT || v.kind == WK_J_LOOP || v.kind == WK_J_UNDEF ||
           (v.kind == WK_J_LIST && v.l->type != WK_J_SEQ_GENERATOR);
}

int64_t wk_jlength(wk_jrun *r, wk_jval v) {
    if (!wk_jhas_length(v)) wk_jfail(&r->m, "a value of type %s has no length", wk_jtype(v));
    return v.kind == WK_J_STR    ? (int64_t)v.s->n_char
           : v.kind == WK_J_DICT ? (int64_t)v.d->n
           : v.kind == WK_J_LIST ? (int64_t)v.l->n
           : v.kind == WK_J_LOOP ? wk_jloop_length(r, v.loop)
                                 : 0;
}

bool wk_jtruth(wk_jrun *r, wk_jval v) {
    switch ((wk_jkind)v.kind) {
    case WK_J_MISSING: case WK_J_UNDEF: case WK_J_NONE: return false;
    case WK_J_BOOL: return v.b;
    case WK_J_INT: return v.i != 0;
    case WK_J_FLOAT: return v.f != 0;
    default: return !wk_jhas_length(v) || wk_jlength(r, v) > 0;
    }
}

static int order_numbers(wk_jval a, wk_jval b) {
    if (a.kind != WK_J_FLOAT && b.kind != WK_J_FLOAT) {
        int64_t x = wk_jas_int(a), y = wk_jas_int(b);
        return (x > y) - (x < y);
    }
    double x = wk_jas_float(a), y = wk_jas_float(b);
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;  /* 2: not a number; no order */
}

bool wk_jequal(wk_jrun *r, wk_jval a, wk_jval b) {
    if (wk_jnumeric(a) && wk_jnumeric(b)) return order_numbers(a, b) == 0;
    if (a.kind != b.kind) return false;
    switch ((wk_jkind)a.kind) {
    case WK_J_MISSING: case WK_J_UNDEF: case WK_J_NONE: return true;
    case WK_J_STR:
        wk_jstep(r, a.s->n / 64);
        return a.s->n == b.s->n && !memcmp(a.s->p, b.s->p, a.s->n);
    case WK_J_LIST: case WK_J_DICT: break;
    default: return a.p == b.p;
    }
    bool same = true;
    wk_jenter(r);
    if (a.p == b.p) {
    } else if (a.kind == WK_J_DICT) {
        same = a.d->n == b.d->n;
        for (size_t i = 0; same && i < a.d->n; i++) {
            const wk_jval *other = wk_jdict_find(r, b.d, a.d->p[i].k);
            wk_jstep(r, 1);
            same = other && wk_jequal(r, a.d->p[i].v, *other);
        }
    } else {
        same = a.l->type == b.l->type && a.l->n == b.l->n && a.l->type != WK_J_SEQ_VALUES && a.l->type != WK_J_SEQ_GENERATOR;
        for (size_t i = 0; same && i < a.l->n; i++) {
            wk_jstep(r, 1);
            same = wk_jequal(r, a.l->v[i], b.l->v[i]);
        }
    }
    wk_jleave(r);
    return same;
}

static _Noreturn void no_order(wk_jrun *r, wk_jval a, wk_jval b, const char *op) {
    if (a.kind == WK_J_UNDEF || b.kind == WK_J_UNDEF) wk_jfail_undef(r, a.kind == WK_J_UNDEF ? a : b);
    wk_jfail(&r->m, "'%s' cannot compare %s with %s", op, wk_jtype(a), wk_jtype(b));
}

int wk_jorder(wk_jrun *r, wk_jval a, wk_jval b, const char *op) {
    if (wk_jnumeric(a) && wk_jnumeric(b)) return order_numbers(a, b);
    if (a.kind == WK_J_STR && b.kind == WK_J_STR) {  /* bytes of UTF-8 sort as code points do */
        size_t n = a.s->n < b.s->n ? a.s->n : b.s->n;
        wk_jstep(r, n / 64);
        int c = n ? memcmp(a.s->p, b.s->p, n) : 0;
        return c ? (c > 0) - (c < 0) : (a.s->n > b.s->n) - (a.s->n < b.s->n);
    }
    if (a.kind != WK_J_LIST || b.kind != WK_J_LIST || a.l->type != b.l->type || a.l->type > WK_J_SEQ_TUPLE) no_order(r, a, b, op);
    size_t n = a.l->n < b.l->n ? a.l->n : b.l->n;
    int c = (a.l->n > b.l->n) - (a.l->n < b.l->n);
    wk_jenter(r);
    for (size_t i = 0; i < n; i++) {
        wk_jstep(r, 1);
        if (wk_jequal(r, a.l->v[i], b.l->v[i])) continue;
        c = wk_jorder(r, a.l->v[i], b.l->v[i], op);
        break;
    }
    wk_jleave(r);
    return c;
}

bool wk_jcontains(wk_jrun *r, wk_jval in, wk_jval v) {
    if (in.kind == WK_J_STR) {
        if (v.kind != WK_J_STR) wk_jfail(&r->m, "'in' a text needs text on its left, not %s", wk_jtype(v));
        return wk_jsearch(r, in.s, v.s, 0, in.s->n) != SIZE_MAX;
    }
    if (in.kind == WK_J_DICT) {
        wk_jneed_key(r, v);
        return wk_jdict_find(r, in.d, v) != NULL;
    }
    if (!wk_jiterable(in)) wk_jfail(&r->m, "'in' cannot look into a value of type %s", wk_jtype(in));
    wk_jlist l = wk_jiter(r, in);
    for (size_t i = 0; i < l.n; i++) {
        wk_jstep(r, 1);
        if (wk_jequal(r, l.v[i], v)) return true;
    }
    return false;
}

bool wk_jiterable(wk_jval v) { return v.kind == WK_J_STR || v.kind == WK_J_LIST || v.kind == WK_J_DICT || v.kind == WK_J_UNDEF; }

void wk_jforce(wk_jrun *r, wk_jlist *l) {
    wk_jlazy *z = l->lazy;
    if (!z) return;
    l->lazy = NULL;
    wk_jenter(r);
    const wk_jlist *made = z->fn->fn(r, z->self, z->a, &z->c).l;
    wk_jleave(r);
    l->v = made->v;
    l->n = made->n;
}

wk_jlist wk_jiter(wk_jrun *r, wk_jval v) {
    wk_jlist l = { 0 };
    if (!wk_jiterable(v)) wk_jfail(&r->m, "a value of type %s cannot be iterated over", wk_jtype(v));
    if (v.kind == WK_J_DICT) v = wk_jdict_view(r, v.d, WK_J_SEQ_KEYS);
    if (v.kind == WK_J_LIST) {
        wk_jforce(r, v.l);
        l = *v.l;
        if (l.type == WK_J_SEQ_GENERATOR && l.n) {
            l.v += l.pos;
            l.n -= l.pos;
            v.l->pos = v.l->n;
        }
    } else if (v.kind == WK_J_STR) {
        l = *wk_jlist_new(r, WK_J_SEQ_LIST, v.s->n_char).l;
        wk_jstep(r, v.s->n_char);
        for (size_t i = 0; i < v.s->n;) {
            size_t at = i;
            wk_jnext_cp(v.s->p, v.s->n, &i);
            l.v[l.n++] = wk_jpart(r, v.s, at, i);
        }
    }
    return l;
}

/* ---- attributes and items ---- */

static wk_jval macro_attr(wk_jrun *r, const wk_jmacro *m, wk_str name) {
    const wk_jnode *def = m->def;
    if (wk_str_eq(name, "name")) return wk_jtext(&r->m, r->t->sym[def->sym].ptr, r->t->sym[def->sym].len, 0);
    if (wk_str_eq(name, "caller")) return wk_jbool(def->flag & WK_J_USES_CALLER);
    if (wk_str_eq(name, "catch_kwargs")) return wk_jbool(def->flag & WK_J_USES_KWARGS);
    if (wk_str_eq(name, "catch_varargs")) return wk_jbool(def->flag & WK_J_USES_VARARGS);
    if (!wk_str_eq(name, "arguments")) return (wk_jval){ 0 };
    wk_jval l = wk_jlist_new(r, WK_J_SEQ_TUPLE, 0);
    for (const wk_jnode *k = def->list; k; k = k->next)
        wk_jlist_add(r, l.l, wk_jtext(&r->m, r->t->sym[k->sym].ptr, r->t->sym[k->sym].len, 0));
    return l;
}

/* What the object itself has under that name; WK_J_MISSING: nothing. */
static wk_jval attribute(wk_jrun *r, wk_jval v, wk_str name) {
    wk_jval *found;
    if (v.kind == WK_J_NAMESPACE) {
        found = wk_jdict_find_str(r, v.d, name.ptr, name.len);
        return found ? *found : (wk_jval){ 0 };
    }
    if (v.kind == WK_J_LOOP) return wk_jloop_attr(r, v.loop, name);
    if (v.kind == WK_J_MACRO) return macro_attr(r, v.macro, name);
    if (v.kind == WK_J_CYCLER && wk_str_eq(name, "current")) return v.cycler->items->v[v.cycler->pos];
    if (v.kind == WK_J_LIST && v.l->group && wk_str_eq(name, "grouper")) return v.l->v[0];
    if (v.kind == WK_J_LIST && v.l->group && wk_str_eq(name, "list")) return v.l->v[1];
    if (v.kind == WK_J_LIST && v.l->type == WK_J_SEQ_RANGE) {
        if (wk_str_eq(name, "start")) return wk_jint(v.l->start);
        if (wk_str_eq(name, "stop")) return wk_jint(v.l->stop);
        if (wk_str_eq(name, "step")) return wk_jint(v.l->step);
    }
    return wk_jmethod_of(r, v, name);
}

/* obj[key]; WK_J_MISSING: there is none, or obj cannot be indexed so. */
static wk_jval item(wk_jrun *r, wk_jval v, wk_jval key) {
    if (v.kind == WK_J_DICT) {
        wk_jval *found = hashable(r, key) ? wk_jdict_find(r, v.d, key) : NULL;
        return found ? *found : (wk_jval){ 0 };
    }
    bool text = v.kind == WK_J_STR;
    if (!wk_jintegral(key) || !(text || (v.kind == WK_J_LIST && v.l->type <= WK_J_SEQ_RANGE))) return (wk_jval){ 0 };
    int64_t i = wk_jas_int(key), n = wk_jlength(r, v);
    if (i < 0) i += n;
    if (i < 0 || i >= n) return (wk_jval){ 0 };
    if (!text) return v.l->v[i];
    size_t at = wk_joffset(v.s, (size_t)i), end = at;
    wk_jstep(r, v.s->n_char == v.s->n ? 0 : at / 64);
    wk_jnext_cp(v.s->p, v.s->n, &end);
    return wk_jmark(wk_jpart(r, v.s, at, end), v.markup);
}

wk_jval wk_jgetattr(wk_jrun *r, wk_jval v, wk_str name) {
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    wk_jval found = attribute(r, v, name);
    if (found.kind == WK_J_MISSING && v.kind == WK_J_DICT) {
        wk_jval *value = wk_jdict_find_str(r, v.d, name.ptr, name.len);
        if (value) found = *value;
    }
    return found.kind == WK_J_MISSING ? wk_jundefined_in(r, v, name) : found;
}

wk_jval wk_jgetitem(wk_jrun *r, wk_jval v, wk_jval key) {
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    wk_jval found = item(r, v, key);
    if (found.kind != WK_J_MISSING) return found;
    const wk_jstr *name = wk_jstr_of(r, key);
    if (key.kind == WK_J_STR) found = attribute(r, v, (wk_str){ name->p, name->n });
    return found.kind == WK_J_MISSING ? wk_jundefined_in(r, v, (wk_str){ name->p, name->n }) : found;
}

/* Python's slice.indices(): a bound as an index in [low, high]. */
static int64_t bound(wk_jrun *r, wk_jval v, int64_t n, int64_t low, int64_t high, int64_t none) {
    if (v.kind == WK_J_NONE) return none;
    int64_t i = wk_jneed_int(r, v, "the bound of a slice");
    if (i < 0) i = i < -n ? -1 : i + n;
    return i < low ? low : i > high ? high : i;
}

wk_jval wk_jslice(wk_jrun *r, wk_jval v, wk_jval start, wk_jval stop, wk_jval step) {
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    if (v.kind != WK_J_STR && !(v.kind == WK_J_LIST && v.l->type <= WK_J_SEQ_RANGE))
        wk_jfail(&r->m, "a value of type %s cannot be sliced", wk_jtype(v));
    int64_t n = wk_jlength(r, v), by = step.kind == WK_J_NONE ? 1 : wk_jneed_int(r, step, "the step of a slice");
    if (by == 0) wk_jfail(&r->m, "the step of a slice must not be 0");
    if (by < -n - 1) by = -n - 1;
    if (by > n + 1) by = n + 1;
    int64_t low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n;
    int64_t from = bound(r, start, n, low, high, by < 0 ? high : low), to = bound(r, stop, n, low, high, by < 0 ? low : high);
    int64_t count = by > 0 ? (to > from ? (to - from - 1) / by + 1 : 0) : (from > to ? (from - to - 1) / -by + 1 : 0);
    wk_jstep(r, (uint64_t)count / 16);
    if (v.kind == WK_J_LIST) {
        wk_jval l = wk_jlist_new(r, v.l->type, (size_t)count);
        for (int64_t i = 0; i < count; i++) l.l->v[i] = v.l->v[from + i * by];
        l.l->n = (size_t)count;
        /* of a range, to print it; may wrap */
        l.l->start = (int64_t)((uint64_t)v.l->start + (uint64_t)from * (uint64_t)v.l->step);
        l.l->stop = (int64_t)((uint64_t)v.l->start + (uint64_t)to * (uint64_t)v.l->step);
        l.l->step = (int64_t)((uint64_t)v.l->step * (uint64_t)by);
        l.from = v.from;
        return l;
    }
    size_t at = wk_joffset(v.s, (size_t)(from < 0 ? 0 : from));
    if (!count) return wk_jmark(wk_jpart(r, v.s, 0, 0), v.markup);
    if (by == 1) return wk_jmark(wk_jpart(r, v.s, at, wk_joffset(v.s, (size_t)to)), v.markup);
    wk_jbuf b = { 0 };
    for (int64_t i = 0; i < count; i++) {
        size_t end = at;
        wk_jnext_cp(v.s->p, v.s->n, &end);
        wk_jput_part(r, &b, v.s, at, end);
        for (int64_t k = 0; i + 1 < count && k < by; k++) wk_jnext_cp(v.s->p, v.s->n, &at);
        for (int64_t k = 0; i + 1 < count && k < -by; k++) do at--; while (((unsigned char)v.s->p[at] & 0xC0) == 0x80);
    }
    wk_jchars(r, v.s->n);
    return wk_jmark(wk_jput_end(r, &b), v.markup);
}
