/* tokenizer_parts.h: what a tokenizer is made of, for the files of src/text only. In the order in which text passes:
 * added.c finds added tokens, normalizer.c rewrites what lies between, pretokenizer.c (with scanner.c and pattern.c) cuts it
 * into words, and a model (bpe.c, unigram.c or wordpiece.c, by way of words.c) turns a word into ids through vocabulary.c and
 * trie.c; decoder.c goes the way back. tokenizer.c drives them;
 * tokenizer_gguf.c and tokenizer_json.c make them. */
#ifndef WK_TOKENIZER_PARTS_H
#define WK_TOKENIZER_PARTS_H
#include <stdatomic.h>
#include "format/names.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

/* ---- vocabulary.c: ids, their spelling, and the way from one to the other ---- */

typedef struct wk_entry_slot { uint32_t tag; uint32_t id1; } wk_entry_slot;  /* id1 = id + 1; 0: empty */
typedef struct wk_vocabulary {
    int32_t n;
    wk_str *entry;        /* [n]; borrowed from a GGUF's map, or in own; holes are empty */
    uint8_t *kind;        /* [n] wk_token_kind */
    uint32_t *byte_at;    /* [n + 1] offsets into bytes: what a token stands for in text */
    char *bytes;
    wk_entry_slot *slot;  /* [2^bits], open addressing */
    int bits;
    size_t longest;       /* bytes of the longest entry */
    char *own;            /* strings from JSON */
} wk_vocabulary;

/* Room for n ids, all holes. Errors  WICK_E_MEMORY. */
wick_status wk_vocabulary_new(wk_vocabulary *v, int32_t n);
void wk_vocabulary_free(wk_vocabulary *v);
/* Enters all spellings, once entry is filled; or a further one. Empty ones are not entered. what names the source.
 * Errors  WICK_E_FORMAT (the same spelling twice, or a vocabulary made to collide). */
wick_status wk_vocabulary_index(wk_vocabulary *v, const char *what);
wick_status wk_vocabulary_set(wk_vocabulary *v, int32_t id, wk_str s, const char *what);
int32_t wk_vocabulary_find(const wk_vocabulary *v, const char *p, size_t n);
/* The same in steps, so that a slot, the entry that it most likely is, and its spelling can be on their way before they are
 * needed. */
uint64_t wk_text_hash(const char *p, size_t n);
static inline const wk_entry_slot *wk_entry_slot_of(const wk_vocabulary *v, uint64_t h) { return &v->slot[h >> (64 - v->bits)]; }
int32_t wk_vocabulary_find_hashed(const wk_vocabulary *v, const char *p, size_t n, uint64_t h);
/* Control and unknown tokens never come from running text, whatever merges may say. */
static inline bool wk_may_form(const wk_vocabulary *v, int32_t id) {
    return v->kind[id] != WK_TOKEN_CONTROL && v->kind[id] != WK_TOKEN_UNKNOWN;
}
/* "<0x41>" is 0x41; -1: not a byte token's spelling. */
int wk_byte_token(wk_str s);

/* ---- GPT-2's byte alphabet (Radford et al. 2019, encoder.py): a printable Latin-1 byte is its own character, the other 68
 * (0x00-0x20, 0x7F-0xA0, 0xAD) are U+0100 and up, in order ---- */
static inline uint32_t wk_char_of_byte(uint8_t b) {
    return b <= 0x20 ? 0x100u + b : b >= 0x7F && b <= 0xA0 ? 0x121u + b - 0x7F : b == 0xAD ? 0x143u : b;
}
/* The byte of a character of the alphabet, or -1. */
static inline int wk_byte_of_char(uint32_t c) {
    if (c < 0x100) return wk_char_of_byte((uint8_t)c) == c ? (int)c : -1;
    return c <= 0x120 ? (int)c - 0x100 : c <= 0x142 ? (int)c - 0x121 + 0x7F : c == 0x143 ? 0xAD : -1;
}

/* ---- added.c: tokens found in the text before anything else ---- */

typedef struct wk_added { wk_str text; int32_t id; bool control, single_word, lstrip, rstrip; } wk_added;
typedef struct wk_matcher {
    wk_added *token;    /* sorted by text once wk_matcher_ready() ran */
    size_t n, cap;
    uint64_t first[4];  /* which bytes begin one */
    int only_first;     /* the byte, if there is but one; else -1 */
} wk_matcher;
wick_status wk_matcher_add(wk_matcher *m, const wk_added *a);
void wk_matcher_ready(wk_matcher *m);
void wk_matcher_free(wk_matcher *m);
/* Where a text is trusted: runs, each up to end. */
typedef struct wk_trust { size_t end; bool trusted; } wk_trust;
/* The first added token at or after from, the longest of those that begin there; control tokens only where trusted (NULL: nowhere).
 * *a..*b is what it takes of the text (more than its spelling with lstrip and rstrip). NULL: none. */
