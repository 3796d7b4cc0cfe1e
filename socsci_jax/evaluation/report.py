"""Writes an evaluation as tables and as one self-contained page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl
import pyarrow.parquet as pq
from rich.table import Table

from socsci_jax.evaluation import coding_report, plots, verdicts
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metric import EffectMetric, Metric
from socsci_jax.evaluation.metrics import FAMILIES
from socsci_jax.evaluation.result import Evaluation, is_known
from socsci_jax.evaluation.table import (
    BASELINES,
    EVALUATION_SCHEMA,
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
from socsci_jax.evaluation.verdicts import number, part_name, with_interval
from socsci_jax.foreign_text import write_csv
from socsci_jax.storage import beside, writing
from socsci_jax.studies.predictions import METADATA_KEY

COLUMNS = (MODEL, *BASELINES)
EFFECT_COLUMNS = (MODEL, NO_EFFECT, EVERY_ARM_WORKS, SPLIT_HALF, HUMAN)
ITEMS_DRAWN = 12

# What a reader needs to repeat or doubt a prediction; what the file does not say is shown as not stated.
CHECKLIST = {
    "model": "Model",
    "model_hash": "Hash of the model",
    "recipe": "Recipe",
    "layout": "Prompt layout",
    "seed": "Seed",
    "split": "Split",
    "store_hash": "Hash of the study store",
    "versions": "Software versions",
    "rejects": "Predictions rejected",
    "held_out": "What was held out from training",
}


def summary_table(evaluation: Evaluation) -> Table:
    """The headline for a terminal of 80 columns: W per part for the model and the predictors beside it."""
    table = Table(
        title="Wasserstein distance on the scale's own range (lower is better)",
        caption="below each value its 95 % interval; see the report for what was resampled",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("part", no_wrap=True)
    for name in COLUMNS:
        table.add_column(PREDICTOR_TITLES[name].replace(" ", "\n"), justify="right", no_wrap=True)
    for part in evaluation.parts:
        studies = evaluation.counts[part]["studies"]
        size = f"{studies} {'study' if studies == 1 else 'studies'}"
        table.add_row(
            f"{part_name(part)}\n{size}{', from draws' if evaluation.source(part) == SAMPLED else ''}",
            *(_two_lines(found) for found in _headline(evaluation, part).values()),
        )
    return table


def _two_lines(found: Estimate | None) -> str:
    """The value, and below it its interval: eleven columns wide."""
    if found is None or found.value is None:
        return "–"
    interval = "" if found.lo is None else f"{number(found.lo)}–{number(found.hi)}"
    return f"{number(found.value)}\n{interval}"


def write_report(evaluation: Evaluation, out_dir: str | Path) -> Path:
    """Writes the tables (evaluation.parquet and .csv, items, contrasts, condition_means, counts) and report.html.

    Returns the page's path.

    All is made in a folder beside `out_dir` and moved there at the end, so a failure leaves nothing behind;
    other files in `out_dir` are left alone.
    """
    out_dir = Path(out_dir)
    with writing(out_dir), beside(out_dir) as partial:
        facts = json.dumps(
            {**evaluation.metadata, "counts": evaluation.counts, "notes": evaluation.notes},
            ensure_ascii=False,
            default=str,
        )
        table = evaluation.table.to_arrow().cast(EVALUATION_SCHEMA)
        pq.write_table(
            table.replace_schema_metadata({METADATA_KEY: facts.encode()}), partial / "evaluation.parquet"
        )
        write_csv(evaluation.table, partial / "evaluation.csv")
        write_csv(_items_table(evaluation), partial / "items.csv")
        write_csv(evaluation.contrasts, partial / "contrasts.csv")
        write_csv(evaluation.condition_means, partial / "condition_means.csv")
        write_csv(_counts_table(evaluation), partial / "counts.csv")
        (partial / "report.html").write_text(render(evaluation), encoding="utf-8")
        out_dir.mkdir(exist_ok=True)
        for made in sorted(partial.iterdir()):
            os.replace(made, out_dir / made.name)
    return out_dir / "report.html"


def _items_table(evaluation: Evaluation) -> pl.DataFrame:
    """One row an item, with the id that the evaluation table does not have, and why it is in no average."""
    place = ("part", "item_id", "study", "condition", "outcome", "n")
    tables = [evaluation.distributions.select(*place, "wasserstein")] if evaluation.parts else []
    tables += [evaluation.coding.items.select(*place, "accuracy")] if evaluation.coding.parts else []
    items = pl.concat(tables, how="diagonal")
    reasons = evaluation.excluded.select(
        "part", "item_id", study="study_id", condition="condition", outcome="outcome", excluded="reason"
    )
    unscored = reasons.join(items, on=["part", "item_id"], how="anti")
    scored = items.join(reasons.select("part", "item_id", "excluded"), on=["part", "item_id"], how="left")
    return pl.concat([scored, unscored], how="diagonal")


def _counts_table(evaluation: Evaluation) -> pl.DataFrame:
    """What was counted in each part: part, what, n."""
    rows = [
        (part, what, n)
        for counts in (evaluation.counts, evaluation.coding.counts)
        for part, numbers in counts.items()
        for what, n in numbers.items()
    ]
    return pl.DataFrame(rows, schema={"part": pl.String, "what": pl.String, "n": pl.Int64}, orient="row")


def _headline(evaluation: Evaluation, part: str) -> dict[str, Estimate | None]:
    return {name: evaluation.metric("wasserstein", part=part, predictor=name) for name in COLUMNS}


def _size(evaluation: Evaluation, part: str) -> str:
    counts = evaluation.counts[part]
    return f"{counts['studies']} / {counts['items']} / {counts['answers']:,}"


def render(evaluation: Evaluation) -> str:
    """The page as HTML: no script, no external resource, the same bytes for the same evaluation."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("socsci_jax.evaluation", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    settings = evaluation.metadata["evaluation"]
    made = evaluation.metadata["predictions"]
    rng = np.random.default_rng(settings["seed"])
    shown = evaluation.parts[0] if evaluation.parts else ""
    chosen = pl.DataFrame()
    if shown:
        chosen = plots.choose_items(evaluation.distributions.filter(part=shown), count=ITEMS_DRAWN, rng=rng)
    return environment.get_template("report.html.jinja").render(
        model=_text(made.get("model", "a model that the predictions file does not name")),
        settings={name: _text(value) for name, value in settings.items()},
        minimum_n=settings["minimum_n"],
        halves=settings["halves"],
        resamples=settings["resamples"],
        notes=evaluation.notes,
        registration=verdicts.registration(evaluation).text,
        methods=[
            (part_name(part), verdicts.methods_paragraph(evaluation, part)) for part in evaluation.parts
        ],
        parts=[_part(evaluation, part, rng) for part in evaluation.parts],
        effect_titles=[PREDICTOR_TITLES[name] for name in EFFECT_COLUMNS],
        column_titles=[PREDICTOR_TITLES[name] for name in COLUMNS],
        coded=coding_report.sections(evaluation.coding),
        coded_titles=list(coding_report.COLUMN_TITLES.values()),
        shown=part_name(shown),
        distributions=[plots.distribution(row) for row in chosen.iter_rows(named=True)],
        checklist=[(title, _text(made[key]) if key in made else None) for key, title in CHECKLIST.items()],
        other_facts=[(key, _text(value)) for key, value in made.items() if key not in CHECKLIST],
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _part(evaluation: Evaluation, part: str, rng: np.random.Generator) -> dict[str, Any]:
    counts = evaluation.counts[part]
    source = evaluation.source(part)
    return {
        "id": part,
        "name": part_name(part),
        "source": source,
        "size": _size(evaluation, part),
        "counts": counts,
        "verdict": verdicts.verdict(evaluation, part),
        "headline": [with_interval(found) for found in _headline(evaluation, part).values()],
        "differences": [verdicts.difference_sentence(evaluation, part, name) for name in BASELINES],
        "metrics": _metric_rows(evaluation, part),
        "effects": _effect_rows(evaluation, part),
        "excluded": _excluded(evaluation, part),
        "plots": _plots(evaluation, part, rng),
    }


def _metric_rows(evaluation: Evaluation, part: str) -> list[tuple[str, list[str]]]:
    """Every metric that is not of effects, in every normalization and source that was computed."""
    rows = []
    for metric in (m for family in FAMILIES.values() for m in family if not _of_effects(m)):
        for normalization in (SCALE, OBSERVED) if getattr(metric, "normalized", False) else (None,):
            for source in (EXACT, SAMPLED):
                found = [
                    evaluation.metric(
                        metric.name, part=part, predictor=name, normalization=normalization, source=source
                    )
                    for name in COLUMNS
                ]
                if is_known(found[0]):
                    words = [
                        metric.title,
                        normalization and f"{normalization} range",
                        source,
                        metric.direction,
                    ]
                    rows.append(
                        (
                            ", ".join(word for word in words if word),
                            [with_interval(value, digits=metric.digits) for value in found],
                        )
                    )
    return rows


def _of_effects(metric: Metric) -> bool:
    return isinstance(metric, EffectMetric) or metric.name.startswith(
        ("condition_sensitivity", "true_effect")
    )


def _effect_rows(evaluation: Evaluation, part: str) -> list[tuple[str, list[str]]]:
    """Every metric of effects, for the model and what it is compared with, with the number of contrasts or means."""
    rows = []
    for metric in (m for family in FAMILIES.values() for m in family if _of_effects(m)):
        found = [evaluation.metric(metric.name, part=part, predictor=name) for name in EFFECT_COLUMNS]
        if any(is_known(value) for value in found):
            n = next(value.n for value in found if value is not None)
            cells = [with_interval(value, digits=metric.digits) for value in found]
            rows.append((f"{metric.title} ({metric.direction})", [*cells, f"{n:,}"]))
    return rows


EXCLUDED = {
    "items_not_levels": "items whose scale is not a list of levels: not evaluated",
    "items_below_minimum_n": "items with fewer answers than the minimum: in the tables, in no average",
    "items_without_prediction": "items without any prediction",
    "answers_without_prediction": "answers without a prediction (including those of such items)",
    "answers_off_scale": "human answers off their item's scale",
    "items_where_all_answered_alike": "items to which everybody gave one answer: no distance on the observed range",
    "items_without_training_marginal": "items with a number of levels that no training item has: uniform stands in",
    "items_without_pooled_answers": "items without other human answers to pool",
    "draws_off_scale": "draws that are no allowed answer: excluded from distances",
}


def _excluded(evaluation: Evaluation, part: str) -> list[str]:
    counts = evaluation.counts[part]
    lines = [f"{counts[name]:,} {words}" for name, words in EXCLUDED.items() if counts[name]]
    if 0 < counts["items_without_probabilities"] < counts["items"] + counts["items_below_minimum_n"]:
        lines.append(
            f"{counts['items_without_probabilities']:,} items without probabilities for everybody: draws are used"
        )
    return lines


def _plots(evaluation: Evaluation, part: str, rng: np.random.Generator) -> list[plots.Plot]:
    per_study = (
        evaluation.table.filter(
            pl.col("study").is_not_null() & pl.col("outcome").is_null() & pl.col("reference").is_null(),
            pl.col("group").is_null(),
            metric="wasserstein",
            part=part,
            normalization=SCALE,
            source=evaluation.source(part),
        )
        .filter(pl.col("predictor").is_in(COLUMNS))
        .select("study", "predictor", "value")
    )
    drawn = []
    if per_study.height:
        drawn.append(
            plots.forest(
                per_study,
                _headline(evaluation, part),
                names=PREDICTOR_TITLES,
                caption="Distance between predicted and human answers in each study; the lines on top are 95 % "
                "intervals of the mean over studies.",
            )
        )
    effects = evaluation.contrasts.filter(part=part)
    if effects.height:
        caption = (
            "Effects: difference in mean answer between a condition and its control, or between two conditions, "
            "as a share of the scale. On the dashed line the prediction is right."
        )
        drawn.append(
            plots.scatter(effects["human"], effects["model"], what="effect", caption=caption, rng=rng)
        )
    means = evaluation.condition_means.filter(part=part)
    if means.height:
        caption = (
            "Condition sensitivity: mean answer of each condition, less the mean of its outcome. A model that "
            "knows the outcomes and ignores the conditions lies flat on the horizontal line."
        )
        drawn.append(
            plots.scatter(
                means["human_centered"],
                means["model_centered"],
                what="departure from the outcome's mean",
                caption=caption,
                rng=rng,
            )
        )
    return drawn
