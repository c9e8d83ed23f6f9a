/* tokenizer.h: text to ids and back. A tokenizer is stages: added tokens, normaliser, pre-tokeniser, model, decoder. Read-only once
 * made: any number of threads. */
#ifndef WK_TOKENIZER_H
#define WK_TOKENIZER_H
#include "format/gguf.h"
#include "base/json.h"

typedef struct wk_tokenizer wk_tokenizer;

/* From GGUF metadata (tokenizer.ggml.*), whose strings are borrowed: g must outlive the tokenizer. A file without a tokenizer
 * (no tokenizer.ggml.model, or "no_vocab", "none") gives WICK_OK and *out = NULL.
 * Or from tokenizer.json with tokenizer_config.json (may be NULL) beside it; path is for messages, nothing is borrowed.
 * Errors  WICK_E_FORMAT, WICK_E_UNSUPPORTED (a model or step that wick does not know: named), WICK_E_MEMORY. */
wick_status wk_tokenizer_from_gguf(const wk_gguf *g, wk_tokenizer **out);
wick_status wk_tokenizer_from_json(json_t *tokenizer, json_t *config, const char *path, wk_tokenizer **out);
void wk_tokenizer_free(wk_tokenizer *t);

/* ---- GGUF's names for ways of cutting text into words (tokenizer.ggml.pre) ---- */
enum { WK_MAX_PRE_PATTERN = 6 };
#define WK_GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* The expressions behind a name, at most WK_MAX_PRE_PATTERN, fewer end with NULL; each cuts what the one before it left. *whole: a
 * word that is an entry is taken without merging. NULL: a name that wick does not know. */
const char *const *wk_pre_tokenizer_patterns(wk_str name, bool *whole);
/* The first name that stands for these; NULL: none. */
const char *wk_pre_tokenizer_name(const char *const *pattern, size_t n, bool whole, char out[64]);

/* A piece of text and whether it may hold control tokens. What a request says comes with trusted = false: it
 * never forms (part of) a control token, while user-defined added tokens are recognised everywhere. */
typedef struct wk_span { const char *ptr; size_t len; bool trusted; } wk_span;

/* A growing list of ids. */
typedef struct wk_ids { int32_t *ptr; size_t len, cap; } wk_ids;
void wk_ids_free(wk_ids *v);

/* Appends the ids of the spans, read as one text (merges cross their borders). add: BOS and EOS as the metadata says.
 * On failure *out keeps what it held before.
 * Errors  WICK_E_FORMAT (not UTF-8: the byte's offset), WICK_E_LENGTH (above 2^30 bytes), WICK_E_MEMORY,
 *         WICK_E_UNSUPPORTED (a pattern that needs too many steps on this text). */
wick_status wk_tokenize(const wk_tokenizer *t, const wk_span *spans, size_t n, bool add, wk_ids *out);

typedef enum wk_token_kind {
    WK_TOKEN_NORMAL, WK_TOKEN_UNKNOWN, WK_TOKEN_CONTROL, WK_TOKEN_USER, WK_TOKEN_UNUSED, WK_TOKEN_BYTE
} wk_token_kind;
int32_t wk_tokenizer_n_vocab(const wk_tokenizer *t);
/* An id outside the vocabulary is WK_TOKEN_UNUSED, its entry and bytes empty. */
wk_token_kind wk_tokenizer_kind(const wk_tokenizer *t, int32_t id);
/* The vocabulary's own spelling ("Ġthe", "▁the", "<0x0A>"). */
wk_str wk_tokenizer_entry(const wk_tokenizer *t, int32_t id);
/* The bytes that the token stands for in running text (" the", "\n"); a control token's are its spelling. */
wk_str wk_tokenizer_bytes(const wk_tokenizer *t, int32_t id);
/* Id of an exact vocabulary entry, or -1. */
int32_t wk_tokenizer_find(const wk_tokenizer *t, const char *entry, size_t n);

/* -1 where there is none. */
int32_t wk_tokenizer_bos(const wk_tokenizer *t);
int32_t wk_tokenizer_eos(const wk_tokenizer *t);
/* Every id that ends a turn: GGUF's eos, eot and eom (where a file does not name the last two, control tokens with one of the
 * usual spellings: "<|eot_id|>", "<|im_end|>", "<|eom_id|>", ...); the folder's eos. generation_config.json's are added by
 * wk_tokenizer_add_end(), before other threads use the tokenizer. */
bool wk_tokenizer_is_end(const wk_tokenizer *t, int32_t id);
wick_status wk_tokenizer_add_end(wk_tokenizer *t, int32_t id);

/* Ids to text as they come: feed one id, take whole UTF-8; bytes of a character that is not whole yet are held back
 * (a byte that can never become one gives U+FFFD). Applies the decoder's steps (a first space that SentencePiece put there is
 * dropped; set started = true after init to go on with a text that began earlier, where that space is real). Control and unknown
 * tokens give nothing, or with with_special their spelling. */
typedef struct wk_decoder {
    const wk_tokenizer *t;
    char held[8];
    int n_held;
    int32_t before;  /* the last id that was shown, or -1 */
    bool open;       /* ... and its end waits: a space if a token follows, nothing if none does */
    bool started, with_special;
} wk_decoder;
void wk_decoder_init(wk_decoder *d, const wk_tokenizer *t, bool with_special);
void wk_decode(wk_decoder *d, int32_t id, wk_buf *out);
void wk_decode_end(wk_decoder *d, wk_buf *out);  /* what is held back, as U+FFFD */

#endif
