/* flag_table.c: the program's verbs and flags, a row each. A new flag is a row here and a field in opts.
 * Two rows may share a spelling if no verb has both. Names follow llama.cpp, which its users know. */
#include "flags.h"

#define RUN (1u << VERB_RUN)
#define CHAT (1u << VERB_CHAT)
#define INSPECT (1u << VERB_INSPECT)
#define TOKENIZE (1u << VERB_TOKENIZE)
#define LOGITS (1u << VERB_LOGITS)
#define EVAL (1u << VERB_EVAL)
#define BENCH (1u << VERB_BENCH)
#define CONVERT (1u << VERB_CONVERT)
#define ADAPTERS (1u << VERB_ADAPTERS)
#define MERGE (1u << VERB_MERGE)
#define ALL (RUN | CHAT | INSPECT | TOKENIZE | LOGITS | EVAL | BENCH | CONVERT | ADAPTERS | MERGE)
#define TALK (RUN | CHAT)
#define COMPUTE (RUN | CHAT | LOGITS | EVAL | BENCH)
#define AT(field) offsetof(opts, field)
#define BIG 9e15

const verb verbs[N_VERB] = {
    [VERB_RUN] = { "run", NULL, "MODEL [PROMPT...]", "answer one prompt, token by token",
        "The prompt is the words after MODEL, or -p, or a file with -f, or what is piped in. It is put through the model's chat "
        "template unless --raw is given. With a terminal and no prompt, run is chat. A classifier prints its classes instead. "
        "The answer goes to standard output, everything else to standard error.",
        { "wick run model.gguf 'Why is the sky blue?'", "wick run model.gguf --raw -p 'Once upon a time' -n 64 --temp 0",
          "git diff | wick run model.gguf -f - 'Write a commit message for this:'" } },
    [VERB_CHAT] = { "chat", NULL, "MODEL", "talk with a model in the terminal",
        "Type a message and press return; /help lists the commands. A line that ends with \\ goes on in the next, and \"\"\" opens "
        "and closes a longer block. Ctrl-C stops an answer, Ctrl-D leaves. Lines are kept in $XDG_STATE_HOME/wick/history.",
        { "wick chat model.gguf", "wick chat model.gguf --system 'Answer in one sentence.' --temp 0.7 -c 4096" } },
    [VERB_INSPECT] = { "inspect", "show", "MODEL", "say what a model file or folder holds",
        "Prints architecture, sizes, weight types, context, tokenizer, chat template and the memory needed, without loading "
        "the weights. With --prompt it shows how a text is cut into tokens.",
        { "wick inspect model.gguf", "wick inspect model.gguf --tensors --keys",
          "wick inspect model.gguf --prompt 'How many tokens?'" } },
    [VERB_TOKENIZE] = { "tokenize", NULL, "MODEL [TEXT...]", "turn text into token ids, or render a chat",
        "The text is the words after MODEL, or -p, -f, or what is piped in, taken byte for byte. MODEL may be a vocabulary-only "
        "GGUF or a folder with only tokenizer.json. Control tokens spelled out in the text are recognised unless --no-special.",
        { "wick tokenize model.gguf 'Hello, world'", "wick tokenize model.gguf -f text.txt -o json",
          "wick tokenize model.gguf --render chat.json -o json" } },
    [VERB_LOGITS] = { "logits", NULL, "MODEL --ids FILE --out FILE", "write a model's logits for given token ids",
        "Reads input_ids [B,S] (int64 or int32), and attention_mask [B,S] if there, from a safetensors file; writes float32 logits "
        "[B,S,vocabulary] to another: zeros where the mask, which must leave out the end of a row only, is 0. "
        "For a classifier logits are [B,classes], at each row's last token.",
        { "wick logits model.gguf --ids ids.safetensors --out logits.safetensors" } },
    [VERB_EVAL] = { "eval", NULL, "MODEL -f FILE", "measure perplexity on a text",
        "The text is cut into windows of -c tokens; in each, tokens of the second half are scored given all before them, as "
        "llama-perplexity does. Prints the perplexity and its standard error; lower is better.",
        { "wick eval model.gguf -f text.txt -c 512", "wick eval model.gguf -f text.txt --chunks 20 -o json" } },
    [VERB_BENCH] = { "bench", NULL, "MODEL", "measure prompt and generation speed",
        "Times reading a prompt of -p tokens and generating -n tokens one by one, each -r times after a warm-up, sampling "
        "left out, as llama-bench does. Prints tokens per second, mean and standard deviation.",
        { "wick bench model.gguf", "wick bench model.gguf -p 128,512 -n 0 -t 4 -r 5",
          "wick bench model.gguf -p 512 -n 64 -o json" } },
    [VERB_CONVERT] = { "convert", NULL, "MODEL -o OUT", "write a GGUF file from a folder, or a folder from a GGUF file",
        "OUT ends in .gguf: a GGUF file is written, from a Hugging Face folder or with other types from another GGUF file; else a "
        "folder, from a GGUF file. Tokenizer and chat template go along. Weights that keep their type keep every bit; quantised "
        "weights become floats in a folder. In a GGUF file norms, biases and routers are F32, and rows that are no multiple of 32 "
        "stay F16; q8_0 holds for all other matrices, q4_0 for all but the embedding and the output, which are Q8_0.",
        { "wick convert model.gguf -o folder --type bf16", "wick convert folder -o model.gguf",
          "wick convert folder -o model.gguf --type q8_0" } },
    [VERB_ADAPTERS] = { "adapters", NULL, "inspect|convert MODEL ADAPTER", "say what an adapter holds, or change its format",
        "ADAPTER is a PEFT folder, an mlx folder or a GGUF adapter, MODEL what it was made for: names and sizes are held against "
        "it, its weights are not read. convert writes what -o names: a GGUF adapter if that ends in .gguf, else a PEFT folder, or "
        "what --format says. Scales and ranks that a format has but once are folded into the numbers.",
        { "wick adapters inspect model.gguf adapter", "wick adapters inspect model.gguf adapter -o json",
          "wick adapters convert model.gguf adapter -o adapter.gguf" } },
    [VERB_MERGE] = { "merge", NULL, "MODEL ADAPTER -o OUT", "work an adapter into a model's weights",
        "Writes a model that does without the adapter what MODEL does with it: a GGUF file if OUT ends in .gguf, else a folder. "
        "From GGUF to GGUF matrices that do not change keep every bit; quantised ones that do become F16, or what --type says. "
        "With --lora or --lora-scaled several adapters are merged at once.",
        { "wick merge model.gguf adapter -o merged.gguf", "wick merge model.gguf --lora-scaled adapter:0.5 -o merged.gguf",
          "wick merge folder adapter -o merged" } },
};

