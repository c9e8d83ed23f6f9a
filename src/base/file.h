/* file.h: files mapped for reading, read whole, and written whole. */
#ifndef WK_FILE_H
#define WK_FILE_H
#include "base/mem.h"
#include "base/status.h"

/* A file mapped read-only and private. Its size is what it is when it is opened; everything is checked against that. A file that
 * is cut in place while it is mapped gives SIGBUS, as with any program that maps: catching the signal is the program's business,
 * and reading instead would cost a copy of every model. Removing a file, or renaming another over it, is fine. */
typedef struct wk_file {
    const uint8_t *data;  /* NULL for an empty file */
    size_t size;
    char *path;
} wk_file;
/* Maps a regular file. Errors  WICK_E_IO ("PATH: No such file or directory"), WICK_E_MEMORY. */
wick_status wk_file_map(wk_file *f, const char *path);
void wk_file_unmap(wk_file *f);
/* Has [p, p+n) of a mapped file, which is read next, mapped at one go: a fault every few pages costs as much as the reading. */
void wk_file_expect(const void *p, size_t n);
/* Tells the kernel that [p, p+n) of a mapped file will not be read again soon: its pages may go. */
void wk_file_release(const void *p, size_t n);
/* Reads a whole file of at most limit bytes into *out (NUL-terminated). Errors  WICK_E_IO, WICK_E_LENGTH, WICK_E_MEMORY. */
wick_status wk_file_read(const char *path, size_t limit, wk_buf *out);
/* Writes the parts one after the other to path by way of a temporary name beside it: whole or not at all. A link is followed;
 * a pipe or a device is written to directly.
 * Errors  WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_file_write(const char *path, const wk_str *part, size_t n_part);
/* Could it be written, as far as its name goes? Errors  WICK_E_IO: a folder, a link to nothing; WICK_E_MEMORY. */
wick_status wk_file_check(const char *path);
/* The same in steps: a file that is written piece by piece under the temporary name and has its own only once it is whole. */
typedef struct wk_out { int fd; char *tmp, *to; const char *path; uint64_t n; } wk_out;  /* path is borrowed; n bytes so far */
wick_status wk_out_open(wk_out *o, const char *path);
wick_status wk_out_write(wk_out *o, const void *p, size_t n);
/* Gives the file its name if st is WICK_OK, else takes it away; returns st, or why that failed. Frees *o in every case. */
wick_status wk_out_close(wk_out *o, wick_status st);
/* A second name for a file (of a link for the one behind it), in another's place; false: the file system has no such thing, or the
 * file is not there. */
bool wk_file_link(const char *path, const char *name);
/* Errors  WICK_E_IO. */
wick_status wk_file_rename(const char *from, const char *to);
/* Are these a file's bytes, and not the few lines that Git leaves in its place where Git LFS is missing?
 * Errors  WICK_E_FORMAT: they are such lines. */
wick_status wk_check_pointer(const char *path, const void *p, size_t n);
bool wk_file_exists(const char *path);  /* for messages: what cannot be looked at counts as absent */
/* Is it there, whatever it is? Errors  WICK_E_IO: a link to nothing, links in a circle, a folder that may not be looked into. */
wick_status wk_file_look(const char *path, bool *there);
/* Is it a folder? Errors  WICK_E_IO: it is not there, or as above. */
wick_status wk_folder_look(const char *path, bool *folder);
uint64_t wk_file_size(const char *path);  /* 0 where it cannot be looked at */
bool wk_is_folder(const char *path);  /* the same where what cannot be looked at counts as none */
/* Is there an entry in the folder whose name ends so? */
bool wk_folder_has(const char *folder, const char *ending);
/* Is it a folder without entries? */
bool wk_folder_empty(const char *folder);
/* Are both names of one file or folder? */
bool wk_same_file(const char *a, const char *b);
/* Does the path still lead to the folder that wk_folder_lock() opened? */
bool wk_is_same_folder(int fd, const char *path);
/* Errors  WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_folder_make(const char *path);
/* The folder and those above it, where they are not there. Errors  WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_folders_make(const char *path);
/* Keeps others from what a folder is for, until the descriptor is closed or the process ends; leaves no file behind. *fd is -1
 * where the file system knows no locks. Errors  WICK_E_IO: someone else holds it. */
wick_status wk_folder_lock(const char *path, int *fd);
void wk_folder_unlock(int fd);
/* Is it the name of what some process writes, or wrote until it was killed, for a file or folder `of`: "OF.tmp-NUMBER"? */
bool wk_is_unfinished(const char *name, const char *of);
/* Takes away the files that goes() names (NULL: all), no folders. What cannot go stays. */
void wk_folder_clear(const char *folder, bool (*goes)(const char *name));
void wk_folder_remove(const char *folder);  /* with the files in it, where it holds no folders */
/* Gives the folder `from` the name `to`, whole: whoever is killed leaves there either all that was there or all that is new, but
 * for what wk_folder_recover() puts right: "TO.tmp-old", the old one. Files and folders that only `to` had stay, but for files
 * that goes() names (NULL: none does). Errors  WICK_E_IO, WICK_E_MEMORY: `to` is as it was. */
wick_status wk_folder_replace(const char *from, const char *to, bool (*goes)(const char *name));
/* After kills: PATH.tmp-old gets its name back where no other has it (file systems that cannot exchange names), else what only it
 * has; folders PATH.tmp-NUMBER that nobody holds (wk_folder_lock()) go. Errors  WICK_E_MEMORY. */
wick_status wk_folder_recover(const char *path, bool (*goes)(const char *name));
/* Bytes that may still be written where path (which need not be there) would lie; UINT64_MAX: not known. */
uint64_t wk_free_space(const char *path);
/* "folder/name", new; NULL: no memory. */
char *wk_path_join(const char *folder, const char *name);
/* The absolute path of what is there, links followed; of what is not, a copy of path. Free with wk_free(); NULL: no memory. */
char *wk_path_real(const char *path);

/* For tests: the k-th of the system's calls from now (open, stat, mmap, read, write, fsync, rename, link; 0: none) fails with errno
 * `how`, or reads a single byte and writes half (WK_IO_SHORT), or kills the process before it happens (WK_IO_DIE) or, if it is a
 * write, when half of it has (WK_IO_DIE_SHORT). */
enum { WK_IO_SHORT = -1, WK_IO_DIE = -2, WK_IO_DIE_SHORT = -3 };
void wk_io_fail_at(uint64_t k, int how);
/* For tests: the file system has no hard links and cannot exchange two names. */
void wk_io_plain(bool on);
/* For tests: such calls so far in this process. */
uint64_t wk_io_count(void);

/* What of this process is in memory now; 0: the system does not tell. */
size_t wk_resident_bytes(void);
/* The most that there was at once; 0: the system does not tell. */
size_t wk_peak_bytes(void);
/* What of the machine's memory could still be had; 0: the system does not tell. */
uint64_t wk_free_memory(void);

#endif
