/* adapters.c: adapters as programs see them: loaded, named, applied to sessions. Applying changes pointers; the next forward pass
 * finds others. */
#include "adapter/registry.h"
#include "generate/generate.h"

wick_status wick_adapter_load(wick_model *m, const char *path, wick_adapter **out) {
    wk_clear_error();
    if (!out) return wk_fail(WICK_E_ARG, "wick_adapter_load: out is NULL");
    *out = NULL;
    if (!m || !path) return wk_fail(WICK_E_ARG, "wick_adapter_load: %s is NULL", m ? "the path" : "the model");
    if (m->vocab_only) return wk_fail(WICK_E_ARG, "the model was opened with vocab_only: it has no weights to adapt");
    return wk_adapter_load(m->m, path, out);
}

void wick_adapter_free(wick_adapter *a) { wk_adapter_drop(a); }

wick_status wick_adapter_get_info(const wick_adapter *a, wick_adapter_info *info) {
    wk_clear_error();
    if (!a || !info) return wk_fail(WICK_E_ARG, "wick_adapter_get_info: %s is NULL", a ? "info" : "the adapter");
    wick_status st = wk_check_size(info->size, sizeof *info, "wick_adapter_info", "set its size to sizeof(wick_adapter_info)");
    if (!st) *info = a->info;
    return st;
}

/* ---- sessions ---- */

/* Keys and values made with others are forgotten. */
static void set_adapters(wick_session *s, const wick_adapter_use *use, size_t n) {
    for (size_t i = 0; i < n; i++) wk_adapter_hold(use[i].adapter);  /* first: they may be those that it has */
    for (size_t i = 0; i < s->n_adapter; i++) wk_adapter_drop(s->adapter[i]);
    for (size_t i = 0; i < n; i++) s->adapter[i] = use[i].adapter;
    s->n_adapter = n;
    s->sets[0] = s->set;
    wk_runner_adapters(s->runner, s->sets, n ? 1 : 0);
    wk_session_keep(s, 0);
}

wick_status wick_session_apply_adapters(wick_session *s, const wick_adapter_use *use, size_t n) {
    wk_lora_set set[WK_MAX_STACK];
    wk_clear_error();
    if (!s || (!use && n)) return wk_fail(WICK_E_ARG, "wick_session_apply_adapters: %s is NULL", s ? "use" : "the session");
    wick_status st = wk_adapter_stack(s->model->m, use, n, set);
    if (!st) st = wk_session_enter(s);
    if (st) return st;
    st = wk_adapter_stack(s->model->m, use, n, s->set);  /* the chain's links lie in the session */
    set_adapters(s, use, n);
    wk_session_leave(s);
    return st;
}

wick_status wick_session_apply_adapter(wick_session *s, wick_adapter *a, float scale) {
    wk_clear_error();
    if (!s || !a) return wk_fail(WICK_E_ARG, "wick_session_apply_adapter: %s is NULL", s ? "the adapter" : "the session");
    return wick_session_apply_adapters(s, &(wick_adapter_use){ a, scale }, 1);
}

wick_status wick_session_remove_adapter(wick_session *s) {
    wk_clear_error();
    if (!s) return wk_fail(WICK_E_ARG, "wick_session_remove_adapter: the session is NULL");
    wick_status st = wk_session_enter(s);
    if (st) return st;
    if (s->n_adapter) set_adapters(s, NULL, 0);
    wk_session_leave(s);
    return WICK_OK;
}

bool wick_session_has_adapter(const wick_session *s, const wick_adapter *a) {
    if (!s) return false;
    for (size_t i = 0; a && i < s->n_adapter; i++) if (s->adapter[i] == a) return true;
    return !a && s->n_adapter;
}

/* ---- by name ---- */

wick_status wick_adapters_new(wick_model *m, wick_adapters **out) {
    wk_clear_error();
    if (!out) return wk_fail(WICK_E_ARG, "wick_adapters_new: out is NULL");
    *out = NULL;
    if (!m) return wk_fail(WICK_E_ARG, "wick_adapters_new: the model is NULL");
    if (m->vocab_only) return wk_fail(WICK_E_ARG, "the model was opened with vocab_only: it has no weights to adapt");
    return wk_registry_new(m->m, out);
}

void wick_adapters_free(wick_adapters *r) { wk_registry_free(r); }

wick_status wick_adapters_load(wick_adapters *r, const char *name, const char *path) {
    wick_adapter *a = NULL;
    wk_clear_error();
    if (!r || !name || !path)
        return wk_fail(WICK_E_ARG, "wick_adapters_load: %s is NULL", !r ? "the registry" : name ? "the path" : "the name");
    wick_status st = wk_adapter_load(wk_registry_model(r), path, &a);
    if (!st) st = wk_registry_put(r, name, a);
    wk_adapter_drop(a);
    return st;
}

wick_status wick_adapters_unload(wick_adapters *r, const char *name) {
    wk_clear_error();
    if (!r || !name) return wk_fail(WICK_E_ARG, "wick_adapters_unload: %s is NULL", r ? "the name" : "the registry");
    return wk_registry_take(r, name);
}

wick_status wick_adapters_get(wick_adapters *r, const char *name, wick_adapter **out) {
    wk_clear_error();
    if (out) *out = NULL;
    if (!r || !name || !out)
        return wk_fail(WICK_E_ARG, "wick_adapters_get: %s is NULL", !r ? "the registry" : name ? "out" : "the name");
    return wk_registry_get(r, name, out);
}

size_t wick_adapters_count(wick_adapters *r) { return r ? wk_registry_count(r) : 0; }

wick_status wick_adapters_at(wick_adapters *r, size_t i, char *name, size_t cap, wick_adapter **out) {
    wk_clear_error();
    if (out) *out = NULL;
    if (!r || !name || !out)
        return wk_fail(WICK_E_ARG, "wick_adapters_at: %s is NULL", !r ? "the registry" : name ? "out" : "name");
    return wk_registry_at(r, i, name, cap, out);
}

wick_status wick_session_activate_adapter(wick_session *s, wick_adapters *r, const char *name, float scale) {
    wick_adapter *a = NULL;
    wick_status st = wick_adapters_get(r, name, &a);
    if (!st) st = wick_session_apply_adapter(s, a, scale);
    wk_adapter_drop(a);
    return st;
}
