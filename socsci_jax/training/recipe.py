"""A recipe: everything that a training run depends on, in YAML that fits on one screen."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Any

import pydantic
import yaml

from socsci_jax.hardware import Machine, parse_machine
from socsci_jax.models.config import AdapterConfig
from socsci_jax.training.recipe_blocks import (
    BatchConfig,
    Block,
    DataConfig,
    LoraConfig,
    ModelConfig,
    ParallelismConfig,
    Seed,
)
from socsci_jax.training.recipe_objective import ObjectiveConfig, OptimizerConfig
from socsci_jax.training.recipe_upkeep import (
    CheckpointsConfig,
    TrackingConfig,
    ValidationConfig,
    WatchdogConfig,
)
from socsci_jax.wording import counted

# Blocks and keys of a recipe that do not shape what is trained.
NOT_THE_RESULT = {
    "name",
    "output",
    "hardware",
    "same_bits",
    "parallelism",
    "checkpoints",
    "watchdog",
    "tracking",
}
# Keys that may name a file or a folder.
NAMES_OF_FILES = (("model", "init_from"), ("model", "tokenizer"), ("data", "layout"), ("data", "rationales"))


class Recipe(Block):
    """The whole recipe; every key that is not given has its default here, and unknown keys are errors."""

    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    """Name of the run in logs and in the model card."""
    output: Path
    """Folder of the run."""
    hardware: str
    """Machine that it is meant for, as 8xh200 or v5p-16; `plan` checks that it fits."""
    seed: Seed = 0
    """Seed of the start, the order of the data and everything else that is drawn."""
    same_bits: bool = True
    """On GPUs: a run that was stopped and resumed has the bits of one that was not, at some cost of speed; elsewhere it has
    them anyway.  `socsci-jax same-bits RECIPE` says whether it holds on a machine, and what it costs there."""
    model: ModelConfig
    data: DataConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    lora: LoraConfig | None = None
    batch: BatchConfig
    optimizer: OptimizerConfig
    parallelism: ParallelismConfig = ParallelismConfig()
    checkpoints: CheckpointsConfig
    watchdog: WatchdogConfig = WatchdogConfig()
    tracking: TrackingConfig = TrackingConfig()
    validation: ValidationConfig | None = None

    @pydantic.field_validator("hardware")
    @classmethod
    def _known(cls, name: str) -> str:
        return parse_machine(name).name

    @pydantic.model_validator(mode="after")
    def _rows_divide(self) -> Recipe:
        per_device = self.parallelism.data * self.parallelism.fsdp
        rows = self.batch.rows // self.batch.micro_batches
        if rows % per_device:
            fitting = math.lcm(per_device, self.batch.micro_batches)
            raise ValueError(
                f"batch.rows / batch.micro_batches = {rows} does not divide over data x fsdp = {per_device} "
                f"devices; a multiple of {counted(fitting, 'row')} would"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _contrast_rows_with_a_mixture(self) -> Recipe:
        mixed = self.objective.mixed_with is not None
        if mixed != (self.batch.contrast_rows is not None):
            state, needed = ("is missing", "needs") if mixed else ("is given", "goes with")
            raise ValueError(
                f"`batch.contrast_rows` {state}; a mixture (`objective.mixed_with`) {needed} it: how many of the rows "
                "hold contrasts"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _rationales_with_sft(self) -> Recipe:
        if self.data.rationales is not None and self.objective.kind != "sft":
            raise ValueError("`data.rationales` goes with `objective.kind: sft` only")
        return self

    @property
    def machine(self) -> Machine:
        return parse_machine(self.hardware)

    @property
    def adapter(self) -> AdapterConfig | None:
        return None if self.lora is None else AdapterConfig(**self.lora.model_dump())

    def rendered(self) -> str:
        """The complete recipe as YAML, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    @property
    def digest(self) -> str:
        """Hash of all that shapes the result; where it is computed and written and how often it is saved do not."""
        return _hash(self.result())

    def result(self) -> dict[str, Any]:
        """All that shapes the result.  The store counts by its content, which a run compares itself, and files by where they
        lie, so that an absolute and a relative path of one file are the same."""
        shaping = self.model_dump(mode="json", exclude=NOT_THE_RESULT)
        del shaping["data"]["store"]
        for block, key in NAMES_OF_FILES:
            name = shaping[block][key]
            if name not in (None, "random", "train") and Path(name).exists():
                shaping[block][key] = str(Path(name).resolve())
        return shaping

    @property
    def hash_of_all(self) -> str:
        """Of every key, in which all processes of a run must agree."""
        return _hash(self.model_dump(mode="json"))[:12]


def _hash(fields: dict) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
