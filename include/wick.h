/* wick.h: the whole public interface of libwick.
 *
 * wick runs transformer language models from GGUF files and Hugging Face folders.
 *
 *   wick_model *m; wick_session *s;
 *   if (wick_model_open("model.gguf", NULL, &m) || wick_session_new(m, NULL, &s)) puts(wick_last_error());
 *   wick_generate(s, &(wick_prompt){ .text = "Gravity is" }, NULL, on_token, NULL, NULL);
 *
 * Rules that hold everywhere:
 * - A call that can fail returns wick_status. On failure it leaves a message for wick_last_error(),
 *   which belongs to the calling thread and lasts until that thread's next call that can fail.
 * - What a _new, _open or _load function gives you, the matching _free takes; NULL is fine there.
 *   Everything else is borrowed, and its comment says until when.
 * - Options are structs filled by their _defaults() function; NULL in place of options means the defaults.
 *   Their first field is their own size, so that a program built with another version's header is told so
 *   (WICK_E_ARG) where the struct has grown since.
 * - A model may be used from several threads. A session serves one call at a time. Threads that the library starts
 *   leave the process's signals to those of the program. */
#ifndef WICK_H
#define WICK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) && !defined(WICK_STATIC)
#define WICK_API __attribute__((visibility("default")))
#else
#define WICK_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this header; wick_version() gives the library's. */
#define WICK_VERSION_MAJOR 0
#define WICK_VERSION_MINOR 1
#define WICK_VERSION_PATCH 0
#define WICK_VERSION "0.1.0"

/* What a call came to. Zero is success; wick_last_error() has the words. */
typedef enum wick_status {
    WICK_OK = 0,
    WICK_E_ARG,         /* an argument is out of range or does not fit the model */
    WICK_E_IO,          /* a file could not be opened, read or written */
    WICK_E_FORMAT,      /* a file's content is malformed or contradicts itself */
    WICK_E_UNSUPPORTED, /* well-formed, but not something this build can do */
    WICK_E_MEMORY,      /* memory ran out */
    WICK_E_LENGTH,      /* a text is longer than the context, or a buffer is too small */
    WICK_E_FULL,        /* the KV cache or a queue is full */
    WICK_E_CANCELLED,   /* a callback or wick_session_cancel() stopped the run */
    WICK_E_TIMEOUT,     /* wick_stream_next() waited as long as it was allowed to */
    WICK_E_TEMPLATE,    /* the chat template is wrong, or raised an error itself */
    WICK_E_END,         /* a stream has delivered everything */
    WICK_E_NUMERIC      /* a training's loss or gradient is not a finite number */
} wick_status;

/* A model's weights, tokenizer and chat template. */
typedef struct wick_model wick_model;
/* One conversation's state: KV cache, plan and buffers. */
typedef struct wick_session wick_session;
/* A generation that runs on its own thread and is pulled from. */
typedef struct wick_stream wick_stream;
/* A LoRA adapter, loaded for one model. */
typedef struct wick_adapter wick_adapter;

/* The library's version, "major.minor.patch". Static. */
WICK_API const char *wick_version(void);
/* What this build has and lacks, one "name: value" a line (compiler, backends, instruction sets in use). Static. */
WICK_API const char *wick_build_info(void);
/* The calling thread's last error message, "" if its last call that can fail succeeded. Lasts until its next such call. */
WICK_API const char *wick_last_error(void);
/* A status code's name, as "WICK_E_FORMAT". Static. */
WICK_API const char *wick_status_name(wick_status status);

/* ---- models ---- */

/* Told how far a long step is: what ("loading"), done of total (bytes). Return false to stop (WICK_E_CANCELLED). */
typedef bool (*wick_progress_fn)(const char *what, uint64_t done, uint64_t total, void *user);

/* How to open a model. Fill with wick_model_defaults(). */
typedef struct wick_model_options {
    size_t size;               /* sizeof(wick_model_options) */
    int n_threads;             /* 0: as many as the machine has cores */
    const char *backend;       /* "cpu", "reference"; NULL: the fastest there is */
    bool vocab_only;           /* read the tokenizer and the template, no weights */
    const char *chat_template; /* Jinja text used in place of the model's own; NULL: the model's */
    wick_progress_fn progress; /* may be NULL */
    void *progress_user;
    bool any_base;             /* take adapters that were trained on another model, where their sizes fit */
} wick_model_options;

/* Fills *o with the defaults. */
WICK_API void wick_model_defaults(wick_model_options *o);

