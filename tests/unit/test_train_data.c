/* test_train_data.c: what training reads: masks against transformers', every form of a line, what is wrong with one, how samples
 * become rows, and that a resumed order goes on where it was. */
#include "base/file.h"
#include "support/run.h"
#include "train/data.h"
#include "train/mask.h"
#include "train/pack.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char chat_model[] = "data/models/llama-chat";

static wick_model *open_with(const char *path, const char *chat_template) {
    wick_model_options o;
    wick_model *m;
    wick_model_defaults(&o);
    o.vocab_only = true;
    o.chat_template = chat_template;
    ok(wick_model_open(path, &o, &m));
    return m;
}


/* ---- masks ---- */

static void test_masks(void **state) {
    (void)state;
    json_t *cases, *c;
    size_t i;
    ok(wk_json_read("data/train/masks.json", 1 << 20, &cases));
    assert_int_equal(json_array_size(cases), 15);
    json_array_foreach(cases, i, c) {
        wick_model *m = open_with(chat_model, json_string_value(json_object_get(c, "template")));
        wk_ids ids = { 0 };
        wk_buf said = { 0 };
        json_t *chat = json_pack("{s:O}", "messages", json_object_get(c, "messages"));
        ok(wk_mask_chat(m, chat, &ids, &said));
        const json_t *want_ids = json_object_get(c, "ids"), *want = json_object_get(c, "mask");
        assert_int_equal(ids.len, json_array_size(want_ids));
        assert_int_equal(said.len, ids.len);
        for (size_t k = 0; k < ids.len; k++) {
            assert_int_equal(ids.ptr[k], json_integer_value(json_array_get(want_ids, k)));
            if (said.ptr[k] != json_integer_value(json_array_get(want, k)))
                fail_msg("case %zu (%s): token %zu is %d", i, json_string_value(json_object_get(c, "name")), k, said.ptr[k]);
        }
        json_decref(chat);
        wk_ids_free(&ids);
        wk_buf_free(&said);
        wick_model_free(m);
    }
    json_decref(cases);
}

/* The ids that are learnt, as text, runs apart by "/". */
static char *learnt(const wick_model *m, const int32_t *ids, const int32_t *labels, size_t n) {
    static char text[4096];
    size_t len = 0;
    bool open = false;
    text[0] = 0;
    for (size_t i = 0; i < n; i++) {
        size_t k;
        if (labels[i] == WK_NO_LABEL) { open = false; continue; }
        assert_int_equal(labels[i], ids[i]);
        if (!open && len) text[len++] = '/';
        open = true;
        const char *piece = wick_token_piece(m, ids[i], &k);
        memcpy(text + len, piece, k);
        text[len += k] = 0;
    }
    return text;
}

static void holds(const wick_model *m, const char *json, bool mask_prompt, const char *want) {
    wick_train_sample s;
    ok(wick_train_sample_read(m, json, mask_prompt, &s));
    assert_string_equal(learnt(m, s.ids, s.labels, s.n), want);
    assert_int_equal(s.label, -1);
    wick_train_sample_free(&s);
    assert_null(s.ids);
}

#define CALL "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]}"
#define CALLED "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}," CALL "]}"
#define CALLS "{% for c in m.tool_calls %}{{ c.function.name }}{% endfor %}"
#define CALLING "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}" CALLS "<|end|>"

