/* data.c: reads training data. Load: files of some hundred megabytes, read once before training begins and held as ids. */
#include "train/data.h"
#include "base/file.h"
#include "train/mask.h"
#include <string.h>

enum { MAX_SAMPLE = 1 << 24 };  /* tokens of a line */
static const size_t max_file = (size_t)2 << 30;

/* ---- a line ---- */

static wick_status add_ids(wk_ids *to, const int32_t *id, size_t n) {
    if (!wk_grow((void **)&to->ptr, &to->cap, to->len + n, sizeof *to->ptr)) return wk_fail_memory(n * sizeof *id, "a sample");
    if (n) memcpy(to->ptr + to->len, id, n * sizeof *id);
    to->len += n;
    return WICK_OK;
}

/* Labels of the ids from label_from on; those before have none. */
static wick_status label_rest(const wk_ids *ids, size_t label_from, wk_ids *labels) {
    wick_status st = add_ids(labels, ids->ptr, ids->len);
    for (size_t i = 0; !st && i < label_from; i++) labels->ptr[i] = WK_NO_LABEL;
    return st;
}

static wick_status text_field(const json_t *line, const char *key, wk_span *out) {
    const json_t *v = json_object_get(line, key);
    if (!json_is_string(v)) return wk_fail(WICK_E_FORMAT, "\"%s\" is not a string", key);
    *out = (wk_span){ json_string_value(v), json_string_length(v), false };
    return WICK_OK;
}

/* The token that ends a text, once. */
static wick_status end_text(const wick_model *m, wk_ids *ids) {
    int32_t eos = wk_tokenizer_eos(m->m->tokenizer);
    if (eos < 0 || (ids->len && ids->ptr[ids->len - 1] == eos)) return WICK_OK;
    return add_ids(ids, &eos, 1);
}

static wick_status from_text(const wick_model *m, json_t *line, wk_ids *ids, wk_ids *labels) {
    wk_span text;
    wick_status st = wk_need_tokenizer(m);
    if (!st) st = text_field(line, "text", &text);
    if (!st) text.trusted = true;  /* a text to be learnt may hold the chat's own control tokens */
    if (!st) st = wk_tokenize(m->m->tokenizer, &text, 1, true, ids);
    if (!st) st = end_text(m, ids);
    return st ? st : label_rest(ids, 0, labels);
}

/* An assistant that calls tools may say nothing, "content": null. Templates that simply print the content would print "None", which
 * nobody said: the text is empty. A null without calls is a mistake. Puts such messages' copies into chat's list. */
static wick_status empty_nulls(json_t *chat) {
    json_t *list = json_object_get(chat, "messages"), *copy = NULL, *v;
    wick_status st = WICK_OK;
    size_t i;
    json_array_foreach(list, i, v) {
        json_t *content = json_object_get(v, "content");
        if (st || !content || !json_is_null(content)) continue;
        if (!json_array_size(json_object_get(v, "tool_calls"))) {
            st = wk_fail(WICK_E_FORMAT, "messages[%zu]: \"content\" is null, and there are no \"tool_calls\"", i);
            continue;
        }
        if (!copy) copy = json_copy(list);
        json_t *message = json_copy(v);
        bool whole = json_array_size(copy) == json_array_size(list) && json_object_size(message) == json_object_size(v);
        if (json_object_set_new(message, "content", json_string("")) || !whole) json_decref(message), message = NULL;
        if (!message || json_array_set_new(copy, i, message)) st = wk_fail_memory(64, "a conversation");
    }
    if (!st && copy && json_object_set(chat, "messages", copy)) st = wk_fail_memory(64, "a conversation");
    json_decref(copy);
    return st;
}

/* Other programs' names for the assistant, whose words would be masked here as anybody's. */
static wick_status check_roles(const json_t *messages) {
    static const char *const theirs[] = { "gpt", "bot", "model", "ai", "chatgpt", "Assistant" };
    const char *found = NULL;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
        if (role && !strcmp(role, "assistant")) return WICK_OK;
        for (size_t k = 0; role && k < sizeof theirs / sizeof *theirs; k++) if (!strcmp(role, theirs[k])) found = theirs[k];
    }
    return found ? wk_fail(WICK_E_FORMAT, "has no message of the role \"assistant\", whose words are learnt, but of \"%s\"", found)
                 : WICK_OK;
}

