/* train.c: the loop of a training, a micro-batch a call, and what is due after each.
 * The order of things is mlx-lm's (tuner/trainer.py, "train"): micro-batch, perhaps an update, report, save; validation before the
 * first step and after each steps_per_eval. Load: a call is some hundred milliseconds and more of the trainer's work. */
#include "base/clock.h"
#include "base/file.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

bool wk_train_is_full(const wick_train *t) { return !strcmp(t->o.fine_tune_type, "full"); }

bool wk_train_evaluates(const wick_train *t) { return t->valid && t->o.val_batches; }

/* ---- made and freed ---- */

wick_status wick_train_new(wick_model *m, const wick_train_options *o, bool dry, wick_train **out) {
    wk_clear_error();
    if (!m || !o || !out) return wk_fail(WICK_E_ARG, "wick_train_new: %s is NULL", !m ? "the model" : !o ? "the options" : "out");
    *out = NULL;
    wick_status st = wk_train_options_check(o);
    if (!st && m->vocab_only) st = wk_fail(WICK_E_ARG, "the model was opened with vocab_only: there are no weights to train");
    if (st) return st;
    wick_train *t = wk_alloc(sizeof *t);
    if (!t) return wk_fail_memory(sizeof *t, "a training");
    t->model = m;
    t->dry = dry;
    t->lock = -1;
    st = wk_train_options_copy(o, &t->o);
    if (!st) st = wk_train_open(t);
    if (st) wick_train_free(t);
    else *out = t;
    return st;
}

void wick_train_free(wick_train *t) {
    if (!t) return;
    if (t->runs) {
        const char *status = t->failed ? "failed" : t->stopped_early ? "stopped" : t->finished ? "done" : "interrupted";
        wk_runs_end(t->runs, t->run_id, status, t->error, wk_train_seconds(t) - t->run_from_s);
        wk_runs_close(t->runs);
    }
    for (size_t i = 0; i < t->n_sample; i++) {
        wk_free(t->sample[i].prompt);
        wk_free(t->sample[i].wanted);
        wk_free(t->sample[i].before);
        wk_free(t->sample[i].after);
    }
    wk_free(t->sample);
    wk_train_log_free(&t->log);
    wk_trainer_free(t->trainer);
    wk_micro_free(&t->micro);
    wk_order_free(&t->order);
    wk_dataset_free(t->train);
    wk_dataset_free(t->valid);
    wk_dataset_free(t->test);
    wk_folder_unlock(t->lock);
    wk_free(t->checkpoint);
    wk_free(t->before);
    wk_free(t->error);
    wick_train_options_free(&t->o);
    wk_free(t);
}

wick_status wick_train_describe(const wick_train *t, wick_train_info *info) {
    wk_clear_error();
    if (!t || !info) return wk_fail(WICK_E_ARG, "wick_train_describe: %s is NULL", t ? "info" : "the training");
    wick_status st = wk_check_size(info->size, sizeof *info, "wick_train_info", "set it to sizeof(wick_train_info)");
    if (st) return st;
    *info = (wick_train_info){
        .size = sizeof *info, .n_train = t->train->n, .n_valid = t->valid ? t->valid->n : 0, .n_test = t->test ? t->test->n : 0,
        .n_token = t->train->n_token, .n_label = t->train->n_label, .n_cut = t->train->n_cut, .n_masked = t->train->n_masked,
        .longest = t->train->longest, .max_rows = wk_order_max_rows(&t->order), .n_param = wk_trainer_n_param(t->trainer),
        .n_bytes = wk_trainer_bytes(t->trainer) + wk_trainer_state_bytes(t->trainer) + t->beside,
        .iteration = t->at.iteration, .iters = t->o.iters,
        .warning = *t->warning ? t->warning : NULL,
    };
    return WICK_OK;
}

/* ---- loss ---- */

static wk_train_rows rows_of(const wk_micro *b) {
    return (wk_train_rows){ b->n_row, b->n_seq, b->token, b->pos, b->seq, b->label };
}

static wick_status evaluate(wick_train *t, const wk_dataset *d, int n_batch, double *loss) {
    wk_order o = { .data = d, .once = true, .packing = t->o.packing, .batch_size = t->o.batch_size,
                   .max_seq_length = t->o.max_seq_length };
    double sum = 0;
    int64_t n = 0;
    wick_status st = WICK_OK;
    for (int i = 0; !st && o.next < d->n && (n_batch < 0 || i < n_batch); i++) {
        double s = 0;
        int64_t k = 0;
        st = atomic_exchange(&t->cancel, false) ? wk_fail(WICK_E_CANCELLED, "cancelled") : wk_order_next(&o, &t->micro);
        wk_train_rows rows = rows_of(&t->micro);
        if (!st) st = wk_trainer_eval(t->trainer, &rows, &s, &k);
        sum += s;
        n += k;
    }
    wk_order_free(&o);
    *loss = n ? sum / (double)n : NAN;
    return st;
}

