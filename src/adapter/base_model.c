/* base_model.c: is this the model that an adapter was trained on? Another one with the same shapes takes it without an error, and
 * talks nonsense. Two things tell:
 * - A sample of the weights that were adapted, and of others where those are few. Adapters made here carry one, as a note that
 *   other programs pass over.
 * - Where there is none, the names of both on the Hugging Face hub, if both are known. Folders and files are called anything.
 * Models that were tuned from one base count as that base: they keep most of each weight, and adapters are carried from one to
 * another on purpose. So do quantised copies. Load: once for each adapter, among thousands of rows that are packed. */
#include "adapter/lora_data.h"
#include "base/file.h"
#include "format/names.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Of at most so many matrices, from the first to the last, so many numbers: 32 of one matrix beside 32 of another are at a cosine
 * of 0 with a deviation of 0.18; beside themselves of one and a half bits they are above 0.7, made ternary by llama.cpp at 0.6 with
 * a deviation of 0.15, and those of some matrices all zeros. So what counts is the mean of all. */
enum { MAX_MATRIX = 8, N_ROW = 2, N_COL = 16, N_SAMPLE = N_ROW * N_COL, N_HEX = 4 };
static const double same_cosine = 0.4;
enum { MAX_ANCESTOR = 8 };  /* models that a merge was made of, as a GGUF file lists them */

static int64_t row_at(const wk_weight *w, int i) { return (2 * (i / N_COL) + 1) * w->n_row / (2 * N_ROW); }
static int64_t col_at(const wk_weight *w, int i) { return ((2 * (i % N_COL) + 1) * w->n_col / (2 * N_COL) + i) % w->n_col; }

/* row [n_col] is room. */
static void take_sample(const wk_model *m, const wk_weight *w, float *row, float *out) {
    for (int i = 0; i < N_SAMPLE; i++) {
        if (i % N_COL == 0) m->backend->ops->weight_row(m->backend, w, row_at(w, i), row);
        out[i] = row[col_at(w, i)];
    }
}

typedef struct place { int layer; wk_role role; } place;

static bool has_place(const place *p, size_t n, place x) {
    for (size_t i = 0; i < n; i++) if (p[i].layer == x.layer && p[i].role == x.role) return true;
    return false;
}

/* Where index i of n is in a list of n_all, when the first and the last are taken. */
static size_t spread(size_t i, size_t n, size_t n_all) { return n > 1 ? i * (n_all - 1) / (n - 1) : 0; }

/* Some of what d adapts; where that is less than MAX_MATRIX, of the other linear layers, too: a matrix alone is like another
 * model's once in 80 times. all: room for the linear layers. */
static size_t choose_places(const wk_model *m, const wk_lora_data *d, place *all, place *p) {
    size_t n_own = d->n_module < MAX_MATRIX ? d->n_module : MAX_MATRIX, n_more = MAX_MATRIX - n_own, n_all = 0, n = n_own;
    int64_t n_in, n_out;
    for (size_t i = 0; i < n_own; i++) {
        const wk_lora_module *x = &d->module[spread(i, n_own, d->n_module)];
        p[i] = (place){ x->layer, x->role };
    }
    for (int layer = 0; layer < m->hp.n_layer; layer++)
        for (wk_role r = WK_T_Q; r <= WK_T_DOWN; r++) {
            place x = { layer, r };
            if (wk_lora_sizes(m, layer, r, &n_in, &n_out) && !has_place(p, n_own, x)) all[n_all++] = x;
        }
    if (n_more > n_all) n_more = n_all;
    for (size_t i = 0; i < n_more; i++) p[n++] = all[spread(i, n_more, n_all)];
    return n;
}

wick_status wk_lora_sample_base(const wk_model *m, wk_lora_data *d) {
    place at[MAX_MATRIX], *all = wk_alloc_array((size_t)wk_model_n_slot(m), sizeof *all);
    size_t n = all ? choose_places(m, d, all, at) : 0;
    wk_buf b = { .failed = !all };
    float x[N_SAMPLE];
    wk_free(all);
    for (size_t i = 0; !b.failed && i < n; i++) {
        const wk_weight *w = wk_lora_weight(m, at[i].layer, at[i].role);
        float *row = wk_alloc_array((size_t)w->n_col, sizeof *row);
        if (row) take_sample(m, w, row, x);
        else b.failed = true;
        wk_free(row);
        wk_buf_printf(&b, "%s%d %s ", i ? " " : "", at[i].layer, wk_roles[at[i].role].hf);
        for (int k = 0; row && k < N_SAMPLE; k++) wk_buf_printf(&b, "%0*x", N_HEX, wk_f32_to_bf16(x[k]));
    }
    if (b.failed) {
        wk_buf_free(&b);
        return wk_fail_memory(b.len, "a sample of weights");
    }
    d->base_weights = b.ptr;
    return WICK_OK;
}

