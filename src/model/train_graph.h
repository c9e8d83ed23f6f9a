/* train_graph.h: the graph that trains: forward with what is trained in it as parameters, the loss, and the way back.
 *
 * Activation checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost", section 3) is a way of building, no
 * op: the forward pass saves nothing in a layer; on the way back each layer is built a second time from its input, that copy
 * saves, and gradients go through the copy. Values live from their first use to their last, so one layer's inside is in memory at
 * a time. The copy has the same ops on the same inputs: the same bits. */
#ifndef WK_TRAIN_GRAPH_H
#define WK_TRAIN_GRAPH_H
#include "model/model.h"

/* What is trained at a slot (wk_model_slot): y += scale B (A x), of x with elements dropped; and with a gain (DoRA) each column of
 * W x + scale B (A x) times its gain, before the bias. At the embedding A is [n_vocab, r] and nothing is dropped; neither it nor
 * the head has a gain. */
typedef struct wk_train_slot { const wk_weight *a, *b, *gain; float scale, dropout; } wk_train_slot;
/* A weight that takes another's place. */
typedef struct wk_swap { const wk_weight *of, *by; } wk_swap;

typedef struct wk_train_parts {
    const wk_train_slot *slot;               /* [wk_model_n_slot] a NULL: nothing */
    const wk_swap *swap; size_t n_swap;
    const wk_weight *const *of; size_t n_of; /* float32 weights of slots and swaps whose gradients are asked for; 0: no way back */
    int first_layer;                         /* the lowest that holds one of them, with embed 0; n_layer: only the head does */
    bool embed;                              /* the embedding, or its adapter, is one of them */
    float smoothing;                         /* of labels */
    bool checkpoint;
    bool logits;                             /* make logits, not a loss */
} wk_train_parts;

typedef struct wk_train_graph {
    wk_graph *g;
    wk_val loss;             /* [n_out, 1] per wanted row, kept */
    wk_val seed;             /* [n_out, 1] input: d what is minimised / d loss */
    wk_val logits;           /* [n_out, n_vocab or n_label] kept */
    wk_val *grad;            /* [n_of] kept, as the weights are shaped; WK_NO_VAL: the loss does not depend on it */
} wk_train_graph;

/* parts need not outlive the call, the weights do. Errors  WICK_E_UNSUPPORTED (an op on the way back has no gradient),
 * WICK_E_MEMORY. */
wick_status wk_model_train_graph(const wk_model *m, const wk_train_parts *parts, wk_train_graph *out);
void wk_train_graph_free(wk_train_graph *t);  /* what is in it */

#endif
