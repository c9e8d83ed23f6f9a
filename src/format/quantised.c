/* quantised.c: finds the arrays that quantised weights of a Hugging Face folder lie in, and makes each weight one tensor.
 * Layouts: AutoGPTQ's and AutoAWQ's checkpoints; fine-grained FP8 as DeepSeek-V3 and Qwen3 have it, FBGEMM's and
 * compressed-tensors'; gpt-oss' MXFP4. A method is a row of the table below: where its codes lie, what config.json says, how a
 * layer is put together.
 * Load: up to 100,000 layers; scales, up to a sixteenth of a file, are read once to see that they are numbers.
 * All of it is a stranger's: no array is used before its type and shape are held against the others'. */
#include "format/quantised.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MAX_GROUP = 1 << 20 };

typedef struct scheme scheme;
typedef struct layer layer;

typedef struct method {
    const char *name;   /* quant_method */
    const char *shown;  /* in messages */
    const char *codes;  /* the end of a name that says: here are a layer's codes */
    const char *whole;  /* what the layer's name ends with instead */
    bool floats;        /* only tensors of 8-bit floats are codes */
    wick_status (*read)(scheme *s, const json_t *q);
    wick_status (*group)(layer *l);
} method;

/* What the configuration says. */
struct scheme {
    const wk_tensor_list *list;
    const method *method;
    int bits;
    int64_t group;                /* -1: a whole row */
    bool v2, desc_act;            /* GPTQ */
    int64_t block_out, block_in;  /* FP8: outputs and inputs that share a scale; 0: it does not say */
};

/* One layer: its codes are where the whole tensor will stand, in a copy of the list. */
struct layer {
    const scheme *s;
    wk_tensor *q;
    const char *name; size_t name_len;  /* the module's, without what follows */
    bool *used;                         /* [n_tensor]: arrays that a layer has taken */
    wk_buf *text;                       /* for names */
    wk_parts *p;
};

/* ---- the configuration ---- */

static wick_status read_int(const scheme *s, const json_t *q, const char *field, int64_t *out) {
    const json_t *v = json_object_get(q, field);
    if (!json_is_integer(v))
        return wk_fail(WICK_E_FORMAT, "%s/config.json: quantization_config: \"%s\" has to be a whole number", s->list->path, field);
    *out = json_integer_value(v);
    return WICK_OK;
}

/* A string that has to be one of two: *second says which. A missing one is the first. */
static wick_status read_choice(const scheme *s, const json_t *q, const char *field, const char *a, const char *b, bool *second) {
    const char *v = json_string_value(json_object_get(q, field));
    *second = v && b && !strcmp(v, b);
    if (!v || !strcmp(v, a) || *second) return WICK_OK;
    return wk_fail(WICK_E_UNSUPPORTED, "%s/config.json: quantization_config: %s is \"%s\", wick reads %s%s%s", s->list->path, field,
                   wk_show((wk_str){ v, strlen(v) }).text, a, b ? " and " : "", b ? b : "");
}

static wick_status read_bits(scheme *s, const json_t *q, int a, int b) {
    int64_t bits = 0;
    wick_status st = read_int(s, q, "bits", &bits);
    if (!st) st = read_int(s, q, "group_size", &s->group);
    if (st) return st;
    if (bits != a && bits != b)
        return wk_fail(WICK_E_UNSUPPORTED, "%s/config.json: quantization_config: bits is %" PRId64 ", wick reads %s with %d%s",
                       s->list->path, bits, s->method->shown, a, a == b ? "" : " or 8");
    if (s->group != -1 && (s->group < 1 || s->group > MAX_GROUP))
        return wk_fail(WICK_E_FORMAT, "%s/config.json: quantization_config: group_size is %" PRId64 ", it has to be -1 or in 1..%d",
                       s->list->path, s->group, MAX_GROUP);
    s->bits = (int)bits;
    return WICK_OK;
}