static void test_forms(void **state) {
    (void)state;
    static const char turns[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"One.\"},"
        "{\"role\":\"user\",\"content\":\"And\"},{\"role\":\"assistant\",\"content\":\"Two.\"}]}";
    wick_model *m = open_with(chat_model, NULL);  /* its template has no marks: prefixes are compared */
    holds(m, turns, true, "One.<|end|>/Two.<|end|>");
    holds(m, turns, false, "<|user|>Hi<|end|><|assistant|>One.<|end|><|user|>And<|end|><|assistant|>Two.<|end|>");
    holds(m, "{\"prompt\":\"Hi\",\"completion\":\"Yes\"}", true, "Yes<|end|>");
    holds(m, "{\"prompt\":\"Hi\",\"completion\":\"Yes\"}", false, "<|user|>Hi<|end|><|assistant|>Yes<|end|>");
    wick_train_sample s;
    refused(wick_train_sample_read(m, CALLED, true, &s), WICK_E_FORMAT,
            "messages[1]: the model's chat template writes nothing of its \"tool_calls\"");
    refused(wick_train_sample_read(m, "{\"messages\":[{\"role\":\"user\",\"content\":\"H\"},{\"role\":\"gpt\",\"content\":\"x\"}]}",
                                   true, &s), WICK_E_FORMAT, "but of \"gpt\"");
    ok(wick_train_sample_read(m, "{\"text\":\"<|user|>a\"}", true, &s));  /* a text may spell control tokens */
    assert_true(s.n >= 2 && wick_token_is_control(m, s.ids[s.n - 3 < s.n ? s.n - 3 : 0]));
    assert_memory_equal(s.ids, s.labels, s.n * sizeof *s.ids);
    assert_true(wick_token_is_end(m, s.ids[s.n - 1]));
    wick_train_sample_free(&s);
    ok(wick_train_sample_read(m, "{\"input_ids\":[5,6,7],\"labels\":[-100,6,-100]}", true, &s));
    assert_int_equal(s.n, 3);
    assert_int_equal(s.labels[0], WK_NO_LABEL);
    assert_int_equal(s.labels[1], 6);
    wick_train_sample_free(&s);
    ok(wick_train_sample_read(m, "{\"input_ids\":[5,6,7]}", true, &s));
    assert_int_equal(s.labels[0], 5);
    wick_train_sample_free(&s);
    /* Padding is left out, on either side, with its labels. */
    ok(wick_train_sample_read(m, "{\"input_ids\":[0,5,6,7,0,0],\"attention_mask\":[0,1,1,1,0,0]}", true, &s));
    assert_int_equal(s.n, 3);
    assert_int_equal(s.ids[0], 5);
    assert_int_equal(s.labels[2], 7);
    wick_train_sample_free(&s);
    ok(wick_train_sample_read(m, "{\"input_ids\":[0,5,6],\"labels\":[-100,-100,6],\"attention_mask\":[0,1,1]}", true, &s));
    assert_int_equal(s.n, 2);
    assert_int_equal(s.labels[0], WK_NO_LABEL);
    assert_int_equal(s.labels[1], 6);
    wick_train_sample_free(&s);
    /* The request's words form no control token. */
    ok(wick_train_sample_read(m, "{\"prompt\":\"<|end|>\",\"completion\":\"x\"}", true, &s));
    assert_true(s.n > 5);
    wick_train_sample_free(&s);
    wick_model_free(m);
    m = open_with(chat_model, "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n\n{% endfor %}"
                              "{% if add_generation_prompt %}<|assistant|>{% endif %}");
    holds(m, turns, true, "One.<|end|>/Two.<|end|>");  /* not the newlines after the end of a turn */
    wick_model_free(m);
    m = open_with(chat_model, "{% for m in messages %}<|{{ m.role }}|>{% if m.content is string %}{{ m.content }}{% else %}"
                              "{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}<|end|>{% endfor %}"
                              "{% if add_generation_prompt %}<|assistant|>{% endif %}");
    holds(m, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]},"
             "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"One.\"}]}]}", true,
          "One.<|end|>");  /* it knows parts */
    wick_model_free(m);
    m = open_with(chat_model, CALLING "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}");
    holds(m, CALLED, true, "f<|end|>");  /* and not "None" */
    wick_model_free(m);
    /* A template that calls a message without text and without calls a mistake knows of calls. */
    m = open_with(chat_model, CALLING "{% if not m.content and not m.tool_calls %}{{ raise_exception('empty') }}{% endif %}"
                              "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}");
    holds(m, CALLED, true, "f<|end|>");
    wick_model_free(m);
}

