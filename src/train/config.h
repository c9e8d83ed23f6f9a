/* config.h: the keys of a training as one table: YAML files, flags and reports all read it. */
#ifndef WK_TRAIN_CONFIG_H
#define WK_TRAIN_CONFIG_H
#include "base/mem.h"
#include "base/status.h"

typedef enum wk_key_kind {
    WK_KEY_STR, WK_KEY_CHOICE, WK_KEY_BOOL, WK_KEY_INT, WK_KEY_U64, WK_KEY_REAL, WK_KEY_STRS, WK_KEY_REALS
} wk_key_kind;

typedef struct wk_train_key {
    const char *name;      /* "lora_parameters.rank" */
    wk_key_kind kind;
    double min, max;       /* of numbers; of WK_KEY_REALS: max values, offset of their count in `count` */
    size_t at, count;      /* offsetof(wick_train_options, ...) of the value, and of a list's length */
    const char *choices;   /* "lora|dora|full" */
} wk_train_key;
extern const wk_train_key wk_train_keys[];
extern const size_t wk_n_train_key;

/* Appends one key's value as JSON. */
void wk_train_option_json(const wick_train_options *o, const wk_train_key *k, wk_buf *out);
/* Appends all of *o as JSON, key by key, in the table's order. */
void wk_train_options_json(const wick_train_options *o, wk_buf *out);
/* Is every value in range and do they go together? Errors  WICK_E_ARG. */
wick_status wk_train_options_check(const wick_train_options *o);
/* wick_train_options_read() where the optimizer will be another than the file's (NULL: the file's): which of the constants under
 * optimizer_config count follows from it. */
wick_status wk_train_options_read(wick_train_options *o, const char *path, const char *optimizer);
/* Sets a key, spelled whole, from n texts: one, or a list. Errors  WICK_E_ARG, WICK_E_MEMORY. */
wick_status wk_train_set_list(wick_train_options *o, const char *name, const char *const *item, size_t n);
/* A copy that owns its strings: wick_train_options_free(). Errors  WICK_E_MEMORY. */
wick_status wk_train_options_copy(const wick_train_options *from, wick_train_options *to);
/* learning_rate as it counts without a schedule's arguments: said, or 1e-5. */
double wk_train_learning_rate(const wick_train_options *o);
/* lora_alpha as it counts: given, or rank * scale. */
double wk_train_alpha(const wick_train_options *o);

#endif
