/* runs.c: runs and their points in SQLite. Load: a few writes a minute; lists of some hundred runs. */
#include "train/runs.h"
#include "base/file.h"
#include "train/log.h"
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct wk_runs { sqlite3 *db; char *path; int version; };

/* user_version says which tables these are, 0 that there are none. What makes each form of the one before it: */
enum { NO_ERRORS = 1, VERSION };
static const char *const upgrade[VERSION] = {
    "PRAGMA application_id = 0x7769636b;"
    "CREATE TABLE IF NOT EXISTS run(id INTEGER PRIMARY KEY, name TEXT, status TEXT NOT NULL, model TEXT, data TEXT,"
    " adapter_path TEXT, started TEXT NOT NULL DEFAULT(strftime('%Y-%m-%dT%H:%M:%SZ','now')), options TEXT,"
    " seconds REAL NOT NULL DEFAULT 0);"
    "CREATE TABLE IF NOT EXISTS point(run INTEGER NOT NULL REFERENCES run(id), iteration INTEGER NOT NULL, train_loss REAL,"
    " learning_rate REAL, grad_norm REAL, tokens_per_second REAL, trained_tokens INTEGER, peak_memory INTEGER, val_loss REAL,"
    " PRIMARY KEY(run, iteration)) WITHOUT ROWID;"
    "PRAGMA user_version = 1;",
    "ALTER TABLE run ADD COLUMN error TEXT;"
    "PRAGMA user_version = 2;",
};

static wick_status fail(const wk_runs *r, const char *doing) {
    int code = sqlite3_extended_errcode(r->db) & 255;
    if (code == SQLITE_NOMEM) return wk_fail_memory(1, r->path);
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        return wk_fail(WICK_E_FORMAT, "%s: %s: move it away to begin a new list of runs", r->path, sqlite3_errmsg(r->db));
    return wk_fail(WICK_E_IO, "%s: %s: %s", r->path, doing, sqlite3_errmsg(r->db));
}

/* ---- opening ---- */

static wick_status make_folder_of(char *path) {
    char *slash = strrchr(path, '/');
    if (!slash || slash == path) return WICK_OK;
    *slash = 0;
    wick_status st = wk_folders_make(path);
    *slash = '/';
    return st;
}

wick_status wk_runs_path(const char *path, char **out) {
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    wk_buf b = { 0 };
    *out = NULL;
    if (path) wk_buf_str(&b, path);
    else if (data && *data == '/') wk_buf_printf(&b, "%s/wick/runs.db", data);
    else if (home && *home) wk_buf_printf(&b, "%s/.local/share/wick/runs.db", home);
    else return wk_fail(WICK_E_IO, "there is no HOME to keep the list of runs in: set XDG_DATA_HOME, or give --runs-db FILE");
    if (b.failed) {
        wk_buf_free(&b);
        return wk_fail_memory(64, "the name of the list of runs");
    }
    *out = b.ptr;
    return WICK_OK;
}

static wick_status check_version(wk_runs *r) {
    sqlite3_stmt *s = NULL;
    r->version = -1;
    if (!sqlite3_prepare_v2(r->db, "PRAGMA user_version", -1, &s, NULL) && sqlite3_step(s) == SQLITE_ROW)
        r->version = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    if (r->version < 0) return fail(r, "could not be read");
    if (r->version > VERSION)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: was written by a later wick (form %d, this one knows %d)", r->path, r->version,
                       VERSION);
    return WICK_OK;
}

/* Of two programs that find an older form the second finds the new one, when it is let in. */
static wick_status prepare(wk_runs *r) {
    if (r->version == VERSION) return WICK_OK;
    if (sqlite3_exec(r->db, "BEGIN IMMEDIATE", NULL, NULL, NULL)) return fail(r, "could not be prepared");
    wick_status st = check_version(r);
    for (; !st && r->version < VERSION; r->version++)
        if (sqlite3_exec(r->db, upgrade[r->version], NULL, NULL, NULL)) st = fail(r, "could not be prepared");
    if (!st && sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL)) st = fail(r, "could not be prepared");
    return st;  /* closing takes back what was not committed */
}

