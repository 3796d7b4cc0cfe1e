"""A small SentencePiece tokenizer of one's own: for the built-in demonstration and tests."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path

from socsci_jax.data.chat import CHATML_TEMPLATE
from socsci_jax.data.tokenizers import END_OF_TEXT, TURN_END, TURN_START, UNKNOWN
from socsci_jax.errors import InputError
from socsci_jax.storage import new_folder


def train_sentencepiece(texts: Iterable[str], folder: str | Path, *, vocab_size: int) -> Path:
    """Trains a small SentencePiece BPE tokenizer and writes its folder, whole or not at all; returns the folder.

    Made for the built-in demonstration and its offline tests. Each digit and each line break is a token, bytes
    stand in for unknown characters, nothing is normalized, so every text without U+2581 (SentencePiece's own sign
    for a space) comes back as it was. The same texts give the same bytes. A small corpus gives fewer tokens than
    `vocab_size`. The folder also loads with `transformers.AutoTokenizer`.
    Raises InputError for an empty corpus, a `vocab_size` too small for its characters, or a folder in use.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already and is not empty; choose another folder.")
    texts = list(texts)
    _check_corpus(texts, folder, vocab_size=vocab_size)
    model = _train(texts, vocab_size=vocab_size)
    with new_folder(folder) as partial:
        (partial / "tokenizer.model").write_bytes(model)
        config = json.dumps(_CONFIG, indent=2) + "\n"
        (partial / "tokenizer_config.json").write_text(config, encoding="utf-8")
    return folder


def _check_corpus(texts: list[str], folder: Path, *, vocab_size: int) -> None:
    characters = set().union(*texts) - {"\n"} | set("0123456789 ")
    if len(characters) == 11:
        raise InputError(f"{folder}: no tokenizer can be trained on texts without letters; give texts.")
    smallest = len(characters) + 256 + 5  # bytes, then the five tokens named in `_train`
    if vocab_size < smallest:
        raise InputError(
            f"{folder}: vocab_size {vocab_size} is too small for texts of {len(characters)} different characters; "
            f"give {smallest} or more."
        )


def _train(texts: list[str], *, vocab_size: int) -> bytes:
    """The content of `tokenizer.model`."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=1.0,
        required_chars="0123456789",
        split_digits=True,
        # Text is kept as it is, so that parts encoded apart can be put together.
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        # Control symbols are never found in text, user-defined ones always are.
        control_symbols=[TURN_START, TURN_END],
        user_defined_symbols=["\n"],
        pad_id=0,
        pad_piece=END_OF_TEXT,
        unk_id=1,
        unk_piece=UNKNOWN,
        bos_id=-1,
        eos_id=-1,
        # The default excludes texts above 4 kB without an error.
        max_sentence_length=2**30,
        # Merges are counted in the order of threads otherwise.
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


# The ids are those that training gives to the tokens which it is told of.
_CONTROL = {0: END_OF_TEXT, 1: UNKNOWN, 2: TURN_START, 3: TURN_END}
_CONFIG = {
    # The class under which `transformers` reads a SentencePiece file.
    "tokenizer_class": "LlamaTokenizer",
    "legacy": False,
    "add_prefix_space": False,
    "add_bos_token": False,
    "add_eos_token": False,
    "clean_up_tokenization_spaces": False,
    "bos_token": None,
    "eos_token": TURN_END,
    "pad_token": END_OF_TEXT,
    "unk_token": UNKNOWN,
    "added_tokens_decoder": {
        str(i): {"content": content, "special": True} for i, content in _CONTROL.items()
    },
    "chat_template": CHATML_TEMPLATE,
}
