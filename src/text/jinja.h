/* jinja.h: what the parts of the Jinja interpreter share: memory with a limit and one way to fail, the syntax tree, values.
 * Words and behaviour: jinja2's template designer documentation; operators, str, list, dict, repr, % and format: Python's.
 * Reading order: this file, jinja_lex.c, jinja_parse.c, jinja_value.c, jinja_eval.c, then the tables: jinja_filter.c, jinja_test.c,
 * jinja_method.c; jinja_format.c; template.c is the way in.
 * An error leaves by longjmp to wk_template_parse() or wk_template_render(): whatever was made lies in the arena, which goes with
 * it. */
#ifndef WK_JINJA_H
#define WK_JINJA_H
#include "text/template.h"
#include <setjmp.h>

/* ---- memory and failure ---- */

typedef struct wk_jmem {
    wk_arena arena;
    size_t used, limit;  /* bytes */
    uint32_t line;       /* of the template, for messages */
    wick_status status;
    jmp_buf out;
} wk_jmem;

/* "line N: ..." as WICK_E_TEMPLATE. */
_Noreturn void wk_jfail(wk_jmem *m, const char *fmt, ...) WK_PRINTF(2, 3);
/* n zeroed bytes, never NULL. */
void *wk_jalloc(wk_jmem *m, size_t n);
/* Room for one more element in an array in the arena (the old one is left behind): *cap doubles. */
void *wk_jgrow(wk_jmem *m, void *p, size_t n, size_t *cap, size_t size);

/* ---- values ---- */

typedef enum wk_jkind {
    WK_J_MISSING,  /* an argument that was not given; never seen by a template */
    WK_J_UNDEF, WK_J_NONE, WK_J_BOOL, WK_J_INT, WK_J_FLOAT, WK_J_STR, WK_J_LIST, WK_J_DICT, WK_J_NAMESPACE,
    WK_J_FUNC,     /* a global function */
    WK_J_METHOD,   /* a method and its object */
    WK_J_MACRO, WK_J_LOOP, WK_J_CYCLER, WK_J_JOINER,
} wk_jkind;

/* Where a byte of text, a number or a container came from. Zero: the template. */
enum { WK_J_REQUEST = 1, WK_J_GENERATION = 2 /* written inside {% generation %} */ };

typedef struct wk_jval {
    uint8_t kind;
    uint8_t from;    /* of anything but text, which keeps it byte by byte */
    uint8_t markup;  /* text marked safe: + escapes what is put beside it */
    union {
        bool b;
        int64_t i;
        double f;
        const struct wk_jstr *s;
        struct wk_jlist *l;
        struct wk_jdict *d;  /* of WK_J_NAMESPACE too */
        const struct wk_jbuiltin *fn;
        struct wk_jmethod *m;
        struct wk_jmacro *macro;
        struct wk_jloop *loop;
        struct wk_jcycler *cycler;
        const struct wk_jundef *u;
        void *p;
    };
} wk_jval;

/* Text, UTF-8, never changed once made. */
typedef struct wk_jstr {
    const char *p;
    const uint8_t *from;  /* [n] WK_J_REQUEST | WK_J_GENERATION; NULL: all bytes are as `all` says */
    size_t n, n_char;
    uint8_t all;
} wk_jstr;

/* Everything that has items in a row. Only WK_J_SEQ_LIST, _TUPLE and _RANGE can be indexed. */
typedef enum wk_jseq {
    WK_J_SEQ_LIST, WK_J_SEQ_TUPLE, WK_J_SEQ_RANGE, WK_J_SEQ_KEYS, WK_J_SEQ_VALUES, WK_J_SEQ_ITEMS,
    WK_J_SEQ_GENERATOR,  /* what map, select, ... give: read once, has no length */
} wk_jseq;
typedef struct wk_jlist {
    wk_jval *v;
    size_t n, cap;
    wk_jseq type;
    bool group;                  /* groupby's tuple: .grouper and .list */
    size_t pos;                  /* of a generator: items already read */
    struct wk_jlazy *lazy;       /* of a generator: what will make its items; NULL once it has */
    int64_t start, stop, step;   /* of a range, to print it */
} wk_jlist;

