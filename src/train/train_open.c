/* train_open.c: from options to a trainer with data: files read, names of projections understood, the run entered in its log.
 * Load: once; reading and tokenizing the data takes most of it. */
#include "adapter/naming.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/nearest.h"
#include "convert/trained.h"
#include "train/train.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void wk_train_warn(wick_train *t, const char *fmt, ...) {
    size_t n = strlen(t->warning);
    va_list ap;
    va_start(ap, fmt);
    n += (size_t)snprintf(t->warning + n, sizeof t->warning - n, "%s", n ? "; " : "");
    if (n < sizeof t->warning) vsnprintf(t->warning + n, sizeof t->warning - n, fmt, ap);
    va_end(ap);
}

/* ---- data ---- */

static wick_status read_set(wick_train *t, const char *name, bool needed, wk_dataset **out) {
    int64_t n_ctx = t->model->m->hp.n_ctx;
    wk_data_options o = { .max_seq_length = t->o.max_seq_length, .refuse_long = !strcmp(t->o.long_samples, "refuse"),
                          .mask_prompt = t->o.mask_prompt };
    if (n_ctx > 0 && o.max_seq_length > n_ctx) o.max_seq_length = (int)n_ctx;
    char *path = wk_path_join(t->o.data, name);
    if (!path) return wk_fail_memory(strlen(t->o.data), "a file's name");
    wick_status st = needed || wk_file_exists(path) ? wk_dataset_read(t->model, path, &o, out) : WICK_OK;
    wk_free(path);
    return st;
}

/* A print of ids and labels, sample by sample. */
static uint32_t print_of(const wk_dataset *d) {
    uint32_t print = 0;
    for (size_t i = 0; i < d->n; i++) {
        const wk_sample *s = &d->sample[i];
        uint32_t x[4] = { print, wk_crc32c(s->id, (size_t)s->n * 4), s->label ? wk_crc32c(s->label, (size_t)s->n * 4) : 0,
                          (uint32_t)s->cls };
        print = wk_crc32c(x, sizeof x);
    }
    return print;
}

static wick_status read_data(wick_train *t) {
    if (t->model->m->hp.classify && t->model->m->hp.n_label < 2)
        return wk_fail(WICK_E_UNSUPPORTED, "the model's head has a single output, as for regression, and its loss would always be "
                       "0: classifiers of two classes and more can be trained");
    if (!wk_is_folder(t->o.data))
        return wk_fail(WICK_E_IO,
                       "%s: is no folder; data names the folder with train.jsonl, and valid.jsonl and test.jsonl where there "
                       "are such",
                       t->o.data);
    wick_status st = read_set(t, "train.jsonl", true, &t->train);
    if (!st) st = read_set(t, "valid.jsonl", false, &t->valid);
    if (!st && t->o.test) st = read_set(t, "test.jsonl", true, &t->test);
    if (!st) t->print = print_of(t->train);
    return st;
}

/* ---- what is trained ---- */

static const struct { const char *name; wk_role role; unsigned whole; } projections[] = {
    { "q_proj", WK_T_Q, 0 },       { "k_proj", WK_T_K, 0 },   { "v_proj", WK_T_V, 0 },       { "o_proj", WK_T_O, 0 },
    { "gate_proj", WK_T_GATE, 0 }, { "up_proj", WK_T_UP, 0 }, { "down_proj", WK_T_DOWN, 0 },
    { "embed_tokens", WK_T_EMBED, WK_WHOLE_EMBED }, { "lm_head", WK_T_OUTPUT, WK_WHOLE_HEAD },
    { "score", WK_T_COUNT, WK_WHOLE_HEAD },         { "norm", WK_T_COUNT, WK_WHOLE_NORMS },
};
enum { N_PROJECTION = sizeof projections / sizeof *projections };

/* Which of the projections a name means, the part after the last dot. */
static wick_status find_projection(const char *key, const char *text, int *found) {
    const char *names[N_PROJECTION], *dot = strrchr(text, '.'), *name = dot ? dot + 1 : text;
    for (int i = 0; i < N_PROJECTION; i++) names[i] = projections[i].name;
    for (*found = 0; *found < N_PROJECTION; ++*found) if (!strcmp(names[*found], name)) return WICK_OK;
    const char *near = wk_nearest(name, names, N_PROJECTION);
    return wk_fail(WICK_E_ARG, "%s: there is no \"%s\"; %s%s, as in q_proj or self_attn.q_proj", key, text,
                   near ? "did you mean " : "layers are named as in Hugging Face folders", near ? near : "");
}

