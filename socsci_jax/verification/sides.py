"""One side of a comparison: the tensors, the config and the tokenizer of a run, a Hugging Face folder or a GGUF file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from socsci_jax.companions import common_dtype, companions
from socsci_jax.data.tokenizer_loading import load_tokenizer
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
from socsci_jax.reading import read_json_object
from socsci_jax.training.run import RunFolder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """`read` gives one tensor; nothing is read before."""

    where: str
    names: frozenset[str]
    read: Callable[[str], np.ndarray]
    config: dict[str, str]
    files: dict[str, str]


def open_side(name_or_path: str, *, as_export: bool) -> Side:
    path = Path(name_or_path).absolute()
    if RunFolder(path).is_run():
        return _open_run(RunFolder(path), step=None, as_export=as_export)
    run = RunFolder(path.parent.parent)
    if path.name.isdigit() and run.is_run() and path.parent == run.checkpoints:
        return _open_run(run, step=int(path.name), as_export=as_export)
    return _open_huggingface(name_or_path)


def _open_run(run: RunFolder, *, step: int | None, as_export: bool) -> Side:
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

    side = Side(
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


def _open_huggingface(name_or_path: str) -> Side:
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

    return Side(
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
