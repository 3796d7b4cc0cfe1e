"""The tokenizer of a GGUF file, as the two files that the Hugging Face format keeps it in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.gguf_header import GgufHeader

# How Qwen2, 2.5 and 3 cut a text before merging bytes; every digit is a token of its own.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Llama 3's: the same with up to three digits together.
LLAMA3_PATTERN = QWEN2_PATTERN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cut:
    """How texts are cut before bytes are merged, in the words of the `tokenizers` library."""

    pre_tokenizers: tuple[dict[str, Any], ...]
    normalizer: str | None = None
    # Llama 3 takes a whole word that is a token, whatever the merges say.
    ignore_merges: bool = False
    # The class by which `transformers` reads it.
    tokenizer_class: str = "PreTrainedTokenizerFast"


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _bytes(*, use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


# By the name that llama.cpp gives a model's way to cut (`tokenizer.ggml.pre`); each as its publisher's tokenizer.json.
_CUTS = {
    "qwen2": _Cut(
        pre_tokenizers=(_split(QWEN2_PATTERN), _bytes(use_regex=False)),
        normalizer="NFC",
        tokenizer_class="Qwen2Tokenizer",
    ),
    "llama-bpe": _Cut(pre_tokenizers=(_split(LLAMA3_PATTERN), _bytes(use_regex=False)), ignore_merges=True),
    "smollm": _Cut(pre_tokenizers=({"type": "Digits", "individual_digits": True}, _bytes(use_regex=True))),
    "gpt-2": _Cut(pre_tokenizers=(_bytes(use_regex=True),)),
}
# llama.cpp's kinds of tokens: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
_NORMAL, _UNKNOWN, _CONTROL, _ADDED, _UNUSED = 1, 2, 3, 4, 5
_SPECIAL = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "pad_token": "padding_token_id",
    "unk_token": "unknown_token_id",
}


def tokenizer_files(header: GgufHeader) -> dict[str, bytes]:
    """Contents of tokenizer.json and tokenizer_config.json.

    Raises InputError for a tokenizer that is not a byte-level BPE, or that cuts texts in a way that is not known.
    """
    metadata, where = header.metadata, header.path
    kind, cut = metadata.get("tokenizer.ggml.model"), _CUTS.get(metadata.get("tokenizer.ggml.pre"))
    if kind != "gpt2" or cut is None:
        described = f"{kind!r}" if kind != "gpt2" else f"'gpt2' cut as {metadata.get('tokenizer.ggml.pre')!r}"
        raise InputError(
            f"{where}: the tokenizer is {described}, but only byte-level BPE ('gpt2') cut as {', '.join(_CUTS)} is read "
            "from GGUF; name a folder with this model's tokenizer in the Hugging Face format (model.tokenizer=FOLDER)."
        )
    tokens, types = _tokens(header)
    merges = [merge.split(" ") for merge in metadata.get("tokenizer.ggml.merges", ())]
    if not all(len(merge) == 2 for merge in merges):
        raise InputError(f"{where}: tokenizer.ggml.merges are not pairs of tokens; download the file again.")
    outside = {i: token for i, token in enumerate(tokens) if types[i] in (_UNKNOWN, _CONTROL, _ADDED)}
    vocabulary = {token: i for i, token in enumerate(tokens) if types[i] == _NORMAL}
    if len(vocabulary) + len(outside) + int(np.count_nonzero(types == _UNUSED)) != len(tokens):
        raise InputError(
            f"{where}: its tokenizer holds a token twice, or one of an unknown kind; take another file."
        )
    special = {
        name: tokens[int(metadata[f"tokenizer.ggml.{key}"])]
        for name, key in _SPECIAL.items()
        if 0 <= int(metadata.get(f"tokenizer.ggml.{key}", -1)) < len(tokens)
    }
    template = metadata.get("tokenizer.chat_template")
    if template is None and metadata.get("tokenizer.ggml.add_bos_token") is False:
        special.pop("bos_token", None)  # named, but never written before a text
    whole = _tokenizer_json(vocabulary, merges, cut, added=_added(outside, types))
    config = {
        "tokenizer_class": cut.tokenizer_class,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        **special,
        **({} if template is None else {"chat_template": template}),
    }
    return {
        "tokenizer.json": json.dumps(whole, ensure_ascii=False).encode(),
        "tokenizer_config.json": (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
    }


def _tokens(header: GgufHeader) -> tuple[list[str], np.ndarray]:
    """The text and the kind of each token, by id."""
    tokens, types = (header.metadata.get(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
    if not isinstance(tokens, list) or not isinstance(types, np.ndarray) or len(tokens) != len(types):
        raise InputError(
            f"{header.path}: tokenizer.ggml.tokens and tokenizer.ggml.token_type are absent or of different lengths, "
            "so nothing says which tokens end a turn; convert the model again with a current llama.cpp."
        )
    return tokens, types


def _added(outside: Mapping[int, str], types: np.ndarray) -> list[dict[str, Any]]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": i, "content": content, **flags, "special": bool(types[i] != _ADDED)}
        for i, content in outside.items()
    ]


def _tokenizer_json(
    vocabulary: Mapping[str, int], merges: list[list[str]], cut: _Cut, *, added: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None if cut.normalizer is None else {"type": cut.normalizer},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(cut.pre_tokenizers)},
        "post_processor": None,
        "decoder": _bytes(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": cut.ignore_merges,
            "vocab": vocabulary,
            "merges": merges,
        },
    }