/* Opens a GGUF file (the first part of a split one too) or a Hugging Face folder; which it is, is
 * found from its content. The file may be removed once this returns.
 * Errors  WICK_E_ARG (an option), WICK_E_TEMPLATE (options' chat_template; the model's own, where it cannot be read, fails when a
 *         chat is rendered), WICK_E_IO, WICK_E_FORMAT, WICK_E_UNSUPPORTED, WICK_E_MEMORY, WICK_E_CANCELLED; *out is NULL then.
 * Threads safe. */
WICK_API wick_status wick_model_open(const char *path, const wick_model_options *o, wick_model **out);
/* Frees a model. Its sessions, streams and adapters must be gone. */
WICK_API void wick_model_free(wick_model *m);

/* What a model is. Strings live as long as the model. */
typedef struct wick_model_info {
    size_t size;               /* sizeof(wick_model_info), set by you */
    const char *architecture;  /* "llama", "qwen2", ... */
    const char *name;          /* the file's own name for it, or "" */
    const char *format;        /* "gguf" or "safetensors" */
    const char *types;         /* weight types and how many tensors of each: "Q4_1 210, F32 61, Q8_0 1" */
    const char *chat_template; /* Jinja text, or NULL */
    const char *task;          /* "generate" or "classify" */
    uint64_t n_params;         /* weights */
    uint64_t n_bytes_file;     /* tensor bytes on disk */
    uint64_t n_bytes_weights;  /* bytes of the packed weights in memory */
    int n_vocab, n_ctx_train, n_embd, n_layer, n_head, n_head_kv, head_dim, n_ff;
    int n_expert, n_expert_used; /* 0 for dense models */
    int n_label;                 /* classes of a classifier, else 0 */
    int sliding_window;          /* 0: none */
} wick_model_info;
/* Fills *info. Errors  WICK_E_ARG (info->size). */
WICK_API wick_status wick_model_describe(const wick_model *m, wick_model_info *info);
/* Bytes of KV cache for n_ctx tokens in the named type ("f32", "f16", "q8_0"; NULL: the model's default).
 * 0 for an unknown type and for a model opened with vocab_only. */
WICK_API uint64_t wick_model_kv_bytes(const wick_model *m, int n_ctx, const char *kv_type);
/* A class's name, or NULL. Lives as long as the model. */
WICK_API const char *wick_model_label(const wick_model *m, int label);

/* ---- text ---- */

/* Flags for wick_tokenize(). */
enum {
    WICK_TOK_SPECIAL = 1,  /* control tokens spelled out in the text become those tokens */
    WICK_TOK_ADD = 2       /* add BOS and EOS where the model's metadata says so */
};
/* Text to ids.
 * ids  [cap], yours; *n gets how many there are, also when that is more than cap.
 * Errors  WICK_E_LENGTH (cap too small), WICK_E_UNSUPPORTED (no tokenizer), WICK_E_FORMAT (not UTF-8). */
WICK_API wick_status wick_tokenize(const wick_model *m, const char *text, size_t n_text, unsigned flags,
                                   int32_t *ids, size_t cap, size_t *n);
/* Ids to text, control tokens left out unless with_special. *n gets the length without the final NUL.
 * Errors  WICK_E_LENGTH (cap too small for text and NUL), WICK_E_ARG (an id out of range). */
WICK_API wick_status wick_detokenize(const wick_model *m, const int32_t *ids, size_t n_ids, bool with_special,
                                     char *text, size_t cap, size_t *n);
/* One token's bytes as the vocabulary has them (not always whole UTF-8). Lives as long as the model. NULL: out of range. */
WICK_API const char *wick_token_piece(const wick_model *m, int32_t id, size_t *n);
/* Is it a control token (never shown, never formed by request text)? */
WICK_API bool wick_token_is_control(const wick_model *m, int32_t id);
/* Does it end a turn: eos, eot, eom, and all that generation_config.json names. */
WICK_API bool wick_token_is_end(const wick_model *m, int32_t id);

/* A rendered chat: its text and ids. Free with wick_chat_free(). */
typedef struct wick_chat {
    char *text;      /* NUL-terminated */
    size_t n_text;
    int32_t *ids;
    size_t n_ids;
} wick_chat;
/* Renders {"messages":[{"role","content"}...],"tools":...,"add_generation_prompt":true, ...} with the model's chat
 * template, and tokenizes it. What came from the request never becomes a control token.
 * Errors  WICK_E_TEMPLATE, WICK_E_FORMAT (json), WICK_E_UNSUPPORTED (no template). */
WICK_API wick_status wick_chat_render(const wick_model *m, const char *json, wick_chat *out);
/* Frees what wick_chat_render() filled, and clears it. */
WICK_API void wick_chat_free(wick_chat *c);

/* ---- sessions ---- */

