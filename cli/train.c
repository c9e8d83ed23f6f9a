/* train.c: wick train: options from a file and flags, the live picture, what Ctrl-C leaves behind.
 * Load: hours; a step is some hundred milliseconds, so drawing costs nothing. */
#include "cli.h"
#include "curve.h"
#include "base/clock.h"
#include "base/file.h"
#include "train/config.h"
#include "train/runs.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CURVE_HEIGHT = 8 };

/* What is too long here is a sample, and its message says which key that is: -c is no context. */
static int train_status(wick_status st) {
    return st == WICK_E_LENGTH && !interrupted ? cli_fail("%s", wick_last_error()) : cli_status(st);
}

/* ---- options ---- */

/* "--learning-rate" is the key learning_rate; --lr-schedule names the schedule. */
static void key_of(const flag *f, char out[64]) {
    snprintf(out, 64, "%s", !strcmp(f->name[0], "--lr-schedule") ? "lr_schedule.name" : f->name[0] + 2);
    for (char *p = out; *p; p++) if (*p == '-') *p = '_';
}

/* Flags that are keys lie in opts.train_text and opts.train_yes. */
static wick_status take_flags(const opts *o, wick_train_options *t) {
    const char *base = (const char *)o;
    for (size_t i = 0; i < n_flags; i++) {
        char key[64];
        const void *at = base + flags[i].at;
        bool text = at >= (const void *)o->train_text && at < (const void *)(o->train_text + N_TRAIN_TEXT);
        bool yes = at >= (const void *)o->train_yes && at < (const void *)(o->train_yes + N_TRAIN_YES);
        if (!o->given[i] || (!text && !yes)) continue;
        key_of(&flags[i], key);
        wick_status st = wick_train_options_set(t, key, text ? *(const char *const *)at : *(const bool *)at ? "true" : "false");
        if (st) return st;
    }
    return WICK_OK;
}

/* The optimizer that a flag names; NULL: the file's. */
static const char *flag_optimizer(const opts *o) {
    for (size_t i = 0; i < n_flags; i++)
        if (o->given[i] && !strcmp(flags[i].name[0], "--optimizer"))
            return *(const char *const *)((const char *)o + flags[i].at);
    return NULL;
}

static const char *options_file(const opts *o) { return o->config ? o->config : o->n_word ? o->word[0] : NULL; }

/* A model in the place of the file of options: a GGUF file or a Hugging Face folder. */
static bool is_model(const char *path) {
    wk_file f;
    char *config = wk_is_folder(path) ? wk_path_join(path, "config.json") : NULL;
    bool yes = config && wk_file_exists(config);
    if (!config && !wk_file_map(&f, path)) {
        yes = f.size >= 4 && !memcmp(f.data, "GGUF", 4);
        wk_file_unmap(&f);
    }
    wk_free(config);
    return yes;
}

/* Training data in that place: a folder that holds some, or a file of it, by its name or by its first line. */
static bool is_data(const char *path) {
    static const char *const keys[] = { "messages", "prompt", "text", "input_ids", "conversations", "instruction" };
    if (wk_is_folder(path)) {
        char *train = wk_path_join(path, "train.jsonl");
        bool yes = train && wk_file_exists(train);
        wk_free(train);
        return yes;
    }
    wk_file f;
    json_error_t e;
    json_t *line = NULL;
    size_t n = strlen(path);
    if (wk_file_map(&f, path)) return false;
    const char *text = (const char *)f.data, *end = f.size ? memchr(text, '\n', f.size) : NULL;
    bool yes = n > 6 && !strcmp(path + n - 6, ".jsonl");
    if (!yes && f.size && *text == '{') wk_json_load(text, end ? (size_t)(end - text) : f.size, 0, &e, &line);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) yes |= json_object_get(line, keys[i]) != NULL;
    json_decref(line);
    wk_file_unmap(&f);
    return yes;
}

