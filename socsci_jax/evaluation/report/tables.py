"""The tables of the report."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metric import EffectMetric, Metric
from socsci_jax.evaluation.metrics import FAMILIES
from socsci_jax.evaluation.report.names import anchor, headline_predictors, study_files
from socsci_jax.evaluation.result import Evaluation, is_known
from socsci_jax.evaluation.sentences import PREDICTOR_NAMES, part_name, with_interval
from socsci_jax.evaluation.table import (
    BASELINES,
    EVERY_ARM_WORKS,
    EXACT,
    HUMAN,
    MODEL,
    NO_EFFECT,
    OBSERVED,
    PREDICTOR_TITLES,
    SAMPLED,
    SCALE,
    SPLIT_HALF,
)
from socsci_jax.pages.tables import Cell, Column, Table, whole, words

EFFECT_PREDICTORS = (MODEL, NO_EFFECT, EVERY_ARM_WORKS, SPLIT_HALF, HUMAN)


def estimate(value_of: Estimate | None, *, digits: int = 3) -> Cell:
    value = None if value_of is None or value_of.value is None else float(f"{value_of.value:.6g}")
    return Cell(with_interval(value_of, digits=digits), value)


def _predictor(name: str) -> Column:
    return Column(PREDICTOR_TITLES[name], help=PREDICTOR_NAMES.get(name, ""), is_marked=name == MODEL)


def headline(evaluation: Evaluation) -> Table:
    """The distance of every predictor in every part that has one, with what it rests on."""
    parts = [p for p in evaluation.parts if is_known(evaluation.metric("wasserstein", part=p))]
    shown = [p for p in PREDICTOR_TITLES if any(p in headline_predictors(evaluation, part) for part in parts)]
    rows = [
        [
            words(part_name(part) + (" (from draws)" if evaluation.source(part) == SAMPLED else "")),
            *(estimate(evaluation.metric("wasserstein", part=part, predictor=p)) for p in shown),
            *(whole(evaluation.counts[part][name]) for name in ("studies", "items", "answers")),
        ]
        for part in parts
    ]
    return Table(
        name="distances",
        title="Wasserstein distance between predicted and human answers, 95 % intervals; lower is better",
        columns=[
            Column("Part", is_number=False),
            *(_predictor(p) for p in shown),
            *(Column(name) for name in ("Studies", "Items", "Answers")),
        ],
        rows=rows,
    )


def _of_effects(metric: Metric) -> bool:
    return isinstance(metric, EffectMetric) or metric.name.startswith(
        ("condition_sensitivity", "true_effect")
    )


def _every() -> Iterable[Metric]:
    return (metric for family in FAMILIES.values() for metric in family)


def effects(evaluation: Evaluation, part: str) -> Table | None:
    """Every metric of effects, with the number of contrasts or condition means; None where there is none."""
    rows = []
    for metric in filter(_of_effects, _every()):
        estimates = [evaluation.metric(metric.name, part=part, predictor=p) for p in EFFECT_PREDICTORS]
        if any(is_known(value) for value in estimates):
            n = next(value.n for value in estimates if value is not None)
            rows.append(
                [
                    Cell(metric.title, help=_meaning(metric)),
                    *(estimate(value, digits=metric.digits) for value in estimates),
                    whole(n),
                    words(metric.direction),
                ]
            )
    if not rows:
        return None
    return Table(
        name=f"{anchor(evaluation, part)}-effect-metrics",
        title=f"Effects of conditions, {part_name(part)}; n counts contrasts or condition means",
        columns=[
            Column("Metric", is_number=False),
            *(_predictor(p) for p in EFFECT_PREDICTORS),
            Column("n"),
            Column("Which way", is_number=False),
        ],
        rows=rows,
    )


def metrics(evaluation: Evaluation, part: str) -> Table | None:
    """Every metric that is not of effects, in every normalization and source that was computed."""
    rows = []
    columns = (MODEL, *BASELINES)
    for metric in (m for m in _every() if not _of_effects(m)):
        for normalization in (SCALE, OBSERVED) if getattr(metric, "normalized", False) else (None,):
            for source in (EXACT, SAMPLED):
                estimates = [
                    evaluation.metric(
                        metric.name, part=part, predictor=p, normalization=normalization, source=source
                    )
                    for p in columns
                ]
                if is_known(estimates[0]):
                    rows.append(
                        [
                            Cell(metric.title, help=_meaning(metric)),
                            words(normalization or "–"),
                            words(source),
                            *(estimate(value, digits=metric.digits) for value in estimates),
                            words(metric.direction),
                        ]
                    )
    if not rows:
        return None
    return Table(
        name=f"{anchor(evaluation, part)}-metrics",
        title=f"All metrics, {part_name(part)}",
        columns=[
            Column("Metric", is_number=False),
            Column(
                "Range",
                is_number=False,
                help="scale: divided by the scale's own range; observed: by the range that people used",
            ),
            Column(
                "From",
                is_number=False,
                help="exact: the model's probabilities; sampled: one draw for each person",
            ),
            *(_predictor(p) for p in columns),
            Column("Which way", is_number=False),
        ],
        rows=rows,
    )


def _meaning(metric: Metric) -> str:
    return f"{metric.formula}\nBeware: {metric.trap}"


def studies(evaluation: Evaluation) -> Table | None:
    """A row for each study and part, which leads to the study's page; None where no study has a page."""
    files = study_files(evaluation)
    if not files:
        return None
    titles = dict(evaluation.background.studies.select("study", "title").iter_rows())
    contrasts = _counted(evaluation.contrasts)
    items = _counted(evaluation.distributions)
    rows = []
    for part in evaluation.parts:
        for study, file in files.items():
            n_items, n_contrasts = items.get((part, study), 0), contrasts.get((part, study), 0)
            if not n_items and not n_contrasts:
                continue
            rows.append(
                [
                    Cell(study, href=f"studies/{file}"),
                    words(titles.get(study) or "–"),
                    words(part_name(part)),
                    whole(n_items),
                    whole(n_contrasts),
                    *(
                        estimate(evaluation.metric("wasserstein", part=part, predictor=p, study=study))
                        for p in (MODEL, *BASELINES)
                    ),
                ]
            )
    return Table(
        name="studies",
        title="Every study, with its distance; each has a page",
        columns=[
            *(Column(title, is_number=False) for title in ("Study", "Title", "Part")),
            Column("Items"),
            Column("Contrasts"),
            *(_predictor(p) for p in (MODEL, *BASELINES)),
        ],
        rows=rows,
    )


