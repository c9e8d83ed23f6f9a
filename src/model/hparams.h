/* hparams.h: a model's sizes and constants, from GGUF keys or config.json (both spellings), checked. */
#ifndef WK_HPARAMS_H
#define WK_HPARAMS_H
#include "format/checkpoint.h"
#include "model/arch.h"

enum { WK_MAX_LAYERS = 512 };
typedef enum wk_rope_kind { WK_ROPE_DEFAULT, WK_ROPE_LINEAR, WK_ROPE_LLAMA3, WK_ROPE_YARN, WK_ROPE_LONG } wk_rope_kind;

/* One rope: base and how it is stretched. */
typedef struct wk_rope_params {
    double theta;
    wk_rope_kind kind;
    double factor, low_freq_factor, high_freq_factor;  /* linear, yarn, llama3; longrope: 0: n_ctx / original_ctx */
    double beta_fast, beta_slow, attention_factor;     /* yarn; attention_factor (longrope too) 0: from factor */
    int64_t original_ctx;
    bool unrounded;                                    /* yarn: its range ends between dimensions */
} wk_rope_params;

/* What a configuration says of biases: nothing (one is used where the file has it), that all are there, that none is. */
typedef enum wk_bias { WK_BIAS_UNSAID, WK_BIAS_ALL, WK_BIAS_NONE } wk_bias;

typedef struct wk_hparams {
    const wk_arch *arch;
    unsigned features;             /* the arch's with its bases', and what the file adds or takes away (WK_TIED) */
    wk_act act;
    int64_t n_vocab, n_ctx, n_embd, n_layer, n_head, n_head_kv, head_dim, n_ff;
    int64_t n_expert, n_expert_used, n_ff_expert, n_label;
    int64_t rot_dim;
    double norm_eps, attn_scale, attn_softcap, final_softcap;
    double query_scalar;           /* attn_scale is 1 / sqrt of it; 0: of what the family has */
    int64_t window;                /* 0: none */
    bool windowed[WK_MAX_LAYERS];  /* which layers see only the window (and use rope_local where it is set) */
    bool dense[WK_MAX_LAYERS];     /* layers of a MoE model without experts */
    bool norm_topk;
    wk_rope_params rope, rope_local;  /* rope_local.theta 0: the same for all layers */
    float *rope_short, *rope_long;    /* longrope: what each frequency is divided by, [rot_dim / 2]; owned */
    bool classify;
    bool wrapped;                  /* the text part of a model for pictures too */
    wk_bias attn_bias, mlp_bias;   /* of q, k, v and o; of gate, up and down */
    int64_t pad_token;             /* -1: none */
    char **label; int64_t n_label_name;  /* class names; owned */
    char *name;                    /* general.name or the folder's name; owned */
} wk_hparams;

/* Errors  WICK_E_UNSUPPORTED (unknown architecture or rope), WICK_E_FORMAT (file, key, value and limit), WICK_E_MEMORY. */
wick_status wk_hparams_read(const wk_checkpoint *c, wk_hparams *hp);
void wk_hparams_free(wk_hparams *hp);
/* What the key table knows of a number: its name in the files of a format (NULL: none there) and what this model has; zero_said:
 * it is zero, which has to be said because a file that leaves it out would mean something else. False: there is no i-th one. */
typedef struct wk_hparam { const char *name; bool integer; double value; bool zero_said; } wk_hparam;
bool wk_hparams_key(const wk_hparams *hp, size_t i, bool gguf, wk_hparam *out);
/* Is attention scaled as a GGUF file's reader will? There is no key for it. */
bool wk_hparams_gguf_scale(const wk_hparams *hp);
/* Which layers would see only the window if the files did not say. */
bool wk_hparams_window_default(const wk_hparams *hp, int64_t layer);
/* A rope scaling's name. */
const char *wk_rope_name(wk_rope_kind kind);
/* What the frequencies of rope scaling "llama3" are divided by, which GGUF files hold as a tensor: out [rot_dim / 2]. */
void wk_rope_llama3_factors(const wk_rope_params *p, int64_t rot_dim, float *out);
/* A dimension's size in this model. */
int64_t wk_hparams_dim(const wk_hparams *hp, wk_dim d);
/* 1 / wavelength of each rotating pair: out [rot_dim / 2]; *mscale the factor on cos and sin. factors [rot_dim / 2] (GGUF's
 * rope_freqs, longrope's short or long ones) or NULL. */
void wk_rope_freqs(const wk_rope_params *p, int64_t rot_dim, const float *factors, float *out, float *mscale);

#endif
