/* log.c: log.jsonl and log.csv. Load: a line a report; the files are opened for each, so that a killed run leaves whole lines. */
#include "train/log.h"
#include "base/file.h"
#include "base/json.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *const wk_log_key[WK_N_LOG_KEY] = { "iteration",         "train_loss",     "learning_rate", "grad_norm",
                                               "tokens_per_second", "trained_tokens", "peak_memory",   "val_loss" };

double wk_log_value(const wick_train_point *p, int key) {
    switch (key) {
    case 0: return p->iteration;
    case 1: return p->train_loss;
    case 2: return p->learning_rate;
    case 3: return p->grad_norm;
    case 4: return p->tokens_per_second;
    case 5: return (double)p->trained_tokens;
    case 6: return (double)p->peak_memory;
    default: return p->val_loss;
    }
}

static void set_value(wick_train_point *p, int key, double v) {
    switch (key) {
    case 0: p->iteration = (int)v; break;
    case 1: p->train_loss = v; break;
    case 2: p->learning_rate = v; break;
    case 3: p->grad_norm = v; break;
    case 4: p->tokens_per_second = v; break;
    case 5: p->trained_tokens = (uint64_t)v; break;
    case 6: p->peak_memory = (uint64_t)v; break;
    default: p->val_loss = v;
    }
}

/* ---- writing ---- */

static void put_number(wk_buf *b, const wick_train_point *p, int key) {
    if (key == 0 || key == 5 || key == 6) wk_buf_printf(b, "%.0f", wk_log_value(p, key));  /* whole numbers */
    else wk_json_put_num(b, wk_log_value(p, key));
}

static void put_json(wk_buf *b, const wick_train_point *p) {
    for (int k = 0; k < WK_N_LOG_KEY; k++) {
        wk_buf_printf(b, "%s\"%s\":", k ? "," : "{", wk_log_key[k]);
        put_number(b, p, k);
    }
    wk_buf_str(b, "}\n");
}

static void put_csv_head(wk_buf *b) {
    for (int k = 0; k < WK_N_LOG_KEY; k++) wk_buf_printf(b, "%s%s", k ? "," : "", wk_log_key[k]);
    wk_buf_char(b, '\n');
}

static void put_csv(wk_buf *b, const wick_train_point *p) {
    for (int k = 0; k < WK_N_LOG_KEY; k++) {
        if (k) wk_buf_char(b, ',');
        if (isfinite(wk_log_value(p, k))) put_number(b, p, k);
    }
    wk_buf_char(b, '\n');
}

static wick_status append(const char *path, const wk_buf *b) {
    if (b->failed) return wk_fail_memory(b->len, path);
    FILE *f = fopen(path, "ab");
    if (!f) return wk_fail(WICK_E_IO, "%s: could not be written: %s", path, strerror(errno));
    bool fine = fwrite(b->ptr, 1, b->len, f) == b->len;
    int why = errno;
    if (fclose(f) && fine) {
        fine = false;
        why = errno;
    }
    return fine ? WICK_OK : wk_fail(WICK_E_IO, "%s: could not be written: %s", path, strerror(why));
}

static wick_status append_in(const wk_train_log *l, const char *name, wk_buf *b) {
    char *path = wk_path_join(l->folder, name);
    wick_status st = path ? append(path, b) : wk_fail_memory(strlen(name), "a log's name");
    wk_free(path);
    wk_buf_free(b);
    return st;
}

static double wall_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

wick_status wk_train_log_add(wk_train_log *l, const wick_train_point *p) {
    wk_buf b = { 0 };
    if (!wk_grow((void **)&l->point, &l->cap, l->n + 1, sizeof *l->point)) return wk_fail_memory(l->n * sizeof *p, "the log");
    l->point[l->n++] = *p;
    put_json(&b, p);
    wick_status st = append_in(l, "log.jsonl", &b);
    if (!st) {
        put_csv(&b, p);
        st = append_in(l, "log.csv", &b);
    }
    if (!st && l->events) {
        wk_events_point(&b, p, wall_time());
        st = append(l->events, &b);
        wk_buf_free(&b);
    }
    return st;
}

/* ---- opening ---- */

/* A line of log.jsonl; false: it is cut off or not one. */
static bool read_point(const char *line, size_t n, wick_train_point *p) {
    json_error_t e;
    json_t *j = NULL;
    bool fine = wk_json_load(line, n, 0, &e, &j) && json_is_integer(json_object_get(j, "iteration"));
    for (int k = 0; fine && k < WK_N_LOG_KEY; k++) {
        const json_t *v = json_object_get(j, wk_log_key[k]);
        set_value(p, k, json_is_number(v) ? json_number_value(v) : k == 5 || k == 6 ? 0 : NAN);
    }
    json_decref(j);
    return fine;
}

