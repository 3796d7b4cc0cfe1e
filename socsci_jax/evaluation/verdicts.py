"""What the values allow one to say, in plain sentences, each with its rule.

A sentence of kind "claim" is wrong at most once in twenty times where there is nothing to claim
(tests/evaluation/test_verdicts.py simulates how often); "cannot be told" is not "there is no difference".
"""

from __future__ import annotations

import dataclasses
import html
from typing import Any

import polars as pl

from socsci_jax.evaluation.effect_verdicts import effects_verdict
from socsci_jax.evaluation.intervals import FEWEST_CLUSTERS, Estimate
from socsci_jax.evaluation.result import Evaluation, is_known
from socsci_jax.evaluation.sentences import (
    PREDICTOR_NAMES,
    RESAMPLED_NAMES,
    Sentence,
    difference,
    number,
    part_name,
    studies_of,
    with_interval,
)
from socsci_jax.evaluation.table import (
    BASELINES,
    CONDITION_POOLED,
    MODEL,
    NO_EFFECT,
    PILOTS,
    PREDICTOR_TITLES,
    UNIFORM,
    pilot,
)
from socsci_jax.foreign_text import for_page
from socsci_jax.studies.reversed_scales import LEANING, MOST_REVERSED, mirrored_outcomes, mirrored_sentences
from socsci_jax.wording import counted, listed

# Below this many studies the sentences remind of how few they are.
FEW_STUDIES = 10


def beats(value: Estimate | None) -> bool:
    """Whether a difference in a distance is below zero with its whole interval."""
    return value is not None and value.hi is not None and value.hi < 0


def difference_sentence(evaluation: Evaluation, part: str, predictor: str) -> str:
    """Who is better and by how much; "cannot be told" where the interval includes zero."""
    gap = difference(evaluation, part, predictor)
    name = PREDICTOR_NAMES.get(predictor, predictor)
    if gap is None or gap.value is None:
        return f"There is nothing to compare with {name} here."
    if gap.lo is None or gap.hi is None:
        return (
            f"The difference from {name} is {number(gap.value)}, without an interval: nothing can be claimed."
        )
    size = Estimate(abs(gap.value), gap.lo, gap.hi)
    if gap.hi < 0:
        return f"The model is better than {name} by {with_interval(dataclasses.replace(size, lo=-gap.hi, hi=-gap.lo))}."
    if gap.lo > 0:
        return f"The model is worse than {name} by {with_interval(size)}."
    return (
        f"Whether the model is better than {name} cannot be told from {studies_of(evaluation, part)}: "
        f"{with_interval(gap)}."
    )


MIRRORED_RULE = (
    f"a scale is called reversed where people's answers and their mirror image are more than {LEANING} of the range apart, the "
    "predictions as far from the answers, and their mirror image less than a third of that"
)
DISTANCE_RULE = (
    "“better” is written where the whole 95 % interval of the paired difference in Wasserstein distance lies below zero, "
    "“worse” where it lies above, “cannot be told” otherwise"
)


def verdict(evaluation: Evaluation, part: str) -> list[Sentence]:
    """What may be claimed for a part: distances first, then effects, then what limits both."""
    sentences = _distance_verdict(evaluation, part) + effects_verdict(evaluation, part)
    sentences += _mirrored(evaluation, part)
    if part == "train":
        sentences.append(
            Sentence("warning", "The model has seen these answers: this is fit, not prediction.")
        )
    w = evaluation.metric("wasserstein", part=part)
    studies = evaluation.counts[part]["studies"]
    if w is not None and w.resampled in RESAMPLED_NAMES and w.resampled != "studies":
        sentences.append(
            Sentence(
                "note",
                f"Intervals speak for {RESAMPLED_NAMES[w.resampled]}, not for other studies: "
                f"{studies_of(evaluation, part)} {'is' if studies == 1 else 'are'} too few to say anything of others "
                f"({FEWEST_CLUSTERS} are the least).",
            )
        )
    elif 0 < studies < FEW_STUDIES:
        sentences.append(
            Sentence("note", f"Only {studies_of(evaluation, part)}: intervals are wide, and rest on t.")
        )
    return sentences


def _mirrored(evaluation: Evaluation, part: str) -> list[Sentence]:
    """A warning for each outcome whose predictions would fit if they were mirrored, at most MOST_REVERSED."""
    if evaluation.distributions.is_empty():
        return []
    # What lies near is not mirrored; looking at every item would take as long as judging it.
    distance = (pl.col("wasserstein") * pl.col("n")).sum().over("study", "outcome")
    far = distance > LEANING * pl.col("n").sum().over("study", "outcome")
    mirrored = mirrored_outcomes(evaluation.distributions.filter(part=part).filter(far))
    mirrored = mirrored.sort("n", descending=True)
    texts = mirrored_sentences(mirrored.head(MOST_REVERSED))
    if mirrored.height > MOST_REVERSED:
        texts[-1] += f" So it is with {counted(mirrored.height - MOST_REVERSED, 'other outcome')}."
    return [Sentence("warning", text, MIRRORED_RULE) for text in texts]


def _speaks_for_studies(evaluation: Evaluation, part: str) -> bool:
    """Whether a claim about a part may be made: about unseen studies only where studies were resampled."""
    w = evaluation.metric("wasserstein", part=part)
    return part != "unseen_studies" or (w is not None and w.resampled == "studies")


