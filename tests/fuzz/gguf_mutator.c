/* gguf_mutator.c: a mutator that knows how a GGUF file is built, for the targets whose input is one. It takes the file apart into
 * keys and tensors, changes one thing of one of them (name, type, value, length, dimension, offset, count), and puts it together
 * again, mostly with offsets and data that fit, so that more of what it makes gets past the reader to what stands behind it.
 * What it cannot take apart, and one input in eight, is changed as bytes.
 * Layout: GGUF specification, "File Structure". libFuzzer calls it; replay.c does so too, so that every build runs it. */
#include "base/reader.h"
#include "format/gguf.h"
#include <stdlib.h>

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));  /* libFuzzer's; NULL without it */

enum { MAX_KEY = 96, MAX_TENSOR = 96 };
/* value: its bytes, for an array all elements' */
typedef struct field { wk_str name; uint32_t type, element; uint64_t n; wk_str value; } field;
typedef struct entry { wk_str name; uint32_t n_dim, type; uint64_t dim[4], offset; } entry;
typedef struct file {
    uint32_t version;
    uint64_t n_key, n_tensor;   /* as the header says */
    field key[MAX_KEY]; size_t keys;
    entry tensor[MAX_TENSOR]; size_t tensors;
    wk_str data;
    bool fit;                   /* offsets and data are made to fit the tensors */
    uint64_t rng;
    wk_arena made;              /* new names and values */
} file;

static uint64_t next(file *f) {  /* splitmix64 */
    uint64_t z = f->rng += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}
static uint64_t below(file *f, uint64_t n) { return n ? next(f) % n : 0; }

/* ---- apart ---- */

static bool take(wk_reader *r, uint64_t n, wk_str *out) {
    if (n > wk_left(r)) return false;
    *out = (wk_str){ (const char *)r->base + r->pos, n };
    r->pos += n;
    return true;
}

static bool take_str(wk_reader *r, wk_str *out) {
    uint64_t n;
    return wk_read_u64(r, &n) && take(r, n, out);
}

