"""What the report and the terminal say about predicted labels: tables, plots and plain sentences."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from socsci_jax.evaluation.classification import CODERS, MAJORITY, PREDICTORS, Coding
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.metrics.classification import METRICS
from socsci_jax.evaluation.sentences import two_lines, with_interval
from socsci_jax.evaluation.table import MODEL, UNIFORM
from socsci_jax.pages import plots, shares
from socsci_jax.pages.axes import Series, shortened
from socsci_jax.pages.drawing import Drawing
from socsci_jax.pages.plots import Value
from socsci_jax.pages.tables import Cell, Column
from socsci_jax.pages.tables import Table as PageTable
from socsci_jax.wording import counted

PART_NAMES = {
    "unseen_studies": "unseen codebooks",
    "unseen_conditions": "unseen conditions",
    "unseen_outcomes": "unseen variables",
    "unseen_participants": "unseen documents",
    "train": "training documents",
    "all": "all documents",
}
COLUMN_TITLES = {
    MODEL: "model",
    MAJORITY: "most frequent",
    UNIFORM: "uniform",
    CODERS: "another coder",
}
PREDICTOR_NAMES = {
    MAJORITY: "always giving the label that is most frequent in training",
    UNIFORM: "a uniform guess",
    CODERS: "another coder",
}
EXCLUDED = {
    "items_below_minimum_n": "variables with fewer labels than the minimum: in the tables, in no average",
    "items_without_prediction": "variables without any prediction",
    "items_without_training_labels": "variables without labels in the training part: no most frequent label",
    "items_without_probabilities": "variables without probabilities for every document: draws are used",
    "answers_without_prediction": "labels without a prediction (including those of such variables)",
    "answers_without_readable_draw": "labels of documents none of whose draws is an allowed answer",
    "answers_off_scale": "labels that the codebook does not have",
}
MOST_ITEMS_DRAWN = 12


def part_name(part: str) -> str:
    return PART_NAMES.get(part, part)


def summary_table(coding: Coding) -> Table:
    """For a terminal of 80 columns: every measure by part, for the model and what it is compared with."""
    table = Table(
        title="Agreement of predicted labels with people's (higher is better)",
        caption="below each value its 95 % interval over documents",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("part", no_wrap=True)
    table.add_column("measure", no_wrap=True)
    for title in COLUMN_TITLES.values():
        table.add_column(title.replace(" ", "\n"), justify="right", no_wrap=True)
    for part in coding.parts:
        documents = f"{counted(coding.counts[part]['documents'], 'document')}"
        for metric, side in zip(METRICS, (part_name(part), documents, "", ""), strict=True):
            values = (_value(coding, metric.name, part, name) for name in PREDICTORS)
            # The last word of a title fits with four columns: "Krippendorff's α" is α.
            table.add_row(side, metric.title.split("'s ")[-1], *(two_lines(value) for value in values))
    return table


def _value(
    coding: Coding,
    metric: str,
    part: str,
    predictor: str,
    *,
    reference: str | None = None,
    item: dict[str, Any] | None = None,
) -> Estimate:
    row = coding.value(metric, part=part, predictor=predictor, reference=reference, item=item)
    return Estimate(None) if row is None else Estimate(row["value"], row["lo"], row["hi"])


def sections(coding: Coding) -> list[dict[str, Any]]:
    """What the template shows of each part."""
    return [
        {
            "id": f"labels-{place}",
            "name": part_name(part),
            "source": coding.source(part),
            "counts": coding.counts[part],
            "verdict": verdict(coding, part),
            "metrics": _metric_table(coding, part, name=f"labels-{place}"),
            "variables": _variable_table(coding, part, name=f"variables-{place}"),
            "differences": [difference_sentence(coding, part, name) for name in PREDICTORS[1:]],
            "excluded": [
                f"{coding.counts[part][name]:,} {words}"
                for name, words in EXCLUDED.items()
                if coding.counts[part][name]
            ],
            "drawings": _drawings(coding, part, name=f"labels-{place}"),
        }
        for place, part in enumerate(coding.parts, start=1)
    ]


def _item_name(coding: Coding, part: str, row: dict[str, Any]) -> str:
    """The variable; with its codebook where the part has several."""
    if coding.items.filter(part=part)["study"].n_unique() == 1:
        return str(row["outcome"])
    return f"{row['study']} · {row['outcome']}"


def _metric_cells(coding: Coding, part: str, metric: str, item: dict[str, Any] | None) -> list[Cell]:
    values = (_value(coding, metric, part, name, item=item) for name in PREDICTORS)
    return [Cell(with_interval(value), value.value) for value in values]


def _columns() -> list[Column]:
    return [Column(COLUMN_TITLES[name], is_marked=name == MODEL) for name in PREDICTORS]


def _metric_table(coding: Coding, part: str, *, name: str) -> PageTable:
    return PageTable(
        name=name,
        title=f"Agreement with people's labels, {part_name(part)}: mean over variables, 95 % intervals over documents",
        columns=[Column("Metric", is_number=False), *_columns()],
        rows=[
            [
                Cell(metric.title, help=f"{metric.formula}\nBeware: {metric.trap}"),
                *_metric_cells(coding, part, metric.name, None),
            ]
            for metric in METRICS
        ],
    )


def _variable_table(coding: Coding, part: str, *, name: str) -> PageTable:
    return PageTable(
        name=name,
        title=f"Each variable, {part_name(part)}",
        columns=[
            Column("Variable", is_number=False),
            Column("Labels"),
            Column("Metric", is_number=False),
            *_columns(),
        ],
        rows=[
            [
                Cell(_item_name(coding, part, row)),
                Cell(f"{row['n']:,}", row["n"]),
                Cell(metric.title),
                *_metric_cells(coding, part, metric.name, row),
            ]
            for row in coding.items.filter(part=part).iter_rows(named=True)
            for metric in METRICS
        ],
    )


def _baseline(coding: Coding, part: str) -> str:
    """The most frequent label; a uniform guess where nothing was trained on."""
    known = _value(coding, "accuracy", part, MAJORITY).value is not None
    return MAJORITY if known else UNIFORM


def verdict(coding: Coding, part: str) -> list[str]:
    """What may be claimed for a part, the warnings first."""
    name, baseline = part_name(part), _baseline(coding, part)
    right = _value(coding, "accuracy", part, MODEL)
    kappa = _value(coding, "cohen_kappa", part, MODEL)
    gain = _value(coding, "accuracy", part, MODEL, reference=baseline)
    if right.value is None:
        return [f"Nothing can be said about {name}: no variable has enough labels."]
    said = (
        f"its label is the coder's in {with_interval(right)} of cases (difference from {PREDICTOR_NAMES[baseline]}: "
        f"{with_interval(gain)}; above zero is better), and agreement beyond chance is κ = {with_interval(kappa)}"
    )
    better = all(estimate.lo is not None and estimate.lo > 0 for estimate in (gain, kappa))
    sentences = [
        f"For {name} the model does better than {PREDICTOR_NAMES[baseline]}: {said}."
        if better
        else f"Do not rely on this model for {name}: it does not do better than {PREDICTOR_NAMES[baseline]}; {said}."
    ]
    sentences.append(_beside_coders(coding, part))
    if part == "train":
        sentences.append("The model has seen these labels: this is fit, not prediction.")
    return sentences


def _beside_coders(coding: Coding, part: str) -> str:
    """How far coders agree with each other is how far anybody can agree with them."""
    people = _value(coding, "krippendorff_alpha", part, CODERS)
    model = _value(coding, "krippendorff_alpha", part, MODEL)
    if people.value is None:
        return (
            "No document here has labels of several coders, so nothing is known about how far people agree."
        )
    difference = _value(coding, "krippendorff_alpha", part, MODEL, reference=CODERS)
    judged = "no difference between the two can be claimed"
    if difference.lo is not None and difference.lo > 0:
        judged = "the model agrees with a coder more than another coder does"
    elif difference.hi is not None and difference.hi < 0:
        judged = "the model agrees with a coder less than another coder does"
    several = coding.counts[part]["documents_with_several_coders"]
    return (
        f"Two coders of one document agree with α = {with_interval(people)} ({counted(several, 'document')}), the model with a "
        f"coder with α = {with_interval(model)}: {judged} ({with_interval(difference)})."
    )


def difference_sentence(coding: Coding, part: str, predictor: str) -> str:
    """Who has more labels right and by how much."""
    accuracy = _value(coding, "accuracy", part, MODEL, reference=predictor)
    name = PREDICTOR_NAMES[predictor]
    if accuracy.value is None:
        return f"There is nothing to compare with {name} here."
    if accuracy.lo is not None and accuracy.hi is not None:
        if accuracy.lo > 0:
            return f"The model is better than {name} by {with_interval(accuracy)} in accuracy."
        if accuracy.hi < 0:
            size = Estimate(-accuracy.value, -accuracy.hi, -accuracy.lo)
            return f"The model is worse than {name} by {with_interval(size)} in accuracy."
    return f"No difference from {name} can be claimed: {with_interval(accuracy)} in accuracy."


def _drawings(coding: Coding, part: str, *, name: str) -> list[Drawing]:
    rows = coding.items.filter(part=part).head(MOST_ITEMS_DRAWN).to_dicts()
    places = [(None, "all variables"), *((row, _item_name(coding, part, row)) for row in rows)]
    values = [
        Value(place=title, series=predictor, value=estimate.value, lo=estimate.lo, hi=estimate.hi)
        for row, title in places
        for predictor in (MODEL, CODERS)
        if (estimate := _value(coding, "cohen_kappa", part, predictor, item=row)).value is not None
    ]
    drawn = [_confusion(row, name=f"{name}-confusion-{k}") for k, row in enumerate(rows, start=1)]
    if not values:
        return drawn
    agreement = plots.dots(
        f"{name}-agreement",
        f"Agreement beyond chance, {part_name(part)}",
        values,
        {
            MODEL: Series("model with a coder", "model"),
            CODERS: Series("another coder with a coder", "people", "square"),
        },
        label="Cohen's κ (higher is better)",
        description=f"{counted(len(places) - 1, 'variable')}.",
        caption="Cohen's κ with 95 % intervals over documents. At 0, as of every guess that does not look at the "
        "document, labels agree as chance would have it.",
        reference=0.0,
    )
    return [agreement, *drawn]


def _confusion(row: dict[str, Any], *, name: str) -> Drawing:
    return shares.matrix(
        name,
        f"Labels of people against labels of the model: {row['study']} · {shortened(row['outcome'], 60)}",
        row["labels"],
        row["counts"],
        description=f"{counted(row['n'], 'label')}.",
        caption="How often people gave each label (rows) and the model each (columns); darker is a greater share of the row.",
    )
