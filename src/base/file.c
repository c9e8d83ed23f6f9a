/* file.c: mapping, reading and writing whole files. */
#include "base/file.h"
#include <dirent.h>
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
        else if (out->len + (size_t)n > limit)
            st = wk_fail(WICK_E_LENGTH, "%s: grew past %zu bytes while it was read", path, limit);
        else wk_buf_add(out, chunk, (size_t)n);
    }
    close(fd);
    wk_buf_add(out, "", 0);
    if (!st && out->failed) st = wk_fail_memory(size, path);
    return st;
}

static bool write_all(int fd, wk_str s) {
    while (s.len) {
        ssize_t k = write(fd, s.ptr, s.len < 1 << 30 ? s.len : 1 << 30);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return false;
        s = (wk_str){ s.ptr + k, s.len - (size_t)k };
    }
    return true;
}

wick_status wk_file_write(const char *path, const wk_str *part, size_t n_part) {
    wk_buf tmp = { 0 };
    wk_buf_printf(&tmp, "%s.tmp-%ld", path, (long)getpid());
    if (tmp.failed) {
        wk_buf_free(&tmp);
        return wk_fail_memory(strlen(path), "a file's name");
    }
    unlink(tmp.ptr);  /* an earlier process of this number may have died; O_EXCL follows nobody's link */
    int fd = open(tmp.ptr, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool ok = fd >= 0;
    for (size_t i = 0; ok && i < n_part; i++) ok = write_all(fd, part[i]);
    ok = ok && !fsync(fd);
    if (fd >= 0) ok = !close(fd) && ok;
    ok = ok && !rename(tmp.ptr, path);
    wick_status st = ok ? WICK_OK : wk_fail(WICK_E_IO, "%s: could not be written: %s", path, strerror(errno));
    if (!ok && fd >= 0) unlink(tmp.ptr);
    wk_buf_free(&tmp);
    return st;
}

bool wk_file_exists(const char *path) { return access(path, F_OK) == 0; }

bool wk_is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool wk_folder_has(const char *folder, const char *ending) {
    DIR *d = opendir(folder);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        size_t n = strlen(e->d_name), m = strlen(ending);
        found = n > m && !strcmp(e->d_name + n - m, ending);
    }
    if (d) closedir(d);
    return found;
}

char *wk_path_join(const char *folder, const char *name) {
    wk_buf b = { 0 };
    wk_buf_str(&b, folder);
    if (b.len && b.ptr[b.len - 1] != '/') wk_buf_char(&b, '/');
    wk_buf_str(&b, name);
    if (b.failed) wk_buf_free(&b);
    return b.ptr;
}