def _counted(frame: pl.DataFrame) -> dict[tuple[str, str], int]:
    if frame.is_empty():
        return {}
    return {(part, study): n for part, study, n in frame.group_by("part", "study").len().iter_rows()}


def people(evaluation: Evaluation) -> Table | None:
    """Who the people of each part were: a row for each value of an attribute, a column for each part."""
    frame = evaluation.background.people.filter(pl.col("attribute").is_not_null())
    if frame.is_empty():
        return None
    total = dict(
        evaluation.background.people.filter(pl.col("attribute").is_null()).select("part", "n").iter_rows()
    )
    # Of a part that is judged there may be nobody of whom anything is known.
    parts = [part for part in frame["part"].unique(maintain_order=True) if total.get(part)]
    counts: dict[tuple[str, str | None], dict[str, int]] = {}
    for part, attribute, value, n in frame.iter_rows():
        counts.setdefault((attribute, value), {})[part] = n
    places = list(dict.fromkeys(attribute for attribute, _ in counts))
    ordered = sorted(counts, key=lambda pair: places.index(pair[0]))
    rows = [
        [
            words(attribute),
            words(value if value is not None else "not known"),
            *(_share(counts[attribute, value].get(part, 0), total.get(part, 0)) for part in parts),
        ]
        for attribute, value in ordered
    ]
    return Table(
        name="people",
        title="The people whose answers were predicted: number and share in each part",
        columns=[
            Column("Attribute", is_number=False),
            Column("Value", is_number=False),
            *(Column(f"{part_name(part)} (n = {total.get(part, 0):,})") for part in parts),
        ],
        rows=rows,
    )


def _share(n: int, total: int) -> Cell:
    return Cell(f"{n:,} ({n / total:.0%})" if total else f"{n:,}", n)