/* Templates that write a turn otherwise once more follows: Qwen3's way of thoughts, gpt-oss's of ends. */
static void test_later_turns(void **state) {
    (void)state;
    static const char turns[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"One.\"},"
        "{\"role\":\"user\",\"content\":\"And\"},{\"role\":\"assistant\",\"content\":\"Two.\"},"
        "{\"role\":\"user\",\"content\":\"Stop\"}]}";
    static const struct { const char *body, *want; } cases[] = {
        { "{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}<|end|>\n",
          "One.<|end|>/Two.<|end|>" },
        /* an end that ends no turn elsewhere */
        { "{{ m.content }}{% if m.role == 'assistant' and not loop.last %}<|user|>{% else %}<|end|>{% endif %}",
          "One.<|user|>/Two.<|user|>" },
        /* what comes before is written otherwise too, or there is no token at all: it is said */
        { "{{ loop.length }}{{ m.content }}<|end|>", NULL },
        { "{% if loop.last %}!{% endif %}{{ m.content }}", NULL },
        { "{% if loop.last %}!{% endif %}{{ m.content }}{% if m.role == 'user' %}<|end|>{% endif %}", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        snprintf(text, sizeof text, "{%% for m in messages %%}<|{{ m.role }}|>%s{%% endfor %%}{%% if add_generation_prompt %%}"
                 "<|assistant|>{%% endif %%}", cases[i].body);
        wick_model *m = open_with(chat_model, text);
        wick_train_sample s;
        if (cases[i].want) holds(m, turns, true, cases[i].want);
        else refused(wick_train_sample_read(m, turns, true, &s), WICK_E_TEMPLATE, "cannot be found; give a template with marks");
        wick_model_free(m);
    }
}

/* An answer right after another: Qwen3 writes a thought into the last message alone, so the first changes when a second comes. */
static void test_two_answers(void **state) {
    (void)state;
    static const char template[] =
        "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and loop.last %}!{% endif %}{{ m.content }}<|end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
#define SAYS(who, text) "{\"role\":\"" who "\",\"content\":\"" text "\"}"
#define TURNS(more) "{\"messages\":[" SAYS("user", "Hi") "," SAYS("assistant", "One.") "," SAYS("assistant", "Two.") more "]}"
    static const char split[] =  /* a word stands between the two answers: whose it is cannot be told */
        "{% for m in messages %}{% if loop.index0 == 2 %}x{% endif %}<|{{ m.role }}|>{% if loop.last %}!{% endif %}{{ m.content }}"
        "<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
    wick_model *m = open_with(chat_model, template);
    holds(m, TURNS(""), true, "One.<|end|>/!Two.<|end|>");
    holds(m, TURNS("," SAYS("assistant", "Three.")), true, "One.<|end|>/Two.<|end|>/!Three.<|end|>");
    holds(m, TURNS("," SAYS("user", "Stop")), true, "One.<|end|>/Two.<|end|>");
    wick_model_free(m);
    m = open_with(chat_model, split);
    wick_train_sample s;
    refused(wick_train_sample_read(m, TURNS(""), true, &s), WICK_E_TEMPLATE, "cannot be found; give a template with marks");
    wick_model_free(m);
    m = open_with(chat_model, "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|><|system|>");
    /* Command-R7B's way */
    refused(wick_train_sample_read(m, TURNS(""), true, &s), WICK_E_TEMPLATE, "opens an answer after message 1 whether");
    wick_model_free(m);
#undef TURNS
#undef SAYS
}

/* OpenAI's weights: an answer of weight 0 is read, and not learnt, with marks in the template and without. */
static void test_weights(void **state) {
    (void)state;
#define SAYS(who, text, more) "{\"role\":\"" who "\",\"content\":\"" text "\"" more "}"
#define TURNS(first, second, third) \
    "{\"messages\":[" SAYS("user", "Hi", ZERO) "," SAYS("assistant", "One.", first) "," SAYS("user", "And", "") "," \
    SAYS("assistant", "Two.", second) "," SAYS("assistant", "Three.", third) "]}"
#define ZERO ",\"weight\":0"
#define ONE ",\"weight\":1"
    static const char end[] = "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
    static const char *const bodies[] = {
        "{{ m.content }}<|end|>",
        "{% if m.role == 'assistant' and loop.last %}!{% endif %}{{ m.content }}<|end|>",  /* Qwen3's way */
        ("{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}{% else %}{{ m.content }}<|end|>"
         "{% endif %}"),
    };
    for (int i = 0; i < 3; i++) {
        char text[400];
        const char *last = i == 1 ? "!" : "";
        snprintf(text, sizeof text, "{%% for m in messages %%}<|{{ m.role }}|>%s%s", bodies[i], end);
        wick_model *m = open_with(chat_model, text);
        snprintf(text, sizeof text, "Two.<|end|>/%sThree.<|end|>", last);
        holds(m, TURNS(ZERO, ONE, ""), true, text);
        snprintf(text, sizeof text, "One.<|end|>/%sThree.<|end|>", last);
        holds(m, TURNS(",\"weight\":null", ZERO, ",\"weight\":1.0"), true, text);
        holds(m, TURNS(ONE, "", ZERO), true, "One.<|end|>/Two.<|end|>");
        holds(m, TURNS(ZERO, ZERO, ZERO), true, "");
        snprintf(text, sizeof text, "<|user|>Hi<|end|><|assistant|>One.<|end|><|user|>And<|end|><|assistant|>/<|assistant|>%sThree."
                 "<|end|>", last);
        holds(m, TURNS("", ZERO, ""), false, text);  /* where all is learnt, but for it */
        wick_train_sample s;
        refused(wick_train_sample_read(m, TURNS("", ",\"weight\":0.5", ""), true, &s), WICK_E_FORMAT,
                "messages[3]: \"weight\" is neither 0");
        refused(wick_train_sample_read(m, TURNS(",\"weight\":\"0\"", "", ""), true, &s), WICK_E_FORMAT,
                "messages[1]: \"weight\" is neither 0");
        refused(wick_train_sample_read(m, "{\"messages\":[" SAYS("user", "Hi", ONE) "]}", true, &s), WICK_E_FORMAT,
                "messages[0]: \"weight\" is 1, and the message is not the assistant's");
        wick_model_free(m);
    }
    /* Marks around the last answer alone, around two together, or around none: whose they are is not told. */
    static const char *const unclear[] = {
        "{% for m in messages %}{% if loop.last %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}.{% endfor %}",
        "{% for m in messages %}{% if m.role == 'user' %}.{% else %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}"
        "{% endfor %}",
        "{% for m in messages %}{% if m.role == 'user' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}."
        "{% endfor %}",
    };
    for (int i = 0; i < 3; i++) {
        wick_model *m = open_with(chat_model, unclear[i]);
        wick_train_sample s;
        refused(wick_train_sample_read(m, TURNS("", ZERO, ""), true, &s), WICK_E_TEMPLATE,
                "messages[3]: \"weight\" is 0, and the {% generation %} marks");
        wick_model_free(m);
    }
#undef ONE
#undef ZERO
#undef TURNS
#undef SAYS
}

/* A tokenizer that changes the text, so that tokens' bytes do not add up to it: boundaries are found by tokenizing prefixes. */
static void test_normalised(void **state) {
    (void)state;
    static const char line[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"\xEF\xBC\xA1 word\"},{\"role\":\"assistant\","
                               "\"content\":\"the answer\"},{\"role\":\"user\",\"content\":\"more\"}]}";
    static const char *const templates[] = {
        "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %} . {% endfor %}",
        "{% for m in messages %}{{ m.role }}: {{ m.content }} . {% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
    };
    static const char *const want[] = { "the answer", "the answer ." };
    for (int i = 0; i < 2; i++) {
        wick_model *m = open_with("data/tokenizers/unigram-nfkc.gguf", templates[i]);
        wick_train_sample s;
        ok(wick_train_sample_read(m, line, true, &s));
        const char *got = learnt(m, s.ids, s.labels, s.n);
        got += strspn(got, " ");
        if (strcmp(got, want[i])) fail_msg("template %d: \"%s\"", i, got);
        wick_train_sample_free(&s);
        wick_model_free(m);
    }
}

static void test_wrong_lines(void **state) {
    (void)state;
    static const struct { const char *json, *words; wick_status st; } wrong[] = {
        { "[1]", "not a JSON object", WICK_E_FORMAT },
        { "{\"txt\":\"a\"}", "none of \"messages\"", WICK_E_FORMAT },
        { "{\"text\":3}", "\"text\" is not a string", WICK_E_FORMAT },
        { "{\"prompt\":\"a\"}", "\"completion\" is not a string", WICK_E_FORMAT },
        { "{\"prompt\":1,\"completion\":\"a\"}", "\"prompt\" is not a string", WICK_E_FORMAT },
        { "{\"messages\":3}", "messages", WICK_E_FORMAT },
        { "{\"messages\":[{\"role\":\"assistant\",\"content\":null}]}", "messages[0]: \"content\" is null", WICK_E_FORMAT },
        { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]}",
          "messages[0]: \"content\" is no text, and the model's chat template would print it as [{'type...", WICK_E_FORMAT },
        { "{\"messages\":[{\"role\":\"assistant\",\"content\":[\"a\"]}]}", "print it as ['...", WICK_E_FORMAT },
        { "{\"messages\":[{\"role\":\"user\",\"content\":{\"a\":1}}]}", "print it as {'a...", WICK_E_FORMAT },
        { "{\"input_ids\":3}", "\"input_ids\" is not a list", WICK_E_FORMAT },
        { "{\"input_ids\":[1,-100]}", "\"input_ids\"[1]", WICK_E_FORMAT },
        { "{\"input_ids\":[1,99999]}", "0 to 1023", WICK_E_FORMAT },
        { "{\"input_ids\":[1,2.5]}", "\"input_ids\"[1]", WICK_E_FORMAT },
        { "{\"input_ids\":[1,2],\"labels\":[1]}", "2 \"input_ids\" but 1 \"labels\"", WICK_E_FORMAT },
        { "{\"input_ids\":[1,2],\"labels\":[1,-99]}", "\"labels\"[1]", WICK_E_FORMAT },
        { "{\"input_ids\":[1,2],\"attention_mask\":[1]}", "\"attention_mask\" has 1 entries, \"input_ids\" 2", WICK_E_FORMAT },
        { "{\"input_ids\":[1,2],\"attention_mask\":[1,2]}", "\"attention_mask\"[1] is neither", WICK_E_FORMAT },
        { "{\"text\":\"a\",\"label\":-1}", "\"label\" is neither", WICK_E_FORMAT },
        { "{", "not JSON", WICK_E_FORMAT },
    };
    wick_model *m = open_with(chat_model, NULL);
    wick_train_sample s;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        refused(wick_train_sample_read(m, wrong[i].json, true, &s), wrong[i].st, wrong[i].words);
    refused(wick_train_sample_read(NULL, "{}", true, &s), WICK_E_ARG, "the model is NULL");
    wick_model_free(m);
    /* No marks, and what was said is rendered otherwise later on: nothing can be told from prefixes. */
    m = open_with(chat_model, "{% for m in messages %}{{ m.role }} {{ loop.length }}:{{ m.content }};{% endfor %}");
    refused(
        wick_train_sample_read(m,
                               "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},"
                               "{\"role\":\"user\",\"content\":\"c\"}]}",
                               true, &s),
        WICK_E_TEMPLATE, "generation");
    wick_model_free(m);
    m = run_open("data/models/qwen2-classify");
    refused(wick_train_sample_read(m, "{\"text\":\"a\",\"label\":1}", true, &s), WICK_E_UNSUPPORTED, "no tokenizer");
    ok(wick_train_sample_read(m, "{\"input_ids\":[0,9,8],\"attention_mask\":[0,1,1],\"label\":2}", true, &s));
    assert_int_equal(s.n, 2);
    assert_int_equal(s.ids[0], 9);
    wick_train_sample_free(&s);
    ok(wick_train_sample_read(m, "{\"input_ids\":[],\"label\":1}", true, &s));
    assert_int_equal(s.label, 1);
    wick_train_sample_free(&s);
    wick_model_free(m);
}

/* ---- files ---- */

static char *write_temp(const char *text) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/wick-train-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    return path;
}

