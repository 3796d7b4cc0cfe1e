"""The blocks of a recipe that say what training minimizes, and how."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from socsci_jax.training.recipe_blocks import Block, Dtype, Positive, Share


class OptimizerConfig(Block):
    """AdamW with warm-up and cosine decay; no weight decay on norms and biases, as is usual."""

    epochs: Annotated[float, pydantic.Field(gt=0)]
    """Passes over the training part."""
    learning_rate: Annotated[float, pydantic.Field(gt=0)]
    """Highest learning rate."""
    final_learning_rate_ratio: Share = 0.0
    """Last learning rate, as a share of the highest."""
    warmup_ratio: Share = 0.05
    """Share of the steps over which the learning rate rises."""
    weight_decay: Annotated[float, pydantic.Field(ge=0)] = 0.1
    """Decoupled weight decay."""
    beta1: Share = 0.9
    """Decay of the first moment."""
    beta2: Share = 0.999
    """Decay of the second moment."""
    epsilon: Annotated[float, pydantic.Field(gt=0)] = 1e-8
    """Added to the root of the second moment."""
    clip_norm: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Largest norm of a step's gradient."""
    skip_nonfinite_steps: Annotated[int, pydantic.Field(ge=0)] = 0
    """Steps with an infinite or invalid gradient that are skipped; the next one ends the run."""
    second_moment: Literal["full", "factored"] = "full"
    """`factored` is Adafactor's: next to no memory."""
    momentum_dtype: Dtype = "float32"
    """Precision of the first moment."""


class EffectsConfig(Block):
    """How the arms of an outcome are compared (docs/treatments.md)."""

    weight: Annotated[float, pydantic.Field(gt=0)] = 10.0
    """Weight of this objective in a mixture (lambda)."""
    personas: Annotated[int, pydantic.Field(ge=2)] = 8
    """People who are asked about all arms in one batch."""
    personas_per_study: Annotated[int, pydantic.Field(ge=2)] = 32
    """People of a study from whom these are drawn."""
    tau: Annotated[float, pydantic.Field(gt=0)] = 0.03
    """Difference that no model need explain, as a share of the scale's range (tau_0)."""
    huber: Annotated[float, pydantic.Field(gt=0)] = 2.0
    """Standardized residual beyond which none pulls harder."""
    prior: Annotated[float, pydantic.Field(ge=0)] = 0.0
    """How strongly the start's own contrasts are kept (rho)."""
    prior_slope: float = 1.0
    """Factor on the start's contrasts (beta_0)."""


class ObjectiveConfig(Block):
    """What is minimized; `sft` is the cross entropy of the people's own answers, `contrast` and `profiled` see treatments."""

    kind: Literal["sft", "dpo", "soft", "wasserstein", "contrast", "profiled"] = "sft"
    """Objective: docs/training.md and docs/treatments.md describe each."""
    mixed_with: Literal["sft", "soft"] | None = None
    """Objective that `contrast` or `profiled` is added to; by default it stands alone."""
    effects: EffectsConfig | None = None
    """Settings of `contrast` and `profiled`."""
    sft_share: Share | None = None
    """Share of the loss that is sft's, with `dpo`, `soft` or `wasserstein`; by default none of it."""
    beta: Annotated[float, pydantic.Field(gt=0)] | None = None
    """Strength of `dpo`; by default 0.1."""
    pairs_per_response: Positive | None = None
    """Preference pairs made of each answer, for `dpo`; by default 1."""
    condition_on: tuple[str, ...] | None = None
    """Attributes in which people must be alike to share a histogram, for objectives that learn distributions; by default
    all who answered an item share one."""

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
        """How arms are compared; the defaults unless given."""
        return self.effects or EffectsConfig()

    @property
    def needs_reference(self) -> bool:
        """Whether log-probabilities under the start are part of the loss."""
        return self.kind == "dpo" or (self.sees_treatments and self.contrasts.prior > 0)
