/* tried.h: what a passing test showed to work, for docs/supported.md: `make supported` makes that page from these lines alone. */
#ifndef WK_TEST_TRIED_H
#define WK_TEST_TRIED_H

/* A line of one of the page's tables. Call it after the checks. Does nothing unless WICK_TRIED names a file.
 * table    "family", "type", "tokenizer" or "checkpoint"
 * what     a row: "gemma2", "Q4_K", "llama-bpe"; several calls for a row are brought together
 * how      a column's entry: "folder", "GGUF", "decoded as gguf-py does"
 * weights  "real" or "random"; "" where there are none */
void tried(const char *table, const char *what, const char *how, const char *weights);

#endif