typedef struct wk_jpair { wk_jval k, v; } wk_jpair;
/* In order of insertion, searched in a row: real ones have a few keys; the search is counted in steps. */
typedef struct wk_jdict { wk_jpair *p; size_t n, cap; } wk_jdict;

/* Why a value is undefined: its name, and the kind of object that lacks it. */
typedef struct wk_jundef { const char *hint; wk_str name; const char *owner; bool refused; } wk_jundef;

typedef struct wk_jrun wk_jrun;

/* Arguments of a call. */
typedef struct wk_jcall { wk_jval *arg; size_t n, cap; wk_jdict *kw; } wk_jcall;
/* A filter, test, method or function. self: what is filtered, tested or whose method it is; a: one value per name in params,
 * WK_J_MISSING where none was given. */
typedef wk_jval (*wk_jfn)(wk_jrun *r, wk_jval self, wk_jval *a, const wk_jcall *c);
typedef struct wk_jbuiltin {
    const char *name;
    wk_jfn fn;
    const char *params;  /* names in order; before them "~": gives a generator, and runs when that is read; "-": by position only;
                            "*" in their place: takes what comes (a is NULL) */
    int need;            /* how many must be given */
} wk_jbuiltin;
enum { WK_J_MAX_PARAMS = 6 };
/* A filter that waits until its generator is read: an error in it comes then, or never. */
typedef struct wk_jlazy { const wk_jbuiltin *fn; wk_jval self, a[WK_J_MAX_PARAMS]; wk_jcall c; } wk_jlazy;

typedef struct wk_jmethod { wk_jval self; const wk_jbuiltin *fn; } wk_jmethod;
typedef struct wk_jcycler { wk_jlist *items; size_t pos; } wk_jcycler;   /* a joiner too: pos counts its uses, items[0] separates */

/* ---- the syntax tree ---- */

typedef enum wk_jnode_kind {
    /* expressions */
    WK_N_CONST, WK_N_NAME, WK_N_TUPLE, WK_N_LIST, WK_N_DICT, WK_N_PAIR, WK_N_NSREF, WK_N_ATTR, WK_N_ITEM, WK_N_SLICE,
    WK_N_CALL, WK_N_KEYWORD, WK_N_FILTER, WK_N_TEST, WK_N_BINARY, WK_N_NEG, WK_N_POS, WK_N_NOT, WK_N_AND, WK_N_OR,
    WK_N_CONCAT, WK_N_COMPARE, WK_N_OPERAND, WK_N_COND,
    /* statements */
    WK_N_OUTPUT, WK_N_SET, WK_N_SET_BLOCK, WK_N_FOR, WK_N_IF, WK_N_BRANCH, WK_N_MACRO, WK_N_CALL_BLOCK, WK_N_FILTER_BLOCK,
    WK_N_WITH, WK_N_BREAK, WK_N_CONTINUE, WK_N_GENERATION, WK_N_SCOPE,
} wk_jnode_kind;

/* One node. Which fields a kind uses stands at its reader in jinja_parse.c. */
typedef struct wk_jnode wk_jnode;
struct wk_jnode {
    uint8_t kind, op, flag;
    uint32_t line, sym;      /* sym: index of a name in the template's table */
    wk_jnode *next;          /* in the list that it belongs to */
    wk_jnode *a, *b, *c;
    wk_jnode *list, *body, *orelse;
    wk_jnode *kw, *star, *star_star;  /* of a call: keywords, *x, **x */
    const wk_jbuiltin *fn;   /* filter or test; NULL: there is none of that name */
    wk_jval val;             /* WK_N_CONST's; the attribute's name */
};

/* What a macro's body mentions, so that surplus arguments are taken or refused as jinja2 does. */
enum { WK_J_USES_CALLER = 1, WK_J_USES_VARARGS = 2, WK_J_USES_KWARGS = 4 };
/* Names with a fixed place in the table. */
enum { WK_SYM_LOOP, WK_SYM_CALLER, WK_SYM_VARARGS, WK_SYM_KWARGS, WK_SYM_FIXED };

