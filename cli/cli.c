/* cli.c: errors, output, terminal and signals for all verbs; see cli.h. */
#include "cli.h"
#include "base/clock.h"
#include "base/cpu.h"
#include <errno.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- errors ---- */

static void put_error(const char *fmt, va_list ap) {
    char text[2048];
    term_status(NULL, "%s", "");
    vsnprintf(text, sizeof text, fmt, ap);
    for (char *p = text; *p; p++)
        if (*p == '\n') *p = ' ';                                      /* one line */
        else if ((unsigned char)*p < 0x20 || *p == 0x7F) *p = '?';     /* names from files do not command a terminal */
    fprintf(stderr, "wick: error: %s\n", text);
}

int cli_fail(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    put_error(fmt, ap);
    va_end(ap);
    return EXIT_FAILED;
}

int cli_usage(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    put_error(fmt, ap);
    va_end(ap);
    return EXIT_USAGE;
}

int cli_status(wick_status st) {
    if (!st) return EXIT_DONE;
    if (interrupted) { term_status(NULL, "%s", ""); return EXIT_INTERRUPTED; }
    const char *message = wick_last_error();
    if (!*message) message = wick_status_name(st);
    if (st == WICK_E_LENGTH || st == WICK_E_FULL) return cli_fail("%s (here: -c N)", message);  /* n_ctx is -c's */
    return cli_fail("%s", message);
}

/* ---- standard output ---- */

static int out_errno;  /* why writing failed, once it has; help.c's printf is flushed at the end */

bool out_write(const char *s, size_t n) {
    while (n && !out_errno) {
        ssize_t done = write(STDOUT_FILENO, s, n);  /* not by stdio: after Ctrl-C in the middle of it, what was written is known */
        if (done < 0 && errno == EINTR && interrupted) return false;
        if (done < 0 && errno != EINTR) out_errno = errno;
        if (done > 0) { s += done; n -= (size_t)done; }
    }
    return !out_errno;
}

bool out_str(const char *s) { return out_write(s, strlen(s)); }

bool out_text(const char *s, size_t n) {
    if (!isatty(STDOUT_FILENO)) return out_write(s, n);
    wk_buf b = { 0 };
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        bool c1 = c == 0xC2 && i + 1 < n && (unsigned char)s[i + 1] < 0xA0;  /* U+0080 to U+009F */
        if (c1) i++;
        else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) { wk_buf_char(&b, '^'); wk_buf_char(&b, (char)(c ^ 0x40)); }
        else wk_buf_char(&b, (char)c);
    }
    bool fine = out_write(b.ptr, b.len);
    wk_buf_free(&b);
    return fine;
}

bool out_buf(wk_buf *b) {
    wk_buf_char(b, '\n');
    bool fine = !b->failed && out_write(b->ptr, b->len);
    if (b->failed) out_errno = ENOMEM;
    wk_buf_free(b);
    return fine;
}

int out_finish(int code) {
    if (!out_errno && (fflush(stdout) || ferror(stdout))) out_errno = errno ? errno : EIO;
    if (!out_errno || out_errno == EPIPE) return code;
    return cli_fail("standard output: %s", strerror(out_errno));
}

/* ---- terminal ---- */

bool term_plain;
bool term_utf8(void) { return !term_plain && !strcmp(nl_langinfo(CODESET), "UTF-8"); }

static bool is_dumb(void) {
    const char *term = getenv("TERM");
    return !term || !*term || !strcmp(term, "dumb");
}

bool term_color(const opts *o, FILE *f) {
    const char *no = getenv("NO_COLOR");
    if (o->color && !strcmp(o->color, "always")) return true;
    if (o->color && !strcmp(o->color, "never")) return false;
    return !(no && *no) && !is_dumb() && isatty(fileno(f));
}

int term_width(int fd) {
    struct winsize w;
    return !ioctl(fd, TIOCGWINSZ, &w) && w.ws_col > 0 ? w.ws_col : 80;
}

void term_status(const opts *o, const char *fmt, ...) {
    static int shown;  /* columns of what stands there */
    char text[256];
    va_list ap;
    if (!isatty(STDERR_FILENO) || (o && o->quiet)) return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap), width = term_width(STDERR_FILENO) - 1;
    va_end(ap);
    if (n > width) n = width;
    if (!n && !shown) return;
    fprintf(stderr, "\r%.*s", n, text);
    if (n < shown) fprintf(stderr, "%*s\r%.*s", shown - n, "", n, text);  /* blanks work on any terminal */
    shown = n;
    fflush(stderr);
}

/* ---- Ctrl-C ---- */

volatile sig_atomic_t interrupted;
static wick_session *volatile running;
static wick_train *volatile training;

