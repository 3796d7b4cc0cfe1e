"""A recipe: everything that a training run depends on, in YAML that fits on one screen."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml

from socsci_jax import bounds
from socsci_jax.hardware import Machine, parse_machine
from socsci_jax.models.config import LINEAR_MAPS, Adapter
from socsci_jax.studies.prompts import Alternatives
from socsci_jax.studies.splits import SubsetUnit

Positive = Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)]
Width = Annotated[int, pydantic.Field(ge=1, le=bounds.WIDTH)]
Seed = Annotated[int, pydantic.Field(ge=0, le=bounds.SEED)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Dtype = Literal["float32", "bfloat16"]

# Blocks and keys of a recipe that do not shape what is trained.
NOT_THE_RESULT = {"name", "output", "hardware", "parallelism", "checkpoints", "watchdog", "tracking"}


class Block(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ArchitectureConfig(Block):
    """Shape of a decoder that starts from random weights."""

    model_type: Literal["qwen2", "qwen3", "llama"]
    hidden_size: Width
    intermediate_size: Width
    num_hidden_layers: Annotated[int, pydantic.Field(ge=1, le=bounds.LAYERS)]
    num_attention_heads: Width
    num_key_value_heads: Width
    head_dim: Width | None = None
    rope_theta: float = 1_000_000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = True
    initializer_range: Annotated[float, pydantic.Field(gt=0)] = 0.02
    max_position_embeddings: Positive = 32_768


class ModelConfig(Block):
    """Where the weights and the tokenizer come from, and in which precision they are kept and used."""

    init_from: str  # "random", a folder or hub id in the Hugging Face format, or a GGUF file
    tokenizer: str | None = None  # "train", a folder, hub id or GGUF file; by default the one of `init_from`
    vocab_size: Annotated[int, pydantic.Field(ge=1, le=bounds.VOCABULARY)] = (
        4096  # of a tokenizer that is trained here
    )
    architecture: ArchitectureConfig | None = None  # of a random start
    param_dtype: Dtype = "float32"
    compute_dtype: Dtype = "float32"
    remat: Literal["none", "matmuls", "layers"] = "none"
    gradient_dtype: Dtype = "float32"  # in which gradients are added up
    stochastic_rounding: bool = False  # of bfloat16 weights, so that small updates are not lost
    unrolled_layers: Positive = 1  # compiled one after the other: longer to compile, a little faster

    @pydantic.model_validator(mode="after")
    def _complete(self) -> ModelConfig:
        if self.init_from == "random" and (self.architecture is None or self.tokenizer is None):
            raise ValueError("init_from: random needs `architecture` and `tokenizer`")
        if self.init_from != "random" and (self.architecture is not None or self.tokenizer == "train"):
            raise ValueError("`architecture` and `tokenizer: train` go with `init_from: random` only")
        if self.stochastic_rounding and self.param_dtype != "bfloat16":
            raise ValueError("`stochastic_rounding` goes with `param_dtype: bfloat16` only")
        return self


class SubsetConfig(Block):
    """A share of the training part's units; a smaller share of the same seed is contained in a larger one."""

    of: SubsetUnit
    share: Annotated[float, pydantic.Field(gt=0, le=1)]
    seed: Seed = 0


class DataConfig(Block):
    """Which answers are trained on, and how they are written as prompts."""

    store: Path
    split: str
    subset: SubsetConfig | None = None  # by default all of the split's training part
    leave_out_studies: tuple[str, ...] = ()  # ids that training refuses to see
    layout: str = "study_first"
    # Whether answers outside a scale's order ("don't know") are named in prompts, trained on and predicted.
    alternatives: Alternatives = "withheld"
    # What is computed once: all equal beginnings and equal prompts, or only the layout's shared part.
    sharing: Literal["all", "prefix"] = "all"
    max_tokens: Positive = 4096
    # A CSV or Parquet file (item_id, participant_id, rationale) whose texts are written before the numbers, and what
    # stands between the two.
    rationales: Path | None = None
    rationale_end: str = "\n\nAnswer: "


