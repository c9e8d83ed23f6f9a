/* runs.c: wick runs: lists the trainings of this user, shows one with its curve, compares several option by option, takes some off.
 * Load: some hundred runs. */
#include "cli.h"
#include "base/file.h"
#include "curve.h"
#include "train/runs.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_COMPARED = 8 };

/* ---- one run, kept ---- */

typedef struct kept {
    wk_run run;
    wk_arena text;
    json_t *options;
    curve train, val;
} kept;

static const char *keep_text(kept *k, const char *s) {
    char *copy = wk_arena_str(&k->text, s, strlen(s));
    return copy ? copy : "";
}

static bool keep_run(const wk_run *r, void *user) {
    kept *k = user;
    k->run = *r;
    k->run.name = keep_text(k, r->name);
    k->run.status = keep_text(k, r->status);
    k->run.model = keep_text(k, r->model);
    k->run.data = keep_text(k, r->data);
    k->run.adapter_path = keep_text(k, r->adapter_path);
    k->run.started = keep_text(k, r->started);
    k->run.options = keep_text(k, r->options);
    if (r->error) k->run.error = keep_text(k, r->error);
    return false;
}

static bool keep_point(const wick_train_point *p, void *user) {
    kept *k = user;
    return curve_add(&k->train, p->iteration, p->train_loss) && curve_add(&k->val, p->iteration, p->val_loss);
}

static int read_id(const char *word, int64_t *id) {
    char *end;
    *id = strtoll(word, &end, 10);
    if (!*end && end != word && *id > 0) return EXIT_DONE;
    return cli_usage("a run is a number, as wick runs lists them, not \"%s\"", word);
}

static int read_run(wk_runs *db, const char *word, kept *k) {
    int64_t id;
    int code = read_id(word, &id);
    if (!code) code = cli_status(wk_runs_each(db, id, keep_run, k));
    if (!code) code = cli_status(wk_runs_points(db, id, keep_point, k));
    if (!code && *k->run.options && wk_json_parse(k->run.options, strlen(k->run.options), "the run's options", &k->options))
        code = cli_fail("%s", wick_last_error());
    return code;
}

static void free_run(kept *k) {
    wk_arena_free(&k->text);
    json_decref(k->options);
    curve_free(&k->train);
    curve_free(&k->val);
}

/* ---- list ---- */

typedef struct listing { wk_buf b; bool json; size_t n, width; } listing;  /* width 0: no terminal */

static void put_loss(wk_buf *b, double v) {
    if (isfinite(v)) wk_buf_printf(b, "%9.4f", v);
    else wk_buf_printf(b, "%9s", "-");
}

static void put_number(wk_buf *b, const char *name, double v) {
    put_key(b, name);
    wk_json_put_num(b, v);
}

static void put_run_json(wk_buf *b, const wk_run *r) {
    put_key(b, NULL);
    wk_buf_char(b, '{');
    put_int(b, "id", r->id);
    put_str(b, "name", r->name);
    put_str(b, "status", r->status);
    if (r->error) put_str(b, "error", r->error);
    put_str(b, "started", r->started);
    put_number(b, "seconds", r->seconds);
    put_str(b, "model", r->model);
    put_str(b, "data", r->data);
    put_str(b, "adapter_path", r->adapter_path);
    put_int(b, "iteration", r->last.iteration);
    put_number(b, "train_loss", r->last.train_loss);
    put_number(b, "val_loss", r->last.val_loss);
    put_number(b, "best_val_loss", r->best_val_loss);
    put_number(b, "tokens_per_second", r->last.tokens_per_second);
    if (*r->options) {
        put_key(b, "options");
        wk_buf_str(b, r->options);
    }
    wk_buf_char(b, '}');
}

/* On a terminal a line stays one line; show has the whole names. */
static void add_line(listing *l, wk_buf *line) {
    size_t n = line->len;
    if (l->width && n > l->width)
        for (n = l->width; n && ((unsigned char)line->ptr[n] & 0xC0) == 0x80;) n--;
    if (line->ptr) wk_buf_add(&l->b, line->ptr, n);
    wk_buf_char(&l->b, '\n');
    l->b.failed |= line->failed;
    wk_buf_free(line);
}

