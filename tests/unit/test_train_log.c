/* test_train_log.c: the logs, event files, the list of runs, the report and the adapter's numbers in it. */
#include "base/file.h"
#include "base/json.h"
#include "support/run.h"
#include "train/log.h"
#include "train/lora_stats.h"
#include "train/plot.h"
#include "train/report.h"
#include "train/runs.h"
#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/wick-log-XXXXXX");
    return !mkdtemp(folder);
}

static int remove_folder(void **state) {
    (void)state;
    char sub[96];
    snprintf(sub, sizeof sub, "%s/tensorboard", folder);
    wk_folder_remove(sub);
    wk_folder_remove(folder);
    return 0;
}

static char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void read_all(const char *name, wk_buf *b) {
    *b = (wk_buf){ 0 };
    ok(wk_file_read(path_of(name), 1 << 20, b));
}

static wick_train_point point(int i) {
    return (wick_train_point){ i, 3.5 - i * 0.1, 1e-5, i ? 0.25 : NAN, 123.5, (uint64_t)i * 100, 1 << 20, i % 2 ? NAN : 3.25 };
}

static void test_files(void **state) {
    (void)state;
    wk_train_log l;
    wk_buf b;
    ok(wk_train_log_open(&l, folder, 0, false));
    for (int i = 0; i < 4; i++) {
        wick_train_point p = point(i);
        ok(wk_train_log_add(&l, &p));
    }
    wk_train_log_free(&l);
    read_all("log.jsonl", &b);
    assert_non_null(
        strstr(b.ptr, "{\"iteration\":0,\"train_loss\":3.5,\"learning_rate\":1e-05,\"grad_norm\":null,\"tokens_per_second\":123.5,"
                      "\"trained_tokens\":0,\"peak_memory\":1048576,\"val_loss\":3.25}\n"));
    /* A line that was being written when the run was killed. */
    wk_buf_str(&b, "{\"iteration\":4,\"tr");
    ok(wk_file_write(path_of("log.jsonl"), &(wk_str){ b.ptr, b.len }, 1));
    wk_buf_free(&b);
    read_all("log.csv", &b);
    assert_string_equal(b.ptr,
                        "iteration,train_loss,learning_rate,grad_norm,tokens_per_second,trained_tokens,peak_memory,val_loss\n"
                        "0,3.5,1e-05,,123.5,0,1048576,3.25\n1,3.4,1e-05,0.25,123.5,100,1048576,\n"
                        "2,3.3,1e-05,0.25,123.5,200,1048576,3.25\n3,3.2,1e-05,0.25,123.5,300,1048576,\n");
    wk_buf_free(&b);
    /* Resumed at 2: what came after goes, and goes on. */
    ok(wk_train_log_open(&l, folder, 2, false));
    assert_int_equal(l.n, 3);
    assert_float_equal(l.point[1].train_loss, 3.4, 0);
    assert_true(isnan(l.point[1].val_loss) && isnan(l.point[0].grad_norm));
    assert_true(l.point[2].trained_tokens == 200);
    wick_train_point p = point(3);
    ok(wk_train_log_add(&l, &p));
    wk_train_log_free(&l);
    read_all("log.csv", &b);
    int n = 0;
    for (char *at = b.ptr; (at = strchr(at, '\n')); at++) n++;
    assert_int_equal(n, 5);
    wk_buf_free(&b);
    ok(wk_file_write(path_of("log.jsonl"), &WK_STR("{\"iteration\":1}\nnonsense\n"), 1));
    refused(wk_train_log_open(&l, folder, 2, false), WICK_E_FORMAT, "log.jsonl: line 2 is not a point");
    ok(wk_train_log_open(&l, folder, 0, false));  /* a new run begins a new log */
    assert_int_equal(l.n, 0);
    wk_train_log_free(&l);
    refused(wk_train_log_open(&l, "/nonexistent/folder", 0, false), WICK_E_IO, "/nonexistent/folder/log.jsonl");
    refused(wk_train_log_open(&l, "/proc/self", 0, false), WICK_E_IO, "/proc/self/log.jsonl");
}

