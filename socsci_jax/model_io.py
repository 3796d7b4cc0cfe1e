"""Opening a trained model, from a run's folder or in the Hugging Face format, for simulation and export."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from socsci_jax.compilation import set_up_compiler
from socsci_jax.data.tokenizers import TOKENIZER_FILES, load_tokenizer
from socsci_jax.errors import InputError
from socsci_jax.hub import is_gguf, resolve_folder
from socsci_jax.models.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    base_of_adapter,
    export_adapter,
    join,
    load_adapter,
    merge_adapter,
    read_adapter_config,
)
from socsci_jax.models.config import DecoderConfig, parse_config
from socsci_jax.models.huggingface import (
    CHECKPOINT_FILES,
    StoredTensor,
    TensorSource,
    load_checkpoint,
    locate_model,
    read_config_json,
    source_of,
    stored_tensors,
    write_checkpoint,
)
from socsci_jax.models.modules import flattened, nested, parameter_axes
from socsci_jax.models.placing import place
from socsci_jax.models.quantization import quantize
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.models.tensor_files import DTYPES
from socsci_jax.reading import kind_of, read_json_object
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.studies.prompts import Layout
from socsci_jax.training.checkpoint_reader import CheckpointReader
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.run import RunFolder
from socsci_jax.training.start import start_params
from socsci_jax.training.stored import StoredParams

# Beside an exported model: what a Hugging Face folder has no place for.
METADATA_FILE = "socsci_jax.json"
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)


def open_model(name_or_path: str, *, mesh: jax.sharding.Mesh | None = None) -> SimulationModel:
    """A run's best or newest checkpoint, a folder or hub id of `transformers` or `peft`, or a GGUF file, on the devices of `mesh` (default: all).

    Raises InputError if there is none, or if tokenizer and model do not fit.
    """
    set_up_compiler()
    mesh = mesh or make_mesh(data=len(jax.devices()), fsdp=1, tensor=1)
    run = RunFolder(Path(name_or_path))
    if run.is_run():
        found = find_checkpoint(run, None)
        metadata = model_metadata(run, found)
        config = run.config()
        params = restore_params(run, found, mesh=mesh)
        tokenizer = run.load_tokenizer()
        compute_dtype = run.recipe.model.compute_dtype
    else:
        folder = resolve_folder(
            name_or_path, allow_patterns=(*CHECKPOINT_FILES, *ADAPTER_FILES, METADATA_FILE)
        )
        metadata_file = folder / METADATA_FILE
        metadata = _exported_metadata(metadata_file) if metadata_file.is_file() else {}
        adapter = read_adapter_config(folder) if (folder / ADAPTER_CONFIG).is_file() else None
        if adapter is not None:
            base = resolve_folder(base_of_adapter(folder), allow_patterns=CHECKPOINT_FILES)
            loaded = load_checkpoint(base, mesh=mesh)
            adapted = dataclasses.replace(loaded.config, adapter=adapter)
            params = merge_adapter(join(loaded.params, load_adapter(folder, adapted)), adapted)
            # What was trained beside the adapter travels with it; else the base's tokenizer is meant.
            folder = folder if any((folder / name).is_file() for name in TOKENIZER_FILES) else base
        else:
            loaded = load_checkpoint(folder, mesh=mesh)
            params = loaded.params
        config = loaded.config
        tokenizer = load_tokenizer(folder)
        compute_dtype = metadata.get("compute_dtype") or jax.tree.leaves(params)[0].dtype
    tokenizer.check_fits(config.vocab_size)
    return SimulationModel(
        config=config,
        params=params,
        mesh=mesh,
        tokenizer=tokenizer,
        layout=Layout.from_dict(metadata["layout"], where=f"{name_or_path}: layout")
        if "layout" in metadata
        else None,
        compute_dtype=jnp.dtype(compute_dtype),
        metadata={"name": name_or_path, **metadata},
    )


def _exported_metadata(path: Path) -> dict[str, Any]:
    """What an export says of its model; raises InputError for a precision or a layout that is none."""
    hint = "restore the file as it was exported, or remove it"
    metadata = read_json_object(path, hint=hint)
    dtype = metadata.get("compute_dtype")
    if dtype not in (None, "float32", "bfloat16"):
        raise InputError(
            f"{path}: compute_dtype is {kind_of(dtype)}, allowed are float32 and bfloat16; {hint}."
        )
    if "layout" in metadata:
        Layout.from_dict(metadata["layout"], where=f"{path}: layout")
    return metadata


@dataclasses.dataclass(frozen=True)
class FoundCheckpoint:
    """A complete checkpoint of a run."""

    reader: CheckpointReader
    step: int

    @property
    def stored(self) -> StoredParams:
        """What was trained, yet unread."""
        return StoredParams(self.reader.folder / str(self.step))


def model_metadata(run: RunFolder, found: FoundCheckpoint) -> dict[str, Any]:
    """What a trained model is: its recipe, step, layout, and what it was trained on."""
    progress = found.reader.metadata(found.step)
    recipe = run.recipe
    return {
        **run.metadata,
        "recipe": recipe.model_dump(mode="json"),
        "compute_dtype": recipe.model.compute_dtype,
        "step": found.step,
        "total_steps": progress["total_steps"],
        "metrics": progress["metrics"],
    }


def find_checkpoint(run: RunFolder, step: int | None) -> FoundCheckpoint:
    """Finds the checkpoint of a step; by default the best in validation, or without validation the newest.

    Raises InputError if there is none, or not this one.
    """
    folders = [folder for folder in (run.best, run.checkpoints) if folder.is_dir()]
    readers = [CheckpointReader(folder) for folder in folders]
    known = {reader: reader.steps() for reader in readers}
    for reader, steps in known.items():
        if steps and (step is None or step in steps):
            return FoundCheckpoint(reader, steps[-1] if step is None else step)
    there = sorted({number for steps in known.values() for number in steps})
    if not there:
        raise InputError(f"{run.checkpoints}: there is no complete checkpoint yet; train the run first.")
    raise InputError(
        f"{run.checkpoints}: there is no checkpoint of step {step}; there are {', '.join(map(str, there))}."
    )


def restore_params(run: RunFolder, found: FoundCheckpoint, *, mesh: jax.sharding.Mesh) -> Any:
    """Parameters of a checkpoint, straight onto the devices of `mesh`; an adapter is merged into its start."""
    trained, config = _restore_trained(run, found, mesh=mesh)
    if config.adapter is None:
        return trained
    return merge_adapter(join(start_params(run.recipe, config, mesh), trained), config)


def _restore_trained(
    run: RunFolder, found: FoundCheckpoint, *, mesh: jax.sharding.Mesh
) -> tuple[Any, DecoderConfig]:
    """What the run trained (the adapter, or all weights), and the config with its adapter."""
    recipe = run.recipe
    config = dataclasses.replace(run.config(), adapter=recipe.adapter)
    stored = found.stored
    stored.check(config)
    shardings = flattened(param_shardings(config, mesh))
    trained = {
        path: place(
            functools.partial(stored.read_within, path),
            shape=array.shape,
            dtype=array.dtype,
            sharding=shardings[path],
        )
        for path, array in stored.arrays.items()
    }
    found.reader.check_params(found.step, nested(trained))
    return nested(trained), config


def export_run(
    path: Path,
    out: Path,
    *,
    step: int | None = None,
    dtype: str | None = None,
    adapter: bool = False,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Writes a run's checkpoint, or a GGUF file, as a Hugging Face folder, with a file of metadata about the run beside the weights.

    Weights pass through memory in pieces (all of a random start at once), and an export that was stopped goes on with
    the file that was being written.  With `adapter` the adapter alone, in `peft`'s format; else it is merged into its
    base.  Raises InputError if `path` is no run, has no checkpoint or no adapter, or `out` exists or cannot be written.
    """
    if is_gguf(path):
        _export_gguf(path, out, dtype=dtype, max_shard_bytes=max_shard_bytes)
        return
    run = RunFolder(path)
    found = find_checkpoint(run, step)
    metadata = model_metadata(run, found)
    recipe = run.recipe
    config = dataclasses.replace(run.config(), adapter=recipe.adapter)
    written = {METADATA_FILE: (json.dumps(metadata, indent=2, ensure_ascii=False) + "\n").encode()}
    if adapter:
        if recipe.lora is None:
            raise InputError(
                f"{path}: this run trained all weights and has no adapter; export it without --adapter."
            )
        mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
        trained, config = _restore_trained(run, found, mesh=mesh)
        written |= {p.name: p.read_bytes() for p in run.tokenizer.iterdir() if p.is_file()}
        export_adapter(trained, config, out, base=recipe.model.init_from, extra_files=written)
        return
    found.reader.check_stored(found.step)
    stored = found.stored
    stored.check(config)
    write_checkpoint(
        _whole(stored, run.config()) if config.adapter is None else _merged(stored, recipe, config),
        run.config(),
        out,
        source_folder=run.tokenizer,
        config_json=run.model_config.read_bytes(),
        dtype=dtype,
        max_shard_bytes=max_shard_bytes,
        extra_files=written,
        origin={
            "run": hashlib.sha256((path / "run.json").read_bytes()).hexdigest(),
            "step": found.step,
            "checkpoint": stored.fingerprint,
        },
    )