/* A path of the options that is not there, while it is where their file lies: it was meant from there. */
static int check_beside(const char *file, const char *path) {
    const char *slash = file ? strrchr(file, '/') : NULL;
    char *folder = slash && *path != '/' && !wk_file_exists(path) ? wk_strdup(file) : NULL;
    if (!folder) return EXIT_DONE;
    folder[slash - file + (slash == file)] = 0;
    char *beside = wk_path_join(folder, path);
    int code = EXIT_DONE;
    if (beside && wk_file_exists(beside))
        code = cli_fail("%s: No such file or directory; there is %s, but paths are relative to the folder that wick is started in: "
                        "cd %s", path, beside, folder);
    wk_free(beside);
    wk_free(folder);
    return code;
}

static int read_options(const opts *o, wick_train_options *t) {
    const char *file = options_file(o);
    wick_train_defaults(t);
    if (o->n_word > 1 || (o->config && o->n_word))
        return cli_usage("train takes one file of options, so what is \"%s\" for?", o->word[o->n_word - 1]);
    if (file && is_model(file))
        return cli_usage("%s: is a model, and train takes a file of options (YAML); the model is its \"model\", or -m: wick train "
                         "-m %s --data FOLDER", file, file);
    if (file && is_data(file))
        return cli_usage("%s: is training data, and train takes a file of options (YAML); data is its \"data\", or --data, a "
                         "folder with train.jsonl, and valid.jsonl where there is one: wick train -m MODEL --data FOLDER", file);
    wick_status st = file ? wk_train_options_read(t, file, flag_optimizer(o)) : WICK_OK;
    if (st) return train_status(st);
    if (o->model) st = wick_train_options_set(t, "model", o->model);
    if (!st) st = take_flags(o, t);
    t->resume = o->resume;
    if (o->runs_db) t->runs_db = o->runs_db;
    if (st) return cli_usage("%s", wick_last_error());
    if (!t->model)
        return cli_usage("train needs a model: \"model: PATH\" in the file of options, or -m PATH; wick train --help shows both");
    int code = check_beside(file, t->model);
    return code ? code : check_beside(file, t->data);
}

/* Linux promises more memory than there is, and ends who takes it. */
static void tell_memory(const wick_train_info *x, const wick_train_options *o) {
    uint64_t room = wk_free_memory();
    char s[2][32];
    if (room && x->n_bytes > room)
        fprintf(stderr, "wick: training takes about %s, and %s of memory are free: a smaller batch_size or max_seq_length%s takes "
                "less\n", show_bytes(x->n_bytes, s[0]), show_bytes(room, s[1]), o->grad_checkpoint ? "" : ", or grad_checkpoint,");
}

/* ---- dry run ---- */