/* How to run a session. Fill with wick_session_defaults(). */
typedef struct wick_session_options {
    size_t size;           /* sizeof(wick_session_options) */
    int n_ctx;             /* tokens of context; 0: what the model was trained for, at most 4096 */
    int n_batch;           /* tokens of one forward pass at most; 0: 512. Changes speed and memory, not a bit of a result */
    const char *type_kv;   /* "f32", "f16", "q8_0"; NULL: f32 for float32 models, else f16 */
    bool shift;            /* when the context is full, drop its older half but the first token, and compute the rest anew,
                            * instead of stopping; the result says how many tokens went */
} wick_session_options;
/* Fills *o with the defaults. */
WICK_API void wick_session_defaults(wick_session_options *o);
/* Makes a session of a model, which must outlive it.
 * Errors  WICK_E_ARG (an option out of range or unknown; a model opened with vocab_only), WICK_E_UNSUPPORTED (heads that are no
 *         whole blocks of type_kv), WICK_E_MEMORY. */
WICK_API wick_status wick_session_new(wick_model *m, const wick_session_options *o, wick_session **out);
/* Frees a session. */
WICK_API void wick_session_free(wick_session *s);
/* Forgets everything said; the memory stays. */
WICK_API void wick_session_reset(wick_session *s);
/* Stops the session's running call before its next forward pass; it then returns WICK_E_CANCELLED. Does nothing to later calls.
 * Safe from any thread and from a signal handler. */
WICK_API void wick_session_cancel(wick_session *s);
/* The session's context size in tokens. */
WICK_API int wick_session_n_ctx(const wick_session *s);
/* How many of them are in use. */
WICK_API int wick_session_n_used(const wick_session *s);

/* Logits of every position of ids (of a classifier: one row, of the last one). The session's earlier content is forgotten.
 * out  [n, n_vocab] or [1, n_label] float32, row-major, yours; cap counts floats.
 * Errors  WICK_E_LENGTH (n above the context, or cap too small: the message has the size), WICK_E_ARG (an id out of range),
 *         WICK_E_CANCELLED; out is then unspecified, the session stays usable. */
WICK_API wick_status wick_logits(wick_session *s, const int32_t *ids, size_t n, float *out, size_t cap);
/* Class logits of a text, with BOS and EOS as the tokenizer's metadata says; control tokens in it are plain text. out [n_label].
 * Errors  as wick_logits(), and WICK_E_UNSUPPORTED: not a classifier, or no tokenizer. */
WICK_API wick_status wick_classify(wick_session *s, const char *text, size_t n_text, float *out, size_t cap);

/* ---- generation ---- */

/* A token and its share of the bias: added to its logit before anything else. */
typedef struct wick_logit_bias { int32_t id; float bias; } wick_logit_bias;

/* How to generate. wick_generate_defaults() starts from what the model's files say (generation_config.json; GGUF's
 * general.sampling keys), else from temperature 0.8, top_k 40, top_p 0.95, min_p 0.05. Steps are taken in this order: logit_bias,
 * penalties, top_k, top_p, min_p, temperature, draw. Ties go to the lower id. */
typedef struct wick_generate_options {
    size_t size;              /* sizeof(wick_generate_options) */
    int n_predict;            /* new tokens at most; -1: until the context is full (with shift: without end); 0: the prompt alone */
    float temperature;        /* 0: greedy */
    int top_k;                /* 0 or less: off */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float repeat_penalty;     /* 1: off */
    float frequency_penalty;  /* 0: off */
    float presence_penalty;   /* 0: off */
    int penalty_last_n;       /* tokens that penalties look back on, the prompt's too; -1: the whole context */
    uint64_t seed;            /* the same seed gives the same tokens, whatever else runs; 0 is a seed like any other */
    const wick_logit_bias *logit_bias; size_t n_logit_bias;
    const char *const *stop; size_t n_stop;  /* generation ends before any of these texts; at most 256, of 1 to 4096 bytes */
    int n_top_logprobs;       /* 0..20: so many likeliest tokens with each token, and its logprob and prob */
    bool logprobs;            /* fill logprob and prob */
    bool ignore_end;          /* go on past end-of-turn tokens */
    /* Tokens guessed ahead and checked in one pass, at most 64; 0: none. What is generated stays the same to the bit; text that
     * repeats itself, or its prompt, comes several times as fast. draft: another session, of a smaller model with the same
     * vocabulary, that guesses, and belongs to the call or the stream while it runs; NULL: guesses are what followed in the
     * text so far. */
    int n_draft; wick_session *draft;
} wick_generate_options;
/* Fills *o with m's defaults; m may be NULL. */
WICK_API void wick_generate_defaults(const wick_model *m, wick_generate_options *o);