/* A full disk: /dev/full takes nothing. */
static void test_full_disk(void **state) {
    (void)state;
    wk_train_log l = { 0 };
    ok(wk_train_log_open(&l, folder, 0, false));
    unlink(path_of("log.jsonl"));
    assert_int_equal(symlink("/dev/full", path_of("log.jsonl")), 0);
    wick_train_point p = point(1);
    refused(wk_train_log_add(&l, &p), WICK_E_IO, "No space left");
    unlink(path_of("log.jsonl"));
    wk_train_log_free(&l);
}

/* ---- event files ---- */

static uint64_t le(const uint8_t *p, int n) {
    uint64_t v = 0;
    while (n--) v = v << 8 | p[n];
    return v;
}

static uint32_t unmask(uint64_t c) {
    uint32_t x = (uint32_t)c - 0xA282EAD8u;
    return x >> 17 | x << 15;
}

/* Checks a record's frame and gives its data. */
static const uint8_t *record(const uint8_t **at, const uint8_t *end, size_t *n) {
    assert_true(end - *at >= 12);
    *n = le(*at, 8);
    assert_int_equal(unmask(le(*at + 8, 4)), wk_crc32c(*at, 8));
    assert_true((size_t)(end - *at) >= 16 + *n);
    const uint8_t *data = *at + 12;
    assert_int_equal(unmask(le(data + *n, 4)), wk_crc32c(data, *n));
    *at = data + *n + 4;
    return data;
}

static void test_events(void **state) {
    (void)state;
    assert_int_equal(wk_crc32c("123456789", 9), 0xE3069283u);  /* the check value of CRC-32C */
    uint8_t zeros[32] = { 0 };
    assert_int_equal(wk_crc32c(zeros, 32), 0x8A9136AAu);       /* RFC 3720, B.4 */
    wk_buf b = { 0 };
    wick_train_point p = { 300, 2.5, NAN, NAN, NAN, 7, 0, NAN };
    wk_events_head(&b, 1.5, 4);
    wk_events_point(&b, &p, 2.0);
    const uint8_t *at = (const uint8_t *)b.ptr, *end = at + b.len;
    size_t n;
    const uint8_t *d = record(&at, end, &n);
    assert_memory_equal(d, "\x09\0\0\0\0\0\0\xF8\x3F\x1A\x0D" "brain.Event:2", n);
    d = record(&at, end, &n);
    assert_int_equal(n, 15);
    assert_memory_equal(d, "\x09\0\0\0\0\0\0\xF8\x3F\x10\x04\x3A\x02\x08\x01", n);  /* a session starts at step 4 */
    d = record(&at, end, &n);
    assert_ptr_equal(at, end);
    assert_memory_equal(d, "\x09\0\0\0\0\0\0\0\x40\x10\xAC\x02\x2A", 13);   /* wall time 2.0, step 300, a summary */
    assert_memory_equal(d + 14, "\x0A\x11\x0A\x0Atrain/loss\x15\0\0\x20\x40", 19);  /* 2.5 under its tag */
    assert_int_equal(d[13], n - 14);
    wk_buf_free(&b);
    wk_train_log l;
    ok(wk_train_log_open(&l, folder, 0, true));
    assert_non_null(strstr(l.events, "/tensorboard/events.out.tfevents."));
    ok(wk_train_log_add(&l, &p));
    ok(wk_file_read(l.events, 1 << 20, &b));
    at = (const uint8_t *)b.ptr;
    end = at + b.len;
    record(&at, end, &n);
    d = record(&at, end, &n);
    assert_int_equal(d[10], 0);  /* a new run: all that was there before is void */
    record(&at, end, &n);
    assert_ptr_equal(at, end);
    wk_buf_free(&b);
    wk_train_log_free(&l);
    ok(wk_train_log_open(&l, folder, 300, true));
    ok(wk_file_read(l.events, 1 << 20, &b));
    at = (const uint8_t *)b.ptr;
    for (end = at + b.len; at < end;) d = record(&at, end, &n);  /* of the same second it may be the same file */
    assert_memory_equal(d + 9, "\x10\xAD\x02", 3);              /* the run goes on with step 301 */
    wk_buf_free(&b);
    wk_train_log_free(&l);
}