class BatchConfig(Block):
    """One optimizer step: `rows` rows of `tokens_per_row` tokens, filled with prompt trees, cut into micro-batches."""

    rows: Positive
    tokens_per_row: Annotated[int, pydantic.Field(ge=64, multiple_of=64)]
    branches_per_tree: Positive
    micro_batches: Positive = 1
    contrast_rows: Positive | None = None  # of the rows, those of contrasts that are mixed with answers

    @pydantic.model_validator(mode="after")
    def _divides(self) -> BatchConfig:
        if self.rows % self.micro_batches:
            raise ValueError(f"rows = {self.rows} must be a multiple of micro_batches = {self.micro_batches}")
        if self.contrast_rows is not None and (
            self.contrast_rows % self.micro_batches or self.contrast_rows >= self.rows
        ):
            raise ValueError(
                f"contrast_rows = {self.contrast_rows} must be less than rows = {self.rows} and a multiple of "
                f"micro_batches = {self.micro_batches}"
            )
        return self


class OptimizerConfig(Block):
    """AdamW with warm-up and cosine decay; no weight decay on norms and biases, as is usual."""

    epochs: Annotated[float, pydantic.Field(gt=0)]
    learning_rate: Annotated[float, pydantic.Field(gt=0)]
    final_learning_rate_ratio: Share = 0.0
    warmup_ratio: Share = 0.05
    weight_decay: Annotated[float, pydantic.Field(ge=0)] = 0.1
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Annotated[float, pydantic.Field(gt=0)] = 1e-8
    clip_norm: Annotated[float, pydantic.Field(gt=0)] = 1.0
    skip_nonfinite_steps: Annotated[int, pydantic.Field(ge=0)] = (
        0  # so many are skipped, the next one ends the run
    )
    second_moment: Literal["full", "factored"] = "full"  # factored: Adafactor's, next to no memory
    momentum_dtype: Dtype = "float32"


class EffectsConfig(Block):
    """How the arms of an outcome are compared (docs/treatments.md)."""

    weight: Annotated[float, pydantic.Field(gt=0)] = 10.0  # lambda, of a mixture
    personas: Annotated[int, pydantic.Field(ge=2)] = 8  # who are asked about all arms in one batch
    personas_per_study: Annotated[int, pydantic.Field(ge=2)] = 32  # from whom these are drawn
    tau: Annotated[float, pydantic.Field(gt=0)] = 0.03  # of the scale's range: what no model need explain
    huber: Annotated[float, pydantic.Field(gt=0)] = (
        2.0  # standardized residual beyond which none pulls harder
    )
    prior: Annotated[float, pydantic.Field(ge=0)] = 0.0  # rho: how strongly the start's contrasts are kept
    prior_slope: float = 1.0  # beta_0: times so much


class ObjectiveConfig(Block):
    """What is minimized; `sft` is the cross entropy of the people's own answers, `contrast` and `profiled` see treatments."""

    kind: Literal["sft", "dpo", "soft", "wasserstein", "contrast", "profiled"] = "sft"
    mixed_with: Literal["sft", "soft"] | None = None  # of contrast and profiled; by default alone
    effects: EffectsConfig | None = None  # of contrast and profiled
    sft_share: Share | None = None  # of the loss that is sft's, beside another kind; by default none of it
    beta: Annotated[float, pydantic.Field(gt=0)] | None = None  # of dpo; by default 0.1
    pairs_per_response: Positive | None = None  # of dpo; by default 1
    # Of soft and wasserstein: whose histogram a person's answers are pulled toward, all who answered the item and are
    # alike in these attributes; by default all who answered it.
    condition_on: tuple[str, ...] | None = None

    @pydantic.model_validator(mode="after")
    def _go_together(self) -> ObjectiveConfig:
        for key, kinds in {
            "sft_share": ("dpo", "soft", "wasserstein"),
            "beta": ("dpo",),
            "pairs_per_response": ("dpo",),
            "condition_on": ("soft", "wasserstein", "contrast", "profiled"),
            "mixed_with": ("contrast", "profiled"),
            "effects": ("contrast", "profiled"),
        }.items():
            if getattr(self, key) is not None and self.kind not in kinds:
                raise ValueError(f"`{key}` goes with kind: {' or '.join(kinds)}, not with {self.kind}")
        if self.kind == "profiled" and self.effects is not None and self.effects.prior:
            raise ValueError("`effects.prior` goes with kind: contrast only")
        return self

    @property
    def sees_treatments(self) -> bool:
        return self.kind in ("contrast", "profiled")

    @property
    def contrasts(self) -> EffectsConfig:
        """How arms are compared; the defaults where nothing else is said."""
        return self.effects or EffectsConfig()

    @property
    def needs_reference(self) -> bool:
        """Whether log-probabilities under the start are part of the loss."""
        return self.kind == "dpo" or (self.sees_treatments and self.contrasts.prior > 0)


