/* train_save.c: what a run leaves: the adapter as a PEFT folder, or after full fine-tuning the model; the checkpoint that it can be
 * resumed from, the report. Load: some megabytes at each save; a model that was trained whole, and four times that. */
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "convert/trained.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

double wk_train_seconds(const wick_train *t) { return wk_now() - t->started_s; }

/* ---- progress as JSON ---- */

enum { N_NUMBER = 13 };
static const char *const names[N_NUMBER] = { "iteration", "next", "loss_sum", "n_loss",  "busy_s",  "n_row", "trained",
                                             "rate",      "norm", "best_val", "n_worse", "seconds", "print" };

/* Options that a run goes on with as it began, by what the user calls them; the rate's, and the model's path, whose change is told
 * of: the model may have moved, and whether it is another its weights tell; and those that can be written in several ways (scale,
 * or alpha): whether they still mean the same the trainer's own state tells, and if not they are named. */
typedef enum keeping { KEPT, TOLD, OF_SHAPE } keeping;
static const struct { const char *key; keeping how; } kept[] = {
    { "resume_adapter_file", KEPT },
    { "batch_size", KEPT },
    { "grad_accumulation_steps", KEPT },
    { "max_seq_length", KEPT },
    { "packing", KEPT },
    { "shuffle", KEPT },
    { "seed", KEPT },
    { "fine_tune_type", KEPT },
    { "lora_parameters.rank", KEPT },
    { "lora_parameters.dropout", KEPT },
    { "optimizer", KEPT },
    { "weight_decay", KEPT },
    { "max_grad_norm", KEPT },
    { "label_smoothing", KEPT },
    { "model", TOLD },
    { "learning_rate", TOLD },
    { "lr_schedule.name", TOLD },
    { "lr_schedule.arguments", TOLD },
    { "lr_schedule.warmup", TOLD },
    { "lr_schedule.warmup_init", TOLD },
    { "num_layers", OF_SHAPE },
    { "lora_parameters.keys", OF_SHAPE },
    { "lora_parameters.scale", OF_SHAPE },
    { "lora_alpha", OF_SHAPE },
    { "modules_to_save", OF_SHAPE },
    { "optimizer_config.betas", OF_SHAPE },
    { "optimizer_config.eps", OF_SHAPE },
    { "optimizer_config.momentum", OF_SHAPE },
};
enum { N_KEPT = sizeof kept / sizeof *kept };

static void option_text(const wick_train_options *o, const char *key, wk_buf *b) {
    for (size_t i = 0; i < wk_n_train_key; i++)
        if (!strcmp(wk_train_keys[i].name, key)) wk_train_option_json(o, &wk_train_keys[i], b);
}

/* As texts, which are as exact as what was written. */
static void put_options(const wick_train *t, wk_buf *b) {
    for (int i = 0; i < N_KEPT; i++) {
        wk_buf value = { 0 };
        option_text(&t->o, kept[i].key, &value);
        wk_buf_printf(b, "%s\"%s\":", i ? "," : ",\"options\":{", kept[i].key);
        wk_json_put_str(b, value.ptr ? value.ptr : "", value.len);
        b->failed |= value.failed;
        wk_buf_free(&value);
    }
    wk_buf_char(b, '}');
}

static const char *shown(const char *json) { return strcmp(json, "null") ? json : "not set"; }

/* Does the run go on as it began? A changed rate is the user's to choose, and told of. */
static wick_status check_options(wick_train *t, const json_t *had) {
    wick_status st = WICK_OK;
    for (int i = 0; !st && i < N_KEPT; i++) {
        const char *was = json_string_value(json_object_get(had, kept[i].key)), *key = kept[i].key;
        wk_buf now = { 0 };
        option_text(&t->o, key, &now);
        if (now.failed) st = wk_fail_memory(now.len, "an option");
        else if (!was || !strcmp(was, now.ptr)) {}  /* as it was, or no word of it from an earlier version */
        else if (kept[i].how == TOLD) wk_train_warn(t, "%s is %s now; it was %s before", key, now.ptr, was);
        else if (kept[i].how == OF_SHAPE) {
            size_t n = strlen(t->reshaped);
            snprintf(t->reshaped + n, sizeof t->reshaped - n, "%s%s was %s and is %s now", n ? "; " : "", key, shown(was),
                     shown(now.ptr));
        } else
            st = wk_fail(WICK_E_ARG, "%s was %s when the run began and is %s now: go on with %s, or begin a new run from its "
                         "adapter (resume_adapter_file)", key, shown(was), shown(now.ptr), strcmp(was, "null") ? was : "none");
        wk_buf_free(&now);
    }
    return st;
}