def _distance_verdict(evaluation: Evaluation, part: str) -> list[Sentence]:
    name = part_name(part)
    differences = {p: difference(evaluation, part, p) for p in (UNIFORM, CONDITION_POOLED)}
    known = {p: value for p, value in differences.items() if value is not None and is_known(value)}
    if not known:
        least = evaluation.metadata.get("evaluation", {}).get("minimum_n")
        enough = "enough answers" if least is None else f"enough answers ({least} are the least)"
        return [
            Sentence(
                "warning",
                f"Nothing can be said about {name}: no item has {enough} on a scale of response options.",
            )
        ]

    def words(chosen: list[str]) -> str:
        return " and ".join(
            f"{PREDICTOR_NAMES[p]} (difference in distance {with_interval(known[p])})" for p in chosen
        )

    better = [p for p, value in known.items() if beats(value)]
    worse = [p for p, value in known.items() if value.lo is not None and value.lo > 0]
    open_ = [p for p in known if p not in better and p not in worse]
    sentences = []
    if worse:
        text = f"Do not rely on this model for {name}: it does worse than {words(worse)}."
        sentences.append(Sentence("warning", text, DISTANCE_RULE))
    if better and _speaks_for_studies(evaluation, part):
        text = f"For {name} the model does better than {words(better)}."
        sentences.append(Sentence("claim", text, DISTANCE_RULE))
    elif better:
        n = evaluation.counts[part]["studies"]
        text = (
            f"In {'this study' if n == 1 else f'these {n} studies'} the model does better than {words(better)}; whether it does in other "
            "unseen studies cannot be told from so few."
        )
        sentences.append(Sentence("undecided", text, DISTANCE_RULE))
    if open_:
        text = f"Whether the model does better than {words(open_)} cannot be told from {studies_of(evaluation, part)}."
        sentences.append(Sentence("undecided", text, DISTANCE_RULE))
    if CONDITION_POOLED not in known:
        text = "No other human answers to these outcomes exist, so what they give pooled over conditions is missing."
        sentences.append(Sentence("note", text))
    return sentences


def registration(evaluation: Evaluation) -> Sentence:
    """Whether findings may be called confirmed: only where they were registered before the answers were seen."""
    registered = evaluation.metadata.get("predictions", {}).get("registered")
    if isinstance(registered, str) and registered.strip():
        return Sentence(
            "note",
            f"Registered before the answers were seen: {registered.strip()}. What it names may be called confirmed, all "
            "else is exploratory.",
        )
    return Sentence(
        "note",
        "Exploratory: the predictions name no registration (metadata key “registered”), so nothing here may be called "
        "confirmed, and with several parts and metrics some differences will look clear by chance.",
    )


def methods_paragraph(evaluation: Evaluation, part: str) -> str:
    """What a methods section says of a part, to paste: data, metric, baselines, intervals."""
    counts = evaluation.counts[part]
    settings = evaluation.metadata["evaluation"]
    w = evaluation.metric("wasserstein", part=part)
    resampled = w.resampled if w is not None and w.resampled else "studies"
    source = (
        "probabilities over the response options"
        if evaluation.source(part) == "exact"
        else "one draw per person"
    )
    known = set(evaluation.table.filter(pl.col("part") == part)["predictor"].unique())
    pilots = [str(n) for n in PILOTS if pilot(n) in known]
    return (
        f"Predictions were compared with {counts['answers']:,} human answers to {counted(counts['items'], 'item')} "
        f"({studies_of(evaluation, part)}; {part_name(part)}) with at least {counted(settings['minimum_n'], 'answer')} each. The primary "
        "metric is the Wasserstein-1 distance between predicted and human distributions on response options rescaled by the scale's "
        f"range (Vallender 1974), from {source}, averaged over items within studies and then over studies. "
        + ("Answers are weighted by people's survey weights. " if settings.get("weighted") else "")
        + "It is reported with a uniform guess, human answers pooled over conditions, "
        + (f"pilots of {listed(pilots)} people, " if pilots else "")
        + "and one random half of the people as a predictor of the other half; effects of conditions are judged by the correlation of condition means "
        "centered within outcomes, with a permutation null. Intervals of 95 % resample "
        f"{resampled} ({settings.get('resamples', 0):,} bootstrap resamples, seed {settings['seed']}; t-based below 100 "
        f"clusters); differences between predictors are paired. Computed with {settings.get('software', 'socsci_jax')}."
    )


HEADLINE = (
    "wasserstein",
    "total_variation",
    "individual_accuracy_draw",
    "condition_sensitivity_r",
    "effect_r_adjusted",
    "effect_rmse",
)


def headline_table(evaluation: Evaluation) -> pl.DataFrame:
    """The headline metrics of each part: one row a metric, a column a predictor, as text with intervals."""
    rows: list[dict[str, Any]] = []
    for part in evaluation.parts:
        for name in HEADLINE:
            value = evaluation.metric(name, part=part)
            if value is None:
                continue
            row: dict[str, Any] = {"part": part_name(part), "metric": value.definition.title, "n": value.n}
            for predictor in (MODEL, *BASELINES, NO_EFFECT):
                other = evaluation.metric(name, part=part, predictor=predictor)
                row[PREDICTOR_TITLES[predictor]] = with_interval(other, digits=value.definition.digits)
            rows.append(row)
    return pl.DataFrame(rows)


def summary_html(evaluation: Evaluation) -> str:
    """What a notebook shows: the sentences and the headline's table, escaped."""
    parts = []
    for part in evaluation.parts:
        sentences = "".join(f"<li>{html.escape(for_page(s.text))}</li>" for s in verdict(evaluation, part))
        parts.append(f"<h4>{html.escape(for_page(part_name(part)))}</h4><ul>{sentences}</ul>")
    table = headline_table(evaluation)
    head = "".join(f"<th>{html.escape(for_page(name))}</th>" for name in table.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(for_page(cell))}</td>" for cell in row) + "</tr>"
        for row in table.iter_rows()
    )
    return f"<div>{''.join(parts)}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