/* What to continue: exactly one of text, ids, or messages. It must come to at least one token. */
typedef struct wick_prompt {
    const char *text; size_t n_text;   /* n_text 0: NUL-terminated. Control tokens in it are parsed, BOS added as the model says */
    const int32_t *ids; size_t n_ids;  /* used as they are */
    const char *messages;              /* JSON as for wick_chat_render(), rendered with the chat template */
} wick_prompt;

/* Why a generation ended. */
typedef enum wick_finish {
    WICK_FINISH_NONE = 0,  /* it has not */
    WICK_FINISH_STOP,      /* an end-of-turn token or a stop text */
    WICK_FINISH_LENGTH,    /* n_predict or the context was reached */
    WICK_FINISH_CANCELLED
} wick_finish;
/* "stop", "length", "cancelled", or NULL for WICK_FINISH_NONE. Static. */
WICK_API const char *wick_finish_name(wick_finish f);

/* One alternative for a token. */
typedef struct wick_top_logprob { int32_t id; float logprob; } wick_top_logprob;

/* One generated token. text is whole UTF-8: bytes of a character that is not complete yet come with a later token.
 * Pointers live until the callback returns, or until the stream's next wick_stream_next(). */
typedef struct wick_token {
    int32_t id;
    const char *text; size_t n_text;  /* NUL-terminated; "" while a character or a possible stop text is held back, for a
                                       * control token, and in a model without a tokenizer */
    float logit;                      /* as the model gave it, before biases and penalties */
    float prob, logprob;              /* of the model's own distribution, when asked for; else 0 */
    int index;                        /* 0, 1, ... */
    bool is_eos;                      /* an end-of-turn token; where it ends the generation, text is what was held back */
    wick_finish finish_reason;        /* on the last token, else WICK_FINISH_NONE */
    const wick_top_logprob *top; size_t n_top;
} wick_token;
/* Called for each token, on the thread that generates. Return false to stop. */
typedef bool (*wick_token_fn)(const wick_token *t, void *user);

/* What a generation did. Times in seconds. */
typedef struct wick_result {
    wick_finish finish_reason;
    int n_prompt;          /* prompt tokens, BOS included */
    int n_cached;          /* of them found in the KV cache */
    int n_generated;       /* an end-of-turn token included */
    int n_shifted;         /* tokens dropped from the context by shifting */
    int n_drafted, n_accepted; /* tokens guessed ahead, and how many of them were right */
    /* stream_s is the part of generate_s spent on turning ids into text and delivering it: the callback's time counts,
     * waiting for a full ring does not. */
    double prompt_s, generate_s, stream_s;
} wick_result;

/* Continues a prompt. What the prompt shares with what the session already holds is not computed again.
 * on_token may be NULL; result may be NULL, and is filled in every case.
 * Errors  WICK_E_LENGTH (prompt longer than the context: the message has both numbers), WICK_E_CANCELLED, WICK_E_TEMPLATE,
 *         WICK_E_FORMAT (messages are not JSON), WICK_E_UNSUPPORTED (a classifier; text for a model without a tokenizer),
 *         WICK_E_ARG (an option out of range; the session is in another call), WICK_E_MEMORY; the session stays usable. */
WICK_API wick_status wick_generate(wick_session *s, const wick_prompt *p, const wick_generate_options *o,
                                   wick_token_fn on_token, void *user, wick_result *result);

/* The same on a thread of its own: tokens wait in a ring of n_ring until pulled, a full ring makes the
 * generation wait. The session belongs to the stream until wick_stream_free(). The prompt and options are copied.
 * Errors  WICK_E_ARG (n_ring outside 1..65536), WICK_E_IO (no descriptor left), and those of wick_generate() that the prompt
 *         and the options alone give. */
WICK_API wick_status wick_stream_new(wick_session *s, const wick_prompt *p, const wick_generate_options *o,
                                     size_t n_ring, wick_stream **out);
/* Waits for the next token, timeout_ms at most (-1: as long as it takes, 0: not at all). Tokens that are already in the ring
 * come first, then how it ended, again and again.
 * Errors  WICK_E_TIMEOUT, WICK_E_END (all delivered), or what ended the generation. One thread at a time. */
WICK_API wick_status wick_stream_next(wick_stream *st, int timeout_ms, wick_token *out);
/* A descriptor that polls readable while wick_stream_next() would not wait. Owned by the stream. */
WICK_API int wick_stream_fd(const wick_stream *st);
/* What it did, once WICK_E_END or an error was returned; all zero before. */
WICK_API void wick_stream_result(const wick_stream *st, wick_result *result);
/* Closes a stream; a generation that still runs is cancelled and waited for. */
WICK_API void wick_stream_free(wick_stream *st);

/* ---- adapters ---- */

