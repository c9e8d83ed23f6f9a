/* mask.h: which tokens of a conversation the assistant says, so that loss is on them alone. */
#ifndef WK_TRAIN_MASK_H
#define WK_TRAIN_MASK_H
#include "generate/generate.h"

/* A token of a conversation: others', the assistant's, the assistant's in a message with "weight": 0, which is not learnt. */
enum { WK_NOT_SAID, WK_SAID, WK_SAID_UNLEARNT };

/* Renders a conversation with the model's chat template and marks what the assistant says.
 * chat   {"messages":[...]} and any other variables of the template ("tools"); add_generation_prompt is set to false in it.
 * ids    appended to: the tokens of the whole conversation.
 * said   appended to: one of these bytes an id; an end-of-turn token is said.
 * What is written between {% generation %} and {% endgeneration %} counts, a token that is partly so too, as in transformers'
 * return_assistant_tokens_mask. A template without these marks is rendered again up to each assistant turn: what is then added
 * is what the assistant says; where the template writes a turn otherwise once later ones follow, up to its end-of-turn token.
 * Errors  WICK_E_TEMPLATE (also: it does not tell where a turn lies), WICK_E_FORMAT, WICK_E_UNSUPPORTED (no template),
 *         WICK_E_MEMORY. */
wick_status wk_mask_chat(const wick_model *m, json_t *chat, wk_ids *ids, wk_buf *said);

#endif
