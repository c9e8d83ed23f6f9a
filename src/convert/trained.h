/* trained.h: a model written once more with weights that training has changed: from a folder a folder, from a GGUF file such a
 * file. */
#ifndef WK_TRAINED_H
#define WK_TRAINED_H
#include "model/model.h"

/* Numbers that take a weight's place: [rows, columns] (of experts [matrices, rows, columns]) as the model has it in memory, Gemma's
 * norms with the one added, q and k in wick's own order. */
typedef struct wk_trained_weight { int layer; wk_role role; bool bias; const float *w; } wk_trained_weight;

/* Writes the model at `from` to `to`, which may be there already, with n weights in place of its own. They are written as float32,
 * that is with the bits that they have, but for Gemma's norms in folders, which are kept less one; what was not trained stays as
 * it is. try: writes nothing, finds what would be refused.
 * Errors  WICK_E_UNSUPPORTED (a quantised folder, one with parts for pictures), WICK_E_ARG (`to` is the model itself, or of the
 *         other kind), WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_write_trained(const char *from, const char *to, const wk_trained_weight *w, size_t n, bool try);

/* Takes away a folder that a model was written to, by the names of its files: what else lies there stays, and the folder. */
void wk_model_folder_remove(const char *path);
/* Puts right what kills of those who wrote a model to such a folder have left (wk_folder_recover()). Errors
 * WICK_E_MEMORY. */
wick_status wk_model_folder_recover(const char *path);

#endif
