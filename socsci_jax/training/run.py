"""A run's folder: what was trained from what, next to its checkpoints.

recipe.yaml    the complete recipe
trained_on.parquet   what the model has seen, that of its start included
run.json       hashes of everything that went in, the layout, software versions
config.json, tokenizer/   the model's shape and tokenizer in the Hugging Face format, byte for byte
checkpoints/   those that were found damaged are in its folder `damaged`
metrics.jsonl, tensorboard/
logs/          what each process did and when, as JSON lines; stacks of a run that hung
profile/       of the recipe's `profile_steps`, for TensorBoard
best/          with validation: the parameters that did best in it
reference.npy  of preference training: log-probabilities of the compared answers under the start
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etils import epath

from socsci_jax import __version__
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.config_files import from_huggingface
from socsci_jax.reading import check_kinds, read_json_object
from socsci_jax.storage import new_folder
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.trained_on import TRAINED_ON_FILE, TrainedOn, read_trained_on
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.yaml_reading import read_yaml


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths and metadata of one training run; what its files say is read once."""

    path: Path

    @property
    def checkpoints(self) -> Path | epath.Path:
        """Here, or where the recipe wants them."""
        elsewhere = self.recipe.checkpoints.folder
        return self.path / "checkpoints" if elsewhere is None else epath.Path(elsewhere)

    @property
    def best(self) -> Path | epath.Path:
        """The parameters that did best in validation, as a checkpoint of their own."""
        elsewhere = self.recipe.checkpoints.folder
        return self.path / "best" if elsewhere is None else epath.Path(elsewhere) / "best"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer"

    @property
    def model_config(self) -> Path:
        return self.path / "config.json"

    @property
    def reference(self) -> Path:
        """Log-probabilities under the start (preference training only)."""
        return self.path / "reference.npy"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def profile(self) -> Path:
        return self.path / "profile"

    def is_run(self) -> bool:
        return (self.path / "run.json").is_file()

    @functools.cached_property
    def metadata(self) -> dict[str, Any]:
        """What run.json says; raises InputError if the folder is not that of a training run."""
        path, hint = self.path / "run.json", "restore the file, or train into another `output`"
        metadata = read_json_object(path, hint="give the `output` of a recipe that was trained")
        check_kinds(metadata, _KINDS, where=str(path), hint=hint)
        return metadata

    @functools.cached_property
    def recipe(self) -> Recipe:
        path = self.path / "recipe.yaml"
        return parse_recipe(read_yaml(path, hint="restore it, or train again"), where=str(path))

    def layout(self) -> Layout:
        return Layout.from_dict(self.metadata.get("layout"), where=f"{self.path / 'run.json'}: layout")

    def config(self) -> DecoderConfig:
        return from_huggingface(self.model_config)

    def load_tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.tokenizer)

    @functools.cached_property
    def trained_on(self) -> TrainedOn:
        """What the model has seen; raises InputError if the file is absent, damaged or of another run."""
        return read_trained_on(self.path, self.metadata)

    def begin(self, recipe: Recipe, *, metadata: dict[str, Any], trained_on: TrainedOn) -> None:
        """Writes what the run is.

        Raises InputError if the folder holds a run of another recipe or of other data.
        """
        if self.is_run():
            earlier = self.metadata
            for key, what in _IDENTITY.items():
                if earlier.get(key) != metadata[key]:
                    changed = _changed_keys(self.recipe, recipe) if key == "recipe_hash" else ""
                    raise InputError(
                        f"{self.path}: this folder holds a run with {what}{changed}; choose another `output`, or "
                        "delete the folder to start afresh."
                    )
            return
        (self.path / "recipe.yaml").write_text(recipe.rendered())
        trained_on.write(self.path / TRAINED_ON_FILE)
        metadata = {"run_id": uuid.uuid4().hex[:12], **metadata}
        (self.path / "run.json").write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def run_folder(path: Path) -> Iterator[RunFolder]:
    """The run at `path` if it has begun; else a folder next to it, moved there when the block ends well.

    So a run that fails its checks leaves nothing behind that a later one could take for its own.
    """
    if RunFolder(path).is_run():
        yield RunFolder(path)
        return
    if path.exists() and any(path.iterdir()):
        raise InputError(
            f"{path}: this folder is not empty and holds no training run; choose another `output`."
        )
    with new_folder(path) as partial:
        yield RunFolder(partial)


_KINDS = {"run_id": str}
_IDENTITY = {
    "recipe_hash": "another recipe",
    "store_hash": "another content of the study store",
    "split_hash": "another split of the same name",
    "tokenizer_hash": "another tokenizer",
}


def software_versions() -> dict[str, str]:
    names = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers", "sentencepiece")
    return {"socsci_jax": __version__} | {name: importlib.metadata.version(name) for name in names}


def copy_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tokenizer.files().items():
        (folder / name).write_bytes(content)


def _changed_keys(before: Recipe, after: Recipe) -> str:
    def flat(tree: dict, path: str = "") -> dict[str, Any]:
        return {
            key: value
            for name, node in tree.items()
            for key, value in (
                flat(node, f"{path}{name}.") if isinstance(node, dict) else {f"{path}{name}": node}
            ).items()
        }

    old, new = flat(before.result()), flat(after.result())
    changed = [
        f"{key} {old.get(key)} there, {new.get(key)} here"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
    return f" ({'; '.join(changed[:3])})"
