/* yaml.c: reads the options of a training from a YAML file, by libyaml's events.
 * Taken: mappings of mappings, scalars, and lists of scalars, in block or flow form; a key's path is its names joined by dots.
 * Values are texts until the table of keys says what they are, so that 1e-5 is a number, which YAML 1.1 would call a string. */
#include "base/file.h"
#include "generate/generate.h"
#include "train/config.h"
#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 8, MAX_ITEM = 256, MAX_BYTES = 1 << 20 };

typedef struct reading {
    yaml_parser_t parser;
    const char *path;
    wk_buf text;                      /* borrowed */
    wick_train_options *o;
    bool first, forced;               /* only the optimizer is taken, from which follows what constants count; or not even that */
    wk_buf name;                      /* of the mapping that is being read, with a dot at its end */
    char *seen[MAX_ITEM]; size_t n_seen;
} reading;

static wick_status at_line(const reading *r, size_t line, wick_status st) {
    wk_buf b = { 0 };
    wk_buf_printf(&b, "%s: line %zu", r->path, line + 1);
    if (!b.failed) wk_fail_in(st, b.ptr);
    wk_buf_free(&b);
    return st == WICK_E_ARG ? WICK_E_FORMAT : st;
}

/* Of a byte that is no text libyaml says where it lies, not in which line. */
static wick_status bad_byte(const reading *r) {
    size_t line = 1;
    for (size_t i = 0; i < r->parser.problem_offset && i < r->text.len; i++) line += r->text.ptr[i] == '\n';
    return wk_fail(WICK_E_FORMAT, "%s: line %zu: not YAML: %s", r->path, line, r->parser.problem ? r->parser.problem : "unknown");
}

static wick_status next(reading *r, yaml_event_t *e) {
    if (!yaml_parser_parse(&r->parser, e) && r->parser.error == YAML_READER_ERROR) return bad_byte(r);
    if (r->parser.error)
        return r->parser.error == YAML_MEMORY_ERROR
                   ? wk_fail_memory(1, r->path)
                   : wk_fail(WICK_E_FORMAT, "%s: line %zu: not YAML: %s", r->path, r->parser.problem_mark.line + 1,
                             r->parser.problem ? r->parser.problem : "unknown");
    if (e->type != YAML_ALIAS_EVENT) return WICK_OK;
    size_t line = e->start_mark.line;
    yaml_event_delete(e);
    return wk_fail(WICK_E_FORMAT, "%s: line %zu: an alias (*name): write the value out", r->path, line + 1);
}

static bool is_null(const yaml_event_t *e) {
    const char *s = (const char *)e->data.scalar.value;
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE
           && (!*s || !strcmp(s, "~") || !strcmp(s, "null") || !strcmp(s, "Null") || !strcmp(s, "NULL"));
}

static wick_status set(const reading *r, const char *name, const char *const *item, size_t n, size_t line) {
    bool optimizer = !strcmp(name, "optimizer");
    if ((r->first && !optimizer) || (r->forced && optimizer)) return WICK_OK;
    wick_status st = wk_train_set_list(r->o, name, item, n);
    return st ? at_line(r, line, st) : WICK_OK;
}

/* The rest of a list. */
static wick_status read_list(reading *r, const char *name, size_t line) {
    char *item[MAX_ITEM];
    size_t n = 0;
    wick_status st = WICK_OK;
    for (bool more = true; more && !st;) {
        yaml_event_t e;
        if ((st = next(r, &e)) != WICK_OK) break;
        more = e.type != YAML_SEQUENCE_END_EVENT;
        if (more && (e.type != YAML_SCALAR_EVENT || n == MAX_ITEM))
            st = wk_fail(WICK_E_FORMAT, "%s: line %zu: the list %s holds %s", r->path, e.start_mark.line + 1, name,
                         n == MAX_ITEM ? "more than 256 values" : "more than plain values");
        else if (more && !(item[n++] = wk_strdup((const char *)e.data.scalar.value))) st = wk_fail_memory(1, name), n--;
        yaml_event_delete(&e);
    }
    if (!st) st = set(r, name, (const char *const *)item, n, line);
    while (n) wk_free(item[--n]);
    return st;
}

static wick_status once(reading *r, const char *name, size_t line) {
    for (size_t i = 0; i < r->n_seen; i++)
        if (!strcmp(r->seen[i], name)) return wk_fail(WICK_E_FORMAT, "%s: line %zu: %s is there twice", r->path, line + 1, name);
    if (r->n_seen == MAX_ITEM) return wk_fail(WICK_E_FORMAT, "%s: more than %d keys", r->path, MAX_ITEM);
    if (!(r->seen[r->n_seen] = wk_strdup(name))) return wk_fail_memory(strlen(name), r->path);
    r->n_seen++;
    return WICK_OK;
}