const wk_added *wk_matcher_find(const wk_matcher *m, const char *text, size_t n, size_t from, const wk_trust *trust, size_t *a,
                                size_t *b);

/* ---- pattern.c: arbitrary regular expressions, by pcre2 ---- */

typedef struct wk_pattern wk_pattern;
/* where names the pattern's place in errors. Errors  WICK_E_UNSUPPORTED (what pcre2 refuses, and what Oniguruma reads otherwise),
 * WICK_E_MEMORY. */
wick_status wk_pattern_new(const char *regex, size_t n, const char *where, wk_pattern **out);
void wk_pattern_free(wk_pattern *p);
/* One search's state, for one thread. */
typedef struct wk_search { const wk_pattern *p; void *match; double deadline; } wk_search;
wick_status wk_search_new(const wk_pattern *p, size_t n_text, wk_search *s);
void wk_search_free(wk_search *s);
/* The first match in text[0..n) at or after from; *found false: none. A match may be empty. Errors  WICK_E_UNSUPPORTED (too many
 * steps). */
wick_status wk_search_next(wk_search *s, const char *text, size_t n, size_t from, bool *found, size_t *a, size_t *b);

/* ---- scanner.c: the well-known patterns by hand. Each gives the bytes of the next match at p < end; they match everywhere ---- */

typedef size_t (*wk_scanner)(const char *p, const char *end);
/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
size_t wk_scan_gpt2(const char *p, const char *end);
/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
size_t wk_scan_llama3(const char *p, const char *end);
/* The same with \p{N} in place of \p{N}{1,3}. */
size_t wk_scan_qwen2(const char *p, const char *end);
/* The scanner for a pattern, or NULL. */
wk_scanner wk_scanner_of(const char *regex, size_t n);

/* A text may grow to so many times its bytes, and so many more, by normalising and cutting. The most that Unicode's forms do is 11
 * times; a file whose steps make more of it wants the memory, not the text. */
enum { WK_MAX_GROWTH = 64, WK_MAX_MORE = 1 << 20 };

/* ---- normalizer.c ---- */

typedef enum wk_norm_kind {
    WK_NORM_PREPEND, WK_NORM_REPLACE, WK_NORM_REPLACE_PATTERN, WK_NORM_FORM, WK_NORM_LOWERCASE, WK_NORM_STRIP,
    WK_NORM_STRIP_ACCENTS,
    WK_NORM_BERT,         /* bert.c */
    WK_NORM_NMT,          /* controls go, odd spaces become spaces */
    WK_NORM_BYTE_CHARS,   /* bytes become characters of GPT-2's alphabet */
    WK_NORM_CHARSMAP,     /* charsmap.c, longest match first as SentencePiece does */
    WK_NORM_CHARSMAP_HF,  /* ... grapheme by grapheme as `tokenizers` does */
    WK_NORM_SPACES        /* SentencePiece's: to in front (if left); spaces become to; if right, runs of them one and none last */
} wk_norm_kind;
typedef struct wk_bert_norm { bool clean, chinese, accents, lower; } wk_bert_norm;
typedef struct wk_charsmap wk_charsmap;
typedef struct wk_norm {
    wk_norm_kind kind;
    wk_bert_norm bert;
    wk_charsmap *map;
    wk_str from, to;        /* PREPEND: to */
    wk_pattern *pattern;
    wk_normal_form form;
    bool left, right;
} wk_norm;
/* Applies n steps to text; the result is in *out (borrowed from text or from a or b, which are scratch). Errors  WICK_E_MEMORY,
 * WICK_E_UNSUPPORTED. */
wick_status wk_normalize(const wk_norm *step, size_t n, wk_str text, wk_buf *a, wk_buf *b, wk_str *out);

/* ---- bert.c ---- */

/* BertNormalizer, all steps in one walk. */
wick_status wk_bert_normalize(const wk_bert_norm *how, wk_str text, wk_buf *out);

/* ---- charsmap.c: SentencePiece's table of replacements ("precompiled_charsmap") ---- */

