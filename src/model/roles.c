/* roles.c: the names and shapes of a model's tensors, shared by nearly all families.
 * GGUF names: gguf-py's constants; HF names: transformers' modeling files. */
#include "model/arch.h"
#include <stdio.h>
#include <string.h>

const wk_role_info wk_roles[WK_T_COUNT] = {
    [WK_T_EMBED]          = { "token_embd", "model.embed_tokens", WK_D_ONE, WK_D_VOCAB, WK_D_EMBD },
    [WK_T_OUT_NORM]       = { "output_norm", "model.norm", WK_D_ONE, WK_D_ONE, WK_D_EMBD },
    [WK_T_OUTPUT]         = { "output", "lm_head", WK_D_ONE, WK_D_VOCAB, WK_D_EMBD },
    [WK_T_SCORE]          = { "cls.output", "score", WK_D_ONE, WK_D_LABEL, WK_D_EMBD },
    [WK_T_ROPE_FACTORS]   = { "rope_freqs", NULL, WK_D_ONE, WK_D_ONE, WK_D_ROT },
    [WK_T_ATTN_NORM]      = { "attn_norm", "input_layernorm", WK_D_ONE, WK_D_ONE, WK_D_EMBD },
    [WK_T_Q]              = { "attn_q", "self_attn.q_proj", WK_D_ONE, WK_D_Q, WK_D_EMBD },
    [WK_T_K]              = { "attn_k", "self_attn.k_proj", WK_D_ONE, WK_D_KV, WK_D_EMBD },
    [WK_T_V]              = { "attn_v", "self_attn.v_proj", WK_D_ONE, WK_D_KV, WK_D_EMBD },
    [WK_T_O]              = { "attn_output", "self_attn.o_proj", WK_D_ONE, WK_D_EMBD, WK_D_Q },
    [WK_T_Q_NORM]         = { "attn_q_norm", "self_attn.q_norm", WK_D_ONE, WK_D_ONE, WK_D_Q_NORM },
    [WK_T_K_NORM]         = { "attn_k_norm", "self_attn.k_norm", WK_D_ONE, WK_D_ONE, WK_D_K_NORM },
    [WK_T_SINKS]          = { "attn_sinks", "self_attn.sinks", WK_D_ONE, WK_D_ONE, WK_D_HEAD },
    [WK_T_POST_ATTN_NORM] = { "post_attention_norm", NULL, WK_D_ONE, WK_D_ONE, WK_D_EMBD },
    [WK_T_FFN_NORM]       = { "ffn_norm", "post_attention_layernorm", WK_D_ONE, WK_D_ONE, WK_D_EMBD },
    [WK_T_GATE]           = { "ffn_gate", "mlp.gate_proj", WK_D_ONE, WK_D_FF, WK_D_EMBD },
    [WK_T_UP]             = { "ffn_up", "mlp.up_proj", WK_D_ONE, WK_D_FF, WK_D_EMBD },
    [WK_T_DOWN]           = { "ffn_down", "mlp.down_proj", WK_D_ONE, WK_D_EMBD, WK_D_FF },
    [WK_T_POST_FFN_NORM]  = { "post_ffw_norm", NULL, WK_D_ONE, WK_D_ONE, WK_D_EMBD },
    [WK_T_ROUTER]         = { "ffn_gate_inp", "mlp.gate", WK_D_ONE, WK_D_EXPERT, WK_D_EMBD },
    [WK_T_GATE_EXPS]      = { "ffn_gate_exps|ffn_gate.*", "mlp.experts.*.gate_proj", WK_D_EXPERT, WK_D_FF_EXPERT, WK_D_EMBD },
    [WK_T_UP_EXPS]        = { "ffn_up_exps|ffn_up.*", "mlp.experts.*.up_proj", WK_D_EXPERT, WK_D_FF_EXPERT, WK_D_EMBD },
    [WK_T_DOWN_EXPS]      = { "ffn_down_exps|ffn_down.*", "mlp.experts.*.down_proj|mlp.experts.down_proj",
                              WK_D_EXPERT, WK_D_EMBD, WK_D_FF_EXPERT },
    [WK_T_QKV]            = { "attn_qkv", "self_attn.qkv_proj", WK_D_ONE, WK_D_ONE, WK_D_EMBD },
    [WK_T_GATE_UP]        = { "ffn_up", "mlp.gate_up_proj", WK_D_ONE, WK_D_ONE, WK_D_EMBD },
    [WK_T_GATE_UP_EXPS]   = { "ffn_gate_up_exps", "mlp.experts.gate_up_proj", WK_D_EXPERT, WK_D_ONE, WK_D_EMBD },
};

const wk_fusion wk_fusions[] = {
    { WK_T_QKV, { WK_T_Q, WK_T_K, WK_T_V, 0 } },
    { WK_T_GATE_UP, { WK_T_GATE, WK_T_UP, 0 } },
    { WK_T_GATE_UP_EXPS, { WK_T_GATE_EXPS, WK_T_UP_EXPS, 0 } },
    { 0, { 0 } },
};

unsigned wk_arch_features(const wk_arch *a) {
    return a ? (wk_arch_features(a->base) & ~a->without) | a->features : 0;
}

bool wk_arch_spelling(const char *names, int i, wk_str *out) {
    for (; names && i > 0; i--) names = (names = strchr(names, '|')) ? names + 1 : NULL;
    if (!names) return false;
    *out = (wk_str){ names, strcspn(names, "|") };
    return true;
}

const char *wk_arch_tensor(const wk_arch *a, wk_role role, bool gguf) {
    for (; a; a = a->base)
        for (const wk_arch_name *n = a->names; n && n->hf; n++)
            if (n->role == role && (gguf ? n->gguf : n->hf)) return gguf ? n->gguf : n->hf;
    return gguf ? wk_roles[role].gguf : wk_roles[role].hf;
}

bool wk_arch_tensor_name(const wk_arch *a, const char *root, wk_role role, int i, int64_t layer, int64_t expert, const char *suffix,
                         char *out, size_t cap) {
    wk_str base;
    char prefix[80] = "", number[24] = "";
    size_t n = strlen(WK_ROOT);
    if (!wk_arch_spelling(wk_arch_tensor(a, role, !root), i, &base)) return false;
    if (layer >= 0 && !root) snprintf(prefix, sizeof prefix, "blk.%lld.", (long long)layer);
    else if (layer >= 0) snprintf(prefix, sizeof prefix, "%slayers.%lld.", root, (long long)layer);
    else if (root && base.len > n && !memcmp(base.ptr, WK_ROOT, n)) {
        snprintf(prefix, sizeof prefix, "%s", root);
        base = (wk_str){ base.ptr + n, base.len - n };
    }
    const char *star = memchr(base.ptr, '*', base.len);
    int before = (int)(star ? (size_t)(star - base.ptr) : base.len), after = star ? (int)base.len - before - 1 : 0;
    if (star) snprintf(number, sizeof number, "%lld", (long long)expert);
    snprintf(out, cap, "%s%.*s%s%.*s%s%s", prefix, before, base.ptr, number, after, star ? star + 1 : "",
             *suffix && *suffix != '_' ? "." : "",
             suffix);
    return true;
}

const char *wk_arch_gguf_name(const wk_arch *a) { return a->gguf ? a->gguf : a->name; }
const char *wk_arch_hf_type(const wk_arch *a) { return a->hf_type ? a->hf_type : a->name; }