/* The rest of a mapping, whose begin has been read. */
static wick_status read_mapping(reading *r, int depth) {
    size_t len = r->name.len;
    wick_status st = WICK_OK;
    while (!st) {
        yaml_event_t key, value;
        if ((st = next(r, &key)) != WICK_OK) break;
        bool end = key.type == YAML_MAPPING_END_EVENT;
        size_t line = key.start_mark.line;
        if (!end && key.type != YAML_SCALAR_EVENT)
            st = wk_fail(WICK_E_FORMAT, "%s: line %zu: a key is a plain name", r->path, line + 1);
        else if (!end) wk_buf_str(&r->name, (const char *)key.data.scalar.value);
        yaml_event_delete(&key);
        if (end || st) break;
        if (r->name.failed) st = wk_fail_memory(len, r->path);
        if (!st) st = once(r, r->name.ptr, line);
        if (!st) st = next(r, &value);
        if (st) break;
        const char *text = value.type == YAML_SCALAR_EVENT ? (const char *)value.data.scalar.value : "";
        if (value.type == YAML_SCALAR_EVENT && is_null(&value)) {}  /* as if the key were not there */
        else if (value.type == YAML_SCALAR_EVENT) st = set(r, r->name.ptr, &text, 1, line);
        else if (value.type == YAML_SEQUENCE_START_EVENT) st = read_list(r, r->name.ptr, line);
        else if (depth == MAX_DEPTH)
            st = wk_fail(WICK_E_FORMAT, "%s: line %zu: mappings nest deeper than %d", r->path, line + 1, MAX_DEPTH);
        else {
            wk_buf_char(&r->name, '.');
            st = read_mapping(r, depth + 1);
        }
        yaml_event_delete(&value);
        if (!st) r->name.ptr[r->name.len = len] = 0;
    }
    return st;
}

static wick_status read_stream(reading *r) {
    wick_status st = WICK_OK;
    for (bool end = false, again = false; !st && !end;) {
        yaml_event_t e;
        if ((st = next(r, &e)) != WICK_OK) break;
        yaml_event_type_t type = e.type;
        const bool nothing = type == YAML_SCALAR_EVENT && is_null(&e);
        size_t line = e.start_mark.line;
        yaml_event_delete(&e);
        end = type == YAML_STREAM_END_EVENT;
        if (type == YAML_DOCUMENT_START_EVENT && again)
            st = wk_fail(WICK_E_FORMAT, "%s: line %zu: a second document begins (---): write all options into one", r->path,
                         line + 1);
        again |= type == YAML_DOCUMENT_START_EVENT;
        if (st) break;
        if (type == YAML_MAPPING_START_EVENT) st = read_mapping(r, 1);
        else if (type == YAML_SEQUENCE_START_EVENT || (type == YAML_SCALAR_EVENT && !nothing))
            st = wk_fail(WICK_E_FORMAT, "%s: line %zu: has no keys: write \"key: value\" lines", r->path, line + 1);
    }
    return st;
}

static wick_status read_text(wick_train_options *o, const char *path, const wk_buf *text, bool first, bool forced) {
    reading r = { .path = path, .o = o, .first = first, .forced = forced, .text = *text };
    if (!yaml_parser_initialize(&r.parser)) return wk_fail_memory(sizeof r.parser, path);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text->ptr, text->len);
    wick_status st = read_stream(&r);
    yaml_parser_delete(&r.parser);
    for (size_t i = 0; i < r.n_seen; i++) wk_free(r.seen[i]);
    wk_buf_free(&r.name);
    return st;
}

wick_status wk_train_options_read(wick_train_options *o, const char *path, const char *optimizer) {
    wk_buf text = { 0 };
    const char *const was = o->optimizer;
    wick_status st = wk_file_read(path, MAX_BYTES, &text);
    if (!st && optimizer) o->optimizer = optimizer;
    else if (!st && read_text(o, path, &text, true, false) == WICK_E_MEMORY) st = WICK_E_MEMORY;  /* else the second tells */
    if (!st) st = read_text(o, path, &text, false, optimizer != NULL);
    if (optimizer) o->optimizer = was;
    wk_buf_free(&text);
    return st;
}

wick_status wick_train_options_read(wick_train_options *o, const char *path) {
    wk_clear_error();
    if (!o || !path) return wk_fail(WICK_E_ARG, "wick_train_options_read: %s is NULL", o ? "the path" : "o");
    wick_status st = wk_check_size(o->size, sizeof *o, "wick_train_options", "fill it with wick_train_defaults()");
    return st ? st : wk_train_options_read(o, path, NULL);
}