static int describe(const wick_train *t, const wick_train_options *o, const cli_model *m) {
    wick_train_info x = { .size = sizeof x };
    wk_buf b = { 0 };
    char s[4][32];
    int code = cli_status(wick_train_describe(t, &x));
    if (code) return code;
    uint64_t model = m->info.n_bytes_weights;
    double epochs = (double)o->iters * o->batch_size / (double)x.n_train;
    wk_buf_printf(&b, "model      %s: %s, %s weights in %s\n", o->model, m->info.architecture, show_count(m->info.n_params, s[0]),
                  show_bytes(model, s[1]));
    bool all = o->num_layers < 0 || o->num_layers >= m->info.n_layer, full = !strcmp(o->fine_tune_type, "full");
    wk_buf_printf(&b, "trained    %s numbers (%.3g %% of the model's): %s", show_count(x.n_param, s[0]),
                  100.0 * (double)x.n_param / (double)m->info.n_params, o->fine_tune_type);
    if (o->resume_adapter_file) wk_buf_printf(&b, ", rank and layers of %s\n", o->resume_adapter_file);
    else {
        if (!full) wk_buf_printf(&b, ", rank %d", o->rank);
        wk_buf_printf(&b, ", %s%d layers\n", all ? "all " : "the last ", all ? m->info.n_layer : o->num_layers);
    }
    wk_buf_printf(&b, "data       %s: %llu samples, %s tokens, %.0f %% of them learnt", o->data, (unsigned long long)x.n_train,
                  show_count(x.n_token, s[0]), 100.0 * (double)x.n_label / (double)(x.n_token ? x.n_token : 1));
    char *test = wk_path_join(o->data, "test.jsonl");
    wk_buf_printf(&b, "; %llu for validation, ", (unsigned long long)x.n_valid);
    if (o->test) wk_buf_printf(&b, "%llu for test\n", (unsigned long long)x.n_test);
    else wk_buf_str(&b, test && wk_file_exists(test) ? "no test asked for (--test)\n" : "none for test\n");
    wk_free(test);
    if (x.n_cut || x.n_masked)
        wk_buf_printf(&b, "           %llu are cut (the longest has %d tokens), %llu are left out: no label is left in them\n",
                      (unsigned long long)x.n_cut, x.longest, (unsigned long long)x.n_masked);
    wk_buf_printf(&b, "run        iterations %d to %d of up to %d rows%s", x.iteration + 1, x.iters, x.max_rows,
                  o->packing ? ", packed" : "");
    if (!o->packing) wk_buf_printf(&b, ", %.3g epochs", epochs);
    wk_buf_printf(&b, ", an update each %d\n", o->grad_accumulation_steps);
    if (x.warning) fprintf(stderr, "wick: %s\n", x.warning);
    wk_buf_printf(&b, "memory     %s = %s model + %s training", show_bytes(model + x.n_bytes, s[0]), show_bytes(model, s[1]),
                  show_bytes(x.n_bytes, s[2]));
    tell_memory(&x, o);
    return out_buf(&b) ? EXIT_DONE : EXIT_FAILED;
}

/* ---- what is shown ---- */

typedef struct screen {
    const opts *o;
    curve train, val;
    bool live, jsonl;
    int n_line;             /* lines of the picture that stand above the cursor */
    double from_s; int from; int iters;
    int saved;              /* iteration of the last whole checkpoint; 0: there is none */
} screen;

static void erase(screen *s) {
    wk_buf b = { 0 };
    if (!s->live) return;
    wk_buf_str(&b, "\r");
    if (s->n_line) wk_buf_printf(&b, "\033[%dA", s->n_line);
    wk_buf_str(&b, "\033[J");
    if (!b.failed) out_write(b.ptr, b.len);
    wk_buf_free(&b);
    s->n_line = 0;
}

/* At the end the picture stays: only the line below it goes. */
static void settle(screen *s) {
    s->n_line = 0;
    erase(s);
}

static void draw(screen *s) {
    wk_buf b = { 0 };
    int width = term_width(STDOUT_FILENO) - 1;
    if (!s->live) return;
    curve_draw(&b, &s->train, &s->val, width < 100 ? width : 100, CURVE_HEIGHT, term_utf8());
    if (b.failed || !b.ptr) { wk_buf_free(&b); return; }
    for (size_t i = 0; i < b.len; i++) s->n_line += b.ptr[i] == '\n';
    out_write(b.ptr, b.len);
    wk_buf_free(&b);
}

/* The line below the picture, while a step is on its way: one line, in narrow terminals too. */
static void status(screen *s, const wick_train_event *e) {
    char text[160];
    if (!s->live) return;
    int width = term_width(STDOUT_FILENO) - 1;
    int done = e->point.iteration;
    int n = snprintf(text, sizeof text, "iteration %d of %d", done, s->iters);
    if (done > s->from) {
        double left = (wk_now() - s->from_s) / (done - s->from) * (s->iters - done);
        n += snprintf(text + n, sizeof text - (size_t)n, ", %.0f min %02d s left", floor(left / 60), (int)fmod(left, 60));
    }
    if (n > width) n = width > 0 ? width : 0;
    out_write("\r", 1);
    out_write(text, (size_t)n);
    out_write("\033[K", 3);
}

