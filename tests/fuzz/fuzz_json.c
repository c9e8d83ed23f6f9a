/* fuzz_json.c: any bytes as JSON. What parses is printed by wick's own writers and must read back as the same; and it is rendered
 * as a chat, with a template that looks at all of it and a tokenizer in which the request may form no control token. */
#include "base/json.h"
#include "fuzz/folder.h"
#include "wick.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tokenizer[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"<\":2,\"s\":3,\">\":4,\"ab\":5},\"merges\":[\"a b\"]},"
    "\"added_tokens\":[{\"id\":6,\"content\":\"<s>\",\"special\":true}]}";
static const char config[] =
    "{\"bos_token\":\"<s>\",\"chat_template\":\"{{ bos_token }}{% for m in messages %}{{ loop.index }}{{ m.role|upper }}"
    "{{ m.content if m.content is string else m.content|tojson }}"
    "{% for k, v in m|dictsort %}{{ k }}={{ v|string|trim }}{% endfor %}"
    "{% endfor %}{{ tools|default([])|tojson(indent=1) }}{{ x + 1 if x is number else x|length if x is iterable }}\"}";

static void print(const json_t *j, wk_buf *b) {
    const char *key;
    json_t *v;
    size_t i;
    if (json_is_object(j)) {
        char sep = '{';
        json_object_foreach((json_t *)(uintptr_t)j, key, v) {
            wk_buf_char(b, sep);
            wk_json_put_str(b, key, strlen(key));
            wk_buf_char(b, ':');
            print(v, b);
            sep = ',';
        }
        wk_buf_str(b, sep == '{' ? "{}" : "}");
    } else if (json_is_array(j)) {
        wk_buf_char(b, '[');
        json_array_foreach(j, i, v) {
            if (i) wk_buf_char(b, ',');
            print(v, b);
        }
        wk_buf_char(b, ']');
    } else if (json_is_string(j)) wk_json_put_str(b, json_string_value(j), json_string_length(j));
    else if (json_is_integer(j)) wk_buf_printf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(j));
    else if (json_is_real(j)) wk_json_put_num(b, json_real_value(j));
    else wk_buf_str(b, json_is_true(j) ? "true" : json_is_false(j) ? "false" : "null");
}

/* The same, though 2.0 may come back as 2. */
static bool same(const json_t *a, const json_t *b) {
    const char *key;
    json_t *v;
    size_t i;
    if (json_is_number(a)) return json_is_number(b) && json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b)) return false;
    if (json_is_object(a)) {
        json_object_foreach((json_t *)(uintptr_t)a, key, v)
            if (!json_object_get(b, key) || !same(v, json_object_get(b, key))) return false;
        return json_object_size(a) == json_object_size(b);
    }
    if (!json_is_array(a)) return json_equal(a, b);
    json_array_foreach(a, i, v) if (!same(v, json_array_get(b, i))) return false;
    return json_array_size(a) == json_array_size(b);
}

static void chat(const wick_model *m, const uint8_t *data, size_t size) {
    char *text = wk_strdup_n((const char *)data, size);
    wick_chat c;
    if (!text) abort();
    if (!wick_chat_render(m, text, &c)) {
        for (size_t i = 1; i < c.n_ids; i++) if (c.ids[i] == 6) abort();
        wick_chat_free(&c);
    } else if (!*wick_last_error()) abort();
    wk_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static wick_model *m;
    json_t *j, *again;
    wk_buf b = { 0 };
    if (!m) {
        wick_model_options o;
        wick_model_defaults(&o);
        o.vocab_only = true;
        folder_make();
        folder_put("tokenizer.json", tokenizer, sizeof tokenizer - 1);
        folder_put("tokenizer_config.json", config, sizeof config - 1);
        if (wick_model_open(folder, &o, &m)) abort();
    }
    if (!wk_json_parse((const char *)data, size, "fuzz", &j)) {
        print(j, &b);
        if (b.failed || wk_json_parse(b.ptr, b.len, "printed", &again) || !same(j, again)) abort();
        json_decref(again);
        json_decref(j);
        wk_buf_free(&b);
    }
    chat(m, data, size);
    return 0;
}
