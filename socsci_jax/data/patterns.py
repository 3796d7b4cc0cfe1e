"""Regular expressions of a tokenizer from elsewhere: refused where they take very long on ordinary texts."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

from socsci_jax import bounds
from socsci_jax.data import pattern_process
from socsci_jax.data.gguf_tokenizer import LLAMA3_PATTERN, QWEN2_PATTERN
from socsci_jax.data.limited_process import run_limited
from socsci_jax.errors import InputError
from socsci_jax.wording import counted

# As published; they are not tried.
KNOWN = frozenset({QWEN2_PATTERN, LLAMA3_PATTERN})
# Runs of one kind of character, which send an expression that repeats a repetition astray, and words.
TRIED = (
    *(f"{character * length}!" for character in "aA1 \n-é漢" for length in (28, 400)),
    *(
        "The council of Ärö (est. 1999) costs $3.50 — or 12,345 €, they'd say.\n\n\tYes.  No!" * 10,
        "ab " * 400,
    ),
    *("a1" * 400, "x.y@z " * 200, "  \n" * 200),
)


def check_patterns(content: object, *, where: Path) -> None:
    """Tries every unknown expression of a tokenizer.json; raises InputError if one takes longer than is allowed."""
    patterns = tuple(dict.fromkeys(pattern for pattern in _patterns(content) if pattern not in KNOWN))
    if len(patterns) > bounds.PATTERNS:
        raise InputError(
            f"{where}: holds {len(patterns):,} regular expressions, at most {bounds.PATTERNS} are read."
        )
    if patterns and (slow := _slow(patterns)) is not None:
        raise InputError(
            f"{where}: the regular expression {slow[:80]!r} fails, or takes more than {bounds.PATTERN_SECONDS} s, on texts "
            f"of {counted(max(map(len, TRIED)), 'character')} or fewer; use the tokenizer as its publisher released it."
        )


def _patterns(content: object) -> Iterator[str]:
    """Each text under a key `Regex`, as the library writes patterns."""
    if isinstance(content, list):
        for part in content:
            yield from _patterns(part)
    elif isinstance(content, dict):
        for key, part in content.items():
            if key == "Regex" and isinstance(part, str):
                yield part
            else:
                yield from _patterns(part)


@functools.lru_cache(maxsize=64)
def _slow(patterns: tuple[str, ...]) -> str | None:
    """The first expression that did not come to its end, in a process of its own."""
    task = {"patterns": patterns, "texts": TRIED, "seconds": bounds.PATTERN_SECONDS}
    try:
        ended = run_limited(pattern_process, task, seconds=bounds.PATTERN_SECONDS)
        said, failed = ended.stdout, ended.returncode != 0
    except subprocess.TimeoutExpired as error:
        said, failed = error.stdout or b"0", True
    return patterns[int((said.split() or [b"0"])[-1])] if failed else None