static wick_status from_messages(const wick_model *m, json_t *line, bool mask_prompt, wk_ids *ids, wk_ids *labels) {
    wk_buf said = { 0 };
    json_t *chat = json_copy(line);
    bool whole = json_object_size(chat) == json_object_size(line);  /* jansson copies what memory allows */
    wick_status st = whole ? empty_nulls(chat) : wk_fail_memory(64, "a conversation");
    if (!st && mask_prompt) st = check_roles(json_object_get(chat, "messages"));
    if (!st) st = wk_mask_chat(m, chat, ids, &said);
    if (!st) st = label_rest(ids, 0, labels);
    for (size_t i = 0; !st && i < ids->len; i++)
        if (mask_prompt ? said.ptr[i] != WK_SAID : said.ptr[i] == WK_SAID_UNLEARNT) labels->ptr[i] = WK_NO_LABEL;
    wk_buf_free(&said);
    json_decref(chat);
    return st;
}

/* Without a chat template a completion simply follows its prompt. */
static wick_status from_plain_pair(const wick_model *m, json_t *line, bool mask_prompt, wk_ids *ids, wk_ids *labels) {
    wk_span part[2];
    wk_ids prompt = { 0 };
    wick_status st = text_field(line, "prompt", &part[0]);
    if (!st) st = text_field(line, "completion", &part[1]);
    if (!st) st = wk_tokenize(m->m->tokenizer, part, 1, true, &prompt);
    if (!st) st = wk_tokenize(m->m->tokenizer, part, 2, true, ids);
    if (!st) st = end_text(m, ids);
    size_t same = 0;  /* a token that holds the end of the prompt and the beginning of the completion counts as the completion's */
    while (same < prompt.len && same < ids->len && prompt.ptr[same] == ids->ptr[same]) same++;
    wk_ids_free(&prompt);
    return st ? st : label_rest(ids, mask_prompt ? same : 0, labels);
}

static wick_status from_pair(const wick_model *m, json_t *line, bool mask_prompt, wk_ids *ids, wk_ids *labels) {
    wick_status st = wk_need_tokenizer(m);
    if (st) return st;
    if (!m->m->chat_text) return from_plain_pair(m, line, mask_prompt, ids, labels);
    wk_span part;
    st = text_field(line, "prompt", &part);
    if (!st) st = text_field(line, "completion", &part);
    if (st) return st;
    json_t *chat = json_pack("{s:[{s:s,s:O},{s:s,s:O}]}", "messages", "role", "user", "content", json_object_get(line, "prompt"),
                             "role", "assistant", "content", json_object_get(line, "completion"));
    if (!chat || (json_object_get(line, "tools") && json_object_set(chat, "tools", json_object_get(line, "tools"))))
        st = wk_fail_memory(256, "a conversation");
    if (!st) st = from_messages(m, chat, mask_prompt, ids, labels);
    json_decref(chat);
    return st;
}

static wick_status read_numbers(const json_t *line, const char *key, int64_t least, int64_t n_vocab, wk_ids *out) {
    const json_t *list = json_object_get(line, key), *v;
    size_t i;
    if (!json_is_array(list)) return wk_fail(WICK_E_FORMAT, "\"%s\" is not a list of token ids", key);
    json_array_foreach(list, i, v) {
        int64_t id = json_is_integer(v) ? (int64_t)json_integer_value(v) : INT64_MIN;
        if (id != least && (id < 0 || id >= n_vocab))
            return wk_fail(WICK_E_FORMAT, "\"%s\"[%zu] is not a token id: this vocabulary has 0 to %lld", key, i,
                           (long long)n_vocab - 1);
        int32_t narrow = (int32_t)id;
        wick_status st = add_ids(out, &narrow, 1);
        if (st) return st;
    }
    return WICK_OK;
}