static bool list_run(const wk_run *r, void *user) {
    listing *l = user;
    l->n++;
    if (l->json) {
        put_run_json(&l->b, r);
        return true;
    }
    const char *slash = strrchr(r->model, '/'), *clock = strlen(r->started) > 15 ? r->started + 11 : "";
    wk_buf line = { 0 };
    if (l->n == 1) {
        wk_buf_printf(&line, "%4s  %-16s  %-11s %6s %8s %8s  %-24s %s", "run", "started (UTC)", "status", "iter", "loss",
                      "val loss", "name", "model");
        add_line(l, &line);
    }
    wk_buf_printf(&line, "%4lld  %.10s %.5s  %-11s %6d", (long long)r->id, r->started, clock, r->status, r->last.iteration);
    put_loss(&line, r->last.train_loss);
    put_loss(&line, r->last.val_loss);
    wk_buf_printf(&line, "  %-24s %s", r->name, slash && slash[1] ? slash + 1 : r->model);
    add_line(l, &line);
    return true;
}

static int list(wk_runs *db, bool json) {
    listing l = { .json = json, .width = isatty(STDOUT_FILENO) ? (size_t)term_width(STDOUT_FILENO) : 0 };
    if (json) wk_buf_str(&l.b, "{\"runs\":[");
    int code = cli_status(wk_runs_each(db, 0, list_run, &l));
    if (!code && json) {
        wk_buf_str(&l.b, "]}");
        return out_buf(&l.b) ? EXIT_DONE : EXIT_FAILED;
    }
    if (!code && l.n) out_write(l.b.ptr, l.b.len);
    if (!code && !l.n) code = cli_fail("there are no runs yet; wick train makes one");
    wk_buf_free(&l.b);
    return code;
}

/* ---- show ---- */

static int show(wk_runs *db, const char *word, bool json) {
    kept k = { 0 };
    wk_buf b = { 0 };
    int code = read_run(db, word, &k);
    if (!code && json) {
        put_run_json(&b, &k.run);
        out_buf(&b);
    } else if (!code) {
        const char *key;
        json_t *v;
        wk_buf_printf(&b, "run %lld: %s\nstatus     %s, iteration %d\n", (long long)k.run.id, k.run.name, k.run.status,
                      k.run.last.iteration);
        if (k.run.error) wk_buf_printf(&b, "error      %s\n", k.run.error);
        wk_buf_printf(&b, "started    %s, %.0f s of training\nmodel      %s\nadapter    %s\n", k.run.started, k.run.seconds,
                      k.run.model, k.run.adapter_path);
        wk_buf_str(&b, "loss      ");
        put_loss(&b, k.run.first_train_loss);
        wk_buf_str(&b, " to ");
        put_loss(&b, k.run.last.train_loss);
        wk_buf_str(&b, "\nval loss  ");
        put_loss(&b, k.run.first_val_loss);
        wk_buf_str(&b, " to ");
        put_loss(&b, k.run.last.val_loss);
        wk_buf_str(&b, ", best");
        put_loss(&b, k.run.best_val_loss);
        wk_buf_str(&b, "\n\n");
        size_t above = b.len;
        curve_draw(&b, &k.train, &k.val, 80, 10, term_utf8());
        if (b.len > above) wk_buf_char(&b, '\n');
        json_object_foreach(k.options, key, v) {
            if (json_is_null(v) || (json_is_array(v) && !json_array_size(v))) continue;
            char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
            wk_buf_printf(&b, "%-28s %s\n", key, text ? text : "");
            wk_free(text);
        }
        if (!b.failed) out_write(b.ptr, b.len);
        wk_buf_free(&b);
    }
    free_run(&k);
    return code;
}

/* ---- compare ---- */

static void put_row(wk_buf *b, const char *name, const kept *k, size_t n, double (*of)(const wk_run *)) {
    wk_buf_printf(b, "%-28s", name);
    for (size_t i = 0; i < n; i++) {
        double v = of(&k[i].run);
        if (isfinite(v)) wk_buf_printf(b, " %14.6g", v);
        else wk_buf_printf(b, " %14s", "-");
    }
    wk_buf_char(b, '\n');
}

static double iteration(const wk_run *r) { return r->last.iteration; }
static double train_loss(const wk_run *r) { return r->last.train_loss; }
static double val_loss(const wk_run *r) { return r->last.val_loss; }
static double best_loss(const wk_run *r) { return r->best_val_loss; }
static double speed(const wk_run *r) { return r->last.tokens_per_second; }
static double seconds(const wk_run *r) { return r->seconds; }

/* The options that are not the same in all. */
static void put_differences(wk_buf *b, const kept *k, size_t n) {
    const char *key;
    json_t *v;
    json_object_foreach(k[0].options, key, v) {
        bool same = true;
        for (size_t i = 1; i < n; i++) same &= json_equal(v, json_object_get(k[i].options, key));
        if (same) continue;
        wk_buf_printf(b, "%-28s", key);
        for (size_t i = 0; i < n; i++) {
            json_t *x = json_object_get(k[i].options, key);
            char *text = x ? json_dumps(x, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)) : NULL;
            wk_buf_printf(b, " %14s", json_is_string(x) ? json_string_value(x) : text && !json_is_null(x) ? text : "-");
            wk_free(text);
        }
        wk_buf_char(b, '\n');
    }
}