/* less: how many of the numbers that a narrow line can do without are left out; the log has them all. */
static void put_text(wk_buf *b, const wick_train_point *p, int iters, int less) {
    char s[32];
    wk_buf_printf(b, "Iter %d/%d:", p->iteration, iters);
    if (isfinite(p->train_loss)) {
        wk_buf_printf(b, " train loss %.4f", p->train_loss);
        if (less < 5) wk_buf_printf(b, ", lr %.3e", p->learning_rate);
        if (less < 3 && isfinite(p->grad_norm)) wk_buf_printf(b, ", grad norm %.3g", p->grad_norm);
        if (less < 4) wk_buf_printf(b, ", %.1f tok/s", p->tokens_per_second);
        if (less < 2) wk_buf_printf(b, ", %s labels", show_count(p->trained_tokens, s));
        if (less < 1) wk_buf_printf(b, ", peak %s", show_bytes(p->peak_memory, s));
    }
    if (isfinite(p->val_loss)) wk_buf_printf(b, "%s val loss %.4f", isfinite(p->train_loss) ? "," : "", p->val_loss);
}

static void put_json(wk_buf *b, const wick_train_point *p) {
    wk_buf_char(b, '{');
    put_int(b, "iteration", p->iteration);
    const struct { const char *name; double v; } number[] = {
        { "train_loss", p->train_loss }, { "learning_rate", p->learning_rate }, { "grad_norm", p->grad_norm },
        { "tokens_per_second", p->tokens_per_second } };
    for (int i = 0; i < 4; i++) {
        put_key(b, number[i].name);
        wk_json_put_num(b, number[i].v);
    }
    put_int(b, "trained_tokens", (int64_t)p->trained_tokens);
    put_int(b, "peak_memory", (int64_t)p->peak_memory);
    put_key(b, "val_loss");
    wk_json_put_num(b, p->val_loss);
    wk_buf_char(b, '}');
}

static bool show_report(screen *s, const wick_train_event *e) {
    const wick_train_point *p = &e->point;
    wk_buf b = { 0 };
    curve_add(&s->train, p->iteration, p->train_loss);
    curve_add(&s->val, p->iteration, p->val_loss);
    if (s->o->quiet && !s->jsonl) return true;
    erase(s);
    if (s->jsonl) put_json(&b, p);
    else {
        int width = isatty(STDOUT_FILENO) ? term_width(STDOUT_FILENO) - 1 : 0, less = 0;
        do {
            wk_buf_free(&b);
            put_text(&b, p, s->iters, less);
        } while (width && b.len > (size_t)width && less++ < 5);
    }
    bool fine = out_buf(&b);
    if (e->warning && !s->o->quiet) fprintf(stderr, "wick: %s\n", e->warning);
    draw(s);
    return fine;
}

/* ---- the run ---- */

static int finish(screen *s, wick_train *t, const wick_train_options *o, const wick_train_event *e) {
    double loss;
    bool full = !strcmp(o->fine_tune_type, "full"), is_gguf = !wk_is_folder(o->model);
    settle(s);
    if (o->test) {
        int code = cli_status(wick_train_eval(t, true, &loss));
        if (code) return code;
        if (!s->jsonl) { wk_buf b = { 0 }; wk_buf_printf(&b, "Test loss %.4f, perplexity %.3f", loss, exp(loss)); out_buf(&b); }
    }
    if (s->o->quiet) return EXIT_DONE;
    if (e->stopped_early)
        fprintf(stderr, "wick: stopped early: %d evaluations without a better loss; ", o->early_stopping);
    if (e->stopped_early && e->best_saved)
        fprintf(stderr, "the best %s is in %s/best\n", full ? "model" : "adapter", o->adapter_path);
    else if (e->stopped_early) fprintf(stderr, "none was better than before training\n");
    fprintf(stderr, "wick: saved in %s; the report is %s/report.html; try it: wick run ", o->adapter_path, o->adapter_path);
    if (full) fprintf(stderr, "%s/%s\n", o->adapter_path, is_gguf ? "model.gguf" : "model");
    else fprintf(stderr, "%s --lora %s\n", o->model, o->adapter_path);
    return EXIT_DONE;
}