struct wk_template {
    wk_arena arena;
    wk_jnode *body;
    wk_str *sym;
    uint32_t n_sym;
};

typedef enum wk_jtok_kind {
    WK_T_DATA, WK_T_VAR_BEGIN, WK_T_VAR_END, WK_T_BLOCK_BEGIN, WK_T_BLOCK_END, WK_T_NAME, WK_T_STRING, WK_T_INT, WK_T_FLOAT,
    WK_T_OP, WK_T_END,
} wk_jtok_kind;
/* Operators of two characters; those of one are the character. */
enum { WK_OP_EQ = 128, WK_OP_NE, WK_OP_LE, WK_OP_GE, WK_OP_FLOORDIV, WK_OP_POW, WK_OP_IN, WK_OP_NOT_IN };
typedef struct wk_jtok {
    uint8_t kind, op;
    uint32_t line;
    wk_str text;  /* data; a name; a string, decoded; a number or operator as written */
    int64_t i;
    double f;
} wk_jtok;

/* The whole source as tokens, the last one WK_T_END. */
const wk_jtok *wk_jlex(wk_jmem *m, const char *src, size_t n);
/* m is the arena that t will own. */
void wk_jparse(wk_jmem *m, const char *src, size_t n, wk_template *t);

/* ---- running ---- */

typedef struct wk_jvar { struct wk_jvar *next; uint32_t sym; wk_jval val; } wk_jvar;
typedef struct wk_jscope { struct wk_jscope *up; wk_jvar *vars; } wk_jscope;

typedef struct wk_jmacro { const wk_jnode *def; wk_jscope *scope; } wk_jmacro;
typedef struct wk_jloop {
    const wk_jnode *node;
    wk_jscope *scope;      /* where the loop stands */
    wk_jlist items;
    size_t pos;            /* next item to look at */
    bool tested;           /* the items left all meet the loop's condition */
    int64_t index0, depth0, length;  /* length: -1 until asked for */
    wk_jval before, current, after, changed;  /* after: read ahead, or WK_J_MISSING */
} wk_jloop;

/* Text in the making. */
typedef struct wk_jbuf { char *p; uint8_t *from; size_t n, cap; uint8_t all; } wk_jbuf;

struct wk_jrun {
    wk_jmem m;
    const wk_template *t;
    wk_jval *root;         /* [t->n_sym] variables of the outermost scope, WK_J_MISSING where there is none */
    wk_jscope *scope;      /* NULL: the outermost */
    wk_jbuf *out;
    wk_jval block;         /* what a filter without an operand is applied to */
    uint64_t steps, max_steps;
    uint32_t depth, max_depth, calls, max_calls;
    size_t max_text;
    const char *now;
    struct wk_jopen *open; /* containers that are being printed */
};

/* Counts n steps; fails above the limit. */
void wk_jstep(wk_jrun *r, uint64_t n);
/* Counts n characters that are looked at one by one; copying and comparing whole texts is 64 bytes a step. */
static inline void wk_jchars(wk_jrun *r, uint64_t n) { wk_jstep(r, n / 8); }
/* Around each level of recursion on nodes or values. */
void wk_jenter(wk_jrun *r);
static inline void wk_jleave(wk_jrun *r) { r->depth--; }

wk_jval wk_jeval(wk_jrun *r, const wk_jnode *n);
void wk_jexec_template(wk_jrun *r);
wk_jval wk_jcall_value(wk_jrun *r, wk_jval fn, const wk_jcall *c);
wk_jval wk_jcall_builtin(wk_jrun *r, const wk_jbuiltin *fn, const char *what, wk_jval self, const wk_jcall *c);
wk_jval wk_jcall_macro(wk_jrun *r, const wk_jmacro *m, const wk_jcall *c);
wk_jval wk_jcall_loop(wk_jrun *r, const wk_jloop *l, wk_jval items);
/* The attributes that a template sees on a loop; WK_J_MISSING if there is none of that name. */
wk_jval wk_jloop_attr(wk_jrun *r, wk_jloop *l, wk_str name);
int64_t wk_jloop_length(wk_jrun *r, wk_jloop *l);
/* op is a character or WK_OP_*. */
wk_jval wk_jbinary(wk_jrun *r, int op, wk_jval a, wk_jval b);
bool wk_jcompare(wk_jrun *r, int op, wk_jval a, wk_jval b);

