#!/usr/bin/env python3
"""make_train_masks.py: writes data/train/masks.json: conversations of the llama-chat test model, and the assistant masks that
transformers' apply_chat_template(return_assistant_tokens_mask=True) gives for them (transformers 5.23). Runs in tests/.

No marked stretch ends with a character of several tokens: transformers leaves all but the first of them out, wick does not."""
import json

from transformers import AutoTokenizer

HEAD = "{%- for m in messages %}{{ '<|' + m.role + '|>' }}"
TAIL = "{%- endfor %}{%- if add_generation_prompt %}{{ '<|assistant|>' }}{%- endif %}"
BODY = "{{ m.content | trim + '<|end|>' }}"
TEMPLATES = {
    # The model's own, with marks: the end-of-turn token is the assistant's.
    "marks": HEAD + "{%- if m.role == 'assistant' %}{% generation %}" + BODY + "{% endgeneration %}{%- else %}" + BODY
             + "{%- endif %}" + TAIL,
    # The marks end inside what the tokenizer would merge, and leave the end-of-turn token out.
    "inside words": HEAD + "{%- if m.role == 'assistant' %}{{ 'Answer: x' }}{% generation %}{{ m.content }}{% endgeneration %}"
                    + "{{ 'ing<|end|>' }}{%- else %}" + BODY + "{%- endif %}" + TAIL,
    # Plain words around the turns, no control tokens at all.
    "plain": "{%- for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
             + "{% else %}{{ m.content }}{% endif %}{{ '\n' }}{%- endfor %}",
}
CHATS = [
    [("user", "What is the capital of France?"), ("assistant", "Paris, on the Seine.")],
    [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello! How are you?"), ("user", "Fine; and you?"),
     ("assistant", "Very well, thank you.")],
    [("user", "Zähle auf Japanisch: 一 二"), ("assistant", "三 四 五 — よ!"), ("user", "weiter"), ("assistant", "six")],
    [("user", "nothing to say"), ("assistant", "")],
    [("assistant", "I begin."), ("user", "Why?")],
]


def main():
    tokenizer = AutoTokenizer.from_pretrained("data/models/llama-chat")
    cases = []
    for name, template in TEMPLATES.items():
        for chat in CHATS:
            messages = [{"role": r, "content": c} for r, c in chat]
            out = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=True, return_dict=True,
                                                return_assistant_tokens_mask=True)
            cases.append({"name": name, "template": template, "messages": messages, "ids": out["input_ids"],
                          "mask": out["assistant_masks"]})
    with open("data/train/masks.json", "w", encoding="utf-8") as f:
        json.dump(cases, f, ensure_ascii=False, indent=1)
        f.write("\n")
    print(len(cases), "cases,", sum(sum(c["mask"]) for c in cases), "of", sum(len(c["ids"]) for c in cases), "tokens")


main()
