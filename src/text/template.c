/* template.c: the way into the Jinja interpreter: parses a chat template, renders it over a request's variables, and says of each
 * piece of the result whether the template or the request wrote it. */
#include "text/jinja.h"
#include <string.h>

enum {
    MAX_SOURCE = 1 << 20,       /* bytes of a template; real ones have 1 to 20 thousand */
    PARSE_MEMORY = 512 << 20,
    MAX_STEPS = 10 * 1000 * 1000,
    /* calls; expressions, blocks and values may nest 8 times as deep: 1600 levels are about 1 MB of stack */
    MAX_DEPTH = 200,
    MAX_OUTPUT = 16 << 20,
    MEMORY_PER_OUTPUT = 16,     /* all texts and values of a rendering together, as a multiple of the output */
};

/* m->arena becomes *out's, or is freed. */
static wick_status parse(wk_jmem *m, const char *src, size_t n, wk_template **out) {
    if (setjmp(m->out)) {
        wk_arena_free(&m->arena);
        return m->status;
    }
    wk_template *t = wk_jalloc(m, sizeof *t);
    wk_jparse(m, src, n, t);
    t->arena = m->arena;
    *out = t;
    return WICK_OK;
}

wick_status wk_template_parse(const char *src, size_t n, wk_template **out) {
    wk_jmem m = { .limit = PARSE_MEMORY };
    *out = NULL;
    if (n > MAX_SOURCE) return wk_fail(WICK_E_TEMPLATE, "chat template: it has %zu bytes; at most %d are read", n, MAX_SOURCE);
    return parse(&m, src, n, out);
}

void wk_template_free(wk_template *t) {
    if (!t) return;
    wk_arena a = t->arena;  /* t lies in it */
    wk_arena_free(&a);
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), k = strlen(end);
    return n >= k && !strcmp(s + n - k, end);
}

/* The variables that the template names: the request's, else the global functions. */
static void set_variables(wk_jrun *r, json_t *vars) {
    for (uint32_t i = 0; i < r->t->n_sym; i++) {
        const char *name = r->t->sym[i].ptr;
        json_t *j = json_object_get(vars, name);
        const wk_jbuiltin *fn = wk_jfind(wk_jglobals, name, r->t->sym[i].len);
        if (j) r->root[i] = wk_jfrom_json(r, j, json_is_string(j) && ends_with(name, "_token") ? 0 : WK_J_REQUEST);
        else if (fn) r->root[i] = (wk_jval){ .kind = WK_J_FUNC, .fn = fn };
    }
}

/* Stretches of bytes with the same flags become pieces. */
static void add_pieces(wk_rendered *out, const wk_jbuf *b) {
    for (size_t i = 0, end; i < b->n; i = end) {
        uint8_t f = b->from ? b->from[i] : b->all;
        for (end = b->from ? i + 1 : b->n; end < b->n && b->from[end] == f;) end++;
        if (!wk_grow((void **)&out->piece, &out->cap_piece, out->n_piece + 1, sizeof *out->piece)) {
            out->text.failed = true;
            return;
        }
        out->piece[out->n_piece++] = (wk_piece){ i, end, f & WK_J_REQUEST, f & WK_J_GENERATION };
    }
}

/* Runs the template; what it wrote is in *b, inside r's arena. */
static wick_status run(wk_jrun *r, json_t *vars, wk_jbuf *b) {
    if (setjmp(r->m.out)) return r->m.status;
    r->root = wk_jalloc(&r->m, r->t->n_sym * sizeof *r->root);
    r->out = b;
    set_variables(r, vars);
    wk_jexec_template(r);
    return WICK_OK;
}

wick_status wk_template_render(const wk_template *t, json_t *vars, const char *now, const wk_template_limits *limits,
                               wk_rendered *out) {
    wk_template_limits l = limits ? *limits : (wk_template_limits){ 0 };
    wk_jbuf b = { 0 };
    *out = (wk_rendered){ 0 };
    if (!l.max_steps) l.max_steps = MAX_STEPS;
    if (!l.max_depth) l.max_depth = MAX_DEPTH;
    if (!l.max_output) l.max_output = MAX_OUTPUT;
    wk_jrun r = {
        .m = { .line = 1 }, .t = t, .max_steps = l.max_steps, .max_calls = l.max_depth, .max_text = l.max_output, .now = now
    };
    if (__builtin_mul_overflow(l.max_depth, 8U, &r.max_depth)) r.max_depth = UINT32_MAX;
    if (!wk_mul_size(l.max_output, MEMORY_PER_OUTPUT, &r.m.limit)) r.m.limit = SIZE_MAX;
    wick_status st = run(&r, vars, &b);
    if (!st) {
        wk_buf_add(&out->text, b.p ? b.p : "", b.n);
        add_pieces(out, &b);
        if (out->text.failed) st = wk_fail_memory(b.n, "a rendered chat");
    }
    if (st) wk_rendered_free(out);
    wk_arena_free(&r.m.arena);
    return st;
}

void wk_rendered_free(wk_rendered *r) {
    wk_buf_free(&r->text);
    wk_free(r->piece);
    *r = (wk_rendered){ 0 };
}