static double first_at[NSIG];  /* when the first signal of a kind came; 0: none did */

/* A second signal has its usual, deadly effect. But timeout(1) signals its child and then the group that the child is in: two that
 * come together are one. */
static void on_signal(int sig) {
    enum { TOGETHER_MS = 200 };
    double now = wk_now();
    if (first_at[sig] > 0 && now - first_at[sig] > TOGETHER_MS * 1e-3) {
        signal(sig, SIG_DFL);
        raise(sig);  /* comes when this returns */
    }
    if (first_at[sig] <= 0) first_at[sig] = now;
    interrupted = 1;
    if (running) wick_session_cancel(running);
    if (training) wick_train_cancel(training);
}

void sig_begin(void) {
    struct sigaction a = { .sa_handler = on_signal };  /* no SA_RESTART: a read of the terminal ends */
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    signal(SIGPIPE, SIG_IGN);  /* a closed pipe is seen as EPIPE */
    signal(SIGXFSZ, SIG_IGN);  /* a file that may not grow further is seen as EFBIG */
}

void sig_hangup(void) {
    struct sigaction was, a = { .sa_handler = on_signal };
    sigemptyset(&a.sa_mask);
    if (!sigaction(SIGHUP, NULL, &was) && was.sa_handler != SIG_IGN) sigaction(SIGHUP, &a, NULL);
}

void sig_again(void) {
    interrupted = 0;
    memset(first_at, 0, sizeof first_at);
    sig_begin();
}

void sig_session(wick_session *s) { running = s; }

void sig_train(wick_train *t) { training = t; }

/* ---- JSON ---- */

void put_key(wk_buf *b, const char *name) {
    char last = b->len ? b->ptr[b->len - 1] : '{';
    if (last != '{' && last != '[' && last != ':') wk_buf_char(b, ',');
    if (!name) return;
    wk_json_put_str(b, name, strlen(name));
    wk_buf_char(b, ':');
}

void put_str(wk_buf *b, const char *name, const char *s) {
    put_key(b, name);
    if (s) wk_json_put_str(b, s, strlen(s));
    else wk_buf_str(b, "null");
}

void put_int(wk_buf *b, const char *name, int64_t v) {
    put_key(b, name);
    wk_buf_printf(b, "%lld", (long long)v);
}

void put_real(wk_buf *b, const char *name, double v) {
    char t[64];
    put_key(b, name);
    snprintf(t, sizeof t, "%.4f", v);
    wk_json_put_num(b, strtod(t, NULL));
}

void put_bool(wk_buf *b, const char *name, bool v) {
    put_key(b, name);
    wk_buf_str(b, v ? "true" : "false");
}

/* The processor's name as the kernel has it, into out. */
static void cpu_model(char *out, size_t cap) {
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[512];
    snprintf(out, cap, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(out, cap, "%s", colon + 2);
        break;
    }
    if (f) fclose(f);
}

void put_machine(wk_buf *b) {
    char cpu[256];
    cpu_model(cpu, sizeof cpu);
    put_key(b, "machine");
    wk_buf_char(b, '{');
    put_str(b, "cpu", cpu);
    put_int(b, "cores", sysconf(_SC_NPROCESSORS_ONLN));
    put_str(b, "features", wk_cpu_name());
    put_int(b, "memory_bytes", (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    wk_buf_char(b, '}');
    put_key(b, "build");
    wk_buf_char(b, '{');
    for (const char *line = wick_build_info(); *line;) {  /* "name: value" lines */
        size_t n = strcspn(line, "\n");
        const char *colon = memchr(line, ':', n);
        if (colon) {
            put_key(b, NULL);
            wk_json_put_str(b, line, (size_t)(colon - line));
            wk_buf_char(b, ':');
            const char *value = colon + 1 + strspn(colon + 1, " ");
            wk_json_put_str(b, value, value < line + n ? (size_t)(line + n - value) : 0);
        }
        line += n + (line[n] == '\n');
    }
    wk_buf_char(b, '}');
}

/* ---- numbers for people ---- */

static const char *show_scaled(double v, const char *const *unit, char out[32]) {
    int i = 0;
    while (v >= 999.95 && unit[i + 1]) { v /= 1000; i++; }
    snprintf(out, 32, i ? "%.1f%s" : "%.0f%s", v, unit[i]);
    return out;
}

const char *show_bytes(uint64_t n, char out[32]) {
    static const char *const unit[] = { " B", " kB", " MB", " GB", " TB", NULL };
    return show_scaled((double)n, unit, out);
}

const char *show_count(uint64_t n, char out[32]) {
    static const char *const unit[] = { "", " k", " M", " B", " T", NULL };
    return show_scaled((double)n, unit, out);
}