def _export_gguf(path: Path, out: Path, *, dtype: str | None, max_shard_bytes: int) -> None:
    """Writes a GGUF file's dequantized weights, config and tokenizer."""
    config_json = read_config_json(path)
    config = parse_config(config_json, where=str(path))
    tensors, located = locate_model(path, config, one_dtype=True)
    write_checkpoint(
        TensorSource(
            {t: DTYPES[located[t.names[0]].dtype] for t in tensors},
            lambda tensor, layer: (block for _, block in located[tensor.names[layer]].blocks()),
        ),
        config,
        out,
        source_folder=None,
        config_json=config_json,
        dtype=dtype,
        max_shard_bytes=max_shard_bytes,
        extra_files=load_tokenizer(path).files(),
    )


def _whole(stored: StoredParams, config: DecoderConfig) -> TensorSource:
    """All weights, as they were trained."""
    return TensorSource({t: stored.arrays[t.path].dtype for t in stored_tensors(config)}, stored.blocks)


def _merged(stored: StoredParams, recipe: Recipe, config: DecoderConfig) -> TensorSource:
    """The weights of the start with the adapter added, computed block by block as `merge_adapter` does for all."""
    base_config = dataclasses.replace(config, adapter=None)
    base_dtype = np.dtype(recipe.model.param_dtype)
    base = _start_blocks(recipe, base_config)
    axes = parameter_axes(config)

    def blocks(tensor: StoredTensor, layer: int) -> Iterator[np.ndarray]:
        *module, name = tensor.path
        codes = (*module, "codes") in axes
        adapted = (*module, "lora_a") in axes
        if name != "weight" or not (codes or adapted):
            yield from (np.asarray(block, base_dtype) for block in base(tensor, layer))
            return
        low = {}
        if adapted:
            low = {part: stored.read((*module, part), (layer,))[None] for part in ("lora_a", "lora_b")}
        first = 0
        for block in base(tensor, layer):
            outputs = slice(first, first + len(block))
            first = outputs.stop
            of_map = {"weight": np.asarray(block.T, base_dtype)[None]}
            if codes:
                of_map = dict(zip(("codes", "scale"), jax.jit(quantize)(of_map["weight"]), strict=True))
            if adapted:
                of_map |= {"lora_a": low["lora_a"], "lora_b": low["lora_b"][..., outputs]}
            yield np.asarray(merge_adapter({"map": of_map}, config)["map"]["weight"])[0].T

    # Over four bits the weights that the adapter was trained over are not those of the file.
    wide = {(*path[:-1], "weight") for path in axes if path[-1] == "codes"}
    dtypes = {t: np.dtype(np.float32) if t.path in wide else base_dtype for t in stored_tensors(base_config)}
    return TensorSource(dtypes, blocks)


def _start_blocks(
    recipe: Recipe, config: DecoderConfig
) -> Callable[[StoredTensor, int], Iterator[np.ndarray]]:
    """Rows of the start's tensors, as a Hugging Face file holds them."""
    if recipe.model.init_from == "random":
        mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
        return source_of(start_params(recipe, config, mesh), config).blocks
    folder = resolve_folder(recipe.model.init_from, allow_patterns=CHECKPOINT_FILES)
    _, located = locate_model(folder, config, one_dtype=False)

    def blocks(tensor: StoredTensor, layer: int) -> Iterator[np.ndarray]:
        try:
            yield from (block for _, block in located[tensor.names[layer]].blocks())
        except OSError as error:
            raise InputError(f"{folder}: cannot be read to the end ({error}); try again.") from error

    return blocks
