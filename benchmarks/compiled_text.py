"""What a compiled program holds, read from its text: collectives, conditionals and ways to the host, inside loops and out."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Callable

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
# Ways to the host: callbacks, feeds, sends; and copies into the host's memory.
HOST = ("infeed", "outfeed", "send", "recv")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8}
# `%name = f32[8,64]{1,0} all-gather(...)`; the result may be a tuple.
_LINE = re.compile(r"^\s*(?:ROOT )?%?[\w.-]+ = (?P<result>\(.*?\)|\S+) (?P<operation>[\w-]+)\(")
_CALLED = re.compile(r"(?:to_apply|body|condition|calls|true_computation|false_computation)=%?([\w.-]+)")
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation: its kind, the elements and bytes of its result, in how many loops it stands, how often it runs.

    Loops whose number of turns the compiler does not know count once.
    """

    kind: str
    sizes: tuple[int, ...]
    bytes: int
    loops: int
    runs: int


def operations(text: str) -> list[Operation]:
    """Every collective, conditional and way to the host of a compiled program (`compiled.as_text()`)."""
    lines = _computations(text)
    place_of = _places(text, lines)
    found = []
    for name, body in lines.items():
        for line in body:
            match = _LINE.match(line)
            if match is None:
                continue
            kind = match["operation"].removesuffix("-start")
            if kind == "custom-call" and "callback" in line:
                kind = "callback"
            if kind in ("copy", "copy-done") and "S(5)" in match["result"]:  # host memory
                kind = "host-copy"
            if kind in (*COLLECTIVES, *HOST, "conditional", "callback", "host-copy"):
                arrays = [
                    (_BYTES.get(dtype, 0), math.prod(map(int, filter(None, shape.split(",")))))
                    for dtype, shape in _ARRAY.findall(match["result"])
                ]
                sizes, in_bytes = tuple(n for _, n in arrays), sum(b * n for b, n in arrays)
                found.append(Operation(kind, sizes, in_bytes, *place_of(name)))
    return found


def _computations(text: str) -> dict[str, list[str]]:
    """Name of every computation -> its lines."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            name = line.removeprefix("ENTRY ").split()[0].lstrip("%").split("(")[0]
            current = found.setdefault(name, [])
        elif line.startswith("}"):
            current = None
        elif current is not None:
            current.append(line)
    return found


def _places(text: str, lines: dict[str, list[str]]) -> Callable[[str], tuple[int, int]]:
    """Computation -> in how many loops it stands, at most, and how often it runs."""
    callers: dict[str, list[tuple[str, int | None]]] = collections.defaultdict(list)
    for name, body in lines.items():
        for line in body:
            called = _CALLED.findall(line)
            for branches in _BRANCHES.findall(line):
                called += [branch.strip().lstrip("%") for branch in branches.split(",")]
            turns = _TURNS.search(line)
            times = (int(turns[1]) if turns else 1) if " while(" in line else None
            for other in called:
                callers[other].append((name, times))
    entry = re.search(r"^ENTRY %?([\w.-]+)", text, re.MULTILINE)[1]

    @functools.cache
    def place(name: str) -> tuple[int, int]:
        if name == entry:
            return 0, 1
        loops, runs = 0, 0
        for caller, times in callers[name]:
            outer, often = place(caller)
            loops = max(loops, outer + (times is not None))
            runs += often * (times or 1)
        return loops, runs

    return place
