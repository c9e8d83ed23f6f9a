/* pack_weave_body.h: weaves 16 rows into a block's planes: [16 rows][n] items become [n][16], for the instruction set that simd.h
 * was included for. A vector holds 16 bytes of every fourth row; with AVX-512 what it becomes is a whole line of a plane.
 * File types go straight from the file's rows, and what their bits need is done to woven words, so that one instruction serves as
 * many rows as a vector has words. The others come as parts (pack_take.c).
 * Layouts: GGUF specification, "ggml_type"; ours: linear.h. Load: every byte of a model once, beside the zeroing of the memory that
 * it goes to, so half a cycle a byte is what there is time for. */
typedef const uint8_t *const rows16[16];
typedef uint32_t words4 __attribute__((vector_size(16)));
typedef uint16_t halves8 __attribute__((vector_size(16)));
typedef uint8_t vb __attribute__((vector_size(4 * VW)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));
enum { N_V = 16 / VW };  /* vectors that have a word of each of 16 rows */

INLINE words4 load16(const uint8_t *p) {
    words4 v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store16(uint8_t *p, words4 v) { memcpy(p, &v, sizeof v); }
INLINE void store(uint8_t *p, vu v) { memcpy(p, &v, sizeof v); }

/* ---- turning ---- */

/* 16 bytes of row r and of every fourth row after it; of each four of two vectors, the first two words in turn, the last two; the
 * first pairs of words, the last. */
#if defined(WK_SIMD_AVX512)
INLINE vu load_rows(rows16 row, int r, int64_t at) {
    __m512i v = _mm512_castsi128_si512((__m128i)load16(row[r] + at));
    v = _mm512_inserti32x4(v, (__m128i)load16(row[r + 4] + at), 1);
    v = _mm512_inserti32x4(v, (__m128i)load16(row[r + 8] + at), 2);
    return (vu)_mm512_inserti32x4(v, (__m128i)load16(row[r + 12] + at), 3);
}
INLINE vu words_low(vu a, vu b) { return (vu)_mm512_unpacklo_epi32((__m512i)a, (__m512i)b); }
INLINE vu words_high(vu a, vu b) { return (vu)_mm512_unpackhi_epi32((__m512i)a, (__m512i)b); }
INLINE vu pairs_low(vu a, vu b) { return (vu)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b); }
INLINE vu pairs_high(vu a, vu b) { return (vu)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b); }
#elif defined(WK_SIMD_AVX2)
INLINE vu load_rows(rows16 row, int r, int64_t at) {
    return (vu)_mm256_inserti128_si256(_mm256_castsi128_si256((__m128i)load16(row[r] + at)), (__m128i)load16(row[r + 4] + at), 1);
}
INLINE vu words_low(vu a, vu b) { return (vu)_mm256_unpacklo_epi32((__m256i)a, (__m256i)b); }
INLINE vu words_high(vu a, vu b) { return (vu)_mm256_unpackhi_epi32((__m256i)a, (__m256i)b); }
INLINE vu pairs_low(vu a, vu b) { return (vu)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b); }
INLINE vu pairs_high(vu a, vu b) { return (vu)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b); }
#else
INLINE vu load_rows(rows16 row, int r, int64_t at) { return load16(row[r] + at); }
INLINE vu words_low(vu a, vu b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
INLINE vu words_high(vu a, vu b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }
INLINE vu pairs_low(vu a, vu b) { return __builtin_shufflevector(a, b, 0, 1, 4, 5); }
INLINE vu pairs_high(vu a, vu b) { return __builtin_shufflevector(a, b, 2, 3, 6, 7); }
#endif

/* out[k] becomes word k of the four of each. */
INLINE void turn4(vu a, vu b, vu c, vu d, vu out[4]) {
    vu ab = words_low(a, b), ab2 = words_high(a, b), cd = words_low(c, d), cd2 = words_high(c, d);
    out[0] = pairs_low(ab, cd);
    out[1] = pairs_high(ab, cd);
    out[2] = pairs_low(ab2, cd2);
    out[3] = pairs_high(ab2, cd2);
}

/* Words 0 to 3 after byte `at` of rows r to r + VW: out[k] is word k of them. */
INLINE void turn_rows(rows16 row, int r, int64_t at, vu out[4]) {
    turn4(load_rows(row, r, at), load_rows(row, r + 1, at), load_rows(row, r + 2, at), load_rows(row, r + 3, at), out);
}

/* The one word after byte `at`, where no others may be read. */
INLINE vu gather(rows16 row, int r, int64_t at) {
    uint32_t word[VW];
    vu v;
    for (int k = 0; k < VW; k++) memcpy(&word[k], row[r + k] + at, 4);
    memcpy(&v, word, sizeof v);
    return v;
}

INLINE words4 even_halves(words4 a, words4 b) {
    return (words4)__builtin_shufflevector((halves8)a, (halves8)b, 0, 2, 4, 6, 8, 10, 12, 14);
}
INLINE words4 odd_halves(words4 a, words4 b) {
    return (words4)__builtin_shufflevector((halves8)a, (halves8)b, 1, 3, 5, 7, 9, 11, 13, 15);
}

/* A word of each of 16 rows to the rows' lower halves, or the upper ones. */
INLINE void store_lower(uint8_t *dst, const vu word[N_V]) {
    words4 v[4];
    memcpy(v, word, sizeof v);
    store16(dst, even_halves(v[0], v[1]));
    store16(dst + 16, even_halves(v[2], v[3]));
}
INLINE void store_upper(uint8_t *dst, const vu word[N_V]) {
    words4 v[4];
    memcpy(v, word, sizeof v);
    store16(dst, odd_halves(v[0], v[1]));
    store16(dst + 16, odd_halves(v[2], v[3]));
}

INLINE words4 even_bytes(words4 a, words4 b) {
    return (words4)__builtin_shufflevector((bytes16)a, (bytes16)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
INLINE words4 odd_bytes(words4 a, words4 b) {
    return (words4)__builtin_shufflevector((bytes16)a, (bytes16)b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

/* A word of each of 16 rows to [4][16] bytes, the sixteens `step` apart. */
INLINE void store_bytes(uint8_t *dst, int step, const vu word[N_V]) {
    words4 v[4];
    memcpy(v, word, sizeof v);
    words4 even = even_bytes(v[0], v[1]), even2 = even_bytes(v[2], v[3]);
    words4 odd = odd_bytes(v[0], v[1]), odd2 = odd_bytes(v[2], v[3]);
    store16(dst, even_bytes(even, even2));
    store16(dst + step, even_bytes(odd, odd2));
    store16(dst + 2 * step, odd_bytes(even, even2));
    store16(dst + 3 * step, odd_bytes(odd, odd2));
}

/* Where a's bits above s and b's bits below meet (m: of b), they change places. */
INLINE void swap(vu *a, vu *b, int s, uint32_t m) {
    vu t = ((*a >> s) ^ *b) & m;
    *b ^= t;
    *a ^= t << s;
}
INLINE vu swap_within(vu x, int s, uint32_t m) {
    vu t = ((x >> s) ^ x) & m;
    return x ^ t ^ (t << s);
}

/* 32 bits, input i's at bit i, to bit i / 4 of byte i % 4: the number's five bits turned by two, in four exchanges. */
INLINE vu turn_bits(vu x) {
    x = swap_within(x, 1, 0x22222222);
    x = swap_within(x, 3, 0x0a0a0a0a);
    x = swap_within(x, 6, 0x00cc00cc);
    return swap_within(x, 12, 0x0000f0f0);
}

/* Four words whose bytes hold four pairs of bits: word k's bytes become pair k of the four. */
INLINE void turn_pairs(vu v[4]) {
    swap(&v[0], &v[2], 4, 0x0f0f0f0f);
    swap(&v[1], &v[3], 4, 0x0f0f0f0f);
    swap(&v[0], &v[1], 2, 0x33333333);
    swap(&v[2], &v[3], 2, 0x33333333);
}

/* Eight words: word g's bytes become bit g of the eight. */
INLINE void turn_eight(vu v[8]) {
    for (int k = 0; k < 4; k++) swap(&v[k], &v[k + 4], 4, 0x0f0f0f0f);
    for (int k = 0; k < 2; k++) swap(&v[k], &v[k + 2], 2, 0x33333333), swap(&v[k + 4], &v[k + 6], 2, 0x33333333);
    for (int k = 0; k < 8; k += 2) swap(&v[k], &v[k + 1], 1, 0x55555555);
}

/* ---- items as they are, from byte `at` of each row ---- */

static void weave_words(uint8_t *dst, rows16 row, int64_t at, int n) {
    for (; n >= 4; n -= 4, at += 16, dst += 256)
        for (int r = 0; r < 16; r += VW) {
            vu v[4];
            turn_rows(row, r, at, v);
            for (int k = 0; k < 4; k++) store(dst + 64 * k + 4 * r, v[k]);
        }
    for (; n > 0; n--, at += 4, dst += 64)
        for (int r = 0; r < 16; r += VW) store(dst + 4 * r, gather(row, r, at));
}

/* Words 0 to 3 after byte `at` of all rows: out[k] is word k of them. */
INLINE void turn_all(rows16 row, int64_t at, vu out[4][N_V]) {
    for (int i = 0; i < N_V; i++) {
        vu v[4];
        turn_rows(row, VW * i, at, v);
        for (int k = 0; k < 4; k++) out[k][i] = v[k];
    }
}

/* As words of two, then parted. */
static void weave_halves(uint8_t *dst, rows16 row, int64_t at, int n) {
    for (; n >= 8; n -= 8, at += 16, dst += 256) {
        vu v[4][N_V];
        turn_all(row, at, v);
        for (int k = 0; k < 4; k++) {
            store_lower(dst + 64 * k, v[k]);
            store_upper(dst + 64 * k + 32, v[k]);
        }
    }
    for (; n > 0; n--, at += 2, dst += 32)
        for (int r = 0; r < 16; r++) memcpy(dst + 2 * r, row[r] + at, 2);
}

static void weave_bytes(uint8_t *dst, rows16 row, int64_t at, int n) {
    for (; n >= 16; n -= 16, at += 16, dst += 256) {
        vu v[4][N_V];
        turn_all(row, at, v);
        for (int k = 0; k < 4; k++) store_bytes(dst + 64 * k, 16, v[k]);
    }
    for (; n > 0; n--, at++, dst += 16)
        for (int r = 0; r < 16; r++) dst[r] = row[r][at];
}

/* The codes' plane, as rows of 16 items lie. */
static void weave_plain(wk_packed *w, int64_t at, int n, rows16 row) {
    switch (w->l.bits) {
    case 32: weave_words(w->code + at * 64, row, 0, n); break;
    case 16:
        if (w->l.bf16) weave_words(w->code + at * 32, row, 0, n / 2);
        else weave_halves(w->code + at * 32, row, 0, n);
        break;
    case 8:
        if (w->l.eight) weave_bytes(w->code + at * 16, row, 0, n);
        else weave_words(w->code + at * 16, row, 0, n / 4);
        break;
    default: weave_words(w->code + at / WK_CHUNK * wk_code_bytes(&w->l), row, 0, n / WK_CHUNK * wk_code_bytes(&w->l) / 64);
    }
}

/* ---- from parts ---- */

static void weave_codes(wk_packed *w, int64_t block, int64_t span, const wk_part part[16]) {
    int64_t left = w->n_held - span * WK_SUPER, at = block * w->n_held + span * WK_SUPER;
    int n = (int)(left < WK_SUPER ? left : WK_SUPER);
    const uint8_t *row[16];
    for (int r = 0; r < 16; r++) row[r] = part[r].code;
    weave_plain(w, at, n, row);
}

static void weave_scales(wk_packed *w, int64_t block, int64_t span, const wk_part part[16]) {
    int64_t c = span * (WK_SUPER / WK_CHUNK), left = w->n_chunk - c;
    const uint8_t *row[16];
    for (int r = 0; r < 16; r++) row[r] = (const uint8_t *)part[r].scale;
    weave_words(w->scale + (block * w->n_chunk + c) * 64, row, 0, (int)(left < WK_SUPER / WK_CHUNK ? left : WK_SUPER / WK_CHUNK));
}

/* ---- floats, straight from the file as all that follows ---- */

static void weave_floats(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    weave_plain(w, block * w->n_held + span * WK_SUPER, n, row);
}

/* A float16's bits 13 places up are a float32, 2^112 times too small, of subnormal ones too; infinities and NaN get the rest. */
INLINE vu widen(vu up) {
    vi top = (vi)up >= (0x7c00 << 13);
    return (vu)((vf)up * 0x1p112f) | ((vu)top & 0x7f800000u);
}
/* Pairs of float16 as pairs of bfloat16. *cut: what that leaves out. */
INLINE vu narrow(vu pair, vu *cut) {
    vu a = widen((pair & 0x7fffu) << 13), b = widen(pair >> 3 & 0x0fffe000u);
    *cut |= (a | b) & 0xffffu;
    return (pair & 0x80008000u) | a >> 16 | b;
}
static bool weave_narrow(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    uint8_t *dst = w->code + (block * w->n_held + span * WK_SUPER) * 32;
    vu cut = { 0 };
    for (int r = 0; r < 16; r += VW) {
        int j = 0;
        for (; j + 4 <= n / 2; j += 4) {
            vu v[4];
            turn_rows(row, r, 4 * j, v);
            for (int k = 0; k < 4; k++) store(dst + 64 * (j + k) + 4 * r, narrow(v[k], &cut));
        }
        for (; j < n / 2; j++) store(dst + 64 * j + 4 * r, narrow(gather(row, r, 4 * j), &cut));
    }
    uint32_t any = 0;
    for (int i = 0; i < VW; i++) any |= cut[i];
    return any == 0;
}

/* Float32 as bfloat16, to nearest even; what is no number stays so. */
INLINE vu nearest(vu u) {
    vi number = (vi)(u & 0x7fffffffu) <= 0x7f800000;
    return (((u + 0x7fffu + (u >> 16 & 1u)) >> 16) & (vu)number) | ((u >> 16 | 64u) & ~(vu)number);
}
static void weave_rounded(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    uint8_t *dst = w->code + (block * w->n_held + span * WK_SUPER) * 32;
    for (int r = 0; r < 16; r += VW) {
        int i = 0;
        for (; i + 4 <= n; i += 4) {
            vu v[4];
            turn_rows(row, r, 4 * i, v);
            for (int k = 0; k < 4; k += 2) store(dst + 32 * (i + k) + 4 * r, nearest(v[k]) | nearest(v[k + 1]) << 16);
        }
        if (i < n) store(dst + 32 * i + 4 * r, nearest(gather(row, r, 4 * i)) | nearest(gather(row, r, 4 * i + 4)) << 16);
    }
}

/* ---- blocks of 32 ---- */

/* Its bytes, and where in it are a minimum and fifth bits (0: none) and codes. An f16 scale comes first. */
typedef struct block32 { int bytes, min, high, code; } block32;

INLINE void weave_32(wk_packed *w, int64_t block, int64_t span, int n, rows16 row, block32 b) {
    int64_t to = block * w->n_chunk + span * (WK_SUPER / WK_CHUNK);
    int size = b.bytes - b.code;  /* 16 or 32 of codes */
    uint32_t flip = size == 32 ? 0x80808080 : 0;  /* of int8; ours are 128 more */
    uint8_t *code = w->code + to * 16 * size, *high = b.high ? w->high + to * 64 : NULL, *scale = w->scale + to * 32,
            *zero = b.min ? w->zero + to * 32 : NULL;
    for (int64_t at = 0; at < n / WK_CHUNK * b.bytes; at += b.bytes, code += 16 * size, scale += 32) {
        vu head[N_V];
        for (int r = 0; r < 16; r += VW) {
            vu v[4];
            turn_rows(row, r, at, v);
            head[r / VW] = v[0];  /* scale, and what follows */
            if (b.high) store(high + 4 * r, turn_bits(b.high == 2 ? v[0] >> 16 | v[1] << 16 : v[1]));
            for (int j = 0; j < size / 4; j += 4) {
                turn_rows(row, r, at + b.code + 4 * j, v);
                for (int k = 0; k < 4; k++) store(code + 64 * (j + k) + 4 * r, v[k] ^ flip);
            }
        }
        store_lower(scale, head);
        if (b.min) store_upper(zero, head), zero += 32;
        if (b.high) high += 64;
    }
}
#define WEAVE_32(name, ...) static void name(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) { \
    weave_32(w, block, span, n, row, (block32){ __VA_ARGS__ }); \
}
WEAVE_32(weave_q4_0, .bytes = 18, .code = 2)  /* and IQ4_NL */
WEAVE_32(weave_q4_1, .bytes = 20, .min = 2, .code = 4)
WEAVE_32(weave_q5_0, .bytes = 22, .high = 2, .code = 6)
WEAVE_32(weave_q5_1, .bytes = 24, .min = 2, .high = 4, .code = 8)
WEAVE_32(weave_q8_0, .bytes = 34, .code = 2)

/* u8 exponent, 16 bytes of codes */
static void weave_mxfp4(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t to = block * w->n_chunk + span * (WK_SUPER / WK_CHUNK);
    for (int c = 0; c < n / WK_CHUNK; c++, to++) {
        weave_bytes(w->scale + to * 16, row, 17 * c, 1);
        weave_words(w->code + to * 256, row, 17 * c + 1, 4);
    }
}

/* ---- blocks of 256, a span ---- */

/* Two chunks lie in the low and the high nibbles of 32 bytes, ours each in nibbles of 16: a chunk's four woven words. The second is
 * `second` chunks on. */
INLINE void store_nibbles(uint8_t *dst, rows16 row, int r, int64_t at, int second) {
    vu low[4], high[4], turned[2][4];
    for (int i = 0; i < 4; i++) {
        vu a = load_rows(row, r + i, at), b = load_rows(row, r + i, at + 16);
        low[i] = (a & 0x0f0f0f0fu) | (b & 0x0f0f0f0fu) << 4;
        high[i] = (a >> 4 & 0x0f0f0f0fu) | (b & 0xf0f0f0f0u);
    }
    turn4(low[0], low[1], low[2], low[3], turned[0]);
    turn4(high[0], high[1], high[2], high[3], turned[1]);
    for (int k = 0; k < 4; k++) {
        store(dst + 64 * k + 4 * r, turned[0][k]);
        store(dst + 256 * second + 64 * k + 4 * r, turned[1][k]);
    }
}

/* 32 bytes of fifth or third bits, bit g of byte j input 32 g + j's: byte j's inputs 4 k + j are bit k of ours. */
INLINE void store_bits(uint8_t *dst, rows16 row, int r, int64_t at) {
    vu v[8];
    turn_rows(row, r, at, v);
    turn_rows(row, r, at + 16, v + 4);
    turn_eight(v);
    for (int g = 0; g < 8; g++) store(dst + 64 * g + 4 * r, v[g]);
}

/* 32 bytes of pairs, at bit 2 k of byte j input 32 k + j's: chunk k's are bytes 8 i + j at bit 2 i of ours. */
INLINE void store_pairs(uint8_t *dst, rows16 row, int r, int64_t at) {
    vu v[8];
    turn_rows(row, r, at, v);
    turn_rows(row, r, at + 16, v + 4);
    for (int m = 0; m < 2; m++) {
        vu u[4] = { v[m], v[m + 2], v[m + 4], v[m + 6] };
        turn_pairs(u);
        for (int k = 0; k < 4; k++) store(dst + 128 * k + 64 * m + 4 * r, u[k]);
    }
}

/* f16 d, f16 dmin, 8 scales and 8 minima of 6 bits in 12 bytes: groups 0..3 whole in bytes 0..3 and 4..7, groups 4..7 low nibbles
 * in bytes 8..11, top bits above the first eight. */
INLINE void weave_scales_6(wk_packed *w, int64_t at, rows16 row) {
    vu super[N_V], scale[2][N_V], min[2][N_V];
    for (int i = 0; i < N_V; i++) {
        vu v[4];
        turn_rows(row, VW * i, 0, v);
        super[i] = v[0];
        scale[0][i] = v[1] & 0x3f3f3f3fu;
        min[0][i] = v[2] & 0x3f3f3f3fu;
        scale[1][i] = (v[3] & 0x0f0f0f0fu) | (v[1] >> 2 & 0x30303030u);
        min[1][i] = (v[3] >> 4 & 0x0f0f0f0fu) | (v[2] >> 2 & 0x30303030u);
    }
    store_lower(w->super + at * 32, super);
    store_upper(w->super_min + at * 32, super);
    for (int k = 0; k < 2; k++) {
        store_bytes(w->scale + at * 128 + 64 * k, 16, scale[k]);
        store_bytes(w->zero + at * 128 + 64 * k, 16, min[k]);
    }
}

/* f16 d, f16 dmin, 12 bytes of scales, 128 of codes */
static void weave_q4_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    (void)n;
    weave_scales_6(w, at, row);
    for (int k = 0; k < 4; k++)
        for (int r = 0; r < 16; r += VW) store_nibbles(w->code + at * 2048 + 512 * k, row, r, 16 + 32 * k, 1);
}

/* As Q4_K with 32 bytes of fifth bits before the codes. */
static void weave_q5_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    (void)n;
    weave_scales_6(w, at, row);
    for (int r = 0; r < 16; r += VW) store_bits(w->high + at * 512, row, r, 16);
    for (int k = 0; k < 4; k++)
        for (int r = 0; r < 16; r += VW) store_nibbles(w->code + at * 2048 + 512 * k, row, r, 48 + 32 * k, 1);
}

/* 128 bytes of low nibbles, 64 of top 2 bits, 16 int8 scales, f16 d. In each half of 128: nibbles of byte j are inputs j and
 * 64 + j; top bits of byte j belong to inputs 32 k + j, at bit 2 k. */
static void weave_q6_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    vu tail[4][N_V];
    (void)n;
    weave_bytes(w->scale + at * 256, row, 192, 16);
    turn_all(row, 194, tail);
    store_upper(w->super + at * 32, tail[3]);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < 16; r += VW) {
            for (int k = 0; k < 2; k++) store_nibbles(w->code + at * 2048 + 1024 * h + 256 * k, row, r, 64 * h + 32 * k, 2);
            store_pairs(w->high + at * 1024 + 512 * h, row, r, 128 + 32 * h);
        }
}

