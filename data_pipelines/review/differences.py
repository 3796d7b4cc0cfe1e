"""Two texts compared word by word."""

from __future__ import annotations

import dataclasses
import difflib
import re
from typing import Literal

from socsci_jax.wording import counted

# Longer texts are compared paragraph by paragraph.
MOST_WORDS = 4000
_FEW_WORDS = 2
_WORDS = re.compile(r"\s+|[^\s]+")
_PARAGRAPHS = re.compile(r"[^\n]*\n*")


@dataclasses.dataclass(frozen=True)
class Run:
    """A stretch of text: of both, only of the text compared with (`removed`), only of the other (`added`), or omitted."""

    kind: Literal["same", "removed", "added", "gap"]
    text: str


def differences(reference: str, text: str) -> list[Run]:
    """The text as runs of words; joined without the removed ones they are the text."""
    pattern = _WORDS if len(reference) + len(text) < 8 * MOST_WORDS else _PARAGRAPHS
    a, b = ([part for part in pattern.findall(of) if part] for of in (reference, text))
    changes: list[list[str]] = []  # [same, removed, added] one behind the other
    for kind, a0, a1, b0, b1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        old, new = "".join(a[a0:a1]), "".join(b[b0:b1])
        if kind != "equal":
            changes.append(["", old, new])
        elif changes and len(new.split()) <= _FEW_WORDS and (a1, b1) != (len(a), len(b)):
            # A word or two that both have between changes: one change is easier to read than three.
            changes.append(["", new, new])
        else:
            changes.append([new, "", ""])
    runs: list[Run] = []
    removed = added = ""
    for same, old, new in [*changes, ["\0", "", ""]]:
        removed, added = removed + old, added + new
        if same:
            runs += [Run(kind, of) for kind, of in (("removed", removed), ("added", added)) if of]
            runs += [Run("same", same)] if same != "\0" else []
            removed = added = ""
    return runs


def shortened(runs: list[Run], *, keep: int = 160) -> list[Run]:
    """The runs with the middle of long stretches that both texts have omitted."""
    short: list[Run] = []
    for run in runs:
        if run.kind != "same" or len(run.text) <= 3 * keep:
            short.append(run)
            continue
        head = run.text[:keep].rsplit(None, 1)[0]
        tail = run.text[-keep:].split(None, 1)[-1]
        gap = f" [{counted(len(run.text) - len(head) - len(tail), 'character')} as above] "
        short += [Run("same", head), Run("gap", gap), Run("same", tail)]
    return short
