/* reading.h: from a format's named tensors to the model's places, shared by the three readers. A reader puts each tensor where its
 * name says; then everything is held against the model, and what fits is copied. Problems are gathered, so that one message
 * names all of them. */
#ifndef WK_LORA_READING_H
#define WK_LORA_READING_H
#include "adapter/lora_data.h"
#include "base/json.h"
#include "format/names.h"

/* What a tensor of an adapter is. BASE: the model's own weight, as it was where the adapter was trained. */
typedef enum wk_half { WK_HALF_A, WK_HALF_B, WK_HALF_MAGNITUDE, WK_HALF_SAVED, WK_HALF_BASE, WK_N_HALF } wk_half;

/* The tensors of one place. An adapter of fused projections (Phi-3's qkv_proj) is one for each of them: the same A, and rows
 * [first, first + n_out) of a B with n_whole rows. */
typedef struct wk_lora_found {
    const wk_tensor *half[WK_N_HALF];
    bool odd[WK_N_HALF];                 /* has a number that is none */
    wk_str module;                       /* as the file calls it */
    int layer; wk_role role;
    int64_t n_in, n_out, first, n_whole;
    int64_t rank;                        /* settled while checking */
    double alpha;
} wk_lora_found;

typedef struct wk_reading wk_reading;
/* A module's rank and alpha, by its name and the rank that its A has. Errors  what the reader finds wrong. */
typedef wick_status (*wk_lora_rank_fn)(const wk_reading *r, wk_str module, int64_t rank_found, int64_t *rank, double *alpha);

struct wk_reading {
    const wk_model *m;
    const char *path;                    /* of the tensors' file, for messages */
    bool turned;                         /* mlx: A is [n_in, rank], B is [rank, n_out] */
    bool by_token;                       /* GGUF: A of the embedding is [n_in, rank] */
    bool interleaved;                    /* GGUF: rows of q and k lie as that file's heads do */
    wk_lora_rank_fn rank;
    const void *user;                    /* for rank */
    wk_lora_found *slot; int n_slot;     /* [wk_model_n_slot] */
    wk_buf problems; size_t n_problem;
    bool wrong;                          /* one is malformed, not just beyond what wick applies */
};

wick_status wk_reading_new(wk_reading *r, const wk_model *m, const char *path);
void wk_reading_free(wk_reading *r);
/* A problem of a tensor, to be told at the end. */
void wk_reading_problem(wk_reading *r, bool wrong, wk_str tensor, const char *fmt, ...) WK_PRINTF(4, 5);
/* Puts a tensor where its module is, which has a name of transformers or (gguf) of GGUF, without the ".weight". */
void wk_reading_place(wk_reading *r, const wk_tensor *t, wk_str module, wk_half half, bool gguf);
/* With dora each A must have a magnitude beside it, whose name ends so. */
void wk_reading_need_magnitudes(wk_reading *r, bool dora, const char *end);
/* base_layer.c: a problem where t's rows are not those of the model's weight w. Errors  WICK_E_MEMORY. */
wick_status wk_reading_compare(wk_reading *r, const wk_tensor *t, const wk_lora_found *f, const wk_weight *w);
/* All tensors checked and copied to d. Errors  WICK_E_FORMAT and WICK_E_UNSUPPORTED with the list, WICK_E_MEMORY. */
wick_status wk_reading_finish(wk_reading *r, wk_lora_data *d);

/* place.c: cuts a beginning or an end off s, if it is there. */
bool wk_cut_start(wk_str *s, const char *start);
bool wk_cut_end(wk_str *s, const char *end);

/* A folder with an adapter_config.json, which was read; all borrowed. */
typedef struct wk_lora_folder {
    const char *folder;
    const char *file;                    /* the tensors' file, where it is not the usual one in the folder, or NULL */
    const char *config_path;
    json_t *config;
} wk_lora_folder;
/* A number of a configuration. Errors  WICK_E_FORMAT: it is none from min to max. */
wick_status wk_config_read_number(const wk_lora_folder *f, json_t *object, const char *key, double min, double max, double *out);
/* A string's copy; NULL: the configuration has none. Errors  WICK_E_MEMORY. */
wick_status wk_config_read_text(const wk_lora_folder *f, const char *key, char **out);
/* A copy of a text that a file has; NULL: it has none. Errors  WICK_E_MEMORY. */
wick_status wk_copy_text(wk_str s, char **out);
/* The note on the base's weights in d->tensors. Errors  WICK_E_MEMORY. */
wick_status wk_read_base_weights(wk_lora_data *d);

/* The formats. */
wick_status wk_peft_read(const wk_model *m, const wk_lora_folder *f, wk_lora_data *d);
wick_status wk_peft_write(const wk_model *m, const wk_lora_data *d, const char *path);
wick_status wk_mlx_read(const wk_model *m, const wk_lora_folder *f, wk_lora_data *d);
wick_status wk_mlx_write(const wk_model *m, const wk_lora_data *d, const char *path);
wick_status wk_gguf_adapter_read(const wk_model *m, const char *path, wk_lora_data *d);
wick_status wk_gguf_adapter_write(const wk_model *m, const wk_lora_data *d, const char *path);

#endif
