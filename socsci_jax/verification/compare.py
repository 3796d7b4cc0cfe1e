"""Two checkpoints compared: every tensor bit for bit, the tokenizer's files, the config key by key.

Either side may be a training run (its newest checkpoint, or RUN/checkpoints/STEP), a folder in the Hugging Face
format, or a GGUF file.  Names, shapes and indices are Hugging Face's on both sides.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from socsci_jax.progress import progress
from socsci_jax.storage import new_file
from socsci_jax.studies.trained_on import METADATA_FILE
from socsci_jax.verification.sides import open_side
from socsci_jax.verification.tensors import TensorDifference, tensor_difference

ROWS_SHOWN = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was found; `only` holds the tensors that one side alone has, (A, B).

    `files` and `config` hold what differs: name -> (A, B), as content hashes and as JSON, None where absent.
    """

    sides: tuple[str, str]
    equal: tuple[str, ...]
    different: tuple[TensorDifference, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    files: dict[str, tuple[str | None, str | None]]
    config: dict[str, tuple[str | None, str | None]]

    @property
    def all_equal(self) -> bool:
        return not (self.different or any(self.only) or self.files or self.config)

    def write(self, path: Path) -> None:
        """All of it as JSON; numbers that JSON does not know (NaN, infinity) as texts."""
        tree = {"all_equal": self.all_equal, **dataclasses.asdict(self)}
        with new_file(path) as partial:
            partial.write_text(json.dumps(_finite(tree), indent=2, ensure_ascii=False) + "\n")


def compare(a: str, b: str) -> Comparison:
    """Compares two checkpoints, each a run's folder, RUN/checkpoints/STEP, a Hugging Face folder or hub id, or a GGUF file.

    Memory holds two tensors at a time.  Raises InputError for a side that is no checkpoint or cannot be read.
    """
    # Next to an export a run is seen as an export of it would be; next to anything else as it began.
    exported = any((Path(name) / METADATA_FILE).is_file() for name in (a, b))
    left, right = open_side(a, as_export=exported), open_side(b, as_export=exported)
    shared = sorted(left.names & right.names, key=_parameter_first)
    equal, different = [], []
    with progress("verify", total=len(shared)) as report:
        for done, name in enumerate(shared, start=1):
            difference = tensor_difference(name, left.read(name), right.read(name))
            if difference is None:
                equal.append(name)
            else:
                different.append(difference)
            report.update(done)
    return Comparison(
        sides=(left.where, right.where),
        equal=tuple(equal),
        different=tuple(different),
        only=(_sorted(left.names - right.names), _sorted(right.names - left.names)),
        files=_differing(left.files, right.files),
        config=_differing(left.config, right.config),
    )


def difference_table(comparison: Comparison) -> Table:
    """The tensors that differ most, at most ROWS_SHOWN, for a terminal; those of different shapes come first."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("tensor", no_wrap=True)
    table.add_column("held as (A, then B)", no_wrap=True)
    table.add_column("values", justify="right", no_wrap=True)
    table.add_column("by at most", justify="right", no_wrap=True)
    table.add_column("at", no_wrap=True)
    table.add_column("A there", no_wrap=True)
    table.add_column("B there", no_wrap=True)
    ranked = sorted(comparison.different, key=_how_different, reverse=True)
    for tensor in ranked[:ROWS_SHOWN]:
        held = [f"{dtype} {list(shape)}" for dtype, shape in zip(tensor.dtypes, tensor.shapes, strict=True)]
        table.add_row(
            tensor.name,
            "\n".join(dict.fromkeys(held)),
            "" if tensor.differing is None else f"{tensor.differing:,} of {math.prod(tensor.shapes[0]):,}",
            "" if tensor.largest is None else f"{tensor.largest:.6g}",
            "" if tensor.index is None else str(list(tensor.index)),
            *(f"{value:.9g}" for value in tensor.values or ()),
        )
    return table


def _how_different(tensor: TensorDifference) -> float:
    return math.inf if tensor.largest is None or math.isnan(tensor.largest) else tensor.largest


def _differing(a: dict[str, str], b: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    return {key: (a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)}


def _parameter_first(name: str) -> tuple[str, list[int]]:
    """Sorts all layers of one parameter together."""
    number = r"(?<=\.)\d+(?=\.)"
    return re.sub(number, "", name), [int(layer) for layer in re.findall(number, name)]


def _sorted(names: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=_parameter_first))


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [_finite(value) for value in tree]
    return str(tree) if isinstance(tree, float) and not math.isfinite(tree) else tree