/* Bytes of a scalar, 0 for strings and arrays. */
static uint64_t width(uint32_t type) {
    static const uint8_t w[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return type < sizeof w ? w[type] : 1;
}

static bool take_values(wk_reader *r, uint32_t type, uint64_t n, wk_str *out) {
    uint64_t at = r->pos;
    wk_str s;
    if (type != WK_GGUF_STR) return width(type) && n <= wk_left(r) && take(r, n * width(type), out);
    for (uint64_t i = 0; i < n; i++) if (!take_str(r, &s)) return false;
    *out = (wk_str){ (const char *)r->base + at, r->pos - at };
    return true;
}

static bool take_key(wk_reader *r, field *k) {
    k->n = 1;
    if (!take_str(r, &k->name) || !wk_read_u32(r, &k->type)) return false;
    if (k->type != WK_GGUF_ARR) return take_values(r, k->type, 1, &k->value);
    return wk_read_u32(r, &k->element) && wk_read_u64(r, &k->n) && take_values(r, k->element, k->n, &k->value);
}

static bool take_tensor(wk_reader *r, entry *t) {
    if (!take_str(r, &t->name) || !wk_read_u32(r, &t->n_dim) || t->n_dim > 4) return false;
    for (uint32_t i = 0; i < t->n_dim; i++) if (!wk_read_u64(r, &t->dim[i])) return false;
    return wk_read_u32(r, &t->type) && wk_read_u64(r, &t->offset);
}

static bool apart(file *f, const uint8_t *data, size_t size) {
    wk_reader r = { data, 4, size, "" };
    if (!wk_gguf_magic(data, size) || !wk_read_u32(&r, &f->version)) return false;
    if (!wk_read_u64(&r, &f->n_tensor) || !wk_read_u64(&r, &f->n_key)) return false;
    if (f->n_key > MAX_KEY - 2 || f->n_tensor > MAX_TENSOR - 2) return false;
    for (; f->keys < f->n_key; f->keys++) if (!take_key(&r, &f->key[f->keys])) return false;
    for (; f->tensors < f->n_tensor; f->tensors++) if (!take_tensor(&r, &f->tensor[f->tensors])) return false;
    r.pos = (r.pos + 31) / 32 * 32;
    if (r.pos > size) r.pos = size;
    return take(&r, wk_left(&r), &f->data);
}

/* ---- together ---- */

static void put_u32(wk_buf *b, uint32_t v) { wk_buf_add(b, &v, 4); }
static void put_u64(wk_buf *b, uint64_t v) { wk_buf_add(b, &v, 8); }
static void put_str(wk_buf *b, wk_str s) { put_u64(b, s.len); wk_buf_add(b, s.ptr, s.len); }

/* Bytes of a tensor, small ones only; what has no size takes nothing. */
static uint64_t bytes_of(const entry *t) {
    wk_dtype type = wk_dtype_of_gguf(t->type);
    size_t n = 0;
    if (type == WK_DTYPE_COUNT || (t->n_dim && t->dim[0] > 1 << 16)) return 0;
    if (!wk_row_bytes(type, t->n_dim ? (int64_t)t->dim[0] : 1, &n)) return 0;
    for (uint32_t i = 1; i < t->n_dim && i < 4; i++) if (!wk_mul_size(n, t->dim[i], &n) || n > 1 << 16) return 0;
    return n;
}

static size_t together(file *f, uint8_t *out, size_t max_size) {
    wk_buf b = { 0 };
    uint64_t end = 0;
    wk_buf_str(&b, "GGUF");
    put_u32(&b, f->version);
    put_u64(&b, f->n_tensor);
    put_u64(&b, f->n_key);
    for (const field *k = f->key; k < f->key + f->keys; k++) {
        put_str(&b, k->name);
        put_u32(&b, k->type);
        if (k->type == WK_GGUF_ARR) { put_u32(&b, k->element); put_u64(&b, k->n); }
        wk_buf_add(&b, k->value.ptr, k->value.len);
    }
    for (entry *t = f->tensor; t < f->tensor + f->tensors; t++) {
        if (f->fit) t->offset = end;
        end += (bytes_of(t) + 31) / 32 * 32;
        put_str(&b, t->name);
        put_u32(&b, t->n_dim);
        for (uint32_t i = 0; i < t->n_dim && i < 4; i++) put_u64(&b, t->dim[i]);
        put_u32(&b, t->type);
        put_u64(&b, t->offset);
    }
    while (b.len % 32 && !b.failed) wk_buf_char(&b, 0);
    wk_buf_add(&b, f->data.ptr, f->data.len);
    for (uint64_t n = f->data.len; f->fit && n < end && b.len < max_size && !b.failed; n++) wk_buf_char(&b, (char)(n % 13));
    size_t n = b.len < max_size ? b.len : max_size;
    if (n) memcpy(out, b.ptr, n);
    wk_buf_free(&b);
    return n;
}

/* ---- changes ---- */

static uint64_t odd_number(file *f) {
    static const uint64_t odd[] = {
        0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 64, 127, 128, 255, 256, 257, 512, 4096, 65535, 65536, 1 << 20, 0x7FFFFFFF, 0x80000000,
        0xFFFFFFFF, 1ull << 32, 1ull << 40, INT64_MAX, 1ull << 63, UINT64_MAX,
        0x7FC00000, 0x7F800000, 0x3F800000, 0x7FF8000000000000,  /* as floats: NaN, infinity, 1; as double: NaN */
    };
    return odd[below(f, sizeof odd / sizeof *odd)];
}

/* What readers look for, whatever the family's prefix. */
static const char *const known[] = {
    "block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count", "attention.head_count_kv",
    "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon", "attention.sliding_window", "vocab_size",
    "attention.sliding_window_pattern", "rope.dimension_count", "rope.freq_base", "rope.freq_base_swa", "rope.scaling.type",
    "rope.scaling.factor", "rope.scaling.attn_factor", "rope.scaling.original_context_length", "attn_logit_softcapping",
    "final_logit_softcapping", "expert_count", "expert_used_count", "expert_feed_forward_length", "general.alignment",
    "tokenizer.chat_template", "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.scores",
    "tokenizer.ggml.token_type", "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.precompiled_charsmap", "tokenizer.ggml.remove_extra_whitespaces", "general.sampling.temp",
    "general.sampling.top_k",
    "split.count", "split.no", "split.tensors.count", "general.name", "general.architecture", "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.add_eos_token",
};
static const char *const words[] = {
    "llama", "qwen2", "qwen3", "qwen3moe", "gemma3", "gemma2", "phi3", "gpt-oss", "olmo2", "mistral", "gpt2", "bert", "t5",
    "default",
    "llama-bpe", "smollm", "yarn", "linear", "llama3", "longrope", "{{ messages }}", "a b", "\xE2\x96\x81", "<0x41>",
};

static wk_str copy(file *f, const char *s, size_t n) {
    char *p = wk_arena_str(&f->made, s, n);
    if (!p) abort();
    return (wk_str){ p, n };
}
static wk_str word(file *f) {
    const char *w = words[below(f, sizeof words / sizeof *words)];
    return (wk_str){ w, strlen(w) };
}

/* A copy with one byte changed, or one more or less. */
static wk_str bent(file *f, wk_str s) {
    if (!s.len) return copy(f, "x", 1);
    uint64_t at = below(f, s.len);
    wk_str r = copy(f, s.ptr, s.len);
    if (below(f, 3)) ((char *)(uintptr_t)r.ptr)[at] = (char)next(f);
    else r.len = at;
    return r;
}

static wk_str scalar(file *f, uint32_t type) {
    uint64_t v = below(f, 4) ? odd_number(f) : next(f);
    wk_buf b = { 0 };
    if (type == WK_GGUF_STR) put_str(&b, word(f));
    else if (type == WK_GGUF_BOOL) wk_buf_char(&b, (char)(v & 1));
    else wk_buf_add(&b, &v, width(type) ? width(type) : 8);
    wk_str s = copy(f, b.ptr, b.len);
    wk_buf_free(&b);
    return s;
}

/* "llama.block_count" from "block_count": keys without a group belong to the architecture. */
static wk_str key_name(file *f) {
    const char *name = known[below(f, sizeof known / sizeof *known)];
    wk_str arch = { "llama", 5 };
    wk_buf b = { 0 };
    for (size_t i = 0; i < f->keys; i++)
        if (wk_str_eq(f->key[i].name, "general.architecture") && f->key[i].value.len > 8)
            arch = (wk_str){ f->key[i].value.ptr + 8, f->key[i].value.len - 8 };
    bool own = strncmp(name, "general.", 8) && strncmp(name, "tokenizer.", 10) && strncmp(name, "split.", 6);
    if (own) { wk_buf_add(&b, arch.ptr, arch.len); wk_buf_char(&b, '.'); }
    wk_buf_str(&b, name);
    wk_str s = copy(f, b.ptr ? b.ptr : "", b.len);
    wk_buf_free(&b);
    return s;
}

/* Where string i of an array begins, and how many bytes it takes with its length. */
static uint64_t string_at(wk_str s, uint64_t i, uint64_t *at) {
    uint64_t n;
    for (*at = 0;; *at += 8 + n) {
        memcpy(&n, s.ptr + *at, 8);
        if (!i--) return 8 + n;
    }
}

/* Another value of the same kind: a number, a string, or one element of an array changed, doubled or dropped. */
static void change_value(file *f, field *k) {
    uint32_t type = k->type == WK_GGUF_ARR ? k->element : k->type;
    if (k->type != WK_GGUF_ARR || !k->n) {
        if (k->type != WK_GGUF_ARR) k->value = scalar(f, type);
        return;
    }
    wk_reader r = { (const uint8_t *)k->value.ptr, 0, k->value.len, "" };
    wk_str all;
    if (!take_values(&r, type, k->n, &all) || wk_left(&r)) return;  /* an earlier change made it so */
    uint64_t i = below(f, k->n), at = i * width(type), len = width(type);
    if (type == WK_GGUF_STR) len = string_at(k->value, i, &at);
    wk_buf b = { 0 };
    uint64_t how = below(f, 4);
    wk_str old = { k->value.ptr + at, len }, fresh = type == WK_GGUF_STR && below(f, 2) ? old : scalar(f, type);
    wk_buf_add(&b, k->value.ptr, at);
    if (how == 0) wk_buf_add(&b, old.ptr, len), wk_buf_add(&b, old.ptr, len);
    else if (how > 1 && type == WK_GGUF_STR && fresh.ptr == old.ptr) put_str(&b, bent(f, (wk_str){ old.ptr + 8, len - 8 }));
    else if (how > 1) wk_buf_add(&b, fresh.ptr, fresh.len);
    k->n += how == 0 ? 1 : how == 1 ? (uint64_t)-1 : 0;
    wk_buf_add(&b, k->value.ptr + at + len, k->value.len - at - len);
    k->value = copy(f, b.ptr ? b.ptr : "", b.len);
    wk_buf_free(&b);
}

static void change_key(file *f) {
    uint64_t at = below(f, f->keys);
    field *k = &f->key[at];
    switch (below(f, 10)) {
    case 0: k->type = (uint32_t)below(f, 14); break;
    case 1: k->element = (uint32_t)below(f, 14); break;
    case 2: k->n = odd_number(f); break;
    case 3: k->name = below(f, 2) ? key_name(f) : bent(f, k->name); break;
    case 4: k->value = bent(f, k->value); break;
    case 5:
        if (k->type != WK_GGUF_ARR) k->value = scalar(f, k->type = (uint32_t)below(f, 13));
        break;
    case 6: f->key[f->keys++] = *k; f->n_key++; break;
    case 7: *k = f->key[--f->keys]; f->n_key--; break;
    default: change_value(f, k);
    }
}

static void add_key(file *f) {
    static const uint32_t kind[] = { WK_GGUF_U32, WK_GGUF_F32, WK_GGUF_STR, WK_GGUF_BOOL, WK_GGUF_U64, WK_GGUF_I32 };
    uint32_t type = kind[below(f, sizeof kind / sizeof *kind)];
    f->key[f->keys++] = (field){ .name = key_name(f), .type = type, .n = 1, .value = scalar(f, type) };
    f->n_key++;
}

/* Another family: its name, and the prefix of its keys. */
static void change_family(file *f) {
    wk_str to = word(f);
    for (field *k = f->key; k < f->key + f->keys; k++) {
        const char *dot = k->name.len ? memchr(k->name.ptr, '.', k->name.len) : NULL;
        size_t at = dot ? (size_t)(dot - k->name.ptr) : 0;
        wk_buf b = { 0 };
        if (wk_str_eq(k->name, "general.architecture")) {
            put_str(&b, to);
            k->type = WK_GGUF_STR;
            k->value = copy(f, b.ptr, b.len);
        } else if (dot && memcmp(k->name.ptr, "general", at < 7 ? at : 7) && memcmp(k->name.ptr, "tokenizer", at < 9 ? at : 9)) {
            wk_buf_add(&b, to.ptr, to.len);
            wk_buf_add(&b, dot, k->name.len - at);
            k->name = copy(f, b.ptr, b.len);
        }
        wk_buf_free(&b);
    }
}

static void change_tensor(file *f) {
    entry *t = &f->tensor[below(f, f->tensors)];
    switch (below(f, 9)) {
    case 0: t->type = (uint32_t)below(f, 42); break;
    case 1: t->dim[below(f, 4)] = odd_number(f); break;
    case 2: t->n_dim = (uint32_t)below(f, 6); break;
    case 3: t->offset = below(f, 2) ? odd_number(f) : below(f, 1 << 12) * 32; f->fit = false; break;
    case 4: t->name = bent(f, t->name); break;
    case 5: f->tensor[f->tensors++] = *t; f->n_tensor++; break;
    case 6: *t = f->tensor[--f->tensors]; f->n_tensor--; break;
    case 7: t->name = f->tensor[below(f, f->tensors)].name; break;
    default: {
        uint64_t d = t->dim[0];
        t->dim[0] = t->dim[1];
        t->dim[1] = d;
    }
    }
}

static void change_file(file *f) {
    switch (below(f, 4)) {
    case 0: f->version = (uint32_t)odd_number(f); break;
    case 1: f->n_key = odd_number(f); break;
    case 2: f->n_tensor = odd_number(f); break;
    default: f->data = bent(f, f->data);
    }
}

static size_t as_bytes(file *f, uint8_t *data, size_t size, size_t max_size) {
    if (LLVMFuzzerMutate) return LLVMFuzzerMutate(data, size, max_size);
    if (size) data[below(f, size)] = (uint8_t)next(f);
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    file f = { .rng = seed, .fit = true };
    f.fit = below(&f, 4);
    if (!below(&f, 8) || !apart(&f, data, size)) return as_bytes(&f, data, size, max_size);
    for (uint64_t n = 1 + below(&f, 2); n; n--) {
        uint64_t what = below(&f, 16);
        if (what < 7 && f.keys && f.keys < MAX_KEY) change_key(&f);
        else if (what < 9 && f.keys < MAX_KEY) add_key(&f);
        else if (what < 10) change_family(&f);
        else if (what < 15 && f.tensors && f.tensors < MAX_TENSOR) change_tensor(&f);
        else change_file(&f);
    }
    uint8_t *out = wk_alloc(max_size);  /* what f points at lies in data */
    if (!out) abort();
    size = together(&f, out, max_size);
    memcpy(data, out, size);
    wk_free(out);
    wk_arena_free(&f.made);
    return size;
}
