/* run.c: wick run: one prompt, one answer, streamed to standard output as text or as JSON.
 * Load: one generation; a token every few milliseconds, each flushed. */
#include "cli.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

typedef struct answer {
    const opts *o;
    const wick_model *model;
    enum { TEXT, JSON, JSONL } form;
    wk_buf text, ids, logprobs;  /* of JSON: what comes at the end */
    char last;                   /* character written */
} answer;

/* {"id":5,"logprob":-1.2} of a token and of its alternatives. */
static void put_logprob(wk_buf *b, int32_t id, float logprob) {
    put_int(b, "id", id);
    put_key(b, "logprob");
    wk_json_put_float(b, logprob);
}

static void put_top(wk_buf *b, const answer *a, const wick_token *t) {
    put_key(b, "top_logprobs");
    wk_buf_char(b, '[');
    for (size_t i = 0; i < t->n_top; i++) {
        size_t n = 0;
        const char *piece = wick_token_piece(a->model, t->top[i].id, &n);
        put_key(b, NULL);
        wk_buf_char(b, '{');
        put_logprob(b, t->top[i].id, t->top[i].logprob);
        put_key(b, "text");
        wk_json_put_str(b, piece ? piece : "", n);
        wk_buf_char(b, '}');
    }
    wk_buf_char(b, ']');
}

static bool put_token_line(answer *a, const wick_token *t) {
    wk_buf b = { 0 };
    wk_buf_char(&b, '{');
    put_int(&b, "id", t->id);
    put_key(&b, "text");
    wk_json_put_str(&b, t->text, t->n_text);
    put_key(&b, "logit");
    wk_json_put_float(&b, t->logit);
    put_key(&b, "prob");
    wk_json_put_float(&b, t->prob);
    put_key(&b, "logprob");
    wk_json_put_float(&b, t->logprob);
    put_int(&b, "index", t->index);
    put_bool(&b, "is_eos", t->is_eos);
    put_str(&b, "finish_reason", wick_finish_name(t->finish_reason));
    if (flag_given(a->o, logprobs)) put_top(&b, a, t);
    wk_buf_char(&b, '}');
    return out_buf(&b);
}

static bool on_token(const wick_token *t, void *user) {
    answer *a = user;
    if (!t->index) watch_end();
    if (a->form == JSONL) return put_token_line(a, t) && !interrupted;
    if (a->form == TEXT) {
        if (t->n_text) a->last = t->text[t->n_text - 1];
        return (!t->n_text || out_text(t->text, t->n_text)) && !interrupted;
    }
    wk_buf_add(&a->text, t->text, t->n_text);
    put_key(&a->ids, NULL);
    wk_buf_printf(&a->ids, "%d", t->id);
    if (flag_given(a->o, logprobs)) {
        put_key(&a->logprobs, NULL);
        wk_buf_char(&a->logprobs, '{');
        put_logprob(&a->logprobs, t->id, t->logprob);
        put_top(&a->logprobs, a, t);
        wk_buf_char(&a->logprobs, '}');
    }
    return !interrupted;
}

/* Tokens a second, 0 where nothing was measured. */
static double rate(int n, double s) { return n > 0 && s > 0 ? n / s : 0; }