/* Loads a LoRA adapter for a model, which must outlive it: a PEFT folder, an mlx folder, or a GGUF adapter (found from its
 * content); with DoRA, rsLoRA, saved heads and embeddings. A safetensors file in such a folder may be named too. All of it fits
 * the model, or nothing is kept. One that was trained on another model is refused where that can be told: from samples of the
 * weights, which adapters made here carry, else from names on the Hugging Face hub. Quantised copies and models tuned from one
 * base count as the same. wick_model_options.any_base takes it all the same.
 * Errors  WICK_E_FORMAT names every tensor that does not fit, with what was found and expected, or the other model;
 *         WICK_E_UNSUPPORTED (what wick cannot apply, by name), WICK_E_IO, WICK_E_MEMORY, WICK_E_ARG.
 * Threads safe, also while the model's sessions run. */
WICK_API wick_status wick_adapter_load(wick_model *m, const char *path, wick_adapter **out);
/* Gives an adapter back. Sessions and registries that have it hold it on; it is freed when the last lets go. Threads safe. */
WICK_API void wick_adapter_free(wick_adapter *a);

/* What an adapter is. Strings live as long as the adapter. */
typedef struct wick_adapter_info {
    size_t size;             /* sizeof(wick_adapter_info), set by you */
    const char *path;        /* that it was loaded from */
    const char *base_model;  /* what its files say it was trained on, or "" */
    uint64_t version;        /* of its content: equal numbers, equal effect; another number where any weight or scale differs */
    uint64_t n_params, n_bytes;  /* numbers in its files; bytes in memory */
    int n_modules;           /* adapted matrices (each part of a fused one counts) */
    int n_saved;             /* modules that it brings whole: heads, embeddings */
    int rank;                /* the largest */
    bool dora, rslora;
} wick_adapter_info;
/* Fills *info. Errors  WICK_E_ARG (size). Threads safe. */
WICK_API wick_status wick_adapter_get_info(const wick_adapter *a, wick_adapter_info *info);

/* Adds scale times the adapter to every row of the session from here on, in place of what it had; what the session held is
 * forgotten, since cached keys and values were made without it. A change of pointers: nothing is loaded or planned. The session
 * holds the adapter until it is removed or replaced.
 * Errors  WICK_E_ARG (another model's; the session is in a call or a stream).
 * Threads one call per session at a time; sessions of a model, with their own adapters or the same, run side by side. */
WICK_API wick_status wick_session_apply_adapter(wick_session *s, wick_adapter *a, float scale);
/* An adapter and how strong: one of a stack. */
typedef struct wick_adapter_use { wick_adapter *adapter; float scale; } wick_adapter_use;
/* The same with n adapters (at most 16) at once: each adds scale times the change that it alone would make to a layer's product.
 * n = 0 removes. Errors  as wick_session_apply_adapter(); WICK_E_ARG: two of them bring the same head or embedding. */
WICK_API wick_status wick_session_apply_adapters(wick_session *s, const wick_adapter_use *use, size_t n);
/* Takes the session's adapters off again; outputs are then what they were before, to the byte.
 * Errors  WICK_E_ARG (the session is in a call or a stream: it keeps them). */
WICK_API wick_status wick_session_remove_adapter(wick_session *s);
/* Is this adapter applied to the session (NULL: is any)? */
WICK_API bool wick_session_has_adapter(const wick_session *s, const wick_adapter *a);

/* Adapters of a model by name. All calls are safe from any thread. */
typedef struct wick_adapters wick_adapters;
/* Makes an empty registry; the model must outlive it. Errors  WICK_E_ARG, WICK_E_MEMORY. */
WICK_API wick_status wick_adapters_new(wick_model *m, wick_adapters **out);
/* Frees a registry. What sessions have of it they hold on. */
WICK_API void wick_adapters_free(wick_adapters *r);
/* Loads an adapter under a name (1 to 200 bytes). One that had the name goes when nobody has it applied any more; sessions go on
 * with it until then. Errors  as wick_adapter_load(); the registry is then as it was. */
WICK_API wick_status wick_adapters_load(wick_adapters *r, const char *name, const char *path);
/* Takes a name out, also while sessions have its adapter. Errors  WICK_E_ARG: no such name (the message has those there are). */
WICK_API wick_status wick_adapters_unload(wick_adapters *r, const char *name);
/* The adapter of that name; give it back with wick_adapter_free(). Errors  WICK_E_ARG: no such name. */
WICK_API wick_status wick_adapters_get(wick_adapters *r, const char *name, wick_adapter **out);
/* How many there are. */
WICK_API size_t wick_adapters_count(wick_adapters *r);
/* The i-th, in the order in which names came: its name to name [cap], and the adapter, to be given back with wick_adapter_free().
 * Errors  WICK_E_END (there are fewer), WICK_E_LENGTH (cap; 201 is always enough). */