/* Is the model still the one that the run began with? A checkpoint of an earlier version does not say. */
static wick_status check_base(const wick_train *t, const json_t *had) {
    wk_lora_data d = { .base_weights = (char *)(uintptr_t)json_string_value(had) };
    wick_status st = d.base_weights ? wk_lora_check_base(t->model->m, &d, "") : WICK_OK;
    return st == WICK_E_FORMAT ? wk_fail(WICK_E_ARG, "%s", wick_last_error()) : st;
}

static void put_progress(const wick_train *t, wk_buf *b) {
    const wk_progress *p = &t->at;
    double v[N_NUMBER] = { p->iteration, (double)p->next, p->loss_sum, p->n_loss, p->busy_s, (double)p->n_row, (double)p->trained,
                           p->rate, p->norm, p->best_val, p->n_worse, wk_train_seconds(t), t->print };
    for (int i = 0; i < N_NUMBER; i++) {
        wk_buf_printf(b, "%s\"%s\":", i ? "," : "{", names[i]);
        wk_json_put_num(b, v[i]);  /* NaN and infinity as null */
    }
    put_options(t, b);
    const char *base = wk_trainer_base_weights(t->trainer);
    if (base) wk_buf_printf(b, ",\"base_weights\":\"%s\"", base);
    wk_buf_printf(b, ",\"due\":%s", t->due ? "true" : "false");
    wk_buf_str(b, ",\"before\":[");
    for (size_t i = 0; i < t->n_sample; i++) {
        const char *s = t->sample[i].before ? t->sample[i].before : "";
        if (i) wk_buf_char(b, ',');
        wk_json_put_str(b, s, strlen(s));
    }
    wk_buf_str(b, "]}");
}

static wick_status take_progress(void *training, const char *text, size_t n) {
    wick_train *t = training;
    json_t *j = NULL;
    double v[N_NUMBER];
    wick_status st = wk_json_parse(text, n, t->checkpoint, &j);
    for (int i = 0; !st && i < N_NUMBER; i++) {
        const json_t *x = json_object_get(j, names[i]);
        v[i] = json_is_number(x) ? json_number_value(x) : NAN;
        if (!json_is_number(x) && strcmp(names[i], "norm") && strcmp(names[i], "best_val"))
            st = wk_fail(WICK_E_FORMAT, "\"%s\" is not there: another version wrote it", names[i]);
    }
    if (!st) st = check_options(t, json_object_get(j, "options"));
    if (!st) st = check_base(t, json_object_get(j, "base_weights"));
    if (!st && v[12] != t->print)
        st = wk_fail(WICK_E_ARG, "was made from other training data than %s holds now, so it cannot be gone on with; "
                     "resume_adapter_file begins a new run from its adapter", t->train->path);
    if (!st)
        t->at = (wk_progress){ (int)v[0], (uint64_t)v[1], v[2], (int)v[3], v[4], (uint64_t)v[5], (uint64_t)v[6], v[7], v[8],
                               isfinite(v[9]) ? v[9] : INFINITY, (int)v[10], v[11] };
    t->due = !st && json_is_true(json_object_get(j, "due"));
    const json_t *before = json_object_get(j, "before");
    for (size_t i = 0; !st && i < t->n_sample && i < json_array_size(before); i++) {
        const char *s = json_string_value(json_array_get(before, i));
        wk_free(t->sample[i].before);
        if (!(t->sample[i].before = wk_strdup(s ? s : ""))) st = wk_fail_memory(1, "a sample");
    }
    json_decref(j);
    t->compared = !st;
    return st;
}