static bool put_answer(answer *a, const wick_result *r, uint64_t seed) {
    wk_buf b = { 0 };
    int n_read = r->n_prompt - r->n_cached;
    wk_buf_char(&b, '{');
    put_key(&b, "text");
    wk_json_put_str(&b, a->text.ptr ? a->text.ptr : "", a->text.len);
    put_key(&b, "ids");
    wk_buf_add(&b, a->ids.ptr, a->ids.len);
    wk_buf_char(&b, ']');
    put_int(&b, "prompt_tokens", r->n_prompt);
    put_str(&b, "finish_reason", wick_finish_name(r->finish_reason));
    put_key(&b, "seed");
    wk_buf_printf(&b, "%llu", (unsigned long long)seed);
    if (flag_given(a->o, logprobs)) {
        put_key(&b, "logprobs");
        wk_buf_add(&b, a->logprobs.ptr, a->logprobs.len);
        wk_buf_char(&b, ']');
    }
    put_key(&b, "timings");  /* named as llama.cpp's server names them */
    wk_buf_char(&b, '{');
    put_int(&b, "cache_n", r->n_cached);
    put_int(&b, "prompt_n", n_read);
    put_real(&b, "prompt_ms", 1e3 * r->prompt_s);
    put_real(&b, "prompt_per_second", rate(n_read, r->prompt_s));
    put_int(&b, "predicted_n", r->n_generated);
    put_real(&b, "predicted_ms", 1e3 * r->generate_s);
    put_real(&b, "predicted_per_second", rate(r->n_generated, r->generate_s));
    put_real(&b, "stream_ms", 1e3 * r->stream_s);
    if (r->n_drafted) {
        put_int(&b, "draft_n", r->n_drafted);
        put_int(&b, "draft_n_accepted", r->n_accepted);
    }
    wk_buf_str(&b, "}}");
    b.failed |= a->text.failed || a->ids.failed || a->logprobs.failed;
    return out_buf(&b);
}

/* The dim line at the end, and why an answer is not whole. */
static void put_summary(const opts *o, const wick_session *s, const wick_result *r, const wick_generate_options *g) {
    bool dim = term_color(o, stderr);
    int n_ctx = wick_session_n_ctx(s);
    if (o->quiet) return;
    if (r->n_shifted)
        fprintf(stderr, "wick: the context of %d tokens was full: the oldest %d were dropped; -c makes it longer\n", n_ctx,
                r->n_shifted);
    else if (r->finish_reason == WICK_FINISH_LENGTH && r->n_prompt + r->n_generated >= n_ctx)
        fprintf(stderr, "wick: stopped: the context of %d tokens is full; -c makes it longer, --context-shift goes on\n", n_ctx);
    else if (r->finish_reason == WICK_FINISH_LENGTH)
        fprintf(stderr, "wick: cut off after %d tokens; -n sets how many\n", r->n_generated);
    fprintf(stderr, "%s%d prompt tokens, %.1f tok/s", dim ? "\033[2m" : "", r->n_prompt,
            rate(r->n_prompt - r->n_cached, r->prompt_s));
    fprintf(stderr, "; %d generated, %.1f tok/s", r->n_generated, rate(r->n_generated, r->generate_s));
    if (r->n_drafted) fprintf(stderr, "; %d of %d guesses right", r->n_accepted, r->n_drafted);
    if (g->temperature > 0 && !flag_given(o, seed)) fprintf(stderr, "; seed %llu", (unsigned long long)g->seed);
    fprintf(stderr, "%s\n", dim ? "\033[0m" : "");
}

/* A prompt as the conversation that chat templates take. */
static void put_messages(wk_buf *b, const char *system, const wk_buf *prompt) {
    wk_buf_str(b, "{\"messages\":[");
    if (system) {
        wk_buf_str(b, "{\"role\":\"system\",\"content\":");
        wk_json_put_str(b, system, strlen(system));
        wk_buf_str(b, "},");
    }
    wk_buf_str(b, "{\"role\":\"user\",\"content\":");
    wk_json_put_str(b, prompt->ptr, prompt->len);
    wk_buf_str(b, "}],\"add_generation_prompt\":true}");
}

/* Classes, likeliest first: softmax over the logits. */
static int classify(const opts *o, cli_model *m, const wk_buf *prompt, bool json) {
    size_t n = (size_t)m->info.n_label;
    float *logit = wk_alloc_array(n, sizeof *logit);
    if (!logit) return cli_fail("out of memory");
    int code = cli_session(o, 0, m);
    if (!code) code = cli_status(wick_classify(m->session, prompt->ptr, prompt->len, logit, n));
    if (code) { wk_free(logit); return code; }
    wk_buf b = { 0 };
    double sum = 0;
    float top = logit[0];
    for (size_t i = 1; i < n; i++) top = logit[i] > top ? logit[i] : top;
    for (size_t i = 0; i < n; i++) sum += exp((double)(logit[i] - top));
    if (json) wk_buf_str(&b, "{\"scores\":[");
    for (size_t done = 0; done < n; done++) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
            if (!(logit[best] >= logit[i])) best = i;
        const char *label = wick_model_label(m->model, (int)best);
        double prob = exp((double)(logit[best] - top)) / sum;
        if (json) {
            put_key(&b, NULL);
            wk_buf_char(&b, '{');
            put_int(&b, "index", (int64_t)best);
            put_str(&b, "label", label);
            put_key(&b, "logit");
            wk_json_put_float(&b, logit[best]);
            put_key(&b, "prob");
            wk_json_put_float(&b, (float)prob);
            wk_buf_char(&b, '}');
        } else wk_buf_printf(&b, "%s%.4f  %s", done ? "\n" : "", prob, label ? label : "?");
        logit[best] = -INFINITY;
    }
    if (json) wk_buf_str(&b, "]}");
    out_buf(&b);
    wk_free(logit);
    return EXIT_DONE;
}

