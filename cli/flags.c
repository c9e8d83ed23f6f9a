/* flags.c: reads a command line by the tables in flag_table.c.
 * `--flag VALUE`, `--flag=VALUE`, `--` ends flags, a lone `-` is a word. What the line does not say, WICK_... in the
 * environment may. Load: a few dozen words, once. */
#include "flags.h"
#include "base/mem.h"
#include "base/nearest.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Flags of other programs whose users try them here, and what to do instead. */
static const struct { const char *name, *why; } foreign[] = {
    { "-ngl", "this build computes on the CPU only, so there are no layers to place; leave it out" },
    { "--n-gpu-layers", "this build computes on the CPU only, so there are no layers to place; leave it out" },
    { "-np", "one request at a time is served here; leave it out" },
    { "--parallel", "one request at a time is served here; leave it out" },
    { "-hf", "wick opens local files: download the model and give its path" },
    { "--hf-repo", "wick opens local files: download the model and give its path" },
    { "-cnv", "the chat template is applied already; to talk, use wick chat" },
    { "-no-cnv", "to continue a text as it is, use --raw" },
    { "--no-conversation", "to continue a text as it is, use --raw" },
    { "-fa", "attention is always computed in one pass here; leave it out" },
    { "--flash-attn", "attention is always computed in one pass here; leave it out" },
    { "--train", "wick train does nothing else; leave it out" },
    { "--lr", "that is --learning-rate here" },
    { "--epochs", "training counts micro-batches, --iters; --dry-run says how many epochs they are" },
    { "--num-epochs", "training counts micro-batches, --iters; --dry-run says how many epochs they are" },
    { "--lora-rank", "that is --rank here" },
    { "--lora-r", "that is --rank here" },
    { "--lora-layers", "that is --num-layers here" },
    { "--output-dir", "that is --adapter-path here" },
};

