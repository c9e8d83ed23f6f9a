/* line.c: line input for wick chat: libedit where it is built in and the terminal can move its cursor, else plain lines.
 *
 * Pasted text: terminals put ESC [200~ and ESC [201~ around it when asked to ("bracketed paste", xterm's ctlseqs); what
 * stands between is one message however many lines it has, and waits for return. From terminals that do not, lines that
 * are there together are taken together. */
#include "line.h"
#include "cli.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>
#ifdef WK_HAVE_LIBEDIT
#include <histedit.h>
#endif

static struct {
    const char *prompt, *more;
    bool bold, terminal, edits;  /* edits: libedit reads */
    bool inside;                 /* a message has begun: show more, not prompt */
    bool joined;                 /* the line just read ended inside a paste */
    wk_buf ahead; size_t at;     /* bytes read but not yet taken: what was pasted, or an unfinished escape sequence */
    char shown[64];              /* the prompt with its colours */
} in;

/* ---- bytes ---- */

static bool waiting(int ms) {
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
    return poll(&p, 1, ms) > 0;
}

/* One byte; 0: end of input, -1: a signal came. Signals are let in only while it waits: one that comes between the prompt
 * and the read would otherwise be noticed at the next key. */
static int read_byte(char *c) {
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    int got = 0;
    while (!interrupted && (got = ppoll(&p, 1, NULL, &before)) < 0 && errno == EINTR) continue;  /* a window changed its size */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (interrupted) return -1;
    if (got < 0) return 0;
    ssize_t n = read(STDIN_FILENO, c, 1);
    return n < 0 ? (errno == EINTR ? -1 : 0) : (int)n;
}

static bool take_ahead(char *c) {
    if (in.at >= in.ahead.len) return false;
    *c = in.ahead.ptr[in.at++];
    if (in.at == in.ahead.len) in.at = in.ahead.len = 0;
    return true;
}

/* After a newline: are more bytes there at once, as only a paste brings them? Takes them all. */
static bool paste_goes_on(void) {
    char c;
    if (in.at < in.ahead.len) return true;
    if (!in.terminal) return false;
    while (waiting(5) && read_byte(&c) > 0) wk_buf_char(&in.ahead, c == '\r' ? '\n' : c);
    return in.ahead.len > 0;
}

/* ---- libedit ---- */

#ifdef WK_HAVE_LIBEDIT
static EditLine *editor;
static History *history_list;
static char history_path[PATH_MAX];

/* Reads until the end mark of a paste; tabs become blanks, since the editor has no tab stops. */
static void slurp_paste(void) {
    static const char end[] = "\033[201~";
    char c;
    while (read_byte(&c) > 0) {
        wk_buf_char(&in.ahead, c == '\r' ? '\n' : c);
        if (in.ahead.failed) return;
        if (in.ahead.len >= 6 && !memcmp(in.ahead.ptr + in.ahead.len - 6, end, 6)) {
            in.ahead.len -= 6;
            return;
        }
    }
}

/* After ESC: is it the begin mark of a paste? What it is instead goes back. */
static bool paste_begins(void) {
    static const char begin[] = "[200~";
    for (int i = 0; i < 5; i++) {
        char c;
        if (!waiting(20) || read_byte(&c) <= 0) return false;
        wk_buf_char(&in.ahead, c);
        if (c != begin[i]) return false;
    }
    in.ahead.len = in.at = 0;
    return true;
}

/* The editor's next character: 1, 0 for the end, -1 for an interruption. */
static int next_char(EditLine *e, wchar_t *out) {
    mbstate_t state = { 0 };
    (void)e;
    for (;;) {
        char c;
        bool pasted = take_ahead(&c);
        if (!pasted) {
            int got = read_byte(&c);
            if (got <= 0) return got;
            if (c == '\033' && in.at >= in.ahead.len && paste_begins()) { slurp_paste(); continue; }
        }
        if (c == '\n' || c == '\r') {
            in.joined = paste_goes_on() || pasted;
            *out = L'\n';
            return 1;
        }
        if (pasted && c == '\t') c = ' ';
        size_t n = mbrtowc(out, &c, 1, &state);
        if (n == 1 || n == 0) return 1;
        if (n == (size_t)-1) { *out = L'?'; return 1; }  /* not in this locale */
    }
}

static char *show_prompt(EditLine *e) {
    (void)e;
    return in.shown;
}

/* $XDG_STATE_HOME/wick/history, its folders made; "" if there is no place for it. */
static void find_history(void) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = state && *state == '/' ? snprintf(history_path, sizeof history_path, "%s/wick/history", state)
            : home && *home        ? snprintf(history_path, sizeof history_path, "%s/.local/state/wick/history", home)
                                   : 0;
    if (n <= 0 || n >= (int)sizeof history_path) { history_path[0] = 0; return; }
    for (char *p = history_path + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(history_path, 0700);
        *p = '/';
    }
}