/* Experts' projections have the names of others. */
static uint32_t experts_of(wk_role r) {
    wk_role e = r == WK_T_GATE ? WK_T_GATE_EXPS : r == WK_T_UP ? WK_T_UP_EXPS : r == WK_T_DOWN ? WK_T_DOWN_EXPS : r;
    return 1u << e;
}

static wick_status read_keys(const wick_train *t, wk_trainer_options *o) {
    wick_status st;
    int i;
    for (size_t k = 0; k < t->o.n_keys; k++) {
        if (!strcmp(t->o.keys[k], "all-linear"))  /* PEFT's word */
            return wk_fail(WICK_E_ARG,
                           "lora_parameters.keys: there is no \"all-linear\"; without keys every projection is trained");
        if ((st = find_projection("lora_parameters.keys", t->o.keys[k], &i))) return st;
        bool adapted = projections[i].role < WK_T_COUNT && !(wk_train_is_full(t) && projections[i].whole);
        if (adapted) o->roles |= 1u << projections[i].role;
        else o->whole |= projections[i].whole;
        if (adapted && wk_train_is_full(t)) o->whole |= WK_WHOLE_LINEAR;
        if (adapted && wk_train_is_full(t)) o->roles |= experts_of(projections[i].role);
    }
    for (size_t k = 0; k < t->o.n_modules_to_save; k++) {
        if ((st = find_projection("modules_to_save", t->o.modules_to_save[k], &i))) return st;
        if (!projections[i].whole)
            return wk_fail(WICK_E_ARG, "modules_to_save: \"%s\" cannot be saved whole beside an adapter: embed_tokens, lm_head and "
                           "score can", t->o.modules_to_save[k]);
        o->whole |= projections[i].whole;
    }
    /* As PEFT does for SEQ_CLS: a classifier's head is learnt with the adapter, whatever the keys are. */
    if (t->model->m->hp.classify && !wk_train_is_full(t)) o->whole |= WK_WHOLE_HEAD;
    return WICK_OK;
}

static wk_optimizer optimizer_of(const wick_train_options *o) {
    bool lion = !strcmp(o->optimizer, "lion"), adamw = !strcmp(o->optimizer, "adamw");
    wk_optimizer x = { .kind = lion ? WK_LION : !strcmp(o->optimizer, "sgd") ? WK_SGD : WK_ADAMW, .beta1 = o->betas[0],
                       .beta2 = o->betas[1], .eps = o->eps, .momentum = o->momentum,
                       .weight_decay = o->weight_decay >= 0 ? o->weight_decay : adamw ? 0.01 : 0 };
    if (lion && x.beta1 == 0.9 && x.beta2 == 0.999) x.beta2 = 0.99;  /* its own default */
    return x;
}

static wk_schedule schedule_of(const wick_train_options *o) {
    static const char *const names[] = { "constant", "linear_schedule", "cosine_decay", "exponential_decay", "step_decay" };
    const double *a = o->lr_arguments;
    int n = o->n_lr_arguments, kind = 0;
    while (o->lr_schedule && kind < 4 && strcmp(names[kind], o->lr_schedule)) kind++;
    wk_schedule s = { .kind = (wk_schedule_kind)kind, .first = n ? a[0] : wk_train_learning_rate(o), .steps = 1,
                      .warmup = o->warmup, .warmup_init = o->warmup_init };
    if (s.kind == WK_RATE_LINEAR) { s.last = a[1]; s.steps = (int64_t)a[2]; }
    if (s.kind == WK_RATE_COSINE) { s.steps = (int64_t)a[1]; s.last = n > 2 ? a[2] : 0; }
    if (s.kind == WK_RATE_EXPONENTIAL) s.decay = a[1];
    if (s.kind == WK_RATE_STEP) { s.decay = a[1]; s.steps = (int64_t)a[2]; }
    if (s.steps < 1) s.steps = 1;
    return s;
}

