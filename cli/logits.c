/* logits.c: wick logits: token ids in from a safetensors file, float32 logits out to another.
 * Rows of a batch are computed one after the other: a result depends on its row alone, so that changes no bit. */
#include "cli.h"
#include "base/file.h"
#include "format/safetensors.h"
#include <inttypes.h>
#include <string.h>

/* Element i of an integer tensor, which may be unaligned. */
static int64_t element(const wk_tensor *t, int64_t i) {
    int64_t v64;
    int32_t v32;
    switch (t->dtype) {
    case WK_I64: memcpy(&v64, t->data + 8 * i, 8); return v64;
    case WK_I32: memcpy(&v32, t->data + 4 * i, 4); return v32;
    default: return t->data[i];  /* U8, BOOL: check_shape() lets nothing else in */
    }
}

static int check_shape(const char *path, const wk_tensor *t, const char *name, const wk_tensor *like) {
    if (t->n_dim != 2 && !(t->n_dim == 1 && !like))
        return cli_fail("%s: \"%s\" has %d dimensions; it must be [batch, length]", path, name, t->n_dim);
    bool narrow = like && (t->dtype == WK_U8 || t->dtype == WK_BOOL);
    if (t->dtype != WK_I64 && t->dtype != WK_I32 && !narrow)
        return cli_fail("%s: \"%s\" is %s; int64 or int32 is needed", path, name, wk_dtypes[t->dtype].name);
    if (like && (t->shape[0] != like->shape[0] || t->shape[1] != like->shape[1]))
        return cli_fail("%s: \"%s\" is [%" PRId64 ",%" PRId64 "] but input_ids is [%" PRId64 ",%" PRId64 "]; they must be the same",
                        path, name, t->shape[0], t->shape[1], like->shape[0], like->shape[1]);
    return EXIT_DONE;
}

/* How many positions of row r the mask keeps; -1: not a run of ones, then zeros. */
static int64_t kept(const wk_tensor *mask, int64_t r, int64_t len) {
    int64_t n = 0;
    if (!mask) return len;
    while (n < len && element(mask, r * len + n)) n++;
    for (int64_t i = n; i < len; i++)
        if (element(mask, r * len + i)) return -1;
    return n;
}

typedef struct input { const char *path; const wk_tensor *ids, *mask; int64_t batch, len; } input;

/* One row's logits into out, which is zeroed; row_ids [len] is room to work in. */
static int row_logits(cli_model *m, const input *in, int64_t r, int32_t *row_ids, float *out, size_t cap) {
    int64_t n = kept(in->mask, r, in->len);
    if (n < 0) return cli_fail("%s: attention_mask of row %" PRId64 " has a gap; only the end of a row may be masked", in->path, r);
    if (n == 0 && m->info.n_label)
        return cli_fail("%s: row %" PRId64 " is masked from its start; a class needs a token", in->path, r);
    if (n == 0) return EXIT_DONE;
    for (int64_t i = 0; i < n; i++) {
        int64_t id = element(in->ids, r * in->len + i);
        if (id < 0 || id >= m->info.n_vocab)
            return cli_fail("%s: input_ids[%" PRId64 "][%" PRId64 "] is %" PRId64 "; this model's ids are 0 to %d", in->path, r, i,
                            id, m->info.n_vocab - 1);
        row_ids[i] = (int32_t)id;
    }
    if (interrupted) return EXIT_INTERRUPTED;
    return cli_status(wick_logits(m->session, row_ids, (size_t)n, out, cap));
}

static int compute(const opts *o, cli_model *m, const input *in) {
    bool classes = m->info.n_label > 0;
    size_t width = (size_t)(classes ? m->info.n_label : m->info.n_vocab), row, total;
    if (!wk_mul_size(classes ? 1 : (size_t)in->len, width, &row) || !wk_mul_size(row, (size_t)in->batch, &total))
        return cli_fail("%s: [%" PRId64 ",%" PRId64 "] makes more logits than memory has addresses", in->path, in->batch, in->len);
    float *out = wk_alloc_array(total, sizeof *out);
    int32_t *ids = wk_alloc_array((size_t)in->len, sizeof *ids);
    int code = out && ids ? EXIT_DONE : cli_fail("out of memory for %zu logits", total);
    if (!code) code = cli_session(o, (int)in->len, m);
    sig_session(m->session);
    for (int64_t r = 0; !code && r < in->batch; r++) {
        if (in->batch > 1) term_status(o, "row %" PRId64 " of %" PRId64, r + 1, in->batch);
        code = row_logits(m, in, r, ids, out + (size_t)r * row, row);
    }
    term_status(o, "%s", "");
    wk_tensor t = { .name = WK_STR("logits"), .dtype = WK_F32, .n_dim = 3, .shape = { in->batch, in->len, (int64_t)width, 1 },
                    .data = (const uint8_t *)out, .n_bytes = total * sizeof *out };
    if (classes) { t.n_dim = 2; t.shape[1] = (int64_t)width; t.shape[2] = 1; }
    if (!code) code = cli_status(wk_safetensors_write(o->out, &t, 1));
    wk_free(ids);
    wk_free(out);
    return code;
}

int verb_logits(const opts *o) {
    wk_safetensors *file = NULL;
    cli_model m = { 0 };
    if (!o->ids || !o->out) return cli_usage("logits needs both files: --ids FILE.safetensors --out FILE.safetensors");
    if (wk_same_file(o->ids, o->out)) return cli_usage("--ids and --out are the same file; logits would overwrite the ids");
    int code = cli_status(wk_safetensors_open(o->ids, &file));
    if (code) return code;
    input in = { .path = o->ids, .ids = wk_safetensors_find(file, "input_ids"),
                 .mask = wk_safetensors_find(file, "attention_mask") };
    if (!in.ids) code = cli_fail("%s: has no tensor \"input_ids\"; logits reads [batch, length] token ids from it", o->ids);
    if (!code) code = check_shape(o->ids, in.ids, "input_ids", NULL);
    if (!code && in.mask) code = check_shape(o->ids, in.mask, "attention_mask", in.ids);
    if (!code) {
        in.batch = in.ids->n_dim == 2 ? in.ids->shape[0] : 1;
        in.len = in.ids->shape[in.ids->n_dim - 1];
        if (in.batch < 1 || in.len < 1 || in.len > 1 << 30)
            code = cli_fail("%s: input_ids is [%" PRId64 ",%" PRId64 "]; at least one token is needed", o->ids, in.batch, in.len);
    }
    if (!code) code = cli_open(o, false, &m);
    if (!code) code = compute(o, &m, &in);
    cli_close(&m);
    wk_safetensors_free(file);
    return code;
}
