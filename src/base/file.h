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
/* Writes the parts one after the other to path by way of a temporary name beside it: whole or not at all.
 * Errors  WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_file_write(const char *path, const wk_str *part, size_t n_part);
bool wk_file_exists(const char *path);
bool wk_is_folder(const char *path);
/* Is there an entry in the folder whose name ends so? */
bool wk_folder_has(const char *folder, const char *ending);
/* "folder/name", new; NULL: no memory. */
char *wk_path_join(const char *folder, const char *name);

#endif