wick_status wick_train_eval(wick_train *t, bool test, double *loss) {
    wk_clear_error();
    if (!t || !loss) return wk_fail(WICK_E_ARG, "wick_train_eval: %s is NULL", t ? "loss" : "the training");
    const wk_dataset *d = test ? t->test : t->valid;
    if (!d)
        return wk_fail(WICK_E_ARG, "there is no %s.jsonl in %s%s", test ? "test" : "valid", t->o.data,
                       test ? ", or test was not asked for" : "");
    return evaluate(t, d, test ? t->o.test_batches : t->o.val_batches, loss);
}

/* ---- a step ---- */

/* Ends a run; a checkpoint whose weights led there gives way to the one before it. */
static wick_status not_finite(wick_train *t, const char *what, int iteration) {
    wk_buf left = { 0 };
    int saved = t->unproven;
    if (!wk_file_exists(t->checkpoint)) wk_buf_str(&left, "no checkpoint had been written");
    else if (saved < 0) wk_buf_printf(&left, "the last checkpoint, %s, stays as it is", t->checkpoint);
    else if (!wk_file_exists(t->before) || wk_same_file(t->before, t->checkpoint))  /* killed before the new one was written */
        wk_buf_printf(&left, "what was saved at iteration %d leads there, and there is no checkpoint before it: begin anew "
                      "(--overwrite)", saved);
    else if (!wk_train_go_back(t))
        wk_buf_printf(&left, "what was saved at iteration %d leads there, so %s and what was learnt are those of iteration %d "
                      "again: go on from there (--resume)", saved, t->checkpoint, t->at.iteration);
    else
        wk_buf_printf(&left, "what was saved at iteration %d leads there, and what was before it could not be put back: %s", saved,
                      wick_last_error());
    wick_status st = wk_fail(WICK_E_NUMERIC, "iteration %d: the %s is not a finite number, so training stops; %s; a lower "
                             "learning_rate or a max_grad_norm helps", iteration, what, left.failed ? "" : left.ptr);
    wk_buf_free(&left);
    return st;
}

static wick_status micro_batch(wick_train *t) {
    double started = wk_now(), sum = 0;
    int64_t n = 0;
    wick_status st = wk_order_next(&t->order, &t->micro);
    wk_train_rows rows = rows_of(&t->micro);
    if (!st) st = wk_trainer_backward(t->trainer, &rows, &sum, &n);
    if (st == WICK_E_NUMERIC) return not_finite(t, "loss", t->at.iteration + 1);
    if (!st && (t->at.iteration + 1) % t->o.grad_accumulation_steps == 0) {
        t->at.rate = wk_schedule_rate(&t->schedule, wk_trainer_n_update(t->trainer));
        st = wk_trainer_update(t->trainer, t->at.rate, &t->at.norm);
        if (st == WICK_E_NUMERIC) return not_finite(t, "gradient", t->at.iteration + 1);
        if (!st) wk_train_prove(t);
    }
    if (st) return st;
    t->at.iteration++;
    t->at.next = t->order.next;
    t->at.loss_sum += n ? sum / (double)n : 0;
    t->at.n_loss++;
    t->at.n_row += (uint64_t)rows.n_row;
    t->at.trained += (uint64_t)n;
    t->at.busy_s += wk_now() - started;
    return WICK_OK;
}

/* Who guesses all tokens alike has a loss of ln(vocabulary), and a pretrained model on tokens that were drawn by lot, a third more.
 * Updates that are too large bring it to 2 to 6 times as much within some ten of them, and then below it again: to the loss of
 * guessing by frequency, whose curve falls and looks healthy at its end (SmolLM2 at rates from 1e-2 on). Loss of micro-batches
 * before the first whole update is the model's own. */
void wk_train_look(wick_train *t, const wick_train_point *p) {
    static const double far_above = 1.5;
    double guessing = log((double)t->model->m->hp.n_vocab);
    int n_update = (p->iteration - 1) / t->o.grad_accumulation_steps;
    if (*t->blown_up || t->model->m->hp.classify || n_update <= t->o.warmup || !(p->train_loss > far_above * guessing)) return;
    snprintf(t->blown_up, sizeof t->blown_up, "iteration %d: a train loss of %.4g is far above %.4g, that of guessing (the "
             "logarithm of the vocabulary): updates have blown the weights up; begin anew with a lower learning_rate or a "
             "max_grad_norm", p->iteration, p->train_loss, guessing);
}

static wick_status log_point(wick_train *t, const wick_train_point *p) {
    wick_status st = wk_train_log_add(&t->log, p);
    if (!st && t->runs && wk_runs_add(t->runs, t->run_id, p)) {  /* a convenience, as in train_open.c */
        wk_runs_close(t->runs);
        t->runs = NULL;
        wk_clear_error();
    }
    return st;
}

/* No update will follow the last save: one is tried. */
static wick_status try_last(wick_train *t) {
    wick_status st = wk_order_next(&t->order, &t->micro);
    wk_train_rows rows = rows_of(&t->micro);
    if (!st) st = wk_trainer_try(t->trainer, &rows);
    t->order.next = t->at.next;
    return st == WICK_E_NUMERIC ? not_finite(t, "loss or gradient that would follow", t->at.iteration) : st;
}