/* 16 bytes of scales, low, and minima, high, 64 of codes as Q3_K's pairs lie, f16 d, f16 dmin */
static void weave_q2_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    vu tail[4][N_V];
    (void)n;
    weave_bytes(w->scale + at * 256, row, 0, 16);
    turn_all(row, 68, tail);
    store_lower(w->super + at * 32, tail[3]);
    store_upper(w->super_min + at * 32, tail[3]);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < 16; r += VW) store_pairs(w->code + at * 1024 + 512 * h, row, r, 16 + 32 * h);
}

/* 32 bytes of third bits (set: 4 more), 64 of 2-bit codes (in each half of 128, byte j has inputs 32 k + j at bit 2 k), 12 of
 * scales, which ours lie as, f16 d. Codes are 4 too many. */
static void weave_q3_k(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    vu tail[4][N_V];
    (void)n;
    turn_all(row, 94, tail);
    store_upper(w->super + at * 32, tail[3]);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < N_V; i++) tail[k][i] = tail[k][i] >> 16 | tail[k + 1][i] << 16;
        store_bytes(w->scale + (at * WK_SIX_BYTES + 4 * k) * 16, 16, tail[k]);
    }
    for (int r = 0; r < 16; r += VW) {
        store_bits(w->high + at * 512, row, r, 0);
        for (int h = 0; h < 2; h++) store_pairs(w->code + at * 1024 + 512 * h, row, r, 32 + 32 * h);
    }
}