/* ---- runs ---- */

typedef struct seen { int n; wk_run run[4]; char status[4][16], error[32]; double loss[8]; } seen;

static bool on_run(const wk_run *r, void *user) {
    seen *s = user;
    snprintf(s->status[s->n], sizeof s->status[0], "%s", r->status);
    snprintf(s->error, sizeof s->error, "%s", r->error ? r->error : "none");
    s->run[s->n++] = *r;
    return s->n < 4;
}

static bool on_point(const wick_train_point *p, void *user) {
    seen *s = user;
    s->loss[s->n++] = p->train_loss;
    return s->n < 8;
}

static void test_runs(void **state) {
    (void)state;
    wk_runs *r;
    int64_t a, b, c;
    seen s = { 0 };
    char *path;
    refused(wk_runs_open(path_of("runs.db"), true, &r), WICK_E_IO, "no list of runs yet");
    ok(wk_runs_open(path_of("runs.db"), false, &r));
    wk_run x = { .name = "one", .model = "m", .data = "d", .adapter_path = "ad", .options = "{}" };
    ok(wk_runs_begin(r, &x, 0, &a));
    for (int i = 0; i < 4; i++) {
        wick_train_point p = point(i);
        ok(wk_runs_add(r, a, &p));
    }
    ok(wk_runs_end(r, a, "failed", "the disk is full", 10));
    ok(wk_runs_each(r, a, on_run, &s));
    assert_string_equal(s.error, "the disk is full");
    s.n = 0;
    x.adapter_path = "other";
    ok(wk_runs_begin(r, &x, 0, &b));
    assert_int_not_equal(a, b);
    x.adapter_path = "ad";
    ok(wk_runs_begin(r, &x, 1, &c));  /* resumed at 1 */
    assert_int_equal(a, c);
    ok(wk_runs_points(r, a, on_point, &s));
    assert_int_equal(s.n, 2);
    assert_float_equal(s.loss[1], 3.4, 0);
    ok(wk_runs_end(r, a, "done", NULL, 5));
    s.n = 0;
    ok(wk_runs_each(r, 0, on_run, &s));
    assert_int_equal(s.n, 2);
    assert_string_equal(s.status[0], "done");
    assert_string_equal(s.status[1], "running");
    assert_null(s.run[0].error);  /* it was gone on with */
    assert_float_equal(s.run[0].seconds, 15, 0);
    assert_float_equal(s.run[0].last.train_loss, 3.4, 0);
    assert_float_equal(s.run[0].last.val_loss, 3.25, 0);  /* the newest that there is */
    assert_true(isnan(s.run[1].last.train_loss));
    refused(wk_runs_each(r, 77, on_run, &s), WICK_E_ARG, "there is no run 77");
    wk_runs_close(r);
    ok(wk_runs_open(path_of("runs.db"), true, &r));
    s.n = 0;
    ok(wk_runs_each(r, b, on_run, &s));
    assert_int_equal(s.n, 1);
    wick_train_point p = point(0);
    refused(wk_runs_add(r, b, &p), WICK_E_IO, "readonly");
    wk_runs_close(r);
    ok(wk_file_write(path_of("bad.db"), &WK_STR("this is no database, however long it is; and it goes on for more than 100 bytes, "
                                                "so that it has a whole header of something else"), 1));
    refused(wk_runs_open(path_of("bad.db"), false, &r), WICK_E_FORMAT, "move it away");
    refused(wk_runs_open("/proc/no/runs.db", false, &r), WICK_E_IO, "/proc/no");
    wk_runs_close(NULL);
    setenv("XDG_DATA_HOME", "/x", 1);
    ok(wk_runs_path(NULL, &path));
    assert_string_equal(path, "/x/wick/runs.db");
    wk_free(path);
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", "/h", 1);
    ok(wk_runs_path(NULL, &path));
    assert_string_equal(path, "/h/.local/share/wick/runs.db");
    wk_free(path);
    unsetenv("HOME");
    refused(wk_runs_path(NULL, &path), WICK_E_IO, "XDG_DATA_HOME");
    ok(wk_runs_path("mine.db", &path));
    assert_string_equal(path, "mine.db");
    wk_free(path);
}

