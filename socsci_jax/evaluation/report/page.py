"""The report's page: everything that a colleague must know, in the order in which it is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from socsci_jax.evaluation import verdicts
from socsci_jax.evaluation.metric import Metric
from socsci_jax.evaluation.metrics import FAMILIES
from socsci_jax.evaluation.report import (
    checklists,
    guide_llm,
    labels,
    pictures,
    registration_form,
    study_pictures,
    summary,
    tables,
)
from socsci_jax.evaluation.report.names import anchor
from socsci_jax.evaluation.report.provenance import Provenance
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.sentences import part_name
from socsci_jax.evaluation.table import BASELINES
from socsci_jax.pages import page
from socsci_jax.pages.drawing import Drawing
from socsci_jax.pages.tables import metadata_table
from socsci_jax.wording import counted

ITEMS_DRAWN = 12

EXCLUDED = {
    "items_not_levels": "items whose scale is not a list of levels: not evaluated",
    "items_below_minimum_n": "items with fewer answers than the minimum: listed in items.csv, in no average",
    "items_without_prediction": "items without any prediction",
    "answers_without_prediction": "answers without a prediction (including those of such items)",
    "answers_off_scale": "human answers off their item's scale",
    "items_where_all_answered_alike": "items to which everybody gave one answer: no distance on the observed range",
    "items_without_training_marginal": "items with a number of response options that no training item has: uniform stands in",
    "items_without_pooled_answers": "items without other human answers to pool",
    "draws_off_scale": "draws that are no allowed answer: excluded from distances",
}
FILES = {
    "report.md": "this report in Markdown",
    "contrasts.csv": "a row for each contrast, with people's standard errors",
    "condition_means.csv": "a row for each condition mean, with people's standard errors",
    "distributions.csv": "a row for each response option of the items that enter averages: people's share and the model's (distributions.parquet: of every item)",
    "items.csv": "a row for each item: its distance, or why it is in no average",
    "evaluation.csv": "every metric of each part, with intervals, and of each study (evaluation.parquet: also of each item that enters averages)",
    "reliability.csv": "the bins of the reliability diagrams",
    "people.csv": "who the people were",
    "counts.csv": "what was counted in each part",
    "figures/": "every plot of this page as SVG",
    "studies/": "a page for each study",
}


def render(shown: dict[str, Any]) -> str:
    """The page of these `values` as HTML: nothing is fetched, and the same evaluation gives the same bytes."""
    return page.render("socsci_jax.evaluation.report", "report.html.jinja", **shown)


def values(evaluation: Evaluation) -> dict[str, Any]:
    """What the template shows."""
    settings = evaluation.metadata["evaluation"]
    made = evaluation.metadata["predictions"]
    known = Provenance.of_evaluation(evaluation)
    guide, form = guide_llm.guide(known), registration_form.registration_form(known)
    parts = [_part(evaluation, part) for part in evaluation.parts]
    return {
        "model": _text(
            made.get("model", made.get("table", "a model that the predictions file does not name"))
        ),
        "lead": _lead(evaluation),
        "picture": next((pictures.distances(evaluation, p) for p in evaluation.parts[:1]), None),
        "notes": evaluation.notes,
        "registration": verdicts.registration(evaluation).text,
        "made": known.paragraph(),
        "methods": [(part_name(p), verdicts.methods_paragraph(evaluation, p)) for p in evaluation.parts],
        "people": tables.people(evaluation),
        "held_out": known.held_out(),
        "headline": tables.headline(evaluation),
        "parts": parts,
        "halves": settings.get("halves"),
        "resamples": settings.get("resamples", 0),
        "minimum_n": settings["minimum_n"],
        "items": sampled_items(evaluation),
        "studies": tables.studies(evaluation),
        "coded": labels.sections(evaluation.coding),
        "glossary": glossary(evaluation),
        "guide": checklists.table(guide, name="guide-llm", title="GUIDE-LLM, the fourteen core items"),
        "guide_answered": checklists.answered(guide),
        "guide_source": guide_llm.SOURCE,
        "form": checklists.table(
            form, name="registration-form", title="Registration form of the Silicon Sample Benchmark"
        ),
        "form_answered": checklists.answered(form),
        "form_source": registration_form.SOURCE,
        "provenance": metadata_table("provenance", "What the predictions file says", _texts(made)),
        "settings": metadata_table("settings", "Settings of this evaluation", _texts(settings)),
        "files": FILES,
    }


def _lead(evaluation: Evaluation) -> list[str]:
    """What to remember: of the first part, and of others whose predictions are not to be relied on.

    Parts that were trained on never come first, and say nothing of prediction.
    """
    if evaluation.parts:
        warned = [
            part for part in evaluation.parts[1:] if part != "train" and _is_warned_of(evaluation, part)
        ]
        return [summary.lead(evaluation, part) for part in (*evaluation.parts[:1], *warned)]
    return [
        text for part in evaluation.coding.parts[:1] for text in labels.verdict(evaluation.coding, part)[:1]
    ]


def _is_warned_of(evaluation: Evaluation, part: str) -> bool:
    return any(sentence.kind == "warning" for sentence in verdicts.verdict(evaluation, part))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _texts(metadata: Mapping[str, object]) -> dict[str, str]:
    return {key: _text(value) for key, value in metadata.items()}


def _part(evaluation: Evaluation, part: str) -> dict[str, Any]:
    return {
        "id": anchor(evaluation, part),
        "name": part_name(part),
        "counts": evaluation.counts[part],
        "unjudged": summary.unjudged(evaluation, part),
        "findings": summary.findings(evaluation, part),
        "differences": [
            verdicts.difference_sentence(evaluation, part, name)
            for name in BASELINES
            if not summary.unjudged(evaluation, part)
        ],
        "drawings": pictures.of_part(evaluation, part),
        "effects": tables.effects(evaluation, part),
        "metrics": tables.metrics(evaluation, part),
        "excluded": _excluded(evaluation, part),
    }


def _excluded(evaluation: Evaluation, part: str) -> list[str]:
    counts = evaluation.counts[part]
    lines = [f"{counts[name]:,} {text}" for name, text in EXCLUDED.items() if counts.get(name)]
    every = counts["items"] + counts.get("items_below_minimum_n", 0)
    if 0 < counts["items_without_probabilities"] < every:
        lines.append(
            f"{counted(counts['items_without_probabilities'], 'item')} without probabilities for everybody: draws are used"
        )
    return lines


def sampled_items(evaluation: Evaluation) -> list[Drawing]:
    """A dozen items of the first part (all, if there are fewer), from the best predicted to the worst."""
    if not evaluation.parts or evaluation.distributions.is_empty():
        return []
    frame = evaluation.distributions.filter(part=evaluation.parts[0])
    rng = np.random.default_rng(evaluation.metadata["evaluation"]["seed"])
    options = dict(evaluation.background.items.select("item_id", "labels").iter_rows())
    chosen = study_pictures.choose_items(frame, count=ITEMS_DRAWN, rng=rng)
    return [
        study_pictures.item(row, options, name=f"item-{k}")
        for k, row in enumerate(chosen.iter_rows(named=True), start=1)
    ]


def glossary(evaluation: Evaluation) -> list[Metric]:
    """The metrics that this evaluation has values of."""
    known = set(evaluation.table["metric"].unique())
    return [metric for family in FAMILIES.values() for metric in family if metric.name in known]


def drawings(shown: dict[str, Any]) -> list[Drawing]:
    """Every plot of the page, for its figures as files."""
    return [
        *(drawing for part in shown["parts"] for drawing in part["drawings"]),
        *(drawing for part in shown["coded"] for drawing in part["drawings"]),
        *shown["items"],
    ]
