"""What may be said of predicted effects of conditions."""

from __future__ import annotations

from typing import Literal

from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metrics.effects import FEWEST_CONTRASTS
from socsci_jax.evaluation.metrics.moments import ZERO
from socsci_jax.evaluation.result import Evaluation, MetricValue, is_known
from socsci_jax.evaluation.sentences import (
    Sentence,
    bracket,
    number,
    part_name,
    studies_of,
    with_interval,
)
from socsci_jax.evaluation.table import SAMPLED, SPLIT_HALF
from socsci_jax.wording import counted

# A model whose condition means vary by less than this share of what people's do is blind to the treatment.
BLIND_SPREAD = 0.02

EFFECTS_RULE = (
    "“move with the conditions” is written where the 95 % interval of the correlation within outcomes lies above zero, "
    "and the correlation above 95 % of those of shuffled conditions (2.5 % on either side); “blind” where predicted condition means do not vary "
    f"(less than {BLIND_SPREAD:.0%} of people's spread); “against” where the interval lies below zero, and the correlation below those of "
    "shuffled conditions; “cannot be told” otherwise"
)


State = Literal["nothing", "blind", "moves", "against", "undecided"]


def effects_state(r: Estimate | None, null: Estimate | None, spread: Estimate | None) -> State:
    """The rule of the effects' sentence, on the correlation within outcomes, that of shuffled conditions with the bounds
    of 95 % of shuffles, and the spread ratio.

    Either direction needs both: intervals speak for other studies, arms, outcomes or people, shuffles of whether
    these conditions have anything to do with each other.
    """
    if spread is not None and spread.value is not None and spread.value < BLIND_SPREAD:
        return "blind"
    if r is None:
        return "nothing"
    if r.value is None:
        # Without a value predictions do not vary, or, where they do, condition means are too few.
        return "blind" if spread is None or spread.value is None else "undecided"
    if r.lo is None or r.hi is None or null is None or null.lo is None or null.hi is None:
        return "undecided"
    # An order of conditions that is often among the shuffles is a bound itself, but for rounding.
    if r.lo > 0 and r.value > null.hi + ZERO:
        return "moves"
    if r.hi < 0 and r.value < null.lo - ZERO:
        return "against"
    return "undecided"


def state_of(evaluation: Evaluation, part: str) -> State:
    """The state of a part's predicted effects."""
    names = ("condition_sensitivity_r", "condition_sensitivity_r_null", "condition_sensitivity_spread_ratio")
    r, null, spread = (evaluation.metric(name, part=part) for name in names)
    return effects_state(r, null, spread)


def effects_verdict(evaluation: Evaluation, part: str) -> list[Sentence]:
    """Whether predictions move with the conditions, judged alongside people's own halves."""
    r = evaluation.metric("condition_sensitivity_r", part=part)
    null = evaluation.metric("condition_sensitivity_r_null", part=part)
    state = state_of(evaluation, part)
    name = part_name(part)
    if state == "nothing":
        contrast = evaluation.metric("effect_r", part=part)
        if contrast is None:
            text = (
                "No outcome has two conditions with predictions and enough answers here (a control has to be predicted as well), "
                "so nothing is known about effects."
            )
            return [Sentence("note", text)]
        if contrast.value is None:
            text = (
                f"Single arms against a control that was trained on: how effects hang together with people's cannot be told from "
                f"{counted(contrast.n, 'contrast')}: {FEWEST_CONTRASTS} are the least."
            )
            return [Sentence("undecided", text)]
        text = (
            f"Single arms against a control that was trained on: effects correlate {with_interval(contrast, digits=2)} "
            f"with people's over {counted(contrast.n, 'contrast')}; exploratory."
        )
        return [Sentence("note", text)]
    if state == "blind":
        text = (
            f"Do not rely on this model for effects of conditions in {name}: it is blind to the treatment, its "
            "predictions do not move with the conditions at all."
        )
        return [Sentence("warning", text, EFFECTS_RULE)]
    assert r is not None
    if r.value is None:
        text = (
            f"Whether predictions move with the conditions in {name} cannot be told from {counted(r.n, 'condition mean')}: "
            f"{FEWEST_CONTRASTS} are the least."
        )
        return [Sentence("undecided", text, EFFECTS_RULE)]
    evidence = _evidence(evaluation, part, r, null)
    if state == "moves":
        return [
            Sentence("claim", f"Predictions move with the conditions in {name}: {evidence}.", EFFECTS_RULE)
        ]
    if state == "against":
        text = f"Do not rely on this model for effects of conditions in {name}: predictions move against people's; {evidence}."
        return [Sentence("warning", text, EFFECTS_RULE)]
    text = f"Whether predictions move with the conditions in {name} cannot be told from {studies_of(evaluation, part)}: {evidence}."
    if r.excludes_zero:
        text += (
            " The interval excludes zero, but shuffled conditions give as much by chance: a claim, which could have been of either "
            "direction, needs a correlation outside 95 % of shuffles, and nothing can be claimed."
        )
        if evaluation.source(part) == SAMPLED:
            text += " Draws are noisy; probabilities would tell more."
    return [Sentence("undecided", text, EFFECTS_RULE)]


def _evidence(evaluation: Evaluation, part: str, r: MetricValue, null: MetricValue | None) -> str:
    """What a sentence on effects rests on: the correlation, that of shuffles and halves, and the signs of effects."""
    p = evaluation.metric("condition_sensitivity_p", part=part)
    half = evaluation.metric("condition_sensitivity_r", part=part, predictor=SPLIT_HALF)
    signs = evaluation.metric("effect_sign_agreement", part=part)
    evidence = (
        f"condition means correlate {with_interval(r, digits=2)} with people's within outcomes (with conditions "
        f"shuffled the correlation is at least as high with a one-sided p = {number(p.value if p else None)}"
        + (f", and 95 % of shuffles give{bracket(null, digits=2)}" if null else "")
        + (
            f"; people's own split-half correlation is {number(half.value, digits=2)}"
            if half and is_known(half)
            else ""
        )
        + ")"
    )
    if signs is not None and is_known(signs):
        evidence += f"; the sign of an effect is right in {with_interval(signs, digits=2)} of {counted(signs.n, 'contrast')}, where guessing gives 0.50"
        if signs.lo is None or signs.lo <= 0.5:
            evidence += " and may explain it"
    return evidence