WICK_API wick_status wick_adapters_at(wick_adapters *r, size_t i, char *name, size_t cap, wick_adapter **out);
/* wick_session_apply_adapter() with the adapter of that name. Errors  as that; WICK_E_ARG: no such name. */
WICK_API wick_status wick_session_activate_adapter(wick_session *s, wick_adapters *r, const char *name, float scale);

/* ---- training ---- */

/* How to train. wick_train_defaults() fills it, wick_train_options_read() adds what a YAML file says, wick_train_options_set()
 * one key; the fields bear the names of the keys, and mean what they mean in mlx-lm. Counts of steps (iters, steps_per_...) are
 * micro-batches; schedules count updates, one for each grad_accumulation_steps of them. Strings set directly are borrowed. */
typedef struct wick_train_options {
    size_t size;                    /* sizeof(wick_train_options) */
    const char *model;              /* for programs; the library is given the model itself */
    const char *data;               /* folder of train.jsonl, and valid.jsonl and test.jsonl where there are such */
    /* Folder that the adapter, its log and its checkpoints are written to; after full fine-tuning the model, as the folder "model"
     * or, if it came from a GGUF file, "model.gguf" in it. */
    const char *adapter_path;
    /* The model's name in adapter_config.json, for PEFT ("ORG/NAME" on the Hugging Face hub). NULL: the one that
     * resume_adapter_file has, or the GGUF file's source, or a cached folder's, or else the model's path. */
    const char *base_model_name_or_path;
    /* An adapter to begin from (file or folder): its weights, not its run. It keeps its own modules, rank and scale, whatever keys,
     * num_layers, rank and scale say here (warning in wick_train_info). NULL: a new one. */
    const char *resume_adapter_file;
    bool resume;                    /* go on with the run in adapter_path where its last checkpoint stands */
    bool overwrite;                 /* begin anew where adapter_path holds a run; else that is an error */
    const char *fine_tune_type;     /* "lora", "dora", "full" */
    int num_layers;                 /* the last so many layers; -1: all */
    /* Of lora_parameters: "self_attn.q_proj" or "q_proj", also "embed_tokens" and "lm_head"; none: every projection of the layers.
     * Of full fine-tuning "embed_tokens", "lm_head", "norm": those alone. */
    const char *const *keys; size_t n_keys;
    /* Trained whole beside an adapter and saved with it: "embed_tokens", "lm_head", "score" (a classifier's is without being
     * named, where no keys are given). */
    const char *const *modules_to_save; size_t n_modules_to_save;
    int rank;
    double scale;                   /* B A x is added times this */
    double lora_alpha;              /* scale is lora_alpha / rank, where this is above 0 */
    double dropout;
    const char *optimizer;          /* "adam", "adamw", "sgd", "lion" */
    double betas[2], eps, momentum;
    double weight_decay;            /* below 0: the optimizer's own, 0.01 for adamw, else 0 */
    double max_grad_norm;           /* 0: gradients are not clipped */
    double label_smoothing;
    double learning_rate;           /* -1: not said, which is 1e-5 */
    /* "constant", "linear_schedule", "cosine_decay", "exponential_decay" or "step_decay"; NULL: constant */
    const char *lr_schedule;
    double lr_arguments[4]; int n_lr_arguments;
    int warmup; double warmup_init; /* updates that the rate rises over, from warmup_init */
    uint64_t seed;
    int batch_size, iters, grad_accumulation_steps;
    int max_seq_length;             /* tokens of a sample */
    const char *long_samples;       /* longer ones: "cut" or "refuse" */
    bool mask_prompt;               /* loss on the assistant's words alone, of every turn; false: on all of a conversation */
    bool packing;                   /* as many samples in a micro-batch as batch_size * max_seq_length tokens hold */
    bool shuffle;
    bool grad_checkpoint;           /* keep each layer's input alone and compute the rest anew: less memory, a third more time */
    int steps_per_report, steps_per_eval, val_batches; /* val_batches -1: all of valid.jsonl */
    int save_every;                 /* 0: at the end alone */
    int early_stopping;             /* stop after so many evaluations in a row without a better loss; 0: never */
    bool test; int test_batches;    /* loss on test.jsonl at the end */
    const char *report_to;          /* "tensorboard" for event files, or NULL */
    const char *project_name;       /* what the run is called in reports and lists; NULL: adapter_path */
    const char *runs_db;            /* SQLite file that the run is entered in; NULL: none */
    int samples;                    /* answers of the model before and after, in the report */
    void *memory;                   /* what was read from files; wick_train_options_free() */
} wick_train_options;
/* Fills *o with the defaults. */
WICK_API void wick_train_defaults(wick_train_options *o);
/* Reads a YAML file into *o, over what is there; a key that the file does not have stays as it is.
 * Errors  WICK_E_FORMAT (the line; an unknown key with the nearest known one; a value out of range), WICK_E_IO, WICK_E_MEMORY. */