static wick_status read_gptq(scheme *s, const json_t *q) {
    s->desc_act = json_is_true(json_object_get(q, "desc_act"));
    wick_status st = read_bits(s, q, 4, 8);
    return st ? st : read_choice(s, q, "checkpoint_format", "gptq", "gptq_v2", &s->v2);
}

static wick_status read_awq(scheme *s, const json_t *q) {
    bool upper;
    wick_status st = read_bits(s, q, 4, 4);
    return st ? st : read_choice(s, q, "version", "gemm", "GEMM", &upper);
}

static wick_status read_nothing(scheme *s, const json_t *q) {
    (void)s, (void)q;
    return WICK_OK;
}

/* [outputs, inputs] of a block; null or absent: no blocks. */
static wick_status read_block(scheme *s, const json_t *v, const char *field) {
    if (!v || json_is_null(v)) return WICK_OK;
    s->block_out = json_integer_value(json_array_get(v, 0));
    s->block_in = json_integer_value(json_array_get(v, 1));
    if (json_array_size(v) == 2 && s->block_out > 0 && s->block_out <= MAX_GROUP && s->block_in > 0 && s->block_in <= MAX_GROUP)
        return WICK_OK;
    return wk_fail(WICK_E_FORMAT, "%s/config.json: quantization_config: %s has to be two numbers in 1..%d", s->list->path, field,
                   MAX_GROUP);
}

static wick_status read_fp8(scheme *s, const json_t *q) {
    return read_block(s, json_object_get(q, "weight_block_size"), "weight_block_size");
}

/* compressed-tensors: groups of layers, each with its way; all have to be 8-bit floats, the blocks the same. */
static wick_status read_compressed(scheme *s, const json_t *q) {
    bool second;
    const char *name;
    json_t *group;
    wick_status st = read_choice(s, q, "format", "float-quantized", NULL, &second);
    json_object_foreach(json_object_get(q, "config_groups"), name, group) {
        const json_t *w = json_object_get(group, "weights");
        const char *type = json_string_value(json_object_get(w, "type"));
        int64_t bits = json_integer_value(json_object_get(w, "num_bits")), out = s->block_out, in = s->block_in;
        if (!st && (bits != 8 || !type || strcmp(type, "float")))
            st = wk_fail(WICK_E_UNSUPPORTED,
                         "%s/config.json: quantization_config: %s: weights of type \"%s\" with %" PRId64
                         " bits, wick reads floats of 8",
                         s->list->path, wk_show((wk_str){ name, strlen(name) }).text,
                         type ? wk_show((wk_str){ type, strlen(type) }).text : "", bits);
        if (!st) st = read_block(s, json_object_get(w, "block_structure"), "block_structure");
        if (!st && out && (out != s->block_out || in != s->block_in))
            st = wk_fail(WICK_E_UNSUPPORTED, "%s/config.json: quantization_config: %s: block_structure is not that of other groups",
                         s->list->path, wk_show((wk_str){ name, strlen(name) }).text);
    }
    return st;
}

/* ---- a layer's arrays ---- */

#define TYPE(t) ((uint64_t)1 << (t))
enum { ANY = -1 };

static wk_shown layer_name(const layer *l) { return wk_show((wk_str){ l->name, l->name_len }); }

/* "<module><what>", or NULL. */
static const wk_tensor *part_of(const layer *l, const char *what) {
    l->text->len = 0;
    wk_buf_add(l->text, l->name, l->name_len);
    wk_buf_str(l->text, what);
    size_t i = l->text->failed ? SIZE_MAX : wk_names_find(l->s->list->names, l->text->ptr, l->text->len);
    return i == SIZE_MAX ? NULL : &l->s->list->tensor[i];
}

