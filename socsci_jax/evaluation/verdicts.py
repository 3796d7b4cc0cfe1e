"""What the figures allow one to say, in plain sentences."""

from __future__ import annotations

from socsci_jax.evaluation.table import Evaluation

PART_NAMES = {
    "unseen_studies": "unseen studies",
    "unseen_conditions": "unseen conditions",
    "unseen_outcomes": "unseen outcomes",
    "unseen_participants": "unseen participants",
    "train": "training answers",
    "all": "all answers",
}
PREDICTOR_NAMES = {
    "model": "the model",
    "uniform": "a uniform guess",
    "training_shape": "the average shape of training answers",
    "pooled": "human answers pooled over conditions",
    "split_half": "one half of the people for the other half",
    "no_effect": "predicting no effect",
    "human": "the people's own answers",
}
# Below this many studies, percentile intervals over studies are known to be too narrow.
FEW_STUDIES = 10


def part_name(part: str) -> str:
    return PART_NAMES.get(part, part)


def number(value: float | None, *, digits: int = 3) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def with_interval(figure: dict | None, *, digits: int = 3) -> str:
    """ "0.151 [0.140, 0.163]", or "–" where nothing was computed."""
    if figure is None or figure["value"] is None:
        return "–"
    return number(figure["value"], digits=digits) + bracket(figure, digits=digits)


def bracket(figure: dict, *, digits: int = 3) -> str:
    if figure["lo"] is None:
        return ""
    return f" [{number(figure['lo'], digits=digits)}, {number(figure['hi'], digits=digits)}]"


def primary_wasserstein(evaluation: Evaluation, part: str) -> str:
    """The convention of the headline: the scale's own range, and probabilities where there are any."""
    return f"stated/{evaluation.source(part)}"


def difference(evaluation: Evaluation, part: str, predictor: str) -> dict | None:
    """The paired difference in W, model minus predictor, in the headline's convention."""
    return evaluation.figure(
        "wasserstein_difference",
        part=part,
        predictor=f"model-{predictor}",
        convention=primary_wasserstein(evaluation, part),
    )


def beats(figure: dict | None) -> bool:
    """True if a difference in a distance is below zero with its whole interval."""
    return figure is not None and figure["hi"] is not None and figure["hi"] < 0


def difference_sentence(evaluation: Evaluation, part: str, predictor: str) -> str:
    """Who is better and by how much; "no difference can be claimed" where the interval includes zero."""
    figure = difference(evaluation, part, predictor)
    name = PREDICTOR_NAMES[predictor]
    if figure is None or figure["value"] is None:
        return f"There is nothing to compare with {name} here."
    if figure["lo"] is None:
        return (
            f"No difference from {name} can be claimed: {number(figure['value'])} in {figure['n']} study, "
            "and an interval needs at least two."
        )
    size = {"value": abs(figure["value"]), "lo": figure["lo"], "hi": figure["hi"]}
    if figure["hi"] < 0:
        size.update(lo=-figure["hi"], hi=-figure["lo"])
        return f"The model is better than {name} by {with_interval(size)}."
    if figure["lo"] > 0:
        return f"The model is worse than {name} by {with_interval(size)}."
    return f"No difference from {name} can be claimed: {with_interval(figure)}."


def verdict(evaluation: Evaluation, part: str) -> list[str]:
    """What may be claimed for a part, the warnings first."""
    name = part_name(part)
    sentences = []
    judged = {p: difference(evaluation, part, p) for p in ("uniform", "pooled")}
    known = {p: f for p, f in judged.items() if f is not None and f["value"] is not None}
    lost = [p for p in known if not beats(known[p])]
    if not known:
        sentences.append(
            f"Nothing can be said about {name}: no item has enough answers on a scale of levels."
        )
    elif all(figure["lo"] is None for figure in known.values()):
        sentences.append(
            f"Do not rely on this model for {name}: they come from a single study, so no interval exists and "
            "nothing can be claimed beyond it."
        )
    elif lost:
        reasons = " or ".join(
            f"{PREDICTOR_NAMES[p]} (difference in distance {with_interval(known[p])}; below zero would be better)"
            for p in lost
        )
        sentences.append(f"Do not rely on this model for {name}: it does not do better than {reasons}.")
    else:
        sentences.append(
            f"For {name} the model does better than "
            + " and than ".join(f"{PREDICTOR_NAMES[p]} ({with_interval(known[p])})" for p in known)
            + "."
        )
    if known and "pooled" not in known:
        sentences.append(
            "No other human answers to these outcomes exist, so pooled answers cannot be compared."
        )
    sentences += _effects_verdict(evaluation, part)
    if part == "train":
        sentences.append("The model has seen these answers: this is fit, not prediction.")
    studies = evaluation.counts[part]["studies"]
    if 2 <= studies < FEW_STUDIES:
        sentences.append(f"Only {studies} studies: intervals over so few are likely to be too narrow.")
    return sentences


def effect_convention(evaluation: Evaluation, part: str) -> str | None:
    """The convention under which this part's effects were computed; None if it has no two conditions."""
    rows = evaluation.frame.filter(metric="effect_sign_agreement", scope=part, predictor="model")
    return rows["convention"][0] if rows.height else None


def _effects_verdict(evaluation: Evaluation, part: str) -> list[str]:
    convention = effect_convention(evaluation, part)
    if convention is None:
        return ["No outcome has two conditions with enough answers here, so nothing is known about effects."]

    def figure(metric: str) -> dict:
        return evaluation.figure(metric, part=part, predictor="model", convention=convention)

    r, p, signs = (
        figure("condition_sensitivity_r"),
        figure("condition_sensitivity_p"),
        figure("effect_sign_agreement"),
    )
    if r["value"] is None:
        return [
            f"Do not rely on this model for effects of conditions in {part_name(part)}: its predictions do not "
            "move with the conditions at all."
        ]
    said = (
        f"condition means correlate {with_interval(r, digits=2)} with the people's once the outcome's mean is taken "
        f"out (chance alone gives as much with p = {number(p['value'])}), and the sign of an effect is right in "
        f"{with_interval(signs, digits=2)} of contrasts, where guessing gives 0.50"
    )
    moves = r["lo"] is not None and r["lo"] > 0 and p["value"] < 0.05
    right = signs["lo"] is not None and signs["lo"] > 0.5
    if moves and right:
        return [f"Predictions move with the conditions: {said}."]
    return [f"Do not rely on this model for effects of conditions in {part_name(part)}: {said}."]
