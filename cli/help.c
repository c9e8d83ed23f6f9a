/* help.c: --help, --version, the man pages and the completion scripts, all printed from the tables in flag_table.c. */
#include "help.h"
#include "wick.h"
#include <stdio.h>
#include <string.h>

enum { WIDTH = 80 };

/* Prints text from column at on, wrapped to the width, following lines indented by indent. */
static void put_wrapped(const char *text, int at, int indent) {
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > indent && at + n > WIDTH) { printf("\n%*s", indent, ""); at = indent; }
        printf("%.*s", n, text);
        at += n;
        text += n;
        if (*text == ' ') {
            text++;
            if (at + 1 + (int)strcspn(text, " ") > WIDTH) { printf("\n%*s", indent, ""); at = indent; }
            else { putchar(' '); at++; }
        }
    }
    putchar('\n');
}

/* "-n, --n-predict N": short spellings first; other long ones are left to the man page. */
static int flag_label(const flag *f, char *out, size_t cap) {
    int n = 0;
    for (size_t i = 0; i < 4 && f->name[i]; i++)
        if (f->name[i][1] != '-') n += snprintf(out + n, cap - (size_t)n, "%s, ", f->name[i]);
    n += snprintf(out + n, cap - (size_t)n, "%s", f->name[0]);
    if (f->value) n += snprintf(out + n, cap - (size_t)n, " %s", f->value);
    return n;
}

static void put_flag(const flag *f) {
    enum { COLUMN = 30 };
    char label[128];
    int n = flag_label(f, label, sizeof label);
    printf("  %s", label);
    if (n + 4 > COLUMN) { putchar('\n'); n = -2; }
    printf("%*s", COLUMN - n - 2, "");
    put_wrapped(f->help, COLUMN, COLUMN);
}

void help_overall(void) {
    printf("wick runs transformer language models from GGUF files and Hugging Face folders.\n\n"
           "Usage: wick VERB [MODEL] [flags]\n\n");
    for (int v = 0; v < N_VERB; v++) printf("  %-10s %s\n", verbs[v].name, verbs[v].what);
    printf("\n  wick VERB --help     what a verb does, its flags, examples\n"
           "  wick --version       version and what this build has\n"
           "  wick --man [VERB]    the manual page: wick --man | man -l -\n"
           "  wick --completion bash|zsh|fish\n\n"
           "Try: wick run model.gguf 'Why is the sky blue?'\n");
}

static void put_variable(verb_id v) {
    const flag *f = flags;
    char variable[64], text[256];
    while (!(f->verbs & 1u << v) || f->at == offsetof(opts, help)) f++;
    flag_variable(f, variable);
    snprintf(text, sizeof text, "Each flag can also be set by a variable: %s by %s; the flag wins.", f->name[0], variable);
    put_wrapped(text, 0, 0);
}

void help_verb(verb_id v) {
    const verb *d = &verbs[v];
    printf("wick %s: %s\n\nUsage: wick %s %s [flags]\n\n", d->name, d->what, d->name, d->args);
    put_wrapped(d->about, 0, 0);
    for (int g = 0; g < N_GROUP; g++) {
        bool any = false;
        for (size_t i = 0; i < n_flags; i++) {
            if (flags[i].group != (flag_group)g || !(flags[i].verbs & 1u << v)) continue;
            if (!any) printf("\n%s:\n", group_names[g]);
            any = true;
            put_flag(&flags[i]);
        }
    }
    printf("\nExamples:\n");
    for (size_t i = 0; i < 3 && d->example[i]; i++) printf("  %s\n", d->example[i]);
    printf("\n");
    put_variable(v);
}

void help_version(void) {
    const char *info = wick_build_info();  /* "name: value" lines, the version perhaps first */
    if (!strncmp(info, "version:", 8)) info += strcspn(info, "\n");
    printf("wick %s\n%s\n", wick_version(), info + (*info == '\n'));
}

/* ---- man page ---- */

/* Text in roff: backslashes and hyphens kept, no line begins with a request. */
static void put_roff(const char *s) {
    if (*s == '.' || *s == '\'') printf("\\&");
    for (; *s; s++) {
        if (*s == '\\') printf("\\e");
        else if (*s == '-') printf("\\-");
        else if (*s == '\'') printf("\\(aq");
        else putchar(*s);
    }
}

