/* train.h: a training as the public interface has it: the trainer, its data, what is due when, and what is written.
 * Reading order: config.c, data.c, mask.c, pack.c, train_open.c, train.c, train_save.c. */
#ifndef WK_TRAIN_H
#define WK_TRAIN_H
#include "train/config.h"
#include "train/log.h"
#include "train/pack.h"
#include "train/report.h"
#include "train/runs.h"
#include "train/trainer.h"
#include <stdatomic.h>

/* What a resumed run needs beside the trainer's own state; checkpoints hold it as JSON. */
typedef struct wk_progress {
    int iteration;            /* micro-batches done */
    uint64_t next;            /* wk_order.next */
    double loss_sum; int n_loss;      /* since the last report: the micro-batches' mean losses */
    double busy_s; uint64_t n_row;    /* since the last report: time in training steps, rows in them */
    uint64_t trained;         /* labels learnt */
    double rate, norm;        /* of the last update; norm NaN: none yet */
    double best_val; int n_worse;     /* least validation loss; evaluations since */
    double seconds;           /* of all parts of the run */
} wk_progress;

struct wick_train {
    wick_model *model;
    wick_train_options o;     /* owned copy */
    wk_dataset *train, *valid, *test;  /* valid, test: NULL where there is none */
    uint32_t print;           /* of train's tokens and labels: a resumed run's must be the same */
    wk_order order;
    wk_micro micro;
    wk_trainer *trainer;
    wk_schedule schedule;
    wk_progress at;
    wk_train_log log;
    wk_runs *runs; int64_t run_id; double run_from_s;
    wk_report_sample *sample; size_t n_sample;
    char *checkpoint;         /* its path */
    char *before;             /* a second name of the checkpoint before it, while no update has followed the new one */
    int unproven;             /* the iteration of such a new one; -1: the checkpoint has had its update, or there is none */
    int lock;                 /* on adapter_path; -1: none */
    char warning[512];
    char blown_up[256];       /* which point of the log showed that updates have blown the weights up; "": none has */
    char reshaped[256];       /* options that say otherwise what is trained than they did when the run began; "" : none do */
    bool compared;            /* all other options of a resumed run are those that it began with */
    size_t beside;            /* bytes that the process holds beside weights and trainer: the vocabulary, the data, the program */
    bool dry, began, finished, answered, stopped_early, failed;
    char *error;              /* failed: why */
    bool best_saved;          /* adapter_path/best is this run's */
    bool due;                 /* an evaluation was cancelled: it, and what comes after it, is the next step */
    atomic_bool cancel;       /* asked for; the evaluation that sees it takes it back */
    double started_s;         /* wk_now() less at.seconds */
};

/* A checkpoint on its way beside the one before, where that cannot have a second name. */
#define WK_NEW_CHECKPOINT "checkpoint.wick.new"

/* Adds a line to what describe tells beside errors. */
void wk_train_warn(wick_train *t, const char *fmt, ...) WK_PRINTF(2, 3);
/* Does a point of the log show that updates have blown the weights up? The first that does is kept in t->blown_up. */
void wk_train_look(wick_train *t, const wick_train_point *p);
/* train_open.c: everything up to the first step. Errors  as wick_train_new(). */
wick_status wk_train_open(wick_train *t);
/* Are the model's own weights trained, and no adapter? */
bool wk_train_is_full(const wick_train *t);
/* Is there validation: a valid.jsonl, and val_batches of it? */
bool wk_train_evaluates(const wick_train *t);
/* train_save.c: adapter or model, checkpoint, report. status: "running", "done", ... */
wick_status wk_train_save(wick_train *t, const char *status);
/* The adapter alone, into a folder that is made if need be; or the model, into one below it or into a GGUF file in it. */
wick_status wk_train_write_result(wick_train *t, const char *folder);
/* Where the model goes, new; NULL: no memory. */
char *wk_train_model_path(const wick_train *t, const char *folder);
/* Can the model that full fine-tuning makes be written? Errors  as wk_write_trained(). */
wick_status wk_train_check_model(wick_train *t);
/* Reads the checkpoint in adapter_path into trainer and t->at. */
wick_status wk_train_resume(wick_train *t);
/* Gives the checkpoint before its name back where a kill left no other. */
void wk_train_recover(const wick_train *t);
/* An update has followed the checkpoint, so it can be gone on with: the one before it goes. Every micro-batch has labels (data.c),
 * so that there was something to find out by. */
void wk_train_prove(wick_train *t);
/* The checkpoint, which no update can follow, gives way to the one before it, and so does its adapter or model. Errors  WICK_E_IO
 * and others: it is not there, or could not be written. */
wick_status wk_train_go_back(wick_train *t);
/* train_samples.c: picks the prompts, and lets the model answer them as it was, or (after) with the adapter as it is; of full
 * fine-tuning it is then the model as it was last written. */
wick_status wk_train_pick_samples(wick_train *t);
wick_status wk_train_answer_samples(wick_train *t, bool after);
/* Makes adapter_path and the log anew where someone has taken it away meanwhile. Errors  WICK_E_IO: another folder is there. */
wick_status wk_train_need_folder(wick_train *t);
/* Seconds of training, all parts of the run. */
double wk_train_seconds(const wick_train *t);

#endif
