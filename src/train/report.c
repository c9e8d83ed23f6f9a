/* report.c: the HTML report. Load: once at the end of a run, and at each save. */
#include "train/report.h"
#include "base/file.h"
#include "train/config.h"
#include "train/log.h"
#include "train/lora_stats.h"
#include "train/plot.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
    "<meta name=\"color-scheme\" content=\"light dark\">\n<style>\n"
    ":root{--page:#fbfbfa;--card:#fff;--ink:#1c1d1f;--soft:#64676d;--grid:#e6e6e3;--c0:#2563c9;--c1:#c2570c;--good:#1a7f4b}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#15161a;--card:#1d1f24;--ink:#e9e9e6;--soft:#9da1a8;--grid:#32353b;"
    "--c0:#7aa9f7;--c1:#f0a35e;--good:#6fce9b}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:1180px;padding:28px 20px 60px;background:var(--page);color:var(--ink);"
    "font:15px/1.5 system-ui,sans-serif}\n"
    "h1{font-size:24px;margin:0 0 2px}h2{font-size:17px;margin:34px 0 10px}p{margin:0;color:var(--soft)}\n"
    ".facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:18px 0}\n"
    ".facts div{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:8px 14px}\n"
    ".facts b{display:block;font-size:19px;font-weight:600}.facts span{color:var(--soft);font-size:13px}\n"
    ".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:14px}\n"
    ".card{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:10px 12px;overflow-x:auto}\n"
    "svg{display:block;width:100%;height:auto}.head{font-size:14px;font-weight:600;fill:var(--ink)}.tick{font-size:12px;"
    "fill:var(--soft)}.line{stroke-width:2;stroke-linejoin:round;fill:none}.grid line,line.grid{stroke:var(--grid)}\n"
    "polyline.c0,line.line.c0{stroke:var(--c0)}polyline.c1,line.line.c1{stroke:var(--c1)}circle.c0{fill:var(--c0)}"
    "circle.c1{fill:var(--c1)}.cell{fill:var(--c0)}\n"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:4px 12px 4px 0;vertical-align:top;border-bottom:"
    "1px solid "
    "var(--grid);font-size:14px}th{color:var(--soft);font-weight:500}td:first-child{min-width:150px}td.n{font-variant-numeric:"
    "tabular-nums}\n"
    ".answers{table-layout:fixed}@media(max-width:760px){.answers tr,.answers td{display:block}.answers th{display:none}"
    ".answers td{border:0}.answers td:last-child{border-bottom:1px solid var(--grid)}.answers td::before{content:attr(data-of);"
    "display:block;color:var(--soft)}}\n"
    "summary{cursor:pointer}summary::marker{color:var(--soft)}summary pre{display:inline}\n"
    "pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,monospace}\n"
    ".warning{margin-top:14px;padding:8px 14px;border-left:4px solid var(--c1);background:var(--card);color:var(--ink)}\n"
    "</style>\n";

/* ---- facts ---- */

static double newest(const wk_report *r, int key) {
    for (size_t i = r->n_point; i-- > 0;) {
        double v = wk_log_value(&r->point[i], key);
        if (isfinite(v)) return v;
    }
    return NAN;
}

static double least_val(const wk_report *r) {
    double v = NAN;
    for (size_t i = 0; i < r->n_point; i++) v = fmin(v, r->point[i].val_loss);  /* fmin passes NaN over */
    return v;
}

static void fact(wk_buf *b, const char *name, double v, const char *unit) {
    wk_buf_str(b, "<div><b>");
    wk_put_short(b, v);
    wk_buf_str(b, unit);
    wk_buf_printf(b, "</b><span>%s</span></div>", name);
}

