/* mem.h: the one allocator. Failure can be injected and calls are counted, so tests can hold
 * "a clean status for every failed allocation" and "no allocation per token". */
#ifndef WK_MEM_H
#define WK_MEM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* n zeroed bytes; NULL on failure or for n = 0. */
void *wk_alloc(size_t n);
/* n * size zeroed bytes, NULL also when the product wraps. */
void *wk_alloc_array(size_t n, size_t size);
/* The same for hash tables. Looked into before it is filled, a page of wk_alloc_array()'s would come twice: as the system's page of
 * zeros, and, while all other threads stop, as its own. These pages are all written at once. */
void *wk_alloc_table(size_t n, size_t size);
/* Grows or shrinks to n * size bytes (new bytes are not zeroed); NULL leaves p as it was. */
void *wk_realloc_array(void *p, size_t n, size_t size);
/* n bytes on a 64-byte boundary, not zeroed (fresh pages are not touched); large ones ask for huge pages. Free with
 * wk_free_aligned(). */
void *wk_alloc_aligned(size_t n);
void wk_free(void *p);
void wk_free_aligned(void *p);
/* Copies n bytes and adds a NUL. */
char *wk_strdup_n(const char *s, size_t n);
char *wk_strdup(const char *s);

/* a * b and a + b into *out; false when they wrap. */
static inline bool wk_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool wk_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

/* For tests: the k-th allocation from now fails (0: none). */
void wk_alloc_fail_at(uint64_t k);
/* For tests: allocations so far in this process. */
uint64_t wk_alloc_count(void);
/* For tests: blocks that are out and not yet given back. */
uint64_t wk_alloc_live(void);

/* Makes room for one more element in a growing array: *cap is in elements. False: no memory. */
bool wk_grow(void **p, size_t *cap, size_t need, size_t size);

/* A growing byte string. len excludes the final NUL, which is always there once something was added.
 * After a failed add, failed stays true and further adds do nothing: check once at the end. */
typedef struct wk_buf {
    char *ptr;
    size_t len, cap;
    size_t limit;       /* bytes; more are not added. 0: no limit */
    bool failed, full;  /* full: it failed because of the limit */
} wk_buf;
void wk_buf_add(wk_buf *b, const void *p, size_t n);
void wk_buf_str(wk_buf *b, const char *s);
void wk_buf_char(wk_buf *b, char c);
void wk_buf_printf(wk_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void wk_buf_free(wk_buf *b);

/* Memory that is freed all at once. Zero-initialise; wk_arena_free() gives everything back. */
typedef struct wk_arena { struct wk_arena_block *head; } wk_arena;
void *wk_arena_alloc(wk_arena *a, size_t n);  /* zeroed, 16-byte aligned; NULL: no memory */
char *wk_arena_str(wk_arena *a, const char *s, size_t n);
void wk_arena_free(wk_arena *a);

/* Bytes that belong to somebody else. */
typedef struct wk_str { const char *ptr; size_t len; } wk_str;
bool wk_str_eq(wk_str a, const char *b);
#define WK_STR(s) ((wk_str){ (s), sizeof(s) - 1 })

#endif
