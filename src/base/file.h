/* file.h: files mapped for reading, read whole, and written whole. */
#ifndef WK_FILE_H
#define WK_FILE_H
#include "base/mem.h"
#include "base/status.h"

/* A file mapped read-only and private. A file that shrinks while it is mapped gives SIGBUS, as with any program that maps. */
typedef struct wk_file {
    const uint8_t *data;  /* NULL for an empty file */
    size_t size;
    char *path;
} wk_file;
/* Maps a regular file. Errors  WICK_E_IO ("PATH: No such file or directory"), WICK_E_MEMORY. */
wick_status wk_file_map(wk_file *f, const char *path);
void wk_file_unmap(wk_file *f);
/* Tells the kernel that [p, p+n) of a mapped file will not be read again soon: its pages may go. */
void wk_file_release(const void *p, size_t n);
/* Reads a whole file of at most limit bytes into *out (NUL-terminated). Errors  WICK_E_IO, WICK_E_LENGTH, WICK_E_MEMORY. */
wick_status wk_file_read(const char *path, size_t limit, wk_buf *out);
/* Writes the parts one after the other to path by way of a temporary name beside it: whole or not at all. A link is followed;
 * a pipe or a device is written to directly.
 * Errors  WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_file_write(const char *path, const wk_str *part, size_t n_part);
/* The same in steps: a file that is written piece by piece under the temporary name and has its own only once it is whole. */
typedef struct wk_out { int fd; char *tmp, *to; const char *path; uint64_t n; } wk_out;  /* path is borrowed; n bytes so far */
wick_status wk_out_open(wk_out *o, const char *path);
wick_status wk_out_write(wk_out *o, const void *p, size_t n);
/* Gives the file its name if st is WICK_OK, else takes it away; returns st, or why that failed. Frees *o in every case. */
wick_status wk_out_close(wk_out *o, wick_status st);
bool wk_file_exists(const char *path);
bool wk_is_folder(const char *path);
/* Is there an entry in the folder whose name ends so? */
bool wk_folder_has(const char *folder, const char *ending);
/* Is it a folder without entries? */
bool wk_folder_empty(const char *folder);
/* Are both names of one file or folder? */
bool wk_same_file(const char *a, const char *b);
/* Errors  WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_folder_make(const char *path);
/* Takes away the files whose name begins and ends so ("", "": all), no folders in it. What cannot go stays. */
void wk_folder_clear(const char *folder, const char *begin, const char *end);
void wk_folder_remove(const char *folder);  /* with the files in it, where it holds no folders */
/* Gives the folder from the name to, which is free or an empty folder's; else moves its files into to one by one, over files of
 * the same name. Errors  WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_folder_move(const char *from, const char *to);
/* Bytes that may still be written where path (which need not be there) would lie; UINT64_MAX: not known. */
uint64_t wk_free_space(const char *path);
/* "folder/name", new; NULL: no memory. */
char *wk_path_join(const char *folder, const char *name);

#endif