static void man_flag(const flag *f, verb_id v) {
    char variable[64], own[32];
    printf(".TP\n");
    for (size_t i = 0; i < 4 && f->name[i]; i++) {
        printf("%s\\fB", i ? ", " : "");
        put_roff(f->name[i]);
        printf("\\fR");
    }
    if (f->value) { printf(" \\fI"); put_roff(f->value); printf("\\fR"); }
    printf("\n");
    put_roff(f->help);
    flag_variable(f, variable);
    printf(".\n");
    if (f->at != offsetof(opts, help)) printf("Variable: %s.\n", variable);
    snprintf(own, sizeof own, "wick %s ", verbs[v].name);
    if (!strstr(f->example, own)) return;  /* of another verb that has the flag too */
    printf("Example:\n.IP\n.EX\n");
    put_roff(f->example);
    printf("\n.EE\n");
}

static void man_verb(verb_id v) {
    put_roff(verbs[v].about);
    printf("\n");
    for (size_t i = 0; i < n_flags; i++)
        if (flags[i].verbs & 1u << v) man_flag(&flags[i], v);
    printf(".PP\nExamples:\n");
    for (size_t i = 0; i < 3 && verbs[v].example[i]; i++) {
        printf(".PP\n.EX\n");
        put_roff(verbs[v].example[i]);
        printf("\n.EE\n");
    }
}

static void man_shared(void) {
    printf(".SH ENVIRONMENT\n"
           "Each flag can be set by a variable named after it: \\fBWICK_CTX_SIZE\\fR for \\fB\\-\\-ctx\\-size\\fR.\n"
           "A flag on the command line wins.\n"
           ".TP\n\\fBNO_COLOR\\fR\nno colours, when not empty.\n"
           ".TP\n\\fBXDG_STATE_HOME\\fR\nwhere \\fBwick chat\\fR keeps its history.\n"
           ".TP\n\\fBXDG_DATA_HOME\\fR\nwhere \\fBwick train\\fR keeps the list of runs.\n"
           ".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage, 130 interrupted.\n");
}

void help_man(int v) {
    if (v < 0) printf(".TH WICK 1 \"\" \"wick %s\" \"User Commands\"\n", wick_version());
    else printf(".TH WICK\\-%s 1 \"\" \"wick %s\" \"User Commands\"\n", verbs[v].name, wick_version());
    printf(".SH NAME\n");
    if (v >= 0) {
        printf("wick\\-%s \\- ", verbs[v].name);
        put_roff(verbs[v].what);
        printf("\n.SH SYNOPSIS\n\\fBwick %s\\fR ", verbs[v].name);
    } else printf("wick \\- runs transformer language models\n.SH SYNOPSIS\n\\fBwick\\fR \\fIVERB\\fR [");
    put_roff(v < 0 ? "MODEL" : verbs[v].args);
    printf("%s [flags]\n.SH DESCRIPTION\n", v < 0 ? "]" : "");
    if (v >= 0) man_verb((verb_id)v);
    else {
        printf("A MODEL is a GGUF file (of a split one, the first part) or a Hugging Face folder with config.json and\n"
               "safetensors files; which it is, is found from its content.\n");
        for (int i = 0; i < N_VERB; i++) {
            printf(".SS wick %s", verbs[i].name);
            if (verbs[i].alias) printf(" (%s)", verbs[i].alias);
            printf("\n\\fBwick %s\\fR ", verbs[i].name);
            put_roff(verbs[i].args);
            printf("\n.PP\n");
            man_verb((verb_id)i);
        }
    }
    man_shared();
}

/* ---- completion ---- */

static void put_spellings(unsigned verb_mask) {
    for (size_t i = 0; i < n_flags; i++)
        for (size_t k = 0; k < 4 && flags[i].name[k]; k++)
            if (flags[i].verbs & verb_mask) printf(" %s", flags[i].name[k]);
}

/* Choices with blanks between. */
static void put_choices(const char *value) {
    for (; *value; value++) putchar(*value == '|' ? ' ' : *value);
}

static bool has_choices(const flag *f) { return f->kind == FLAG_CHOICE || f->kind == FLAG_TYPE; }

