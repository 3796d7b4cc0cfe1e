"""Writing a trained model for others: a Hugging Face folder, or an adapter as `peft` reads it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from socsci_jax.companions import common_dtype, companions
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.errors import InputError
from socsci_jax.hub import is_gguf, resolve_folder
from socsci_jax.model_card import model_card
from socsci_jax.model_io import FoundCheckpoint, find_checkpoint, model_metadata, restore_trained
from socsci_jax.models.adapters import export_adapter, merge_adapter
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.config_files import parse_config
from socsci_jax.models.huggingface import (
    CHECKPOINT_FILES,
    StoredTensor,
    locate_model,
    read_config_json,
    stored_tensors,
)
from socsci_jax.models.huggingface_export import TensorSource, source_of, write_checkpoint
from socsci_jax.models.modules import parameter_axes
from socsci_jax.models.quantization import quantize
from socsci_jax.models.sharding import make_mesh
from socsci_jax.models.tensor_files import DTYPES
from socsci_jax.studies.trained_on import METADATA_FILE, TRAINED_ON_FILE
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.run import RunFolder
from socsci_jax.training.start import start_params
from socsci_jax.training.stored import StoredParams


def export_run(
    path: Path,
    out: Path,
    *,
    step: int | None = None,
    dtype: str | None = None,
    adapter: bool = False,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Writes a run's checkpoint, or a GGUF file, as a Hugging Face folder, with a file of metadata about the run next to the weights.

    Weights pass through memory in pieces (all of a random start at once), and an export that was stopped resumes with
    the file that was being written.  With `adapter` the adapter alone, in `peft`'s format; else it is merged into its
    base.  Raises InputError if `path` is no run, has no checkpoint or no adapter, or `out` exists or cannot be written.
    """
    if is_gguf(path):
        _export_gguf(path, out, dtype=dtype, max_shard_bytes=max_shard_bytes)
        return
    run = RunFolder(path)
    checkpoint = find_checkpoint(run, step)
    about = _about(run, checkpoint, adapter=adapter)
    if adapter:
        _export_adapter(run, checkpoint, out, about)
        return
    recipe = run.recipe
    config = dataclasses.replace(run.config(), adapter=recipe.adapter)
    checkpoint.reader.check_stored(checkpoint.step)
    stored = checkpoint.stored
    stored.check(config)
    source = _whole(stored, run.config()) if config.adapter is None else _merged(stored, recipe, config)
    beside = companions(
        config_json=run.model_config.read_bytes(),
        tokenizer=run.load_tokenizer(),
        dtype=common_dtype(source.dtypes, dtype),
    )
    write_checkpoint(
        source,
        run.config(),
        out,
        source_folder=run.tokenizer,
        config_json=beside.pop("config.json"),
        dtype=dtype,
        max_shard_bytes=max_shard_bytes,
        extra_files=about | beside,
        origin={
            "run": hashlib.sha256((path / "run.json").read_bytes()).hexdigest(),
            "step": checkpoint.step,
            "checkpoint": stored.fingerprint,
        },
    )


def _about(run: RunFolder, checkpoint: FoundCheckpoint, *, adapter: bool) -> dict[str, bytes]:
    """The files that say what was trained and on what: metadata, fingerprints of the training data, a model card."""
    metadata = model_metadata(run, checkpoint)
    run.trained_on  # noqa: B018  (raises if the file is not that of this run)
    card = model_card(metadata, run.recipe, adapter=adapter, license=_license_of_start(run.recipe))
    return {
        METADATA_FILE: (json.dumps(metadata, indent=2, ensure_ascii=False) + "\n").encode(),
        TRAINED_ON_FILE: (run.path / TRAINED_ON_FILE).read_bytes(),
        "README.md": card.encode(),
    }


def _export_adapter(run: RunFolder, checkpoint: FoundCheckpoint, out: Path, about: dict[str, bytes]) -> None:
    if run.recipe.lora is None:
        raise InputError(
            f"{run.path}: this run trained all weights and has no adapter; export it without `adapter`."
        )
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    trained, config = restore_trained(run, checkpoint, mesh=mesh)
    tokenizer = {p.name: p.read_bytes() for p in run.tokenizer.iterdir() if p.is_file()}
    export_adapter(trained, config, out, base=run.recipe.model.init_from, extra_files=about | tokenizer)


def _license_of_start(recipe: Recipe) -> str | None:
    """The license that the start's own model card names, if it has one."""
    if recipe.model.init_from == "random":
        return None
    card = resolve_folder(recipe.model.init_from, allow_patterns=CHECKPOINT_FILES) / "README.md"
    if not card.is_file():
        return None
    match = re.search(
        r"(?m)^license:\s*([\w.+-]{1,60})\s*$", card.read_text(encoding="utf-8", errors="replace")[:20_000]
    )
    return match[1] if match else None


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
