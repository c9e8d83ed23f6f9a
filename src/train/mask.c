/* mask.c: from a rendered conversation to a mask over its tokens.
 * Load: some thousand conversations before a training begins; a template without marks is rendered three times for each turn. */
#include "train/mask.h"
#include <stdio.h>
#include <string.h>

/* ---- bytes to tokens ---- */

/* The byte at which each token begins, [n + 1]; false where the tokens' bytes do not add up to the text, as with normalisers. */
static bool token_starts(const wick_model *m, const wk_rendered *r, const wk_ids *ids, size_t *start) {
    size_t at = 0;
    for (size_t i = 0; i < ids->len; i++) {
        wk_str s = wk_tokenizer_bytes(m->m->tokenizer, ids->ptr[i]);
        start[i] = at;
        /* SentencePiece puts a space before the text and after control tokens. */
        bool as_is = s.len <= r->text.len - at && !memcmp(r->text.ptr + at, s.ptr, s.len);
        if (!as_is && s.len && *s.ptr == ' ') {
            s = (wk_str){ s.ptr + 1, s.len - 1 };
            as_is = s.len <= r->text.len - at && !memcmp(r->text.ptr + at, s.ptr, s.len);
        }
        if (!as_is) return false;
        at += s.len;
    }
    start[ids->len] = at;
    return at == r->text.len;
}

/* How many tokens stand before byte `at`, found by tokenizing the text up to there: the ids that stay the same. */
static wick_status tokens_before(const wick_model *m, const wk_rendered *r, const wk_ids *ids, size_t at, size_t *n) {
    wk_ids part = { 0 };
    wick_status st = wk_chat_ids(m, r, at, &part);
    for (*n = 0; !st && *n < part.len && *n < ids->len && part.ptr[*n] == ids->ptr[*n];) ++*n;
    wk_ids_free(&part);
    return st;
}

/* The tokens [*a, *b) that hold any of the bytes [from, to) of the rendered chat. */
static wick_status find_tokens(const wick_model *m, const wk_rendered *r, const wk_ids *ids, size_t from, size_t to, size_t *a,
                               size_t *b) {
    size_t *start = wk_alloc_array(ids->len + 1, sizeof *start);
    wick_status st = WICK_OK;
    *a = 0;
    if (!start) return wk_fail_memory((ids->len + 1) * sizeof *start, "a mask");
    if (token_starts(m, r, ids, start)) {
        while (*a < ids->len && start[*a + 1] <= from) ++*a;
        for (*b = *a; *b < ids->len && start[*b] < to;) ++*b;
    } else {
        st = tokens_before(m, r, ids, from, a);
        if (!st) st = tokens_before(m, r, ids, to, b);
        if (!st && *b < *a) *b = *a;
    }
    wk_free(start);
    return st;
}

/* ---- messages ---- */

static bool is_assistant(const json_t *messages, size_t i) {
    const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
    return role && !strcmp(role, "assistant");
}

/* OpenAI's "weight" of an assistant's message: 0, and it is there for the others' sake alone. A null is as none. */
static bool is_learnt(const json_t *messages, size_t i) {
    const json_t *weight = json_object_get(json_array_get(messages, i), "weight");
    return !json_is_number(weight) || json_number_value(weight) != 0;
}

/* The conversation's first n messages, rendered. */
static wick_status render_first(const wick_model *m, json_t *chat, size_t n, bool generation_prompt, wk_rendered *out) {
    json_t *messages = json_copy(json_object_get(chat, "messages")), *part = json_copy(chat);
    /* jansson copies what memory allows, and says nothing */
    bool whole = json_object_size(part) == json_object_size(chat)
                 && json_array_size(messages) == json_array_size(json_object_get(chat, "messages"));
    wick_status st = whole ? WICK_OK : wk_fail_memory(64, "a conversation");
    for (size_t i = json_array_size(messages); i-- > n;) json_array_remove(messages, i);
    if (!st && (json_object_set(part, "messages", messages)
                || json_object_set_new(part, "add_generation_prompt", json_boolean(generation_prompt))))
        st = wk_fail_memory(64, "a conversation");
    if (!st) st = wk_chat_text(m, part, out);
    json_decref(messages);
    json_decref(part);
    return st;
}

