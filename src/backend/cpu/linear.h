/* linear.h: what the packers, the kernels and their dispatch share: how packed weights lie in memory.
 *
 * A matrix is cut into blocks of 16 output rows and chunks of 32 inputs. Each column of a layout is one plane of the
 * whole matrix, [block][chunk or group][...], so that every plane is read front to back:
 *
 *   code   4 bits: [4][16 rows][4] bytes a chunk; byte b of vector j holds input 4j + b low and input 16 + 4j + b high
 *          5, 6 bits: the low four as 4 bits lie
 *          2 bits: pairs: [2][16 rows][4]; byte b of vector h holds inputs 4h + b + {0, 8, 16, 24}, two bits each, lowest first
 *          3 bits: the low two as 2 bits lie
 *          8 bits: [8][16 rows][4] bytes; byte b of vector j holds input 4j + b, plus 128
 *          floats, of 8 bits too: [n_in][16 rows]; but
 *          bfloat16: [pairs of inputs][16 rows][2], from 32 inputs on with zeros up to a whole chunk: a tile of a matrix unit
 *   high   6 bits: the top two as pairs
 *          3, 5 bits: the top one: [16 rows][4]; bit j of byte b is of input 4j + b
 *   scale  [16 rows], or one, a group: float32, float16, bfloat16, an exponent, or an integer under
 *   super    a float16 per 256 inputs. The integer is an int8; or a nibble, the minimum above it in the byte; or 6 bits less 32:
 *          [12][16 rows] bytes per 256 inputs; group g's low four are nibble g / 8 of byte g % 8, its top two pair g / 4 of byte
 *          8 + g % 4
 *   zero   [16 rows] a group: uint8, or a minimum, stored as the scale is (uint8 under super_min)
 *
 * value = scale * (map[code] - zero) + min. 8-bit codes less a uint8 of their group would need 9 bits: their zero is 128, and
 * min = scale * (128 - zero). A 64-byte vector is 16 rows of 4 consecutive inputs: what a dot product of
 * bytes (dpbusd, sdot) takes against 4 broadcast activations. Rows past n_out are zero. */
#ifndef WK_LINEAR_H
#define WK_LINEAR_H
#include "backend/cpu/packed.h"
#include "backend/cpu/pairs.h"

enum {
    WK_CHUNK = 32,           /* inputs that share an activation scale */
    WK_SUPER = 256,          /* inputs under a super scale */
    WK_SIX_BYTES = 12,       /* a row's scales of 6 bits under it */
    WK_PANEL_CHUNKS = 64,    /* most chunks that are expanded at a time: panels stream from L2; fewer pass over y more often */
    WK_PANEL_INPUTS = 512,   /* the same for floats */
    WK_GRAD_COLS = 64,       /* inputs of a tile of weights that gradients go through */
    WK_GRAD_CHUNKS = 24,     /* the same of 8 bits, in 32 outputs and 32 inputs wide: 512 rows of g, too, are to stay in L2 */
    WK_FEW_ROWS = 16,        /* so many rows are bound by memory: codes go straight into the product */
};

typedef enum wk_scale {
    WK_SCALE_F32, WK_SCALE_F16, WK_SCALE_BF16,
    WK_SCALE_E8M0,   /* half a power of two: 2^(byte - 128) */
    /* integers under a float16 per 256: */
    WK_SCALE_SUPER,  /* int8 */
    WK_SCALE_NIBBLE, /* 4 bits, the minimum's 4 above */
    WK_SCALE_SIX     /* 6 bits, less 32 */
} wk_scale;
typedef enum wk_eight { WK_EIGHT_INT, WK_EIGHT_E4M3, WK_EIGHT_E5M2 } wk_eight;
typedef enum wk_zero {
    WK_ZERO_NONE,
    WK_ZERO_MID,  /* half the codes' range */
    WK_ZERO_U8,
    WK_ZERO_MIN
} wk_zero;

/* The columns of a layout. */
typedef struct wk_layout {
    int bits;            /* 2 to 6, 8; 16 and 32: floats */
    int group;           /* inputs that share a scale: 16, or a multiple of 32; of 8-bit floats: any number */
    wk_scale scale;
    wk_zero zero;
    bool bf16;           /* 16-bit floats are bfloat16 */
    const int8_t *map;   /* [16] value of a code, or NULL: itself */
    wk_eight eight;      /* 8 bits are a float, times a float32 scale */
    bool one_scale;      /* a block's 16 rows share it */
} wk_layout;

