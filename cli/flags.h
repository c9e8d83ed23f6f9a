/* flags.h: the program's verbs and flags as two tables, and what reads a command line by them.
 * Parsing, --help, the man page, completion, WICK_... variables and chat's /set all come from these rows. */
#ifndef CLI_FLAGS_H
#define CLI_FLAGS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum verb_id {
    VERB_RUN, VERB_CHAT, VERB_INSPECT, VERB_TOKENIZE, VERB_LOGITS, VERB_EVAL, VERB_BENCH, VERB_CONVERT,
    VERB_ADAPTERS, VERB_MERGE, VERB_TRAIN, VERB_RUNS, N_VERB
} verb_id;

typedef struct verb {
    const char *name, *alias;  /* alias: NULL if none */
    const char *args;          /* "MODEL [PROMPT...]" */
    const char *what;          /* one line */
    const char *about;         /* a paragraph for help and the man page */
    const char *example[3];    /* NULL where there are fewer */
    bool no_model;             /* its words are its own; none of them is the model */
} verb;
extern const verb verbs[N_VERB];

/* A string flag that may come several times. */
typedef struct str_list { const char **ptr; size_t n; } str_list;

/* Keys of a training that are flags: so many with a text, so many yes or no. */
enum { N_TRAIN_TEXT = 34, N_TRAIN_YES = 8 };

/* What a command line says. A number that was not given is 0: ask flag_given(). Strings are borrowed from argv and environ. */
typedef struct opts {
    verb_id verb;
    const char *model;         /* -m, else the first word */
    const char **word; size_t n_word;  /* the other words */
    bool help, quiet;
    const char *color;
    /* prompt */
    const char *prompt, *file, *system, *chat_template, *chat_template_file, *render, *show_mask;
    bool raw, no_special, add_special;
    /* sampling */
    int64_t n_predict, top_k, repeat_last_n, logprobs;
    double temp, top_p, min_p, repeat_penalty, frequency_penalty, presence_penalty;
    uint64_t seed;
    str_list stop, logit_bias;
    bool ignore_eos;
    /* model and speed */
    int64_t ctx_size, batch_size, ubatch_size, threads, draft;
    const char *type_k, *type_v, *backend, *lora, *lora_scaled, *model_draft;
    bool context_shift;
    /* one verb's own */
    bool keys, tensors, no_warmup, force, any_base;
    const char *type, *max_shard_size, *pre, *format;
    const char *ids, *out, *n_prompt, *n_gen;
    int64_t repetitions, chunks;
    const char *output;
    /* train, runs */
    const char *config, *runs_db, *train_text[N_TRAIN_TEXT];
    bool resume, dry_run, train_yes[N_TRAIN_YES];
    uint8_t given[192];        /* per row of the table: 0 no, 1 by the environment, 2 on the command line */
    char error[640];           /* one line, when parsing failed */
} opts;

/* TYPE: a choice of number types, which are written Q8_0 as well as q8_0; whoever reads them takes both. */
typedef enum flag_kind { FLAG_BOOL, FLAG_INT, FLAG_U64, FLAG_REAL, FLAG_STR, FLAG_CHOICE, FLAG_TYPE, FLAG_LIST } flag_kind;
typedef enum flag_group { GROUP_PROMPT, GROUP_SAMPLING, GROUP_TRAIN, GROUP_MODEL, GROUP_OUTPUT, N_GROUP } flag_group;
extern const char *const group_names[N_GROUP];

typedef struct flag {
    const char *name[4];       /* as typed; the long one first: "--n-predict", "-n" */
    flag_kind kind;
    double min, max;           /* of numbers */
    size_t at;                 /* offsetof(opts, field) */
    unsigned verbs;            /* 1 << VERB_RUN | ... */
    flag_group group;
    const char *value;         /* what help calls its value, or the choices: "text|json" */
    const char *help;
    const char *example;       /* a whole command with a model.gguf; the tests run each */
} flag;
extern const flag flags[];
extern const size_t n_flags;

/* Reads argv[1..] into *o (which it clears): the verb, its flags, and WICK_... for flags that are not on the line.
 * False: wrong usage, o->error says what was meant. */
bool flags_parse(opts *o, int argc, char *const *argv);
void flags_free(opts *o);
/* Was the flag of this field given, by line or environment? */
bool flag_given_at(const opts *o, size_t at);
#define flag_given(o, field) flag_given_at(o, offsetof(opts, field))
/* The verb's flag with this spelling, or NULL. */
const flag *flag_find(verb_id v, const char *name);
/* Sets one flag from text, as /set does. False: o->error. */
bool flag_set(opts *o, const flag *f, const char *spelled, const char *text);
/* The verb of this name or alias, or -1. */
int verb_find(const char *name);
/* The variable behind a flag, "WICK_N_PREDICT", into out. */
void flag_variable(const flag *f, char out[64]);

#endif
