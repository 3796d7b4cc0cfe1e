"""Regular expressions of a tokenizer from elsewhere: refused where they take very long on ordinary texts."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

from socsci_jax import bounds
from socsci_jax.data import pattern_process
from socsci_jax.data.gguf_tokenizer import LLAMA3_PATTERN, QWEN2_PATTERN
from socsci_jax.data.limited_process import last_words, run_limited
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
    if patterns and (failed := _first_that_fails(patterns)) is not None:
        pattern, why = failed
        raise InputError(
            f"{where}: the regular expression {pattern[:80]!r} {why} on texts of {counted(max(map(len, TRIED)), 'character')} "
            "or fewer; use the tokenizer as its publisher released it."
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
def _first_that_fails(patterns: tuple[str, ...]) -> tuple[str, str] | None:
    """The first expression that does not come to its end in a process of its own, and why.

    Raises RuntimeError where the process fails before it has tried any: that says nothing of the expressions.
    """
    task = {"patterns": patterns, "texts": TRIED, "seconds": bounds.PATTERN_SECONDS}
    try:
        ended = run_limited(pattern_process, task, seconds=bounds.PATTERN_SECONDS)
    except subprocess.TimeoutExpired as error:
        return patterns[
            int((error.stdout or b"0").split()[-1])
        ], f"takes more than {bounds.PATTERN_SECONDS} s"
    if not ended.returncode:
        return None
    why = f"fails ({last_words(ended)})"
    if not ended.stdout:
        raise RuntimeError(f"{pattern_process.__file__} {why}")
    return patterns[int(ended.stdout.split()[-1])], why
