"""Two checkpoints compared: every tensor bit for bit, the tokenizer's files, the config key by key.

Either side may be a training run (its newest checkpoint, or RUN/checkpoints/STEP), a folder in the Hugging Face
format, or a GGUF file.  Names, shapes and indices are Hugging Face's on both sides.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from socsci_jax.companions import common_dtype, companions
from socsci_jax.data.tokenizers import load_tokenizer
from socsci_jax.errors import InputError
from socsci_jax.hub import is_gguf, resolve_folder
from socsci_jax.model_io import find_checkpoint
from socsci_jax.models.huggingface import (
    CHECKPOINT_FILES,
    COMPANIONS,
    locate_tensors,
    read_config_json,
    stored_tensors,
)
from socsci_jax.models.tensor_files import DTYPES
from socsci_jax.progress import progress
from socsci_jax.reading import read_json_object
from socsci_jax.storage import new_file
from socsci_jax.studies.trained_on import METADATA_FILE
from socsci_jax.training.run import RunFolder

# Values compared at a time: what is made in between stays small compared with the tensor itself.
PIECE = 1 << 22
ROWS_SHOWN = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorDifference:
    """A tensor that both sides have, but not with equal bits; pairs are (A, B).

    Of equal shapes `differing` counts the values that differ (in bits where the dtypes are equal), and `largest` is
    their largest absolute difference, of float32 and all narrower dtypes exact; it is at `index`, where the sides
    hold `values`.  NaN on one side counts as the largest of all.
    """

    name: str
    dtypes: tuple[str, str]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    differing: int | None = None
    largest: float | None = None
    index: tuple[int, ...] | None = None
    values: tuple[float, float] | None = None


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Side:
    """`read` gives one tensor; nothing is read before."""

    where: str
    names: frozenset[str]
    read: Callable[[str], np.ndarray]
    config: dict[str, str]
    files: dict[str, str]


def compare(a: str, b: str) -> Comparison:
    """Compares two checkpoints, each a run's folder, RUN/checkpoints/STEP, a Hugging Face folder or hub id, or a GGUF file.

    Memory holds two tensors at a time.  Raises InputError for a side that is no checkpoint or cannot be read.
    """
    # Next to an export a run is seen as an export of it would be; next to anything else as it began.
    exported = any((Path(name) / METADATA_FILE).is_file() for name in (a, b))
    left, right = _open(a, as_export=exported), _open(b, as_export=exported)
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


def tensor_difference(name: str, a: np.ndarray, b: np.ndarray) -> TensorDifference | None:
    """None if dtype, shape and every bit are equal."""
    found = TensorDifference(name=name, dtypes=(a.dtype.name, b.dtype.name), shapes=(a.shape, b.shape))
    if a.shape != b.shape:
        return found
    differing, largest = 0, None  # (rank, difference, place, values)
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for start in range(0, a.size, PIECE):
        x, y = flat_a[start : start + PIECE], flat_b[start : start + PIECE]
        at = np.flatnonzero(_unequal(x, y))
        if at.size == 0:
            continue
        differing += at.size
        x, y = x[at].astype(np.float64), y[at].astype(np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.abs(x - y)
        gap[np.isnan(x) & np.isnan(y)] = 0.0
        rank = np.where(np.isnan(gap), np.inf, gap)
        i = int(rank.argmax())
        if largest is None or rank[i] > largest[0]:
            largest = (rank[i], float(gap[i]), start + int(at[i]), (float(x[i]), float(y[i])))
    if largest is None:
        same = a.dtype == b.dtype
        return None if same else dataclasses.replace(found, differing=0, largest=0.0)
    _, gap, place, values = largest
    index = tuple(int(i) for i in np.unravel_index(place, a.shape))
    return dataclasses.replace(found, differing=differing, largest=gap, index=index, values=values)


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


def _unequal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where bits differ; of different dtypes where values do."""
    if x.dtype == y.dtype:
        bits = np.dtype(f"u{x.dtype.itemsize}")
        return x.view(bits) != y.view(bits)
    x, y = x.astype(np.float64), y.astype(np.float64)
    return (x != y) & ~(np.isnan(x) & np.isnan(y))


def _open(name_or_path: str, *, as_export: bool) -> _Side:
    path = Path(name_or_path).absolute()
    if RunFolder(path).is_run():
        return _open_run(RunFolder(path), step=None, as_export=as_export)
    run = RunFolder(path.parent.parent)
    if path.name.isdigit() and run.is_run() and path.parent == run.checkpoints:
        return _open_run(run, step=int(path.name), as_export=as_export)
    return _open_huggingface(name_or_path)


def _open_run(run: RunFolder, *, step: int | None, as_export: bool) -> _Side:
    if run.recipe.lora is not None:
        raise InputError(
            f"{run.path}: this run trained an adapter, which is no whole model; export it with `socsci-jax export` and "
            "compare the folders."
        )
    stored = find_checkpoint(run, step).stored
    stored.check(run.config())
    tensors = {
        name: (tensor, layer)
        for tensor in stored_tensors(run.config())
        for layer, name in enumerate(tensor.names)
    }

    def read(name: str) -> np.ndarray:
        return np.concatenate(list(stored.blocks(*tensors[name])))

    side = _Side(
        where=str(stored.folder),
        names=frozenset(tensors),
        read=read,
        config=_config(run.model_config),
        files=_hashes(run.tokenizer),
    )
    if not as_export:
        return side
    told = companions(
        config_json=run.model_config.read_bytes(),
        tokenizer=run.load_tokenizer(),
        dtype=common_dtype({t: stored.arrays[t.path].dtype for t in stored_tensors(run.config())}),
    )
    config = dict(_leaves(json.loads(told.pop("config.json"))))
    return dataclasses.replace(side, config=config, files=side.files | _hashes_of(told))


def _open_huggingface(name_or_path: str) -> _Side:
    folder = resolve_folder(name_or_path, allow_patterns=CHECKPOINT_FILES)
    problems: list[str] = []
    located = locate_tensors(folder, problems)
    if problems:
        raise InputError(f"{folder}: {'; '.join(problems)}; download the complete checkpoint again.")

    def read(name: str) -> np.ndarray:
        tensor = located[name]
        if tensor.dtype not in DTYPES:
            raise InputError(
                f"{folder}: tensor {name} of dtype {tensor.dtype} cannot be read; compare checkpoints in float32, "
                "bfloat16 or float16."
            )
        return tensor.rows()

    return _Side(
        where=str(folder),
        names=frozenset(located),
        read=read,
        config=dict(_leaves(json.loads(read_config_json(folder))))
        if is_gguf(folder)
        else _config(folder / "config.json"),
        files=_hashes_of(load_tokenizer(folder).files()) if is_gguf(folder) else _hashes(folder),
    )


def _config(path: Path) -> dict[str, str]:
    """Every value of a config.json as JSON, by its key, written with dots where blocks are nested; none if absent."""
    if not path.is_file():
        return {}
    return dict(_leaves(read_json_object(path, hint="download the file again")))


def _leaves(tree: dict[str, Any], *, within: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, within=f"{within}{key}.")
        else:
            yield f"{within}{key}", json.dumps(value, sort_keys=True)


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of what travels with the weights: the tokenizer's files, and how an answer ends."""
    return _hashes_of(
        {name: (folder / name).read_bytes() for name in COMPANIONS if (folder / name).is_file()}
    )


def _hashes_of(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


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