static wick_status read_text(const wick_model *m, const char *text, int max, bool refuse, wk_dataset **d) {
    wk_data_options o = { .max_seq_length = max, .refuse_long = refuse, .mask_prompt = true };
    char *path = write_temp(text);
    wick_status st = wk_dataset_read(m, path, &o, d);
    unlink(path);
    return st;
}

static void test_files(void **state) {
    (void)state;
    wick_model *m = open_with(chat_model, NULL);
    wk_dataset *d;
    ok(read_text(m, "\xEF\xBB\xBF{\"input_ids\":[1,2,3]}\r\n\n  \n{\"input_ids\":[4,5,6,7],\"labels\":[4,-100,6,-100]}", 3, false,
                 &d));
    assert_int_equal(d->n, 2);
    assert_int_equal(d->sample[1].line, 4);
    assert_int_equal(d->n_cut, 1);
    assert_int_equal(d->longest, 4);
    assert_int_equal(d->n_token, 6);
    assert_int_equal(d->n_label, 3);  /* 2, 3; 6 */
    wk_dataset_free(d);
    /* What a cut leaves without a label goes, and is counted. */
    ok(read_text(m, "{\"input_ids\":[1,2,3],\"labels\":[-100,-100,3]}\n{\"input_ids\":[1,2]}\n", 2, false, &d));
    assert_int_equal(d->n, 1);
    assert_int_equal(d->n_masked, 1);
    wk_dataset_free(d);
    refused(read_text(m, "{\"input_ids\":[1,2]}\n{\"input_ids\":[1,2,3]}\n", 2, true, &d), WICK_E_LENGTH, "line 2: has 3 tokens");
    refused(read_text(m, "{\"input_ids\":[1,2]}\n{\"input_ids\":[1,2}\n", 2, false, &d), WICK_E_FORMAT, "line 2, column");
    refused(read_text(m, "{\"input_ids\":[1,2]}\n\n{\"x\":1}\n", 2, false, &d), WICK_E_FORMAT, "line 3: has none of");
    refused(read_text(m, "{\"question\":\"a\",\"output\":\"b\"}", 2, false, &d), WICK_E_FORMAT,
            "it has \"question\", \"output\"");
    refused(read_text(m, "{\"instruction\":\"a\",\"output\":\"b\"}", 2, false, &d), WICK_E_FORMAT,
            "line 1: is in Alpaca's form; here it is {\"messages\":[{\"role\":\"user\",\"content\":\"INSTRUCTION\"},");
    refused(read_text(m, "{\"instruction\":\"a\",\"input\":\"\",\"output\":\"b\"}", 2, false, &d), WICK_E_FORMAT,
            "\"INSTRUCTION\\n\\nINPUT\"},{\"role\":\"assistant\",\"content\":\"OUTPUT\"}]}");
    refused(read_text(m, "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"}]}", 2, false, &d), WICK_E_FORMAT,
            "line 1: is in ShareGPT's form; here \"conversations\" are \"messages\", \"from\" is \"role\"");
    refused(read_text(m, "[{\"input_ids\":[1,2]}]", 2, false, &d), WICK_E_FORMAT, "stand in no list");
    refused(read_text(m, "", 2, false, &d), WICK_E_FORMAT, "is empty");
    refused(read_text(m, " \n\n", 2, false, &d), WICK_E_FORMAT, "is empty");
    refused(read_text(m, "{\"input_ids\":[1,2],\"labels\":[1,-100]}", 2, false, &d), WICK_E_FORMAT,
            "no label is left in any of its 1");
    wk_data_options o = { .max_seq_length = 4 };
    refused(wk_dataset_read(m, "/nonexistent/train.jsonl", &o, &d), WICK_E_IO, "No such file");
    wk_dataset_free(NULL);
    wick_model_free(m);
}