/* f16 d, u16 top 2 bits of scales, 4 bytes of their nibbles (each plus 32), 128 of codes */
static void weave_iq4_xs(wk_packed *w, int64_t block, int64_t span, int n, rows16 row) {
    int64_t at = block * w->n_super + span;
    vu head[4][N_V];
    (void)n;
    turn_all(row, 0, head);
    store_lower(w->super + at * 32, head[0]);
    for (int k = 0; k < 2; k++) {  /* even groups, odd ones */
        vu scale[N_V];
        for (int i = 0; i < N_V; i++) {
            vu top = head[0][i] >> (16 + 2 * k), low = head[1][i] >> 4 * k & 0x0f0f0f0fu;
            top = (top & 3u) << 4 | (top & 0x30u) << 8 | (top & 0x300u) << 12 | (top & 0x3000u) << 16;
            scale[i] = (vu)((vb)(top | low) - 32);
        }
        store_bytes(w->scale + at * 128 + 16 * k, 32, scale);
    }
    weave_words(w->code + at * 2048, row, 8, 32);
}

const wk_weavers WK_WEAVERS = {
    .need = WK_NEED,
    .file = {
        [WK_F32] = weave_floats, [WK_F16] = weave_floats, [WK_BF16] = weave_floats, [WK_Q4_0] = weave_q4_0,
        [WK_Q4_1] = weave_q4_1, [WK_Q5_0] = weave_q5_0, [WK_Q5_1] = weave_q5_1, [WK_Q8_0] = weave_q8_0, [WK_Q2_K] = weave_q2_k,
        [WK_Q3_K] = weave_q3_k, [WK_Q4_K] = weave_q4_k, [WK_Q5_K] = weave_q5_k, [WK_Q6_K] = weave_q6_k,
        [WK_IQ4_NL] = weave_q4_0, [WK_IQ4_XS] = weave_iq4_xs, [WK_MXFP4] = weave_mxfp4,
    },
    .rounded = weave_rounded,
    .narrow = weave_narrow,
    .codes = weave_codes,
    .scales = weave_scales,
};
