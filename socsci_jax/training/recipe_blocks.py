"""The blocks of a recipe.  What stands under a key is its description: in the reference and in the JSON Schema as well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pydantic

from socsci_jax import bounds
from socsci_jax.models.config import LINEAR_MAPS
from socsci_jax.studies.prompts import Alternatives
from socsci_jax.studies.splits import SubsetUnit

Positive = Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)]
Width = Annotated[int, pydantic.Field(ge=1, le=bounds.WIDTH)]
Seed = Annotated[int, pydantic.Field(ge=0, le=bounds.SEED)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Dtype = Literal["float32", "bfloat16"]


class Block(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class ArchitectureConfig(Block):
    """Shape of a decoder that starts from random weights; the keys are those of a Hugging Face `config.json`."""

    model_type: Literal["qwen2", "qwen3", "llama"]
    """Family: what differs within a layer."""
    hidden_size: Width
    """Width of the residual stream."""
    intermediate_size: Width
    """Width of the MLP."""
    num_hidden_layers: Annotated[int, pydantic.Field(ge=1, le=bounds.LAYERS)]
    """Number of layers."""
    num_attention_heads: Width
    """Number of query heads."""
    num_key_value_heads: Width
    """Number of key and value heads; divides the number of query heads."""
    head_dim: Width | None = None
    """Width of a head; by default hidden_size / num_attention_heads."""
    rope_theta: float = 1_000_000.0
    """Base of the rotary positions."""
    rms_norm_eps: float = 1e-6
    """Added to the mean square in norms."""
    tie_word_embeddings: bool = True
    """Whether the output projection is the embedding."""
    initializer_range: Annotated[float, pydantic.Field(gt=0)] = 0.02
    """Standard deviation of random weights."""
    max_position_embeddings: Positive = 32_768
    """Longest prompt that the model takes, in tokens."""


class ModelConfig(Block):
    """Where the weights and the tokenizer come from, and in which precision they are kept and used."""

    init_from: str
    """`random`, a folder or hub id in the Hugging Face format, a GGUF file, or `package:NAME`, the GGUF file within an
    installed Python package."""
    tokenizer: str | None = None
    """`train` (on the training part, with a random start), a folder, hub id, GGUF file or `package:NAME`; by default that of `init_from`."""
    vocab_size: Annotated[int, pydantic.Field(ge=1, le=bounds.VOCABULARY)] = 4096
    """Size of a tokenizer that is trained here."""
    architecture: ArchitectureConfig | None = None
    """Shape of a random start."""
    param_dtype: Dtype = "float32"
    """Precision in which weights are kept."""
    compute_dtype: Dtype = "float32"
    """Precision in which products are computed."""
    remat: Literal["none", "matmuls", "layers"] = "none"
    """What the backward pass computes again instead of keeping it: `layers` needs least memory, `matmuls` keeps products and attention."""
    gradient_dtype: Dtype = "float32"
    """Precision in which gradients are added up."""
    stochastic_rounding: bool = False
    """Whether bfloat16 weights are rounded at random, so that small updates are not lost."""
    unrolled_layers: Positive = 1
    """Layers compiled one after the other: longer to compile, a little faster."""

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
    """What is drawn."""
    share: Annotated[float, pydantic.Field(gt=0, le=1)]
    """How much of it is kept."""
    seed: Seed = 0
    """Seed of the draw."""


class DataConfig(Block):
    """Which answers are trained on, and how they are written as prompts."""

    store: Path
    """Folder of the study store."""
    split: str
    """Name of one of the store's splits."""
    subset: SubsetConfig | None = None
    """Part of the training part that is used; by default all of it."""
    exclude_studies: tuple[str, ...] = ()
    """Ids of studies that training refuses to see."""
    layout: str = "study_first"
    """Order in which a prompt is written: `persona_first` is the paper's, `study_first` shares more, `codebook_first` is
    for documents, `interview` has the persona as earlier turns; or a JSON file."""
    alternatives: Alternatives = "withheld"
    """Whether answers outside a scale's order ("don't know") are named in prompts, trained on and predicted."""
    sharing: Literal["all", "prefix"] = "all"
    """What is computed once: all equal beginnings and equal prompts, or only the layout's shared part."""
    max_tokens: Positive = 4096
    """Longest prompt; longer ones are rejected and counted."""
    rationales: Path | None = None
    """CSV or Parquet file (item_id, participant_id, rationale) whose texts are written before the numbers."""
    rationale_end: str = "\n\nAnswer: "
    """What stands between a rationale and the number."""


class BatchConfig(Block):
    """One optimizer step: `rows` rows of `tokens_per_row` tokens, filled with prompt trees, cut into micro-batches."""

    rows: Positive
    """Rows of a step, over all devices."""
    tokens_per_row: Annotated[int, pydantic.Field(ge=64, multiple_of=64)]
    """Length of a row."""
    branches_per_tree: Positive
    """Most people of one item in a tree: more share more, fewer make a step more diverse."""
    micro_batches: Positive = 1
    """Pieces that a step is computed in, one after the other; the result is the same."""
    contrast_rows: Positive | None = None
    """Rows that hold contrasts, where an objective that sees treatments is mixed with answers."""

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


class LoraConfig(Block):
    """A low-rank adapter that is trained instead of the weights, which stay as they are in `model.param_dtype`."""

    rank: Positive
    """Rank of every map."""
    alpha: Annotated[float, pydantic.Field(gt=0)]
    """Scale: the map is multiplied by alpha / rank."""
    targets: tuple[Literal[LINEAR_MAPS], ...] = LINEAR_MAPS
    """Linear maps of a layer that get one."""
    dropout: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0
    """Share of a map's inputs that are dropped in training."""
    base: Literal["kept", "nf4"] = "kept"
    """`nf4`: the frozen weights in four bits (QLoRA)."""


class ParallelismConfig(Block):
    """Sizes of the mesh axes; their product is the number of devices."""

    data: Positive = 1
    """Groups of devices that take rows of their own."""
    fsdp: Positive = 1
    """Devices over which parameters, gradients and optimizer state are cut."""
    tensor: Positive = 1
    """Devices over which every layer is cut."""
