/* fuzz_template.c: any bytes as a chat template, rendered over one fixed conversation under small limits. What comes out must be
 * UTF-8, and its pieces must cover it without a gap. */
#include "text/template.h"
#include <stdlib.h>
#include <utf8proc.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char conversation[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be <|brief|>.\"},{\"role\":\"user\",\"content\":\"Stra\\u00dfe "
    "\\ud83d\\ude00\\n x\",\"n\":7},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{\"city\":\"Rome\","
    "\"days\":2.5}}}]}],"
    "\"tools\":[{\"type\":\"function\"}],\"add_generation_prompt\":true,\"bos_token\":\"<s>\",\"eos_token\":\"</"
    "s>\",\"n\":7,\"s\":\"Hello, World\","
    "\"list\":[3,1,2],\"names\":[\"bob\",\"Alice\"],\"d\":{\"b\":2,\"a\":1},\"x\":-1.5,\"t\":true,\"none_list\":[]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static json_t *vars;
    wk_template_limits limits = { .max_steps = 20000, .max_depth = 60, .max_output = 1 << 16 };
    wk_template *t;
    wk_rendered r;
    if (!vars && wk_json_parse(conversation, sizeof conversation - 1, "fuzz", &vars)) abort();
    if (wk_template_parse((const char *)data, size, &t)) return 0;
    if (!wk_template_render(t, vars, "2026-01-02T03:04:05", &limits, &r)) {
        size_t at = 0;
        for (size_t i = 0; i < r.n_piece; i++) {
            if (r.piece[i].from != at || r.piece[i].to <= at) abort();
            at = r.piece[i].to;
        }
        if (at != r.text.len) abort();
        for (size_t i = 0; i < r.text.len;) {
            utf8proc_int32_t c;
            utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)r.text.ptr + i, (utf8proc_ssize_t)(r.text.len - i), &c);
            if (n <= 0) abort();
            i += (size_t)n;
        }
        wk_rendered_free(&r);
    }
    wk_template_free(t);
    return 0;
}
