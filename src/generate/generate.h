/* generate.h: what stands behind the public handles, shared by the files of this folder.
 * Reading order: api.c (models), text.c, sampler.c, emit.c, session.c, adapters.c, generate.c, stream.c. */
#ifndef WK_GENERATE_H
#define WK_GENERATE_H
#include "adapter/adapter.h"
#include "generate/emit.h"
#include "generate/guess.h"
#include "generate/sampler.h"
#include "model/model.h"
#include <stdatomic.h>

struct wick_model {
    wk_model *m;
    bool vocab_only;
    wick_generate_options defaults;  /* wick's own, and what the files say */
    int32_t *end; size_t n_end;      /* the files' end-of-turn ids, for a model without a tokenizer that would know them */
};

/* WICK_E_UNSUPPORTED where the model has no tokenizer. */
wick_status wk_need_tokenizer(const wick_model *m);
/* Fills m->defaults and m->end from generation_config.json, config.json, or the GGUF's keys.
 * Errors  WICK_E_FORMAT, WICK_E_MEMORY. */
wick_status wk_defaults_read(wick_model *m);
bool wk_is_end(const wick_model *m, int32_t id);
/* A struct that begins with its size, as a program of another version may have it: WICK_E_ARG unless the size is ours. */
wick_status wk_check_size(size_t size, size_t ours, const char *type, const char *fill);
/* Ids of a prompt, whichever of its three forms it has. Errors  as wick_generate(). */
wick_status wk_prompt_ids(const wick_model *m, const wick_prompt *p, wk_ids *out);

/* A chat rendered by the model's template: vars has "messages" and whatever else the template reads; what it lacks of
 * add_generation_prompt (true), bos_token and eos_token is set in it. Free *out with wk_rendered_free().
 * Errors  as wick_chat_render(). */
wick_status wk_chat_text(const wick_model *m, json_t *vars, wk_rendered *out);
/* Ids of the first n_text bytes of a rendered chat. Errors  as wk_tokenize(). */
wick_status wk_chat_ids(const wick_model *m, const wk_rendered *r, size_t n_text, wk_ids *out);

/* A session is one sequence of a runner, and remembers which tokens that holds. */
struct wick_session {
    wick_model *model;
    wk_runner *runner;
    int n_ctx, n_batch;
    bool shift;
    int32_t *ids; int n_ids;         /* [n_ctx] what the KV cache holds */
    wk_row *rows;                    /* [n_batch] */
    atomic_bool cancel;              /* set by wick_session_cancel() at any time, cleared as a call begins */
    atomic_flag busy;                /* a call or a stream has the session */
    wick_adapter *adapter[WK_MAX_STACK]; size_t n_adapter;  /* held */
    wk_lora_set set[WK_MAX_STACK]; const wk_lora_set *sets[1];  /* chained; where the chain begins */
    wk_sampler sampler;
    wk_emit emit;
};

/* Takes the session for a call and clears its cancel flag. Errors  WICK_E_ARG: another call has it. */
wick_status wk_session_enter(wick_session *s);
void wk_session_leave(wick_session *s);
/* WICK_E_CANCELLED, with its message, once that was asked for. */
wick_status wk_session_check_cancel(wick_session *s);
/* Forgets all but the first n tokens. */
void wk_session_keep(wick_session *s, int n);
/* Appends n <= n_batch ids in one pass; the runner has logits for each. Errors  as wk_runner_step(), WICK_E_CANCELLED. */
wick_status wk_session_feed_all(wick_session *s, const int32_t *ids, int n);
/* Appends ids, n_batch at a time; the last one's logits are the runner's. Errors  as wk_runner_step(), WICK_E_CANCELLED; the
 * session then holds what was appended before. */
wick_status wk_session_feed(wick_session *s, const int32_t *ids, int n);

/* One generation, with all that it needs copied: what wick_generate() and a stream run. */
typedef struct wk_job {
    wick_session *s;
    wick_generate_options o;
    wk_ids prompt;
    wk_stops stops;
    wk_guess guess;
    wick_logit_bias *bias;
    bool continues;                  /* the new text goes on where the prompt's ended: a first space is real */
} wk_job;
/* Checks and copies. Errors  as wick_generate(). */
wick_status wk_job_new(wk_job *j, wick_session *s, const wick_prompt *p, const wick_generate_options *o);
void wk_job_free(wk_job *j);
/* Told of each token; the seconds that it says it waited for somebody else are not counted as streaming. */
typedef bool (*wk_token_sink)(const wick_token *t, void *user, double *waited_s);
/* The session must be entered. */
wick_status wk_job_run(wk_job *j, wk_token_sink sink, void *user, wick_result *r);

#endif