const char *const group_names[N_GROUP] = { "Prompt", "Sampling", "Model and speed", "Output" };

const flag flags[] = {
    { { "--prompt", "-p" }, FLAG_STR, 0, 0, AT(prompt), RUN | TOKENIZE, GROUP_PROMPT, "TEXT",
      "the prompt, in place of words after MODEL", "wick run model.gguf -p 'Name three colours' -n 16" },
    { { "--prompt", "-p" }, FLAG_STR, 0, 0, AT(prompt), INSPECT, GROUP_PROMPT, "TEXT",
      "show how this text is cut into tokens, and nothing else", "wick inspect model.gguf --prompt 'Hello, world'" },
    { { "--file", "-f" }, FLAG_STR, 0, 0, AT(file), RUN, GROUP_PROMPT, "FILE",
      "read the prompt from FILE (- is standard input); words or -p come before it, as an instruction",
      "wick run model.gguf -f notes.txt 'Sum this up:' -n 16" },
    { { "--file", "-f" }, FLAG_STR, 0, 0, AT(file), TOKENIZE | EVAL, GROUP_PROMPT, "FILE",
      "read the text from FILE; - is standard input", "wick tokenize model.gguf -f notes.txt" },
    { { "--system", "-sys" }, FLAG_STR, 0, 0, AT(system), TALK, GROUP_PROMPT, "TEXT",
      "a system message before the conversation", "wick run model.gguf --system 'Be brief.' -p Hello -n 16" },
    { { "--raw" }, FLAG_BOOL, 0, 0, AT(raw), RUN, GROUP_PROMPT, NULL,
      "continue the text as it is, without the chat template", "wick run model.gguf --raw -p 'Once upon a time' -n 16" },
    { { "--chat-template" }, FLAG_STR, 0, 0, AT(chat_template), TALK | INSPECT | TOKENIZE, GROUP_PROMPT, "TEXT",
      "Jinja text in place of the model's chat template",
      "wick run model.gguf --chat-template '{{ messages[0].content }}:' -p Hello -n 16" },
    { { "--chat-template-file" }, FLAG_STR, 0, 0, AT(chat_template_file), TALK | INSPECT | TOKENIZE, GROUP_PROMPT, "FILE",
      "the same, from a file", "wick run model.gguf --chat-template-file chat.jinja -p Hello -n 16" },
    { { "--render" }, FLAG_STR, 0, 0, AT(render), TOKENIZE, GROUP_PROMPT, "FILE",
      "render a chat: {\"messages\":[...],\"tools\":...,\"add_generation_prompt\":true} and any other variables of the template",
      "wick tokenize model.gguf --render chat.json -o json" },
    { { "--show-mask" }, FLAG_STR, 0, 0, AT(show_mask), TOKENIZE, GROUP_PROMPT, "FILE",
      "show each line of training data (JSONL) with the tokens that are learnt marked: green, or between [ and ] without colours",
      "wick tokenize model.gguf --show-mask train.jsonl" },
    { { "--no-special" }, FLAG_BOOL, 0, 0, AT(no_special), TOKENIZE, GROUP_PROMPT, NULL,
      "control tokens spelled out in the text stay plain text", "wick tokenize model.gguf --no-special 'a <|end|> b'" },
    { { "--add-special" }, FLAG_BOOL, 0, 0, AT(add_special), TOKENIZE, GROUP_PROMPT, NULL,
      "add BOS and EOS where the model's files say so", "wick tokenize model.gguf --add-special Hello" },

    { { "--n-predict", "-n", "--predict", "--max-tokens" }, FLAG_INT, -1, 1 << 30, AT(n_predict), TALK, GROUP_SAMPLING, "N",
      "stop after this many new tokens (-1); -1: when the context is full", "wick run model.gguf -n 32 Hello" },
    { { "--temp", "--temperature" }, FLAG_REAL, 0, 1000, AT(temp), TALK, GROUP_SAMPLING, "X",
      "temperature (the model's, else 0.8); 0 always takes the likeliest token", "wick run model.gguf --temp 0 -p Hello -n 16" },
    { { "--top-k" }, FLAG_INT, 0, 1 << 30, AT(top_k), TALK, GROUP_SAMPLING, "N",
      "sample among the N likeliest tokens (the model's, else 40); 0: all", "wick run model.gguf --top-k 40 -p Hello -n 16" },
    { { "--top-p" }, FLAG_REAL, 0, 1, AT(top_p), TALK, GROUP_SAMPLING, "X",
      "sample among the likeliest tokens that together have probability X (the model's, else 0.95); 1: all",
      "wick run model.gguf --top-p 0.9 -p Hello -n 16" },
    { { "--min-p" }, FLAG_REAL, 0, 1, AT(min_p), TALK, GROUP_SAMPLING, "X",
      "leave out tokens less than X times as likely as the likeliest (the model's, else 0.05); 0: none",
      "wick run model.gguf --min-p 0.05 -p Hello -n 16" },
    { { "--repeat-penalty" }, FLAG_REAL, 0.01, 100, AT(repeat_penalty), TALK, GROUP_SAMPLING, "X",
      "make tokens of the last text less likely (the model's, else 1); 1: off",
      "wick run model.gguf --repeat-penalty 1.1 -p Hello -n 16" },
    { { "--frequency-penalty" }, FLAG_REAL, -100, 100, AT(frequency_penalty), TALK, GROUP_SAMPLING, "X",
      "take X from a token's logit for each time it came before", "wick run model.gguf --frequency-penalty 0.5 -p Hello -n 16" },
    { { "--presence-penalty" }, FLAG_REAL, -100, 100, AT(presence_penalty), TALK, GROUP_SAMPLING, "X",
      "take X from a token's logit if it came before", "wick run model.gguf --presence-penalty 0.5 -p Hello -n 16" },
    { { "--repeat-last-n" }, FLAG_INT, -1, 1 << 30, AT(repeat_last_n), TALK, GROUP_SAMPLING, "N",
      "tokens that the penalties look back on (64); -1: all, 0: none",
      "wick run model.gguf --repeat-last-n 64 --repeat-penalty 1.1 -p Hello -n 16" },
    { { "--seed", "-s" }, FLAG_U64, 0, 0, AT(seed), TALK, GROUP_SAMPLING, "N",
      "the same seed gives the same answer; -1: another each time (-1)", "wick run model.gguf --seed 7 -p Hello -n 16" },
    { { "--stop" }, FLAG_LIST, 0, 0, AT(stop), TALK, GROUP_SAMPLING, "TEXT",
      "end before this text; may be repeated", "wick run model.gguf --stop '\n' --stop . -p Hello -n 16" },
    { { "--logit-bias" }, FLAG_LIST, 0, 0, AT(logit_bias), TALK, GROUP_SAMPLING, "ID=X",
      "add X to the logit of token ID (-inf forbids it); may be repeated",
      "wick run model.gguf --logit-bias 15=-inf -p Hello -n 16" },
    { { "--ignore-eos" }, FLAG_BOOL, 0, 0, AT(ignore_eos), TALK, GROUP_SAMPLING, NULL,
      "go on past end-of-turn tokens", "wick run model.gguf --ignore-eos -n 32 Hello" },
    { { "--logprobs" }, FLAG_INT, 0, 20, AT(logprobs), RUN, GROUP_SAMPLING, "N",
      "with -o json or jsonl: each token's log-probability and those of the N likeliest",
      "wick run model.gguf --logprobs 3 -o jsonl -p Hello -n 4" },

    { { "--model", "-m" }, FLAG_STR, 0, 0, AT(model), ALL, GROUP_MODEL, "MODEL",
      "the GGUF file or Hugging Face folder; all words are then the prompt", "wick run -m model.gguf -n 16 Hello" },
    { { "--ctx-size", "-c" }, FLAG_INT, 0, 1 << 30, AT(ctx_size), TALK | INSPECT | LOGITS, GROUP_MODEL, "N",
      "tokens of context; 0: the model's own, at most 4096", "wick run model.gguf -c 128 -n 16 Hello" },
    { { "--ctx-size", "-c" }, FLAG_INT, 4, 1 << 24, AT(ctx_size), EVAL, GROUP_MODEL, "N",
      "tokens of a window (512)", "wick eval model.gguf -f text.txt -c 64" },
    { { "--chunks" }, FLAG_INT, -1, 1 << 30, AT(chunks), EVAL, GROUP_MODEL, "N",
      "stop after N windows; -1: all of the text", "wick eval model.gguf -f text.txt -c 64 --chunks 2" },
    { { "--n-prompt", "-p" }, FLAG_STR, 0, 0, AT(n_prompt), BENCH, GROUP_MODEL, "N,...",
      "prompt lengths to time (512); 0: none", "wick bench model.gguf -p 16,32 -n 0 -r 1" },
    { { "--n-gen", "-n" }, FLAG_STR, 0, 0, AT(n_gen), BENCH, GROUP_MODEL, "N,...",
      "numbers of generated tokens to time (128); 0: none", "wick bench model.gguf -p 0 -n 16 -r 1" },
    { { "--repetitions", "-r" }, FLAG_INT, 1, 1000, AT(repetitions), BENCH, GROUP_MODEL, "N",
      "times that each is measured (5)", "wick bench model.gguf -p 16 -n 4 -r 2" },
    { { "--no-warmup" }, FLAG_BOOL, 0, 0, AT(no_warmup), BENCH, GROUP_MODEL, NULL,
      "time the first run too", "wick bench model.gguf -p 16 -n 4 -r 1 --no-warmup" },
    { { "--threads", "-t" }, FLAG_INT, 0, 1024, AT(threads), COMPUTE, GROUP_MODEL, "N",
      "threads; 0: one for each core", "wick run model.gguf -t 1 -n 16 Hello" },
    { { "--batch-size", "-b" }, FLAG_INT, 1, 1 << 20, AT(batch_size), COMPUTE, GROUP_MODEL, "N",
      "prompt tokens of one forward pass (512)", "wick run model.gguf -b 64 -n 16 Hello" },
    { { "--ubatch-size", "-ub" }, FLAG_INT, 1, 1 << 20, AT(ubatch_size), COMPUTE, GROUP_MODEL, "N",
      "the same; the smaller of the two counts", "wick run model.gguf -ub 64 -n 16 Hello" },
    { { "--cache-type-k", "-ctk" }, FLAG_CHOICE, 0, 0, AT(type_k), COMPUTE | INSPECT, GROUP_MODEL, "f32|f16|q8_0",
      "number type of the KV cache (f32 for float32 models, else f16)", "wick run model.gguf -ctk f16 -n 16 Hello" },
    { { "--cache-type-v", "-ctv" }, FLAG_CHOICE, 0, 0, AT(type_v), COMPUTE | INSPECT, GROUP_MODEL, "f32|f16|q8_0",
      "the same for values; keys and values share one type", "wick run model.gguf -ctk f16 -ctv f16 -n 16 Hello" },
    { { "--context-shift" }, FLAG_BOOL, 0, 0, AT(context_shift), TALK, GROUP_MODEL, NULL,
      "when the context is full, drop its oldest half and go on", "wick run model.gguf -c 64 --context-shift -n 16 Hello" },
    { { "--draft-max", "--draft", "--draft-n" }, FLAG_INT, 0, 64, AT(draft), TALK, GROUP_MODEL, "N",
      "guess up to N tokens ahead and check them in one pass: the same answer, faster where text repeats; 0: none (0; 16 with -md)",
      "wick run model.gguf --draft-max 16 -n 16 Hello" },
    { { "--model-draft", "-md" }, FLAG_STR, 0, 0, AT(model_draft), TALK, GROUP_MODEL, "MODEL",
      "a smaller model with the same vocabulary that guesses; without it the text so far does",
      "wick run model.gguf -md model.gguf -n 16 Hello" },
    { { "--lora", "--adapter" }, FLAG_STR, 0, 0, AT(lora), COMPUTE | MERGE, GROUP_MODEL, "PATH,...",
      "LoRA adapters (PEFT or mlx folders, GGUF files), added up", "wick run model.gguf --lora adapter -n 16 Hello" },
    { { "--lora-scaled" }, FLAG_STR, 0, 0, AT(lora_scaled), COMPUTE | MERGE, GROUP_MODEL, "PATH:X,...",
      "the same, each X times as strong", "wick run model.gguf --lora-scaled adapter:0.5 -n 16 Hello" },
    { { "--backend", "--device" }, FLAG_CHOICE, 0, 0, AT(backend), COMPUTE, GROUP_MODEL, "cpu|reference",
      "what computes; reference is slow and exact", "wick run model.gguf --backend reference -n 2 Hello" },

    { { "--ids" }, FLAG_STR, 0, 0, AT(ids), LOGITS, GROUP_OUTPUT, "FILE",
      "safetensors file with input_ids", "wick logits model.gguf --ids ids.safetensors --out logits.safetensors" },
    { { "--out" }, FLAG_STR, 0, 0, AT(out), LOGITS, GROUP_OUTPUT, "FILE",
      "where to write logits", "wick logits model.gguf --ids ids.safetensors --out logits.safetensors" },
    { { "--keys" }, FLAG_BOOL, 0, 0, AT(keys), INSPECT, GROUP_OUTPUT, NULL,
      "list the file's keys (a folder's: config.json)", "wick inspect model.gguf --keys" },
    { { "--tensors" }, FLAG_BOOL, 0, 0, AT(tensors), INSPECT, GROUP_OUTPUT, NULL,
      "list the tensors: name, type, shape, bytes", "wick inspect model.gguf --tensors" },
    { { "--output", "-o" }, FLAG_CHOICE, 0, 0, AT(output), RUN, GROUP_OUTPUT, "text|json|jsonl",
      "json: one object at the end; jsonl: one object a token, as it comes", "wick run model.gguf -o json -n 16 Hello" },
    { { "--output", "-o" }, FLAG_CHOICE, 0, 0, AT(output), INSPECT | TOKENIZE | EVAL, GROUP_OUTPUT, "text|json",
      "json is stable for programs", "wick tokenize model.gguf -o json Hello" },
    { { "--output", "-o" }, FLAG_CHOICE, 0, 0, AT(output), BENCH, GROUP_OUTPUT, "md|json|jsonl|csv",
      "a table, or for programs", "wick bench model.gguf -p 16 -n 4 -r 1 -o json" },
    { { "--output", "-o", "--out" }, FLAG_STR, 0, 0, AT(out), CONVERT | MERGE, GROUP_OUTPUT, "OUT",
      "what to write: a name that ends in .gguf, or a folder", "wick convert model.gguf -o folder" },
    { { "--output", "-o", "--out" }, FLAG_STR, 0, 0, AT(out), ADAPTERS, GROUP_OUTPUT, "OUT",
      "what convert writes; for inspect text or json", "wick adapters inspect model.gguf adapter -o json" },
    { { "--format" }, FLAG_CHOICE, 0, 0, AT(format), ADAPTERS, GROUP_OUTPUT, "peft|mlx|gguf",
      "the format that convert writes (gguf where OUT ends so, else peft)",
      "wick adapters convert model.gguf adapter -o mlx-adapter --format mlx" },
    { { "--type", "--outtype" }, FLAG_CHOICE, 0, 0, AT(type), CONVERT | MERGE, GROUP_OUTPUT, "f32|f16|bf16|q8_0|q4_0",
      "type of the weights (what they are; quantised ones f16); a folder has floats",
      "wick convert model.gguf -o folder --type f32" },
    { { "--max-shard-size" }, FLAG_STR, 0, 0, AT(max_shard_size), CONVERT | MERGE, GROUP_OUTPUT, "SIZE",
      "cut a folder's weights into files of this size, as 500MB (5GB)",
      "wick convert model.gguf -o folder --max-shard-size 100kB" },
    { { "--pre" }, FLAG_STR, 0, 0, AT(pre), CONVERT, GROUP_OUTPUT, "NAME",
      "llama.cpp's name for how text is cut into words, where it cannot be found from tokenizer.json",
      "wick convert model.gguf -o folder --pre llama-bpe" },
    { { "--force" }, FLAG_BOOL, 0, 0, AT(force), CONVERT | MERGE | ADAPTERS, GROUP_OUTPUT, NULL,
      "overwrite OUT if it is there", "wick convert model.gguf -o folder --force" },
    { { "--quiet", "-q" }, FLAG_BOOL, 0, 0, AT(quiet), ALL, GROUP_OUTPUT, NULL,
      "no progress and no summary", "wick run model.gguf -q -n 16 Hello" },
    { { "--color" }, FLAG_CHOICE, 0, 0, AT(color), ALL, GROUP_OUTPUT, "auto|always|never",
      "colours; auto: on a terminal, unless NO_COLOR is set", "wick inspect model.gguf --color always --prompt Hello" },
    { { "--help", "-h" }, FLAG_BOOL, 0, 0, AT(help), ALL, GROUP_OUTPUT, NULL,
      "this text", "wick run --help" },
};
const size_t n_flags = sizeof flags / sizeof *flags;
_Static_assert(sizeof flags / sizeof *flags <= sizeof((opts *)0)->given, "opts.given has a byte for each row");