/* Each allocation of reading fails once: a clean status, nothing leaked. */
static void fail_reading(const char *chat_template) {
    wick_model *m = open_with(chat_model, chat_template);
    char path[64];
    snprintf(path, sizeof path, "%s",
             write_temp("{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
                        "\"content\":\"One.\"},{\"role\":\"user\",\"content\":\"And\"}]}\n{\"messages\":[" CALL "]}\n"
                        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
                        "\"content\":\"One.\",\"weight\":0}]}\n"
                        "{\"text\":\"abc\"}\n{\"input_ids\":[1,2],\"labels\":[1,2]}\n"));
    wk_data_options o = { .max_seq_length = 64, .mask_prompt = true };
    uint64_t live = wk_alloc_live();
    wick_status st = WICK_E_MEMORY;
    for (uint64_t k = 1; st; k++) {
        wk_dataset *d = NULL;
        wk_alloc_fail_at(k);
        st = wk_dataset_read(m, path, &o, &d);
        wk_alloc_fail_at(0);
        if (st) { assert_int_equal(st, WICK_E_MEMORY); assert_null(d); }
        wk_dataset_free(d);
        assert_int_equal(wk_alloc_live(), live);
    }
    unlink(path);
    wick_model_free(m);
}

static void test_memory(void **state) {
    (void)state;
    fail_reading(CALLING "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}");
    fail_reading("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}" CALLS
                 "{% if m.role == 'assistant' and not loop.last %}<|user|>{% else %}.{% endif %}{% endfor %}");
    fail_reading("{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}" CALLS
                 "{% endgeneration %}{% endif %}{% endfor %}");
}

