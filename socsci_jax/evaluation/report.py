"""Writes an evaluation as tables and as one self-contained page."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path

import jinja2
import numpy as np
import polars as pl
import pyarrow.parquet as pq
from rich.table import Table

from socsci_jax.evaluation import coding_report, plots, verdicts
from socsci_jax.evaluation.table import BASELINES, MODEL, Evaluation
from socsci_jax.evaluation.verdicts import number, part_name, with_interval
from socsci_jax.studies.predictions import METADATA_KEY
from socsci_jax.studies.schema import EVALUATION_SCHEMA

COLUMNS = (MODEL, *BASELINES)
COLUMN_TITLES = {
    MODEL: "model",
    "uniform": "uniform",
    "training_shape": "training shape",
    "pooled": "pooled",
    "split_half": "split half",
    "no_effect": "no effect",
    "human": "people",
}
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
        caption="below each figure its 95 % interval over studies",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("part", no_wrap=True)
    for name in COLUMNS:
        table.add_column(COLUMN_TITLES[name].replace(" ", "\n"), justify="right", no_wrap=True)
    for part in evaluation.parts:
        studies = evaluation.counts[part]["studies"]
        size = f"{studies} {'study' if studies == 1 else 'studies'}"
        table.add_row(
            f"{part_name(part)}\n{size}{', from draws' if evaluation.source(part) == 'sampled' else ''}",
            *(_two_lines(figure) for figure in _headline(evaluation, part).values()),
        )
    return table


def _two_lines(figure: dict | None) -> str:
    """The value, and below it its interval: eleven columns wide."""
    if figure is None or figure["value"] is None:
        return "–"
    interval = "" if figure["lo"] is None else f"{number(figure['lo'])}–{number(figure['hi'])}"
    return f"{number(figure['value'])}\n{interval}"


def write_report(evaluation: Evaluation, out_dir: str | Path) -> Path:
    """Writes evaluation.parquet, evaluation.csv, items.csv and report.html; returns the page's path.

    All is made in a folder beside `out_dir` and moved there at the end, so a failure leaves nothing behind;
    other files in `out_dir` are left alone.
    """
    out_dir = Path(out_dir)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = out_dir.parent / f".{out_dir.name}.partial-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        facts = json.dumps(
            {**evaluation.metadata, "counts": evaluation.counts, "notes": evaluation.notes},
            ensure_ascii=False,
            default=str,
        )
        table = evaluation.frame.to_arrow().cast(EVALUATION_SCHEMA)
        pq.write_table(
            table.replace_schema_metadata({METADATA_KEY: facts.encode()}), partial / "evaluation.parquet"
        )
        evaluation.frame.write_csv(partial / "evaluation.csv")
        _items_table(evaluation).write_csv(partial / "items.csv")
        (partial / "report.html").write_text(render(evaluation), encoding="utf-8")
        out_dir.mkdir(exist_ok=True)
        for made in sorted(partial.iterdir()):
            os.replace(made, out_dir / made.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out_dir / "report.html"


def _items_table(evaluation: Evaluation) -> pl.DataFrame:
    """One row an item, with the id that the evaluation table does not have, and why it is in no average."""
    place = ("scope", "item_id", "study", "condition", "outcome", "n")
    tables = [evaluation.distributions.select(*place, "wasserstein")] if evaluation.parts else []
    tables += [evaluation.coding.items.select(*place, "accuracy")] if evaluation.coding.parts else []
    items = pl.concat(tables, how="diagonal")
    reasons = evaluation.left_out.select(
        "scope", "item_id", study="study_id", condition="condition", outcome="outcome", left_out="reason"
    )
    unscored = reasons.join(items, on=["scope", "item_id"], how="anti")
    scored = items.join(reasons.select("scope", "item_id", "left_out"), on=["scope", "item_id"], how="left")
    return pl.concat([scored, unscored], how="diagonal")


def _headline(evaluation: Evaluation, part: str) -> dict[str, dict | None]:
    convention = verdicts.primary_wasserstein(evaluation, part)
    return {
        name: evaluation.figure("wasserstein", part=part, predictor=name, convention=convention)
        for name in COLUMNS
    }


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
        chosen = plots.choose_items(evaluation.distributions.filter(scope=shown), count=ITEMS_DRAWN, rng=rng)
    return environment.get_template("report.html.jinja").render(
        model=_text(made.get("model", "a model that the predictions file does not name")),
        settings={name: _text(value) for name, value in settings.items()},
        minimum_n=settings["minimum_n"],
        halves=settings["halves"],
        resamples=settings["resamples"],
        notes=evaluation.notes,
        parts=[_part(evaluation, part, rng) for part in evaluation.parts],
        column_titles=[COLUMN_TITLES[name] for name in COLUMNS],
        coded=coding_report.sections(evaluation.coding),
        coded_titles=list(coding_report.COLUMN_TITLES.values()),
        shown=part_name(shown),
        distributions=[plots.distribution(row) for row in chosen.iter_rows(named=True)],
        checklist=[(title, _text(made[key]) if key in made else None) for key, title in CHECKLIST.items()],
        other_facts=[(key, _text(value)) for key, value in made.items() if key not in CHECKLIST],
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _part(evaluation: Evaluation, part: str, rng: np.random.Generator) -> dict:
    counts = evaluation.counts[part]
    source = evaluation.source(part)
    return {
        "id": part,
        "name": part_name(part),
        "source": source,
        "size": _size(evaluation, part),
        "counts": counts,
        "verdict": verdicts.verdict(evaluation, part),
        "headline": [with_interval(figure) for figure in _headline(evaluation, part).values()],
        "differences": [verdicts.difference_sentence(evaluation, part, name) for name in BASELINES],
        "figures": _figure_rows(evaluation, part),
        "effects": _effect_rows(evaluation, part),
        "left_out": _left_out(evaluation, part),
        "plots": _plots(evaluation, part, rng),
    }


def _figure_rows(evaluation: Evaluation, part: str) -> list[tuple[str, list[str]]]:
    """Every measure of distributions and individuals, in every convention that was computed."""
    wanted = [
        ("wasserstein", f"{convention}/{source}", f"Wasserstein, {convention} range, {source}")
        for convention in ("stated", "observed")
        for source in ("exact", "sampled")
    ]
    wanted += [("total_variation", source, f"Total variation, {source}") for source in ("exact", "sampled")]
    wanted += [
        ("individual_accuracy", "draw", "Individual accuracy, one draw (higher is better)"),
        ("individual_accuracy", "median", "Individual accuracy, median (higher is better)"),
        ("mass_on_levels", "exact", "Probability on allowed answers before renormalizing"),
        ("parse_rate", "draws", "Share of draws that are allowed answers"),
    ]
    rows = []
    for metric, convention, title in wanted:
        found = [
            evaluation.figure(metric, part=part, predictor=name, convention=convention) for name in COLUMNS
        ]
        if found[0] is not None:
            rows.append((title, [with_interval(figure) for figure in found]))
    return rows


def _effect_rows(evaluation: Evaluation, part: str) -> list[tuple[str, list[str]]]:
    """Measures of effects for model, no effect, split half; then the correlation with the truth if known."""
    convention = verdicts.effect_convention(evaluation, part)
    if convention is None:
        return []

    def cells(metric: str, predictors: tuple[str, ...], digits: int) -> list[str]:
        return [
            with_interval(
                evaluation.figure(metric, part=part, predictor=name, convention=convention), digits=digits
            )
            for name in predictors
        ]

    columns = (MODEL, "no_effect", "split_half")
    null = evaluation.figure(
        "condition_sensitivity_r_null", part=part, predictor=MODEL, convention=convention
    )
    p = evaluation.figure("condition_sensitivity_p", part=part, predictor=MODEL, convention=convention)
    rows = [
        ("Sign agreement of effects (guessing: 0.50)", cells("effect_sign_agreement", columns, 2)),
        ("Correlation of effects, r", cells("effect_r", columns, 2)),
        ("Error of effects, root mean square (lower is better)", cells("effect_rmse", columns, 3)),
        ("Condition sensitivity, r within outcome", cells("condition_sensitivity_r", columns, 2)),
        ("— what shuffled conditions give", [with_interval(null, digits=2), "–", "–"]),
        ("— p against shuffled conditions", [number(p["value"]), "–", "–"]),
        ("Slope of people on model (1 is right, above 1 effects are too small)",
         cells("condition_sensitivity_slope", columns, 2)),
        ("Spread of condition means, model over people", cells("condition_sensitivity_spread_ratio", columns, 2)),
    ]  # fmt: skip
    truth = cells("true_effect_correlation", (MODEL, "no_effect"), 2)
    if truth[0] != "–":
        rows.append(("Correlation with the known true effects", [*truth, "–"]))
        own = cells("true_effect_correlation", ("human",), 2)[0]
        rows.append(("— of the people's own answers with them", [own, "–", "–"]))
    return rows


LEFT_OUT = {
    "items_not_levels": "items whose scale is not a list of levels: not evaluated",
    "items_below_minimum_n": "items with fewer answers than the minimum: in the tables, in no average",
    "items_without_prediction": "items without any prediction",
    "answers_without_prediction": "answers without a prediction (including those of such items)",
    "answers_off_scale": "human answers off their item's scale",
    "items_where_all_answered_alike": "items to which everybody gave one answer: no distance on the observed range",
    "items_without_training_shape": "items with a number of levels that no training item has: uniform used as shape",
    "items_without_pooled_answers": "items without other human answers to pool",
    "draws_off_scale": "draws that are no allowed answer: left out of distances",
}


def _left_out(evaluation: Evaluation, part: str) -> list[str]:
    counts = evaluation.counts[part]
    lines = [f"{counts[name]:,} {words}" for name, words in LEFT_OUT.items() if counts[name]]
    if 0 < counts["items_without_probabilities"] < counts["items"] + counts["items_below_minimum_n"]:
        lines.append(
            f"{counts['items_without_probabilities']:,} items without probabilities for everybody: draws are used"
        )
    return lines


def _plots(evaluation: Evaluation, part: str, rng: np.random.Generator) -> list[plots.Plot]:
    convention = verdicts.primary_wasserstein(evaluation, part)
    per_study = evaluation.frame.filter(
        pl.col("study").is_not_null() & pl.col("outcome").is_null(),
        metric="wasserstein",
        scope=part,
        convention=convention,
    ).select("study", "predictor", "value")
    drawn = []
    if per_study.height:
        drawn.append(
            plots.forest(
                per_study,
                _headline(evaluation, part),
                names=COLUMN_TITLES,
                caption="Distance between predicted and human answers in each study; the lines on top are 95 % "
                "intervals of the mean over studies.",
            )
        )
    effects = evaluation.contrasts.filter(scope=part)
    if effects.height:
        caption = (
            "Effects: difference in mean answer between a condition and its control, or between two conditions, "
            "as a share of the scale. On the dashed line the prediction is right."
        )
        drawn.append(
            plots.scatter(effects["human"], effects["model"], what="effect", caption=caption, rng=rng)
        )
    means = evaluation.condition_means.filter(scope=part)
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