/* Checks and copies a table. what names its place. Errors  WICK_E_FORMAT, WICK_E_MEMORY. */
wick_status wk_charsmap_new(const uint8_t *p, size_t n, const char *what, wk_charsmap **out);
void wk_charsmap_free(wk_charsmap *m);
/* Applies it. hf: grapheme by grapheme with the shortest match, as the `tokenizers` package does; else the longest match. */
void wk_charsmap_apply(const wk_charsmap *m, bool hf, wk_str text, wk_buf *out);

/* ---- scripts.c ---- */

/* A character's script, from 1; 0: it goes with any. */
uint8_t wk_script_of(uint32_t c);

/* ---- pretokenizer.c ---- */

/* What becomes of a delimiter: names and meaning as in the `tokenizers` package's SplitDelimiterBehavior. */
typedef enum wk_behavior { WK_REMOVED, WK_ISOLATED, WK_WITH_PREVIOUS, WK_WITH_NEXT, WK_CONTIGUOUS } wk_behavior;
typedef enum wk_pre_kind {
    WK_PRE_SCAN,         /* words of a scanner */
    WK_PRE_PATTERN,      /* delimiters are matches of a pattern */
    WK_PRE_STRING,       /* ... occurrences of text */
    WK_PRE_CLASS,        /* ... characters whose class has a bit of mask */
    WK_PRE_WORDS,        /* runs of \w, runs of neither \w nor \s: \w+|[^\w\s]+ */
    WK_PRE_PREFIX,       /* puts text in front of a piece that does not begin with it */
    WK_PRE_BYTE_CHARS,   /* bytes become characters of GPT-2's alphabet (only where a step follows; else the model reads bytes) */
    WK_PRE_METASPACE,    /* spaces become text; scheme says when it is put in front */
    WK_PRE_LENGTH,       /* pieces of mask characters */
    WK_PRE_SCRIPTS,      /* runs of one script; what belongs to any goes with what is before it, or is dropped in front */
    WK_PRE_CUT           /* between characters that no entry of the vocabulary holds side by side: no merge would cross */
} wk_pre_kind;
typedef enum wk_prepend { WK_PREPEND_NEVER, WK_PREPEND_FIRST, WK_PREPEND_ALWAYS } wk_prepend;
typedef struct wk_pre {
    wk_pre_kind kind;
    wk_scanner scan;
    wk_pattern *pattern;
    wk_str text;
    unsigned mask;
    wk_behavior behavior;
    bool invert;
    wk_prepend scheme;
    uint64_t *glue;      /* CUT: [65536 bits] (last byte, next character's first byte) that some entry holds */
} wk_pre;

/* ---- bpe.c: the model ---- */

typedef struct wk_merge { uint64_t pair; uint32_t rank; int32_t into; } wk_merge;  /* pair = (left + 1) << 32 | right; 0: empty */
typedef struct wk_bpe {
    /* SentencePiece: two neighbours merge if their text is an entry, best score first; else by the merge list */
    bool by_text;
    bool from_bytes;     /* symbols start as bytes through of_byte; else as characters */
    bool byte_fallback;  /* a character that is no entry becomes its bytes' tokens */
    bool fuse_unk, ignore_merges;
    /* what a character's entry has in front of it except at a word's beginning (continuing_subword_prefix), and behind it at a
     * word's end (end_of_word_suffix); empty: nothing */
    wk_str inside, last;
    int32_t of_byte[256];
    int32_t of_ascii[128];
    uint32_t *rank;      /* by_text: [n_vocab], smaller is better; WK_NO_RANK: never formed */
    wk_merge *merge;     /* [2^bits], open addressing */
    int bits;
} wk_bpe;
#define WK_NO_RANK UINT32_MAX
enum { WK_MAX_AFFIX = 64 };  /* bytes of inside, and of last */
/* Room for n merges. Errors  WICK_E_MEMORY. */
wick_status wk_bpe_new(wk_bpe *m, size_t n);
void wk_bpe_free(wk_bpe *m);
/* Adds one; of two with the same pair the first counts. False: made to collide. */
bool wk_bpe_add(wk_bpe *m, int32_t left, int32_t right, uint32_t rank, int32_t into);
/* Reads n merges, given as spelled; *expected is the id that the next one should give (most lists are in the order of ids), what
 * the list's name. Errors  WICK_E_FORMAT (names the merge). */
