/* arch.h: an architecture is a table. A family says how it differs from its base; the builders read columns and
 * never ask for a family's name. docs/architecture.md lists the columns, BERT's among them. */
#ifndef WK_ARCH_H
#define WK_ARCH_H
#include "graph/graph.h"

/* Columns that are yes or no. */
enum {
    WK_QK_NORM         = 1 << 0,  /* rms norm on each head's q and k */
    WK_QKV_BIAS        = 1 << 1,  /* q, k and v have biases (elsewhere a bias is used where the file has one) */
    WK_POST_NORMS      = 1 << 2,  /* norms after attention and after the MLP too, before the residual is added */
    WK_NORM_PLUS_ONE   = 1 << 3,  /* HF files keep norm weights less one; GGUF has them whole */
    WK_EMBED_SCALE     = 1 << 4,  /* embeddings times sqrt(n_embd) */
    WK_MOE             = 1 << 5,  /* routed experts in place of the MLP */
    WK_GGUF_PERMUTED   = 1 << 6,  /* GGUF stores q and k rows of each head for interleaved rope: put back at load */
    WK_TIED            = 1 << 7,  /* the output projection is the embedding unless the file has its own */
    WK_QK_NORM_ROW     = 1 << 8,  /* with WK_QK_NORM: over all heads together, one weight per column */
    WK_NO_PRE_NORMS    = 1 << 9,  /* attention and the MLP read the residual as it is */
    WK_NORM_TOPK       = 1 << 10, /* the chosen experts' weights are divided by their sum; elsewhere config.json says */
    WK_SINKS           = 1 << 11, /* each head's softmax has a score more, whose share goes nowhere */
    WK_EXPERT_BIAS     = 1 << 12, /* the router and experts' products have biases; q, k, v and o unless config.json says not */
    WK_EXPERTS_TURNED  = 1 << 13, /* HF files have experts' gate and up rows in turn, and float experts as [inputs, outputs] */
    WK_YARN_UNROUNDED  = 1 << 14, /* GGUF, which has no key for it, means yarn whose range is not rounded to whole dimensions */
};

/* A model's weights by what they do; one table in roles.c has the GGUF and the HF name of each. */
typedef enum wk_role {
    WK_T_EMBED, WK_T_OUT_NORM, WK_T_OUTPUT, WK_T_SCORE, WK_T_ROPE_FACTORS,
    WK_T_FIRST_LAYER,
    WK_T_ATTN_NORM = WK_T_FIRST_LAYER, WK_T_Q, WK_T_K, WK_T_V, WK_T_O, WK_T_Q_NORM, WK_T_K_NORM, WK_T_SINKS,
    WK_T_POST_ATTN_NORM,
    WK_T_FFN_NORM, WK_T_GATE, WK_T_UP, WK_T_DOWN, WK_T_POST_FFN_NORM,
    WK_T_ROUTER, WK_T_GATE_EXPS, WK_T_UP_EXPS, WK_T_DOWN_EXPS,
    WK_T_QKV, WK_T_GATE_UP, WK_T_GATE_UP_EXPS,  /* only in files: several roles' rows one after the other, see wk_fusions */
    WK_T_COUNT
} wk_role;

/* A name that differs from the shared table's; ends with role 0 and NULL names. As there, a bar divides spellings that files
 * have: the first one that is there counts. */
typedef struct wk_arch_name { wk_role role; const char *hf; const char *gguf; } wk_arch_name;

/* What a file means that leaves a key out, as the family's configuration class has it; ends with a NULL key. */
typedef struct wk_arch_default {
    const char *key;              /* config.json's spelling */
    double hf, gguf;              /* there and in GGUF files; 0: none */
} wk_arch_default;

enum { WK_WINDOW_NONE = 0, WK_WINDOW_ALL = -1 };

typedef struct wk_arch {
    const struct wk_arch *base;   /* NULL: stands alone */
    const char *name;             /* as people call it */
    const char *gguf;             /* general.architecture in GGUF; NULL: as name */
    const char *hf, *hf_classify; /* "architectures" in config.json; NULL: not made so */
    const char *hf_wrapper;       /* one that holds this as its "text_config", beside parts for pictures that are left out */
    const char *hf_type;          /* "model_type" in config.json; NULL: as name */
    unsigned features, without;   /* added to the base's; taken from them */
    wk_act act;
    int window_pattern;           /* which layers see only the window: WK_WINDOW_NONE, WK_WINDOW_ALL, or all but every n-th */
    const wk_arch_name *names;    /* searched before the base's and the shared table */
    const wk_arch_default *defaults;  /* over the base's */
    bool fused;                   /* its files keep q, k, v and gate, up in one tensor each (wick reads either) */
    int64_t layers_scaled_by_embd;    /* GGUF files of so many layers have q.k over sqrt(n_embd / n_head), and no key for it */
} wk_arch;

/* A family's columns with its bases' worked in. */
unsigned wk_arch_features(const wk_arch *a);
/* A tensor's names for a role: the family's own, a base's, or the shared table's; NULL: the family has none. */
const char *wk_arch_tensor(const wk_arch *a, wk_role role, bool gguf);
/* The i-th spelling of such names; false: there are fewer. */
bool wk_arch_spelling(const char *names, int i, wk_str *out);
/* The whole name in a file, "blk.3.attn_q.weight" or "model.layers.3.self_attn.q_proj.weight", in the role's i-th spelling (the
 * first is what wick writes). root: what a folder's names begin with, WK_ROOT unless it wraps the model; NULL: GGUF. layer -1 for
 * those of no layer, expert for names of which each expert has its own; suffix "": a stacked parameter's own name, as
 * transformers' newer folders have it ("mlp.experts.down_proj"). False: the family has none. */
#define WK_ROOT "model."
bool wk_arch_tensor_name(const wk_arch *a, const char *root, wk_role role, int i, int64_t layer, int64_t expert, const char *suffix,
                         char *out, size_t cap);
/* general.architecture; "model_type". */
const char *wk_arch_gguf_name(const wk_arch *a);
const char *wk_arch_hf_type(const wk_arch *a);

extern const wk_arch *const wk_archs[];  /* ends with NULL */

/* What the shared table says of a role: its names, and its shape in words that hparams resolve. */
typedef enum wk_dim {
    WK_D_ONE,
    WK_D_VOCAB,
    WK_D_EMBD,
    WK_D_Q,
    WK_D_KV,
    WK_D_FF,
    WK_D_HEAD,
    WK_D_Q_NORM,
    WK_D_K_NORM,
    WK_D_EXPERT,
    WK_D_FF_EXPERT,
    WK_D_LABEL,
    WK_D_ROT
} wk_dim;
typedef struct wk_role_info {
    /* of a layer: after "blk.N." and "model.layers.N."; '*' stands for an expert's number, a bar divides spellings. NULL: not
     * in such files */
    const char *gguf, *hf;
    wk_dim n_mat, rows, cols;     /* WK_D_ONE rows: a vector */
} wk_role_info;
extern const wk_role_info wk_roles[WK_T_COUNT];

/* Roles that a file may keep in one tensor, rows of the first part first. Any family's file may, or may not. */
typedef struct wk_fusion { wk_role whole, part[4]; } wk_fusion;  /* parts end with role 0 */
extern const wk_fusion wk_fusions[];  /* ends with whole 0 */

#endif
