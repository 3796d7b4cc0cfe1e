"""A model that is ready to be asked, with what it was trained on."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather

from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.modules import parameter_count
from socsci_jax.models.sharding import batch_sharding
from socsci_jax.studies.layouts import load_layout
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.trained_on import TrainedOn
from socsci_jax.wording import counted

# Rows of more tokens would outgrow the caches of a processor; an accelerator takes shorter ones no faster.
TOKENS_PER_ROW = {"cpu": 4096}
ON_ACCELERATORS = 16_384


@dataclasses.dataclass(frozen=True, eq=False)
class SimulationModel:
    """Parameters on their devices, tokenizer, and the layout of training (None if it was never told).

    `metadata` describes the model in the predictions table: name, recipe, what it was trained on.
    """

    config: DecoderConfig
    params: Any
    mesh: jax.sharding.Mesh
    tokenizer: Tokenizer
    layout: Layout | None
    compute_dtype: Any
    metadata: dict[str, Any]
    trained_on: TrainedOn | None = None  # None: not known

    def __repr__(self) -> str:
        """Name, shape, layout and how much was trained on; no parameter is shown."""
        config = self.config
        layout = "no layout" if self.layout is None else f"layout {self.layout.name}"
        studies = None if self.trained_on is None else self.trained_on.frame["study_id"].n_unique()
        seen = (
            "not known what it was trained on"
            if studies is None
            else f"trained on {counted(studies, 'study')}"
        )
        return (
            f"SimulationModel({self.metadata['name']!r}: {config.model_type}, "
            f"{counted(config.num_hidden_layers, 'layer')} of width {config.hidden_size}, "
            f"{parameter_count(config):,} parameters; {layout}; {seen})"
        )

    def choose_layout(self, layout: str | Layout | None = None, *, allow_other: bool = False) -> Layout:
        """The layout to predict with: the model's own, unless another (or its name or file) is asked for and allowed.

        Raises InputError if the model was never told one and none is given, or if another is given unasked.
        """
        name = self.metadata["name"]
        if layout is None:
            if self.layout is None:
                raise InputError(
                    f"{name}: this model does not say with which prompt layout it was trained; name one "
                    "(`layout=`): that of your recipe for a model without fine-tuning (study_first costs least), and "
                    "persona_first for the released Socrates models."
                )
            return self.layout
        # A name says nothing of alternatives: these stay offered or withheld as they were in training.
        alternatives = None if self.layout is None else self.layout.alternatives
        chosen = layout if isinstance(layout, Layout) else load_layout(layout, alternatives=alternatives)
        if self.layout is not None and chosen != self.layout and not allow_other:
            raise InputError(
                f"{name}: trained with layout {self.layout.name!r}, asked to predict with {chosen.name!r} (alternatives "
                f"{self.layout.alternatives} and {chosen.alternatives}); leave `layout=` out, or pass "
                "`allow_other_layout=True` if this is meant."
            )
        return chosen

    @property
    def rows_at_a_time(self) -> int:
        """One row of prompt trees for each group of devices that takes rows of its own."""
        return int(self.mesh.shape["data"] * self.mesh.shape["fsdp"])

    @property
    def tokens_per_row(self) -> int:
        """Tokens of a row, long enough to keep a device of this kind busy."""
        return TOKENS_PER_ROW.get(self.mesh.devices.flat[0].platform, ON_ACCELERATORS)

    def place(self, arrays: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """Arrays [rows, ...] on the devices that take their rows."""
        placed: dict[str, jax.Array] = jax.device_put(
            arrays, batch_sharding(self.mesh, rows=self.rows_at_a_time)
        )
        return placed


def fetch(array: jax.Array) -> np.ndarray:
    """The whole of an array on the host of every process."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(process_allgather(array, tiled=True))


def params_hash(params: Any) -> str:
    """SHA-256 of all parameters by name, dtype and value."""
    digest = hashlib.sha256()
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    for path, leaf in sorted(leaves, key=lambda pair: jax.tree_util.keystr(pair[0])):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
