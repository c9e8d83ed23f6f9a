/* regex.c: pcre2's allocator. */
#include "base/regex.h"
#include "base/mem.h"

static void *memory_new(size_t n, void *user) { (void)user; return wk_alloc(n); }
static void memory_free(void *p, void *user) { (void)user; wk_free(p); }

pcre2_general_context *wk_regex_memory(void) { return pcre2_general_context_create(memory_new, memory_free, NULL); }