/* Trainer, progress and order as a checkpoint has them. */
static wick_status read_checkpoint(wick_train *t, const char *path) {
    wk_buf extra = { 0 };
    wick_status st = wk_checkpoint_read(path, t->trainer, take_progress, t, &extra);
    wk_buf_free(&extra);
    if (st) return st;
    t->order.next = t->at.next;
    t->unproven = t->at.iteration;
    return WICK_OK;
}

/* A file that does not hold what was written to it. */
static wick_status damaged(const wick_train *t) {
    char was[512];
    snprintf(was, sizeof was, "%s", wick_last_error());
    if (wk_file_exists(t->before) && !wk_same_file(t->before, t->checkpoint))
        return wk_fail(WICK_E_FORMAT, "%s; the save before it is there: give %s that name and go on from it", was, t->before);
    return wk_fail(WICK_E_FORMAT, "%s; begin a new run from what was learnt (resume_adapter_file), or anew (--overwrite)", was);
}

wick_status wk_train_resume(wick_train *t) {
    if (!wk_file_exists(t->checkpoint))
        return wk_fail(WICK_E_IO, "%s: is not there, so there is no run to go on with; leave resume out to begin one",
                       t->checkpoint);
    wick_status st = read_checkpoint(t, t->checkpoint);
    if (st == WICK_E_FORMAT) return damaged(t);
    if (st == WICK_E_ARG && t->compared)  /* the state's, whose words are no user's */
        st = *t->reshaped
                 ? wk_fail(st, "%s: %s: go on as the run began, or begin a new one from its adapter (resume_adapter_file)",
                           t->checkpoint, t->reshaped)
                 : wk_fail(st, "%s: was made with another model%s than now: go on with what the run began with", t->checkpoint,
                           t->o.resume_adapter_file ? ", or from an adapter of other layers, rank or scale in resume_adapter_file,"
                                                    : "");
    t->finished = !st && t->at.iteration >= t->o.iters && !t->due;
    return st;
}

/* ---- the checkpoint before ---- */

/* A checkpoint holds what an update made, and whether that is of any use only the next one shows: weights can be blown up and still
 * be numbers. Until then the one before it stays beside it, by a second name; it takes no room that writing did not take. Where
 * files have one name only it is renamed, once the new one is written: a kill between leaves no other (wk_train_recover()). */

static wick_status write_beside(const wick_train *t, const wk_buf *extra) {
    char *new = wk_path_join(t->o.adapter_path, WK_NEW_CHECKPOINT);
    wick_status st = new ? wk_checkpoint_write(new, t->trainer, extra->ptr, extra->len) : wk_fail_memory(64, "a file's name");
    if (!st) st = wk_file_rename(t->checkpoint, t->before);
    if (!st) st = wk_file_rename(new, t->checkpoint);
    wk_free(new);
    return st;
}

static wick_status write_checkpoint(const wick_train *t, const wk_buf *extra) {
    bool keep = t->unproven < 0 && !t->finished && wk_file_exists(t->checkpoint);
    if (keep && !wk_file_link(t->checkpoint, t->before)) return write_beside(t, extra);
    return wk_checkpoint_write(t->checkpoint, t->trainer, extra->ptr, extra->len);
}

void wk_train_recover(const wick_train *t) {
    if (!wk_file_exists(t->checkpoint) && wk_file_rename(t->before, t->checkpoint)) wk_clear_error();  /* it is a new run */
}

void wk_train_prove(wick_train *t) {
    if (t->unproven >= 0) remove(t->before);
    t->unproven = -1;
}

wick_status wk_train_go_back(wick_train *t) {
    wick_status st = read_checkpoint(t, t->before);
    if (!st) st = wk_train_write_result(t, t->o.adapter_path);  /* first: a kill after it finds the same again */
    return st ? st : wk_file_rename(t->before, t->checkpoint);
}

/* ---- saving ---- */

/* What the adapter's files call its model: PEFT looks there for the model when it is given none. NULL: no memory. */
static char *base_model_of(const wick_train *t, const wk_lora_data *d) {
    const wk_checkpoint *c = t->model->m->ckpt;
    const char *said = t->o.base_model_name_or_path ? t->o.base_model_name_or_path : d->base_model;
    wk_str source = said ? (wk_str){ NULL, 0 } : wk_checkpoint_hub_name(c);
    if (source.ptr) return wk_strdup_n(source.ptr, source.len);
    return wk_strdup(said ? said : t->o.model ? t->o.model : wk_checkpoint_path(c));
}