/* What a failed write leaves: a full disk ends a run, and loses none of what was saved. */
static void tell_saved(const screen *s, wick_status st, const wick_train_options *o) {
    char *path = wk_path_join(o->adapter_path, "checkpoint.wick");  /* a folder may have been moved away */
    if (st == WICK_E_IO && s->saved && !s->o->quiet && path && wk_file_exists(path))
        fprintf(stderr, "wick: the checkpoint of iteration %d in %s is whole: make room and go on with --resume\n", s->saved,
                o->adapter_path);
    wk_free(path);
}

static int stop(screen *s, wick_train *t, const wick_train_options *o, const wick_train_event *e) {
    settle(s);
    wick_status st = wick_train_save(t);
    int code = cli_status(st);
    interrupted = 1;
    if (code) tell_saved(s, st, o);
    if (code && code != EXIT_INTERRUPTED) return code;
    if (!s->o->quiet)
        fprintf(stderr, "wick: interrupted; iteration %d is saved in %s: go on with --resume\n", e->point.iteration,
                o->adapter_path);
    return EXIT_INTERRUPTED;
}

static int run(const opts *o, wick_train *t, const wick_train_options *to) {
    wick_train_info info = { .size = sizeof info };
    wick_train_event e = { 0 };
    screen s = { .o = o, .jsonl = o->output && !strcmp(o->output, "jsonl"), .from_s = wk_now(), .iters = to->iters };
    const char *term = getenv("TERM");
    s.live = !s.jsonl && !o->quiet && isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb");
    int code = cli_status(wick_train_describe(t, &info));
    s.from = s.saved = info.iteration;
    e.point.iteration = info.iteration;
    if (info.warning && !o->quiet) fprintf(stderr, "wick: %s\n", info.warning);
    if (!o->quiet) tell_memory(&info, to);
    if (info.n_cut && !o->quiet)
        fprintf(stderr, "wick: samples longer than max_seq_length, which are cut: %llu (the longest has %d tokens)\n",
                (unsigned long long)info.n_cut, info.longest);
    if (info.n_masked && !o->quiet)
        fprintf(stderr, "wick: samples left out, since no label is left in them: %llu\n", (unsigned long long)info.n_masked);
    wick_status st = WICK_OK;
    bool heard = true;  /* a pipe that is closed, or a full disk, ends the run as Ctrl-C does: what was learnt is kept */
    while (!code && !e.finished && !interrupted && heard) {
        st = wick_train_step(t, &e);
        if (st) break;
        if (e.saved) s.saved = e.point.iteration;
        heard = !e.reported || show_report(&s, &e);
        status(&s, &e);
    }
    if (!code && (interrupted || !heard) && (!st || st == WICK_E_CANCELLED) && !e.finished) code = stop(&s, t, to, &e);
    else if (!code && (e.finished || st == WICK_E_END)) {
        if (st && !o->quiet) fprintf(stderr, "wick: %s; raise iters to go on\n", wick_last_error());
        code = finish(&s, t, to, &e);
    }
    else if (!code) {
        settle(&s);
        code = train_status(st);
        tell_saved(&s, st, to);
    }
    curve_free(&s.train);
    curve_free(&s.val);
    return code;
}

int verb_train(const opts *o) {
    wick_train_options to;
    cli_model m = { 0 };
    wick_train *t = NULL;
    char *runs = NULL;
    opts x = *o;
    int code = read_options(o, &to);
    if (!code && !to.runs_db && !o->dry_run && !wk_runs_path(NULL, &runs)) to.runs_db = runs;
    if (to.runs_db && !*to.runs_db) to.runs_db = NULL;  /* --runs-db '': none */
    x.model = to.model;
    if (!code) code = cli_open(&x, false, &m);
    if (!code) code = train_status(wick_train_new(m.model, &to, o->dry_run, &t));
    sig_hangup();
    sig_train(t);
    if (!code) code = o->dry_run ? describe(t, &to, &m) : run(o, t, &to);
    sig_train(NULL);
    wick_train_free(t);
    if (m.model) cli_close(&m);
    wick_train_options_free(&to);
    wk_free(runs);
    return code;
}