/* ---- rows ---- */

static void test_rows(void **state) {
    (void)state;
    wick_model *m = open_with(chat_model, NULL);
    wk_dataset *d;
    ok(read_text(m, "{\"input_ids\":[1,2,3,4],\"labels\":[-100,2,3,-100]}\n{\"input_ids\":[5,6]}\n{\"input_ids\":[7,8,9]}\n", 8,
                 false, &d));
    wk_order o = { .data = d, .batch_size = 2, .max_seq_length = 8 };
    wk_micro b = { 0 };
    ok(wk_order_next(&o, &b));
    /* The last token predicts nothing, and of the first sample the row before it neither. */
    assert_int_equal(b.n_row, 3);
    assert_int_equal(b.n_seq, 2);
    assert_memory_equal(b.token, ((int32_t[]){ 1, 2, 5 }), 12);
    assert_memory_equal(b.label, ((int32_t[]){ 2, 3, 6 }), 12);
    assert_memory_equal(b.pos, ((int32_t[]){ 0, 1, 0 }), 12);
    assert_memory_equal(b.seq, ((int32_t[]){ 0, 0, 1 }), 12);
    assert_int_equal(b.n_label, 3);
    assert_int_equal(wk_order_max_rows(&o), 4);
    ok(wk_order_next(&o, &b));  /* over the end of the epoch */
    assert_memory_equal(b.token, ((int32_t[]){ 7, 8, 1, 2 }), 16);
    assert_int_equal(o.next, 4);
    wk_order_free(&o);
    /* Packed: as many as fit into 1 * 4 rows. */
    o = (wk_order){ .data = d, .batch_size = 1, .max_seq_length = 4, .packing = true };
    ok(wk_order_next(&o, &b));
    assert_int_equal(b.n_seq, 2);
    ok(wk_order_next(&o, &b));
    assert_int_equal(b.n_seq, 2);
    assert_memory_equal(b.token, ((int32_t[]){ 7, 8, 1, 2 }), 16);
    assert_int_equal(wk_order_max_rows(&o), 4);
    wk_order_free(&o);
    o = (wk_order){ .data = d, .batch_size = 100, .max_seq_length = 8, .packing = true };
    ok(wk_order_next(&o, &b));
    assert_int_equal(b.n_seq, 3);  /* none of them twice */
    wk_order_free(&o);
    wk_micro_free(&b);
    wk_dataset_free(d);
    wick_model_free(m);
}