static wick_status write_adapter(wick_train *t, const char *folder) {
    const wk_lora_data *now = NULL;
    wick_status st = wk_trainer_lora(t->trainer, &now);
    if (st) return st;
    wk_lora_data d = *now;
    if (!(d.base_model = base_model_of(t, now))) return wk_fail_memory(64, "a model's name");
    d.task_type = (char *)(uintptr_t)(t->model->m->hp.classify ? "SEQ_CLS" : "CAUSAL_LM");
    d.dropout = t->o.dropout;
    st = wk_lora_write(t->model->m, &d, folder, WK_LORA_PEFT);
    wk_free(d.base_model);
    return st;
}

char *wk_train_model_path(const wick_train *t, const char *folder) {
    return wk_path_join(folder, wk_checkpoint_gguf(t->model->m->ckpt) ? "model.gguf" : "model");
}

static wick_status write_model(wick_train *t, const char *folder, bool try) {
    size_t n;
    const wk_train_param *p = wk_trainer_params(t->trainer, &n);
    char *to = wk_train_model_path(t, folder);
    wk_trained_weight *w = wk_alloc_array(n, sizeof *w);
    wick_status st = to && w ? WICK_OK : wk_fail_memory(n * sizeof *w, "a list of weights");
    for (size_t i = 0; !st && i < n; i++)
        w[i] = (wk_trained_weight){ p[i].layer, p[i].role, p[i].kind == WK_PARAM_BIAS, p[i].w };
    if (!st && !try) st = wk_folders_make(folder);
    if (!st) st = wk_write_trained(wk_checkpoint_path(t->model->m->ckpt), to, w, n, try);
    wk_free(to);
    wk_free(w);
    return st;
}

wick_status wk_train_check_model(wick_train *t) { return write_model(t, t->o.adapter_path, true); }

wick_status wk_train_write_result(wick_train *t, const char *folder) {
    return wk_train_is_full(t) ? write_model(t, folder, false) : write_adapter(t, folder);
}

static wick_status write_report(wick_train *t, const char *status) {
    const wk_lora_data *lora = NULL;
    wick_status st = wk_train_is_full(t) ? WICK_OK : wk_trainer_lora(t->trainer, &lora);
    char *path = wk_path_join(t->o.adapter_path, "report.html");
    if (!st && !path) st = wk_fail_memory(64, "a file's name");
    wk_report r = { .options = &t->o,
                    .title = t->o.project_name ? t->o.project_name : t->o.adapter_path,
                    .model = t->o.model ? t->o.model : wk_checkpoint_path(t->model->m->ckpt),
                    .status = status,
                    .warning = *t->blown_up ? t->blown_up : NULL,
                    .point = t->log.point,
                    .n_point = t->log.n,
                    .lora = lora,
                    .sample = t->sample,
                    .n_sample = t->n_sample,
                    .seconds = wk_train_seconds(t),
                    .n_trained_param = wk_trainer_n_param(t->trainer),
                    .n_train = t->train->n,
                    .n_valid = t->valid ? t->valid->n : 0 };
    if (!st) st = wk_report_write(path, &r);
    wk_free(path);
    return st;
}

wick_status wk_train_save(wick_train *t, const char *status) {
    wk_buf extra = { 0 };
    wick_status st = wk_train_write_result(t, t->o.adapter_path);
    if (!st && t->finished && !t->answered) st = wk_train_answer_samples(t, true);
    t->answered |= !st && t->finished;
    put_progress(t, &extra);
    if (!st && extra.failed) st = wk_fail_memory(extra.len, "a checkpoint");
    if (!st) st = write_checkpoint(t, &extra);
    if (!st) t->unproven = t->finished ? -1 : t->at.iteration;  /* after the last one an update was tried */
    if (!st) st = write_report(t, status);
    wk_buf_free(&extra);
    return st;
}