static int generate(const opts *o, cli_model *m, const wk_buf *prompt, answer *a) {
    wick_generate_options g = { 0 };
    wick_result r = { 0 };
    wk_buf messages = { 0 };
    bool raw = o->raw;
    if (!raw && !m->info.chat_template) {
        if (o->system) return cli_usage("--system needs a chat template; this model has none: give one with --chat-template-file");
        if (!o->quiet) fprintf(stderr, "wick: this model has no chat template: the text is continued as it is (--raw)\n");
        raw = true;
    }
    if (raw && o->system) return cli_usage("--raw has no place for --system; put it into the prompt");
    if (!raw && !prompt->len) return cli_usage("the prompt is empty");
    int code = cli_session(o, 0, m);
    if (!code) code = cli_generate(o, m, &g);
    if (code) {
        cli_generate_free(&g);
        return code;
    }
    if (a->form == JSONL) g.logprobs = true;
    if (!raw) put_messages(&messages, o->system, prompt);
    wick_prompt p = { .text = raw ? prompt->ptr : NULL, .n_text = raw ? prompt->len : 0, .messages = messages.ptr };
    sig_session(m->session);
    watch_begin(o, m->session);
    wick_status st = interrupted ? WICK_E_CANCELLED : wick_generate(m->session, &p, &g, on_token, a, &r);
    watch_end();
    if (a->form == TEXT && a->last && a->last != '\n') out_str("\n");
    if (a->form == JSON && (!st || st == WICK_E_CANCELLED)) put_answer(a, &r, g.seed);
    if (a->form != JSON && !st) put_summary(o, m->session, &r, &g);
    /* A pipe that was closed ends the run through the callback: that is no failure. */
    code = interrupted ? EXIT_INTERRUPTED : st == WICK_E_CANCELLED ? EXIT_DONE : cli_status(st);
    wk_buf_free(&messages);
    cli_generate_free(&g);
    return code;
}

int verb_run(const opts *o) {
    cli_model m = { 0 };
    wk_buf prompt = { 0 };
    bool found;
    answer a = { .o = o, .form = !o->output || !strcmp(o->output, "text") ? TEXT : !strcmp(o->output, "json") ? JSON : JSONL };
    if (flag_given(o, logprobs) && a.form == TEXT)
        return cli_usage("--logprobs shows only with -o json or -o jsonl; add one of them");
    if (!o->model) return cli_usage("run needs a model: wick run model.gguf 'Why is the sky blue?'");
    int code = cli_prompt(o, &prompt, &found);
    if (!code && !found) {
        wk_buf_free(&prompt);
        if (isatty(STDOUT_FILENO)) return verb_chat(o);
        return cli_usage("run needs a prompt: words after the model, -p TEXT, -f FILE, or text piped in");
    }
    if (!code) code = cli_open(o, false, &m);
    wk_buf_char(&a.ids, '[');
    wk_buf_char(&a.logprobs, '[');
    a.model = m.model;
    if (!code) code = m.info.n_label ? classify(o, &m, &prompt, a.form != TEXT) : generate(o, &m, &prompt, &a);
    cli_close(&m);
    wk_buf_free(&a.text);
    wk_buf_free(&a.ids);
    wk_buf_free(&a.logprobs);
    wk_buf_free(&prompt);
    return code;
}