/* Floats meet activations as they are; codes meet rounded ones. */
static inline bool wk_holds_floats(const wk_layout *l) { return l->bits > 8 || l->eight; }

/* Bytes of a block's chunk in the plane of codes, and in the plane above it. */
static inline int wk_code_bytes(const wk_layout *l) { return l->bits == 8 ? 512 : l->bits < 4 ? 128 : 256; }
static inline int wk_high_bytes(const wk_layout *l) { return l->bits == 6 ? 128 : l->bits == 3 || l->bits == 5 ? 64 : 0; }

static inline bool wk_has_super(const wk_layout *l) { return l->scale >= WK_SCALE_SUPER; }

/* bfloat16 meets activations that are rounded to it. */
static inline bool wk_holds_bf16(const wk_layout *l) { return l->bits == 16 && l->bf16; }

/* Codes of 2 and 3 bits are few enough that the product with their group's integer is a byte too, less its sign: -32 times -4 is
 * 128. So a chunk has one scale, the super scale, and its sum is an integer: both halves' sums times their integers. */
static inline bool wk_scales_codes(const wk_layout *l) { return l->bits < 4; }
/* Else a chunk of two groups has two scales. */
static inline bool wk_has_halves(const wk_layout *l) { return l->group < WK_CHUNK && !wk_scales_codes(l); }
static inline bool wk_has_min(const wk_layout *l) { return l->zero == WK_ZERO_MIN || (l->zero == WK_ZERO_U8 && l->bits == 8); }
/* Codes less half their range. */
static inline bool wk_has_middle(const wk_layout *l) { return l->zero == WK_ZERO_MID || (l->zero == WK_ZERO_U8 && l->bits == 8); }
/* A chunk's two groups have minima of their own. */
static inline bool wk_has_min_low(const wk_layout *l) { return wk_has_min(l) && l->group < WK_CHUNK; }

/* Layouts that kernels are compiled for one by one, as constants, and all others. */
#define WK_LAYOUT_Q4_0 ((wk_layout){ 4, 32, WK_SCALE_F16, WK_ZERO_MID, false, NULL, WK_EIGHT_INT, false })
#define WK_LAYOUT_Q4_1 ((wk_layout){ 4, 32, WK_SCALE_F16, WK_ZERO_MIN, false, NULL, WK_EIGHT_INT, false })
#define WK_LAYOUT_Q5_0 ((wk_layout){ 5, 32, WK_SCALE_F16, WK_ZERO_MID, false, NULL, WK_EIGHT_INT, false })
#define WK_LAYOUT_Q5_1 ((wk_layout){ 5, 32, WK_SCALE_F16, WK_ZERO_MIN, false, NULL, WK_EIGHT_INT, false })
#define WK_LAYOUT_Q8_0 ((wk_layout){ 8, 32, WK_SCALE_F16, WK_ZERO_MID, false, NULL, WK_EIGHT_INT, false })
#define WK_LAYOUT_Q2_K ((wk_layout){ 2, 16, WK_SCALE_NIBBLE, WK_ZERO_MIN, false, NULL, WK_EIGHT_INT, false })
#define WK_LAYOUT_Q3_K ((wk_layout){ 3, 16, WK_SCALE_SIX, WK_ZERO_MID, false, NULL, WK_EIGHT_INT, false })
#define WK_LAYOUT_Q4_K ((wk_layout){ 4, 32, WK_SCALE_SUPER, WK_ZERO_MIN, false, NULL, WK_EIGHT_INT, false })
#define WK_LAYOUT_Q5_K ((wk_layout){ 5, 32, WK_SCALE_SUPER, WK_ZERO_MIN, false, NULL, WK_EIGHT_INT, false })
#define WK_LAYOUT_Q6_K ((wk_layout){ 6, 16, WK_SCALE_SUPER, WK_ZERO_MID, false, NULL, WK_EIGHT_INT, false })
typedef enum wk_like {
    WK_LIKE_CODES,
    WK_LIKE_Q4_0,
    WK_LIKE_Q4_1,
    WK_LIKE_Q5_0,
    WK_LIKE_Q5_1,
    WK_LIKE_Q8_0,
    WK_LIKE_Q2_K,
    WK_LIKE_Q3_K,
    WK_LIKE_Q4_K,
    WK_LIKE_Q5_K,
    WK_LIKE_Q6_K,
    WK_LIKE_FLOATS,
    WK_N_LIKE
} wk_like;