static bool open_editor(void) {
    const char *term = getenv("TERM");
    HistEvent ev;
    if (!in.terminal || !isatty(STDOUT_FILENO) || !term || !*term || !strcmp(term, "dumb")) return false;
    editor = el_init("wick", stdin, stdout, stderr);
    history_list = history_init();
    if (!editor || !history_list) return false;
    el_set(editor, EL_PROMPT_ESC, show_prompt, '\1');
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_SIGNAL, 0);
    el_set(editor, EL_GETCFN, next_char);
    el_set(editor, EL_HIST, history, history_list);
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(editor, EL_BIND, "\\e[1~", "ed-move-to-beg", NULL);
    el_set(editor, EL_BIND, "\\e[4~", "ed-move-to-end", NULL);
    el_set(editor, EL_BIND, "\\e[3~", "ed-delete-next-char", NULL);
    history(history_list, &ev, H_SETSIZE, 1000);
    history(history_list, &ev, H_SETUNIQUE, 1);
    find_history();
    if (*history_path) history(history_list, &ev, H_LOAD, history_path);
    return true;
}

static void close_editor(void) {
    if (editor) el_end(editor);
    if (history_list) history_end(history_list);
    editor = NULL;
    history_list = NULL;
}

static line_end edit_line(wk_buf *out) {
    const char *p = in.inside ? in.more : in.prompt;
    int n = 0;
    HistEvent ev;
    int last = (int)strlen(p) - 1;  /* libedit forgets an escape that no character follows: the last one comes after the reset */
    if (in.bold && last > 0) snprintf(in.shown, sizeof in.shown, "\1\033[1m\1%.*s\1\033[0m\1%s", last, p, p + last);
    else snprintf(in.shown, sizeof in.shown, "%s", p);
    out_str("\033[?2004h");
    el_set(editor, EL_PREP_TERM, 1);  /* before the prompt: libedit itself does it after, and loses a Ctrl-D typed between */
    const char *line = el_gets(editor, &n);
    out_str("\033[?2004l");
    if (interrupted) { out_str("^C\n"); return LINE_INTERRUPTED; }
    if (!line || n <= 0) {
        if (in.inside) out_str("\n");
        return LINE_EOF;
    }
    wk_buf_add(out, line, (size_t)n);
    if (strspn(line, " \t\r\n") == (size_t)n) return LINE_MESSAGE;
    history(history_list, &ev, H_ENTER, line);
    if (*history_path) history(history_list, &ev, H_SAVE, history_path);
    return LINE_MESSAGE;
}
#else
static bool open_editor(void) { return false; }
static void close_editor(void) {}
static line_end edit_line(wk_buf *out) { (void)out; return LINE_EOF; }
#endif

/* ---- plain lines ---- */

static line_end plain_line(wk_buf *out) {
    size_t before = out->len;
    if (in.terminal) out_str(in.inside ? in.more : in.prompt);
    for (;;) {
        char c;
        int got = take_ahead(&c) ? 1 : read_byte(&c);
        if (got < 0) { out_str("\n"); return LINE_INTERRUPTED; }
        if (got == 0) return out->len > before ? LINE_MESSAGE : LINE_EOF;
        wk_buf_char(out, c);
        if (c != '\n') continue;
        in.joined = paste_goes_on();
        return LINE_MESSAGE;
    }
}

/* ---- messages ---- */

void line_open(const char *prompt, const char *more, bool bold) {
    memset(&in, 0, sizeof in);
    in.prompt = prompt;
    in.more = more;
    in.bold = bold;
    in.terminal = isatty(STDIN_FILENO);
    in.edits = open_editor();
}

void line_close(void) {
    close_editor();
    wk_buf_free(&in.ahead);
}

static bool ends_with(const wk_buf *b, const char *end) {
    size_t n = strlen(end);
    return b->len >= n && !memcmp(b->ptr + b->len - n, end, n);
}

static void cut(wk_buf *b, size_t n) {
    b->len -= n;
    b->ptr[b->len] = 0;
}

line_end line_read(wk_buf *out) {
    bool block = false;
    wk_buf_free(out);
    for (in.inside = false;; in.inside = true) {
        size_t from = out->len;
        in.joined = false;
        line_end end = in.edits ? edit_line(out) : plain_line(out);
        if (end == LINE_INTERRUPTED) in.at = in.ahead.len = 0;
        if (end == LINE_INTERRUPTED || out->failed) return end;
        if (end == LINE_EOF) return out->len ? LINE_MESSAGE : LINE_EOF;
        if (ends_with(out, "\n")) cut(out, 1);
        if (ends_with(out, "\r")) cut(out, 1);
        if (!block && !from && out->len >= 3 && !memcmp(out->ptr, "\"\"\"", 3)) {
            block = true;
            memmove(out->ptr, out->ptr + 3, out->len - 2);  /* the NUL too */
            out->len -= 3;
        }
        if (block && ends_with(out, "\"\"\"")) {
            cut(out, 3);
            if (ends_with(out, "\n")) cut(out, 1);
            return LINE_MESSAGE;
        }
        if (block && out->len == 0) continue;  /* nothing after the opening quotes */
        bool command = !from && out->len && out->ptr[0] == '/';  /* typed ahead of another line, rather than pasted with it */
        if (block || (in.joined && !command)) { wk_buf_char(out, '\n'); continue; }
        if (!ends_with(out, "\\")) return LINE_MESSAGE;
        cut(out, 1);
        wk_buf_char(out, '\n');
    }
}
