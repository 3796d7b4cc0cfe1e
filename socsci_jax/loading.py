"""Opening a trained model, from a run's folder or in the Hugging Face format, for simulation and export."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from socsci_jax.compilation import keep_compiled_programs
from socsci_jax.data.tokenizers import load_tokenizer
from socsci_jax.errors import InputError
from socsci_jax.hub import resolve_folder
from socsci_jax.models.huggingface import CHECKPOINT_FILES, export_checkpoint, load_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.studies.prompts import Layout
from socsci_jax.training.checkpoint import Checkpoints
from socsci_jax.training.run import RunFolder

# Beside an exported model: what a Hugging Face folder has no place for.
FACTS_FILE = "socsci_jax.json"


def open_model(name_or_path: str, *, mesh: jax.sharding.Mesh | None = None) -> SimulationModel:
    """A run's newest checkpoint, or a Hugging Face folder or hub id, on the devices of `mesh` (default: all).

    Raises InputError if there is none, or if tokenizer and model do not fit.
    """
    keep_compiled_programs()
    mesh = mesh or make_mesh(data=len(jax.devices()), fsdp=1, tensor=1)
    run = RunFolder(Path(name_or_path))
    if run.is_run():
        facts = model_facts(run, step=None)
        config = run.config()
        params = restore_params(run, step=facts["step"], mesh=mesh)
        tokenizer = run.load_tokenizer()
        compute_dtype = run.recipe().model.compute_dtype
    else:
        folder = resolve_folder(name_or_path, allow_patterns=(*CHECKPOINT_FILES, FACTS_FILE))
        loaded = load_checkpoint(folder, mesh=mesh)
        config, params = loaded.config, loaded.params
        tokenizer = load_tokenizer(folder)
        facts_file = folder / FACTS_FILE
        facts = json.loads(facts_file.read_text()) if facts_file.is_file() else {}
        compute_dtype = facts.get("compute_dtype") or jax.tree.leaves(params)[0].dtype
    tokenizer.check_fits(config.vocab_size)
    return SimulationModel(
        config=config,
        params=params,
        mesh=mesh,
        tokenizer=tokenizer,
        layout=Layout.from_dict(facts["layout"]) if "layout" in facts else None,
        compute_dtype=jnp.dtype(compute_dtype),
        facts={"name": name_or_path, **facts},
    )


def model_facts(run: RunFolder, *, step: int | None) -> dict[str, Any]:
    """What a trained model is: its recipe, step, layout, and what it was trained on."""
    step = choose_step(run, step)
    progress = Checkpoints(run.checkpoints).facts(step)
    recipe = run.recipe()
    return {
        **run.facts(),
        "recipe": recipe.model_dump(mode="json"),
        "compute_dtype": recipe.model.compute_dtype,
        "step": step,
        "total_steps": progress["total_steps"],
        "figures": progress["figures"],
    }


def choose_step(run: RunFolder, step: int | None) -> int:
    """`step`, or the newest if it is None; raises InputError if the run has no such checkpoint."""
    steps = Checkpoints(run.checkpoints).steps() if run.checkpoints.is_dir() else []
    if not steps:
        raise InputError(f"{run.checkpoints}: there is no complete checkpoint yet; train the run first.")
    if step is None:
        return steps[-1]
    if step not in steps:
        raise InputError(
            f"{run.checkpoints}: there is no checkpoint of step {step}; there are {', '.join(map(str, steps))}."
        )
    return step


def restore_params(run: RunFolder, *, step: int, mesh: jax.sharding.Mesh) -> Any:
    """Parameters of a checkpoint, straight onto the devices of `mesh`."""
    config = run.config()
    dtype = jnp.dtype(run.recipe().model.param_dtype)
    abstract = jax.eval_shape(functools.partial(init, config, param_dtype=dtype), key=jax.random.key(0))
    placed = jax.tree.map(
        lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
        abstract,
        param_shardings(config, mesh),
    )
    return Checkpoints(run.checkpoints).restore_params(step, abstract_params=placed)


def choose_layout(model: SimulationModel, name: str | None, *, allow_other: bool) -> Layout:
    """The layout to simulate with: the model's own, unless another is asked for and allowed.

    Raises InputError if the model was never told one and none is named, or if another is named unasked.
    """
    from socsci_jax.studies.prompts import load_layout

    if name is None:
        if model.layout is None:
            raise InputError(
                f"{model.facts['name']}: this model does not say with which prompt layout it was trained; "
                "name one with --layout (the released Socrates models use persona_first)."
            )
        return model.layout
    layout = load_layout(name)
    if model.layout is not None and layout != model.layout and not allow_other:
        raise InputError(
            f"{model.facts['name']}: trained with layout {model.layout.name!r}, asked to simulate with "
            f"{layout.name!r}; leave --layout out, or add --allow-other-layout if this is meant."
        )
    return layout


def export_run(path: Path, out: Path, *, step: int | None = None, dtype: str | None = None) -> None:
    """Writes a run's checkpoint as a Hugging Face folder, with a file of facts about it beside the weights.

    Raises InputError if `path` is no run, has no checkpoint, or `out` exists.
    """
    run = RunFolder(path)
    facts = model_facts(run, step=step)
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    export_checkpoint(
        restore_params(run, step=facts["step"], mesh=mesh),
        run.config(),
        out,
        source_folder=run.tokenizer,
        config_json=run.model_config.read_bytes(),
        dtype=dtype,
        extra_files={FACTS_FILE: (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode()},
    )