/* As in mlx-lm a schedule begins with its own first argument, whatever learning_rate is: who has set both otherwise is told. */
static void compare_rates(wick_train *t) {
    double rate = t->o.learning_rate, first = t->o.lr_arguments[0];
    if (t->o.n_lr_arguments && rate != first && rate != -1)
        wk_train_warn(t, "lr_schedule.arguments begin with a rate of %g, and so does training; learning_rate, %g, is not used",
                      first, rate);
}

/* A safetensors file stands for its folder. */
static wick_status read_initial(const wick_train *t, wk_lora_data **out) {
    *out = NULL;
    if (!t->o.resume_adapter_file) return WICK_OK;
    char *path = wk_strdup(t->o.resume_adapter_file);
    if (!path) return wk_fail_memory(strlen(t->o.resume_adapter_file), "a file's name");
    size_t n = strlen(path);
    static const char ending[] = ".safetensors";
    if (n > sizeof ending && !strcmp(path + n - sizeof ending + 1, ending) && !wk_is_folder(path)) {
        char *slash = strrchr(path, '/');
        if (slash) slash[slash == path] = 0;
        else memcpy(path, ".", 2);
    }
    wick_status st = wk_lora_read(t->model->m, path, out);
    if (!st) st = wk_lora_check_base(t->model->m, *out, path);
    wk_free(path);
    return st;
}

/* Linear layers that the options would adapt, and of those how many the adapter has. */
static size_t count_chosen(const wick_train *t, const wk_trainer_options *o, const wk_lora_data *d, size_t *n_had) {
    const wk_model *m = t->model->m;
    int first = o->n_layer < 0 ? 0 : (int)m->hp.n_layer - o->n_layer;
    size_t n = 0;
    *n_had = 0;
    for (int layer = -1; layer < m->hp.n_layer; layer++)
        for (wk_role r = (wk_role)0; r < WK_T_COUNT; r++) {
            int64_t n_in, n_out;
            if ((layer >= 0 && layer < first) || !(o->roles ? o->roles >> r & 1 : layer >= 0)) continue;
            if (!wk_lora_sizes(m, layer, r, &n_in, &n_out)) continue;
            n++;
            for (size_t i = 0; i < d->n_module; i++) *n_had += d->module[i].layer == layer && d->module[i].role == r;
        }
    return n;
}

/* An adapter that is gone on with keeps its own modules, rank and alpha, whatever the options say; they are told apart. */
static void compare_initial(wick_train *t, const wk_trainer_options *o, const wk_lora_data *d) {
    double alpha = wk_train_alpha(&t->o);
    bool dora = false;
    for (size_t i = 0; i < d->n_module; i++) dora |= d->module[i].magnitude != NULL;
    if (dora != (o->fine_tune == WK_TUNE_DORA))
        wk_train_warn(t, "%s is %s and stays so; fine_tune_type is %s", t->o.resume_adapter_file, dora ? "dora" : "lora",
                      t->o.fine_tune_type);
    size_t n_had, n = count_chosen(t, o, d, &n_had);
    if (n != d->n_module || n != n_had)
        wk_train_warn(t, "%s keeps its own layers and keys, %zu modules; the options would make %zu", t->o.resume_adapter_file,
                      d->n_module, n);
    for (size_t i = 0; i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i];
        if (x->rank == t->o.rank && fabs(x->alpha - alpha) <= 1e-6 * alpha) continue;
        wk_train_warn(t, "%s keeps its own rank and scale, in layer %d's %s %lld and %g; the options "
                 "say %d and %g",
                 t->o.resume_adapter_file, x->layer, wk_roles[x->role].gguf, (long long)x->rank, wk_lora_scale(d, x), t->o.rank,
                 alpha / t->o.rank);
        return;
    }
}

/* What the first save could not say. */
static wick_status check_writable(const wick_train *t) {
    const wk_lora_data *d;
    if (wk_train_is_full(t)) return WICK_OK;
    wick_status st = wk_trainer_lora(t->trainer, &d);
    return st ? st : wk_lora_check_trained(t->model->m, d);
}

/* What has no room is nearly always what a micro-batch's rows take. */
static wick_status too_large(const wk_trainer_options *o) {
    char was[256];
    snprintf(was, sizeof was, "%s", wick_last_error());
    return wk_fail(WICK_E_MEMORY, "%s, where a micro-batch has up to %d tokens: a smaller batch_size or max_seq_length%s takes "
                   "less", was, o->max_row, o->checkpoint ? "" : ", or grad_checkpoint,");
}