/* Validation, and whether it has got no better for so long that training ends. */
static wick_status validate(wick_train *t, double *loss) {
    wick_status st = evaluate(t, t->valid, t->o.val_batches, loss);
    if (st == WICK_E_NUMERIC && !t->at.iteration)
        return wk_fail(st, "%s: the loss of the model as it is, before anything is learnt, is not a finite number", t->valid->path);
    if (st) return st == WICK_E_NUMERIC ? not_finite(t, "validation loss", t->at.iteration) : st;
    if (*loss < t->at.best_val) {
        t->at.best_val = *loss;
        t->at.n_worse = 0;
        if (!t->o.early_stopping || !t->at.iteration) return WICK_OK;
        char *best = wk_path_join(t->o.adapter_path, "best");
        st = best ? wk_train_write_result(t, best) : wk_fail_memory(64, "a folder's name");
        wk_free(best);
        t->best_saved |= !st;
        return st;
    }
    t->at.n_worse++;
    t->stopped_early = t->o.early_stopping && t->at.n_worse >= t->o.early_stopping;
    return WICK_OK;
}

static wick_train_point point_now(const wick_train *t) {
    return (wick_train_point){ .iteration = t->at.iteration, .train_loss = NAN, .learning_rate = t->at.iteration ? t->at.rate : NAN,
                               .grad_norm = t->at.norm, .tokens_per_second = NAN, .trained_tokens = t->at.trained,
                               .peak_memory = wk_peak_bytes(), .val_loss = NAN };
}

/* What comes before the first step: the answers and the loss of the model as it was. */
static wick_status begin(wick_train *t, wick_train_event *e) {
    wick_status st = wk_train_answer_samples(t, false);
    if (st || !wk_train_evaluates(t)) return st;
    st = validate(t, &e->point.val_loss);
    e->reported = e->evaluated = !st;
    return st ? st : log_point(t, &e->point);
}

static wick_status what_is_due(wick_train *t, wick_train_event *e) {
    int it = t->at.iteration;
    bool last = it >= t->o.iters, report = last || it % t->o.steps_per_report == 0;
    wick_status st = WICK_OK;
    e->point = point_now(t);
    e->evaluated = wk_train_evaluates(t) && (last || it % t->o.steps_per_eval == 0);
    if (e->evaluated) st = validate(t, &e->point.val_loss);
    if (st) return st;
    last |= t->stopped_early;
    e->reported = report || last || e->evaluated;
    if ((report || last) && t->at.n_loss) {
        e->point.train_loss = t->at.loss_sum / t->at.n_loss;
        e->point.tokens_per_second = t->at.busy_s > 0 ? (double)t->at.n_row / t->at.busy_s : NAN;
        t->at.loss_sum = t->at.busy_s = 0;
        t->at.n_loss = 0;
        t->at.n_row = 0;
    }
    bool known = *t->blown_up;
    wk_train_look(t, &e->point);
    if (*t->blown_up && !known) e->warning = t->blown_up;
    if (e->reported) st = log_point(t, &e->point);
    if (!st && last) st = try_last(t);
    if (st) return st;
    t->finished = last;
    if (last) wk_train_prove(t);
    e->saved = last || (t->o.save_every && it % t->o.save_every == 0);
    if (e->saved) st = wk_train_save(t, t->stopped_early ? "stopped early" : last ? "done" : "running");
    e->saved &= !st;
    e->finished = last && !st;
    e->stopped_early = t->stopped_early;
    e->best_saved = t->best_saved;
    return st;
}

wick_status wick_train_step(wick_train *t, wick_train_event *event) {
    wick_train_event e = { 0 };
    wk_clear_error();
    if (!t || t->dry) return wk_fail(WICK_E_ARG, "wick_train_step: the training is %s", t ? "a dry one" : "NULL");
    e.point = point_now(t);
    wick_status st = wk_train_need_folder(t);
    if (st) {}
    else if (t->finished || t->failed)
        st = wk_fail(WICK_E_END, "the training is over: %d of %d iterations are done", t->at.iteration, t->o.iters);
    else if (!t->at.iteration && !t->log.n && !t->began) {
        st = begin(t, &e);
        t->began = st != WICK_E_CANCELLED;
    } else {
        st = t->due ? WICK_OK : micro_batch(t);
        if (!st) st = what_is_due(t, &e);
        t->due = st == WICK_E_CANCELLED;
    }
    if (st && st != WICK_E_END && st != WICK_E_CANCELLED) {
        t->failed = true;
        t->error = wk_strdup(wick_last_error());
    }
    if (event) *event = e;
    return st;
}

void wick_train_cancel(wick_train *t) {
    if (t) atomic_store(&t->cancel, true);  /* lock-free, so a signal handler may */
}

wick_status wick_train_save(wick_train *t) {
    wk_clear_error();
    if (!t || t->dry) return wk_fail(WICK_E_ARG, "wick_train_save: the training is %s", t ? "a dry one" : "NULL");
    wick_status st = wk_train_need_folder(t);
    return st ? st : wk_train_save(t, t->finished ? "done" : "interrupted");
}