static void put_facts(wk_buf *b, const wk_report *r) {
    wk_buf_str(b, "<div class=\"facts\">");
    fact(b, "iterations", r->n_point ? r->point[r->n_point - 1].iteration : 0, "");
    fact(b, "training loss", newest(r, 1), "");
    fact(b, "validation loss", newest(r, 7), "");
    fact(b, "best validation loss", least_val(r), "");
    fact(b, "tokens a second", newest(r, 4), "");
    fact(b, "labels learnt", newest(r, 5), "");
    fact(b, "weights trained", (double)r->n_trained_param, "");
    fact(b, "peak memory", newest(r, 6) / 1e6, " MB");
    fact(b, "minutes", floor(r->seconds / 6 + 0.5) / 10, "");
    wk_buf_str(b, "</div>\n");
}

/* ---- curves ---- */

static bool put_curves(wk_buf *b, const wk_report *r) {
    size_t n = r->n_point;
    double *v = wk_alloc_array(6 * (n + 1), sizeof *v);
    if (!v) return false;
    double *x = v, *column[5];
    static const int key[5] = { 1, 7, 2, 3, 4 };
    for (int k = 0; k < 5; k++) column[k] = v + (size_t)(k + 1) * n;
    for (size_t i = 0; i < n; i++) {
        x[i] = r->point[i].iteration;
        for (int k = 0; k < 5; k++) column[k][i] = wk_log_value(&r->point[i], key[k]);
    }
    wk_buf_str(b, "<div class=\"grid\"><div class=\"card\">");
    wk_plot_lines(b, "Loss", "iteration", (wk_line[]){ { "training", x, column[0], n }, { "validation", x, column[1], n } }, 2,
                  false);
    wk_buf_str(b, "</div><div class=\"card\">");
    wk_plot_lines(b, "Learning rate", "iteration", &(wk_line){ "learning rate", x, column[2], n }, 1, true);
    wk_buf_str(b, "</div><div class=\"card\">");
    wk_plot_lines(b, "Gradient norm, before clipping", "iteration", &(wk_line){ "gradient norm", x, column[3], n }, 1, true);
    wk_buf_str(b, "</div><div class=\"card\">");
    wk_plot_lines(b, "Tokens a second", "iteration", &(wk_line){ "tokens a second", x, column[4], n }, 1, true);
    wk_buf_str(b, "</div></div>\n");
    wk_free(v);
    return true;
}

/* ---- the adapter ---- */

enum { N_ROLE = 7 };
static const wk_role roles[N_ROLE] = { WK_T_Q, WK_T_K, WK_T_V, WK_T_O, WK_T_GATE, WK_T_UP, WK_T_DOWN };
static const char *const role_names[N_ROLE] = { "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj" };

static int role_index(wk_role role) {
    for (int i = 0; i < N_ROLE; i++) if (roles[i] == role) return i;
    return -1;
}

/* The curves of the singular values, largest first, of the layers with the largest and the smallest change of a kind. */
static void put_singular(wk_buf *b, const wk_lora_data *d, const double *singular, const double *norm, int64_t stride) {
    wk_buf_str(b, "<div class=\"grid\">");
    for (int k = 0; k < N_ROLE; k++) {
        size_t most = SIZE_MAX, least = SIZE_MAX;
        for (size_t i = 0; i < d->n_module; i++) {
            if (role_index(d->module[i].role) != k) continue;
            if (most == SIZE_MAX || norm[i] > norm[most]) most = i;
            if (least == SIZE_MAX || norm[i] < norm[least]) least = i;
        }
        if (most == SIZE_MAX) continue;
        double index[1024];
        char title[96], name[2][32];
        for (int i = 0; i < 1024; i++) index[i] = i + 1;
        snprintf(title, sizeof title, "Singular values, %s", role_names[k]);
        snprintf(name[0], 32, "layer %d", d->module[most].layer);
        snprintf(name[1], 32, "layer %d", d->module[least].layer);
        wk_line line[2] = { { name[0], index, singular + most * (size_t)stride, (size_t)d->module[most].rank },
                            { name[1], index, singular + least * (size_t)stride, (size_t)d->module[least].rank } };
        wk_buf_str(b, "<div class=\"card\">");
        wk_plot_lines(b, title, "index", line, most == least ? 1 : 2, true);
        wk_buf_str(b, "</div>");
    }
    wk_buf_str(b, "</div>\n");
}

