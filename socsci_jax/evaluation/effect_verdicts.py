"""What may be said of predicted effects of conditions."""

from __future__ import annotations

from typing import Literal

from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.result import Evaluation, is_known
from socsci_jax.evaluation.sentences import (
    Sentence,
    number,
    part_name,
    studies_of,
    with_interval,
)
from socsci_jax.evaluation.table import (
    SPLIT_HALF,
)
from socsci_jax.wording import counted

# A model whose condition means vary by less than this share of what people's do is blind to the treatment.
BLIND_SPREAD = 0.02

ALPHA = 0.05

EFFECTS_RULE = (
    "“move with the conditions” is written where the 95 % interval of the correlation within outcomes lies above zero and "
    "shuffled conditions reach it in fewer than 5 % of shuffles; “blind” where predicted condition means do not vary "
    f"(less than {BLIND_SPREAD:.0%} of people's spread); “against” where the interval lies below zero; “cannot be "
    "told” otherwise"
)


def effects_state(
    r: Estimate | None, p: Estimate | None, spread: Estimate | None
) -> Literal["nothing", "blind", "moves", "against", "undecided"]:
    """The rule of the effects' sentence, on the correlation within outcomes, its p and the spread ratio."""
    if spread is not None and spread.value is not None and spread.value < BLIND_SPREAD:
        return "blind"
    if r is None:
        return "nothing"
    if r.value is None:
        return "blind"
    if r.lo is not None and r.lo > 0 and p is not None and p.value is not None and p.value < ALPHA:
        return "moves"
    if r.hi is not None and r.hi < 0:
        return "against"
    return "undecided"


def effects_verdict(evaluation: Evaluation, part: str) -> list[Sentence]:
    """Whether predictions move with the conditions, judged alongside people's own halves."""
    r = evaluation.metric("condition_sensitivity_r", part=part)
    p = evaluation.metric("condition_sensitivity_p", part=part)
    spread = evaluation.metric("condition_sensitivity_spread_ratio", part=part)
    state = effects_state(r, p, spread)
    name = part_name(part)
    if state == "nothing":
        contrast = evaluation.metric("effect_r", part=part)
        if contrast is None:
            text = (
                "No outcome has two conditions with predictions and enough answers here (a control has to be predicted as well), "
                "so nothing is known about effects."
            )
            return [Sentence("note", text)]
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
    half = evaluation.metric("condition_sensitivity_r", part=part, predictor=SPLIT_HALF)
    signs = evaluation.metric("effect_sign_agreement", part=part)
    facts = (
        f"condition means correlate {with_interval(r, digits=2)} with people's within outcomes (with conditions "
        f"shuffled the correlation is at least as high with p = {number(p.value if p else None)}"
        + (
            f"; people's own split-half correlation is {number(half.value, digits=2)}"
            if half and is_known(half)
            else ""
        )
        + ")"
    )
    if signs is not None and is_known(signs):
        facts += f"; the sign of an effect is right in {with_interval(signs, digits=2)} of {counted(signs.n, 'contrast')}, where guessing gives 0.50"
        if signs.lo is None or signs.lo <= 0.5:
            facts += " and may explain it"
    if state == "moves":
        return [Sentence("claim", f"Predictions move with the conditions in {name}: {facts}.", EFFECTS_RULE)]
    if state == "against":
        text = f"Do not rely on this model for effects of conditions in {name}: predictions move against people's; {facts}."
        return [Sentence("warning", text, EFFECTS_RULE)]
    text = f"Whether predictions move with the conditions in {name} cannot be told from {studies_of(evaluation, part)}: {facts}."
    return [Sentence("undecided", text, EFFECTS_RULE)]