WICK_API wick_status wick_train_options_read(wick_train_options *o, const char *path);
/* Sets one key, spelled as in the file ("learning_rate", "lora_parameters.rank", or "rank"), from text ("1e-5", "a,b").
 * Errors  WICK_E_ARG (no such key, a value out of range), WICK_E_MEMORY. */
WICK_API wick_status wick_train_options_set(wick_train_options *o, const char *key, const char *value);
/* Frees what was read into *o. */
WICK_API void wick_train_options_free(wick_train_options *o);

/* What a training says at a point of its run. Numbers that are not there are NaN. */
typedef struct wick_train_point {
    int iteration;              /* micro-batches done */
    double train_loss;          /* mean of the micro-batches' mean losses since the last report, in nats */
    double learning_rate;       /* of the last update */
    double grad_norm;           /* of the last update, before clipping */
    double tokens_per_second;   /* rows trained on since the last report, over the time that took */
    uint64_t trained_tokens;    /* labels learnt since the run began */
    uint64_t peak_memory;       /* bytes of the process, at most so far */
    double val_loss;
} wick_train_point;

/* A training: a model, its data, and what has been learnt so far. */
typedef struct wick_train wick_train;

/* What is going to be trained on what. Strings live as long as the training. */
typedef struct wick_train_info {
    size_t size;                    /* sizeof(wick_train_info), set by you */
    uint64_t n_train, n_valid, n_test; /* samples */
    uint64_t n_token, n_label;      /* of train.jsonl: tokens, and of them learnt */
    uint64_t n_cut, n_masked;       /* samples cut to max_seq_length; left out because no label was left */
    int longest;                    /* tokens of the longest sample, before cutting */
    int max_rows;                   /* rows of a micro-batch at most */
    uint64_t n_param;               /* numbers that are trained */
    uint64_t n_bytes;               /* held beside the weights at most: parameters, gradients, moments, activations, a save's copy,
                                     * vocabulary and data; unless it is a dry run, as far as it has come */
    int iteration, iters;           /* micro-batches done (of a resumed run, else 0), and to do */
    const char *warning;            /* what went wrong and does not stop the run (the list of runs cannot be written), or NULL */
} wick_train_info;

/* What a step did beside learning. */
typedef struct wick_train_event {
    wick_train_point point;         /* the newest numbers; train_loss is NaN between reports */
    bool reported, evaluated, saved; /* point went into the log; it has a val_loss; adapter and checkpoint were written */
    bool finished, stopped_early;   /* this was the last step; because the loss got no better */
    bool best_saved;                /* with early_stopping: "best" in adapter_path has what had the least validation loss */
    const char *warning;            /* the point shows what is no error, once a run, and only training itself could: its loss has
                                     * gone far above that of guessing. NULL: nothing; valid as long as the training */
} wick_train_event;

/* Reads the data, makes what trains, and with o->resume goes on from adapter_path's checkpoint. dry: writes nothing, for
 * wick_train_describe() alone. The model must outlive it, and may serve beside it between calls. Options are copied.
 * Errors  WICK_E_ARG (an option; data that changed since the checkpoint), WICK_E_FORMAT (data, with the line), WICK_E_IO,
 *         WICK_E_UNSUPPORTED (an op without a gradient), WICK_E_MEMORY. */
WICK_API wick_status wick_train_new(wick_model *m, const wick_train_options *o, bool dry, wick_train **out);
/* Fills *info. Errors  WICK_E_ARG (info->size). */
WICK_API wick_status wick_train_describe(const wick_train *t, wick_train_info *info);
/* One micro-batch, and whatever is due after it: an update, a report, an evaluation, a save. The first call of a new run only
 * evaluates valid.jsonl, and lets the model answer what the report shows as its answers before.
 * Errors  WICK_E_END (nothing is left to do), WICK_E_NUMERIC (the loss or the gradients are not finite: the step is named, the last
 *         checkpoint from which an update led on is there, and its adapter), WICK_E_IO (full disk), WICK_E_MEMORY,
 *         WICK_E_CANCELLED. */
WICK_API wick_status wick_train_step(wick_train *t, wick_train_event *event);
/* Ends the evaluation that runs, which can take minutes, or else the next one; from any thread or a signal handler. Its step
 * returns WICK_E_CANCELLED, and the one after begins with it anew, also after wick_train_save() and a resume. */
