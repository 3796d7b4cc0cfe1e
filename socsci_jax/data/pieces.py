"""Texts cut where no token reaches across, so that what many texts say is encoded once: a sentence, a persona's line.

Qwen's and Llama 3's tokenizers cut a text by one pattern, read from left to right without looking back, and no token
reaches across such a cut.  Two places are cuts whatever else stands there, and each side is then cut as if it stood alone:
- a space after one of `.!?`: in the pattern a space only begins a token, or follows white space;
- after a line break, if a visible ASCII character follows: what holds a line break ends with the last one of several.
Unicode's normalization changes nothing across either: no character that could join the one before comes second.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from socsci_jax.data.gguf_tokenizer import LLAMA3_PATTERN, QWEN2_PATTERN

# Of some hundred bytes each.
MOST_PIECES = 1 << 18

_PIECE = re.compile(
    r"[^\n.!?]*"
    r"(?:(?:[.!?]+(?! )|\n+(?![!-~]))[^\n.!?]*)*"  # over what is no cut
    r"(?:[.!?]+|\n+|\Z)"
)


def pieces_of(text: str) -> list[str]:
    """The pieces of a text, in their order; together they are the text."""
    return _PIECE.findall(text)


def may_be_cut(backend: Any) -> bool:
    """Whether a tokenizer of the `tokenizers` library, which knows ordinary text only, cuts texts as said above."""
    if backend.normalizer is not None and _settings(backend.normalizer) != {"type": "NFC"}:
        return False
    patterns = [
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }
        for pattern in (QWEN2_PATTERN, LLAMA3_PATTERN)
    ]
    if backend.pre_tokenizer is None or _settings(backend.pre_tokenizer) not in patterns:
        return False
    # Added tokens are found before a text is cut; dropout encodes the same piece in several ways.
    return not backend.get_added_tokens_decoder() and not backend.model.dropout


def _settings(part: Any) -> Any:
    """What a part of a tokenizer is made of; `trim_offsets` says nothing about ids."""

    def relevant(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {name: relevant(value) for name, value in tree.items() if name != "trim_offsets"}
        return [relevant(value) for value in tree] if isinstance(tree, list) else tree

    return relevant(json.loads(part.__getstate__()))


class PieceEncoder:
    """Ids of texts, of which each piece is encoded once; `encode_batch` gives the ids of any texts."""

    def __init__(self, encode_batch: Callable[[Sequence[str]], list[list[int]]]):
        self._encode_batch = encode_batch
        self._ids: dict[str, bytes] = {}

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int32 ids of each text."""
        cut = [pieces_of(text) for text in texts]
        if len(self._ids) > MOST_PIECES:
            self._ids.clear()
        known = self._ids
        new = [piece for piece in set(itertools.chain.from_iterable(cut)) if piece not in known]
        for piece, ids in zip(new, self._encode_batch(new), strict=True):
            known[piece] = np.array(ids, np.int32).tobytes()
        return [np.frombuffer(b"".join([known[piece] for piece in pieces]), np.int32) for pieces in cut]
