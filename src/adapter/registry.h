/* registry.h: the adapters of a model by name. */
#ifndef WK_REGISTRY_H
#define WK_REGISTRY_H
#include "adapter/adapter.h"

typedef struct wick_adapters wk_registry;
enum { WK_ADAPTER_NAME_MAX = 200 };

wick_status wk_registry_new(wk_model *m, wk_registry **out);
void wk_registry_free(wk_registry *r);
/* Holds a under the name from here on, in place of what had it. Errors  WICK_E_ARG (the name; another model's), WICK_E_MEMORY. */
wick_status wk_registry_put(wk_registry *r, const char *name, wick_adapter *a);
wk_model *wk_registry_model(const wk_registry *r);
/* Errors  WICK_E_ARG: nothing has the name. */
wick_status wk_registry_take(wk_registry *r, const char *name);
/* The adapter of that name, held for the caller. Errors  WICK_E_ARG. */
wick_status wk_registry_get(wk_registry *r, const char *name, wick_adapter **out);
size_t wk_registry_count(wk_registry *r);
/* The i-th by order of coming, held for the caller; its name to name [cap]. Errors  WICK_E_END, WICK_E_LENGTH. */
wick_status wk_registry_at(wk_registry *r, size_t i, char *name, size_t cap, wick_adapter **out);

#endif
