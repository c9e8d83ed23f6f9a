/* chat.c: wick chat: a conversation in the terminal. The session keeps the keys and values of what was said, so a turn
 * computes only what is new. Load: a message every few seconds; a person waits for each token. */
#include "cli.h"
#include "line.h"
#include "base/file.h"
#include "base/nearest.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct turn { const char *role; char *text; } turn;  /* role is static */

typedef struct chat {
    opts o;                /* a copy, which /set changes */
    cli_model m;
    turn *turn; size_t n, cap;
    wk_buf answer;
    wick_result last;      /* of the last answer */
    int n_answer; int64_t n_generated;
    wk_arena kept;         /* words that /set's flags borrow */
    bool color;
} chat;

/* ---- what was said ---- */

static bool add_turn(chat *c, const char *role, const char *text, size_t n) {
    char *copy = wk_strdup_n(text, n);
    if (!copy || !wk_grow((void **)&c->turn, &c->cap, c->n + 1, sizeof *c->turn)) {
        wk_free(copy);
        cli_fail("out of memory");
        return false;
    }
    c->turn[c->n++] = (turn){ role, copy };
    return true;
}

static void drop_last(chat *c) {
    if (c->n) wk_free(c->turn[--c->n].text);
}

static bool has_system(const chat *c) { return c->n && !strcmp(c->turn[0].role, "system"); }

static void forget(chat *c, bool system_too) {
    while (c->n > (has_system(c) && !system_too ? 1u : 0u)) drop_last(c);
    wick_session_reset(c->m.session);
}

static void set_system(chat *c, const char *text) {
    if (has_system(c)) {
        char *copy = wk_strdup(text);
        if (!copy) { cli_fail("out of memory"); return; }
        wk_free(c->turn[0].text);
        c->turn[0].text = copy;
    } else if (add_turn(c, "system", text, strlen(text))) {
        turn t = c->turn[c->n - 1];
        memmove(c->turn + 1, c->turn, (c->n - 1) * sizeof *c->turn);
        c->turn[0] = t;
    }
}

static void put_turns(wk_buf *b, const chat *c) {
    put_key(b, "messages");
    wk_buf_char(b, '[');
    for (size_t i = 0; i < c->n; i++) {
        put_key(b, NULL);
        wk_buf_char(b, '{');
        put_str(b, "role", c->turn[i].role);
        put_str(b, "content", c->turn[i].text);
        wk_buf_char(b, '}');
    }
    wk_buf_char(b, ']');
}

/* ---- an answer ---- */

static bool on_token(const wick_token *t, void *user) {
    chat *c = user;
    if (!t->index) watch_end();
    wk_buf_add(&c->answer, t->text, t->n_text);
    return (!t->n_text || out_text(t->text, t->n_text)) && !interrupted;
}

