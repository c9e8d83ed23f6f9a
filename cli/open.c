/* open.c: from flags to the library: a model with progress, a session, an adapter, sampling options, text to work on. */
#include "cli.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

enum { MAX_TEXT = 1 << 30, MAX_TEMPLATE = 1 << 22 };

/* ---- text in ---- */

int cli_read(const char *path, wk_buf *out) {
    bool standard = !strcmp(path, "-");
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    const char *name = standard ? "standard input" : path;
    if (fd < 0) return cli_fail("%s: %s", path, strerror(errno));
    int error = 0;
    char chunk[65536];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0 || interrupted) break;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) { error = errno; break; }
        wk_buf_add(out, chunk, (size_t)n);
        if (out->failed) { error = ENOMEM; break; }
        if (out->len > MAX_TEXT) { error = EFBIG; break; }
    }
    if (!standard) close(fd);
    wk_buf_add(out, "", 0);
    if (interrupted) return EXIT_INTERRUPTED;
    return error ? cli_fail("%s: %s", name, strerror(error)) : EXIT_DONE;
}

/* One newline at the end of a file is the file's, not the text's. tokenize takes every byte. */
static void drop_last_newline(const opts *o, wk_buf *b) {
    if (o->verb == VERB_TOKENIZE || !b->len || b->ptr[b->len - 1] != '\n') return;
    b->ptr[--b->len] = 0;
}

int cli_prompt(const opts *o, wk_buf *out, bool *found) {
    *found = true;
    if (o->prompt && o->n_word && flag_given(o, prompt))
        return cli_usage("the prompt comes twice: as words (\"%s\") and as -p; give one of them", o->word[0]);
    if (o->prompt) wk_buf_str(out, o->prompt);
    for (size_t i = 0; i < o->n_word; i++) {
        if (i) wk_buf_char(out, ' ');
        wk_buf_str(out, o->word[i]);
    }
    bool said = o->prompt || o->n_word;
    const char *file = o->file ? o->file : said || isatty(STDIN_FILENO) ? NULL : "-";
    *found = said || file;
    wk_buf_add(out, "", 0);
    if (!file) return EXIT_DONE;
    if (said && out->len) wk_buf_str(out, "\n\n");
    int code = cli_read(file, out);
    if (!code) drop_last_newline(o, out);
    return code;
}

/* ---- model ---- */

typedef struct loading { const opts *o; double started; } loading;

static bool on_progress(const char *what, uint64_t done, uint64_t total, void *user) {
    const loading *l = user;
    if (wk_now() - l->started > 1 && total) term_status(l->o, "%s %d %%", what, (int)(100.0 * (double)done / (double)total));
    return !interrupted;
}

/* Does a model that is not there look like a name that other programs would download, as llama3 or owner/name? */
static bool is_hub_name(const char *model) {
    size_t n = strlen(model);
    const char *slash = strchr(model, '/');
    bool path = *model == '/' || *model == '.' || *model == '~' || (slash && strchr(slash + 1, '/'));
    return n && !path && !(n > 5 && !strcmp(model + n - 5, ".gguf")) && !wk_file_exists(model) && errno == ENOENT;
}

int cli_open(const opts *o, bool vocab_only, cli_model *m) {
    loading l = { o, wk_now() };
    wick_model_options mo;
    *m = (cli_model){ 0 };
    if (!o->model) return cli_usage("%s needs a model: wick %s %s", verbs[o->verb].name, verbs[o->verb].name, verbs[o->verb].args);
    if (o->chat_template && o->chat_template_file)
        return cli_usage("--chat-template and --chat-template-file exclude each other; give one of them");
    wick_model_defaults(&mo);
    mo.n_threads = (int)o->threads;
    mo.backend = o->backend;
    mo.vocab_only = vocab_only;
    mo.any_base = o->any_base;
    mo.progress = on_progress;
    mo.progress_user = &l;
    mo.chat_template = o->chat_template;
    if (o->chat_template_file) {
        int code = cli_read(o->chat_template_file, &m->template_text);
        if (!code && m->template_text.len > MAX_TEMPLATE)
            code = cli_fail("%s: has %zu bytes; a template has at most %d", o->chat_template_file, m->template_text.len,
                            MAX_TEMPLATE);
        if (code) { cli_close(m); return code; }
        mo.chat_template = m->template_text.ptr;
    }
    if (is_hub_name(o->model)) {
        cli_close(m);
        return cli_fail("%s: No such file or directory; wick opens local files and downloads none: give the path of a GGUF file or "
                        "Hugging Face folder", o->model);
    }
    int code = cli_status(wick_model_open(o->model, &mo, &m->model));
    term_status(o, "%s", "");
    m->info.size = sizeof m->info;
    if (!code) code = cli_status(wick_model_describe(m->model, &m->info));
    if (code) cli_close(m);
    else if (!vocab_only && !o->quiet && o->threads > wk_n_cores())
        fprintf(stderr, "wick: %d threads take turns on %d %s, which is slower than one for each (-t %d)\n", (int)o->threads,
                wk_n_cores(), wk_n_cores() > 1 ? "cores" : "core", wk_n_cores());
    return code;
}

