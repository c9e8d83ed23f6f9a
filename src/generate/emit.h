/* emit.h: generated ids to text that may be shown: whole UTF-8, never part of a stop text, never a byte of one. */
#ifndef WK_EMIT_H
#define WK_EMIT_H
#include "text/tokenizer.h"

/* Texts before which generation ends, each an automaton fed byte by byte. */
typedef struct wk_stop { char *text; size_t len, matched; uint32_t *border; } wk_stop;
typedef struct wk_stops { wk_stop *stop; size_t n; wk_arena mem; } wk_stops;
enum { WK_MAX_STOPS = 256, WK_MAX_STOP_LEN = 4096 };
/* Copies the texts. Errors  WICK_E_ARG (NULL, empty, too long, not UTF-8; named by its index), WICK_E_MEMORY. */
wick_status wk_stops_new(wk_stops *s, const char *const *text, size_t n);
void wk_stops_free(wk_stops *s);
/* Forgets what was fed. */
void wk_stops_reset(wk_stops *s);
/* Feeds a byte. Length of the longest text that ends with it, 0 if none does. */
size_t wk_stops_feed(wk_stops *s, char byte);
/* How many of the last bytes may turn out to begin a stop text. */
size_t wk_stops_held(const wk_stops *s);

/* Zero-initialise. tokenizer NULL: every text is empty. stops is borrowed. */
typedef struct wk_emit {
    wk_decoder decoder;
    wk_stops *stops;
    wk_buf held;  /* decoded, not yet emitted */
    wk_buf out;   /* what the last call emitted */
} wk_emit;
/* Makes ready for a new text, or (continues) for what follows an earlier one, with room so that usual tokens allocate nothing.
 * Errors  WICK_E_MEMORY. */
wick_status wk_emit_begin(wk_emit *e, const wk_tokenizer *t, wk_stops *stops, bool continues);
/* Adds an id (-1: none) and sets e->out. last: nothing follows, so nothing is held back. *stopped: a stop text came, out ends
 * before it. Errors  WICK_E_MEMORY. */
wick_status wk_emit_token(wk_emit *e, int32_t id, bool last, bool *stopped);
void wk_emit_free(wk_emit *e);

#endif