/* Tables, each ended by a NULL name. */
const wk_jbuiltin *wk_jfind(const wk_jbuiltin *table, const char *name, size_t n);
extern const wk_jbuiltin wk_jfilters[], wk_jtests[], wk_jglobals[];
/* A method of v; WK_J_MISSING if it has none of that name; undefined if a sandbox may not call it. */
wk_jval wk_jmethod_of(wk_jrun *r, wk_jval v, wk_str name);

/* ---- values: making them ---- */

wk_jval wk_jnone(void);
wk_jval wk_jbool(bool b);
wk_jval wk_jint(int64_t i);
wk_jval wk_jfloat(double f);
/* Bytes that outlive the run, all from one place. */
wk_jval wk_jtext(wk_jmem *m, const char *p, size_t n, uint8_t from);
wk_jval wk_jlit(wk_jrun *r, const char *s);
wk_jval wk_jundefined(wk_jrun *r, wk_str name);
wk_jval wk_jundefined_hint(wk_jrun *r, const char *hint);
wk_jval wk_jundefined_in(wk_jrun *r, wk_jval owner, wk_str name);
/* A method that would change its object: undefined, and an error when it is called. */
wk_jval wk_jrefused(wk_jrun *r, wk_jval owner, wk_str name);
_Noreturn void wk_jfail_undef(wk_jrun *r, wk_jval u);
wk_jval wk_jlist_new(wk_jrun *r, wk_jseq type, size_t cap);
void wk_jlist_add(wk_jrun *r, wk_jlist *l, wk_jval v);
wk_jval wk_jlist_of(wk_jrun *r, wk_jseq type, const wk_jval *v, size_t n);
wk_jval wk_jdict_new(wk_jrun *r);
wk_jval *wk_jdict_find(wk_jrun *r, const wk_jdict *d, wk_jval key);
wk_jval *wk_jdict_find_str(wk_jrun *r, const wk_jdict *d, const char *p, size_t n);
/* Fails if v is a list or a dict. */
void wk_jneed_key(wk_jrun *r, wk_jval v);
void wk_jdict_set(wk_jrun *r, wk_jdict *d, wk_jval key, wk_jval v);
/* The keys, values or items of a dict. */
wk_jval wk_jdict_view(wk_jrun *r, const wk_jdict *d, wk_jseq type);
wk_jval wk_jfrom_json(wk_jrun *r, json_t *j, uint8_t from);

/* ---- text ---- */

