/* inspect_list.c: wick inspect's lists: a file's keys, its tensors, and a text's tokens. */
#include "inspect.h"
#include "cli.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys ---- */

enum { FIRST = 8 };  /* elements shown of an array */

static void put_shortened(wk_buf *b, wk_str s, bool json) {
    enum { MAX = 60 };
    size_t n = s.len;
    if (!json && n > MAX)
        for (n = MAX; n && ((unsigned char)s.ptr[n] & 0xC0) == 0x80;) n--;  /* whole characters */
    wk_json_put_str(b, s.ptr, n);
    if (n < s.len) wk_buf_printf(b, "... (%zu bytes)", s.len);
}

static void put_number(wk_buf *b, wk_gguf_type type, double real, int64_t whole) {
    if (type == WK_GGUF_F32) wk_json_put_float(b, (float)real);
    else if (type == WK_GGUF_F64) wk_json_put_num(b, real);
    else if (type == WK_GGUF_BOOL) wk_buf_str(b, whole ? "true" : "false");
    else wk_buf_printf(b, "%" PRId64, whole);
}

static void put_array(wk_buf *b, const wk_gguf *g, const char *key, bool json) {
    wk_gguf_array a;
    if (wk_gguf_arr(g, key, &a, NULL)) { wk_buf_str(b, "null"); return; }
    const uint8_t *cursor = a.data;
    if (json) wk_buf_printf(b, "{\"length\":%" PRIu64 ",\"first\":[", a.n);
    else wk_buf_printf(b, "%" PRIu64 " of them: ", a.n);
    for (uint64_t i = 0; i < a.n && i < FIRST; i++) {
        if (i) wk_buf_str(b, json ? "," : ", ");
        if (a.type == WK_GGUF_STR) put_shortened(b, wk_gguf_arr_str(&a, &cursor), json);
        else if (a.type == WK_GGUF_ARR) wk_buf_str(b, "null");
        else put_number(b, a.type, wk_gguf_arr_real(&a, i), wk_gguf_arr_int(&a, i));
    }
    if (json) wk_buf_str(b, "]}");
    else if (a.n > FIRST) wk_buf_str(b, ", ...");
}

static void put_value(wk_buf *b, const wk_gguf *g, const char *key, wk_gguf_type type, bool json) {
    double real = 0;
    int64_t whole = 0;
    bool yes = false;
    wk_str s = { "", 0 };
    wick_status st = WICK_OK;
    switch (type) {
    case WK_GGUF_ARR: put_array(b, g, key, json); return;
    case WK_GGUF_STR:
        if (!wk_gguf_str(g, key, &s, NULL)) put_shortened(b, s, json);
        else wk_buf_str(b, "null");
        return;
    case WK_GGUF_F32: case WK_GGUF_F64: st = wk_gguf_real(g, key, &real, NULL); break;
    case WK_GGUF_BOOL: st = wk_gguf_bool(g, key, &yes, NULL); whole = yes; break;
    default: st = wk_gguf_int(g, key, INT64_MIN, INT64_MAX, &whole, NULL); break;
    }
    if (st) wk_buf_str(b, "null");  /* an unsigned number above 2^63 */
    else put_number(b, type, real, whole);
}

static void list_gguf_keys(wk_buf *b, const wk_gguf *g, bool json) {
    for (size_t i = 0; i < wk_gguf_n_key(g); i++) {
        wk_gguf_type type, element;
        uint64_t n;
        wk_str k = wk_gguf_key(g, i, &type, &element, &n);
        char *key = wk_strdup_n(k.ptr, k.len);
        if (!key) { b->failed = true; return; }
        if (json) put_key(b, key);
        else wk_buf_printf(b, "  %-44s ", key);
        put_value(b, g, key, type, json);
        if (!json) wk_buf_char(b, '\n');
        wk_free(key);
    }
}

void list_keys(wk_buf *b, const wk_checkpoint *c, bool json) {
    const wk_gguf *g = wk_checkpoint_gguf(c);
    if (json) { put_key(b, "keys"); wk_buf_char(b, g ? '{' : ' '); }
    else wk_buf_str(b, g ? "\nKeys:\n" : "\nconfig.json:\n");
    if (g) list_gguf_keys(b, g, json);
    else {
        size_t how = JSON_REAL_PRECISION(12) | JSON_ENCODE_ANY | (json ? JSON_COMPACT : JSON_INDENT(2));
        json_t *config = wk_checkpoint_config(c);
        char *text = config ? json_dumps(config, how) : NULL;
        wk_buf_str(b, text ? text : "null");
        if (!json) wk_buf_char(b, '\n');
        free(text);  /* jansson's */
    }
    if (json && g) wk_buf_char(b, '}');
}

/* ---- tensors ---- */

static void put_shape(wk_buf *b, const wk_tensor *t) {
    wk_buf_char(b, '[');
    for (int d = 0; d < t->n_dim; d++) wk_buf_printf(b, "%s%" PRId64, d ? "," : "", t->shape[d]);
    wk_buf_char(b, ']');
}