int cli_kv_type(const opts *o, const char **type) {
    *type = o->type_k ? o->type_k : o->type_v;
    if (o->type_k && o->type_v && strcasecmp(o->type_k, o->type_v))
        return cli_usage("-ctk %s and -ctv %s: keys and values share one type; give the same", o->type_k, o->type_v);
    return EXIT_DONE;
}

int cli_batch(const opts *o) {
    if (!o->batch_size || !o->ubatch_size) return (int)(o->batch_size + o->ubatch_size);
    return (int)(o->batch_size < o->ubatch_size ? o->batch_size : o->ubatch_size);
}

/* "PATH" or "PATH:SCALE" in place; false: there is no scale where one is needed. */
static bool read_adapter(char *text, bool scaled, wick_adapter_file *out) {
    char *colon = scaled ? strrchr(text, ':') : NULL, *end = NULL;
    *out = (wick_adapter_file){ text, 1 };
    if (!scaled) return *text;
    if (colon) out->scale = strtof(colon + 1, &end);
    if (!colon || colon == text || end == colon + 1 || *end) return false;
    *colon = 0;
    return true;
}

int cli_adapters(const opts *o, wick_adapter_file **files, size_t *n, char **list) {
    const char *said = o->lora ? o->lora : o->lora_scaled;
    size_t count = 1;
    *files = NULL;
    *list = NULL;
    *n = 0;
    if (o->lora && o->lora_scaled)
        return cli_usage("--lora and --lora-scaled exclude each other: --lora-scaled A:1,B:0.5 takes several");
    if (!said) return EXIT_DONE;
    for (const char *c = said; *c; c++) count += *c == ',';
    *list = wk_strdup(said);
    *files = wk_alloc_array(count, sizeof **files);
    if (!*list || !*files) return cli_fail("out of memory");
    for (char *at = *list, *next; at; at = next) {
        if ((next = strchr(at, ','))) *next++ = 0;
        if (!read_adapter(at, !o->lora, &(*files)[(*n)++]))
            return cli_usage("%s, as %s, not \"%s\"", o->lora ? "--lora takes paths" : "--lora-scaled takes PATH:SCALE",
                             o->lora ? "adapter,other" : "adapter:0.5,other:1", said);
    }
    return EXIT_DONE;
}

/* Loads them and hands them to the session, which holds them. */
static int apply_adapters(const opts *o, cli_model *m) {
    wick_adapter_file *files;
    wick_adapter_use use[16] = { { 0 } };
    char *list;
    size_t n;
    int code = cli_adapters(o, &files, &n, &list);
    if (!code && n > 16) code = cli_usage("%zu adapters: at most 16 can be stacked", n);
    for (size_t i = 0; !code && i < n; i++) {
        use[i].scale = files[i].scale;
        code = cli_status(wick_adapter_load(m->model, files[i].path, &use[i].adapter));
    }
    if (!code && n) code = cli_status(wick_session_apply_adapters(m->session, use, n));
    if (!code) m->n_adapter = n;
    for (size_t i = 0; i < 16; i++) wick_adapter_free(use[i].adapter);
    wk_free(files);
    wk_free(list);
    return code;
}

/* The model that guesses, with a session as long as the other's. */
static int open_draft(const opts *o, cli_model *m) {
    wick_model_options mo;
    wick_session_options so;
    if (!o->model_draft) return EXIT_DONE;
    wick_model_defaults(&mo);
    mo.n_threads = (int)o->threads;
    mo.backend = o->backend;
    wick_session_defaults(&so);
    so.n_ctx = wick_session_n_ctx(m->session);
    int code = cli_status(wick_model_open(o->model_draft, &mo, &m->draft_model));
    return code ? code : cli_status(wick_session_new(m->draft_model, &so, &m->draft));
}

int cli_session(const opts *o, int n_ctx, cli_model *m) {
    wick_session_options so;
    wick_session_defaults(&so);
    int code = cli_kv_type(o, &so.type_kv);
    if (code) return code;
    so.n_ctx = (int)o->ctx_size > n_ctx ? (int)o->ctx_size : n_ctx;
    so.n_batch = cli_batch(o);
    so.shift = o->context_shift;
    code = cli_status(wick_session_new(m->model, &so, &m->session));
    wick_model_info info = { .size = sizeof info };
    if (!code && !o->quiet && !wick_model_describe(m->model, &info) && wick_session_n_ctx(m->session) > info.n_ctx_train)
        fprintf(stderr, "wick: a context of %d tokens, but the model was trained for %d: answers beyond that get worse\n",
                wick_session_n_ctx(m->session), info.n_ctx_train);
    if (!code) code = apply_adapters(o, m);
    if (!code) code = open_draft(o, m);
    return code;
}