static wick_status make_trainer(wick_train *t) {
    wk_trainer_options o = wk_trainer_defaults();
    wk_lora_data *initial = NULL;
    wk_order valid = t->order, test = t->order;
    int64_t n_layer = t->model->m->hp.n_layer;
    o.fine_tune = !strcmp(t->o.fine_tune_type, "full")   ? WK_TUNE_FULL
                  : !strcmp(t->o.fine_tune_type, "dora") ? WK_TUNE_DORA
                                                         : WK_TUNE_LORA;
    o.n_layer = t->o.num_layers >= n_layer ? -1 : t->o.num_layers;
    o.roles = 0;
    o.rank = t->o.rank;
    o.alpha = wk_train_alpha(&t->o);
    o.dropout = t->o.dropout;
    o.optimizer = optimizer_of(&t->o);
    o.max_grad_norm = t->o.max_grad_norm;
    o.label_smoothing = t->o.label_smoothing;
    o.checkpoint = t->o.grad_checkpoint;
    o.seed = t->o.seed;
    o.max_row = wk_order_max_rows(&t->order);
    if (t->valid && (valid.data = t->valid) && wk_order_max_rows(&valid) > o.max_row) o.max_row = wk_order_max_rows(&valid);
    if (t->test && (test.data = t->test) && wk_order_max_rows(&test) > o.max_row) o.max_row = wk_order_max_rows(&test);
    wick_status st = read_keys(t, &o);
    if (!st && o.max_row > WK_TRAIN_MAX_ROWS)
        st = wk_fail(WICK_E_ARG, "a micro-batch has up to %d tokens, and %d are the most that can be learnt at once: a smaller "
                     "batch_size or max_seq_length is needed", o.max_row, WK_TRAIN_MAX_ROWS);
    if (!st) st = read_initial(t, &initial);
    if (!st && initial) compare_initial(t, &o, initial);
    if (!st && (st = wk_trainer_new(t->model->m, &o, initial, &t->trainer)) == WICK_E_MEMORY) st = too_large(&o);
    if (!st) st = check_writable(t);
    wk_lora_data_free(initial);
    return st;
}

/* ---- where it is written ---- */

/* "walnut/adapters" of ".../walnut/adapters": that runs lie in a folder "adapters" says little. */
static const char *last_two_parts(const char *path) {
    const char *from = path + strlen(path);
    for (int n = 0; from > path && (n += from[-1] == '/') < 2; from--) {}
    return from;
}

/* The list of runs is a convenience: where it cannot be kept, training goes on without it. A run is known there by its folder's
 * whole path, since "adapters" is another folder wherever one stands. */
static void enter_run(wick_train *t) {
    wk_buf options = { 0 };
    if (!t->o.runs_db) return;
    wk_train_options_json(&t->o, &options);
    char *folder = wk_path_real(t->o.adapter_path);
    wick_status st = folder ? wk_runs_open(t->o.runs_db, false, &t->runs) : wk_fail_memory(64, "a folder's name");
    if (!st) {
        wk_run run = { .name = t->o.project_name ? t->o.project_name : last_two_parts(folder), .data = t->o.data,
                       .model = t->o.model ? t->o.model : wk_checkpoint_path(t->model->m->ckpt), .adapter_path = folder,
                       .options = options.failed ? NULL : options.ptr };
        st = wk_runs_begin(t->runs, &run, t->at.iteration, &t->run_id);
    }
    if (st) {
        wk_train_warn(t, "the list of runs is not kept: %s", wick_last_error());
        wk_runs_close(t->runs);
        t->runs = NULL;
    }
    wk_free(folder);
    wk_buf_free(&options);
    wk_clear_error();
}

/* The files that a run writes to adapter_path, but for TensorBoard's; what was learnt also to its "best". */
static const char *const files[] = { "checkpoint.wick", "report.html", "log.jsonl", "log.csv",
                                     "adapter_model.safetensors", "adapter_config.json", "model.gguf" };
enum { ADAPTER = 4, MODEL = 6, N_FILE };

static bool is_unfinished(const char *name) {
    if (!strcmp(name, WK_NEW_CHECKPOINT)) return true;
    for (int i = 0; i < N_FILE; i++) if (wk_is_unfinished(name, files[i])) return true;
    return false;
}