/* "F16 or F32 [2, 16]"; types: those that may be. */
static void describe(wk_buf *b, uint64_t types, int n_dim, const int64_t *shape) {
    int left = 0;
    for (int t = 0; t < WK_DTYPE_COUNT; t++) left += (types & TYPE(t)) != 0;
    for (int t = 0; t < WK_DTYPE_COUNT; t++)
        if (types & TYPE(t)) left--, wk_buf_printf(b, "%s%s", wk_dtypes[t].name, left > 1 ? ", " : left ? " or " : " [");
    for (int i = 0; i < n_dim; i++)
        if (shape[i] == ANY) wk_buf_printf(b, "%sany", i ? ", " : "");
        else wk_buf_printf(b, "%s%" PRId64, i ? ", " : "", shape[i]);
    wk_buf_str(b, "]");
}

/* The array is there, of one of these types and this shape (ANY: any length but none). */
static wick_status fits(const layer *l, const wk_tensor *t, const char *what, uint64_t types, int n_dim, const int64_t *shape) {
    const method *m = l->s->method;
    what += *what == '.' || *what == '_';
    if (l->text->failed) return wk_fail_memory(l->name_len, "a quantised layer");
    if (!t)
        return wk_fail(WICK_E_FORMAT, "%s: %s layer \"%s\" has no %s", l->s->list->path, m->shown, layer_name(l).text, what);
    bool ok = types & TYPE(t->dtype) && t->n_dim == n_dim;
    for (int i = 0; ok && i < n_dim; i++)
        ok = shape[i] == ANY ? t->shape[i] >= 1 && t->shape[i] <= INT32_MAX : t->shape[i] == shape[i];
    if (ok) return WICK_OK;
    wk_buf found = { 0 }, want = { 0 };
    describe(&found, TYPE(t->dtype), t->n_dim, t->shape);
    describe(&want, types, n_dim, shape);
    wick_status st = found.failed || want.failed
                         ? wk_fail_memory(64, "a message")
                         : wk_fail(WICK_E_FORMAT, "%s: %s layer \"%s\": %s is %s, %s is needed", l->s->list->path, m->shown,
                                   layer_name(l).text, what, found.ptr, want.ptr);
    wk_buf_free(&found);
    wk_buf_free(&want);
    return st;
}

/* Marks an array as the layer's. */
static void take(const layer *l, const wk_tensor *t) {
    l->used[t - l->s->list->tensor] = true;
    l->q->n_bytes += t->n_bytes;
}

/* Scales are numbers, and not zero where one stands for many rows: nothing would be left of them. */
static wick_status take_scales(const layer *l, const wk_tensor *t, bool zero_ok) {
    enum { N = 256 };
    const wk_dtype_info *d = &wk_dtypes[l->p->scale_type];
    int64_t n = (int64_t)(t->n_bytes / (uint64_t)d->bytes);
    float x[N];
    for (int64_t at = 0; at < n; at += N) {
        int64_t k = n - at < N ? n - at : N;
        d->decode(t->data + at * d->bytes, x, k);
        for (int64_t i = 0; i < k; i++)
            if (!isfinite(x[i]) || (!zero_ok && x[i] == 0))
                return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": element %" PRId64 " is %g, a scale has to be finite%s",
                               l->s->list->path, wk_show(t->name).text, at + i, (double)x[i], zero_ok ? "" : " and not zero");
    }
    l->p->scales = t->data;
    take(l, t);
    return WICK_OK;
}

/* Groups in range; an order that is i / group is dropped, so that only real act-order layers are permuted. */
static wick_status take_g_idx(const layer *l, const wk_tensor *t) {
    const wk_parts *p = l->p;
    bool plain = true;
    wick_status st = fits(l, t, ".g_idx", TYPE(WK_I32), 1, (int64_t[]){ p->n_in });
    for (int64_t i = 0; !st && i < p->n_in; i++) {
        int32_t v = (int32_t)wk_get_u32(t->data + 4 * i);
        if (v < 0 || v >= p->n_group)
            return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": element %" PRId64 " is %" PRId32 ", it has to be in 0..%" PRId64,
                           l->s->list->path, wk_show(t->name).text, i, v, p->n_group - 1);
        plain = plain && v == i / p->group;
    }
    if (st) return st;
    l->p->g_idx = plain ? NULL : t->data;
    take(l, t);
    return WICK_OK;
}