typedef struct wk_merge_text { wk_str left, right; } wk_merge_text;
enum { WK_MERGE_BATCH = 64 };
wick_status wk_bpe_read(wk_bpe *m, const wk_vocabulary *v, const wk_merge_text *text, size_t n, uint32_t first, int32_t *expected,
                        const char *what);
/* After vocabulary, kinds and unk are set: fills of_byte and of_ascii. */
void wk_bpe_ready(wk_bpe *m, const wk_vocabulary *v);

/* ---- trie.c: entries by their bytes, as a double array ---- */

typedef struct wk_trie_unit { uint32_t base, parent; int32_t id; } wk_trie_unit;  /* parent: the unit that leads here; id: or -1 */
typedef struct wk_trie { wk_trie_unit *unit; uint32_t n; } wk_trie;
#define WK_TRIE_NONE UINT32_MAX
enum { WK_MAX_PIECE = 512 };  /* bytes of an entry: a walk over a text takes so many steps at most for each of its bytes */
/* From n ids of v, which are put in the order of their spelling; entries that are empty or not UTF-8 stay out: no text gives them.
 * Errors  WICK_E_UNSUPPORTED (a longer entry than WK_MAX_PIECE), WICK_E_MEMORY. */
wick_status wk_trie_new(wk_trie *t, const wk_vocabulary *v, int32_t *id, size_t n, const char *what);
void wk_trie_free(wk_trie *t);
/* From unit u along byte b; WK_TRIE_NONE: nothing. The root is 0. */
static inline uint32_t wk_trie_next(const wk_trie *t, uint32_t u, uint8_t b) {
    uint32_t k = t->unit[u].base ^ b;
    return t->unit[k].parent == u ? k : WK_TRIE_NONE;
}
/* Along n bytes from the root. */
uint32_t wk_trie_walk(const wk_trie *t, const char *p, size_t n);

/* ---- unigram.c ---- */

typedef struct wk_run wk_run;
typedef struct wk_unigram {
    wk_trie trie;
    double *score;        /* [n_vocab]; NaN: no entry of the model */
    double unk_score;
    int32_t of_byte[256]; /* what stands for the bytes of unknown characters; -1: no byte fallback */
    bool byte_fallback;
} wk_unigram;
/* After vocabulary, kinds and unk: from scores ([n_vocab], NaN: not an entry of the model), which are taken over. bytes_too: byte
 * tokens are found in text by their spelling, too (as in `tokenizers`, not in SentencePiece). Errors  WICK_E_FORMAT (a score that
 * is not finite; no unknown token and not every byte), WICK_E_MEMORY, WICK_E_UNSUPPORTED. */
wick_status wk_unigram_ready(wk_tokenizer *t, double *score, bool bytes_too, const char *what);
void wk_unigram_free(wk_unigram *m);
wick_status wk_unigram_word(wk_run *r, const char *p, size_t n);

/* ---- wordpiece.c: WordPiece, and WordLevel ---- */

typedef struct wk_wordpiece {
    wk_trie trie;
    uint32_t first, next;  /* units where a word's first piece begins, and the others; or WK_TRIE_NONE */
    int64_t max_chars;     /* longer words are unknown */
} wk_wordpiece;
/* After vocabulary, kinds and unk: pieces are spelled first + text at the beginning of a word, next + text inside. id [n]: the
 * model's entries, put in order. Errors  WICK_E_FORMAT (no unknown token), ... */
wick_status wk_wordpiece_ready(wk_tokenizer *t, int32_t *id, size_t n, wk_str first, wk_str next, const char *what);
void wk_wordpiece_free(wk_wordpiece *m);
wick_status wk_wordpiece_word(wk_run *r, const char *p, size_t n);
wick_status wk_wordlevel_word(wk_run *r, const char *p, size_t n);

/* ---- words.c ---- */

/* Words met before and their ids, kept from call to call. A call takes a table out and puts it back, so that no two share one; of
 * those that come back when the shelf is full, some are freed. */
typedef struct wk_word_slot wk_word_slot;
typedef struct wk_shelf { _Atomic(wk_word_slot *) table[4]; } wk_shelf;
void wk_shelf_free(wk_shelf *s);

/* ---- the whole ---- */