/* A remark by the program, dim. */
static void note(const chat *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(const chat *c, const char *fmt, ...) {
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    out_str(c->color ? "\033[2m" : "");
    out_text(text, strlen(text));
    out_str(c->color ? "\033[0m\n" : "\n");
}

/* Answers what was said so far. False: it could not; the conversation is then one turn shorter. */
static bool answer(chat *c, uint64_t more_seed) {
    wick_generate_options g;
    wk_buf json = { 0 };
    if (cli_generate(&c->o, &c->m, &g)) { cli_generate_free(&g); return false; }
    g.seed += more_seed;
    wk_buf_char(&json, '{');
    put_turns(&json, c);
    wk_buf_str(&json, ",\"add_generation_prompt\":true}");
    wk_buf_free(&c->answer);
    sig_session(c->m.session);
    watch_begin(&c->o, c->m.session);
    wick_status st = json.failed ? WICK_E_MEMORY
                                 : wick_generate(c->m.session, &(wick_prompt){ .messages = json.ptr }, &g, on_token, c, &c->last);
    watch_end();
    sig_session(NULL);
    if (c->answer.len && c->answer.ptr[c->answer.len - 1] != '\n') out_str("\n");
    bool stopped = interrupted;
    sig_again();
    if (stopped) note(c, "(stopped)");
    else if (st == WICK_E_LENGTH || st == WICK_E_FULL) {
        cli_status(st);
        note(c, "/clear starts anew; wick chat -c makes room for more");
    } else if (st && st != WICK_E_CANCELLED)
        cli_status(st);
    else if (c->last.n_shifted) note(c, "(the context was full: its oldest %d tokens were dropped)", c->last.n_shifted);
    else if (c->last.finish_reason == WICK_FINISH_LENGTH) {
        if (wick_session_n_used(c->m.session) >= wick_session_n_ctx(c->m.session) - 1)
            note(c, "(the context is full; /clear starts anew)");
        else note(c, "(cut off after %d tokens; /set n-predict changes that)", c->last.n_generated);
    }
    c->n_answer++;
    c->n_generated += c->last.n_generated;
    cli_generate_free(&g);
    wk_buf_free(&json);
    if (st && st != WICK_E_CANCELLED) return false;
    return add_turn(c, "assistant", c->answer.ptr ? c->answer.ptr : "", c->answer.len);
}

static void say(chat *c, const char *text, size_t n) {
    if (!add_turn(c, "user", text, n)) return;
    if (!answer(c, 0)) drop_last(c);
}

/* ---- commands ---- */

typedef struct command { const char *name, *args, *help; void (*run)(chat *c, const char *arg); } command;

static void do_clear(chat *c, const char *arg) {
    (void)arg;
    forget(c, false);
    note(c, has_system(c) ? "Forgotten, except the system message." : "Forgotten.");
}

static void do_system(chat *c, const char *arg) {
    if (!*arg) { note(c, "%s", has_system(c) ? c->turn[0].text : "There is no system message; /system TEXT sets one."); return; }
    set_system(c, arg);
    note(c, "The system message is set.");
}

static bool can_set(const flag *f) { return f && (f->group == GROUP_SAMPLING) && f->kind != FLAG_LIST; }

static void show_settings(const chat *c) {
    wick_generate_options g;
    cli_generate(&c->o, &c->m, &g);
    note(c, "  n-predict %d, temp %g, top-k %d, top-p %g, min-p %g", g.n_predict, (double)g.temperature, g.top_k, (double)g.top_p,
         (double)g.min_p);
    note(c, "  repeat-penalty %g, frequency-penalty %g, presence-penalty %g, repeat-last-n %d", (double)g.repeat_penalty,
         (double)g.frequency_penalty, (double)g.presence_penalty, g.penalty_last_n);
    if (flag_given(&c->o, seed)) note(c, "  seed %llu", (unsigned long long)g.seed);
    else note(c, "  seed: another each time");
    cli_generate_free(&g);
}

static void do_set(chat *c, const char *arg) {
    char name[64];
    size_t n = strcspn(arg, " ");
    if (!n) { show_settings(c); return; }
    snprintf(name, sizeof name, "--%.*s", (int)(n < 60 ? n : 60), arg);
    const flag *f = flag_find(VERB_CHAT, name);
    if (!can_set(f)) {
        const char *names[128];
        size_t k = 0;
        for (size_t i = 0; i < n_flags && k < 128; i++)
            if (can_set(&flags[i]) && flags[i].verbs & 1u << VERB_CHAT) names[k++] = flags[i].name[0];
        const char *near = wk_nearest(name, names, k);
        if (near) note(c, "There is nothing called %s to set; did you mean %s?", name + 2, near + 2);
        else note(c, "There is nothing called %s to set; /set alone shows what there is.", name + 2);
        return;
    }
    const char *value = arg + n + strspn(arg + n, " ");
    char *kept = wk_arena_str(&c->kept, value, strlen(value));
    if (kept && flag_set(&c->o, f, name + 2, kept)) note(c, "%s is now %s.", name + 2, *kept ? kept : "\"\"");
    else note(c, "%s", kept ? c->o.error : "out of memory");
}

static void do_save(chat *c, const char *arg) {
    wk_buf b = { 0 };
    if (!*arg) { note(c, "To which file? /save talk.json"); return; }
    wk_buf_char(&b, '{');
    put_turns(&b, c);
    wk_buf_str(&b, "}\n");
    FILE *f = b.failed ? NULL : fopen(arg, "we");
    bool fine = f && fwrite(b.ptr, 1, b.len, f) == b.len;
    if (f && fclose(f)) fine = false;
    if (fine) note(c, "Saved %zu messages to %s.", c->n, arg);
    else cli_fail("%s: %m", arg);
    wk_buf_free(&b);
}

static void do_load(chat *c, const char *arg) {
    static const char *const roles[] = { "system", "user", "assistant", "tool" };
    json_t *root = NULL, *message;
    size_t i;
    if (!*arg) { note(c, "From which file? /load talk.json"); return; }
    if (cli_status(wk_json_read(arg, 1 << 26, &root))) return;
    json_t *list = json_object_get(root, "messages");
    if (!json_is_array(list)) { cli_fail("%s: has no \"messages\"; /save writes such a file", arg); json_decref(root); return; }
    forget(c, true);
    json_array_foreach(list, i, message) {
        const char *role = json_string_value(json_object_get(message, "role")), *known = NULL;
        json_t *content = json_object_get(message, "content");
        for (size_t k = 0; role && k < 4; k++)
            if (!strcmp(role, roles[k])) known = roles[k];
        if (!known || !json_is_string(content)) {
            note(c, "Message %zu has no text or an unknown role and was left out.", i);
            continue;
        }
        add_turn(c, known, json_string_value(content), json_string_length(content));
    }
    json_decref(root);
    note(c, "Loaded %zu messages from %s.", c->n, arg);
}

static void do_regen(chat *c, const char *arg) {
    static uint64_t round;
    (void)arg;
    if (c->n && !strcmp(c->turn[c->n - 1].role, "assistant")) drop_last(c);
    if (!c->n || strcmp(c->turn[c->n - 1].role, "user")) { note(c, "There is no answer to give again."); return; }
    if (!answer(c, ++round)) drop_last(c);
}

static void do_stats(chat *c, const char *arg) {
    const wick_result *r = &c->last;
    int n_read = r->n_prompt - r->n_cached;
    (void)arg;
    note(c, "Context: %d of %d tokens in use, %zu messages.", wick_session_n_used(c->m.session), wick_session_n_ctx(c->m.session),
         c->n);
    if (!c->n_answer) return;
    note(c, "Last answer: %d prompt tokens, %d of them known, the others %.1f tok/s;", r->n_prompt, r->n_cached,
         r->prompt_s > 0 ? n_read / r->prompt_s : 0);
    note(c, "%d generated, %.1f tok/s.", r->n_generated, r->generate_s > 0 ? r->n_generated / r->generate_s : 0);
    note(c, "In all: %d answer%s, %lld tokens.", c->n_answer, c->n_answer == 1 ? "" : "s", (long long)c->n_generated);
}

static void do_help(chat *c, const char *arg);
static const command commands[] = {
    { "help", "", "this list", do_help },
    { "clear", "", "forget the conversation", do_clear },
    { "regen", "", "answer the last message again", do_regen },
    { "system", "TEXT", "set the system message; alone: show it", do_system },
    { "set", "NAME VALUE", "change sampling, as /set temp 0.5; alone: show it", do_set },
    { "save", "FILE", "write the conversation as JSON", do_save },
    { "load", "FILE", "go on with a saved one", do_load },
    { "stats", "", "tokens, speed, context", do_stats },
    { "exit", "", "leave (so does Ctrl-D)", NULL },
};
enum { N_COMMAND = sizeof commands / sizeof *commands };

static void do_help(chat *c, const char *arg) {
    (void)arg;
    for (size_t i = 0; i < N_COMMAND; i++) note(c, "  /%-6s %-10s  %s", commands[i].name, commands[i].args, commands[i].help);
    note(c, "A line that ends with \\ goes on in the next; \"\"\" opens and closes a block.");
}

/* False: the conversation is over. */
static bool obey(chat *c, const char *line) {
    const char *names[N_COMMAND];
    char name[32];
    size_t n = strcspn(line + 1, " \n");
    snprintf(name, sizeof name, "%.*s", (int)(n < 31 ? n : 31), line + 1);
    if (!strcmp(name, "quit") || !strcmp(name, "bye") || !strcmp(name, "exit")) return false;
    for (size_t i = 0; i < N_COMMAND; i++) {
        names[i] = commands[i].name;
        if (strcmp(name, names[i])) continue;
        commands[i].run(c, line + 1 + n + strspn(line + 1 + n, " "));
        return true;
    }
    const char *near = wk_nearest(name, names, N_COMMAND);
    if (near) note(c, "There is no /%s; did you mean /%s?", name, near);
    else note(c, "There is no /%s; /help lists what there is. A message may begin with / after a blank.", name);
    return true;
}

/* ---- the conversation ---- */

static void greet(const chat *c) {
    char n[32];
    const wick_model_info *i = &c->m.info;
    if (c->o.quiet || !isatty(STDIN_FILENO)) return;
    note(c, "%s: %s, %s parameters, context %d tokens", *i->name ? i->name : c->o.model, i->architecture,
         show_count(i->n_params, n), wick_session_n_ctx(c->m.session));
    note(c, "/help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.\n");
}

static int talk(chat *c) {
    wk_buf line = { 0 };
    line_end end;
    line_open("> ", ". ", c->color);
    greet(c);
    while ((end = line_read(&line)) != LINE_EOF) {
        if (end == LINE_INTERRUPTED) {
            if (!isatty(STDIN_FILENO)) break;
            sig_again();
            note(c, "(Ctrl-D or /exit leaves)");
            continue;
        }
        if (line.failed || strspn(line.ptr ? line.ptr : "", " \t\n") == line.len) continue;
        if (line.ptr[0] == '/') {
            if (!obey(c, line.ptr)) break;
        } else say(c, line.ptr, line.len);
        if (!out_str(isatty(STDIN_FILENO) ? "\n" : "")) break;  /* nobody reads any more */
    }
    if (end == LINE_EOF && isatty(STDIN_FILENO)) out_str("\n");
    wk_buf_free(&line);
    line_close();
    return end == LINE_INTERRUPTED ? EXIT_INTERRUPTED : EXIT_DONE;
}

int verb_chat(const opts *o) {
    chat c = { .o = *o, .color = term_color(o, stdout) };
    if (!o->model) return cli_usage("chat needs a model: wick chat model.gguf");
    int code = cli_open(o, false, &c.m);
    if (code) return code;
    if (c.m.info.n_label) code = cli_fail("%s: is a classifier, it does not talk; wick run shows its classes for a text", o->model);
    else if (!c.m.info.chat_template)
        code = cli_fail("%s: has no chat template; give one with --chat-template-file, or continue text with wick run --raw",
                        o->model);
    if (!code) code = cli_session(o, 0, &c.m);
    if (!code && o->system) set_system(&c, o->system);
    if (!code) code = talk(&c);
    while (c.n) drop_last(&c);
    wk_free(c.turn);
    wk_buf_free(&c.answer);
    wk_arena_free(&c.kept);
    cli_close(&c.m);
    return code;
}
