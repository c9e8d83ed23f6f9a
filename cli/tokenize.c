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

int verb_tokenize(const opts *o) {
    cli_model m;
    bool json = o->output && !strcmp(o->output, "json");
    int code = cli_open(o, true, &m);
    if (code) return code;
    code = o->render ? render(o, m.model, json) : text_to_ids(o, m.model, json);
    cli_close(&m);
    return code;
}