/* Tokenizers write padding with a 0 in "attention_mask"; it is no part of a sample. labels: empty where there are none. */
static wick_status drop_padding(const json_t *line, wk_ids *ids, wk_ids *labels) {
    const json_t *mask = json_object_get(line, "attention_mask"), *v;
    size_t n = 0, i;
    if (!mask) return WICK_OK;
    if (json_array_size(mask) != ids->len)
        return wk_fail(WICK_E_FORMAT, "\"attention_mask\" has %zu entries, \"input_ids\" %zu: there has to be one for each",
                       json_array_size(mask), ids->len);
    json_array_foreach(mask, i, v) {
        int64_t x = json_is_integer(v) ? (int64_t)json_integer_value(v) : -1;
        if (x != 0 && x != 1) return wk_fail(WICK_E_FORMAT, "\"attention_mask\"[%zu] is neither 0 nor 1", i);
        if (!x) continue;
        if (labels->len) labels->ptr[n] = labels->ptr[i];
        ids->ptr[n++] = ids->ptr[i];
    }
    if (labels->len) labels->len = n;
    ids->len = n;
    return WICK_OK;
}

static wick_status from_ids(const wick_model *m, const json_t *line, wk_ids *ids, wk_ids *labels) {
    int64_t n_vocab = m->m->hp.n_vocab;
    if (!n_vocab && m->m->tokenizer) n_vocab = wk_tokenizer_n_vocab(m->m->tokenizer);
    wick_status st = read_numbers(line, "input_ids", 0, n_vocab, ids);
    bool given = json_object_get(line, "labels");
    if (!st && given) st = read_numbers(line, "labels", WK_NO_LABEL, n_vocab, labels);
    if (!st && given && ids->len != labels->len)
        st = wk_fail(WICK_E_FORMAT, "%zu \"input_ids\" but %zu \"labels\": there has to be one for each (they are not shifted; "
                     "-100: no loss)", ids->len, labels->len);
    if (!st) st = drop_padding(line, ids, labels);
    return st || given ? st : label_rest(ids, 0, labels);
}

static wick_status read_class(const wick_model *m, const json_t *v, int32_t *cls) {
    int n = (int)m->m->hp.n_label;
    if (json_is_integer(v) && json_integer_value(v) >= 0
        && json_integer_value(v) < (m->vocab_only ? INT32_MAX : n)) {
        *cls = (int32_t)json_integer_value(v);
        return WICK_OK;
    }
    for (int i = 0; json_is_string(v) && i < n; i++) {
        const char *name = wick_model_label(m, i);
        if (!name || strcmp(name, json_string_value(v))) continue;
        *cls = i;
        return WICK_OK;
    }
    return wk_fail(WICK_E_FORMAT, "\"label\" is neither a number from 0 to %d nor a class's name%s%s", n - 1,
                   n && wick_model_label(m, 0) ? ", as " : "", n && wick_model_label(m, 0) ? wick_model_label(m, 0) : "");
}

static wick_status from_class(const wick_model *m, json_t *line, wk_ids *ids, int32_t *cls) {
    wk_span text;
    wick_status st = read_class(m, json_object_get(line, "label"), cls);
    if (!st && json_object_get(line, "input_ids")) {
        st = read_numbers(line, "input_ids", 0, m->m->hp.n_vocab, ids);
        return st ? st : drop_padding(line, ids, &(wk_ids){ 0 });
    }
    if (st) return st;
    st = wk_need_tokenizer(m);
    if (!st) st = text_field(line, "text", &text);
    return st ? st : wk_tokenize(m->m->tokenizer, &text, 1, true, ids);
}

