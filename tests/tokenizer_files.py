"""Small tokenizers in the files that models come with, and texts that are hard to cut."""

import json
from pathlib import Path

CORPUS = [
    "You read that a town of 48,500 people will open 3 new libraries.\nHow likely are you to visit one?\n",
    "Answer with a whole number from 0 (not at all) to 100 (very likely).\n\n- Age: 61\n- Ethnicity: White\n",
    "To what extent do you agree? Please answer from 1 to 7 – “strongly” or not – and don't skip it.\n",
] * 4

# The structure of Llama 3's conversations: header, blank line, trimmed text, end of turn.
LLAMA3_TEMPLATE = """\
{{- bos_token -}}
{%- set day = strftime_now("%d %b %Y") -%}
{%- for message in messages -%}
{{- "<|start_header_id|>" + message.role + "<|end_header_id|>\n\n" -}}
{%- if message.role == "system" %}{{ "Today Date: " + day + "\n\n" }}{% endif -%}
{{- message.content | trim + "<|eot_id|>" -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ "<|start_header_id|>assistant<|end_header_id|>\n\n" }}{% endif -%}
"""

ODD_TEXTS = [
    "",
    " ",
    "\n",
    "0 1 7 10 100 2024 -5 3.5 60000000 ½ ٣ Ⅷ",
    "   three spaces,\ttabs\t\tand trailing   ",
    "a\n\n\nb \n c\r\nd\n",
    "don't WE'LL they've I'm",
    "“quotes” – dashes… naïve café e\u0301 日本語 😀👩‍👩‍👧",
    "zero\u200bwidth \u00a0 no-break \ufeff mark",
]


def write_config(folder: Path, **changes) -> Path:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(config | changes))
    return folder


def llama_tokenizer(folder: Path) -> Path:
    """A small byte-level BPE with Llama 3's way of cutting texts and its control tokens."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        processors,
        trainers,
    )

    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        ),
    )
    control = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in control])
    bos_id = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", bos_id)]
    )
    # Published files sometimes carry these from their training; prompts must not be cut by them.
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=8)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return write_config(
        folder,
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token={"__type": "AddedToken", "content": "<|begin_of_text|>"},
        eos_token="<|end_of_text|>",
        chat_template=LLAMA3_TEMPLATE,
    )


def small_vocab_and_merges(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    folder.mkdir(exist_ok=True)
    tokenizer.model.save(str(folder))
    (folder / "added_tokens.json").write_text(json.dumps({"<|im_end|>": 400, "<|im_start|>": 401}))
    return write_config(
        folder,
        tokenizer_class="Qwen2Tokenizer",
        eos_token="<|im_end|>",
        added_tokens_decoder={"400": {"content": "<|im_end|>"}},
    )