struct wk_packed {
    wk_layout l;
    wk_like like;
    int64_t n_out, n_in;
    int64_t n_held;                       /* inputs that a row of the code plane has: n_in, for bfloat16 whole chunks, or pairs
                                           * if there are fewer than a chunk's */
    int64_t n_block;                      /* of 16 rows */
    int64_t n_chunk, n_group, n_super;    /* of a row; floats have none */
    uint8_t *code, *high, *scale, *super, *zero, *super_min;  /* planes inside mem; NULL: the layout has none */
    int32_t *perm;                        /* [n_in] packed input p is the file's perm[p]; NULL: the same order */
    void *mem;
    struct wk_slab *slab;                 /* that mem is part of */
    size_t n_bytes;
};

/* 32 activations of a row, rounded to int8. */
typedef struct wk_act {
    int8_t q[WK_CHUNK];
    float d;           /* max|x| / 127 */
    float sum;         /* d * sum(q): what a minimum is multiplied with */
    int32_t seed;      /* -128 * sum(q): makes up for weights being held plus 128 */
    int32_t seed_low;  /* the same over the first 16 */
    float sum_low;     /* d times the first 16's sum */
} wk_act;

/* A block's chunks unpacked: codes as bytes [8][16 rows][4], scales as floats. A code has its zero taken off, its map applied
 * and offset added, as the instruction set likes it best. Before that, where wk_scales_codes(), it is multiplied with minus its
 * integer, and the scale is minus the super scale. */
typedef struct wk_panel {
    _Alignas(64) uint8_t code[WK_PANEL_CHUNKS][16 * WK_CHUNK];
    float scale[WK_PANEL_CHUNKS][2][16];  /* [1]: the second 16 inputs, for groups of 16 */
    float min[WK_PANEL_CHUNKS][16];       /* for wk_has_min(); of two groups, the second's */
    float min_low[WK_PANEL_CHUNKS][16];   /* for wk_has_min_low(): what the first's minimum is more */
    int32_t below[WK_PANEL_CHUNKS][2][16];  /* AVX2: by halves, the sum of what codes are below zero */
    int offset;
    bool nibbles;  /* codes with their offset are 0..15 */
} wk_panel;

/* y[n_row][n_col] (+)= panels times rows. */
typedef struct wk_tile {
    const wk_panel *panel[2];  /* quantised: each 16 output rows; [1] may be NULL */
    const float *weight[2];    /* floats: each [n_k][16] */
    const uint16_t *pair[2];   /* bfloat16: each [n_k / 2][16][2] */
    bool halves, min, min_low; /* what the panels have */
    int n_k;                   /* chunks, or inputs for floats */
    const wk_act *act;         /* [n_row][act_ld], from the panels' first chunk on */
    const float *x;            /* [n_row][act_ld] */
    const uint16_t *x16;       /* the same, for pairs */
    int64_t act_ld, n_row;
    float *y;                  /* [n_row][ldy] */
    int64_t ldy;
    int n_col;                 /* 1..32; outputs of the second panel begin at 16 */
    bool first;                /* start from zero, not from y */
    const uint8_t *next[2];    /* what the next tile's panels are made from, n_next bytes each: to be fetched meanwhile */
    int64_t n_next;
    const uint8_t *next_high[2];  /* and n_next_high bytes each of the plane above, which may be none */
    int64_t n_next_high;
    const float *bias;         /* [n_col] added at the end, or NULL */
} wk_tile;

/* The inner parts that are written once per instruction set; NULL: the set before serves. A mul without an
 * expand takes panels as the set before makes them. few has no case for 8-bit floats: they go through panels, whatever the rows. */