/* The same, as if message i had another value of a key, which is taken; NULL: none. */
static wick_status render_changed(const wick_model *m, json_t *chat, size_t n, size_t i, const char *key, json_t *value,
                                  wk_rendered *out) {
    json_t *part = json_copy(chat), *messages = json_copy(json_object_get(chat, "messages")),
           *message = json_copy(json_array_get(messages, i));
    bool copied = json_object_size(part) == json_object_size(chat) && json_array_size(messages) > i
                  && json_object_size(message) == json_object_size(json_array_get(messages, i));
    if (value ? json_object_set_new(message, key, value) : json_object_del(message, key)) copied = false;
    if (!copied || json_array_set(messages, i, message) || json_object_set(part, "messages", messages)) copied = false;
    wick_status st = copied ? render_first(m, part, n, false, out) : wk_fail_memory(64, "a conversation");
    json_decref(message);
    json_decref(messages);
    json_decref(part);
    return st;
}

static size_t common(const wk_buf *a, const wk_buf *b) {
    size_t n = 0;
    while (n < a->len && n < b->len && a->ptr[n] == b->ptr[n]) n++;
    return n;
}

/* ---- marks ---- */

/* Does the template have marks, whether or not this conversation is written by them? */
static bool has_marks(const wick_model *m) {
    for (const char *p = m->m->chat_text; p && (p = strstr(p, "{%"));) {
        p += 2;
        p += *p == '-' || *p == '+';
        p += strspn(p, " \t\r\n");
        if (!strncmp(p, "generation", 10) && strchr(" \t\r\n-+%", p[10])) return true;
    }
    return false;
}

/* What is marked in one piece: bytes [from, to) of a rendered chat. The next one is looked for from `piece` on. */
typedef struct run { size_t piece, from, to; } run;

static bool next_run(const wk_rendered *r, run *x) {
    size_t i = x->piece, end;
    while (i < r->n_piece && !r->piece[i].generation) i++;
    for (end = i; end < r->n_piece && r->piece[end].generation;) end++;
    x->piece = end;
    if (i == end) return false;
    x->from = r->piece[i].from;
    x->to = r->piece[end - 1].to;
    return true;
}

static wick_status mark_run(const wick_model *m, const wk_rendered *r, const wk_ids *ids, const run *x, char as, char *said) {
    size_t a, b = 0;
    wick_status st = find_tokens(m, r, ids, x->from, x->to, &a, &b);
    if (!st) memset(said + a, as, b - a);
    return st;
}

/* Marks say what the assistant says, not in which message. Message i's are those that it adds to the conversation before it, if
 * they read in the whole one as they do there. */
static wick_status mark_unlearnt(const wick_model *m, json_t *chat, const wk_rendered *whole, const wk_ids *ids, size_t i,
                                 char *said) {
    wk_rendered before = { 0 }, after = { 0 };
    run a = { 0 }, b = { 0 }, w = { 0 };
    wick_status st = i ? render_first(m, chat, i, false, &before) : WICK_OK;
    if (!st) st = render_first(m, chat, i + 1, false, &after);
    while (!st && next_run(&before, &b)) {
        next_run(&after, &a);
        next_run(whole, &w);
    }
    size_t n = 0;
    bool same = true;
    for (; !st && same && next_run(&after, &a); n++) {
        same = next_run(whole, &w) && a.to - a.from == w.to - w.from
               && !memcmp(after.text.ptr + a.from, whole->text.ptr + w.from, w.to - w.from);
        if (same) st = mark_run(m, whole, ids, &w, WK_SAID_UNLEARNT, said);
    }
    if (!st && (!n || !same))
        st = wk_fail(WICK_E_TEMPLATE,
                     "messages[%zu]: \"weight\" is 0, and the {%% generation %%} marks of the chat template do not tell which "
                     "words are this message's; give a template without marks (--chat-template-file), or leave the weight out", i);
    wk_rendered_free(&before);
    wk_rendered_free(&after);
    return st;
}

