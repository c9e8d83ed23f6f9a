/* template.h: chat templates: a Jinja interpreter (lexer, parser, evaluator) with jinja2's words and transformers' environment:
 * trim_blocks, lstrip_blocks, loop controls, {% generation %}, raise_exception, strftime_now, tojson unescaped, namespace.
 * The template is a stranger's: steps, depth, output and memory are limited. */
#ifndef WK_TEMPLATE_H
#define WK_TEMPLATE_H
#include "base/json.h"

typedef struct wk_template wk_template;
/* Parses n bytes of UTF-8, at most 1 MiB. A template may be rendered by several threads at a time.
 * Errors  WICK_E_TEMPLATE ("chat template: line 3: ..."), WICK_E_MEMORY. */
wick_status wk_template_parse(const char *src, size_t n, wk_template **out);
void wk_template_free(wk_template *t);

/* Limits of one rendering; 0 in a field means its default. What passes one is WICK_E_TEMPLATE. */
typedef struct wk_template_limits {
    uint64_t max_steps;   /* 10^7: a node of the template is one, and so are 8 to 64 bytes of text that are worked on; under 2 s */
    uint32_t max_depth;   /* 200 calls of macros and loops inside each other; expressions and values may nest 8 times as deep */
    size_t max_output;    /* 16 MiB, of the result and of each text on the way to it; all memory together: 16 times as much */
} wk_template_limits;

/* A piece of the output and where it came from: the template's own text, or the request's (kept through filters, joins and slices).
 */
typedef struct wk_piece { size_t from, to; bool request; bool generation; } wk_piece;
typedef struct wk_rendered { wk_buf text; wk_piece *piece; size_t n_piece, cap_piece; } wk_rendered;

/* Renders with the variables of a JSON object. JSON null is None; an absent key is undefined.
 * The values of "bos_token" and "eos_token" (and of every *_token string) count as the template's own; every other string is the
 * request's. now: ISO time for strftime_now ("2026-01-02T03:04:05"), NULL: the clock's. Errors  WICK_E_TEMPLATE (raise_exception's
 * words too), WICK_E_MEMORY. */
wick_status wk_template_render(const wk_template *t, json_t *vars, const char *now, const wk_template_limits *limits,
                               wk_rendered *out);
void wk_rendered_free(wk_rendered *r);

#endif
