/* main.c: wick: finds the verb, reads its flags, runs it. Two hops lead from a flag to the library: its row in
 * flag_table.c and the field's use in the verb's file. */
#include "cli.h"
#include "help.h"
#include "base/file.h"
#include "base/nearest.h"
#include <locale.h>
#include <string.h>

static int (*const run_verb[N_VERB])(const opts *o) = {
    [VERB_RUN] = verb_run, [VERB_CHAT] = verb_chat, [VERB_INSPECT] = verb_inspect, [VERB_TOKENIZE] = verb_tokenize,
    [VERB_LOGITS] = verb_logits, [VERB_EVAL] = verb_eval, [VERB_BENCH] = verb_bench,
    [VERB_CONVERT] = verb_convert, [VERB_ADAPTERS] = verb_adapters, [VERB_MERGE] = verb_merge,
    [VERB_TRAIN] = verb_train, [VERB_RUNS] = verb_runs,
};

/* Verbs of other programs whose users try them here, and what does the same. */
static const struct { const char *name, *instead; } foreign[] = {
    { "embed", "there are no embeddings here yet: wick run answers one prompt, and libwick is for programs" },
    { "embedding", "there are no embeddings here yet: wick run answers one prompt, and libwick is for programs" },
    { "quantize", "wick convert MODEL -o OUT.gguf --type q8_0 (or q4_0) makes smaller weights" },
    { "quantise", "wick convert MODEL -o OUT.gguf --type q8_0 (or q4_0) makes smaller weights" },
    { "perplexity", "wick eval MODEL -f FILE measures it" },
    { "finetune", "wick train FILE does that" },
    { "lora", "wick train FILE trains one, wick run MODEL --lora PATH uses it" },
    { "export-lora", "wick merge MODEL ADAPTER -o OUT does that" },
    { "cli", "wick run MODEL answers one prompt, wick chat MODEL talks" },
    { "generate", "wick run MODEL answers one prompt, with --raw it continues a text" },
    { "pull", "wick opens local files: download the model and give its path, as in wick run MODEL" },
    { "list", "wick keeps no list of models: give a file's or folder's path, as in wick run MODEL" },
    { "ls", "wick keeps no list of models: give a file's or folder's path, as in wick run MODEL" },
    { "serve", "there is no server here: wick run answers one prompt, wick chat talks, and libwick is for programs" },
    { "server", "there is no server here: wick run answers one prompt, wick chat talks, and libwick is for programs" },
};

static int unknown_verb(const char *word) {
    const char *names[2 * N_VERB];
    size_t n = 0;
    for (int v = 0; v < N_VERB; v++) {
        names[n++] = verbs[v].name;
        if (verbs[v].alias) names[n++] = verbs[v].alias;
    }
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (!strcmp(word, foreign[i].name)) return cli_usage("there is no verb \"%s\"; %s", word, foreign[i].instead);
    const char *near = wk_nearest(word, names, n);
    if (near) return cli_usage("there is no verb \"%s\"; did you mean %s?", word, near);
    if (wk_file_exists(word)) return cli_usage("which verb? To use %s: wick run %s", word, word);
    return cli_usage("there is no verb \"%s\"; \"wick --help\" lists them", word);
}

/* Words in a verb's place that ask about the program itself; -1: it is not one of them. */
static int about(int argc, char **argv) {
    const char *word = argv[1], *next = argc > 2 ? argv[2] : NULL;
    if (!strcmp(word, "--version") || !strcmp(word, "-V") || !strcmp(word, "version")) { help_version(); return EXIT_DONE; }
    bool help = !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"), man = !strcmp(word, "--man");
    if (help || man) {
        int v = next ? verb_find(next) : -1;
        if (next && v < 0) return unknown_verb(next);
        if (man) help_man(v);
        else if (v < 0) help_overall();
        else help_verb((verb_id)v);
        return EXIT_DONE;
    }
    if (strcmp(word, "--completion")) return -1;
    return next && help_completion(next) ? EXIT_DONE : cli_usage("--completion is for bash, zsh or fish: wick --completion bash");
}

/* Verbs that take no words besides the model say so. */
static bool takes_words(verb_id v) {
    return v == VERB_RUN || v == VERB_TOKENIZE || v == VERB_MERGE || verbs[v].no_model;
}

/* A bare system has no locale set; the line editor would then turn every character beyond ASCII into question marks. What is typed
 * passes as UTF-8, while decorations stay ASCII, since the terminal did not say that it shows more. */
static void plain_locale(void) {
    term_plain = true;
    if (!setlocale(LC_CTYPE, "C.UTF-8")) setlocale(LC_CTYPE, "C.utf8");
}

int main(int argc, char **argv) {
    opts o;
    setlocale(LC_ALL, "");
    if (!term_utf8()) plain_locale();
    setlocale(LC_NUMERIC, "C");  /* numbers are read and written with a point everywhere */
    sig_begin();
    if (argc < 2) {
        help_overall();
        return out_finish(EXIT_USAGE);
    }
    int code = about(argc, argv);
    if (code >= 0) return out_finish(code);
    if (verb_find(argv[1]) < 0 && argv[1][0] == '-')
        return cli_usage("the verb comes first, then its flags: wick run %s ...", argv[1]);
    if (verb_find(argv[1]) < 0) return unknown_verb(argv[1]);
    if (!flags_parse(&o, argc, argv)) code = cli_usage("%s", o.error);
    else if (o.help) { help_verb(o.verb); code = EXIT_DONE; }
    else if (o.n_word == 1 && o.verb == VERB_CONVERT && !o.out)
        code = cli_usage("what convert writes comes after -o: wick convert %s -o %s", o.model, o.word[0]);
    else if (o.n_word && !takes_words(o.verb))
        code = cli_usage("%s takes one model and no other word, so what is \"%s\" for?", verbs[o.verb].name, o.word[0]);
    else code = run_verb[o.verb](&o);
    flags_free(&o);
    return out_finish(code);
}
