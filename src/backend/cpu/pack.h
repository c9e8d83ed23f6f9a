/* pack.h: between pack.c and the functions that take a file type's rows apart or weave them. */
#ifndef WK_PACK_H
#define WK_PACK_H
#include "backend/cpu/linear.h"

/* Up to 256 inputs of one row, taken apart: each field is a plane's bytes in the order of linear.h, less the interleaving.
 * Only the fields that the layout has are filled. */
typedef struct wk_part {
    uint8_t code[4 * WK_SUPER];  /* 2, 3 bits: 8 a chunk, pairs; 4 to 6: 16 a chunk; 8: 32 a chunk; floats as they are */
    float scale[WK_SUPER / WK_CHUNK];
    bool lost;                   /* wk_take_narrow: a value is not held unchanged */
} wk_part;

/* Takes n inputs of a row, whole blocks from src on, apart. */
typedef void wk_take_fn(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p);
wk_take_fn wk_take_plain, wk_take_narrow, wk_take_bf16, wk_take_float, wk_take_rounded;

/* Weaves n inputs [256 span, ...) of 16 rows of a file, whole blocks from row[r] on, into all planes of a block. */
typedef void wk_weave_fn(wk_packed *w, int64_t block, int64_t span, int n, const uint8_t *const row[16]);
/* The same of 16 rows' parts, into the plane of codes, or of float32 scales. */
typedef void wk_weave_parts_fn(wk_packed *w, int64_t block, int64_t span, const wk_part part[16]);
/* What is written once and compiled per instruction set (pack_weave_body.h). */
typedef struct wk_weavers {
    unsigned need;  /* processor features */
    wk_weave_fn *file[WK_DTYPE_COUNT];  /* NULL: by way of parts */
    wk_weave_fn *rounded;               /* float32 as bfloat16 */
    bool (*narrow)(wk_packed *w, int64_t block, int64_t span, int n, const uint8_t *const row[16]);  /* float16 as bfloat16; false:
                                         * a value is not held unchanged */
    wk_weave_parts_fn *codes, *scales;
} wk_weavers;
extern const wk_weavers wk_weavers_c, wk_weavers_avx2, wk_weavers_avx512;
/* Those for this machine, as wk_cpu_features() has it now. */
const wk_weavers *wk_weavers_here(void);

/* Bytes of a scale; of 6 bits, of a row's 256 inputs. */
int wk_scale_bytes(const wk_layout *l);

/* A weight with its planes laid out but not filled. */
wick_status wk_packed_new(const wk_layout *l, int64_t n_out, int64_t n_in, bool permuted, wk_packed **out);

/* pack_mem.c: n bytes on a 64-byte boundary, from memory in huge pages that weights share. *slab goes to wk_weight_free(). */
void *wk_weight_alloc(size_t n, struct wk_slab **slab);
void wk_weight_free(struct wk_slab *slab);

/* pack_parts.c: the same result as wk_pack() for a tensor with parts. *out stays NULL, without an error, if no layout holds it as
 * it is (groups of odd lengths, a zero of 256). */
wick_status wk_pack_parts(wk_pool *pool, const wk_tensor *t, int64_t m, const int32_t *row_from, bool release, wk_packed **out);

#endif