WICK_API void wick_train_cancel(wick_train *t);
/* Loss on valid.jsonl, or with test on test.jsonl. Errors  WICK_E_ARG (there is no such file), WICK_E_MEMORY, WICK_E_CANCELLED. */
WICK_API wick_status wick_train_eval(wick_train *t, bool test, double *loss);
/* Writes adapter, checkpoint and report as they are now. Errors  WICK_E_IO: what was written before is whole; WICK_E_MEMORY. */
WICK_API wick_status wick_train_save(wick_train *t);
/* Frees a training; what was not saved is gone. */
WICK_API void wick_train_free(wick_train *t);

/* A line of training data as the model sees it. Free with wick_train_sample_free(). */
typedef struct wick_train_sample {
    int32_t *ids, *labels;  /* [n]; labels not shifted, -100: no loss on this token; NULL for a classifier's line */
    size_t n;
    int label;              /* a classifier's class, else -1 */
} wick_train_sample;
/* Reads one JSON object: messages (and tools), prompt and completion, text, text and label, or input_ids and labels. It is not cut.
 * The model may be opened with vocab_only.
 * Errors  WICK_E_FORMAT, WICK_E_TEMPLATE, WICK_E_UNSUPPORTED (no tokenizer or template where one is needed), WICK_E_MEMORY. */
WICK_API wick_status wick_train_sample_read(const wick_model *m, const char *json, bool mask_prompt, wick_train_sample *out);
/* Frees what wick_train_sample_read() filled, and clears it. */
WICK_API void wick_train_sample_free(wick_train_sample *s);

/* ---- converting ---- */

/* An adapter's path, and how strong it is. */
typedef struct wick_adapter_file { const char *path; float scale; } wick_adapter_file;

/* How to convert. Fill with wick_convert_defaults(). */
typedef struct wick_convert_options {
    size_t size;               /* sizeof(wick_convert_options) */
    const char *type;          /* of the weights: "f32", "f16", "bf16", and for a GGUF file "q8_0", "q4_0"; NULL: what they
                                * are, quantised ones F16 */
    uint64_t max_shard_bytes;  /* a folder's weights are cut into files of at most so many bytes of tensors; 0: 5 GB */
    const char *pre;           /* a GGUF file's tokenizer.ggml.pre, where tokenizer.json has no known pattern; NULL: found */
    bool force;                /* overwrite what is there */
    const wick_adapter_file *adapter; size_t n_adapter;  /* merged into the weights; a folder may then become a folder. In a GGUF
                                * file from a GGUF file, quantised matrices that change become F16 unless type is given */
    wick_progress_fn progress; /* may be NULL; called with "converting", and bytes written */
    void *progress_user;
    bool any_base;             /* merge adapters that were trained on another model, where their sizes fit */
} wick_convert_options;
/* Fills *o with the defaults. */
WICK_API void wick_convert_defaults(wick_convert_options *o);

/* What a conversion did. The strings are static, notes are the struct's own. */
typedef struct wick_convert_result {
    const char *from, *to;     /* "GGUF" or "folder" */
    const char *type;          /* of the matrices written: "BF16"; "" where none were, or each kept its own */
    uint64_t n_tensors, n_bytes; /* written */
    bool dequantised;          /* quantised weights became floats (and perhaps another quantised type) */
    bool vocab_only;           /* there were no weights */
    char notes[1024];          /* what the other format cannot say, a line each; "" if nothing */
} wick_convert_result;
/* Converts a Hugging Face folder to a GGUF file (out ends in ".gguf") or a GGUF file to a folder, tokenizer and chat template
 * included; from one GGUF file to another it changes the weights' type. Weights that keep their type keep every bit. Nothing
 * of the name out is there until all of it is. result may be NULL.
 * Errors  WICK_E_ARG (out exists, or is path; an option), WICK_E_IO (also: not enough room), WICK_E_UNSUPPORTED (what the
 *         other format or wick cannot say: the message names it), WICK_E_FORMAT, WICK_E_MEMORY, WICK_E_CANCELLED; nothing is
 *         left behind then.
 * Threads safe. */
WICK_API wick_status wick_convert(const char *path, const char *out, const wick_convert_options *o, wick_convert_result *result);
/* Writes an adapter (as wick_adapter_load() reads it) in another format: "peft" or "mlx", folders, or "gguf"; NULL: by out, which
 * ends in ".gguf" or is a PEFT folder. model is a model's path, for names and sizes; its weights are not read. What the format
 * cannot hold (saved heads in mlx and GGUF, DoRA in GGUF) is refused; other scales and ranks are folded in where it has but one.
 * Errors  WICK_E_ARG (out exists and force is not set; format), and those of wick_adapter_load().
 * Threads safe. */
WICK_API wick_status wick_adapter_convert(const char *model, const char *adapter, const char *out, const char *format, bool force);

#ifdef __cplusplus
}
#endif
#endif