void cli_close(cli_model *m) {
    sig_session(NULL);
    wick_session_free(m->session);
    wick_session_free(m->draft);
    wick_model_free(m->draft_model);
    wick_model_free(m->model);
    wk_buf_free(&m->template_text);
    *m = (cli_model){ 0 };
}

int cli_tokenize(const wick_model *m, const char *text, size_t n_text, unsigned how, int32_t **ids, size_t *n) {
    wick_status st = WICK_E_LENGTH;
    *ids = NULL;
    /* Seldom more tokens than bytes; where a normaliser makes text longer, the second round has the number. */
    for (size_t round = 0, cap = n_text + 8; st == WICK_E_LENGTH && round < 2; round++, cap = *n) {
        int32_t *p = wk_realloc_array(*ids, cap, sizeof *p);
        if (!p) { wk_free(*ids); *ids = NULL; return cli_fail("out of memory for the ids of %zu bytes of text", n_text); }
        *ids = p;
        *n = 0;
        st = wick_tokenize(m, text, n_text, how, *ids, cap, n);
    }
    if (st) { wk_free(*ids); *ids = NULL; }
    return cli_status(st);
}

/* ---- sampling ---- */

/* "15=-inf", also "15+2" and "15-2.5" as llama.cpp has it. */
static bool parse_bias(const char *text, wick_logit_bias *out) {
    char *end, *last;
    long id = strtol(text, &end, 10);
    if (end == text || id < 0 || id > INT32_MAX || (*end != '=' && *end != '+' && *end != '-')) return false;
    if (*end == '=') end++;
    *out = (wick_logit_bias){ (int32_t)id, strtof(end, &last) };
    return last != end && !*last && out->bias == out->bias;
}

static int take_biases(const opts *o, wick_generate_options *g) {
    wick_logit_bias *list = wk_alloc_array(o->logit_bias.n, sizeof *list);
    if (!list) return cli_fail("out of memory");
    g->logit_bias = list;
    g->n_logit_bias = o->logit_bias.n;
    for (size_t i = 0; i < o->logit_bias.n; i++)
        if (!parse_bias(o->logit_bias.ptr[i], &list[i]))
            return cli_usage("--logit-bias takes ID=X, as 15=-inf or 42=1.5, not \"%s\"", o->logit_bias.ptr[i]);
    return EXIT_DONE;
}

int cli_generate(const opts *o, const cli_model *m, wick_generate_options *g) {
    enum { USUAL_DRAFT = 16 };
    wick_generate_defaults(m->model, g);
    g->draft = m->draft;
    g->n_draft = flag_given(o, draft) ? (int)o->draft : m->draft ? USUAL_DRAFT : 0;
    if (flag_given(o, n_predict)) g->n_predict = (int)o->n_predict;
    if (flag_given(o, temp)) g->temperature = (float)o->temp;
    if (flag_given(o, top_k)) g->top_k = (int)o->top_k;
    if (flag_given(o, top_p)) g->top_p = (float)o->top_p;
    if (flag_given(o, min_p)) g->min_p = (float)o->min_p;
    if (flag_given(o, repeat_penalty)) g->repeat_penalty = (float)o->repeat_penalty;
    if (flag_given(o, frequency_penalty)) g->frequency_penalty = (float)o->frequency_penalty;
    if (flag_given(o, presence_penalty)) g->presence_penalty = (float)o->presence_penalty;
    if (flag_given(o, repeat_last_n)) g->penalty_last_n = (int)o->repeat_last_n;
    if (flag_given(o, seed)) g->seed = o->seed;
    else if (getrandom(&g->seed, sizeof g->seed, GRND_NONBLOCK) != sizeof g->seed) g->seed = (uint64_t)(wk_now() * 1e9);
    g->seed &= flag_given(o, seed) ? UINT64_MAX : UINT32_MAX;  /* short enough to type again */
    g->stop = o->stop.ptr;
    g->n_stop = o->stop.n;
    g->ignore_end = o->ignore_eos;
    if (flag_given(o, logprobs)) {
        g->logprobs = true;
        g->n_top_logprobs = (int)o->logprobs;
    }
    return o->logit_bias.n ? take_biases(o, g) : EXIT_DONE;
}

void cli_generate_free(wick_generate_options *g) {
    wk_free((void *)(uintptr_t)g->logit_bias);
    g->logit_bias = NULL;
    g->n_logit_bias = 0;
}
