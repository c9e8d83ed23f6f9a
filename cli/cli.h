/* cli.h: what the verbs share: errors, output that may be closed under us, Ctrl-C, colours, opening a model by the flags. */
#ifndef CLI_H
#define CLI_H
#include "base/json.h"
#include "flags.h"
#include "wick.h"
#include <signal.h>
#include <stdio.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* One file per verb; each returns an exit code. */
int verb_run(const opts *o);
int verb_chat(const opts *o);
int verb_inspect(const opts *o);
int verb_tokenize(const opts *o);
int verb_logits(const opts *o);
int verb_eval(const opts *o);
int verb_bench(const opts *o);
int verb_convert(const opts *o);
int verb_adapters(const opts *o);
int verb_merge(const opts *o);
int verb_train(const opts *o);
int verb_runs(const opts *o);

/* ---- errors: one line on standard error ---- */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));   /* "wick: error: ...", EXIT_FAILED */
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* the same, EXIT_USAGE */
/* The library's message; EXIT_INTERRUPTED and no word after Ctrl-C, EXIT_DONE for WICK_OK. */
int cli_status(wick_status st);

/* ---- standard output ---- */
/* Writes at once. False: it is closed (a pipe that closes early is no error) or broken; stop. */
bool out_write(const char *s, size_t n);
bool out_str(const char *s);
/* Text from a model. On a terminal, control characters other than newline and tab are shown as ^X, not obeyed. */
bool out_text(const char *s, size_t n);
/* Prints and frees a buffer and a newline. */
bool out_buf(wk_buf *b);
/* At the end: code, or EXIT_FAILED with a message if output was lost for another reason than a closed pipe. */
int out_finish(int code);

/* ---- terminal ---- */
extern bool term_plain;  /* the locale that was asked for is none with UTF-8 */
bool term_utf8(void);  /* the locale can show it; else decorations are ASCII */
/* Colours on f (stdout or stderr)? By --color, NO_COLOR, TERM and whether it is a terminal. */
bool term_color(const opts *o, FILE *f);
int term_width(int fd);
/* A status line on standard error that rewrites itself: only on a terminal, not with -q. "" takes it away. */
void term_status(const opts *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Between the two, a status line tells how far a prompt that takes over a second has been read. watch_end() may come twice. */
void watch_begin(const opts *o, const wick_session *s);
void watch_end(void);

/* ---- Ctrl-C ---- */
extern volatile sig_atomic_t interrupted;
/* From now on the first Ctrl-C sets interrupted and stops the running session; a second one kills. */
void sig_begin(void);
void sig_hangup(void);                /* a closed terminal is as Ctrl-C; unless nohup ignores it */
/* Ready for the next Ctrl-C (chat, after each answer). */
void sig_again(void);
/* The session that Ctrl-C stops; NULL: none. */
void sig_session(wick_session *s);
/* The training whose evaluation it ends. */
void sig_train(wick_train *t);

/* ---- a model opened by the flags ---- */
typedef struct cli_model {
    wick_model *model;
    wick_session *session;
    size_t n_adapter;      /* that its session has */
    wick_model *draft_model; wick_session *draft;  /* -md's */
    wk_buf template_text;  /* --chat-template-file's */
    wick_model_info info;
} cli_model;
/* Opens -m's model, with progress if it takes over a second. vocab_only: no weights. Prints what went wrong; *m is then empty. */
int cli_open(const opts *o, bool vocab_only, cli_model *m);
/* Makes its session by -c -b -ub -ctk --context-shift, at least n_ctx tokens long (0: by the flags alone); applies --lora, and
 * opens -md's model. */
int cli_session(const opts *o, int n_ctx, cli_model *m);
void cli_close(cli_model *m);
/* The sampling flags over the model's defaults. Arrays inside go with cli_generate_free(). */
int cli_generate(const opts *o, const cli_model *m, wick_generate_options *g);
void cli_generate_free(wick_generate_options *g);
/* -ctk's type, checked against -ctv's. EXIT_DONE or EXIT_USAGE. */
int cli_kv_type(const opts *o, const char **type);
/* Rows of a forward pass by -b and -ub; 0: the default. */
int cli_batch(const opts *o);

/* --lora and --lora-scaled: comma-separated paths, each with its scale. *list gets the strings' copy; both go with wk_free().
 * Prints what is wrong. */
int cli_adapters(const opts *o, wick_adapter_file **files, size_t *n, char **list);

/* ---- text in ---- */
/* A whole file, or standard input for "-", as text. Prints what went wrong. */
int cli_read(const char *path, wk_buf *out);
/* The text that a verb works on: words or -p, then -f; else standard input unless that is a terminal (*found is then false). */
int cli_prompt(const opts *o, wk_buf *out, bool *found);

/* Text to ids in a new array (wk_free); flags as wick_tokenize(). */
int cli_tokenize(const wick_model *m, const char *text, size_t n_text, unsigned flags, int32_t **ids, size_t *n);

/* ---- JSON out ---- */
/* "name": with a comma before it unless it comes first in its object or array. name NULL: an array's element. */
void put_key(wk_buf *b, const char *name);
void put_str(wk_buf *b, const char *name, const char *s);  /* NULL: null */
void put_int(wk_buf *b, const char *name, int64_t v);
void put_real(wk_buf *b, const char *name, double v);      /* 4 places: times and rates */
void put_bool(wk_buf *b, const char *name, bool v);
/* "machine":{processor, cores, instruction set, memory},"build":{...}, for bench and eval. */
void put_machine(wk_buf *b);

/* n bytes as people say it: "93.2 MB". */
const char *show_bytes(uint64_t n, char out[32]);
/* n things: "134.5 M". */
const char *show_count(uint64_t n, char out[32]);

#endif