wick_status wk_runs_open(const char *path, bool read_only, wk_runs **out) {
    wk_runs *r = wk_alloc(sizeof *r);
    *out = NULL;
    if (!r || !(r->path = wk_strdup(path))) {
        wk_free(r);
        return wk_fail_memory(sizeof *r, "the list of runs");
    }
    wick_status st = read_only ? WICK_OK : make_folder_of(r->path);
    int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (!st && read_only && !wk_file_exists(path))
        st = wk_fail(WICK_E_IO, "%s: there is no list of runs yet: wick train makes it", path);
    if (!st && sqlite3_open_v2(path, &r->db, flags | SQLITE_OPEN_NOMUTEX, NULL)) st = fail(r, "could not be opened");
    if (!st) sqlite3_busy_timeout(r->db, 5000);  /* another training may be writing */
    if (!st) st = check_version(r);
    if (!st && !read_only) st = prepare(r);
    if (st) wk_runs_close(r);
    else *out = r;
    return st;
}

void wk_runs_close(wk_runs *r) {
    if (!r) return;
    sqlite3_close(r->db);
    wk_free(r->path);
    wk_free(r);
}

/* ---- writing ---- */

/* Runs one statement with its values: 'i' int64_t, 'd' double (NaN: NULL), 's' text or NULL. */
static wick_status run(const wk_runs *r, const char *sql, const char *kinds, ...) {
    sqlite3_stmt *s = NULL;
    va_list ap;
    int bad = sqlite3_prepare_v2(r->db, sql, -1, &s, NULL);
    va_start(ap, kinds);
    for (int i = 1; !bad && kinds[i - 1]; i++) {
        if (kinds[i - 1] == 'i') bad = sqlite3_bind_int64(s, i, va_arg(ap, int64_t));
        else if (kinds[i - 1] == 'd') bad = sqlite3_bind_double(s, i, va_arg(ap, double));
        else bad = sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
    }
    va_end(ap);
    if (!bad) bad = sqlite3_step(s) != SQLITE_DONE;
    wick_status st = bad ? fail(r, "could not be written") : WICK_OK;
    sqlite3_finalize(s);
    return st;
}

/* The newest run of a folder, 0: none. */
static int64_t find_run(const wk_runs *r, const char *adapter_path) {
    sqlite3_stmt *s = NULL;
    int64_t id = 0;
    if (!sqlite3_prepare_v2(r->db, "SELECT max(id) FROM run WHERE adapter_path = ?", -1, &s, NULL)
        && !sqlite3_bind_text(s, 1, adapter_path, -1, SQLITE_STATIC) && sqlite3_step(s) == SQLITE_ROW)
        id = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return id;
}

wick_status wk_runs_begin(wk_runs *r, const wk_run *x, int iteration, int64_t *id) {
    *id = iteration > 0 ? find_run(r, x->adapter_path) : 0;
    if (*id) {
        wick_status st = run(r, "UPDATE run SET status = 'running', error = NULL, options = ? WHERE id = ?", "si", x->options, *id);
        return st ? st : run(r, "DELETE FROM point WHERE run = ? AND iteration > ?", "ii", *id, (int64_t)iteration);
    }
    wick_status st = run(r, "INSERT INTO run(name, status, model, data, adapter_path, options) VALUES(?, 'running', ?, ?, ?, ?)",
                         "sssss", x->name, x->model, x->data, x->adapter_path, x->options);
    *id = sqlite3_last_insert_rowid(r->db);
    return st;
}

wick_status wk_runs_add(wk_runs *r, int64_t id, const wick_train_point *p) {
    return run(r, "INSERT OR REPLACE INTO point VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", "iiddddiid", id, (int64_t)p->iteration,
               p->train_loss, p->learning_rate, p->grad_norm, p->tokens_per_second, (int64_t)p->trained_tokens,
               (int64_t)p->peak_memory, p->val_loss);
}

wick_status wk_runs_end(wk_runs *r, int64_t id, const char *status, const char *error, double seconds) {
    return run(r, "UPDATE run SET status = ?, error = ?, seconds = seconds + ? WHERE id = ?", "ssdi", status, error, seconds, id);
}

static wick_status no_run(const wk_runs *r, int64_t id) {
    return wk_fail(WICK_E_ARG, "there is no run %lld in %s; wick runs lists them", (long long)id, r->path);
}

