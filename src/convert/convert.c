/* convert.c: wick_convert(): which way, whether it may be done, and the conversion. Load: what the other files of this folder
 * bear. */
#include "convert/conversion.h"
#include "base/file.h"
#include "generate/generate.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void wick_convert_defaults(wick_convert_options *o) {
    if (o) *o = (wick_convert_options){ .size = sizeof *o };
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* ---- may it be done? ---- */

static wick_status read_type(wk_conversion *c) {
    static const wk_dtype types[] = { WK_F32, WK_F16, WK_BF16, WK_Q8_0, WK_Q4_0 };
    if (!c->o->type) return WICK_OK;
    wk_dtype t = wk_dtype_of_name(c->o->type);
    c->typed = true;
    c->type = t;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i] == t) {
            if (c->to_gguf || !wk_dtypes[t].quantised) return WICK_OK;
            return wk_fail(WICK_E_ARG, "%s: a folder's weights are f32, f16 or bf16, not %s: choose one of them, or an output "
                                       "that ends "
                                       "in .gguf", c->to, c->o->type);
        }
    return wk_fail(WICK_E_ARG, "there is no type \"%s\" to convert to: f32, f16, bf16, q8_0 and q4_0 are known", c->o->type);
}

static wick_status check_out(const wk_conversion *c) {
    bool folder = wk_is_folder(c->to), there = false;
    wick_status st = wk_file_look(c->to, &there);  /* a link to nothing, before anything is written */
    if (st) return st;
    if (wk_same_file(c->from, c->to))
        return wk_fail(WICK_E_ARG, "%s and %s are the same: write to another name", c->from, c->to);
    if (c->to_gguf && folder) return wk_fail(WICK_E_ARG, "%s: is a folder, a GGUF file is to be written: choose another name",
                                             c->to);
    if (!c->to_gguf && there && !folder)
        return wk_fail(WICK_E_ARG, "%s: is a file, a folder is to be written: choose another name, or one that ends in .gguf",
                       c->to);
    if (there && !c->o->force && !(folder && wk_folder_empty(c->to)))
        return wk_fail(WICK_E_ARG, "%s: exists already: choose another name, or ask for it to be overwritten (--force)", c->to);
    return c->to_gguf ? WICK_OK : wk_check_folder_name(c->to);
}

wick_status wk_check_space(const wk_conversion *c, uint64_t need) {
    uint64_t have = wk_free_space(c->to);
    if (need <= have) return WICK_OK;
    return wk_fail(WICK_E_IO, "%s: %.1f MB are needed, %.1f MB are free there: make room, or write elsewhere", c->to,
                   (double)need / 1e6, (double)have / 1e6);
}

/* A vocabulary alone: a folder with only a tokenizer, a GGUF without tensors. */
static wick_status look_at_source(wk_conversion *c, wk_checkpoint **out) {
    static const char *const weights[] = { ".safetensors", ".safetensors.index.json", ".bin", ".pt", ".pth" };
    bool folder = wk_is_folder(c->from), any = false;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) any = any || (folder && wk_folder_has(c->from, weights[i]));
    wick_status st = wk_checkpoint_open(c->from, folder && !any, out);
    if (st) return st;
    bool gguf = wk_checkpoint_gguf(*out);
    c->vocab_only = gguf ? !wk_checkpoint_n_tensor(*out) : !any;
    if (!c->to_gguf && !gguf && !c->o->n_adapter)
        return wk_fail(WICK_E_ARG, "%s is a folder already: for a GGUF file, write to a name that ends in .gguf", c->from);
    return WICK_OK;
}

/* ---- doing it ---- */

/* The type of a file's matrices where nobody chose one: theirs; of quantised ones F16. */
static wk_dtype default_type(const wk_model *m) {
    wk_dtype t = m->main_type;
    return t == WK_F32 || t == WK_BF16 ? t : WK_F16;
}

