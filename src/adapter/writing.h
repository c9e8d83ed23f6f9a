/* writing.h: the tensors of an adapter's file, gathered before they are written. */
#ifndef WK_LORA_WRITING_H
#define WK_LORA_WRITING_H
#include "adapter/naming.h"
#include "format/safetensors.h"

typedef struct wk_writing {
    wk_tensor *t; size_t n, cap;
    wk_arena own;
    bool failed;
    const char *beyond;        /* a module whose numbers left float32 */
    const char *base_weights;  /* a note for the tensors' file, or NULL */
} wk_writing;
/* A float32 tensor of that name ("%s%s"), [rows, cols] or with rows 0 [cols]; data is borrowed. */
void wk_writing_add(wk_writing *w, const char *name, const char *end, const float *data, int64_t rows, int64_t cols);
/* The transpose of data [rows, cols], as [cols, rows]. */
void wk_writing_add_turned(wk_writing *w, const char *name, const char *end, const float *data, int64_t rows, int64_t cols);
/* B of a module, into which a scale was folded: are its numbers still some? */
void wk_writing_look(wk_writing *w, const char *name, const float *b, int64_t n);
/* The failure of an add, or what a look found. */
wick_status wk_writing_status(const wk_writing *w);
void wk_writing_free(wk_writing *w);
/* Makes the folder if it is not there, and writes the tensors' file and adapter_config.json into it, each whole or not at all: a
 * folder with a configuration has its tensors, whoever is killed and whatever lay there before. */
wick_status wk_writing_folder(const wk_writing *w, const char *folder, const char *tensors, const wk_buf *config);

/* Members of a JSON object, a line each; an empty buffer begins one, wk_config_end() ends it. text NULL: null. */
void wk_config_text(wk_buf *b, const char *name, const char *text);
void wk_config_number(wk_buf *b, const char *name, double v);
void wk_config_truth(wk_buf *b, const char *name, bool v);
void wk_config_raw(wk_buf *b, const char *name, const char *json);
void wk_config_end(wk_buf *b);

#endif