static void test_order(void **state) {
    (void)state;
    enum { N = 97 };
    wk_sample samples[N];
    wk_dataset d = { .sample = samples, .n = N };
    int32_t id[2] = { 0, 1 };
    for (int i = 0; i < N; i++) samples[i] = (wk_sample){ .id = id, .label = id, .n = 2, .cls = -1, .line = i };
    wk_order a = { .data = &d, .seed = 7, .shuffle = true, .batch_size = 4, .max_seq_length = 2 }, b = a;
    int seen[N] = { 0 }, moved = 0, same_place = 0, first[N];
    const wk_sample *s;
    for (uint64_t i = 0; i < N; i++) {
        ok(wk_order_sample(&a, i, &s));
        seen[s->line]++;
        first[i] = s->line;
        moved += s->line != (int32_t)i;
    }
    for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);  /* every sample once an epoch */
    assert_true(moved > N / 2);
    for (uint64_t i = 0; i < N; i++) {
        ok(wk_order_sample(&a, N + i, &s));
        same_place += s->line == first[i];
    }
    assert_true(same_place < N / 4);  /* another epoch, another order */
    /* A resumed run: another object that begins in the middle gives what the first goes on with. */
    for (uint64_t i = 3 * N + 50; i < 4 * N + 10; i++) {
        const wk_sample *t;
        ok(wk_order_sample(&a, i, &s));
        ok(wk_order_sample(&b, i, &t));
        assert_ptr_equal(s, t);
    }
    wk_order_free(&b);
    b.seed = 8;
    for (uint64_t i = 0, n = 0; i < N; i++) {
        ok(wk_order_sample(&b, i, &s));
        n += s->line == first[i];
        assert_true(n < N / 4);
    }
    wk_order_free(&a);
    wk_order_free(&b);
}