static void tensor_json(wk_buf *b, const wk_tensor *t) {
    put_key(b, NULL);
    wk_buf_str(b, "{\"name\":");
    wk_json_put_str(b, t->name.ptr, t->name.len);
    put_str(b, "type", wk_dtypes[t->dtype].name);
    put_key(b, "shape");
    put_shape(b, t);
    put_int(b, "bytes", (int64_t)t->n_bytes);
    wk_buf_char(b, '}');
}

/* Name, type, shape and bytes in columns; name_width is the longest name's. */
static void tensor_line(wk_buf *b, const wk_tensor *t, int name_width) {
    enum { SHAPE_WIDTH = 20 };
    char bytes[32];
    wk_buf_printf(b, "  %-*.*s  %-6s ", name_width, (int)t->name.len, t->name.ptr, wk_dtypes[t->dtype].name);
    size_t from = b->len;
    put_shape(b, t);
    size_t n = b->len - from;
    wk_buf_printf(b, "%*s %s\n", n < SHAPE_WIDTH ? (int)(SHAPE_WIDTH - n) : 0, "", show_bytes(t->n_bytes, bytes));
}

void list_tensors(wk_buf *b, const wk_checkpoint *c, bool json) {
    size_t n = wk_checkpoint_n_tensor(c), longest = 0;
    for (size_t i = 0; i < n; i++)
        if (wk_checkpoint_tensor(c, i)->name.len > longest) longest = wk_checkpoint_tensor(c, i)->name.len;
    if (json) put_key(b, "tensors");
    wk_buf_str(b, json ? "[" : "\nTensors:\n");
    for (size_t i = 0; i < n; i++) {
        if (json) tensor_json(b, wk_checkpoint_tensor(c, i));
        else tensor_line(b, wk_checkpoint_tensor(c, i), longest < 80 ? (int)longest : 80);
    }
    if (json) wk_buf_char(b, ']');
}

/* ---- tokens of a text ---- */

/* A token's text so that it stays on its line: newlines as a sign, other control bytes and parts of a character as <XX>. */
static void put_visible(wk_buf *b, const char *s, size_t n) {
    const char *newline = term_utf8() ? "\u23ce" : "\\n";
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t len = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : (c & 0xF0) == 0xE0 ? 3 : (c & 0xF8) == 0xF0 ? 4 : 0;
        bool whole = len && i + len <= n;
        for (size_t k = 1; whole && k < len; k++) whole = ((unsigned char)s[i + k] & 0xC0) == 0x80;
        if (c == '\n') wk_buf_str(b, newline);
        else if (c < 0x20 || c == 0x7F || !whole || (c == 0xC2 && (unsigned char)s[i + 1] < 0xA0)) {
            wk_buf_printf(b, "<%02X>", c);
            len = 1;
        } else wk_buf_add(b, s + i, len);
        i += len;
    }
}

/* Two lines of the same length of colours: what each token says, and its id. */
static void put_tokens(wk_buf *b, const wick_model *m, const int32_t *ids, size_t n, bool color) {
    static const char *const paint[] = { "\033[30;48;5;152m", "\033[30;48;5;223m", "\033[30;48;5;151m", "\033[30;48;5;218m" };
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const char *piece = wick_token_piece(m, ids[i], &len);
        wk_buf_str(b, color ? paint[i % 4] : "|");
        if (color && wick_token_is_control(m, ids[i])) wk_buf_str(b, "\033[1m");
        put_visible(b, piece ? piece : "", len);
        if (color) wk_buf_str(b, "\033[0m");
        if (color && len && piece[len - 1] == '\n') wk_buf_char(b, '\n');
    }
    wk_buf_str(b, color ? "\n\n" : n ? "|\n" : "\n");
    for (size_t i = 0; i < n; i++) {
        if (color) wk_buf_printf(b, "%s%d\033[0m ", paint[i % 4], ids[i]);
        else wk_buf_printf(b, "%s%d", i ? " " : "", ids[i]);
    }
    wk_buf_printf(b, "\n%zu tokens", n);
}

int show_tokens(const opts *o, bool json) {
    cli_model m;
    int32_t *ids = NULL;
    size_t n = 0;
    wk_buf b = { 0 };
    int code = cli_open(o, true, &m);
    if (code) return code;
    code = cli_tokenize(m.model, o->prompt, strlen(o->prompt), WICK_TOK_SPECIAL | WICK_TOK_ADD, &ids, &n);
    if (!code && json) {
        wk_buf_str(&b, "{\"tokens\":[");
        for (size_t i = 0; i < n; i++) {
            size_t len = 0;
            const char *piece = wick_token_piece(m.model, ids[i], &len);
            put_key(&b, NULL);
            wk_buf_printf(&b, "{\"id\":%d,\"text\":", ids[i]);
            wk_json_put_str(&b, piece ? piece : "", len);
            wk_buf_char(&b, '}');
        }
        wk_buf_str(&b, "]}");
    } else if (!code) put_tokens(&b, m.model, ids, n, term_color(o, stdout));
    if (!code) out_buf(&b);
    wk_free(ids);
    cli_close(&m);
    return code;
}
