/* file.c: mapping, reading and writing whole files. */
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static wick_status fail_errno(const char *path) { return wk_fail(WICK_E_IO, "%s: %s", path, strerror(errno)); }

/* ---- the system's calls, one of which may have to fail ---- */

static atomic_uint_fast64_t n_call, fail_at;
static atomic_int fail_how;
static atomic_bool plain;

void wk_io_fail_at(uint64_t k, int how) {
    atomic_store(&fail_how, how);
    atomic_store(&fail_at, k ? atomic_load(&n_call) + k : 0);
}
void wk_io_plain(bool on) { atomic_store(&plain, on); }
uint64_t wk_io_count(void) { return atomic_load(&n_call); }

/* Counts one call. If it is the one: true with errno set where it has to fail, *few where it has to read less than it could. */
static bool injected(bool *few) {
    uint64_t n = atomic_fetch_add_explicit(&n_call, 1, memory_order_relaxed) + 1;
    int how = n == atomic_load_explicit(&fail_at, memory_order_relaxed) ? atomic_load(&fail_how) : 0;
    *few = how == WK_IO_SHORT || how == WK_IO_DIE_SHORT;
    if (how == WK_IO_DIE) raise(SIGKILL);
    if (how > 0) errno = how;
    return how > 0;
}

static int sys_open(const char *path, int flags, mode_t mode) {
    bool few;
    int fd;
    do fd = injected(&few) ? -1 : open(path, flags, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}
static int sys_fstat(int fd, struct stat *st) {
    bool few;
    return injected(&few) && errno != EINTR ? -1 : fstat(fd, st);
}
static int sys_stat(const char *path, struct stat *st) {
    bool few;
    return injected(&few) && errno != EINTR ? -1 : stat(path, st);
}
static void *sys_mmap(int fd, size_t n) {
    bool few;
    return injected(&few) && errno != EINTR ? MAP_FAILED : mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
}
static ssize_t sys_read(int fd, void *p, size_t n) {
    bool few;
    if (injected(&few)) return -1;
    return read(fd, p, few && n > 1 ? 1 : n);
}
static ssize_t sys_write(int fd, const void *p, size_t n) {
    bool few;
    if (injected(&few)) return -1;
    ssize_t k = write(fd, p, few && n > 1 ? n / 2 : n);
    if (few && atomic_load(&fail_how) == WK_IO_DIE_SHORT) raise(SIGKILL);
    return k;
}
static int sys_fsync(int fd) {
    bool few;
    int r;
    do r = injected(&few) ? -1 : fsync(fd);
    while (r < 0 && errno == EINTR);
    return r;
}
static int sys_renameat(int a, const char *from, int b, const char *to) {
    bool few;
    return injected(&few) && errno != EINTR ? -1 : renameat(a, from, b, to);
}
static int sys_rename(const char *from, const char *to) { return sys_renameat(AT_FDCWD, from, AT_FDCWD, to); }
static int sys_linkat(int a, const char *from, int b, const char *to, int flags) {
    bool few;
    if (injected(&few) && errno != EINTR) return -1;
    if (!atomic_load(&plain)) return linkat(a, from, b, to, flags);
    errno = EPERM;
    return -1;
}
/* Two names exchanged at one go; EINVAL, ENOSYS: this system or this file system cannot. */
static int sys_exchange(const char *a, const char *b) {
    bool few;
    if (injected(&few) && errno != EINTR) return -1;
#if defined(RENAME_EXCHANGE)
    if (!atomic_load(&plain)) return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
#else
    (void)a, (void)b;
#endif
    errno = ENOSYS;
    return -1;
}

/* ---- reading ---- */

/* Opens a regular file and tells its size. Without O_NONBLOCK a FIFO would be waited on before it can be refused. */
static wick_status open_regular(const char *path, int *fd, size_t *size) {
    struct stat st;
    *fd = sys_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (*fd < 0) return fail_errno(path);
    wick_status s = WICK_OK;
    if (sys_fstat(*fd, &st)) s = fail_errno(path);
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
        void *p = sys_mmap(fd, f->size);
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

void wk_file_expect(const void *p, size_t n) {
#if defined(MADV_POPULATE_READ)
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), a = (uintptr_t)p & ~(page - 1);
    madvise((void *)a, (uintptr_t)p + n - a, MADV_POPULATE_READ);  /* an older kernel refuses, and faults do the work */
#else
    (void)p, (void)n;
#endif
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
    for (ssize_t n; !st && (n = sys_read(fd, chunk, sizeof chunk)) != 0;) {
        if (n < 0) st = errno == EINTR ? WICK_OK : fail_errno(path);
        else if (out->len + (size_t)n > limit)
            st = wk_fail(WICK_E_LENGTH, "%s: grew past %zu bytes while it was read", path, limit);
        else wk_buf_add(out, chunk, (size_t)n);
    }
    close(fd);
    wk_buf_add(out, "", 0);
    if (!st && !out->failed && out->len < size)
        st = wk_fail(WICK_E_IO, "%s: had %zu bytes and ended after %zu: it shrank while it was read", path, size, out->len);
    if (!st && out->failed) st = wk_fail_memory(size, path);
    return st;
}

wick_status wk_check_pointer(const char *path, const void *p, size_t n) {
    static const char lfs[] = "version https://git-lfs";
    if (n < sizeof lfs - 1 || memcmp(p, lfs, sizeof lfs - 1)) return WICK_OK;
    return wk_fail(WICK_E_FORMAT, "%s: is a Git LFS pointer, not the file itself: run `git lfs pull`, or download it again", path);
}

/* ---- writing ---- */

/* A folder's entries are on the disk only once it is synced itself; where that cannot be asked for, nothing is lost. */
static void sync_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

/* The same for the folder that holds the file. */
static void sync_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    int n = !slash ? 1 : slash > path ? (int)(slash - path) : 1;
    if (n >= (int)sizeof folder) return;
    snprintf(folder, sizeof folder, "%.*s", n, slash ? path : ".");
    sync_folder(folder);
}