typedef struct wk_linear_set {
    unsigned need;  /* processor features */
    const char *name;
    void (*round)(const float *x, int64_t n_chunk, wk_act *a);
    void (*expand)(const wk_packed *w, int64_t block, int64_t chunk, int n, wk_panel *p);
    void (*mul)(const wk_tile *t);
    void (*widen)(const wk_packed *w, int64_t block, int64_t k, int n, float *out);     /* 16-bit floats to [n][16] */
    void (*widen_f8)(const wk_packed *w, int64_t block, int64_t k, int n, float *out);  /* 8-bit floats */
    void (*mul_float)(const wk_tile *t);
    /* bfloat16: activations rounded to nearest even, products of pairs; NULL: widened, on the floats' way */
    void (*round_bf16)(const float *x, int64_t n, uint16_t *out);
    void (*mul_bf16)(const wk_tile *t);
    void (*mul_thin)(const wk_tile *t);  /* the same for any n_col and fewer inputs than a chunk: an adapter's B */
    int pair_inputs;  /* the most inputs that it should be given at a time: fewer make more passes over y */
    /* at most WK_FEW_ROWS rows against whole blocks, without panels */
    void (*few)(const wk_packed *w, const void *act, int64_t n_row, int64_t block, int64_t n_block, float *y, int64_t ldy,
                int n_col, const float *bias);
    /* For gradients of inputs in float32: dx[n_row][n_col] (+)= the sum of g[n_row][n_o] times w[n_o][WK_GRAD_COLS]; n_col in
     * sixteens. */
    void (*grad)(const float *g, int64_t ldg, int64_t n_row, const float *w, int n_o, int n_col, bool add, float *dx, int64_t ldx);
    /* The same of a plane w [n_o / 16][n][16] with few inputs, n < WK_CHUNK: dx[n_row][n]. */
    void (*grad_thin)(const float *g, int64_t ldg, int64_t n_row, const float *w, int n_o, int n, bool add, float *dx,
                      int64_t ldx);
    /* For mul, which then takes a gradient's rows and 32 inputs for outputs: the first chunks of two panels, of 32 outputs, rounded
     * to 8 bits: out [2][8][16 inputs][4 outputs] plus 128, the halves `apart` bytes from each other. Returns the tile's scale. */
    float (*turn_bytes)(const wk_panel p[2], const wk_layout *l, uint8_t *out, int64_t apart);
    /* The same of floats [2][32 inputs][16 outputs]. */
    float (*turn_floats)(const float *w, uint8_t *out, int64_t apart);
    wk_pair_fns pairs;  /* NULL: float32 serves */
} wk_linear_set;

extern const wk_linear_set wk_linear_c, wk_linear_avx2, wk_linear_avx512, wk_linear_avx512bf16, wk_linear_amx, wk_linear_neon,
    wk_linear_dotprod, wk_linear_i8mm;

/* The parts for this machine (as wk_cpu_features() has it now). */
const wk_linear_set *wk_linear_fns(void);
/* Are w's activations laid out as bfloat16, n_held a row? */
bool wk_act_in_bf16(const wk_packed *w);
/* From one prepared row of n numbers to the next. A tile reads a dozen rows side by side: 4096 bytes apart they would all want the
 * same eight places of L1, so rows of whole kilobytes get a line more. */
static inline int64_t wk_numbers_ld(int64_t n, int64_t size) { return n * size % 1024 ? n : n + 64 / size; }
/* The same of w's, in chunks or numbers; and as many of them as n_bytes are. */
int64_t wk_act_ld(const wk_packed *w);
int64_t wk_act_items(const wk_packed *w, size_t n_bytes);

/* One weight's parts, row r of a block: the code of packed input p with its zero taken off and its map applied; the integer and the
 * super scale that make up the scale of p's group, the scale and the minimum; the weight itself. Slow: for what no instruction set
 * has its own code for. */
int wk_code_at(const wk_packed *w, int64_t block, int64_t p, int r);
int wk_times_at(const wk_packed *w, int64_t block, int64_t p, int r);
float wk_super_at(const wk_packed *w, int64_t block, int64_t p, int r);
float wk_scale_at(const wk_packed *w, int64_t block, int64_t p, int r);
float wk_min_at(const wk_packed *w, int64_t block, int64_t p, int r);
float wk_weight_at(const wk_packed *w, int64_t block, int64_t p, int r);

#endif