enum { WK_MAX_STEPS = 64 };  /* normaliser or pre-tokeniser steps, flattened */
struct wk_tokenizer {
    wk_vocabulary vocab;
    wk_matcher raw;             /* added tokens found in the text as it is */
    wk_matcher normalized;      /* ... in normalised text; empty without a normaliser */
    wk_norm *norm;
    size_t n_norm;
    wk_pre *pre;
    size_t n_pre;
    wick_status (*encode)(wk_run *r, const char *p, size_t n);  /* the model: a word's ids, appended to r->out */
    wk_bpe bpe;                 /* of the models one is in use */
    wk_unigram unigram;
    wk_wordpiece wordpiece;
    int32_t unk;                /* or -1 */
    int32_t *prefix, *suffix;   /* what add adds */
    size_t n_prefix, n_suffix;
    int32_t bos, eos;
    int32_t *end;               /* ids that end a turn */
    size_t n_end, cap_end;
    wk_shelf *shelf;
    bool strip_first;           /* the decoder drops one space at the beginning */
    bool strip_marks;           /* ... or all of a first token's (Metaspace) */
    wk_str inside;              /* the decoder leaves this prefix to a first token that has it (WordPiece's "##") */
    bool spaced;                /* ... and puts a space before control tokens that are shown */
    bool join;                  /* the decoder puts a space between tokens (tokenizer.json without a decoder) */
    bool once;                  /* ... takes equal neighbours as one (CTC) */
    wk_str word_end;            /* ... turns this into a space, in the last token into nothing (BPEDecoder) */
    wk_arena strings;           /* small texts of the steps */
};

/* One call of wk_tokenize(). */
struct wk_run {
    const wk_tokenizer *t;
    wk_ids *out;
    const char *limit;          /* bytes before it may be read */
    bool at_start;              /* the piece in hand begins the text */
    wk_word_slot *words;        /* words met before, or NULL */
    wk_buf norm[2], spelled;
    wk_buf *edit;               /* [n_pre] */
    wk_search *search;          /* [n_pre], each made when first needed */
    size_t n_text;
    void *heap; size_t cap_heap;        /* bpe.c's and unigram.c's, for long words */
    void *symbols; size_t cap_symbols;
};

/* Cuts a piece (step by step from t->pre[at]) and hands the words to the model. */
wick_status wk_pretokenize(wk_run *r, size_t at, const char *p, size_t n);
/* A word's ids, appended to r->out: wk_word() from the table of words or else from the model. */
wick_status wk_word(wk_run *r, const char *p, size_t n);
wick_status wk_bpe_word(wk_run *r, const char *p, size_t n);
/* Takes a table of words off the tokenizer's shelf for this run (a text of n bytes), or makes one if that is worth it; without one
 * every word is merged anew. Giving it back leaves its words to later runs. */
void wk_words_take(wk_run *r, size_t n);
void wk_words_give(wk_run *r);
/* Makes room for n more ids. */
static inline bool wk_ids_room(wk_ids *v, size_t n) {
    return v->cap - v->len >= n || wk_grow((void **)&v->ptr, &v->cap, v->len + n, sizeof *v->ptr);
}

/* Makes v->bytes: what every token stands for. Errors  WICK_E_MEMORY, WICK_E_LENGTH. */
typedef enum wk_decode_kind {
    WK_DECODE_BYTE_LEVEL, WK_DECODE_REPLACE, WK_DECODE_BYTE_FALLBACK, WK_DECODE_STRIP,
    WK_DECODE_INSIDE,   /* a token without the prefix from begins with a space; one with it loses it */
    WK_DECODE_CLEAN_UP  /* WordPiece's cleanup: no space before . ? ! , n't 's ... */
} wk_decode_kind;
/* control: control and unknown tokens go through the step, too. */
typedef struct wk_decode_step { wk_decode_kind kind; wk_str from, to; int left, right; bool control; } wk_decode_step;
wick_status wk_decoder_table(wk_vocabulary *v, const wk_decode_step *step, size_t n);

/* Shared by the two loaders: an empty tokenizer; steps; and what remains once vocabulary, kinds, added tokens, steps, merges and
 * the decoder's table are in. */
wick_status wk_tokenizer_new(wk_tokenizer **out);
wick_status wk_tokenizer_finish(wk_tokenizer *t);
/* A new step at the end of the list, zeroed. NULL: more than WK_MAX_STEPS, or no memory (the message is set). */
wk_norm *wk_add_norm(wk_tokenizer *t);
wk_pre *wk_add_pre(wk_tokenizer *t);
/* A step for a regular expression: a scanner if one knows it, else pcre2. */
wick_status wk_add_split(wk_tokenizer *t, const char *regex, size_t n, wk_behavior behavior, bool invert, const char *where);

#endif