/* Reads the model and makes the plan; *copy: the GGUF file whose keys are taken over, or NULL. */
static wick_status plan(wk_conversion *c, const wk_gguf **copy) {
    wk_backend *collector = NULL;
    wick_status st = c->vocab_only ? WICK_OK : wk_collector_new(&collector);
    if (!st) st = wk_model_load(c->from, collector, c->vocab_only, NULL, NULL, NULL, &c->m);
    if (st) return st;
    c->m->any_base = c->o->any_base;
    if (c->vocab_only && !c->m->tokenizer)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: has neither weights nor a tokenizer: there is nothing to convert", c->from);
    if (!c->typed) c->type = default_type(c->m);
    if (c->o->n_adapter && c->vocab_only)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: has no weights to merge an adapter into", c->from);
    if (c->o->n_adapter) st = wk_merge_new(c);
    if (!st && !c->vocab_only) st = wk_plan_model(c);
    *copy = (c->merge || c->n_trained) && c->to_gguf ? wk_checkpoint_gguf(c->m->ckpt) : NULL;
    return st || !*copy ? st : wk_plan_rest(c);
}

static wick_status convert_model(wk_conversion *c) {
    const wk_gguf *copy = NULL;
    wick_status st = plan(c, &copy);
    if (st) return st;
    return c->to_gguf ? wk_write_gguf(c, copy) : wk_write_folder(c);
}

static wick_status convert_gguf(wk_conversion *c, const wk_checkpoint *source) {
    wick_status st = wk_plan_gguf(c, source);
    return st ? st : wk_write_gguf(c, wk_checkpoint_gguf(source));
}

static void fill_result(const wk_conversion *c, bool from_gguf, wick_convert_result *r) {
    *r = (wick_convert_result){
        .from = from_gguf ? "GGUF" : "folder", .to = c->to_gguf ? "GGUF" : "folder",
        .type = c->vocab_only || (from_gguf && c->to_gguf && !c->typed) ? "" : wk_dtypes[c->type].name,
        .n_tensors = c->n, .n_bytes = c->total, .dequantised = c->quantised && !c->vocab_only, .vocab_only = c->vocab_only,
    };
    snprintf(r->notes, sizeof r->notes, "%.*s", (int)c->notes.len, c->notes.ptr ? c->notes.ptr : "");
}

static void conversion_free(wk_conversion *c) {
    wk_merge_free(c->merge);
    wk_model_free(c->m);
    wk_free(c->t);
    wk_free(c->origin);
    wk_buf_free(&c->notes);
    wk_arena_free(&c->own);
}

wick_status wick_convert(const char *path, const char *out, const wick_convert_options *o, wick_convert_result *result) {
    wick_convert_options defaults;
    wk_checkpoint *source = NULL;
    wk_clear_error();
    if (result) *result = (wick_convert_result){ .from = "", .to = "", .type = "" };
    if (!path || !*path || !out || !*out) return wk_fail(WICK_E_ARG, "wick_convert: a path is missing");
    if (!o) {
        wick_convert_defaults(&defaults);
        o = &defaults;
    }
    wick_status st = wk_check_size(o->size, sizeof *o, "wick_convert_options", "fill it with wick_convert_defaults()");
    if (st) return st;
    wk_conversion c = { .from = path, .to = out, .o = o, .to_gguf = ends_with(out, ".gguf"), .type = WK_F16 };
    st = read_type(&c);
    if (!st) st = look_at_source(&c, &source);
    if (!st) st = check_out(&c);
    bool from_gguf = source && wk_checkpoint_gguf(source);
    if (!st) st = from_gguf && c.to_gguf && !o->n_adapter ? convert_gguf(&c, source) : convert_model(&c);
    if (!st && result) fill_result(&c, from_gguf, result);
    conversion_free(&c);
    wk_checkpoint_free(source);
    return st;
}

wick_status wk_write_trained(const char *from, const char *to, const wk_trained_weight *w, size_t n, bool try) {
    wick_convert_options o;
    const wk_gguf *copy = NULL;
    wick_convert_defaults(&o);
    o.force = true;
    wk_conversion c = { .from = from, .to = to, .o = &o, .to_gguf = ends_with(to, ".gguf"), .type = WK_F16, .trained = w,
                        .n_trained = n };
    wick_status st = check_out(&c);
    if (!st && !try) st = convert_model(&c);
    else if (!st) st = plan(&c, &copy);
    if (!st && try && !c.to_gguf) st = wk_check_folder_copy(&c);
    conversion_free(&c);
    return st;
}