/* The points up to an iteration. A last line without its newline was being written when the run was killed. */
static wick_status read_points(wk_train_log *l, const char *path, int iteration) {
    wk_buf text = { 0 };
    wick_status st = wk_file_read(path, (size_t)256 << 20, &text);
    int line = 1;
    for (const char *at = text.ptr, *nl; !st && at && (nl = strchr(at, '\n')); at = nl + 1, line++) {
        wick_train_point p;
        if (!read_point(at, (size_t)(nl - at), &p))
            st = wk_fail(WICK_E_FORMAT, "%s: line %d is not a point of a log; move the file away to go on without it", path, line);
        else if (p.iteration <= iteration) {
            if (!wk_grow((void **)&l->point, &l->cap, l->n + 1, sizeof p)) st = wk_fail_memory(l->n * sizeof p, path);
            else l->point[l->n++] = p;
        }
    }
    wk_buf_free(&text);
    return st;
}

static wick_status write_whole(const wk_train_log *l, const char *name, wk_buf *b) {
    char *path = wk_path_join(l->folder, name);
    wick_status st = path && !b->failed ? wk_file_write(path, &(wk_str){ b->ptr, b->len }, 1) : wk_fail_memory(b->len, "a log");
    wk_free(path);
    wk_buf_free(b);
    return st;
}

/* What files of an earlier start say of steps from first on is void. */
static wick_status open_events(wk_train_log *l, int first) {
    wk_buf name = { 0 }, head = { 0 };
    char host[64] = "host";
    char *folder = wk_path_join(l->folder, "tensorboard");
    wick_status st = folder ? WICK_OK : wk_fail_memory(64, "a log's name");
    if (!st && !wk_is_folder(folder)) st = wk_folder_make(folder);
    if (gethostname(host, sizeof host - 1)) host[0] = 0;
    for (char *p = host; *p; p++) if (*p == '/') *p = '_';
    /* TensorBoard knows the file by "tfevents" in its name, and reads several of a run in the order of their names. */
    wk_buf_printf(&name, "%s/events.out.tfevents.%010lld.%s.%ld", folder ? folder : "", (long long)wall_time(), host,
                  (long)getpid());
    wk_free(folder);
    if (!st && name.failed) st = wk_fail_memory(name.len, "a log's name");
    if (!st) {
        l->events = name.ptr;
        name = (wk_buf){ 0 };
        wk_events_head(&head, wall_time(), first);
        st = append(l->events, &head);
    }
    wk_buf_free(&name);
    wk_buf_free(&head);
    return st;
}

/* first: the step that a new event file begins at. */
static wick_status write_files(wk_train_log *l, bool events, int first) {
    wk_buf json = { 0 }, csv = { 0 };
    put_csv_head(&csv);
    for (size_t i = 0; i < l->n; i++) {
        put_json(&json, &l->point[i]);
        put_csv(&csv, &l->point[i]);
    }
    wick_status st = write_whole(l, "log.jsonl", &json);
    if (!st) st = write_whole(l, "log.csv", &csv);
    if (!st && events) st = open_events(l, first);
    wk_buf_free(&json);
    wk_buf_free(&csv);
    return st;
}

wick_status wk_train_log_open(wk_train_log *l, const char *folder, int iteration, bool events) {
    *l = (wk_train_log){ .folder = wk_strdup(folder) };
    char *path = wk_path_join(folder, "log.jsonl");
    wick_status st = l->folder && path ? WICK_OK : wk_fail_memory(strlen(folder), "a log's name");
    if (!st && iteration > 0 && wk_file_exists(path)) st = read_points(l, path, iteration);
    if (!st) st = write_files(l, events, iteration > 0 ? iteration + 1 : 0);
    wk_free(path);
    if (st) wk_train_log_free(l);
    return st;
}

wick_status wk_train_log_write(wk_train_log *l) {
    bool events = l->events != NULL;
    wk_free(l->events);
    l->events = NULL;
    wick_status st = write_files(l, events, 0);
    wk_buf b = { 0 };
    for (size_t i = 0; !st && events && i < l->n; i++) wk_events_point(&b, &l->point[i], wall_time());
    if (!st && events) st = append(l->events, &b);
    wk_buf_free(&b);
    return st;
}

void wk_train_log_free(wk_train_log *l) {
    wk_free(l->folder);
    wk_free(l->events);
    wk_free(l->point);
    *l = (wk_train_log){ 0 };
}
