/* tokenize.c: wick tokenize: text to ids, or a chat rendered by the template and then to ids.
 * Load: files of many megabytes; the weights are not read. */
#include "cli.h"
#include <string.h>

/* A line a token: id, and what it stands for, quoted as in JSON. */
static bool put_lines(const wick_model *m, const int32_t *ids, size_t n) {
    wk_buf b = { 0 };
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const char *piece = wick_token_piece(m, ids[i], &len);
        wk_buf_printf(&b, "%8d  ", ids[i]);
        wk_json_put_str(&b, piece ? piece : "", len);
        if (i + 1 < n) wk_buf_char(&b, '\n');
    }
    if (n) return out_buf(&b);
    wk_buf_free(&b);
    return true;
}

static void put_ids(wk_buf *b, const int32_t *ids, size_t n) {
    put_key(b, "ids");
    wk_buf_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        put_key(b, NULL);
        wk_buf_printf(b, "%d", ids[i]);
    }
    wk_buf_char(b, ']');
}

static int text_to_ids(const opts *o, const wick_model *m, bool json) {
    wk_buf text = { 0 }, b = { 0 };
    int32_t *ids = NULL;
    size_t n = 0;
    bool found;
    int code = cli_prompt(o, &text, &found);
    if (!code && !found) code = cli_usage("tokenize needs a text: words after the model, -p TEXT, -f FILE, or text piped in");
    unsigned how = (o->no_special ? 0u : WICK_TOK_SPECIAL) | (o->add_special ? WICK_TOK_ADD : 0u);
    if (!code) code = cli_tokenize(m, text.ptr, text.len, how, &ids, &n);
    if (!code && json) {
        wk_buf_char(&b, '{');
        put_ids(&b, ids, n);
        wk_buf_char(&b, '}');
        out_buf(&b);
    } else if (!code) put_lines(m, ids, n);
    wk_free(ids);
    wk_buf_free(&text);
    return code;
}

static int render(const opts *o, const wick_model *m, bool json) {
    wk_buf input = { 0 }, b = { 0 };
    wick_chat chat = { 0 };
    if (o->n_word || o->prompt || o->file) return cli_usage("--render has the text in its file; leave out words, -p and -f");
    int code = cli_read(o->render, &input);
    if (!code) code = cli_status(wick_chat_render(m, input.ptr, &chat));
    if (!code && json) {
        wk_buf_char(&b, '{');
        put_key(&b, "text");
        wk_json_put_str(&b, chat.text, chat.n_text);
        put_ids(&b, chat.ids, chat.n_ids);
        wk_buf_char(&b, '}');
        out_buf(&b);
    } else if (!code) put_lines(m, chat.ids, chat.n_ids);
    wick_chat_free(&chat);
    wk_buf_free(&input);
    return code;
}

/* ---- masks ---- */

static void put_labels(wk_buf *b, const wick_train_sample *s) {
    wk_buf_char(b, '{');
    put_ids(b, s->ids, s->n);
    if (s->labels) {
        put_key(b, "labels");
        wk_buf_char(b, '[');
        for (size_t i = 0; i < s->n; i++) wk_buf_printf(b, "%s%d", i ? "," : "", s->labels[i]);
        wk_buf_char(b, ']');
    } else put_int(b, "label", s->label);
    wk_buf_char(b, '}');
}

/* The text as it is, control characters shown, what is learnt in green and the rest dim; without colours in brackets. Bytes of one
 * character that lies in several tokens stay together as long as they are of one kind. */
static void put_mask(wk_buf *b, const wick_model *m, const wick_train_sample *s, bool color) {
    bool learnt = false;
    if (color) wk_buf_str(b, "\033[2m");
    for (size_t i = 0; i < s->n; i++) {
        size_t n = 0;
        const char *piece = wick_token_piece(m, s->ids[i], &n);
        bool now = i && s->labels && s->labels[i] >= 0;  /* nothing stands before the first that could predict it */
        if (now != learnt) wk_buf_str(b, color ? now ? "\033[0;32m" : "\033[0;2m" : now ? "[" : "]");
        learnt = now;
        for (size_t k = 0; piece && k < n; k++) {
            unsigned char c = (unsigned char)piece[k];
            if (c == '\n') wk_buf_str(b, term_utf8() ? "\u21b5\n" : "\\n\n");
            else if (c < 32 && c != '\t') wk_buf_printf(b, "^%c", c + 64);
            else wk_buf_char(b, piece[k]);
        }
    }
    if (color) wk_buf_str(b, "\033[0m");
    else if (learnt) wk_buf_char(b, ']');
    if (s->label >= 0) wk_buf_printf(b, " -> class %d", s->label);
}

static int show_line(const opts *o, const wick_model *m, const char *json, size_t line, bool as_json) {
    wick_train_sample s;
    wk_buf b = { 0 };
    wick_status st = wick_train_sample_read(m, json, true, &s);
    if (st) return cli_fail("%s: line %zu: %s", o->show_mask, line, wick_last_error());
    size_t n_learnt = 0;
    for (size_t i = 1; s.labels && i < s.n; i++) n_learnt += s.labels[i] >= 0;
    if (as_json) put_labels(&b, &s);
    else {
        put_mask(&b, m, &s, term_color(o, stdout));
        if (s.labels) wk_buf_printf(&b, "\n-- line %zu: %zu of %zu tokens are learnt", line, n_learnt, s.n);
    }
    wick_train_sample_free(&s);
    return out_buf(&b) ? EXIT_DONE : EXIT_FAILED;
}

static int show_mask(const opts *o, const wick_model *m, bool json) {
    wk_buf text = { 0 };
    if (o->n_word || o->prompt || o->file || o->render)
        return cli_usage("--show-mask has the text in its file; leave out words, -p, -f and --render");
    int code = cli_read(o->show_mask, &text);
    char *at = text.ptr, *stop = at ? at + text.len : NULL;
    if (text.len >= 3 && !memcmp(at, "\xEF\xBB\xBF", 3)) at += 3;
    for (size_t line = 1; !code && !interrupted && at < stop; line++) {
        char *end = memchr(at, '\n', (size_t)(stop - at));
        if (!end) end = stop;
        *end = 0;
        if (strlen(at) < (size_t)(end - at)) code = cli_fail("%s: line %zu: holds a NUL byte", o->show_mask, line);
        else if (at[strspn(at, " \t\r")]) code = show_line(o, m, at, line, json);
        at = end + 1;
    }
    wk_buf_free(&text);
    return code;
}

int verb_tokenize(const opts *o) {
    cli_model m;
    bool json = o->output && !strcmp(o->output, "json");
    int code = cli_open(o, true, &m);
    if (code) return code;
    code = o->show_mask ? show_mask(o, m.model, json) : o->render ? render(o, m.model, json) : text_to_ids(o, m.model, json);
    cli_close(&m);
    return code;
}