wick_status wk_runs_delete(wk_runs *r, int64_t id) {
    wick_status st = run(r, "DELETE FROM point WHERE run = ?", "i", id);  /* first: a later run may get the number */
    if (!st) st = run(r, "DELETE FROM run WHERE id = ?", "i", id);
    return !st && !sqlite3_changes(r->db) ? no_run(r, id) : st;
}

/* ---- reading ---- */

static double number(sqlite3_stmt *s, int column) {
    return sqlite3_column_type(s, column) == SQLITE_NULL ? NAN : sqlite3_column_double(s, column);
}

/* The newest number of each kind, whichever point has it. */
#define NEWEST(x) "(SELECT " x " FROM point WHERE run = r.id AND " x " IS NOT NULL ORDER BY iteration DESC LIMIT 1)"
#define OLDEST(x) "(SELECT " x " FROM point WHERE run = r.id AND " x " IS NOT NULL ORDER BY iteration LIMIT 1)"

#define RUNS(error) \
    "SELECT id, name, status, model, data, adapter_path, started, options, seconds," \
    " (SELECT max(iteration) FROM point WHERE run = r.id), " NEWEST("train_loss") ", " NEWEST("learning_rate") ", " \
    NEWEST("grad_norm") ", " NEWEST("tokens_per_second") ", " NEWEST("trained_tokens") ", " \
    " (SELECT max(peak_memory) FROM point WHERE run = r.id), " NEWEST("val_loss") "," \
    " (SELECT min(val_loss) FROM point WHERE run = r.id), " OLDEST("train_loss") ", " OLDEST("val_loss") ", " error \
    " FROM run r WHERE ?1 = 0 OR id = ?1 ORDER BY id"

wick_status wk_runs_each(wk_runs *r, int64_t id, bool (*fn)(const wk_run *run, void *user), void *user) {
    const char *sql = r->version == NO_ERRORS ? RUNS("NULL") : RUNS("error");  /* what is only read stays in its older form */
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(r->db, sql, -1, &s, NULL);
    if (!rc) rc = sqlite3_bind_int64(s, 1, id);
    size_t n = 0;
    for (bool more = !rc; more && (rc = sqlite3_step(s)) == SQLITE_ROW; n++) {
        const char *text[8];
        for (int i = 1; i < 8; i++) {
            text[i] = (const char *)sqlite3_column_text(s, i);
            if (!text[i]) text[i] = "";
        }
        wk_run x = {
            .id = sqlite3_column_int64(s, 0), .name = text[1], .status = text[2], .model = text[3], .data = text[4],
            .adapter_path = text[5], .started = text[6], .options = text[7], .seconds = sqlite3_column_double(s, 8),
            .last = { sqlite3_column_int(s, 9), number(s, 10), number(s, 11), number(s, 12), number(s, 13),
                      (uint64_t)sqlite3_column_int64(s, 14), (uint64_t)sqlite3_column_int64(s, 15), number(s, 16) },
            .best_val_loss = number(s, 17), .first_train_loss = number(s, 18), .first_val_loss = number(s, 19),
            .error = (const char *)sqlite3_column_text(s, 20),
        };
        more = fn(&x, user);
        rc = SQLITE_DONE;
    }
    wick_status st = rc == SQLITE_DONE ? WICK_OK : fail(r, "could not be read");
    sqlite3_finalize(s);
    return !st && id && !n ? no_run(r, id) : st;
}

wick_status wk_runs_points(wk_runs *r, int64_t id, bool (*fn)(const wick_train_point *p, void *user), void *user) {
    static const char sql[] =
        "SELECT iteration, train_loss, learning_rate, grad_norm, tokens_per_second, trained_tokens, peak_memory,"
        " val_loss FROM point WHERE run = ? ORDER BY iteration";
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(r->db, sql, -1, &s, NULL);
    if (!rc) rc = sqlite3_bind_int64(s, 1, id);
    for (bool more = !rc; more && (rc = sqlite3_step(s)) == SQLITE_ROW;) {
        wick_train_point p = { sqlite3_column_int(s, 0), number(s, 1), number(s, 2), number(s, 3), number(s, 4),
                               (uint64_t)sqlite3_column_int64(s, 5), (uint64_t)sqlite3_column_int64(s, 6), number(s, 7) };
        more = fn(&p, user);
        rc = SQLITE_DONE;
    }
    wick_status st = rc == SQLITE_DONE ? WICK_OK : fail(r, "could not be read");
    sqlite3_finalize(s);
    return st;
}
