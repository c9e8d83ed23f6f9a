/* train.c: trains an adapter and uses it: options, steps with what they report, the adapter on a session, its answer beside the
 * model's own.
 *   train MODEL DATA [OUT [PROMPT]]
 * DATA is a folder with train.jsonl, and valid.jsonl where there is one; OUT gets the adapter, the log and a checkpoint. A run that
 * was interrupted goes on when it is started again. */
#include <math.h>
#include <stdio.h>
#include "wick.h"

enum { N = 32 };

static bool on_token(const wick_token *t, void *user) {
    (void)user;
    fwrite(t->text, 1, t->n_text, stdout);
    return true;
}

/* The question as a conversation of one message, which the model's chat template frames as it did in training. */
static void as_messages(const char *text, char *out, size_t cap) {
    size_t n = (size_t)snprintf(out, cap, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (; *text && n + 8 < cap; text++) {
        if (*text == '"' || *text == '\\') out[n++] = '\\';
        out[n++] = (unsigned char)*text < ' ' ? ' ' : *text;
    }
    snprintf(out + n, cap - n, "\"}]}");
}

static wick_status say(wick_session *s, const wick_model *m, const char *text, const char *who) {
    wick_generate_options o;
    char messages[4096];
    as_messages(text, messages, sizeof messages);
    wick_generate_defaults(m, &o);
    o.temperature = 0;
    o.n_predict = N;
    printf("%s: ", who);
    wick_status st = wick_generate(s, &(wick_prompt){ .messages = messages }, &o, on_token, NULL, NULL);
    printf("\n");
    return st;
}

static void show(const wick_train_point *p) {
    printf("iteration %4d", p->iteration);
    if (!isnan(p->train_loss)) printf("  loss %.4f  %.0f tokens/s", p->train_loss, p->tokens_per_second);
    if (!isnan(p->val_loss)) printf("  validation loss %.4f", p->val_loss);
    printf("\n");
}

static bool has_checkpoint(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/checkpoint.wick", folder);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

/* Twenty micro-batches; they can be taken up again where the last checkpoint stands. */
static wick_status train(wick_model *m, const char *data, const char *out) {
    wick_train_options o;
    wick_train_info info = { .size = sizeof info };
    wick_train_event e = { .finished = false };
    wick_train *t = NULL;
    wick_train_defaults(&o);
    o.data = data;
    o.adapter_path = out;
    o.num_layers = -1;
    o.learning_rate = 2e-4;
    o.batch_size = 2;
    o.iters = 20;
    o.steps_per_report = 5;
    o.steps_per_eval = 10;
    o.resume = has_checkpoint(out);
    wick_status st = wick_train_options_set(&o, "lora_parameters.rank", "4");  /* any key of a YAML file, by its name */
    if (!st) st = wick_train_new(m, &o, false, &t);
    if (!st) st = wick_train_describe(t, &info);
    if (!st)
        printf("%llu numbers are trained on %llu samples, in %.1f MB\n", (unsigned long long)info.n_param,
               (unsigned long long)info.n_train, (double)info.n_bytes / 1e6);
    while (!st && !e.finished) {
        st = wick_train_step(t, &e);
        if (!st && e.reported) show(&e.point);
    }
    if (st == WICK_E_END) st = WICK_OK;  /* it was over before */
    wick_train_free(t);
    wick_train_options_free(&o);
    return st;
}

int main(int argc, char **argv) {
    wick_model *m = NULL;
    wick_session *s = NULL;
    wick_adapter *a = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: train MODEL DATA [OUT [PROMPT]]\n");
        return 2;
    }
    const char *out = argc > 3 ? argv[3] : "adapters", *text = argc > 4 ? argv[4] : "Say 3.";
    wick_status st = wick_model_open(argv[1], NULL, &m);
    if (!st) st = train(m, argv[2], out);
    if (!st) st = wick_session_new(m, NULL, &s);
    if (!st) st = say(s, m, text, "before");
    if (!st) st = wick_adapter_load(m, out, &a);
    if (!st) st = wick_session_apply_adapter(s, a, 1);
    if (!st) st = say(s, m, text, "after");
    if (st) fprintf(stderr, "train: %s\n", wick_last_error());
    wick_session_free(s);
    wick_adapter_free(a);
    wick_model_free(m);
    return st ? 1 : 0;
}