static void test_classes(void **state) {
    (void)state;
    wick_model *m = run_open("data/models/qwen2-classify");
    wk_dataset *d;
    ok(read_text(m, "{\"input_ids\":[1,2,3],\"label\":1}\n{\"input_ids\":[4],\"label\":0}\n", 2, false, &d));
    assert_true(d->classify);
    assert_int_equal(d->n_label, 2);
    wk_order o = { .data = d, .batch_size = 2, .max_seq_length = 2 };
    wk_micro b = { 0 };
    ok(wk_order_next(&o, &b));
    assert_int_equal(b.n_row, 3);
    assert_memory_equal(b.label, ((int32_t[]){ WK_NO_LABEL, 1, 0 }), 12);
    refused(read_text(m, "{\"input_ids\":[1]}", 2, false, &d), WICK_E_FORMAT, "has no \"label\"");
    refused(read_text(m, "{\"input_ids\":[1],\"label\":\"no such\"}", 2, false, &d), WICK_E_FORMAT, "\"label\" is neither");
    refused(read_text(m, "{\"input_ids\":[1],\"label\":99}", 2, false, &d), WICK_E_FORMAT, "\"label\" is neither");
    wk_micro_free(&b);
    wk_dataset_free((wk_dataset *)(uintptr_t)o.data);
    wk_order_free(&o);
    if (wick_model_label(m, 1)) {
        char line[256];
        snprintf(line, sizeof line, "{\"input_ids\":[1],\"label\":\"%s\"}", wick_model_label(m, 1));
        ok(read_text(m, line, 2, false, &d));
        assert_int_equal(d->sample[0].cls, 1);
        wk_dataset_free(d);
    }
    wick_model_free(m);
    m = run_open(chat_model);
    refused(read_text(m, "{\"text\":\"a\",\"label\":0}", 2, false, &d), WICK_E_FORMAT, "is no classifier");
    wick_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks), cmocka_unit_test(test_forms), cmocka_unit_test(test_normalised),
        cmocka_unit_test(test_later_turns), cmocka_unit_test(test_two_answers),
        cmocka_unit_test(test_weights), cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_files), cmocka_unit_test(test_memory),  cmocka_unit_test(test_rows),
        cmocka_unit_test(test_order), cmocka_unit_test(test_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