static wick_status mask_by_marks(const wick_model *m, json_t *chat, const wk_rendered *whole, const wk_ids *ids, char *said) {
    const json_t *messages = json_object_get(chat, "messages");
    wick_status st = WICK_OK;
    for (run x = { 0 }; !st && next_run(whole, &x);) st = mark_run(m, whole, ids, &x, WK_SAID, said);
    for (size_t i = 0; !st && i < json_array_size(messages); i++)
        if (is_assistant(messages, i) && !is_learnt(messages, i)) st = mark_unlearnt(m, chat, whole, ids, i, said);
    return st;
}

/* ---- prefix difference ---- */

/* After the end-of-turn token templates often write a newline, which no model has to learn: where the tokens [from, to) end so,
 * the end without it. */
static size_t drop_after_end(const wick_model *m, const wk_ids *ids, size_t from, size_t to) {
    for (size_t end = to; end > from; end--) {
        if (wick_token_is_end(m, ids->ptr[end - 1])) return end;
        wk_str s = wk_tokenizer_bytes(m->m->tokenizer, ids->ptr[end - 1]);
        for (size_t i = 0; i < s.len; i++) if (!strchr(" \t\r\n", s.ptr[i])) return to;
    }
    return to;
}

/* Where message i's text begins in the whole conversation: there a rendering parts from it that has another text in its place.
 * Where the template writes what comes before otherwise then, that is earlier, and says nothing wrong. */
static wick_status find_text(const wick_model *m, json_t *chat, const wk_rendered *whole, size_t i, size_t *at) {
    wk_rendered other = { 0 };
    wick_status st = render_changed(m, chat, i + 1, i, "content", json_string("\x02"), &other);
    *at = st ? 0 : common(&other.text, &whole->text);
    wk_rendered_free(&other);
    return st;
}

/* Templates that write a turn otherwise once more follows (Qwen3 drops an earlier turn's thought; gpt-oss ends the last one with a
 * token of its own): turn i begins at byte `from` still, and ends with the last end-of-turn token before the next message's text,
 * or else with the control token where `after`, the conversation up to it, parts from the whole. Tokens [*a, *b); *b 0: none. */
static wick_status find_end_token(const wick_model *m, json_t *chat, const wk_rendered *whole, const wk_ids *ids, size_t i,
                                  size_t from, const wk_rendered *after, size_t *a, size_t *b) {
    size_t limit = whole->text.len, same = common(&after->text, &whole->text), end, n = 0;
    wick_status st = WICK_OK;
    *b = 0;
    if (i + 1 < json_array_size(json_object_get(chat, "messages"))) st = find_text(m, chat, whole, i + 1, &limit);
    if (st || limit <= from) return st;
    st = find_tokens(m, whole, ids, from, limit, a, &end);
    for (size_t k = end; !st && k > *a && !*b; k--) if (wick_token_is_end(m, ids->ptr[k - 1])) *b = k;
    if (st || *b || same <= from || same >= limit) return st;
    st = find_tokens(m, whole, ids, same, same + 1, &n, &end);
    if (!st && n < end && wick_token_is_control(m, ids->ptr[n])) *b = end;
    return st;
}

/* An answer right after another, where the template writes that one otherwise as long as it is the last (Qwen3 gives it a thought):
 * the turn begins where its opening (what add_generation_prompt adds) ends, if between it and the answer before lies blank space
 * alone. 0: it does not. */
