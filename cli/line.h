/* line.h: reads messages from a person, or lines from a pipe. */
#ifndef CLI_LINE_H
#define CLI_LINE_H
#include "base/mem.h"

typedef enum line_end { LINE_MESSAGE, LINE_EOF, LINE_INTERRUPTED } line_end;

/* prompt and more (before further lines of a message) are borrowed until line_close(); bold: show the prompt so.
 * With libedit and a terminal: editing, and history kept in a file from one time to the next. */
void line_open(const char *prompt, const char *more, bool bold);
void line_close(void);
/* One message into *out, replaced: a line, or several where one ends with \, where """ opens a block, or where they were
 * pasted together. Without the final newline. */
line_end line_read(wk_buf *out);

#endif
