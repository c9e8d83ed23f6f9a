/* lora_data.h: a LoRA adapter as data on the host: read from any of the formats that have them, written to any, made by training.
 * Names are gone by then: a module is a layer and a role, checked against the model. What a family keeps in one matrix (Phi-3's
 * qkv_proj) is a module for each role. The change of a linear layer is
 *   y = W x + s B (A x),  s = alpha / rank, with rsLoRA alpha / sqrt(rank)    (Hu et al. 2021, 4.1; Kalajdzievski 2023)
 * and with a magnitude m, for which W' = W + s B A has each row scaled to length m   (DoRA, Liu et al. 2024, eq. 5). */
#ifndef WK_LORA_DATA_H
#define WK_LORA_DATA_H
#include "adapter/adapter.h"

/* A folder's configuration, and how its files' names end while they take the place of others. */
#define WK_ADAPTER_CONFIG "adapter_config.json"
#define WK_ADAPTER_NEW ".new"
/* The note of an adapter's file, or key of a GGUF one's, that has base_weights. */
#define WK_LORA_BASE_WEIGHTS "wick.base_weights"

typedef struct wk_lora_module {
    char *module;            /* as the file calls it, "model.layers.3.self_attn.q_proj"; NULL: the name that the model gives it */
    int layer;               /* -1: none, for the embedding and the head */
    wk_role role;            /* WK_T_Q..WK_T_DOWN; WK_T_EMBED, whose n_in is the vocabulary; WK_T_OUTPUT, WK_T_SCORE */
    int64_t rank, n_in, n_out;
    double alpha;
    float *a, *b;            /* [rank, n_in], [n_out, rank], rows as in a Hugging Face folder; owned */
    float *magnitude;        /* [n_out], or NULL; owned */
    bool lent_a, lent_b;     /* a, b lie in the data's file, for reading alone */
} wk_lora_module;

/* A weight that the adapter brings whole ("modules_to_save"). */
typedef struct wk_lora_saved {
    char *module;            /* as above; owned */
    wk_role role;            /* WK_T_EMBED, WK_T_OUTPUT, WK_T_SCORE */
    int64_t n_row, n_col;
    float *w;                /* [n_row, n_col]; owned */
} wk_lora_saved;

typedef struct wk_lora_data {
    wk_lora_module *module; size_t n_module;
    wk_lora_saved *saved; size_t n_saved;
    bool rslora;
    char *base_model, *task_type;  /* what the files say, or NULL; owned */
    char *base_weights;            /* samples of what was adapted (base_model.c), or NULL; owned */
    double dropout;                /* that it was trained with */
    bool lends;                    /* numbers lie in the file where they can: in one of these, owned */
    bool unseen;                   /* nobody has looked yet whether all numbers are some */
    struct wk_safetensors *tensors; struct wk_gguf *gguf;
} wk_lora_data;

typedef enum wk_lora_format { WK_LORA_PEFT, WK_LORA_MLX, WK_LORA_GGUF } wk_lora_format;

/* Reads a PEFT folder, an mlx folder or a GGUF adapter; which it is, is found from its content. All of it fits the model, or there
 * is nothing. Needs the model's sizes, none of its weights.
 * Errors  WICK_E_FORMAT (each tensor that does not fit: name, found, expected), WICK_E_UNSUPPORTED (what wick cannot apply, by
 *         name), WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_lora_read(const wk_model *m, const char *path, wk_lora_data **out);
/* The same for reading alone: a and b lie in the file, which stays mapped, where it has them as they are wanted. Numbers are not
 * looked at (unseen): wk_adapter_from_data() does while it packs them, which spares a walk through the file. */
wick_status wk_lora_view(const wk_model *m, const char *path, wk_lora_data **out);
/* Puts samples of the weights that d's modules adapt, and of other linear layers where those are few, into d->base_weights.
 * Errors  WICK_E_MEMORY. */
wick_status wk_lora_sample_base(const wk_model *m, wk_lora_data *d);
/* Was it trained on this model, as far as it says? path is what the message begins with, or "".
 * Errors  WICK_E_FORMAT, WICK_E_MEMORY. */
wick_status wk_lora_check_base(const wk_model *m, const wk_lora_data *d, const char *path);
/* Bytes of the file at path, or of the tensors' in a folder, as far as a look tells: 0 where there is none. */
uint64_t wk_lora_file_size(const char *path);
/* Writes a folder (made if it is not there), or a GGUF file: each file whole or not at all, the configuration last.
 * Errors  WICK_E_UNSUPPORTED (what the format cannot say), WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_lora_write(const wk_model *m, const wk_lora_data *d, const char *path, wk_lora_format f);
/* The same for bytes on the host to a model's backend. d may be freed afterwards. Errors  WICK_E_ARG (does not fit),
 * WICK_E_FORMAT (unseen, and one is none), WICK_E_MEMORY. */
wick_status wk_adapter_from_data(wk_model *m, const wk_lora_data *d, wick_adapter **out);
void wk_lora_data_free(wk_lora_data *d);
/* Are n float32 at x, on any boundary, all numbers? */
bool wk_lora_finite(const void *x, int64_t n);
/* s of a module. */
double wk_lora_scale(const wk_lora_data *d, const wk_lora_module *x);
/* Length of a row of W + s B A, by which DoRA divides. row [n_in]: W's, and then the sum's. a [rank, n_in], b [rank]: B's row. */
float wk_dora_length(float *row, const float *a, const float *b, int64_t rank, int64_t n_in, float s);
/* Are A and B of a linear layer held as bfloat16? Where the layer's own weight has activations rounded: then that loses less than
 * the products beside it do. Beside float weights, at the embedding and at the head, nothing of an adapter is rounded. */
bool wk_lora_bf16(const wk_model *m, int layer, wk_role role);
/* What the graph multiplies embeddings by, and so what their adapters add too (Gemma); else 1. */
double wk_lora_embed_scale(const wk_model *m);
/* The model's own weight there; NULL: it has none. */
const wk_weight *wk_lora_weight(const wk_model *m, int layer, wk_role role);
/* A linear layer's sizes in this model; false: it has none there that can be adapted. */
bool wk_lora_sizes(const wk_model *m, int layer, wk_role role, int64_t *n_in, int64_t *n_out);

#endif