static bool is_result(const char *name) {
    for (int i = ADAPTER; i < N_FILE; i++) if (!strcmp(name, files[i])) return true;
    return false;
}

/* A save is written beside the one before it. Too little room now may be enough by then, and is told of. */
static void tell_space(wick_train *t) {
    uint64_t need = wk_trainer_state_bytes(t->trainer) + wk_trainer_n_param(t->trainer) * sizeof(float);
    uint64_t have = wk_free_space(t->o.adapter_path);
    if (have < need)
        wk_train_warn(t, "a save takes about %.1f MB, and %.1f MB are free in %s", (double)need / 1e6, (double)have / 1e6,
                      t->o.adapter_path);
}

/* What a killed run was writing; nobody else is, since the folder is held. */
static wick_status clear_unfinished(const char *folder) {
    wk_folder_clear(folder, is_unfinished);
    char *model = wk_path_join(folder, "model");
    wick_status st = model ? wk_model_folder_recover(model) : wk_fail_memory(strlen(folder), "a folder's name");
    wk_free(model);
    return st;
}

/* The best adapter or model of a run that is begun anew is none of the new run's; what others put there stays. */
static void clear_best(const char *best) {
    char *model = wk_path_join(best, "model");
    wk_folder_clear(best, is_result);
    if (model) wk_model_folder_remove(model);
    wk_free(model);
    rmdir(best);
}

static bool has_result(const wick_train *t, const char *folder) {
    char *path = wk_train_is_full(t) ? wk_train_model_path(t, folder) : wk_path_join(folder, files[ADAPTER]);
    bool there = path && wk_file_exists(path);
    wk_free(path);
    return there;
}

static wick_status look_at_best(wick_train *t) {
    char *best = wk_path_join(t->o.adapter_path, "best"), *log = wk_path_join(t->o.adapter_path, "log.jsonl");
    wick_status st = best && log ? WICK_OK : wk_fail_memory(strlen(t->o.adapter_path), "a file's name");
    if (!st && !t->o.resume && wk_file_exists(log)) clear_best(best);
    t->best_saved = !st && t->o.resume && has_result(t, best);
    wk_free(best);
    wk_free(log);
    return st;
}

/* What the first save could not write, perhaps hours from now. A model is looked at where it is planned. */
static wick_status check_files(const wick_train *t) {
    int n = wk_train_is_full(t) ? ADAPTER : MODEL;
    wick_status st = WICK_OK;
    for (int i = 0; !st && i <= n; i++) {
        bool best = i == n, there;
        char *path = wk_path_join(t->o.adapter_path, best ? "best" : files[i]);
        if (!path) st = wk_fail_memory(strlen(t->o.adapter_path), "a file's name");
        else st = best ? wk_file_look(path, &there) : wk_file_check(path);
        wk_free(path);
    }
    return st;
}

static wick_status check_folder(wick_train *t) {
    bool there = false;
    wick_status st = wk_file_look(t->o.adapter_path, &there);
    if (!st && there && !wk_is_folder(t->o.adapter_path))
        st = wk_fail(WICK_E_ARG, "%s: is no folder, and adapter_path is the folder that gets the adapter, the log and the "
                     "checkpoint", t->o.adapter_path);
    if (!st) st = wk_folders_make(t->o.adapter_path);
    if (!st && wk_folder_lock(t->o.adapter_path, &t->lock))
        st = wk_fail(WICK_E_IO, "%s: another training writes there at this moment: give another adapter_path, or wait for its end",
                     t->o.adapter_path);
    if (!st && t->lock >= 0) wk_train_recover(t);
    if (!st && !t->o.resume && !t->o.overwrite && wk_file_exists(t->checkpoint))
        st = wk_fail(WICK_E_ARG, "%s: holds a run already: go on with it (--resume), begin anew over it (--overwrite), or give "
                     "another adapter_path", t->o.adapter_path);
    if (!st) st = check_files(t);
    if (st || t->lock < 0) return st;
    char *best = wk_path_join(t->o.adapter_path, "best");
    st = best ? clear_unfinished(t->o.adapter_path) : wk_fail_memory(strlen(t->o.adapter_path), "a folder's name");
    if (!st) st = clear_unfinished(best);
    wk_free(best);
    return st;
}

