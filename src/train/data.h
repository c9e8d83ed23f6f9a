/* data.h: what a model is trained on: the lines of a JSONL file as token ids and labels. */
#ifndef WK_TRAIN_DATA_H
#define WK_TRAIN_DATA_H
#include "generate/generate.h"
#include "graph/graph.h"

/* A line. label[i] is id[i], or WK_NO_LABEL; the shift (a row predicts the next row's label) is made in pack.c. A classifier's
 * sample has one class in place of labels. */
typedef struct wk_sample {
    int32_t *id, *label;  /* [n]; label NULL: a classifier's */
    int32_t n, cls;
    int32_t line;         /* in its file, from 1 */
} wk_sample;

typedef struct wk_data_options {
    int max_seq_length;   /* tokens; longer samples are cut to it */
    bool refuse_long;     /* or are an error */
    /* loss on what the assistant says alone; false: on every token. Plain text and ready labels do not care */
    bool mask_prompt;
} wk_data_options;

typedef struct wk_dataset {
    char *path;
    wk_sample *sample; size_t n, cap;
    bool classify;
    size_t n_cut;         /* samples that were longer than max_seq_length */
    size_t n_masked;      /* lines left out because no label was left in them */
    uint64_t n_token, n_label;  /* of all samples; a first token's label is never predicted and does not count */
    int32_t longest;      /* tokens, before cutting */
    wk_arena arena;
} wk_dataset;

/* Reads a JSONL file. A line is an object with "messages" (and "tools", or other variables of the chat template); "prompt" and
 * "completion"; "text"; "text" and "label" (a class's number or name, for a classifier); or "input_ids" and "labels", which are
 * not shifted (-100: no loss). Empty lines are skipped.
 * Errors  WICK_E_FORMAT ("train.jsonl: line 3: ..."; no lines; no label left in any of them), WICK_E_TEMPLATE, WICK_E_LENGTH
 *         (refuse_long; a file above 2 GiB), WICK_E_UNSUPPORTED (no tokenizer or template where one is needed), WICK_E_IO,
 *         WICK_E_MEMORY. */
wick_status wk_dataset_read(const wick_model *m, const char *path, const wk_data_options *o, wk_dataset **out);
void wk_dataset_free(wk_dataset *d);

/* One line's object as ids and labels, not cut; *cls is -1 where labels hold what is to be learnt. ids and labels must be empty. */
wick_status wk_sample_parse(const wick_model *m, json_t *line, bool mask_prompt, wk_ids *ids, wk_ids *labels, int32_t *cls);

#endif
