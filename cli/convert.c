/* convert.c: wick convert: a GGUF file from a folder, a folder from a GGUF file; wick merge: with adapters worked in. */
#include "cli.h"
#include "base/clock.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct watch { const opts *o; double started; } watch;

static bool on_progress(const char *what, uint64_t done, uint64_t total, void *user) {
    const watch *w = user;
    if (wk_now() - w->started > 1 && total) term_status(w->o, "%s %d %%", what, (int)(100.0 * (double)done / (double)total));
    return !interrupted;
}

/* "500MB", "5GB", "1000000". */
static bool read_size(const char *s, uint64_t *out) {
    static const struct { const char *name; double bytes; } units[] = {
        { "", 1 }, { "B", 1 }, { "kB", 1e3 }, { "MB", 1e6 }, { "GB", 1e9 }, { "KiB", 1024 }, { "MiB", 0x1p20 }, { "GiB", 0x1p30 },
    };
    char *end;
    double v = strtod(s, &end);
    for (size_t i = 0; end != s && i < sizeof units / sizeof *units; i++)
        if (!strcasecmp(end, units[i].name)) {
            v *= units[i].bytes;
            *out = v >= 1 && v < 1e18 ? (uint64_t)v : 0;
            return *out > 0;
        }
    return false;
}

static void say(const opts *o, const wick_convert_result *r) {
    char bytes[32];
    wk_buf b = { 0 };
    wk_buf_printf(&b, "%s -> %s: %s to %s", o->model, o->out, r->from, r->to);
    if (r->vocab_only) wk_buf_str(&b, ", the vocabulary alone");
    else
        wk_buf_printf(&b, ", %" PRIu64 " tensors%s%s, %s", r->n_tensors, *r->type ? ", " : "", r->type,
                      show_bytes(r->n_bytes, bytes));
    if (r->dequantised) wk_buf_str(&b, "; quantised weights were decoded");
    out_buf(&b);
    for (const char *line = r->notes; *line;) {
        size_t n = strcspn(line, "\n");
        fprintf(stderr, "wick: note: %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

static int convert(const opts *o, const wick_adapter_file *adapter, size_t n_adapter) {
    watch w = { o, wk_now() };
    wick_convert_options c;
    wick_convert_result r;
    wick_convert_defaults(&c);
    if (o->max_shard_size && !read_size(o->max_shard_size, &c.max_shard_bytes))
        return cli_usage("--max-shard-size takes a size, as 500MB or 5GB, not \"%s\"", o->max_shard_size);
    c.type = o->type;
    c.pre = o->pre;
    c.force = o->force;
    c.any_base = o->any_base;
    c.adapter = adapter;
    c.n_adapter = n_adapter;
    c.progress = on_progress;
    c.progress_user = &w;
    int code = cli_status(wick_convert(o->model, o->out, &c, &r));
    term_status(o, "%s", "");
    if (!code && !o->quiet) say(o, &r);
    return code;
}

int verb_convert(const opts *o) {
    if (!o->model || !o->out) return cli_usage("convert needs a model and a name to write to: wick convert MODEL -o OUT");
    return convert(o, NULL, 0);
}

int verb_merge(const opts *o) {
    wick_adapter_file *files, word = { NULL, 1 };
    char *list;
    size_t n;
    int code = cli_adapters(o, &files, &n, &list);
    if (!code && !n && o->n_word) word.path = o->word[0];
    if (!code && (!o->model || !o->out || o->n_word > 1 || (n && o->n_word) || !(n || word.path)))
        code = cli_usage("merge needs a model, an adapter and a name to write to: wick merge MODEL ADAPTER -o OUT");
    if (!code) code = n ? convert(o, files, n) : convert(o, &word, 1);
    wk_free(files);
    wk_free(list);
    return code;
}
