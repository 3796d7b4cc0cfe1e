"""What a compiled program holds, read from its text: collectives, conditionals and ways to the host, inside loops and out."""

from __future__ import annotations

import collections
import dataclasses
import math
import re

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
# Ways to the host: callbacks, feeds, sends; and copies into the host's memory.
HOST = ("infeed", "outfeed", "send", "recv")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8}
# `%name = f32[8,64]{1,0} all-gather(...)`; the result may be a tuple.
_LINE = re.compile(r"^\s*(?:ROOT )?%?[\w.-]+ = (?P<result>\(.*?\)|\S+) (?P<operation>[\w-]+)\(")
_CALLED = re.compile(r"(?:to_apply|body|condition|calls|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation: its kind, the elements and bytes of its result, and in how many loops it stands."""

    kind: str
    sizes: tuple[int, ...]
    bytes: int
    loops: int


def operations(text: str) -> list[Operation]:
    """Every collective, conditional and way to the host of a compiled program (`compiled.as_text()`)."""
    lines = _computations(text)
    depth = _depths(text, lines)
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
                found.append(
                    Operation(
                        kind, tuple(n for _, n in arrays), sum(b * n for b, n in arrays), depth.get(name, 0)
                    )
                )
    return found


def counts(text: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(kind, "inside" or "outside" of loops) -> how many there are, and bytes of their results."""
    totals: dict[tuple[str, str], list[int]] = collections.defaultdict(lambda: [0, 0])
    for operation in operations(text):
        total = totals[operation.kind, "inside" if operation.loops else "outside"]
        total[0] += 1
        total[1] += operation.bytes
    return {key: tuple(total) for key, total in sorted(totals.items())}


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


def _depths(text: str, lines: dict[str, list[str]]) -> dict[str, int]:
    """In how many loops each computation stands, at most."""
    calls: dict[str, list[tuple[str, int]]] = {}
    for name, body in lines.items():
        for line in body:
            loop = int(" while(" in line)
            called = _CALLED.findall(line)
            for branches in _BRANCHES.findall(line):
                called += [branch.strip().lstrip("%") for branch in branches.split(",")]
            calls.setdefault(name, []).extend((other, loop) for other in called)
    entry = re.search(r"^ENTRY %?([\w.-]+)", text, re.MULTILINE)[1]
    depth = {entry: 0}
    todo = [entry]
    while todo:
        name = todo.pop()
        for other, loop in calls.get(name, ()):
            if depth.get(other, -1) < depth[name] + loop:
                depth[other] = depth[name] + loop
                todo.append(other)
    return depth