static wick_status find_begin(const wick_model *m, json_t *chat, const wk_rendered *whole, const wk_ids *ids, size_t i,
                              wk_str opening, const char *said, size_t *from) {
    size_t at, a, b;
    *from = 0;
    wick_status st = find_text(m, chat, whole, i, &at);
    while (!st && at > opening.len && memcmp(whole->text.ptr + at - opening.len, opening.ptr, opening.len)) at--;
    if (st || !opening.len || at <= opening.len) return st;
    st = find_tokens(m, whole, ids, at - opening.len, at, &a, &b);
    for (; !st && a && !said[a - 1]; a--) {
        wk_str s = wk_tokenizer_bytes(m->m->tokenizer, ids->ptr[a - 1]);
        for (size_t k = 0; k < s.len; k++) if (!strchr(" \t\r\n", s.ptr[k])) return WICK_OK;
    }
    if (!st && a) *from = at;
    return st;
}

/* Turn i: what the conversation up to it adds to the conversation before it with the template's opening of an answer. */
static wick_status mask_turn(const wick_model *m, json_t *chat, const wk_rendered *whole, const wk_ids *ids, size_t i, char *said) {
    const json_t *messages = json_object_get(chat, "messages");
    wk_rendered before = { 0 }, opened = { 0 }, after = { 0 };
    wick_status st = i ? render_first(m, chat, i, false, &before) : WICK_OK;
    if (!st && i) st = render_first(m, chat, i, true, &opened);
    if (!st) st = render_first(m, chat, i + 1, false, &after);
    size_t from = common(&opened.text, &whole->text), to = after.text.len, a = 0, b = 0;
    bool found = !st && common(&before.text, &whole->text) == before.text.len;
    if (!st && !found && i && is_assistant(messages, i - 1)
        && common(&before.text, &opened.text) == before.text.len) {
        wk_str opening = { opened.text.ptr + before.text.len, opened.text.len - before.text.len };
        st = find_begin(m, chat, whole, ids, i, opening, said, &from);
        found = !st && from;
    }
    if (found && common(&after.text, &whole->text) == to) {
        st = find_tokens(m, whole, ids, from, to, &a, &b);
        if (!st) b = drop_after_end(m, ids, a, b);
    } else if (found) {
        st = find_end_token(m, chat, whole, ids, i, from, &after, &a, &b);
        found = b > a;
    }
    if (!st && !found && i && before.text.len == opened.text.len && !memcmp(before.text.ptr, opened.text.ptr, before.text.len))
        st = wk_fail(WICK_E_TEMPLATE,
                     "the chat template has no {%% generation %%} marks, and opens an answer after message %zu whether "
                     "add_generation_prompt asks for one or not, so what the assistant says in message %zu cannot be found; give "
                     "a template that asks it, or one with marks (--chat-template-file)", i, i + 1);
    else if (!st && !found)
        st = wk_fail(WICK_E_TEMPLATE,
                     "the chat template has no {%% generation %%} marks, and renders messages 1 to %zu otherwise when "
                     "more follow, so what the assistant says in message %zu cannot be found; give a template with marks "
                     "(--chat-template-file), or only conversations of one answer",
                     i + 1, i + 1);
    if (!st) memset(said + a, is_learnt(messages, i) ? WK_SAID : WK_SAID_UNLEARNT, b - a);
    wk_rendered_free(&before);
    wk_rendered_free(&opened);
    wk_rendered_free(&after);
    return st;
}

static wick_status mask_by_prefix(const wick_model *m, json_t *chat, const wk_rendered *whole, const wk_ids *ids, char *said) {
    const json_t *messages = json_object_get(chat, "messages");
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < json_array_size(messages); i++)
        if (is_assistant(messages, i)) st = mask_turn(m, chat, whole, ids, i, said);
    return st;
}

