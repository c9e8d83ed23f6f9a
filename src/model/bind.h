/* bind.h: from a checkpoint's tensors to a model's weights. */
#ifndef WK_BIND_H
#define WK_BIND_H
#include "model/model.h"

/* Fills m->top, m->layer and the rope frequencies from m->ckpt, and the sums of bytes and parameters.
 * Errors  WICK_E_FORMAT (a tensor is missing or misfits), WICK_E_UNSUPPORTED (one is left over), WICK_E_MEMORY, WICK_E_CANCELLED.
 */
wick_status wk_model_bind(wk_model *m, wick_progress_fn progress, void *user);

#endif