/* Groups of a row from the configuration's group_size. */
static void set_groups(const layer *l, int64_t group) {
    wk_parts *p = l->p;
    p->group = group == -1 ? p->n_in : group;
    p->n_group = (p->n_in + p->group - 1) / p->group;
}

/* ---- methods ---- */

static const uint64_t SCALE_TYPES = TYPE(WK_F32) | TYPE(WK_F16) | TYPE(WK_BF16);

/* qzeros and scales of GPTQ and AWQ; the layer becomes `type`. */
static wick_status take_zeros_and_scales(layer *l, wk_dtype type) {
    wk_parts *p = l->p;
    const wk_tensor *z = part_of(l, ".qzeros"), *s = part_of(l, ".scales");
    wick_status st = fits(l, z, ".qzeros", TYPE(WK_I32), 2, (int64_t[]){ p->n_group, p->n_out / (32 / p->bits) });
    if (!st) st = fits(l, s, ".scales", SCALE_TYPES, 2, (int64_t[]){ p->n_group, p->n_out });
    if (st) return st;
    p->zeros = z->data;
    p->scale_type = s->dtype;
    p->rows = 1;
    p->scale_row = 1;
    p->scale_group = p->n_out;
    l->q->dtype = type;
    take(l, z);
    return take_scales(l, s, true);  /* a float16 may have come out as zero */
}

static wick_status check_outputs(const layer *l, int64_t n_out, int64_t per) {
    if (n_out % per == 0) return WICK_OK;
    return wk_fail(WICK_E_FORMAT,
                   "%s: tensor \"%s\" has shape [%" PRId64 ", %" PRId64 "]; its second dimension has to be a multiple of %" PRId64,
                   l->s->list->path, wk_show(l->q->name).text, l->q->shape[0], n_out, per);
}

static wick_status group_gptq(layer *l) {
    int64_t per = 32 / l->s->bits;
    wick_status st = fits(l, l->q, ".qweight", TYPE(WK_I32), 2, (int64_t[]){ ANY, ANY });
    if (!st) st = check_outputs(l, l->q->shape[1], per);
    if (!st && l->q->shape[0] > INT32_MAX / per)
        st = wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is too large", l->s->list->path, wk_show(l->q->name).text);
    if (st) return st;
    *l->p = (wk_parts){ .order = WK_CODES_GPTQ, .bits = l->s->bits, .n_out = l->q->shape[1], .n_in = l->q->shape[0] * per,
                        .codes = l->q->data, .zero_more = !l->s->v2 };
    set_groups(l, l->s->group);
    const wk_tensor *x = part_of(l, ".g_idx");
    if ((st = take_zeros_and_scales(l, WK_GPTQ))) return st;
    if (l->s->desc_act && !x) return fits(l, NULL, ".g_idx, which desc_act needs", 0, 0, NULL);
    return x ? take_g_idx(l, x) : WICK_OK;
}

static wick_status group_awq(layer *l) {
    wick_status st = fits(l, l->q, ".qweight", TYPE(WK_I32), 2, (int64_t[]){ ANY, ANY });
    if (!st && l->q->shape[1] > INT32_MAX / 8)
        st = wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is too large", l->s->list->path, wk_show(l->q->name).text);
    if (st) return st;
    *l->p = (wk_parts){ .order = WK_CODES_AWQ, .bits = 4, .n_out = l->q->shape[1] * 8, .n_in = l->q->shape[0],
                        .codes = l->q->data };
    set_groups(l, l->s->group);
    return take_zeros_and_scales(l, WK_AWQ);
}

/* One scale for all, one for each output, or one for each block: what the configuration says, else what the shape does.
 * Both names are of factors: weight = code * scale, "inv" or not. */