static bool wrong(opts *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(opts *o, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(o->error, sizeof o->error, fmt, ap);
    va_end(ap);
    return false;
}

int verb_find(const char *name) {
    for (int v = 0; v < N_VERB; v++)
        if (!strcmp(name, verbs[v].name) || (verbs[v].alias && !strcmp(name, verbs[v].alias))) return v;
    return -1;
}

static bool spelled_so(const flag *f, const char *name) {
    for (size_t i = 0; i < sizeof f->name / sizeof *f->name && f->name[i]; i++)
        if (!strcmp(name, f->name[i])) return true;
    return false;
}

const flag *flag_find(verb_id v, const char *name) {
    for (size_t i = 0; i < n_flags; i++)
        if (flags[i].verbs & 1u << v && spelled_so(&flags[i], name)) return &flags[i];
    return NULL;
}

bool flag_given_at(const opts *o, size_t at) {
    for (size_t i = 0; i < n_flags; i++)
        if (flags[i].at == at && flags[i].verbs & 1u << o->verb) return o->given[i];
    return false;
}

void flag_variable(const flag *f, char out[64]) {
    size_t n = (size_t)snprintf(out, 64, "WICK_%s", f->name[0] + 2);
    for (size_t i = 0; i < n && out[i]; i++) out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

/* ---- values ---- */

/* Is text one of "a|b|c", in these letters or in any case of them? */
static bool among(const char *choices, const char *text, bool any_case) {
    size_t n = strlen(text);
    for (const char *p = choices; *p; p += strcspn(p, "|"), p += *p == '|')
        if (n && n == strcspn(p, "|") && !(any_case ? strncasecmp : strncmp)(p, text, n)) return true;
    return false;
}

static bool set_bool(opts *o, bool *to, const char *spelled, const char *text) {
    if (among("1|true|yes|on", text, false)) *to = true;
    else if (among("0|false|no|off", text, false) || !*text) *to = false;
    else return wrong(o, "%s is yes or no, not \"%s\"", spelled, text);
    return true;
}

static bool set_number(opts *o, const flag *f, const char *spelled, const char *text) {
    char *end = NULL;
    void *to = (char *)o + f->at;
    const char *kind = f->kind == FLAG_REAL ? "number" : "whole number";
    bool fits = true;
    errno = 0;
    if (isspace((unsigned char)*text)) text = "";  /* strto... would skip it */
    if (f->kind == FLAG_U64) {
        uint64_t v = strtoull(text, &end, 10);
        if (*text == '-') fits = !strcmp(text, "-1");
        if (end != text && !*end && !errno && fits) { *(uint64_t *)to = v; return true; }
        return wrong(o, "%s takes a whole number from 0 to 2^64 - 1, or -1, not \"%s\"", spelled, text);
    }
    double v;
    int64_t whole = 0;
    if (f->kind == FLAG_INT) v = (double)(whole = strtoll(text, &end, 10));
    else v = strtod(text, &end);
    if (end == text || *end || errno == ERANGE || !isfinite(v) || v < f->min || v > f->max)
        return wrong(o, "%s takes a %s from %.10g to %.10g, not \"%s\"", spelled, kind, f->min, f->max, text);
    if (f->kind == FLAG_INT) *(int64_t *)to = whole;
    else *(double *)to = v;
    return true;
}

static bool add_text(opts *o, str_list *l, const char *text) {
    const char **p = wk_realloc_array(l->ptr, l->n + 1, sizeof *p);
    if (!p) return wrong(o, "out of memory");
    l->ptr = p;
    l->ptr[l->n++] = text;
    return true;
}

bool flag_set(opts *o, const flag *f, const char *spelled, const char *text) {
    void *to = (char *)o + f->at;
    bool fine = true;
    switch (f->kind) {
    case FLAG_BOOL: fine = set_bool(o, to, spelled, text); break;
    case FLAG_INT: case FLAG_U64: case FLAG_REAL: fine = set_number(o, f, spelled, text); break;
    case FLAG_CHOICE: case FLAG_TYPE:
        if (!among(f->value, text, f->kind == FLAG_TYPE)) return wrong(o, "%s is one of %s, not \"%s\"", spelled, f->value, text);
        *(const char **)to = text;
        break;
    case FLAG_STR: *(const char **)to = text; break;
    case FLAG_LIST: fine = add_text(o, to, text); break;
    }
    if (fine) o->given[f - flags] = f->kind == FLAG_U64 && *text == '-' ? 0 : 2;
    return fine;
}

/* ---- the line ---- */

static bool unknown_flag(opts *o, const char *name) {
    const char *names[256];
    size_t n = 0;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (!strcmp(name, foreign[i].name)) return wrong(o, "%s: %s", name, foreign[i].why);
    const char *verb_name = verbs[o->verb].name;
    if (!strncmp(name, "--no-", 5)) {
        char yes[64];
        snprintf(yes, sizeof yes, "--%s", name + 5);
        const flag *f = flag_find(o->verb, yes);
        if (f && f->kind == FLAG_BOOL) return wrong(o, "%s has no flag %s; %s=no says that", verb_name, name, yes);
    }
    for (size_t i = 0; i < n_flags; i++)
        for (size_t k = 0; k < 4 && flags[i].name[k]; k++)
            if (flags[i].verbs & 1u << o->verb && n < 256) names[n++] = flags[i].name[k];
    const char *near = wk_nearest(name, names, n);
    if (near) return wrong(o, "%s has no flag %s; did you mean %s?", verb_name, name, near);
    for (int v = 0; v < N_VERB; v++)
        if (flag_find((verb_id)v, name))
            return wrong(o, "%s has no flag %s, but %s has; \"wick %s --help\" lists what there is", verb_name, name, verbs[v].name,
                         verb_name);
    return wrong(o, "%s has no flag %s; \"wick %s --help\" lists what there is", verb_name, name, verb_name);
}

/* The flag at argv[*i], and its value, which may be the next word. */
static bool take_flag(opts *o, int argc, char *const *argv, int *i) {
    const char *arg = argv[*i], *eq = arg[1] == '-' ? strchr(arg, '=') : NULL;
    char name[64];
    size_t n = eq ? (size_t)(eq - arg) : strlen(arg);
    snprintf(name, sizeof name, "%.*s", (int)(n < 63 ? n : 63), arg);
    const flag *f = flag_find(o->verb, name);
    if (!f) return unknown_flag(o, name);
    if (eq) return flag_set(o, f, name, eq + 1);
    if (f->kind == FLAG_BOOL) return flag_set(o, f, name, "1");
    if (*i + 1 >= argc) return wrong(o, "%s needs a value: %s %s", name, name, f->value);
    return flag_set(o, f, name, argv[++*i]);
}

static bool take_environment(opts *o) {
    for (size_t i = 0; i < n_flags; i++) {
        char name[64];
        if (!(flags[i].verbs & 1u << o->verb) || o->given[i] || flags[i].at == offsetof(opts, help)) continue;
        flag_variable(&flags[i], name);
        const char *text = getenv(name);
        if (!text || (!*text && flags[i].kind != FLAG_STR)) continue;
        if (!flag_set(o, &flags[i], name, text)) return false;
        if (o->given[i]) o->given[i] = 1;
    }
    return true;
}

bool flags_parse(opts *o, int argc, char *const *argv) {
    memset(o, 0, sizeof *o);
    int v = argc > 1 ? verb_find(argv[1]) : -1;
    if (v < 0) return wrong(o, "which verb? \"wick --help\" lists them");
    o->verb = (verb_id)v;
    o->word = wk_alloc_array((size_t)argc, sizeof *o->word);
    if (!o->word) return wrong(o, "out of memory");
    bool only_words = false;
    for (int i = 2; i < argc; i++) {
        if (only_words || argv[i][0] != '-' || !argv[i][1]) o->word[o->n_word++] = argv[i];
        else if (!strcmp(argv[i], "--")) only_words = true;
        else if (!take_flag(o, argc, argv, &i)) return false;
    }
    if (o->help) return true;
    if (!take_environment(o)) return false;
    /* The first word is the model, unless -m was typed. A variable does not take a word's meaning away. */
    const flag *m = flag_find(o->verb, "--model");
    if (o->n_word && !verbs[v].no_model && o->given[m - flags] != 2) {
        o->model = o->word[0];
        memmove(o->word, o->word + 1, --o->n_word * sizeof *o->word);
    }
    return true;
}

void flags_free(opts *o) {
    wk_free(o->word);
    wk_free(o->stop.ptr);
    wk_free(o->logit_bias.ptr);
    memset(o, 0, sizeof *o);
}
