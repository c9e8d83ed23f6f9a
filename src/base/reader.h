/* reader.h: a bounded cursor over foreign bytes, little-endian. No read passes the end; a failed one leaves pos as it was. */
#ifndef WK_READER_H
#define WK_READER_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct wk_reader {
    const uint8_t *base;
    uint64_t pos, size;
    const char *path;  /* for error texts */
} wk_reader;

static inline uint64_t wk_left(const wk_reader *r) { return r->size - r->pos; }

static inline bool wk_read_bytes(wk_reader *r, void *out, uint64_t n) {
    if (n > wk_left(r)) return false;
    memcpy(out, r->base + r->pos, n);
    r->pos += n;
    return true;
}
static inline bool wk_read_u8(wk_reader *r, uint8_t *v) { return wk_read_bytes(r, v, 1); }
static inline bool wk_read_u16(wk_reader *r, uint16_t *v) { return wk_read_bytes(r, v, 2); }
static inline bool wk_read_u32(wk_reader *r, uint32_t *v) { return wk_read_bytes(r, v, 4); }
static inline bool wk_read_u64(wk_reader *r, uint64_t *v) { return wk_read_bytes(r, v, 8); }

#endif