/* Other programs' forms, and how they are written here. */
static wick_status check_form(const json_t *line) {
    if (json_object_get(line, "instruction") && json_object_get(line, "output"))
        return wk_fail(WICK_E_FORMAT, "is in Alpaca's form; here it is {\"messages\":[{\"role\":\"user\",\"content\":"
                       "\"INSTRUCTION%s\"},{\"role\":\"assistant\",\"content\":\"OUTPUT\"}]}",
                       json_object_get(line, "input") ? "\\n\\nINPUT" : "");
    if (json_object_get(line, "conversations"))
        return wk_fail(WICK_E_FORMAT, "is in ShareGPT's form; here \"conversations\" are \"messages\", \"from\" is \"role\" "
                       "(\"human\" is \"user\", \"gpt\" is \"assistant\"), and \"value\" is \"content\": {\"messages\":[{\"role\":"
                       "\"user\",\"content\":\"VALUE\"},{\"role\":\"assistant\",\"content\":\"VALUE\"}]}");
    return WICK_OK;
}

static wick_status unknown_keys(json_t *line) {
    static const char want[] = "has none of \"messages\", \"prompt\" and \"completion\", \"text\", \"input_ids\"";
    char has[160] = "";
    const char *key;
    json_t *v;
    json_object_foreach(line, key, v) {
        size_t n = strlen(has);
        if (n + strlen(key) + 16 < sizeof has) snprintf(has + n, sizeof has - n, "%s\"%s\"", n ? ", " : "; it has ", key);
    }
    return wk_fail(WICK_E_FORMAT, "%s%s", want, has);
}

wick_status wk_sample_parse(const wick_model *m, json_t *line, bool mask_prompt, wk_ids *ids, wk_ids *labels, int32_t *cls) {
    *cls = -1;
    if (!json_is_object(line))
        return wk_fail(WICK_E_FORMAT, "is not a JSON object%s",
                       json_is_array(line) ? ": each line is one, and they stand in no list" : "");
    bool labelled = json_object_get(line, "label");
    if (m->m->hp.classify && !labelled)
        return wk_fail(WICK_E_FORMAT, "has no \"label\": this model is a classifier and learns from \"text\" and \"label\"");
    if (labelled && !m->vocab_only && !m->m->hp.classify)
        return wk_fail(WICK_E_FORMAT, "has a \"label\", but this model is no classifier: give \"messages\", \"prompt\" and "
                       "\"completion\", or \"text\"");
    if (labelled) return from_class(m, line, ids, cls);
    if (json_object_get(line, "input_ids")) return from_ids(m, line, ids, labels);
    if (json_object_get(line, "messages")) return from_messages(m, line, mask_prompt, ids, labels);
    if (json_object_get(line, "prompt") || json_object_get(line, "completion"))
        return from_pair(m, line, mask_prompt, ids, labels);
    if (json_object_get(line, "text")) return from_text(m, line, ids, labels);
    wick_status st = check_form(line);
    return st ? st : unknown_keys(line);
}

/* ---- a file ---- */

/* Labels that some row predicts: all but the first token's. */
static size_t count_labels(const wk_ids *labels, size_t n) {
    size_t k = 0;
    for (size_t i = 1; i < n; i++) k += labels->ptr[i] != WK_NO_LABEL;
    return k;
}

static wick_status keep(wk_dataset *d, const wk_ids *ids, const wk_ids *labels, size_t n, int32_t cls, int32_t line) {
    if (!wk_grow((void **)&d->sample, &d->cap, d->n + 1, sizeof *d->sample))
        return wk_fail_memory(d->n * sizeof *d->sample, d->path);
    wk_sample s = { .n = (int32_t)n, .cls = cls, .line = line, .id = wk_arena_alloc(&d->arena, n * sizeof *s.id) };
    if (cls < 0) s.label = wk_arena_alloc(&d->arena, n * sizeof *s.label);
    if (!s.id || (cls < 0 && !s.label)) return wk_fail_memory(n * sizeof *s.id, d->path);
    memcpy(s.id, ids->ptr, n * sizeof *s.id);
    if (s.label) memcpy(s.label, labels->ptr, n * sizeof *s.label);
    d->sample[d->n++] = s;
    d->n_token += n;
    return WICK_OK;
}

