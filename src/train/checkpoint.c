/* checkpoint.c: "WKCKPT01", length of the caller's bytes (u64), those, their checksum (u64), and the trainer's state (state.c). */
#include "train/checkpoint.h"
#include "base/file.h"
#include "train/trainer_parts.h"
#include <string.h>

static const char MAGIC[] = "WKCKPT01";
enum { HEAD = 16 };
static const size_t LIMIT = (size_t)1 << 40;

wick_status wk_checkpoint_write(const char *path, const wk_trainer *t, const void *extra, size_t n_extra) {
    uint64_t length = n_extra, sum = wk_state_sum(extra, n_extra, WK_STATE_SUM);
    wk_buf state = { 0 };
    wick_status st = wk_trainer_save(t, &state);
    const wk_str part[] = { { MAGIC, 8 }, { (const char *)&length, sizeof length }, { extra, n_extra },
                            { (const char *)&sum, sizeof sum }, { state.ptr, state.len } };
    if (!st) st = wk_file_write(path, part, sizeof part / sizeof *part);
    wk_buf_free(&state);
    return st;
}

static wick_status read_parts(const wk_buf *b, wk_trainer *t, wk_checkpoint_check_fn check, void *arg, wk_buf *extra) {
    uint64_t n, sum;
    if (b->len < HEAD || memcmp(b->ptr, MAGIC, 8)) return wk_fail(WICK_E_FORMAT, "no checkpoint of a training");
    memcpy(&n, b->ptr + 8, sizeof n);
    if (b->len - HEAD < sizeof sum || n > b->len - HEAD - sizeof sum)
        return wk_fail(WICK_E_FORMAT, "a checkpoint of %zu bytes is cut off", b->len);
    const char *own = b->ptr + HEAD, *state = own + n + sizeof sum;
    memcpy(&sum, own + n, sizeof sum);
    if (sum != wk_state_sum(own, n, WK_STATE_SUM))
        return wk_fail(WICK_E_FORMAT, "a checkpoint is damaged");
    size_t before = extra->len;
    wk_buf_add(extra, own, n);
    if (extra->failed) return wk_fail_memory(n, "a checkpoint");
    wick_status st = check ? check(arg, own, n) : WICK_OK;
    if (!st) st = wk_trainer_restore(t, state, b->len - (size_t)(state - b->ptr));
    if (st) extra->len = before;
    return st;
}

wick_status wk_checkpoint_read(const char *path, wk_trainer *t, wk_checkpoint_check_fn check, void *arg, wk_buf *extra) {
    wk_buf b = { 0 };
    wick_status st = wk_file_read(path, LIMIT, &b);
    if (!st && (st = read_parts(&b, t, check, arg, extra))) st = wk_fail_in(st, path);
    wk_buf_free(&b);
    return st;
}
