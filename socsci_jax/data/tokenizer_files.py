"""The files that tokenizers come in: how each is read into a model of ordinary text and its control tokens."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from socsci_jax import bounds
from socsci_jax.data.gguf_tokenizer import QWEN2_PATTERN
from socsci_jax.data.patterns import check_patterns
from socsci_jax.data.pieces import may_be_cut
from socsci_jax.errors import InputError
from socsci_jax.reading import as_object, panics_as_errors, read_json_object
from socsci_jax.wording import kind_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlToken:
    """A token outside ordinary text; `lstrip` and `rstrip` say that it takes the white space next to it along."""

    content: str
    id: int
    lstrip: bool = False
    rstrip: bool = False

    @property
    def pattern(self) -> str:
        space = r"\s*"
        return (space if self.lstrip else "") + re.escape(self.content) + (space if self.rstrip else "")


class TextModel(Protocol):
    """Encodes ordinary text only; ids of control tokens are never given nor taken."""

    @property
    def may_be_cut(self) -> bool:
        """Whether ids of the pieces that `pieces_of` makes of a text are those of the text."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: list[int]) -> str: ...
    def id_of(self, token: str) -> int | None: ...
    def has_id(self, token_id: int) -> bool: ...
    def top_id(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class _HuggingFaceModel:
    backend: Any  # tokenizers.Tokenizer without control tokens

    @functools.cached_property
    def may_be_cut(self) -> bool:
        return may_be_cut(self.backend)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            with panics_as_errors():
                encoded = self.backend.encode_batch_fast(texts, add_special_tokens=False)
        # The library raises bare Exceptions, for instance of a word without a token.
        except Exception as error:
            raise InputError(
                f"this tokenizer cannot encode ordinary texts ({str(error)[:200]}); use a tokenizer such as Qwen's or "
                "Llama 3's."
            ) from error
        return [encoding.ids for encoding in encoded]

    def decode(self, ids: list[int]) -> str:
        return self.backend.decode(ids, skip_special_tokens=False)

    def id_of(self, token: str) -> int | None:
        return self.backend.token_to_id(token)

    def has_id(self, token_id: int) -> bool:
        return self.backend.id_to_token(token_id) is not None

    def top_id(self) -> int:
        return max(self.backend.get_vocab(with_added_tokens=True).values())


@dataclasses.dataclass(frozen=True)
class _SentencePieceModel:
    processor: Any  # sentencepiece.SentencePieceProcessor
    may_be_cut: bool = False

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return self.processor.encode(texts, out_type=int)

    def decode(self, ids: list[int]) -> str:
        return self.processor.decode(ids)

    def id_of(self, token: str) -> int | None:
        token_id = self.processor.piece_to_id(token)
        return None if self.processor.is_unknown(token_id) else token_id

    def has_id(self, token_id: int) -> bool:
        return 0 <= token_id < self.processor.vocab_size()

    def top_id(self) -> int:
        return self.processor.vocab_size() - 1


def parse_tokenizer_json(content: dict[str, Any], *, where: Path) -> tuple[TextModel, list[ControlToken]]:
    import tokenizers

    check_patterns([content.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")], where=where)
    try:
        vocabulary = content["model"]["vocab"]
        ordinary = set(vocabulary if isinstance(vocabulary, dict) else (piece for piece, _ in vocabulary))
        # Added tokens that are neither special nor part of the vocabulary (`<tool_call>`) are control tokens too.
        kept = [t for t in content["added_tokens"] if not t["special"] and t["content"] in ordinary]
        control = [_control_token(t["id"], t) for t in content["added_tokens"] if t not in kept]
        # What would add tokens, cut or pad is excluded.
        text_only = content | {
            "added_tokens": kept,
            "post_processor": None,
            "truncation": None,
            "padding": None,
        }
        with panics_as_errors():
            backend = tokenizers.Tokenizer.from_str(json.dumps(text_only, ensure_ascii=False))
    except InputError:
        raise
    # The library raises bare Exceptions.
    except Exception as error:
        raise InputError(
            f"{where}: not a tokenizer of the `tokenizers` library ({repr(error)[:200]})."
        ) from error
    return _HuggingFaceModel(backend), control


def read_vocab_and_merges(folder: Path, config: Mapping) -> tuple[TextModel, list[ControlToken]]:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    kind = config.get("tokenizer_class") or "Qwen2Tokenizer"
    if kind not in ("Qwen2Tokenizer", "Qwen2TokenizerFast"):
        raise InputError(
            f"{folder}: vocab.json and merges.txt are read for tokenizer_class Qwen2Tokenizer, found {kind!r}, "
            "which cuts texts in another way; add the tokenizer.json of this model."
        )
    try:
        with panics_as_errors():
            backend = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    except Exception as error:
        raise InputError(
            f"{folder}: vocab.json and merges.txt are not those of a byte-level BPE ({error})."
        ) from error
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return _HuggingFaceModel(backend), _added_tokens(folder, config)


def read_sentencepiece(folder: Path, config: Mapping) -> tuple[TextModel, list[ControlToken]]:
    import sentencepiece

    path = folder / "tokenizer.model"
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise InputError(f"{path}: not a SentencePiece model ({error}).") from error
    control = {
        i: ControlToken(content=processor.id_to_piece(i), id=i)
        for i in range(processor.vocab_size())
        if processor.is_control(i)
    }
    added = {t.id: t for t in _added_tokens(folder, config) if t.id >= processor.vocab_size()}
    return _SentencePieceModel(processor), list((control | added).values())


def _added_tokens(folder: Path, config: Mapping) -> list[ControlToken]:
    """Control tokens of `tokenizer_config.json` and `added_tokens.json`, which must agree."""
    path = folder / "added_tokens.json"
    decoder = as_object(
        config.get("added_tokens_decoder", {}),
        where=f"{folder / 'tokenizer_config.json'}: added_tokens_decoder",
    )
    by_content = {token.content: token for token in itertools.starmap(_control_token, decoder.items())}
    for content, token_id in read_optional_json(path).items():
        known = by_content.setdefault(content, _control_token(token_id, {"content": content}))
        if known.id != token_id:
            raise InputError(
                f"{path}: token {content!r} has id {token_id} here and {known.id} in tokenizer_config.json; keep "
                "the files of one release together."
            )
    return list(by_content.values())


def _control_token(token_id: object, added: object) -> ControlToken:
    """Raises InputError for an added token that is none: its text, its number, its two switches."""
    where = f"added token {str(token_id)[:40]!r} of the tokenizer"
    added = as_object(added, where=where, hint="fetch its files again")
    content = added.get("content")
    if not isinstance(content, str) or not content:
        raise InputError(f"{where}: content is {kind_of(content)}; fetch its files again.")
    number = (
        int(token_id) if isinstance(token_id, str) and re.fullmatch(r"[0-9]{1,9}", token_id) else token_id
    )
    if type(number) is not int or not 0 <= number < bounds.VOCABULARY:
        raise InputError(f"{where}: its id is {kind_of(token_id)}; fetch its files again.")
    switches = {name: added.get(name) or False for name in ("lstrip", "rstrip")}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise InputError(f"{where}: {name} is {kind_of(value)}; fetch its files again.")
    return ControlToken(content=content, id=number, **switches)


def special_tokens(config: Mapping) -> dict[str, str]:
    """`bos_token` and the like, written as a text or as a mapping with `content`; absent ones are excluded."""
    named = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        value = config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if not isinstance(value, str | None):
            raise InputError(
                f"tokenizer_config.json: {name} is {kind_of(value)}; fetch the tokenizer's files again."
            )
        if value is not None:
            named[name] = value
    return named


def read_optional_json(path: Path) -> dict:
    """The object in a file; an empty one if there is no file."""
    if not path.is_file():
        return {}
    return read_json_object(path, hint="fetch the file again")