static wick_status add_line(wk_dataset *d, const wick_model *m, json_t *j, const wk_data_options *o, int32_t line) {
    wk_ids ids = { 0 }, labels = { 0 };
    int32_t cls;
    wick_status st = wk_sample_parse(m, j, o->mask_prompt, &ids, &labels, &cls);
    size_t n = ids.len, max = (size_t)o->max_seq_length;
    if (!st && n > MAX_SAMPLE) st = wk_fail(WICK_E_LENGTH, "has %zu tokens; at most %d are taken", n, MAX_SAMPLE);
    if (!st && n > max && o->refuse_long)
        st = wk_fail(WICK_E_LENGTH, "has %zu tokens, max_seq_length is %zu: raise it, or set long_samples: cut", n, max);
    if (!st) {
        if ((int32_t)n > d->longest) d->longest = (int32_t)n;
        d->n_cut += n > max;
        if (n > max) n = max;
        size_t k = cls < 0 ? count_labels(&labels, n) : n > 0;
        d->n_label += k;
        if (k) st = keep(d, &ids, &labels, n, cls, line);
        else d->n_masked++;
    }
    wk_ids_free(&ids);
    wk_ids_free(&labels);
    return st;
}

/* Puts "train.jsonl: line 3" in front of what went wrong there. */
static wick_status fail_at(wick_status st, const char *path, int32_t line) {
    wk_buf at = { 0 };
    wk_buf_printf(&at, "%s: line %d", path, line);
    if (!at.failed) wk_fail_in(st, at.ptr);
    wk_buf_free(&at);
    return st;
}

static bool blank(const char *p, size_t n) {
    while (n && strchr(" \t\r", *p) && *p) p++, n--;
    return !n;
}

static wick_status parse_line(const char *p, size_t n, const char *path, int32_t line, json_t **out) {
    json_error_t e;
    if (wk_json_load(p, n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &e, out)) return WICK_OK;
    if (wk_json_no_memory()) return wk_fail_memory(n, path);
    return wk_fail(WICK_E_FORMAT, "%s: line %d, column %d: not JSON: %s; a line holds one object", path, line, e.column, e.text);
}

static wick_status read_lines(wk_dataset *d, const wick_model *m, const wk_buf *text, const wk_data_options *o) {
    const char *at = text->ptr, *end = text->ptr + text->len;
    wick_status st = WICK_OK;
    if (text->len >= 3 && !memcmp(at, "\xEF\xBB\xBF", 3)) at += 3;
    for (int32_t line = 1; !st && at < end; line++) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((nl ? nl : end) - at);
        if (!blank(at, n)) {
            json_t *j = NULL;
            st = parse_line(at, n, d->path, line, &j);
            if (!st && (st = add_line(d, m, j, o, line)) != WICK_OK) fail_at(st, d->path, line);
            json_decref(j);
        }
        at += n + 1;
    }
    return st;
}

wick_status wk_dataset_read(const wick_model *m, const char *path, const wk_data_options *o, wk_dataset **out) {
    wk_buf text = { 0 };
    wk_dataset *d = wk_alloc(sizeof *d);
    *out = NULL;
    if (!d || !(d->path = wk_strdup(path))) {
        wk_free(d);
        return wk_fail_memory(sizeof *d, "a data set");
    }
    d->classify = m->m->hp.classify;
    wick_status st = wk_file_read(path, max_file, &text);
    if (!st) st = read_lines(d, m, &text, o);
    wk_buf_free(&text);
    if (!st && !d->n && !d->n_masked) st = wk_fail(WICK_E_FORMAT, "%s: is empty: it needs a JSON object a line", path);
    if (!st && !d->n)
        st = wk_fail(WICK_E_FORMAT,
                     "%s: no label is left in any of its %zu samples%s, so there is nothing to learn; see what is masked "
                     "with wick tokenize MODEL --show-mask %s",
                     path, d->n_masked, d->n_cut ? " (some were cut to max_seq_length)" : "", path);
    if (st) wk_dataset_free(d);
    else *out = d;
    return st;
}

void wk_dataset_free(wk_dataset *d) {
    if (!d) return;
    wk_arena_free(&d->arena);
    wk_free(d->sample);
    wk_free(d->path);
    wk_free(d);
}
