/* regex.h: pcre2, its memory through base/mem.h. */
#ifndef WK_REGEX_H
#define WK_REGEX_H
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* What pcre2's ..._create() functions take, so that all they make comes from base/mem.h; free with pcre2_general_context_free()
 * after everything that was made with it. NULL: no memory. */
pcre2_general_context *wk_regex_memory(void);

#endif
