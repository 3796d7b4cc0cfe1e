"""Models of the public interface: opened, trained, exported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from socsci_jax.simulation.model import SimulationModel


def open_model(
    name_or_path: str | Path, *, data: int | None = None, fsdp: int = 1, tensor: int = 1
) -> SimulationModel:
    """Opens a trained model on this process's devices, ready for `predict`.

    Args:
      name_or_path: a run's folder (its best checkpoint in validation, else the newest), a folder or hub id in the Hugging
        Face format or of a `peft` adapter, a GGUF file, or `package:NAME` (the GGUF file within an installed Python package).
      data: number of groups of devices that take rows of their own; by default as many as there are.
      fsdp: number of devices over which parameters are cut.
      tensor: number of devices over which every layer is cut.

    Raises InputError if there is no such model, if tokenizer and model do not fit, or if devices do not divide.
    """
    from socsci_jax import model_io
    from socsci_jax.models.sharding import local_mesh

    return model_io.open_model(str(name_or_path), mesh=local_mesh(data=data, fsdp=fsdp, tensor=tensor))


def train(recipe: str | Path | Mapping[str, Any], **changes: Any) -> Path:
    """Fine-tunes a model as a recipe says, or resumes where an earlier run of it stopped; returns the run's folder.

    Args:
      recipe: a recipe's file, or its keys.
      **changes: keys of the recipe with other values; a block merges: optimizer={"epochs": 2}, output="runs/b".

    Raises InputError, which names every problem, before any step is taken.
    """
    from socsci_jax.training.loop import train as run
    from socsci_jax.training.recipe_files import recipe_with

    return run(recipe_with(recipe, changes))


def export(
    run: str | Path,
    out: str | Path,
    *,
    step: int | None = None,
    dtype: str | None = None,
    adapter: bool = False,
) -> Path:
    """Writes a run's checkpoint as a folder that `transformers` loads, and returns the folder.

    Args:
      run: the folder of a training run, or a GGUF file.
      out: the folder to write; it must not be there yet.
      step: number of the checkpoint; by default the best in validation, else the newest.
      dtype: "float32", "bfloat16" or "float16"; by default as the weights are stored.
      adapter: writes the adapter alone, which `peft` loads, instead of merging it into its base.

    Raises InputError if `run` has no such checkpoint or adapter, or if `out` cannot be written.
    """
    from socsci_jax.model_export import export_run

    export_run(Path(run), Path(out), step=step, dtype=dtype, adapter=adapter)
    return Path(out)