static void complete_bash(void) {
    printf("# bash completion for wick; made by: wick --completion bash\n_wick() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} words=\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (int v = 0; v < N_VERB; v++) printf("%s ", verbs[v].name);
    printf("--help --version --man --completion'\n        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
           "        return\n    fi\n    case \"$verb $prev\" in\n");
    for (size_t i = 0; i < n_flags; i++) {
        if (!has_choices(&flags[i])) continue;
        const char *bar = "";
        printf("        ");
        for (int v = 0; v < N_VERB; v++)
            for (size_t k = 0; k < 4 && flags[i].name[k]; k++)
                if (flags[i].verbs & 1u << v) { printf("%s\"%s %s\"", bar, verbs[v].name, flags[i].name[k]); bar = "|"; }
        printf(") words='");
        put_choices(flags[i].value);
        printf("' ;;\n");
    }
    printf("        \"--completion --completion\") words='bash zsh fish' ;;\n    esac\n"
           "    if [ -z \"$words\" ] && [[ $cur == -* ]]; then\n        case \"$verb\" in\n");
    for (int v = 0; v < N_VERB; v++) {
        printf("            %s%s%s) words='", verbs[v].name, verbs[v].alias ? "|" : "", verbs[v].alias ? verbs[v].alias : "");
        put_spellings(1u << v);
        printf("' ;;\n");
    }
    printf("        esac\n    fi\n    if [ -n \"$words\" ]; then COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
           "    else compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); fi\n}\ncomplete -F _wick wick\n");
}

/* Text inside single quotes of a shell. also: further characters that want a backslash before them. */
static void put_quoted(const char *s, const char *also) {
    for (; *s; s++) {
        if (*s == '\'') { printf("'\\''"); continue; }
        if (strchr(also, *s)) putchar('\\');
        putchar(*s);
    }
}

/* FILE, MODEL, PATH, FOLDER, OUT, and lists and parts of them (PATH,... and PATH:X,...). */
static bool takes_path(const flag *f) {
    static const char *const kinds[] = { "FILE", "MODEL", "PATH", "FOLDER", "OUT" };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) if (!strncmp(f->value, kinds[i], strlen(kinds[i]))) return true;
    return false;
}

static void complete_zsh(void) {
    printf("#compdef wick\n# zsh completion for wick; made by: wick --completion zsh\n"
           "_wick() {\n    local -a verbs\n    verbs=(\n");
    for (int v = 0; v < N_VERB; v++) { printf("        '%s:", verbs[v].name); put_quoted(verbs[v].what, ":"); printf("'\n"); }
    printf("    )\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\n    fi\n"
           "    local verb=$words[2]\n    words[2]=()\n    (( CURRENT-- ))\n    case $verb in\n");
    for (int v = 0; v < N_VERB; v++) {
        printf("        %s%s%s) _arguments '1:model:_files' '*:text:_files'", verbs[v].name, verbs[v].alias ? "|" : "",
               verbs[v].alias ? verbs[v].alias : "");
        for (size_t i = 0; i < n_flags; i++)
            for (size_t k = 0; k < 4 && flags[i].name[k]; k++) {
                if (!(flags[i].verbs & 1u << v)) continue;
                printf(" \\\n            '%s%s[", flags[i].kind == FLAG_LIST ? "*" : "", flags[i].name[k]);
                put_quoted(flags[i].help, "[]:\\");
                printf("]");
                if (has_choices(&flags[i])) { printf(":value:("); put_choices(flags[i].value); printf(")"); }
                else if (flags[i].value) printf(":value:%s", takes_path(&flags[i]) ? "_files" : "");
                printf("'");
            }
        printf(" ;;\n");
    }
    printf("    esac\n}\n_wick \"$@\"\n");
}

static void complete_fish(void) {
    printf("# fish completion for wick; made by: wick --completion fish\n");
    for (int v = 0; v < N_VERB; v++) {
        printf("complete -c wick -n __fish_use_subcommand -f -a %s -d '", verbs[v].name);
        put_quoted(verbs[v].what, "\\");
        printf("'\n");
    }
    for (size_t i = 0; i < n_flags; i++) {
        printf("complete -c wick -n '__fish_seen_subcommand_from");
        for (int v = 0; v < N_VERB; v++)
            if (flags[i].verbs & 1u << v) printf(" %s", verbs[v].name);
        printf("'");
        for (size_t k = 0; k < 4 && flags[i].name[k]; k++) {
            const char *name = flags[i].name[k];
            if (name[1] == '-') printf(" -l %s", name + 2);
            else printf(" -%c %s", name[2] ? 'o' : 's', name + 1);
        }
        if (has_choices(&flags[i])) { printf(" -x -a '"); put_choices(flags[i].value); printf("'"); }
        else if (flags[i].value) printf(" -%c", takes_path(&flags[i]) ? 'r' : 'x');
        printf(" -d '");
        put_quoted(flags[i].help, "\\");
        printf("'\n");
    }
}

bool help_completion(const char *shell) {
    if (!strcmp(shell, "bash")) complete_bash();
    else if (!strcmp(shell, "zsh")) complete_zsh();
    else if (!strcmp(shell, "fish")) complete_fish();
    else return false;
    return true;
}
