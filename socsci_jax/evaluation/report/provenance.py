"""What predictions say of themselves, in the words of reporting checklists and methods sections."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from socsci_jax.evaluation.result import Evaluation
from socsci_jax.wording import counted, counted_of

# One unit of each part of a split.
_UNITS = {
    "unseen_studies": "unseen study",
    "unseen_conditions": "unseen condition",
    "unseen_outcomes": "unseen outcome",
    "unseen_participants": "unseen participant",
}


class Provenance:
    """What a predictions file says of itself, in words; "" where it says nothing."""

    def __init__(self, made: Mapping[str, Any], *, software: str, validation: str, purpose: str) -> None:
        """`made` is what predictions say of themselves; the others are said whatever made them."""
        self.metadata = made
        self.software, self.validation, self.purpose = software, validation, purpose
        self.training = mapping(self.metadata.get("training"))
        self.recipe = mapping(self.metadata.get("recipe"))
        self.layout = mapping(self.metadata.get("layout"))
        self.draws = (0, 0)  # counted, and how many of them no allowed answer
        # Our own simulation writes its command; of others nothing is assumed.
        self.is_ours = "elicitation" in self.metadata and bool(self.layout)

    @classmethod
    def of_evaluation(cls, evaluation: Evaluation) -> Provenance:
        """Those of predictions that were compared with people's answers."""
        counts = (*evaluation.counts.values(), *evaluation.coding.counts.values())
        parts = [f"{n['answers']:,} human answers to {counted(n['items'], 'item')}" for n in counts]
        provenance = cls(
            evaluation.metadata.get("predictions", {}),
            software=str(evaluation.metadata.get("evaluation", {}).get("software") or ""),
            validation=f"this evaluation: {'; '.join(parts)}" if parts else "",
            purpose="predicting how people answer; compared here with what people answered",
        )
        provenance.draws = (
            sum(n.get("draws", 0) for n in evaluation.counts.values()),
            sum(n.get("draws_off_scale", 0) for n in evaluation.counts.values()),
        )
        return provenance

    def given(self, key: str) -> str:
        """A key that authors may add themselves to the metadata."""
        value = self.metadata.get(key)
        return "" if value is None else value if isinstance(value, str) else as_json(value)

    def model(self) -> str:
        shape = mapping(mapping(self.recipe.get("model")).get("architecture"))
        start = mapping(self.recipe.get("model")).get("init_from")
        return sentences(
            self.given("model"),
            self.metadata.get("model_hash") and f"hash {self.metadata['model_hash']}",
            start and f"started from {'random weights' if start == 'random' else start}",
            shape
            and f"{shape.get('model_type', 'decoder')}, {shape.get('num_hidden_layers')} layers of width {shape.get('hidden_size')}",
        )

    def tuning(self) -> str:
        objective = mapping(self.recipe.get("objective")).get("kind")
        optimizer = mapping(self.recipe.get("optimizer"))
        studies = self.training.get("trained_studies")
        responses = _whole(self.training.get("trained_responses"))
        steps = _whole(self.training.get("total_steps"))
        return sentences(
            objective and f"fine-tuned with objective {objective}",
            responses
            and counted(responses, "response")
            + (f" of {counted(len(studies), 'study')}" if isinstance(studies, list) else ""),
            optimizer and f"{optimizer.get('epochs')} epochs, learning rate {optimizer.get('learning_rate')}",
            steps and counted(steps, "step"),
            self.recipe.get("lora") and f"LoRA {as_json(self.recipe['lora'])}",
            self.training.get("trained_on_hash")
            and f"hash of what was trained on {self.training['trained_on_hash']}",
        )

    def elicitation(self) -> str:
        how = self.metadata.get("elicitation")
        if how == "exact":
            return "probabilities of every allowed answer, computed exactly: no sampling, so no temperature and no seed"
        sampling = self.metadata.get("sampling")
        return sentences(
            how and str(how),
            sampling and f"sampling {as_json(sampling)}",
            self.metadata.get("seed") is not None and f"seed {self.metadata['seed']}",
        )

    def prompts(self) -> str:
        return "\n".join(
            str(self.layout[key]) for key in ("shared", "attribute", "own") if self.layout.get(key)
        )

    def after(self) -> str:
        draws, bad = self.draws
        return sentences(
            self.metadata.get("rejects") and f"rejected: {self.given('rejects')}",
            self.is_ours and "probabilities renormalized over the allowed answers",
            draws and f"{counted_of(bad, draws, 'draw')} no allowed answer and excluded from distances",
        )

    def paragraph(self) -> str:
        """How the predictions were made, for a methods section; "" where the file says nothing."""
        source = sentences(
            mapping(self.training.get("data")).get("source"),
            self.given("split") and f"split {self.given('split')}{self._split_drawn()}",
        )
        told = (
            (self.model(), "Predictions were made by"),
            (self.tuning(), "The model was"),
            (source, "Data:"),
            (self.held_out(), "Held out from training:"),
            (self.elicitation(), "Elicitation:"),
            (
                self.metadata.get("versions")
                and ", ".join(f"{k} {v}" for k, v in mapping(self.metadata["versions"]).items()),
                "Software:",
            ),
        )
        return " ".join(f"{words} {fact}." for fact, words in told if fact)

    def _split_drawn(self) -> str:
        seed = _whole(self.metadata.get("split_seed"))
        shares = [
            f"{share:.3g} of the {kind}{'' if kind == 'studies' else ' of a study'}"
            for kind, share in mapping(self.metadata.get("split_shares")).items()
            if isinstance(share, float)
        ]
        how = ([] if seed is None else [f"drawn with seed {seed}"]) + (
            [f"shares held out: {', '.join(shares)}"] if shares else []
        )
        return f" ({'; '.join(how)})" if how else ""

    def held_out(self) -> str:
        """The units that the split holds out: of its people not all answered what one part judges."""
        held = self.metadata.get("held_out")
        if isinstance(held, dict):
            units = ", ".join(
                counted(n, _UNITS.get(part, part.replace("_", " "))) if isinstance(n, int) else f"{part}: {n}"
                for part, n in held.items()
            )
            return f"{units} (units of the whole split; not all of them need be judged here)" if units else ""
        return self.given("held_out")


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def sentences(*parts: object) -> str:
    return "; ".join(str(part) for part in parts if part)