static wick_status group_fp8(layer *l) {
    const scheme *c = l->s;
    const char *what = ".weight_scale_inv";
    const wk_tensor *s = part_of(l, what);
    if (!s) s = part_of(l, what = ".weight_scale");
    if (!s && c->block_out) what = ".weight_scale_inv";
    wick_status st = fits(l, l->q, ".weight", TYPE(WK_F8_E4M3) | TYPE(WK_F8_E5M2), 2, (int64_t[]){ ANY, ANY });
    int64_t n_out = l->q->shape[0], n_in = l->q->shape[1], shape[2] = { n_out, 1 };
    int n_dim = 2;
    wk_parts p = { .order = WK_CODES_BYTES, .bits = 8, .n_out = n_out, .n_in = n_in, .codes = l->q->data, .group = n_in,
                   .rows = 1 };
    if (c->block_out) {
        p.rows = c->block_out;
        p.group = c->block_in;
        shape[0] = (n_out + p.rows - 1) / p.rows;
        shape[1] = (n_in + p.group - 1) / p.group;
    } else if (s && wk_tensor_rows(s) * wk_tensor_cols(s) == 1) {
        p.rows = n_out;
        n_dim = s->n_dim;
        shape[0] = 1;
    } else if (s && s->n_dim == 1) {
        n_dim = 1;
    }
    if (!st) st = fits(l, s, what, SCALE_TYPES | TYPE(WK_F8_E8M0), n_dim, (int64_t[]){ shape[0], shape[1], 1, 1 });
    if (st) return st;
    p.n_group = p.scale_row = (n_in + p.group - 1) / p.group;
    p.scale_group = 1;
    p.scale_type = s->dtype;
    *l->p = p;
    return take_scales(l, s, false);
}

static wick_status group_mxfp4(layer *l) {
    const int64_t *n = l->q->shape;
    wick_status st = fits(l, l->q, "_blocks", TYPE(WK_U8), 4, (int64_t[]){ ANY, ANY, ANY, 16 });
    if (st) return st;
    if (n[2] > INT32_MAX / 32)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is too large", l->s->list->path, wk_show(l->q->name).text);
    const wk_tensor *s = part_of(l, "_scales");
    if ((st = fits(l, s, "_scales", TYPE(WK_U8) | TYPE(WK_F8_E8M0), 3, n))) return st;
    *l->p = (wk_parts){ .order = WK_CODES_FP4, .bits = 4, .n_out = n[1], .n_in = n[2] * 32, .group = 32, .rows = 1, .n_group = n[2],
                        .codes = l->q->data, .scale_type = WK_F8_E8M0, .scale_row = n[2], .scale_group = 1 };
    l->q->dtype = WK_MXFP4;
    return take_scales(l, s, true);
}

static const method methods[] = {
    { "gptq", "GPTQ", ".qweight", ".weight", false, read_gptq, group_gptq },
    { "awq", "AWQ", ".qweight", ".weight", false, read_awq, group_awq },
    { "fp8", "FP8", ".weight", ".weight", true, read_fp8, group_fp8 },
    { "fbgemm_fp8", "FP8", ".weight", ".weight", true, read_nothing, group_fp8 },
    { "compressed-tensors", "FP8", ".weight", ".weight", true, read_compressed, group_fp8 },
    { "mxfp4", "MXFP4", "_blocks", "", false, read_nothing, group_mxfp4 },
};
enum { N_METHOD = sizeof methods / sizeof *methods };

/* ---- the list ---- */

static bool ends_with(wk_str s, const char *end) {
    size_t n = strlen(end);
    return s.len > n && !memcmp(s.ptr + s.len - n, end, n);
}

static bool is_codes(const method *m, const wk_tensor *t) {
    return ends_with(t->name, m->codes) && (!m->floats || t->dtype == WK_F8_E4M3 || t->dtype == WK_F8_E5M2);
}

/* Factors that would bring activations, or cached keys and values, into an 8-bit float's range. Here activations stay float32 and
 * the cache has its own type, so nothing is scaled: the result is nearer to the unquantised model's, not another one. */
