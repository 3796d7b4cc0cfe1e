"""Tokenizers from a folder, a GGUF file or the Hugging Face hub."""

from __future__ import annotations

import json
from pathlib import Path

from socsci_jax.data.chat import read_chat_template
from socsci_jax.data.gguf_tokenizer import tokenizer_files
from socsci_jax.data.tokenizer_files import (
    parse_tokenizer_json,
    read_optional_json,
    read_sentencepiece,
    read_vocab_and_merges,
    special_tokens,
)
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.errors import InputError
from socsci_jax.gguf_header import read_header
from socsci_jax.hub import is_gguf, resolve_folder

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Reads a tokenizer from a folder, from a GGUF file, or from the Hugging Face hub (`org/name`).

    Kinds in a folder, the first one found: `tokenizer.json`; `vocab.json` with `merges.txt` (byte-level BPE as Qwen2 cuts it);
    `tokenizer.model` (SentencePiece). Raises InputError if there is none or if a file cannot be read.
    """
    folder = resolve_folder(folder, allow_patterns=TOKENIZER_FILES)
    if is_gguf(folder):
        return _load_gguf(folder)
    config = read_optional_json(folder / "tokenizer_config.json")
    special = special_tokens({**read_optional_json(folder / "special_tokens_map.json"), **config})
    if (folder / "tokenizer.json").is_file():
        path = folder / "tokenizer.json"
        text_model, control = parse_tokenizer_json(read_optional_json(path), where=path)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        text_model, control = read_vocab_and_merges(folder, config)
    elif (folder / "tokenizer.model").is_file():
        text_model, control = read_sentencepiece(folder, config)
    else:
        there = sorted(path.name for path in folder.iterdir())
        raise InputError(
            f"{folder}: no tokenizer here; wanted tokenizer.json, or vocab.json with merges.txt, or tokenizer.model, "
            f"found {there[:8]}; copy the tokenizer's files into the folder."
        )
    return Tokenizer(
        folder=folder,
        text_model=text_model,
        control_tokens=control,
        special=special,
        template=read_chat_template(folder, config=config, tokens=special),
        files=lambda: {p.name: p.read_bytes() for n in TOKENIZER_FILES if (p := folder / n).is_file()},
    )


def _load_gguf(path: Path) -> Tokenizer:
    files = tokenizer_files(read_header(path))
    config = json.loads(files["tokenizer_config.json"])
    text_model, control = parse_tokenizer_json(json.loads(files["tokenizer.json"]), where=path)
    special = special_tokens(config)
    return Tokenizer(
        folder=path,
        text_model=text_model,
        control_tokens=control,
        special=special,
        template=read_chat_template(path, config=config, tokens=special),
        files=lambda: files,
    )
