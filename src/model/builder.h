/* builder.h: the pieces that a decoder's graphs are built of, shared by serving (build.c) and training (train_graph.c). */
#ifndef WK_BUILDER_H
#define WK_BUILDER_H
#include "model/train_graph.h"

typedef struct wk_builder {
    const wk_model *m;
    wk_graph *g;
    int layer;                   /* -1: outside them */
    const wk_train_parts *train; /* NULL: serving, adapters come with the batch */
} wk_builder;

/* Each makes values of T rows from values of T rows, and of b->layer where it is a layer's; the last layer's are the wanted rows'
 * alone. After a failure they do nothing. */
wk_val wk_build_embed(const wk_builder *b);
wk_val wk_build_layer(const wk_builder *b, wk_val x);
/* The last layer's rows, ready for the output projection; and the projection, logits [n_out, n_vocab or n_label]. */
wk_val wk_build_head_input(const wk_builder *b, wk_val x);
wk_val wk_build_head(const wk_builder *b, wk_val x);
/* The weight of the output projection as a value. */
wk_val wk_build_head_weight(const wk_builder *b);

#endif
