"""Opening a trained model, from a run's folder or in the Hugging Face format, ready to be asked."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from socsci_jax.compilation import set_up_compiler
from socsci_jax.data.tokenizer_loading import TOKENIZER_FILES, load_tokenizer
from socsci_jax.errors import InputError
from socsci_jax.hub import resolve_folder
from socsci_jax.models.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    base_of_adapter,
    join,
    load_adapter,
    merge_adapter,
    read_adapter_config,
)
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.huggingface import (
    CHECKPOINT_FILES,
    load_checkpoint,
)
from socsci_jax.models.modules import flattened, nested
from socsci_jax.models.placing import place
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.reading import as_object, check_kinds, read_json_object
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.trained_on import METADATA_FILE, TrainedOn
from socsci_jax.training.checkpoint_reader import CheckpointReader
from socsci_jax.training.run import RunFolder
from socsci_jax.training.start import start_params
from socsci_jax.training.stored import StoredParams
from socsci_jax.wording import kind_of

ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)


def open_model(name_or_path: str, *, mesh: jax.sharding.Mesh | None = None) -> SimulationModel:
    """A run's best or newest checkpoint, a folder or hub id of `transformers` or `peft`, a GGUF file or `package:NAME`, on the devices of `mesh` (default: all).

    Raises InputError if there is none, or if tokenizer and model do not fit.
    """
    set_up_compiler()
    mesh = mesh or make_mesh(data=len(jax.devices()), fsdp=1, tensor=1)
    run = RunFolder(Path(name_or_path))
    if run.is_run():
        checkpoint = find_checkpoint(run, None)
        metadata = model_metadata(run, checkpoint)
        config = run.config()
        params = restore_params(run, checkpoint, mesh=mesh)
        tokenizer = run.load_tokenizer()
        compute_dtype = run.recipe.model.compute_dtype
        trained_on: TrainedOn | None = run.trained_on
    else:
        folder = resolve_folder(name_or_path, allow_patterns=(*CHECKPOINT_FILES, *ADAPTER_FILES))
        metadata_file = folder / METADATA_FILE
        metadata = exported_metadata(metadata_file) if metadata_file.is_file() else {}
        trained_on = TrainedOn.of_folder(folder)
        adapter = read_adapter_config(folder) if (folder / ADAPTER_CONFIG).is_file() else None
        if adapter is not None:
            base = resolve_folder(base_of_adapter(folder), allow_patterns=CHECKPOINT_FILES)
            loaded = load_checkpoint(base, mesh=mesh)
            trained_on = _together(trained_on, base)
            adapted = dataclasses.replace(loaded.config, adapter=adapter)
            params = merge_adapter(join(loaded.params, load_adapter(folder, adapted)), adapted)
            # What was trained next to the adapter travels with it; else the base's tokenizer is meant.
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
        trained_on=trained_on,
    )


def _together(of_adapter: TrainedOn | None, base: Path) -> TrainedOn | None:
    """What an adapter and its base have seen; not known if only the base says it."""
    return None if of_adapter is None else of_adapter.with_earlier(TrainedOn.of_folder(base))


# What is read from the metadata of an export.
_KINDS = {
    **dict.fromkeys(("run_id", "store_hash", "split", "split_hash", "tokenizer_hash", "recipe_hash"), str),
    **dict.fromkeys(("recipe", "data", "held_out", "metrics", "layout", "attribute_forms"), dict),
    **dict.fromkeys(("attributes", "trained_studies"), list),
    **dict.fromkeys(("step", "total_steps", "trained_responses"), int),
}


def exported_metadata(path: Path) -> dict[str, Any]:
    """What an export says of its model; raises InputError for a value of another kind than is written there."""
    hint = "restore the file as it was exported, or remove it"
    metadata = read_json_object(path, hint=hint)
    check_kinds(metadata, _KINDS, where=str(path), hint=hint, optional=True)
    data = (metadata.get("recipe") or {}).get("data") or {}
    check_kinds(
        as_object(data, where=f"{path}: recipe.data", hint=hint),
        {"rationales": str, "rationale_end": str},
        where=f"{path}: recipe.data",
        hint=hint,
        optional=True,
    )
    for key in ("attributes", "trained_studies"):
        if not all(isinstance(name, str) for name in metadata.get(key) or ()):
            raise InputError(f"{path}: {key} holds something else than names; {hint}.")
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


def model_metadata(run: RunFolder, checkpoint: FoundCheckpoint) -> dict[str, Any]:
    """What a trained model is: its recipe, step, layout, and what it was trained on."""
    progress = checkpoint.reader.metadata(checkpoint.step)
    recipe = run.recipe
    return {
        **run.metadata,
        "recipe": recipe.model_dump(mode="json"),
        "compute_dtype": recipe.model.compute_dtype,
        "step": checkpoint.step,
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


def restore_params(run: RunFolder, checkpoint: FoundCheckpoint, *, mesh: jax.sharding.Mesh) -> Any:
    """Parameters of a checkpoint, straight onto the devices of `mesh`; an adapter is merged into its start."""
    trained, config = restore_trained(run, checkpoint, mesh=mesh)
    if config.adapter is None:
        return trained
    return merge_adapter(join(start_params(run.recipe, config, mesh), trained), config)


def restore_trained(
    run: RunFolder, checkpoint: FoundCheckpoint, *, mesh: jax.sharding.Mesh
) -> tuple[Any, DecoderConfig]:
    """What the run trained (the adapter, or all weights), and the config with its adapter."""
    recipe = run.recipe
    config = dataclasses.replace(run.config(), adapter=recipe.adapter)
    stored = checkpoint.stored
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
    checkpoint.reader.check_params(checkpoint.step, nested(trained))
    return nested(trained), config