wick_status wk_train_need_folder(wick_train *t) {
    const char *path = t->o.adapter_path;
    if (t->lock < 0 || wk_is_same_folder(t->lock, path)) return WICK_OK;
    if (wk_file_exists(path))
        return wk_fail(WICK_E_IO, "%s: is another folder than the one that this training began in: give that one, which has been "
                       "moved or renamed and holds what was saved, its name back, and go on (--resume)", path);
    wk_folder_unlock(t->lock);
    t->lock = -1;
    wick_status st = wk_folders_make(path);
    if (!st) st = wk_folder_lock(path, &t->lock);
    return st ? st : wk_train_log_write(&t->log);
}

wick_status wk_train_open(wick_train *t) {
    t->at = (wk_progress){ .norm = NAN, .best_val = INFINITY };
    t->unproven = -1;
    if (!(t->checkpoint = wk_path_join(t->o.adapter_path, "checkpoint.wick")) ||
        !(t->before = wk_path_join(t->o.adapter_path, "checkpoint.wick.before")))
        return wk_fail_memory(strlen(t->o.adapter_path), "a file's name");
    wick_status st = read_data(t);
    if (st) return st;
    if (t->o.early_stopping && !wk_train_evaluates(t))
        return wk_fail(WICK_E_ARG, "early_stopping is %d, and there is no validation loss to stop by: %s", t->o.early_stopping,
                       t->valid ? "val_batches is 0" : "data needs a valid.jsonl, or leave early_stopping out");
    int accum = t->o.grad_accumulation_steps, left = t->o.iters % accum;
    if (t->o.iters < accum)
        return wk_fail(WICK_E_ARG, "iters is %d micro-batches, and an update takes grad_accumulation_steps, %d of them: nothing "
                       "would be learnt", t->o.iters, accum);
    if (left)
        wk_train_warn(t, "iters counts micro-batches, and grad_accumulation_steps is %d: the last %d of %d make no update", accum,
                      left, t->o.iters);
    t->order = (wk_order){ .data = t->train, .seed = t->o.seed, .shuffle = t->o.shuffle, .packing = t->o.packing,
                           .batch_size = t->o.batch_size, .max_seq_length = t->o.max_seq_length };
    t->schedule = schedule_of(&t->o);
    compare_rates(t);
    const wk_schedule *s = &t->schedule;
    if (!(s->first > 0 || s->last > 0 || (s->warmup && s->warmup_init > 0)))
        wk_train_warn(t, "the learning rate is 0 from beginning to end, so nothing will change");
    int n_update = t->o.iters / accum;
    if (t->o.warmup >= n_update)
        wk_train_warn(t, "lr_schedule.warmup is %d updates, and the run makes %d: the rate ends at %g, on its way to %g",
                      t->o.warmup, n_update, wk_schedule_rate(&t->schedule, (uint64_t)n_update - 1), t->schedule.first);
    if (!t->dry) st = check_folder(t);
    size_t weights = t->model->m->n_bytes_weights, held = wk_resident_bytes();
    t->beside = held > weights ? held - weights : 0;
    if (!st) st = make_trainer(t);
    if (!st) tell_space(t);
    int n_seq = t->o.batch_size * (t->o.packing ? 8 : 1);
    if (!st && t->dry) st = wk_trainer_reserve(t->trainer, n_seq, t->valid || t->test);
    if (!st && wk_train_is_full(t)) st = wk_train_check_model(t);
    if (!st) st = wk_train_pick_samples(t);
    if (!st && t->o.resume) st = wk_train_resume(t);
    t->started_s = wk_now() - t->at.seconds;
    t->run_from_s = t->at.seconds;
    if (st || t->dry) return st;
    /* A run that is begun anew takes the checkpoint of the one before away, which --resume would go on with if this one is killed
     * before its first save. The adapter stays until there is another. */
    if (!t->o.resume) {
        remove(t->before);
        remove(t->checkpoint);
    }
    if ((st = look_at_best(t))) return st;
    st = wk_train_log_open(&t->log, t->o.adapter_path, t->at.iteration, t->o.report_to);
    for (size_t i = 0; !st && i < t->log.n; i++) wk_train_look(t, &t->log.point[i]);
    if (!st) enter_run(t);
    return st;
}