static int compare(wk_runs *db, const char *const *word, size_t n, bool json) {
    kept k[MAX_COMPARED] = { 0 };
    wk_buf b = { 0 };
    int code = EXIT_DONE;
    if (n < 2 || n > MAX_COMPARED) return cli_usage("compare takes 2 to %d runs: wick runs compare 1 2", MAX_COMPARED);
    for (size_t i = 0; !code && i < n; i++) code = read_run(db, word[i], &k[i]);
    if (!code && json) {
        wk_buf_str(&b, "{\"runs\":[");
        for (size_t i = 0; i < n; i++) put_run_json(&b, &k[i].run);
        wk_buf_str(&b, "]}");
        out_buf(&b);
    } else if (!code) {
        wk_buf_printf(&b, "%-28s", "run");
        for (size_t i = 0; i < n; i++) wk_buf_printf(&b, " %14lld", (long long)k[i].run.id);
        wk_buf_char(&b, '\n');
        put_row(&b, "iteration", k, n, iteration);
        put_row(&b, "training loss", k, n, train_loss);
        put_row(&b, "validation loss", k, n, val_loss);
        put_row(&b, "best validation loss", k, n, best_loss);
        put_row(&b, "tokens a second", k, n, speed);
        put_row(&b, "seconds", k, n, seconds);
        wk_buf_char(&b, '\n');
        put_differences(&b, k, n);
        if (!b.failed) out_write(b.ptr, b.len);
        wk_buf_free(&b);
    }
    for (size_t i = 0; i < n; i++) free_run(&k[i]);
    return code;
}

/* ---- delete ---- */

/* One that is going on stays: whoever trains holds its folder. A killed one is "running" in the list for ever, and may go. */
static int check_ended(const kept *k) {
    int fd = -1;
    bool held = wk_is_folder(k->run.adapter_path) && wk_folder_lock(k->run.adapter_path, &fd);
    wk_folder_unlock(fd);
    return held && !strcmp(k->run.status, "running") ? cli_fail("run %lld is going on in %s: stop it first", (long long)k->run.id,
                                                                k->run.adapter_path) : EXIT_DONE;
}

/* Is the run among those before it? */
static bool named_before(const char *const *word, size_t i) {
    for (size_t k = 0; k < i; k++) if (strtoll(word[k], NULL, 10) == strtoll(word[i], NULL, 10)) return true;
    return false;
}

static int delete(wk_runs *db, const char *const *word, size_t n) {
    int code = n ? EXIT_DONE : cli_usage("delete takes the runs that are to go from the list: wick runs delete 3");
    for (int pass = 0; pass < 2; pass++)  /* none goes where one of them cannot */
        for (size_t i = 0; !code && i < n; i++) {
            kept k = { 0 };
            if (pass && named_before(word, i)) continue;
            code = read_run(db, word[i], &k);
            if (!code) code = pass ? cli_status(wk_runs_delete(db, k.run.id)) : check_ended(&k);
            free_run(&k);
        }
    return code;
}

int verb_runs(const opts *o) {
    wk_runs *db = NULL;
    char *path = NULL;
    bool json = o->output && !strcmp(o->output, "json");
    const char *action = o->n_word ? o->word[0] : "list";
    int code = cli_status(wk_runs_path(o->runs_db, &path));
    bool deletes = !strcmp(action, "delete");
    if (!code) code = cli_status(wk_runs_open(path, !deletes || !wk_file_exists(path), &db));
    if (code) {}
    else if (!strcmp(action, "list") && o->n_word < 2) code = list(db, json);
    else if (!strcmp(action, "show") && o->n_word == 2) code = show(db, o->word[1], json);
    else if (!strcmp(action, "compare")) code = compare(db, o->word + 1, o->n_word - 1, json);
    else if (deletes) code = delete(db, o->word + 1, o->n_word - 1);
    else if (o->n_word == 1 && strspn(action, "0123456789") == strlen(action)) code = show(db, action, json);
    else code = cli_usage("runs knows list, show RUN, compare RUN RUN... and delete RUN..., not \"%s\"%s", action,
                          o->n_word == 1 && !strcmp(action, "show") ? " without a run" : "");
    wk_runs_close(db);
    wk_free(path);
    return code;
}
