"""What a sharded training step passes between devices, and whether it waits for the host, read from the compiled program.

python -m benchmarks.collectives                    # of the code here
python -m benchmarks.collectives --before FOLDER    # also of another checkout, in the columns before

The step (`sharded_step.py`) is compiled from shapes alone for eight simulated devices, without the passes that only
processors need; none of it is run.  For each mesh: how many operations of a kind the program holds inside loops and
outside, and how often they run in a step, with the gigabytes of their results (of a conditional, of what it gives).
Attention is computed over whole rows, as accelerators without the kernel do; a checkout from before there was that way
computes it as it did.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.checkouts import python_in
from benchmarks.compiled_text import COLLECTIVES, HOST, Operation, operations
from benchmarks.options import options_of
from benchmarks.sharded_step import ARCHITECTURE, DEVICES, MESHES, READS, TOKENS, VOCABULARY
from benchmarks.table import ROOT, save
from socsci_jax.feasibility.memory import LIKE_AN_ACCELERATOR
from socsci_jax.models.attention_choice import CHOICE
from socsci_jax.training.run import software_versions

HOST_KINDS = (*HOST, "callback", "host-copy")


@dataclasses.dataclass(frozen=True)
class Count:
    """Operations of one kind: how many inside loops and outside, how many runs in a step, bytes of their results."""

    kind: str
    inside: int
    outside: int
    runs: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.inside} + {self.outside}; {self.runs:,}, {self.bytes / 1e9:.2f} GB"


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--before", type=Path, help="another checkout")
    options.add_argument("--meshes", nargs="+", default=list(MESHES), choices=list(MESHES))
    a = options.parse_args()
    sides = {"now": ROOT.parent} | ({"before": a.before} if a.before else {})
    found = {
        mesh: {
            side: counts(operations(compiled(mesh, code, old=side == "before")))
            for side, code in sides.items()
        }
        for mesh in a.meshes
    }
    Console(width=120).print(table(found, sorted(sides)))
    save(
        "collectives",
        {
            "step": {
                "devices": DEVICES,
                **ARCHITECTURE,
                "vocabulary": VOCABULARY,
                "tokens": TOKENS,
                "reads": READS,
            },
            "versions": software_versions(),
            "meshes": {
                mesh: {
                    side: [dataclasses.asdict(count) for count in of_kinds]
                    for side, of_kinds in of_sides.items()
                }
                for mesh, of_sides in found.items()
            },
        },
    )


def compiled(mesh: str, code: Path, *, old: bool) -> str:
    """The compiled step of the checkout `code`, as text."""
    script = (ROOT / "sharded_step.py", mesh, json.dumps(LIKE_AN_ACCELERATOR))
    return python_in(code, *script, XLA_FLAGS="", **({} if old else {CHOICE: "rows"}))


def counts(found: list[Operation]) -> list[Count]:
    """One for each kind of collective, one of conditionals, one of ways to the host."""
    return [
        *(_count(kind, (o for o in found if o.kind == kind)) for kind in (*COLLECTIVES, "conditional")),
        _count("to the host", (o for o in found if o.kind in HOST_KINDS)),
    ]


def _count(kind: str, found: Iterable[Operation]) -> Count:
    found = list(found)
    inside = sum(o.loops > 0 for o in found)
    return Count(
        kind, inside, len(found) - inside, sum(o.runs for o in found), sum(o.runs * o.bytes for o in found)
    )


def table(found: dict[str, dict[str, list[Count]]], sides: list[str]) -> Table:
    """A row for each mesh and kind that either side has; of ways to the host always."""
    shown = Table("mesh", "kind", *sides, title="inside loops + outside; runs in a step, bytes")
    for mesh, of_sides in found.items():
        for of_kind in zip(*(of_sides[side] for side in sides), strict=True):
            if any(count.runs for count in of_kind) or of_kind[0].kind == "to the host":
                shown.add_row(_name(mesh), of_kind[0].kind, *map(str, of_kind))
    return shown


def _name(mesh: str) -> str:
    return " × ".join(f"{axis} {size}" for axis, size in MESHES[mesh].items())


if __name__ == "__main__":
    main()
