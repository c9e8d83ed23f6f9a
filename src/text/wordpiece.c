/* wordpiece.c: WordPiece (the longest entry that a word begins with, then the longest that the rest begins with, ...), and
 * WordLevel (a word is an entry or unknown).
 * Source: Wu et al. 2016, as in BERT's tokenization.py (Devlin et al. 2019): a word that cannot be cut to its end is unknown.
 * Load: words of 2 to 8 bytes that words.c has not met; each piece is one walk through the trie. */
#include "text/tokenizer_parts.h"

wick_status wk_wordpiece_ready(wk_tokenizer *t, int32_t *id, size_t n, wk_str first, wk_str next, const char *what) {
    wk_wordpiece *m = &t->wordpiece;
    if (t->unk < 0) return wk_fail(WICK_E_FORMAT, "%s: there is no unknown token, so some texts would have no ids", what);
    wick_status st = wk_trie_new(&m->trie, &t->vocab, id, n, what);
    if (st) return st;
    m->first = wk_trie_walk(&m->trie, first.ptr, first.len);
    m->next = wk_trie_walk(&m->trie, next.ptr, next.len);
    t->encode = wk_wordpiece_word;
    return WICK_OK;
}

void wk_wordpiece_free(wk_wordpiece *m) {
    wk_trie_free(&m->trie);
    *m = (wk_wordpiece){ 0 };
}

static wick_status put_one(wk_run *r, int32_t id) {
    if (!wk_ids_room(r->out, 1)) return wk_fail_memory(4, "ids");
    r->out->ptr[r->out->len++] = id;
    return WICK_OK;
}

static bool too_long(const char *p, size_t n, int64_t max) {
    if ((int64_t)n <= max) return false;
    for (size_t i = 0; i < n && max >= 0; i++) if (((uint8_t)p[i] & 0xC0) != 0x80) max--;
    return max < 0;
}

wick_status wk_wordpiece_word(wk_run *r, const char *p, size_t n) {
    const wk_wordpiece *m = &r->t->wordpiece;
    const wk_trie_unit *unit = m->trie.unit;
    size_t before = r->out->len, at = 0;
    uint32_t start = m->first;
    if (too_long(p, n, m->max_chars)) return put_one(r, r->t->unk);
    if (!wk_ids_room(r->out, n + 1)) return wk_fail_memory(4 * n, "ids");
    while (at < n && start != WK_TRIE_NONE) {
        /* a first piece may be the mark of a word alone, when that is an entry by itself and nothing longer fits */
        int32_t id = at || !start || start == m->next ? -1 : unit[start].id;
        size_t end = at;
        uint32_t u = start;
        for (size_t k = at; k < n; k++) {
            uint32_t next = unit[u].base ^ (uint8_t)p[k];
            if (unit[next].parent != u) break;
            u = next;
            if (unit[u].id >= 0) { id = unit[u].id; end = k + 1; }
        }
        if (id < 0) break;
        r->out->ptr[r->out->len++] = id;
        at = end;
        start = m->next;
    }
    if (at == n) return WICK_OK;
    r->out->len = before;
    return put_one(r, r->t->unk);
}

wick_status wk_wordlevel_word(wk_run *r, const char *p, size_t n) {
    int32_t id = wk_vocabulary_find(&r->t->vocab, p, n);
    return put_one(r, id >= 0 && wk_may_form(&r->t->vocab, id) ? id : r->t->unk);
}