/* A template that knows no lists of parts prints them as Python does, "[{'type': 'text', ...}]", which nobody said. */
static wick_status check_parts(const json_t *messages, const wk_buf *text) {
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *content = json_object_get(json_array_get(messages, i), "content");
        json_t *first = json_is_array(content) ? json_array_get(content, 0) : content;
        const char *key = json_object_iter_key(json_object_iter(first));
        char printed[80];
        snprintf(printed, sizeof printed, "%s%s%.64s", json_is_array(content) ? "[" : "", key ? "{'" : "'", key ? key : "");
        if ((json_is_array(content) || json_is_object(content)) && first && text->ptr && strstr(text->ptr, printed))
            return wk_fail(WICK_E_FORMAT, "messages[%zu]: \"content\" is no text, and the model's chat template would print it as "
                           "%s...: give its text, as one string", i, printed);
    }
    return WICK_OK;
}

static wick_status check_weights(const json_t *messages) {
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *weight = json_object_get(json_array_get(messages, i), "weight");
        double v = json_number_value(weight);
        if (!weight || json_is_null(weight)) continue;
        if (!json_is_number(weight) || (v != 0 && v != 1))
            return wk_fail(WICK_E_FORMAT, "messages[%zu]: \"weight\" is neither 0 (no loss on the message) nor 1", i);
        if (v != 0 && !is_assistant(messages, i))
            return wk_fail(WICK_E_FORMAT, "messages[%zu]: \"weight\" is 1, and the message is not the assistant's, whose words "
                           "alone are learnt: leave the weight out, or make it 0", i);
    }
    return WICK_OK;
}

/* A template that knows no tools leaves calls out, and the answer without them, often an empty one, would be learnt. */
static wick_status check_calls(const wick_model *m, json_t *chat, const wk_buf *text) {
    json_t *messages = json_object_get(chat, "messages");
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < json_array_size(messages); i++) {
        wk_rendered other = { 0 };
        if (!json_array_size(json_object_get(json_array_get(messages, i), "tool_calls"))) continue;
        st = render_changed(m, chat, json_array_size(messages), i, "tool_calls", NULL, &other);
        bool same = !st && other.text.len == text->len && common(&other.text, text) == text->len;
        wk_rendered_free(&other);
        if (same)
            return wk_fail(WICK_E_FORMAT, "messages[%zu]: the model's chat template writes nothing of its \"tool_calls\", so an "
                           "answer without them would be learnt: give a template that does (--chat-template-file), or leave the "
                           "conversation out", i);
        if (st && st != WICK_E_MEMORY) {  /* without the calls it is no conversation for this template, which so knows them */
            wk_clear_error();
            st = WICK_OK;
        }
    }
    return st;
}

wick_status wk_mask_chat(const wick_model *m, json_t *chat, wk_ids *ids, wk_buf *said) {
    wk_rendered whole = { 0 };
    wk_ids found = { 0 };
    if (json_object_set_new(chat, "add_generation_prompt", json_false())) return wk_fail_memory(64, "a conversation");
    wick_status st = check_weights(json_object_get(chat, "messages"));
    if (!st) st = wk_chat_text(m, chat, &whole);
    if (!st) st = check_parts(json_object_get(chat, "messages"), &whole.text);
    if (!st) st = check_calls(m, chat, &whole.text);
    if (!st) st = wk_chat_ids(m, &whole, whole.text.len, &found);
    char *mask = st ? NULL : wk_alloc(found.len + 1);
    if (!st && !mask) st = wk_fail_memory(found.len, "a mask");
    if (!st) st = has_marks(m) ? mask_by_marks(m, chat, &whole, &found, mask) : mask_by_prefix(m, chat, &whole, &found, mask);
    if (!st && !wk_grow((void **)&ids->ptr, &ids->cap, ids->len + found.len, sizeof *ids->ptr))
        st = wk_fail_memory(found.len * sizeof *ids->ptr, "a conversation's ids");
    if (!st) {
        if (found.len) memcpy(ids->ptr + ids->len, found.ptr, found.len * sizeof *ids->ptr);
        ids->len += found.len;
        wk_buf_add(said, mask, found.len);
        if (said->failed) st = wk_fail_memory(found.len, "a mask");
    }
    wk_free(mask);
    wk_rendered_free(&whole);
    wk_ids_free(&found);
    return st;
}