/* A list that an older wick wrote is read as it is, and gets what it lacks when a run is added to it. */
static void test_older_runs(void **state) {
    (void)state;
    static const char older[] = "CREATE TABLE run(id INTEGER PRIMARY KEY, name TEXT, status TEXT NOT NULL, model TEXT, data TEXT,"
        " adapter_path TEXT, started TEXT NOT NULL DEFAULT '', options TEXT, seconds REAL NOT NULL DEFAULT 0);"
        "CREATE TABLE point(run INTEGER NOT NULL REFERENCES run(id), iteration INTEGER NOT NULL, train_loss REAL,"
        " learning_rate REAL, grad_norm REAL, tokens_per_second REAL, trained_tokens INTEGER, peak_memory INTEGER, val_loss REAL,"
        " PRIMARY KEY(run, iteration)) WITHOUT ROWID;"
        "INSERT INTO run(name, status) VALUES('old', 'failed'); PRAGMA user_version = 1;";
    sqlite3 *db;
    wk_runs *r, *other;
    int64_t id;
    seen s = { 0 };
    assert_int_equal(sqlite3_open(path_of("older.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, older, NULL, NULL, NULL), SQLITE_OK);
    ok(wk_runs_open(path_of("older.db"), true, &other));
    ok(wk_runs_each(other, 0, on_run, &s));
    assert_int_equal(s.n, 1);
    assert_string_equal(s.error, "none");
    ok(wk_runs_open(path_of("older.db"), false, &r));
    ok(wk_runs_begin(r, &(wk_run){ .name = "new" }, 0, &id));
    ok(wk_runs_end(r, id, "failed", "no room", 1));
    s.n = 0;
    ok(wk_runs_each(r, 0, on_run, &s));
    assert_int_equal(s.n, 2);
    assert_string_equal(s.error, "no room");
    s.n = 0;
    ok(wk_runs_each(other, 0, on_run, &s));  /* which had it open in its older form */
    assert_int_equal(s.n, 2);
    wk_runs_close(other);
    wk_runs_close(r);
    sqlite3_exec(db, "PRAGMA user_version = 3", NULL, NULL, NULL);
    sqlite3_close(db);
    refused(wk_runs_open(path_of("older.db"), false, &r), WICK_E_UNSUPPORTED, "a later wick (form 3, this one knows 2)");
}

/* ---- the adapter's numbers ---- */

static void test_singular(void **state) {
    (void)state;
    enum { R = 3, IN = 5, OUT = 4 };
    float a[R * IN] = { 0 }, b[OUT * R] = { 0 };
    wk_lora_module x = { .rank = R, .n_in = IN, .n_out = OUT, .a = a, .b = b };
    double s[R];
    /* A's rows and B's columns orthogonal: the singular values are the products of their lengths. */
    a[0 * IN + 1] = 3; a[1 * IN + 0] = 1; a[2 * IN + 4] = 2;
    b[0 * R + 0] = 1; b[2 * R + 1] = -5; b[3 * R + 2] = 4;
    ok(wk_lora_singular(&x, 0.5, s));
    assert_float_equal(s[0], 4, 1e-12);
    assert_float_equal(s[1], 2.5, 1e-12);
    assert_float_equal(s[2], 1.5, 1e-12);
    assert_float_equal(wk_lora_norm(s, R), sqrt(16 + 6.25 + 2.25), 1e-12);
    /* Any: the norm equals that of the product itself, and so does the fourth moment, tr((M M^T)^2). */
    for (int i = 0; i < R * IN; i++) a[i] = (float)sin(i * 1.7);
    for (int i = 0; i < OUT * R; i++) b[i] = (float)cos(i * 2.3);
    double m[OUT][IN], sum = 0, fourth = 0, got = 0;
    for (int i = 0; i < OUT; i++)
        for (int j = 0; j < IN; j++) {
            m[i][j] = 0;
            for (int k = 0; k < R; k++) m[i][j] += 2.0 * (double)b[i * R + k] * (double)a[k * IN + j];
            sum += m[i][j] * m[i][j];
        }
    for (int i = 0; i < OUT; i++)
        for (int j = 0; j < OUT; j++) {
            double dot = 0;
            for (int k = 0; k < IN; k++) dot += m[i][k] * m[j][k];
            fourth += dot * dot;
        }
    ok(wk_lora_singular(&x, -2, s));
    for (int i = 0; i < R; i++) got += s[i] * s[i] * s[i] * s[i];
    assert_float_equal(wk_lora_norm(s, R), sqrt(sum), 1e-9);
    assert_true(fabs(got / fourth - 1) < 1e-9);
    assert_true(s[0] >= s[1] && s[1] >= s[2]);
    memset(b, 0, sizeof b);  /* a new adapter changes nothing */
    ok(wk_lora_singular(&x, 1, s));
    assert_float_equal(s[0], 0, 0);
    wk_alloc_fail_at(1);
    assert_int_equal(wk_lora_singular(&x, 1, s), WICK_E_MEMORY);
    wk_alloc_fail_at(0);
}

/* Large ranks, larger than a dimension too: known values, and in seconds: a report has hundreds of modules. */
static void test_singular_large(void **state) {
    (void)state;
    enum { R = 512, IN = 700, OUT = 300 };
    float *a = calloc(R * IN, sizeof *a), *b = calloc(OUT * R, sizeof *b);
    double *s = malloc(R * sizeof *s);
    assert_true(a && b && s);
    wk_lora_module x = { .rank = R, .n_in = IN, .n_out = OUT, .a = a, .b = b };
    /* Turned by Hadamard's matrix of 512 rows, which is orthogonal: A = H [I 0], B = [diagonal 0] H^T: B A = 512 diagonal. */
    for (int i = 0; i < R; i++)
        for (int k = 0; k < R; k++) {
            float sign = __builtin_parity((unsigned)(i & k)) ? -1 : 1;
            a[i * IN + k] = sign;
            if (k < OUT) b[k * R + i] = sign * (float)(1 + (k * 7) % OUT);
        }
    clock_t from = clock();
    ok(wk_lora_singular(&x, 1.0 / 512, s));
    assert_true((double)(clock() - from) < 8.0 * CLOCKS_PER_SEC);
    for (int i = 0; i < R; i++) assert_float_equal(s[i], (double)(i < OUT ? OUT - i : 0), 1e-8);
    free(a);
    free(b);
    free(s);
}

/* ---- the report ---- */

static int count(const char *text, const char *word) {
    int n = 0;
    for (; (text = strstr(text, word)); text++) n++;
    return n;
}

static void test_report(void **state) {
    (void)state;
    float a[2 * 4] = { 1, 2, 3, 4, 5, 6, 7, 8 }, b[4 * 2] = { 1, 0, 0, 1, 1, 1, 0, 2 };
    wk_lora_module module[] = { { .layer = 0, .role = WK_T_Q, .rank = 2, .n_in = 4, .n_out = 4, .alpha = 4, .a = a, .b = b },
                                { .layer = 1, .role = WK_T_Q, .rank = 2, .n_in = 4, .n_out = 4, .alpha = 2, .a = a, .b = b } };
    wk_lora_data lora = { .module = module, .n_module = 2 };
    wick_train_point points[50];
    wick_train_options o;
    wk_buf t;
    for (int i = 0; i < 50; i++) points[i] = point(i);
    wick_train_defaults(&o);
    wk_report_sample sample = { "a <b> & c", "be\"fore", "<script>", NULL };
    wk_report r = { .options = &o, .title = "A <run>", .model = "m.gguf", .status = "done", .point = points, .n_point = 50,
                    .lora = &lora, .sample = &sample, .n_sample = 1, .seconds = 90, .n_trained_param = 12345, .n_train = 10 };
    ok(wk_report_write(path_of("report.html"), &r));
    read_all("report.html", &t);
    assert_null(strstr(t.ptr, "<script"));
    assert_null(strstr(t.ptr, "http"));  /* nothing from the network */
    assert_non_null(strstr(t.ptr, "a &lt;b&gt; &amp; c"));
    assert_non_null(strstr(t.ptr, "<h1>A &lt;run&gt;</h1>"));
    assert_non_null(strstr(t.ptr, "prefers-color-scheme:dark"));
    assert_non_null(strstr(t.ptr, "12,345"));
    assert_int_equal(count(t.ptr, "<svg"), 6);  /* four curves, the heat map, one projection's singular values */
    assert_int_equal(count(t.ptr, "</svg>"), 6);
    assert_non_null(strstr(t.ptr, "<title>q_proj, layer 1: "));
    assert_null(strstr(t.ptr, "nan"));
    wk_buf_free(&t);
    r = (wk_report){ .options = &o, .title = "empty", .model = "", .status = "running" };
    ok(wk_report_write(path_of("report.html"), &r));
    read_all("report.html", &t);
    assert_int_equal(count(t.ptr, "nothing was measured"), 4);
    wk_buf_free(&t);
    /* What a template says around all prompts is there on demand alone. */
    wk_report_sample asked[] = { { "<system>\nBe brief.\n<user>\nTell one\n<answer>\n", NULL, "1", NULL },
                                 { "<system>\nBe brief.\n<user>\nTell two\n<answer>\n", NULL, "2", NULL } };
    r.sample = asked;
    r.n_sample = 2;
    ok(wk_report_write(path_of("report.html"), &r));
    read_all("report.html", &t);
    assert_non_null(strstr(t.ptr, "<summary><pre>Tell two</pre></summary><pre>&lt;system&gt;\nBe brief."));
    wk_buf_free(&t);
    r.sample = (wk_report_sample[]){ { "<user>\nWhich is one?<end>\n<answer>\n", NULL, "1", NULL },
                                     { "<user>\nWhich is two?<end>\n<answer>\n", NULL, "2", NULL } };
    ok(wk_report_write(path_of("report.html"), &r));
    read_all("report.html", &t);
    assert_non_null(strstr(t.ptr, "<summary><pre>Which is two?</pre></summary><pre>&lt;user&gt;\n"));
    wk_buf_free(&t);
    r.sample = asked;
    r.n_sample = 1;
    ok(wk_report_write(path_of("report.html"), &r));
    read_all("report.html", &t);
    assert_non_null(strstr(t.ptr, "<td data-of=\"prompt\"><pre>&lt;system&gt;\nBe brief."));
    wk_buf_free(&t);
    refused(wk_report_write("/nonexistent/report.html", &r), WICK_E_IO, "/nonexistent/report.html");
    r = (wk_report){ .options = &o, .title = "A", .model = "m", .status = "done", .point = points, .n_point = 2, .lora = &lora };
    uint64_t live = wk_alloc_live();
    wick_status st = WICK_E_MEMORY;
    for (uint64_t k = 1; st; k += 1 + k / 40) {
        wk_alloc_fail_at(k);
        st = wk_report_write(path_of("report.html"), &r);
        wk_alloc_fail_at(0);
        if (st) assert_int_equal(st, WICK_E_MEMORY);
        assert_int_equal(wk_alloc_live(), live);
    }
    unlink(path_of("report.html"));
}

static void test_numbers(void **state) {
    (void)state;
    static const struct { double v; const char *text; } cases[] = {
        { 0, "0" }, { 0.5, "0.5" }, { 1e-5, "1e-05" }, { 1234567, "1,234,567" }, { -1000, "-1,000" }, { 999.96, "1000" },
        { 2e10, "2e+10" }, { NAN, "\xE2\x80\x93" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wk_buf b = { 0 };
        wk_put_short(&b, cases[i].v);
        assert_string_equal(b.ptr, cases[i].text);
        wk_buf_free(&b);
    }
    double x[] = { 1 }, y[] = { 5 };
    wk_buf b = { 0 };
    wk_plot_lines(&b, "one point", "x", &(wk_line){ "y", x, y, 1 }, 1, false);
    assert_non_null(strstr(b.ptr, "<circle"));
    assert_null(strstr(b.ptr, "nan"));
    wk_buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files), cmocka_unit_test(test_full_disk), cmocka_unit_test(test_events), cmocka_unit_test(test_runs),
        cmocka_unit_test(test_older_runs), cmocka_unit_test(test_singular), cmocka_unit_test(test_singular_large),
        cmocka_unit_test(test_report), cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
