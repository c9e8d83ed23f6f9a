/* file.c: mapping and reading whole files. */
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static wick_status fail_errno(const char *path) { return wk_fail(WICK_E_IO, "%s: %s", path, strerror(errno)); }

/* Opens a regular file and tells its size. */
static wick_status open_regular(const char *path, int *fd, size_t *size) {
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return fail_errno(path);
    wick_status s = WICK_OK;
    if (fstat(*fd, &st)) s = fail_errno(path);
    else if (S_ISDIR(st.st_mode)) s = wk_fail(WICK_E_IO, "%s: is a folder, a file is needed", path);
    else if (!S_ISREG(st.st_mode)) s = wk_fail(WICK_E_IO, "%s: is not a regular file", path);
    else *size = (size_t)st.st_size;
    if (s) close(*fd);
    return s;
}

wick_status wk_file_map(wk_file *f, const char *path) {
    int fd;
    *f = (wk_file){ 0 };
    wick_status st = open_regular(path, &fd, &f->size);
    if (st) return st;
    if (!(f->path = wk_strdup(path))) st = wk_fail_memory(strlen(path), "a file's name");
    if (!st && f->size) {
        void *p = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) st = fail_errno(path);
        else f->data = p;
    }
    close(fd);
    if (st) wk_file_unmap(f);
    return st;
}

void wk_file_unmap(wk_file *f) {
    if (f->data) munmap((void *)(uintptr_t)f->data, f->size);
    wk_free(f->path);
    *f = (wk_file){ 0 };
}

void wk_file_release(const void *p, size_t n) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t a = ((uintptr_t)p + page - 1) & ~(page - 1), b = ((uintptr_t)p + n) & ~(page - 1);
    if (b > a) madvise((void *)a, b - a, MADV_DONTNEED);
}

wick_status wk_file_read(const char *path, size_t limit, wk_buf *out) {
    int fd;
    size_t size = 0;
    wick_status st = open_regular(path, &fd, &size);
    if (st) return st;
    if (size > limit) {
        close(fd);
        return wk_fail(WICK_E_LENGTH, "%s: has %zu bytes, at most %zu are read", path, size, limit);
    }
    char chunk[65536];
    for (ssize_t n; !st && (n = read(fd, chunk, sizeof chunk)) != 0;) {
        if (n < 0) st = errno == EINTR ? WICK_OK : fail_errno(path);
        else if (out->len + (size_t)n > limit) st = wk_fail(WICK_E_LENGTH, "%s: grew past %zu bytes while it was read", path, limit);
        else wk_buf_add(out, chunk, (size_t)n);
    }
    close(fd);
    wk_buf_add(out, "", 0);
    if (!st && out->failed) st = wk_fail_memory(size, path);
    return st;
}

bool wk_file_exists(const char *path) { return access(path, F_OK) == 0; }

bool wk_is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

char *wk_path_join(const char *folder, const char *name) {
    wk_buf b = { 0 };
    wk_buf_str(&b, folder);
    if (b.len && b.ptr[b.len - 1] != '/') wk_buf_char(&b, '/');
    wk_buf_str(&b, name);
    if (b.failed) wk_buf_free(&b);
    return b.ptr;
}
