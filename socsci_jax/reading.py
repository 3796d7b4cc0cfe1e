"""Readers of texts that may come from elsewhere: files, JSON and JSON lines; `yaml_reading.py` is that of YAML.

Each of them returns what the file says, or raises one InputError: a file that is absent, too large, not UTF-8, nested
too deep, or that gives a key twice.  `hint` ends that sentence with what to do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.wording import counted, kind_of, shortened, with_hint

_BOM = b"\xef\xbb\xbf"
# Half of a character beyond 16 bits, which no file in UTF-8 can hold.
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
# Whole numbers that no float can hold have 309 digits or more.
_HUGE = re.compile(r"\d{309}")


def read_bytes(path: Path, *, limit: int = bounds.TEXT_BYTES, hint: str = "") -> bytes:
    """The content of a regular file of at most `limit` bytes; of a larger one no more than that is read."""
    try:
        if not path.is_file():
            problem = "is no file" if path.exists() else "file not found"
            raise InputError(with_hint(f"{path}: {problem}", hint))
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(with_hint(f"{str(path)!r}: cannot be read ({reason})", hint)) from error
    if len(content) > limit:
        raise InputError(
            with_hint(f"{path}: larger than {limit:,} bytes, the most that is read of such a file", hint)
        )
    return content


def read_text(path: Path, *, limit: int = bounds.TEXT_BYTES, hint: str = "") -> str:
    """The text of a file in UTF-8, with or without a byte-order mark."""
    return decode(read_bytes(path, limit=limit, hint=hint), where=str(path), hint=hint)


def decode(content: bytes, *, where: str, hint: str = "") -> str:
    try:
        return content.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            with_hint(f"{where}: not UTF-8 (byte {error.start:,} is {content[error.start]:#04x})", hint)
        ) from None


def read_json(path: Path, *, limit: int = bounds.JSON_BYTES, hint: str = "") -> object:
    return parse_json(read_bytes(path, limit=limit, hint=hint), where=str(path), hint=hint)


def read_json_object(path: Path, *, limit: int = bounds.JSON_BYTES, hint: str = "") -> dict:
    return as_object(read_json(path, limit=limit, hint=hint), where=str(path), hint=hint)


def parse_json_object(content: bytes | str, *, where: str, hint: str = "", finite: bool = True) -> dict:
    return as_object(parse_json(content, where=where, hint=hint, finite=finite), where=where, hint=hint)


def as_object(value: object, *, where: str, hint: str = "") -> dict:
    if not isinstance(value, dict):
        raise InputError(with_hint(f"{where}: a JSON object was expected, found {kind_of(value)}", hint))
    return value


def parse_json(
    content: bytes | str, *, where: str, hint: str = "", depth: int = bounds.JSON_DEPTH, finite: bool = True
) -> object:
    """What a JSON text says.

    Refused are also keys given twice, nesting beyond `depth`, halves of characters, whole numbers that no float can hold
    and, if `finite`, other numbers that are not finite.
    """
    try:
        text = decode(content, where=where, hint=hint) if isinstance(content, bytes) else content
        value = json.loads(
            text,
            object_pairs_hook=_without_repetition,
            **({"parse_int": _of_bounded_size} if _HUGE.search(text) else {}),
            **({"parse_constant": _finite, "parse_float": _finite} if finite else {}),
        )
        if _HALF_CHARACTER.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InputError(with_hint(f"{where}: nested deeper than {counted(depth, 'level')}", hint)) from None
    except InputError:
        raise
    except ValueError as error:  # also numbers of thousands of digits, and halves of characters
        raise InputError(with_hint(f"{where}: not valid JSON ({shortened(error)})", hint)) from None
    if _depth(value, depth) > depth:
        raise InputError(with_hint(f"{where}: nested deeper than {counted(depth, 'level')}", hint))
    return value


def _without_repetition(pairs: list[tuple[str, object]]) -> dict:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"key {twice[:80]!r} is given twice")
    return mapping


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:40]} is not a finite number")
    return value


def _of_bounded_size(number: str) -> int:
    _finite(number)
    return int(number)


def _depth(value: object, limit: int) -> int:
    """How deep it is nested; what lies beyond `limit` is not looked at."""
    level, depth = [value], 0
    while level and depth <= limit:
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        depth += 1
    return depth


@dataclasses.dataclass(frozen=True)
class JsonLine:
    """One line of a file of JSON lines: what it says, or why it could not be read (`problem`)."""

    number: int
    value: object = None
    problem: str | None = None


def json_lines(
    path: Path, *, longest: int = bounds.JSON_LINE_BYTES, finite: bool = True, hint: str = ""
) -> Iterator[JsonLine]:
    """The lines of a file, numbered from 1, blank ones skipped; a damaged line costs no other one."""
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise InputError(with_hint(f"{path}: cannot be read ({error})", hint)) from error
    with file:
        number = 0
        while line := file.readline(longest):
            number += 1
            if number == 1:
                line = line.removeprefix(_BOM)
            if len(line) == longest and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = file.readline(longest)
                yield JsonLine(number, problem=f"longer than {longest:,} bytes")
            elif line.strip():
                try:
                    yield JsonLine(number, parse_json(line, where="line", finite=finite))
                except InputError as error:
                    yield JsonLine(number, problem=str(error).removeprefix("line: ").removesuffix("."))


def check_kinds(
    mapping: Mapping[str, object],
    kinds: Mapping[str, type],
    *,
    where: str,
    hint: str = "",
    optional: bool = False,
) -> None:
    """Raises InputError where a key is of another kind than the one named, or, unless `optional`, absent or null."""
    for key, kind in kinds.items():
        value = mapping.get(key)
        if not (isinstance(value, kind) or (optional and value is None)) or (kind is int and value is True):
            raise InputError(with_hint(f"{where}: {key} is {kind_of(value)}", hint))


@contextlib.contextmanager
def panics_as_errors() -> Iterator[None]:
    """A panic of a library written in Rust becomes a ValueError; it would pass every `except Exception`."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(shortened(error)) from None