/* ---- comparing weights ---- */

/* One matrix of a note: "LAYER ROLE NUMBERS", the numbers as bfloat16 in hexadecimal digits. */
typedef struct sampled { int layer; wk_role role; const wk_weight *w; float x[N_SAMPLE]; } sampled;

static bool read_numbers(const char *hex, float *x) {
    for (int i = 0; i < N_SAMPLE; i++) {
        unsigned bits = 0;
        for (int k = 0; k < N_HEX; k++) {
            static const char digits[] = "0123456789abcdef";
            const char *at = *hex ? strchr(digits, *hex++) : NULL;
            if (!at) return false;
            bits = bits << 4 | (unsigned)(at - digits);
        }
        x[i] = wk_bf16_to_f32((uint16_t)bits);
    }
    return *hex == ' ' || !*hex;
}

/* The next matrix at *at, which moves behind it; false: this is none. Its w is NULL where the model has no such matrix. */
static bool read_sampled(const wk_model *m, const char **at, sampled *s) {
    int64_t n_in, n_out;
    char role[40];
    int end = 0;
    if (sscanf(*at, "%9d %39s %n", &s->layer, role, &end) != 2 || !end || s->layer < -1) return false;
    for (s->role = (wk_role)0; s->role < WK_T_COUNT; s->role++)
        if (wk_roles[s->role].hf && !strcmp(wk_roles[s->role].hf, role)) break;
    if (s->role == WK_T_COUNT || !read_numbers(*at + end, s->x)) return false;
    s->w = wk_lora_sizes(m, s->layer, s->role, &n_in, &n_out) ? wk_lora_weight(m, s->layer, s->role) : NULL;
    *at += end + N_SAMPLE * N_HEX;
    *at += **at == ' ';
    return true;
}