class LoraConfig(Block):
    """A low-rank adapter that is trained instead of the weights, which stay as they are in `model.param_dtype`."""

    rank: Positive
    alpha: Annotated[float, pydantic.Field(gt=0)]
    targets: tuple[Literal[LINEAR_MAPS], ...] = LINEAR_MAPS
    dropout: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0
    base: Literal["kept", "nf4"] = "kept"  # nf4: the frozen weights in four bits (QLoRA)


class ParallelismConfig(Block):
    """Sizes of the mesh axes; their product is the number of devices."""

    data: Positive = 1
    fsdp: Positive = 1
    tensor: Positive = 1


class CheckpointsConfig(Block):
    every_steps: Positive
    folder: str | None = None  # elsewhere than in the output folder
    keep: Positive = 2  # the newest
    keep_every: Positive | None = None  # and for good those of every so many steps


class WatchdogConfig(Block):
    """When a run counts as hanging; it then writes the stacks of all threads and ends, to be started again."""

    slow_step: Annotated[float, pydantic.Field(gt=1)] = 20.0  # times the median of the latest steps,
    seconds: Annotated[float, pydantic.Field(gt=0)] = 300.0  # but at least so many
    other_seconds: Annotated[float, pydantic.Field(gt=0)] = 3600.0  # for compiling, saving, validating


class TrackingConfig(Block):
    """Where metrics go besides metrics.jsonl and TensorBoard, and which steps are profiled."""

    wandb_project: str | None = None  # Weights & Biases, if installed
    profile_steps: tuple[Positive, Positive] | None = None  # first and last, for TensorBoard's profiler


class ValidationConfig(Block):
    """Figures on the split's validation part every so many steps; the best checkpoint is kept beside the newest."""

    every_steps: Positive
    responses: Positive = 2048  # about so many answers, of items drawn by seed
    # What "best" means.
    metric: Literal["loss", "wasserstein", "accuracy", "effect_r", "effect_rmse"] = "loss"
    patience: Positive | None = None  # training stops after so many validations without a better one


class Recipe(Block):
    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    output: Path
    hardware: str  # the machine that it is meant for, as 8xh200 or v5p-16; `plan` checks that it fits
    seed: Seed = 0
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
                f"devices; a multiple of {fitting} rows would"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _contrast_rows_with_a_mixture(self) -> Recipe:
        mixed = self.objective.mixed_with is not None
        if mixed != (self.batch.contrast_rows is not None):
            found, needed = ("is missing", "needs") if mixed else ("is given", "goes with")
            raise ValueError(
                f"`batch.contrast_rows` {found}; a mixture (`objective.mixed_with`) {needed} it: how many of the rows "
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
    def adapter(self) -> Adapter | None:
        return None if self.lora is None else Adapter(**self.lora.model_dump())

    def rendered(self) -> str:
        """The complete recipe as YAML, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    @property
    def digest(self) -> str:
        """Hash of all that shapes the result; where it is computed and written and how often it is saved do not."""
        return _hash(self.model_dump(mode="json", exclude=NOT_THE_RESULT))

    @property
    def hash_of_all(self) -> str:
        """Of every key, in which all processes of a run must agree."""
        return _hash(self.model_dump(mode="json"))[:12]


def _hash(fields: dict) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
