"""A page for each study: what people read and were asked, what they answered, and what was predicted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from socsci_jax.evaluation.report import study_pictures, study_tables, tables
from socsci_jax.evaluation.report.names import study_files
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.sentences import part_name
from socsci_jax.evaluation.table import BASELINES, MODEL, PREDICTOR_TITLES
from socsci_jax.pages.page import environment
from socsci_jax.pages.tables import Column, Table, whole, words

# So many items of a study are drawn, and so many texts shown: some experiments show everybody a text of their own.
MOST_ITEMS = 120
MOST_TEXTS = 100


def pages(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """File name and HTML of each study's page."""
    template = environment("socsci_jax.evaluation.report").get_template("study.html.jinja")
    files = study_files(evaluation)
    by_study = {
        name: _by_study(frame)
        for name, frame in (
            ("items", evaluation.distributions),
            ("means", evaluation.condition_means),
            ("contrasts", evaluation.contrasts),
            ("texts", evaluation.background.items),
        )
    }
    about = {row["study"]: row for row in evaluation.background.studies.iter_rows(named=True)}
    for study, file in files.items():
        own = {name: frames.get(study, []) for name, frames in by_study.items()}
        yield file, template.render(**_page(evaluation, study, own, about.get(study, {})))


def _by_study(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    if frame.is_empty():
        return {}
    # As a reader looks things up: by question, in it the control first.
    order = [name for name in ("outcome", "condition") if name in frame.columns]
    by_control = [pl.col("is_control").fill_null(False).not_()] if "is_control" in frame.columns else []
    frame = frame.sort(order[0], *by_control, *order[1:])
    return {study: group.to_dicts() for (study,), group in frame.partition_by("study", as_dict=True).items()}


def _page(
    evaluation: Evaluation, study: str, own: dict[str, list[dict[str, Any]]], about: dict[str, str | None]
) -> dict[str, Any]:
    labels = {row["item_id"]: row["labels"] for row in own["texts"]}
    items = own["items"]
    return {
        "study": study,
        "title": about.get("title") or study,
        # Plain tables name no source.
        "about": {"source": None, "license": None} | about,
        "parts": list(dict.fromkeys(part_name(row["part"]) for row in (*items, *own["means"]))),
        "answers": sum(row["n"] for row in items),
        "item_count": len(items),
        "distances": _distances(evaluation, study, items),
        "stimuli": (stimuli := _stimuli(own["texts"]))[:MOST_TEXTS],
        "stimulus_count": len(stimuli),
        "questions": (questions := _questions(own["texts"]))[:MOST_TEXTS],
        "question_count": len(questions),
        "effects": study_pictures.contrasts_of_study(own["contrasts"], name="effects"),
        "contrasts": study_tables.contrasts(own["contrasts"], name="contrasts") if own["contrasts"] else None,
        "means": study_tables.condition_means(own["means"], name="condition-means") if own["means"] else None,
        "drawn": [
            (part_name(row["part"]), study_pictures.item(row, labels, name=f"item-{k}", with_study=False))
            for k, row in enumerate(_most_answered(items), start=1)
        ],
    }


def _most_answered(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items that are drawn, in the order of the page: those that most people answered."""
    least = sorted((row["n"] for row in items), reverse=True)[:MOST_ITEMS]
    return [row for row in items if row["n"] >= least[-1]][:MOST_ITEMS] if least else []


def _distances(evaluation: Evaluation, study: str, items: list[dict[str, Any]]) -> Table | None:
    if not items:
        return None
    return Table(
        name="distances",
        title="Wasserstein distance between predicted and human answers; lower is better",
        columns=[
            Column("Part", is_number=False),
            Column("Items"),
            *(Column(PREDICTOR_TITLES[p], is_marked=p == MODEL) for p in (MODEL, *BASELINES)),
        ],
        rows=[
            [
                words(part_name(part)),
                whole(sum(row["part"] == part for row in items)),
                *(
                    tables.estimate(evaluation.metric("wasserstein", part=part, predictor=p, study=study))
                    for p in (MODEL, *BASELINES)
                ),
            ]
            for part in dict.fromkeys(row["part"] for row in items)
        ],
    )


def _stimuli(texts: list[dict[str, Any]]) -> list[tuple[list[str], bool, str]]:
    """Conditions that show the same text, whether they are controls, and the text."""
    shown: dict[str, dict[str, bool]] = {}
    for row in texts:
        shown.setdefault(row["stimulus"].strip(), {})[row["condition"]] = bool(row["is_control"])
    return [(list(conditions), any(conditions.values()), text) for text, conditions in shown.items()]


def _questions(texts: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Outcome, its wording, and its response options; once for each wording."""
    questions = dict.fromkeys((row["outcome"], row["question"].strip(), _options(row)) for row in texts)
    return sorted(questions)


def _options(row: dict[str, Any]) -> str:
    pairs = zip(row["levels"], row["labels"], strict=True)
    named = [f"{level} = {label}" if label else level for level, label in pairs]
    if len(named) > 15 and not any(row["labels"]):
        named = [named[0], "…", named[-1]]
    return "; ".join(named)
