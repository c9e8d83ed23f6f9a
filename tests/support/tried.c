/* tried.c: appends lines to the file that WICK_TRIED names. Tests run side by side: one write a line, so that lines stay whole. */
#include "support/tried.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void tried(const char *table, const char *what, const char *how, const char *weights) {
    const char *path = getenv("WICK_TRIED");
    char line[512];
    int n = snprintf(line, sizeof line, "%s\t%s\t%s\t%s\n", table, what, how, weights);
    if (!path || n >= (int)sizeof line) return;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, (size_t)n) != n) perror(path);
    if (fd >= 0) close(fd);
}