void wk_jput(wk_jrun *r, wk_jbuf *b, const char *p, size_t n, uint8_t from);
void wk_jput_lit(wk_jrun *r, wk_jbuf *b, const char *s);
void wk_jput_char(wk_jrun *r, wk_jbuf *b, char c, size_t times, uint8_t from);
void wk_jput_cp(wk_jrun *r, wk_jbuf *b, uint32_t cp, uint8_t from);
/* Bytes [from, to) of s, each with where it came from. */
void wk_jput_part(wk_jrun *r, wk_jbuf *b, const wk_jstr *s, size_t from, size_t to);
void wk_jput_str(wk_jrun *r, wk_jbuf *b, const wk_jstr *s);
/* As str(v) and repr(v) write it. */
void wk_jput_val(wk_jrun *r, wk_jbuf *b, wk_jval v);
void wk_jput_repr(wk_jrun *r, wk_jbuf *b, wk_jval v);
void wk_jput_float(wk_jrun *r, wk_jbuf *b, double f, uint8_t from);
wk_jval wk_jput_end(wk_jrun *r, wk_jbuf *b);
/* str(v): v itself if it is text. */
const wk_jstr *wk_jstr_of(wk_jrun *r, wk_jval v);
wk_jval wk_jto_str(wk_jrun *r, wk_jval v);
wk_jval wk_jpart(wk_jrun *r, const wk_jstr *s, size_t from, size_t to);
size_t wk_jn_char(const wk_jstr *s);
/* Byte offset of character i. */
size_t wk_joffset(const wk_jstr *s, size_t i);
/* First at or after from, or last, of needle in s; SIZE_MAX: none. */
size_t wk_jsearch(wk_jrun *r, const wk_jstr *s, const wk_jstr *needle, size_t from, size_t to);
size_t wk_jsearch_last(wk_jrun *r, const wk_jstr *s, const wk_jstr *needle, size_t from, size_t to);
uint8_t wk_jfrom_at(const wk_jstr *s, size_t i);
/* WK_J_REQUEST if any byte is the request's. */
uint8_t wk_jfrom_any(const wk_jstr *s);
wk_jval wk_jescape(wk_jrun *r, wk_jval v);
wk_jval wk_jmark(wk_jval v, uint8_t markup);
/* One character of valid UTF-8; *i moves past it. */
uint32_t wk_jnext_cp(const char *p, size_t n, size_t *i);
bool wk_jis_space(uint32_t cp);
bool wk_jis_printable(uint32_t cp);
bool wk_jis_word(uint32_t cp);
wk_jval wk_jtojson(wk_jrun *r, wk_jval v, wk_jval *a);
/* "..." % v, and "...".format(...). */
wk_jval wk_jpercent(wk_jrun *r, const wk_jstr *f, wk_jval v, bool markup);
wk_jval wk_jformat(wk_jrun *r, const wk_jstr *f, const wk_jcall *c, bool markup);

/* ---- asking ---- */

const char *wk_jtype(wk_jval v);
bool wk_jtruth(wk_jrun *r, wk_jval v);
bool wk_jequal(wk_jrun *r, wk_jval a, wk_jval b);
/* -1, 0, 1, or 2: not a number, no order; op (as "<") is for the message when the two cannot be compared. */
int wk_jorder(wk_jrun *r, wk_jval a, wk_jval b, const char *op);
bool wk_jcontains(wk_jrun *r, wk_jval in, wk_jval v);
bool wk_jhas_length(wk_jval v);
int64_t wk_jlength(wk_jrun *r, wk_jval v);
bool wk_jiterable(wk_jval v);
/* The items of anything that can be iterated: characters, keys, what is left of a generator (which is then used up). */
wk_jlist wk_jiter(wk_jrun *r, wk_jval v);
/* Has a generator make its items. */
void wk_jforce(wk_jrun *r, wk_jlist *l);
wk_jval wk_jgetattr(wk_jrun *r, wk_jval v, wk_str name);
wk_jval wk_jgetitem(wk_jrun *r, wk_jval v, wk_jval key);
/* start, stop and step may be WK_J_NONE. */
wk_jval wk_jslice(wk_jrun *r, wk_jval v, wk_jval start, wk_jval stop, wk_jval step);
static inline bool wk_jnumeric(wk_jval v) { return v.kind == WK_J_BOOL || v.kind == WK_J_INT || v.kind == WK_J_FLOAT; }
static inline bool wk_jintegral(wk_jval v) { return v.kind == WK_J_BOOL || v.kind == WK_J_INT; }
static inline int64_t wk_jas_int(wk_jval v) { return v.kind == WK_J_BOOL ? v.b : v.i; }
static inline double wk_jas_float(wk_jval v) { return v.kind == WK_J_FLOAT ? v.f : (double)wk_jas_int(v); }
/* An argument that has to be an integer. */
int64_t wk_jneed_int(wk_jrun *r, wk_jval v, const char *what);
const wk_jstr *wk_jneed_str(wk_jrun *r, wk_jval v, const char *what);

#endif