static bool put_heat(wk_buf *b, const wk_lora_data *d, const double *norm) {
    int n_layer = 0;
    for (size_t i = 0; i < d->n_module; i++) if (d->module[i].layer >= n_layer) n_layer = d->module[i].layer + 1;
    double *value = wk_alloc_array((size_t)n_layer * N_ROLE, sizeof *value);
    char (*label)[12] = wk_alloc_array((size_t)n_layer + 1, sizeof *label);
    const char **col = wk_alloc_array((size_t)n_layer + 1, sizeof *col);
    bool fine = n_layer && value && label && col;
    for (int i = 0; fine && i < n_layer * N_ROLE; i++) value[i] = NAN;
    for (int i = 0; fine && i < n_layer; i++) {
        snprintf(label[i], sizeof *label, "%d", i);
        col[i] = label[i];
    }
    for (size_t i = 0; fine && i < d->n_module; i++) {
        int k = role_index(d->module[i].role);
        if (k >= 0 && d->module[i].layer >= 0) value[k * n_layer + d->module[i].layer] = norm[i];
    }
    if (fine) {
        wk_buf_str(b, "<div class=\"card\">");
        wk_plot_heat(b, "Norm of s B A by layer and projection", "layer", role_names, N_ROLE, col, n_layer, value);
        wk_buf_str(b, "</div>");
    }
    wk_free(value);
    wk_free(label);
    wk_free(col);
    return fine || !n_layer;
}

static wick_status put_adapter(wk_buf *b, const wk_lora_data *d) {
    int64_t stride = 1;
    for (size_t i = 0; i < d->n_module; i++) if (d->module[i].rank > stride) stride = d->module[i].rank;
    double *singular = wk_alloc_array(d->n_module * (size_t)stride, sizeof *singular);
    double *norm = wk_alloc_array(d->n_module + 1, sizeof *norm);
    wick_status st = singular && norm ? WICK_OK
                                      : wk_fail_memory(d->n_module * (size_t)stride * sizeof *norm, "pictures of the adapter");
    for (size_t i = 0; !st && i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i];
        st = wk_lora_singular(x, wk_lora_scale(d, x), singular + i * (size_t)stride);
        if (!st) norm[i] = wk_lora_norm(singular + i * (size_t)stride, x->rank);
    }
    if (!st) {
        wk_buf_str(b, "<h2>The adapter</h2>\n");
        if (!put_heat(b, d, norm)) st = wk_fail_memory(1, "pictures of the adapter");
        wk_buf_str(b, "<div style=\"height:14px\"></div>");
        put_singular(b, d, singular, norm, stride);
    }
    wk_free(singular);
    wk_free(norm);
    return st;
}

/* ---- tables ---- */

/* of: the column's name, for narrow screens, where cells stand one below another. */
static void cell(wk_buf *b, const char *of, const char *text) {
    wk_buf_printf(b, "<td data-of=\"%s\"><pre>", of);
    wk_put_html(b, text ? text : "");
    wk_buf_str(b, "</pre></td>");
}

static const char *prompt_of(const wk_report *r, size_t i) { return r->sample[i].prompt ? r->sample[i].prompt : ""; }

/* What all prompts begin and end with: the template's words, a system's message. In whole lines, but an end may begin with a mark
 * ("<|im_end|>", "[/INST]") on a prompt's own. */
static void find_common(const wk_report *r, size_t *before, size_t *after) {
    const char *first = prompt_of(r, 0);
    size_t n = strlen(first), begin = n, end = n;
    for (size_t i = 1; i < r->n_sample; i++) {
        const char *s = prompt_of(r, i);
        size_t m = strlen(s), k = 0;
        while (k < begin && s[k] == first[k]) k++;
        begin = k;
        for (k = 0; k < end && k < m && s[m - 1 - k] == first[n - 1 - k];) k++;
        end = k;
    }
    while (begin && first[begin - 1] != '\n') begin--;
    while (end && !strchr("\n<[", first[n - end])) end--;
    bool several = r->n_sample > 1;
    for (size_t i = 0; several && i < r->n_sample; i++) several = begin + end < strlen(prompt_of(r, i));
    *before = several ? begin : 0;
    *after = several ? end : 0;
}