/* Where the bytes go: links are followed, so that the file behind one is what is replaced. *through: it is a pipe or a device,
 * which is written to as it is; a rename would put a plain file in its place. */
static wick_status find_target(const char *path, char **to, bool *through) {
    char real[PATH_MAX];
    struct stat st;
    const char *at = realpath(path, real);
    *through = false;
    if (!at && errno != ENOENT) return wk_fail(WICK_E_IO, "%s: could not be written: %s", path, strerror(errno));
    if (!at && !lstat(path, &st))
        return wk_fail(WICK_E_IO, "%s: could not be written: it is a link to a file that is not there", path);
    if (at && stat(at, &st)) return fail_errno(path);
    if (at && S_ISDIR(st.st_mode)) return wk_fail(WICK_E_IO, "%s: could not be written: it is a folder", path);
    *through = at && !S_ISREG(st.st_mode);
    return (*to = wk_strdup(at ? at : path)) ? WICK_OK : wk_fail_memory(strlen(path), "a file's name");
}

wick_status wk_file_check(const char *path) {
    bool through;
    char *to = NULL;
    wick_status st = find_target(path, &to, &through);
    wk_free(to);
    return st;
}

wick_status wk_out_open(wk_out *o, const char *path) {
    bool through;
    *o = (wk_out){ .fd = -1, .path = path };
    wick_status st = find_target(path, &o->to, &through);
    if (st) return st;
    if (through) {
        o->fd = sys_open(o->to, O_WRONLY | O_CLOEXEC, 0);
    } else {
        wk_buf tmp = { 0 };
        wk_buf_printf(&tmp, "%s.tmp-%ld", o->to, (long)getpid());
        if (tmp.failed) wk_buf_free(&tmp);
        if (!tmp.ptr) return wk_fail_memory(strlen(path), "a file's name");
        o->tmp = tmp.ptr;
        unlink(o->tmp);  /* an earlier process of this number may have died; O_EXCL follows nobody's link */
        o->fd = sys_open(o->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    return o->fd >= 0 ? WICK_OK : wk_fail(WICK_E_IO, "%s: could not be written: %s", path, strerror(errno));
}

wick_status wk_out_write(wk_out *o, const void *p, size_t n) {
    for (const char *at = p; n;) {
        ssize_t k = sys_write(o->fd, at, n < 1 << 30 ? n : 1 << 30);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return wk_fail(WICK_E_IO, "%s: could not be written: %s", o->path, strerror(k ? errno : ENOSPC));
        at += k;
        n -= (size_t)k;
        o->n += (uint64_t)k;
    }
    return WICK_OK;
}

wick_status wk_out_close(wk_out *o, wick_status st) {
    bool ok = !st && (!sys_fsync(o->fd) || !o->tmp);  /* pipes cannot be synced */
    int why = errno;
    if (o->fd >= 0 && close(o->fd) && ok) {
        ok = false;
        why = errno;
    }
    if (ok && o->tmp && sys_rename(o->tmp, o->to)) {
        ok = false;
        why = errno;
    }
    if (ok && o->tmp) sync_folder_of(o->to);
    if (!st && !ok) st = wk_fail(WICK_E_IO, "%s: could not be written: %s", o->path, strerror(why));
    if (!ok && o->tmp && o->fd >= 0) unlink(o->tmp);
    wk_free(o->tmp);
    wk_free(o->to);
    *o = (wk_out){ .fd = -1 };
    return st;
}

wick_status wk_file_write(const char *path, const wk_str *part, size_t n_part) {
    wk_out o;
    wick_status st = wk_out_open(&o, path);
    for (size_t i = 0; !st && i < n_part; i++) st = wk_out_write(&o, part[i].ptr, part[i].len);
    return wk_out_close(&o, st);
}

bool wk_file_link(const char *path, const char *name) {
    unlink(name);
    return !sys_linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

wick_status wk_file_rename(const char *from, const char *to) {
    if (sys_rename(from, to)) return fail_errno(to);
    sync_folder_of(to);
    return WICK_OK;
}

/* ---- looking, and folders ---- */

bool wk_file_exists(const char *path) { return access(path, F_OK) == 0; }

wick_status wk_file_look(const char *path, bool *there) {
    struct stat st;
    *there = !sys_stat(path, &st);
    if (*there) return WICK_OK;
    if (errno != ENOENT) return fail_errno(path);
    if (!lstat(path, &st)) return wk_fail(WICK_E_IO, "%s: is a link to a file that is not there", path);
    return WICK_OK;
}

uint64_t wk_file_size(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

bool wk_is_folder(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

wick_status wk_folder_look(const char *path, bool *folder) {
    struct stat st;
    *folder = false;
    if (sys_stat(path, &st)) return fail_errno(path);
    *folder = S_ISDIR(st.st_mode);
    return WICK_OK;
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

/* The next file of a folder that is neither itself nor its parent. */
static const char *next_name(DIR *d) {
    struct dirent *e;
    while ((e = readdir(d)) && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))) {}
    return e ? e->d_name : NULL;
}

bool wk_folder_empty(const char *folder) {
    DIR *d = opendir(folder);
    bool empty = d && !next_name(d);
    if (d) closedir(d);
    return empty;
}

bool wk_same_file(const char *a, const char *b) {
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool wk_is_same_folder(int fd, const char *path) {
    struct stat x, y;
    return !fstat(fd, &x) && !stat(path, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

wick_status wk_folder_make(const char *path) { return mkdir(path, 0777) ? fail_errno(path) : WICK_OK; }

wick_status wk_folders_make(const char *path) {
    char *copy = wk_strdup(path);
    wick_status st = copy ? WICK_OK : wk_fail_memory(strlen(path), "a folder's name");
    for (char *p = copy; !st && p && *p;) {
        p += strspn(p, "/");
        p += strcspn(p, "/");
        char c = *p;
        *p = 0;
        int why = mkdir(copy, 0777) ? errno : 0;
        if (why && ((why != EEXIST && why != EROFS) || !wk_is_folder(copy))) {
            errno = why;
            st = fail_errno(copy);
        }
        *p = c;
    }
    wk_free(copy);
    return st;
}

wick_status wk_folder_lock(const char *path, int *fd) {
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 || !flock(*fd, LOCK_EX | LOCK_NB)) return WICK_OK;
    bool held = errno == EWOULDBLOCK;
    wk_folder_unlock(*fd);
    *fd = -1;
    return held ? wk_fail(WICK_E_IO, "%s: is in use", path) : WICK_OK;
}

void wk_folder_unlock(int fd) {
    if (fd >= 0) close(fd);
}

bool wk_is_unfinished(const char *name, const char *of) {
    static const char between[] = ".tmp-";
    size_t n = strlen(of), m = sizeof between - 1;
    if (strncmp(name, of, n) || strncmp(name + n, between, m)) return false;
    const char *number = name + n + m;
    return *number && !number[strspn(number, "0123456789")];
}

void wk_folder_clear(const char *folder, bool (*goes)(const char *name)) {
    DIR *d = opendir(folder);
    for (const char *name; d && (name = next_name(d));) if (!goes || goes(name)) unlinkat(dirfd(d), name, 0);
    if (d) closedir(d);
}

void wk_folder_remove(const char *folder) {
    wk_folder_clear(folder, NULL);
    rmdir(folder);
}

/* Where a folder lies while another takes its name. New; NULL: no memory. */
static char *old_name(const char *path) {
    wk_buf b = { 0 };
    wk_buf_printf(&b, "%s.tmp-old", path);
    if (b.failed) wk_buf_free(&b);
    return b.ptr;
}

/* Gives `from` the name `to`, in two steps where the file system knows no single one; what had it is then called *left. First of
 * all the new one takes the name that the old one will have, as one that is told apart from what is unfinished. */
static wick_status exchange(const char *from, const char *to, const char *old, const char **left) {
    bool named = !sys_rename(from, old);
    *left = named ? old : from;
    if (!sys_exchange(*left, to)) return WICK_OK;
    *left = old;
    if (named && rename(old, from)) return fail_errno(from);
    if (sys_rename(to, old)) return fail_errno(to);
    if (!sys_rename(from, to)) return WICK_OK;
    wick_status st = fail_errno(to);
    rename(old, to);
    return st;
}

/* Gives the folder `to` second names of the files that `from` has and it has not, but for what goes(). */
static void share(const char *from, const char *to, bool (*goes)(const char *name)) {
    DIR *a = opendir(from);
    int b = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (const char *name; a && b >= 0 && (name = next_name(a));)
        if (!goes || !goes(name)) sys_linkat(dirfd(a), name, b, name, 0);  /* no folders, and not everywhere */
    if (a) closedir(a);
    if (b >= 0) close(b);
}

/* Removes a folder that `to` has taken the place of: what it has beside that one's, but for what goes(), moves there. */
static void settle(const char *old, const char *to, bool (*goes)(const char *name)) {
    DIR *a = opendir(old);
    int b = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (const char *name; a && b >= 0 && (name = next_name(a));) {
        bool stays = !(goes && goes(name)) && faccessat(b, name, F_OK, AT_SYMLINK_NOFOLLOW);
        if (stays) (void)!sys_renameat(dirfd(a), name, b, name);  /* what cannot be moved stays where it is */
        else unlinkat(dirfd(a), name, 0);
    }
    if (a) closedir(a);
    if (b >= 0) close(b);
    rmdir(old);
}

wick_status wk_folder_replace(const char *from, const char *to, bool (*goes)(const char *name)) {
    sync_folder(from);
    bool free_name = !sys_rename(from, to);
    if (!free_name && errno != ENOTEMPTY && errno != EEXIST) return fail_errno(to);
    if (!free_name) {
        const char *left;
        char *old = old_name(to);
        if (!old) return wk_fail_memory(strlen(to), "a folder's name");
        share(to, from, goes);  /* before the exchange, so that a kill after it leaves them there */
        sync_folder(from);
        wick_status st = exchange(from, to, old, &left);
        if (!st) settle(left, to, goes);
        wk_free(old);
        if (st) return st;
    }
    sync_folder_of(to);
    return WICK_OK;
}

/* Removes the unfinished folders of a name that nobody is writing. */
static wick_status remove_unfinished(const char *path) {
    const char *slash = strrchr(path, '/');
    wk_buf parent = { 0 };
    wk_buf_printf(&parent, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    DIR *d = parent.failed ? NULL : opendir(parent.ptr);
    wick_status st = parent.failed ? wk_fail_memory(strlen(path), "a folder's name") : WICK_OK;
    for (const char *name; !st && d && (name = next_name(d));) {
        int fd = -1;
        if (!wk_is_unfinished(name, slash ? slash + 1 : path)) continue;
        char *found = wk_path_join(parent.ptr, name);
        if (!found) st = wk_fail_memory(strlen(path), "a folder's name");
        else if (!wk_folder_lock(found, &fd) && fd >= 0) wk_folder_remove(found);
        wk_folder_unlock(fd);
        wk_free(found);
    }
    if (d) closedir(d);
    wk_buf_free(&parent);
    return st;
}

wick_status wk_folder_recover(const char *path, bool (*goes)(const char *name)) {
    char *old = old_name(path);
    int fd = -1;
    if (!old) return wk_fail_memory(strlen(path), "a folder's name");
    bool held = wk_folder_lock(old, &fd) || fd < 0;
    if (!held && (wk_file_exists(path) || rename(old, path))) settle(old, path, goes);
    wk_folder_unlock(fd);
    wk_free(old);
    return remove_unfinished(path);
}

uint64_t wk_free_space(const char *path) {
    struct statvfs v = { 0 };
    char at[4096];
    uint64_t n;
    if (strlen(path) >= sizeof at) return UINT64_MAX;
    snprintf(at, sizeof at, "%s", path);
    while (statvfs(at, &v)) {  /* the nearest folder above it that is there */
        char *slash = strrchr(at, '/');
        if (slash && slash != at) { *slash = 0; continue; }
        if (statvfs(slash ? "/" : ".", &v)) return UINT64_MAX;
        break;
    }
    return __builtin_mul_overflow((uint64_t)v.f_bavail, (uint64_t)v.f_frsize, &n) ? UINT64_MAX : n;
}

char *wk_path_join(const char *folder, const char *name) {
    wk_buf b = { 0 };
    wk_buf_str(&b, folder);
    if (b.len && b.ptr[b.len - 1] != '/') wk_buf_char(&b, '/');
    wk_buf_str(&b, name);
    if (b.failed) wk_buf_free(&b);
    return b.ptr;
}

char *wk_path_real(const char *path) {
    char real[PATH_MAX];
    return wk_strdup(realpath(path, real) ? real : path);
}

size_t wk_resident_bytes(void) {
    unsigned long all, here = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lu %lu", &all, &here) != 2) here = 0;
    if (f) fclose(f);
    return here * (size_t)sysconf(_SC_PAGESIZE);
}

/* A number of kilobytes from a file of the system's, by its name there; 0: it is not there. */
static uint64_t system_kb(const char *path, const char *name) {
    char line[128];
    uint64_t kb = 0;
    FILE *f = fopen(path, "re");
    while (f && !kb && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name))) kb = strtoull(line + strlen(name), NULL, 10);
    if (f) fclose(f);
    return kb;
}

/* getrusage() would count what the process that started this one had in memory. */
size_t wk_peak_bytes(void) { return (size_t)system_kb("/proc/self/status", "VmHWM:") * 1024; }

uint64_t wk_free_memory(void) { return system_kb("/proc/meminfo", "MemAvailable:") * 1024; }