/* The cosine between two; false: one has zeros alone, which say nothing. */
static bool likeness(const float *a, const float *b, double *cosine) {
    double dot = 0, aa = 0, bb = 0;
    for (int i = 0; i < N_SAMPLE; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    *cosine = dot / sqrt(aa * bb);
    return aa != 0 && bb != 0;
}

/* Of what files say, as a message can have it. */
static wk_shown show(const char *s) { return wk_show((wk_str){ s, strlen(s) }); }

#define ADVICE "Give the model it was trained on, or take it as it is with --any-base"

/* s: what is least like the model's own, here [N_SAMPLE], or what the model has not. */
static wick_status tell_other(const wk_model *m, const wk_lora_data *d, const sampled *s, const float *here) {
    int far = 0;
    char layer[20] = "", what[120] = "is not there";
    for (int i = 1; s->w && i < N_SAMPLE; i++) if (fabsf(s->x[i] - here[i]) > fabsf(s->x[far] - here[far])) far = i;
    if (s->layer >= 0) snprintf(layer, sizeof layer, "layers.%d.", s->layer);
    if (s->w)
        snprintf(what, sizeof what, "has %g at [%lld, %lld], expected is %g", (double)here[far], (long long)row_at(s->w, far),
                 (long long)col_at(s->w, far), (double)s->x[far]);
    return wk_fail(WICK_E_FORMAT, "was trained on another model%s%s%s than \"%s\": %s%s %s. " ADVICE, d->base_model ? " (\"" : "",
                   show(d->base_model ? d->base_model : "").text, d->base_model ? "\")" : "",
                   show(m->hp.name ? m->hp.name : "this one").text, layer, wk_roles[s->role].hf, what);
}

static wick_status compare_weights(const wk_model *m, const wk_lora_data *d) {
    sampled s, least = { 0 };
    double sum = 0, lowest = INFINITY, cosine;
    float here[N_SAMPLE], least_here[N_SAMPLE];
    int n = 0, n_read = 0;
    for (const char *at = d->base_weights; *at;) {
        if (++n_read > MAX_MATRIX || !read_sampled(m, &at, &s))
            return wk_fail(WICK_E_FORMAT, "the note \"" WK_LORA_BASE_WEIGHTS "\" is damaged at \"%s\"", show(at).text);
        if (!s.w) return tell_other(m, d, &s, NULL);
        float *row = wk_alloc_array((size_t)s.w->n_col, sizeof *row);
        if (!row) return wk_fail_memory((size_t)s.w->n_col * sizeof *row, "a row of weights");
        take_sample(m, s.w, row, here);
        wk_free(row);
        if (!likeness(s.x, here, &cosine)) continue;
        sum += cosine;
        n++;
        if (cosine >= lowest) continue;
        lowest = cosine;  /* and where it is no number */
        least = s;
        memcpy(least_here, here, sizeof here);
    }
    return !n || sum >= same_cosine * n ? WICK_OK : tell_other(m, d, &least, least_here);
}

/* ---- comparing names ---- */

static bool is_among(const char *const *words, size_t n_words, const char *word, size_t n) {
    for (size_t i = 0; i < n_words; i++) if (strlen(words[i]) == n && !strncasecmp(words[i], word, n)) return true;
    return false;
}

/* "owner/name", where that is no folder, here or where the adapter was trained. */
static bool hub_name(const char *s) {
    static const char *const folders[] = {
        "base", "checkpoints", "data", "fixtures", "home", "model", "models", "out", "output", "outputs", "results", "runs", "tmp",
        "weights",
    };
    const char *slash = s ? strchr(s, '/') : NULL;
    if (!slash || slash == s || !slash[1] || strchr(slash + 1, '/') || *s == '.' || *s == '~') return false;
    if (is_among(folders, sizeof folders / sizeof *folders, s, (size_t)(slash - s))) return false;
    return strncmp(slash, "/checkpoint-", 12) && !wk_file_exists(s);
}

/* Words that tell a model's number type or tuning, and not its base; and of a repository with several. */
static bool is_passing(const char *word, size_t n) {
    static const char *const words[] = {
        "gguf", "ggml", "gptq", "awq", "mlx", "bnb", "hf", "int4", "int8", "3bit", "4bit", "5bit", "6bit", "8bit", "fp8", "fp16",
        "bf16", "f16", "f32", "w4a16", "w8a16", "w8a8", "qat", "dynamic", "quantized", "unsloth",
        "instruct", "chat", "it", "pt", "base", "sft", "dpo", "models",
    };
    return is_among(words, sizeof words / sizeof *words, word, n);
}

/* The words of what follows a name's owner, without what passes: "meta-llama/Llama-3.2-1B-Instruct" is "llama321b". */
static void plain_name(wk_str s, char *out, size_t cap) {
    size_t n = 0, word = 0;
    const char *slash = memchr(s.ptr, '/', s.len);
    for (const char *c = slash + 1; n + 1 < cap; c++) {
        bool in = c < s.ptr + s.len && isalnum((unsigned char)*c);
        if (in) out[n++] = (char)tolower((unsigned char)*c);
        else if (is_passing(out + word, n - word)) n = word;
        else word = n;
        if (c >= s.ptr + s.len) break;
    }
    out[n] = 0;
}

/* One's words within the other's: a model tuned from another bears its name. */
static bool akin(wk_str a, wk_str b) {
    char x[120], y[120];
    plain_name(a, x, sizeof x);
    plain_name(b, y, sizeof y);
    return strstr(x, y) || strstr(y, x);
}

/* Was this model tuned from the one of that name, as its files say? */
static bool descends(const wk_checkpoint *c, wk_str name) {
    const char *from = json_string_value(json_object_get(wk_checkpoint_config(c), "_name_or_path"));
    const wk_gguf *g = wk_checkpoint_gguf(c);
    bool does = hub_name(from) && akin((wk_str){ from, strlen(from) }, name);
    for (int i = 0; g && i < MAX_ANCESTOR && !does; i++) {
        char key[48];
        snprintf(key, sizeof key, "general.base_model.%d.repo_url", i);
        wk_str s = wk_gguf_hub_name(g, key);
        does = s.ptr && akin(s, name);
    }
    return does;
}

static wick_status compare_names(const wk_model *m, const wk_lora_data *d) {
    wk_str here = wk_checkpoint_hub_name(m->ckpt), there = { d->base_model, d->base_model ? strlen(d->base_model) : 0 };
    if (!here.ptr || !hub_name(d->base_model) || akin(here, there) || descends(m->ckpt, there)) return WICK_OK;
    return wk_fail(WICK_E_FORMAT, "was trained on \"%s\", and this model is \"%s\". " ADVICE, show(d->base_model).text,
                   wk_show(here).text);
}

wick_status wk_lora_check_base(const wk_model *m, const wk_lora_data *d, const char *path) {
    if (m->any_base) return WICK_OK;
    wick_status st = d->base_weights && *d->base_weights ? compare_weights(m, d) : compare_names(m, d);
    return st && *path ? wk_fail_in(st, path) : st;
}