/* A prompt without those; a click shows all of it. */
static void prompt_cell(wk_buf *b, const char *text, size_t before, size_t after) {
    wk_buf own = { 0 };
    if (!before && !after) {
        cell(b, "prompt", text);
        return;
    }
    wk_buf_add(&own, text + before, strlen(text) - before - after);
    wk_buf_str(b, "<td data-of=\"prompt\"><details><summary><pre>");
    wk_put_html(b, own.failed ? text : own.ptr);
    wk_buf_str(b, "</pre></summary><pre>");
    wk_put_html(b, text);
    wk_buf_str(b, "</pre></details></td>");
    wk_buf_free(&own);
}

static void put_samples(wk_buf *b, const wk_report *r) {
    size_t before, after;
    if (!r->n_sample) return;
    find_common(r, &before, &after);
    wk_buf_str(b, "<h2>Answers</h2>\n<div class=\"card\"><table class=\"answers\"><tr><th>prompt</th><th>wanted</th><th>before</th>"
               "<th>after</th></tr>\n");
    for (size_t i = 0; i < r->n_sample; i++) {
        wk_buf_str(b, "<tr>");
        prompt_cell(b, prompt_of(r, i), before, after);
        cell(b, "wanted", r->sample[i].wanted);
        cell(b, "before", r->sample[i].before);
        cell(b, "after", r->sample[i].after);
        wk_buf_str(b, "</tr>\n");
    }
    wk_buf_str(b, "</table></div>\n");
}

static void put_options(wk_buf *b, const wk_report *r) {
    wk_buf_str(b, "<h2>Options</h2>\n<div class=\"card\"><table>\n");
    for (size_t i = 0; i < wk_n_train_key; i++) {
        wk_buf value = { 0 };
        wk_train_option_json(r->options, &wk_train_keys[i], &value);
        if (value.failed) b->failed = true;
        else if (strcmp(value.ptr, "null") && strcmp(value.ptr, "[]")) {
            wk_buf_printf(b, "<tr><th>%s</th><td class=\"n\">", wk_train_keys[i].name);
            wk_put_html(b, value.ptr);
            wk_buf_str(b, "</td></tr>\n");
        }
        wk_buf_free(&value);
    }
    wk_buf_str(b, "</table></div>\n");
}

wick_status wk_report_write(const char *path, const wk_report *r) {
    wk_buf b = { 0 };
    wick_status st = WICK_OK;
    wk_buf_str(&b, head);
    wk_buf_str(&b, "<title>");
    wk_put_html(&b, r->title);
    wk_buf_str(&b, " - wick train</title></head><body>\n<h1>");
    wk_put_html(&b, r->title);
    wk_buf_str(&b, "</h1><p>");
    wk_put_html(&b, r->model);
    wk_buf_printf(&b, " &middot; %s &middot; %llu training samples, %llu validation samples &middot; wick " WICK_VERSION "</p>\n",
                  r->status, (unsigned long long)r->n_train, (unsigned long long)r->n_valid);
    if (r->warning) {
        wk_buf_str(&b, "<p class=\"warning\">");
        wk_put_html(&b, r->warning);
        wk_buf_str(&b, "</p>\n");
    }
    put_facts(&b, r);
    if (!put_curves(&b, r)) st = wk_fail_memory(r->n_point, "a report");
    put_samples(&b, r);
    if (!st && r->lora && r->lora->n_module) st = put_adapter(&b, r->lora);
    put_options(&b, r);
    wk_buf_str(&b, "</body></html>\n");
    if (!st && b.failed) st = wk_fail_memory(b.len, "a report");
    if (!st) st = wk_file_write(path, &(wk_str){ b.ptr, b.len }, 1);
    wk_buf_free(&b);
    return st;
}
