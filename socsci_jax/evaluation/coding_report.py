"""What the report and the terminal say about predicted labels: tables, plots and plain sentences."""

from __future__ import annotations

from rich.table import Table

from socsci_jax.evaluation import plots
from socsci_jax.evaluation.agreement import METRICS
from socsci_jax.evaluation.classification import CODERS, MODEL, PREDICTORS, Coding
from socsci_jax.evaluation.verdicts import number, with_interval

PART_NAMES = {
    "unseen_studies": "unseen codebooks",
    "unseen_conditions": "unseen conditions",
    "unseen_outcomes": "unseen variables",
    "unseen_participants": "unseen documents",
    "train": "training documents",
    "all": "all documents",
}
METRIC_TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "cohen_kappa": "Cohen's κ",
    "krippendorff_alpha": "Krippendorff's α",
}
COLUMN_TITLES = {
    MODEL: "model",
    "majority": "most frequent",
    "uniform": "uniform",
    CODERS: "another coder",
}
PREDICTOR_NAMES = {
    "majority": "always giving the label that is most frequent in training",
    "uniform": "a uniform guess",
    CODERS: "another coder",
}
LEFT_OUT = {
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
    """For a terminal of 80 columns: every measure by part, for the model and the predictors beside it."""
    table = Table(
        title="Agreement of predicted labels with people's (higher is better)",
        caption="below each figure its 95 % interval over documents",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("part", no_wrap=True)
    table.add_column("measure", no_wrap=True)
    for title in COLUMN_TITLES.values():
        table.add_column(title.replace(" ", "\n"), justify="right", no_wrap=True)
    for part in coding.parts:
        documents = f"{coding.counts[part]['documents']:,} documents"
        for metric, beside in zip(METRICS, (part_name(part), documents, "", ""), strict=True):
            found = (coding.figure(metric, part=part, predictor=name) for name in PREDICTORS)
            # The last word of a title fits beside four columns: "Krippendorff's α" is α.
            table.add_row(
                beside, METRIC_TITLES[metric].split("'s ")[-1], *(_two_lines(figure) for figure in found)
            )
    return table


def _two_lines(figure: dict) -> str:
    if figure["value"] is None:
        return "–"
    interval = "" if figure["lo"] is None else f"{number(figure['lo'])}–{number(figure['hi'])}"
    return f"{number(figure['value'])}\n{interval}"


def sections(coding: Coding) -> list[dict]:
    """What the template shows of each part."""
    return [
        {
            "id": f"labels-{part}",
            "name": part_name(part),
            "source": coding.source(part),
            "counts": coding.counts[part],
            "verdict": verdict(coding, part),
            "figures": _figure_rows(coding, part, None),
            "differences": [difference_sentence(coding, part, name) for name in PREDICTORS[1:]],
            "items": [
                (_item_name(coding, part, row), f"{row['n']:,}", _figure_rows(coding, part, row))
                for row in coding.items.filter(scope=part).iter_rows(named=True)
            ],
            "left_out": [
                f"{coding.counts[part][name]:,} {words}"
                for name, words in LEFT_OUT.items()
                if coding.counts[part][name]
            ],
            "plots": _plots(coding, part),
        }
        for part in coding.parts
    ]


def _item_name(coding: Coding, part: str, row: dict) -> str:
    """The variable; with its codebook where the part has several."""
    if coding.items.filter(scope=part)["study"].n_unique() == 1:
        return row["outcome"]
    return f"{row['study']} · {row['outcome']}"


def _figure_rows(coding: Coding, part: str, item: dict | None) -> list[tuple[str, list[str]]]:
    return [
        (
            METRIC_TITLES[metric],
            [
                with_interval(coding.figure(metric, part=part, predictor=name, item=item))
                for name in PREDICTORS
            ],
        )
        for metric in METRICS
    ]


def _baseline(coding: Coding, part: str) -> str:
    """The most frequent label; a uniform guess where nothing was trained on."""
    known = coding.figure("accuracy", part=part, predictor="majority")["value"] is not None
    return "majority" if known else "uniform"


def verdict(coding: Coding, part: str) -> list[str]:
    """What may be claimed for a part, the warnings first."""
    name, baseline = part_name(part), _baseline(coding, part)
    right = coding.figure("accuracy", part=part, predictor=MODEL)
    kappa = coding.figure("cohen_kappa", part=part, predictor=MODEL)
    gain = coding.figure("accuracy_difference", part=part, predictor=f"{MODEL}-{baseline}")
    if right["value"] is None:
        return [f"Nothing can be said about {name}: no variable has enough labels."]
    said = (
        f"its label is the coder's in {with_interval(right)} of cases (difference from {PREDICTOR_NAMES[baseline]}: "
        f"{with_interval(gain)}; above zero is better), and agreement beyond chance is κ = {with_interval(kappa)}"
    )
    better = all(figure["lo"] is not None and figure["lo"] > 0 for figure in (gain, kappa))
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
    people = coding.figure("krippendorff_alpha", part=part, predictor=CODERS)
    model = coding.figure("krippendorff_alpha", part=part, predictor=MODEL)
    if people["value"] is None:
        return (
            "No document here has labels of several coders, so nothing is known about how far people agree."
        )
    difference = coding.figure("krippendorff_alpha_difference", part=part, predictor=f"{MODEL}-{CODERS}")
    judged = "no difference between the two can be claimed"
    if difference["lo"] is not None and difference["lo"] > 0:
        judged = "the model agrees with a coder more than another coder does"
    elif difference["hi"] is not None and difference["hi"] < 0:
        judged = "the model agrees with a coder less than another coder does"
    several = coding.counts[part]["documents_with_several_coders"]
    return (
        f"Two coders of one document agree with α = {with_interval(people)} ({several:,} documents), the model with a "
        f"coder with α = {with_interval(model)}: {judged} ({with_interval(difference)})."
    )


def difference_sentence(coding: Coding, part: str, predictor: str) -> str:
    """Who has more labels right and by how much."""
    figure = coding.figure("accuracy_difference", part=part, predictor=f"{MODEL}-{predictor}")
    name = PREDICTOR_NAMES[predictor]
    if figure["value"] is None:
        return f"There is nothing to compare with {name} here."
    if figure["lo"] is not None and figure["lo"] > 0:
        return f"The model is better than {name} by {with_interval(figure)} in accuracy."
    if figure["hi"] is not None and figure["hi"] < 0:
        size = {"value": -figure["value"], "lo": -figure["hi"], "hi": -figure["lo"]}
        return f"The model is worse than {name} by {with_interval(size)} in accuracy."
    return f"No difference from {name} can be claimed: {with_interval(figure)} in accuracy."


def _plots(coding: Coding, part: str) -> list[plots.Plot]:
    items = coding.items.filter(scope=part).head(MOST_ITEMS_DRAWN)
    rows = items.iter_rows(named=True)
    places = [(None, "all variables"), *((row, _item_name(coding, part, row)) for row in rows)]
    kappas = {
        name: [coding.figure("cohen_kappa", part=part, predictor=name, item=item) for item, _ in places]
        for name in (MODEL, CODERS)
    }
    return [
        plots.agreement(
            kappas,
            places=[title for _, title in places],
            names=COLUMN_TITLES,
            caption="Agreement beyond chance (Cohen's κ) of the model with a coder, and of another coder with a coder, "
            "with 95 % intervals over documents. At 0, as of every guess that does not look at the document, labels "
            "agree as chance would have it.",
        ),
        *(plots.confusion(row) for row in items.iter_rows(named=True)),
    ]
