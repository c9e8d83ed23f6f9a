/* fuzz_train_data.c: any bytes as lines of training data, for a vocabulary of a token for each of some letters, with a chat
 * template that marks what the assistant says and one that does not. Samples that are read hold ids and labels of the
 * vocabulary. */
#include "fuzz/folder.h"
#include "train/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tokenizer[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true},{\"id\":1,\"content\":\"</s>\",\"special\":true}],"
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":2,\"a\":3,\"b\":4,\"c\":5,\" \":6,\":\":7,\"user\":8,"
    "\"ab\":9},\"merges\":[\"a b\"]}}";
static const char config[] = "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"chat_template\":\"";
static const char plain[] = "{% for m in messages %}{{ m.role }}:{{ m.content }}</s>{% endfor %}{{ tools }}\"}";
static const char marked[] = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}</s>{% endfor %}\"}";

static wick_model *open_with(const char *template, size_t n) {
    char text[512];
    wick_model_options o;
    wick_model *m;
    int len = snprintf(text, sizeof text, "%s%.*s", config, (int)n, template);
    folder_put("tokenizer.json", tokenizer, sizeof tokenizer - 1);
    folder_put("tokenizer_config.json", text, (size_t)len);
    wick_model_defaults(&o);
    o.vocab_only = true;
    if (wick_model_open(folder, &o, &m)) abort();
    return m;
}

static void read_lines(const wick_model *m, const char *path, bool whole) {
    const wk_data_options o = { .max_seq_length = 64, .mask_prompt = !whole };
    wk_dataset *d = NULL;
    wick_status st = wk_dataset_read(m, path, &o, &d);
    if (st) {
        if (!*wick_last_error() || d) abort();
        return;
    }
    for (size_t i = 0; i < d->n; i++) {
        const wk_sample *s = &d->sample[i];
        if (s->n < 1 || s->n > 64) abort();
        for (int k = 0; k < s->n; k++) {
            if (s->id[k] < 0 || s->id[k] > 9) abort();
            if (s->label && s->label[k] != WK_NO_LABEL && (s->label[k] < 0 || s->label[k] > 9)) abort();
        }
    }
    wk_dataset_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static wick_model *m[2];
    static char path[96];
    if (!m[0]) {
        folder_make();
        m[0] = open_with(plain, sizeof plain - 1);
        m[1] = open_with(marked, sizeof marked - 1);
        snprintf(path, sizeof path, "%s/train.jsonl", folder);
    }
    folder_put("train.jsonl", size ? (const void *)data : "", size);
    for (int i = 0; i < 4; i++) read_lines(m[i % 2], path, i / 2);
    return 0;
}
