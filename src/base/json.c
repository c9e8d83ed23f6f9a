/* json.c: JSON parsing through jansson, and printing. */
#include "base/json.h"
#include "base/file.h"
#include "base/number.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* jansson allocates through base/mem.h from the first parsing on (what it had before was malloc()'s, as ours is). Its lexer does
 * not look whether it got memory: characters go missing, blocks are lost, it crashes. So while it parses, what it takes and gives
 * back is written down, and the first allocation that fails leaves it by longjmp(); it holds nothing but memory then. */
typedef struct block_list { void **p; size_t n, cap; } block_list;
static _Thread_local struct { bool on, no_memory; block_list made, freed; jmp_buf out; } parsing;

static bool list_room(block_list *l, size_t n) { return wk_grow((void **)&l->p, &l->cap, n, sizeof *l->p); }

static void *memory_new(size_t n) {
    size_t need = parsing.made.n + 1;
    bool room = !parsing.on || (list_room(&parsing.made, need) && list_room(&parsing.freed, need));  /* so giving back needs none */
    void *p = room ? wk_alloc(n) : NULL;
    if (p && parsing.on) parsing.made.p[parsing.made.n++] = p;
    if (!p && parsing.on) longjmp(parsing.out, 1);
    return p;
}
static void memory_free(void *p) {
    if (p && parsing.on) parsing.freed.p[parsing.freed.n++] = p;
    wk_free(p);
}
static void set_memory(void) { json_set_alloc_funcs(memory_new, memory_free); }

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)*(void *const *)a, y = (uintptr_t)*(void *const *)b;
    return (x > y) - (x < y);
}

/* Frees what was made and not freed: an address may be in both lists several times. */
static void free_lost(void) {
    block_list *made = &parsing.made, *freed = &parsing.freed;
    if (made->n) qsort(made->p, made->n, sizeof *made->p, by_address);
    if (freed->n) qsort(freed->p, freed->n, sizeof *freed->p, by_address);
    for (size_t i = 0, k = 0; i < made->n; i++) {
        if (k < freed->n && freed->p[k] == made->p[i]) k++;
        else wk_free(made->p[i]);
    }
}

bool wk_json_load(const char *text, size_t n, size_t flags, json_error_t *e, json_t **out) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_memory);
    parsing.on = true;
    if (setjmp(parsing.out) == 0) {
        *out = json_loadb(text, n, flags | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, e);
        parsing.no_memory = false;
    } else {
        *out = NULL;
        parsing.no_memory = true;
        free_lost();
    }
    parsing.on = false;
    wk_free(parsing.made.p);
    wk_free(parsing.freed.p);
    parsing.made = parsing.freed = (block_list){ 0 };
    return *out != NULL;
}

bool wk_json_no_memory(void) { return parsing.no_memory; }

wick_status wk_json_parse(const char *text, size_t n, const char *what, json_t **out) {
    json_error_t e;
    wk_json_load(text, n, JSON_DECODE_ANY, &e, out);
    /* A number that only jansson's integers cannot hold is read again as a real; not always, since ids must stay integers. */
    if (!*out && !parsing.no_memory && json_error_code(&e) == json_error_numeric_overflow)
        wk_json_load(text, n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &e, out);
    if (*out) return WICK_OK;
    if (parsing.no_memory) return wk_fail_memory(n, what);
    return wk_fail(WICK_E_FORMAT, "%s: line %d, column %d: %s%s", what, e.line, e.column,
                   json_error_code(&e) == json_error_duplicate_key ? "" : "not JSON: ", e.text);
}

wick_status wk_json_read(const char *path, size_t limit, json_t **out) {
    wk_buf b = { 0 };
    *out = NULL;
    wick_status st = wk_file_read(path, limit, &b);
    if (!st) st = wk_check_pointer(path, b.ptr, b.len);
    if (!st) st = wk_json_parse(b.ptr, b.len, path, out);
    wk_buf_free(&b);
    return st;
}

/* Bytes of the UTF-8 sequence at s, 0 if it is not one. */
static size_t utf8_len(const unsigned char *s, size_t left) {
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
               : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
               : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                             : 0;
    if (!n || n > left) return 0;
    for (size_t i = 1; i < n; i++) if ((s[i] & 0xC0) != 0x80) return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) ||
        (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

void wk_json_put_str(wk_buf *b, const char *s, size_t n) {
    static const char short_of[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    wk_buf_char(b, '"');
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        const char *e = c ? strchr(short_of, c) : NULL;
        size_t len = utf8_len((const unsigned char *)s + i, n - i);
        if (e && (e - short_of) % 2 == 0) { wk_buf_char(b, '\\'); wk_buf_char(b, e[1]); }
        else if (c == '"' || c == '\\') { wk_buf_char(b, '\\'); wk_buf_char(b, (char)c); }
        else if (c < 0x20 || c == 0x7f) wk_buf_printf(b, "\\u%04x", c);
        else if (!len) wk_buf_str(b, "\xEF\xBF\xBD");
        else wk_buf_add(b, s + i, len);
        i += len ? len : 1;
    }
    wk_buf_char(b, '"');
}

/* The shortest of the precisions that reads back as the same number. A whole one has no exponent, as long as all its digits are
 * the number's own: Python reads 1e+01 as a float, and takes none for a rank or a number of layers. */
static void put_shortest(wk_buf *b, double v, int from, int to, bool single) {
    char t[40];
    if (!isfinite(v)) { wk_buf_str(b, "null"); return; }
    if (v == floor(v) && fabs(v) < (single ? 0x1p24 : 1e15)) { wk_buf_printf(b, "%.0f", v); return; }
    for (int p = from; p <= to; p++) {
        wk_format_number(t, sizeof t, "%.*g", p, v);
        if (single ? (float)wk_strtod(t, NULL) == (float)v : wk_strtod(t, NULL) == v) break;
    }
    wk_buf_str(b, t);
}

void wk_json_put_num(wk_buf *b, double v) { put_shortest(b, v, 1, 17, false); }
void wk_json_put_float(wk_buf *b, float v) { put_shortest(b, (double)v, 1, 9, true); }