static bool is_for_activations(const method *m, const wk_tensor *t) {
    static const char *const ends[] = { ".input_scale", ".input_scale_ub", ".output_scale", ".k_scale", ".v_scale" };
    for (size_t i = 0; m->floats && i < sizeof ends / sizeof *ends; i++) if (ends_with(t->name, ends[i])) return true;
    return false;
}

/* Makes *q, a layer's codes in a copy of the list, the whole layer. */
static wick_status group_layer(const scheme *s, wk_tensor *q, bool *used, wk_buf *text) {
    layer l = { .s = s, .q = q, .name = q->name.ptr, .name_len = q->name.len - strlen(s->method->codes), .used = used,
                .text = text };
    const wk_tensor *whole = strcmp(s->method->codes, s->method->whole) ? part_of(&l, s->method->whole) : NULL;
    if (whole)
        return wk_fail(WICK_E_FORMAT, "%s: has both \"%s\" and a quantised form of it", s->list->path, wk_show(whole->name).text);
    l.p = wk_arena_alloc(s->list->own, sizeof *l.p);
    wick_status st = l.p ? s->method->group(&l) : wk_fail_memory(sizeof *l.p, "a quantised layer");
    if (st) return st;
    part_of(&l, s->method->whole);
    char *name = text->failed ? NULL : wk_arena_str(s->list->own, text->ptr, text->len);
    if (!name) return wk_fail_memory(text->len, "a quantised layer");
    int64_t n_mat = q->n_dim == 4 ? q->shape[0] : 0;
    q->name = (wk_str){ name, text->len };
    q->n_dim = n_mat ? 3 : 2;
    if (n_mat) q->shape[0] = n_mat, q->shape[1] = l.p->n_out, q->shape[2] = l.p->n_in, q->shape[3] = 1;
    else q->shape[0] = l.p->n_out, q->shape[1] = l.p->n_in;
    q->parts = l.p;
    return WICK_OK;
}

/* Each layer is made where its codes stand, in a copy, so that names find the arrays meanwhile. */
static wick_status group_layers(wk_tensor_list *list, const scheme *s) {
    size_t n = 0, before = list->n_tensor;
    if (!before) return WICK_OK;
    bool *used = wk_alloc_array(before, sizeof *used);
    wk_tensor *grouped = wk_alloc_array(before, sizeof *grouped);
    wk_buf text = { 0 };
    wick_status st = !used || !grouped ? wk_fail_memory(before * sizeof *grouped, "a list of tensors") : WICK_OK;
    for (size_t i = 0; !st && i < before; i++) {
        grouped[i] = list->tensor[i];
        if (is_codes(s->method, &grouped[i])) st = group_layer(s, &grouped[i], used, &text);
        else if (is_for_activations(s->method, &grouped[i])) used[i] = true;
    }
    for (size_t i = 0; !st && i < before; i++) if (!used[i]) list->tensor[n++] = grouped[i];
    if (!st) list->n_tensor = n;
    wk_buf_free(&text);
    wk_free(grouped);
    wk_free(used);
    return st;
}

wick_status wk_quantised_group(wk_tensor_list *list, const json_t *q) {
    const char *name = json_string_value(json_object_get(q, "quant_method"));
    for (int i = 0; name && i < N_METHOD; i++) {
        if (strcmp(name, methods[i].name)) continue;
        scheme s = { .list = list, .method = &methods[i] };
        wick_status st = methods[i].read(&s, q);
        return st ? st : group_layers(list, &s);
    }
    return wk_fail(WICK_E_UNSUPPORTED,
                   "%s/config.json: quantization_config: quant_method is \"%s\", wick reads gptq, awq, fp8, fbgemm_fp8, "
                   "compressed-tensors and mxfp4; take the model unquantised, or as GGUF",
                   list->path, name ? wk_show((wk_str){ name, strlen(name) }).text : "");
}
