"""`socsci-jax rectify` and `conjoint`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.cli.output import Replace, Seed, print_table, rounded, say
from socsci_jax.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from socsci_jax.rectification.rectify import Rectification

app = typer.Typer()


RectifyPredictions = Annotated[
    Path, typer.Argument(help="CSV or Parquet: keys, a prediction (docs/estimation.md), variables.")
]
Gold = Annotated[
    Path, typer.Argument(help="CSV or Parquet: keys, the answers of those who were asked, variables.")
]
Formula = Annotated[
    str, typer.Option(help="As in 'y ~ treatment + age': names, +, :, *, C(name); 'y ~ 1' is the mean.")
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Table of estimates to write (.csv or .parquet).")]
Key = Annotated[
    list[str] | None, typer.Option(help="Column that says who a row is about (repeat for several).")
]
RectifyColumn = Annotated[str, typer.Option("--prediction", help="Column of the predictions.")]
Family = Annotated[str, typer.Option(help="linear or logit.")]
RectifyTreatment = Annotated[
    str | None,
    typer.Option(help="Treatment (0, 1) where both arms are predicted; else the first variable."),
]
Probability = Annotated[
    str | None,
    typer.Option(help="Column with each person's probability of being asked; else all the same."),
]
Weights = Annotated[str | None, typer.Option(help="Column of sampling weights.")]
Clusters = Annotated[str | None, typer.Option(help="Column whose rows were sampled together.")]
Lam = Annotated[float | None, typer.Option(help="Weight of the predictions in PPI++ and DiP; else fitted.")]
Splits = Annotated[int, typer.Option(help="Recalibrate predictions for DSL over this many random splits.")]
HalfWidth = Annotated[
    float | None, typer.Option(help="Also say how many answers give intervals of plus or minus this.")
]
Effect = Annotated[
    float | None,
    typer.Option(
        help="Also write OUT_curve: interval widths and power to find this effect, by number of answers."
    ),
]
ExcludeSeen = Annotated[
    bool,
    typer.Option("--exclude-seen", help="Exclude rows that the model was trained on, instead of refusing."),
]
RectifyAlso = Annotated[
    list[Path] | None,
    typer.Option(help="Predictions of another model; each study is taken from one that has not seen it."),
]
ForR = Annotated[
    Path | None,
    typer.Option(
        help="Also write the people as R's packages take them: Y, D, S0, S1 or Y, prediction, labeled."
    ),
]


@app.command("rectify")
def rectify_command(
    predictions: RectifyPredictions,
    gold: Gold,
    formula: Formula,
    out: Out = Path("rectified.csv"),
    key: Key = None,
    column: RectifyColumn = "prediction",
    family: Family = "linear",
    treatment: RectifyTreatment = None,
    probability: Probability = None,
    weights: Weights = None,
    clusters: Clusters = None,
    lam: Lam = None,
    splits: Splits = 0,
    half_width: HalfWidth = None,
    effect: Effect = None,
    exclude_seen: ExcludeSeen = False,
    also: RectifyAlso = None,
    for_r: ForR = None,
    seed: Seed = 0,
    replace: Replace = False,
) -> None:
    """Estimate from predictions for many people and the answers of few, with intervals that hold.

    Compares predictions taken for answers, answers alone, and what corrects the one by the other: DSL, PPI++ and
    difference in predictions.
    """
    from socsci_jax.rectification.output import check_output, write_output, write_table
    from socsci_jax.rectification.prepare import Settings
    from socsci_jax.rectification.rectify import rectify
    from socsci_jax.tables import read_table

    check_output(out, others=("rejects", "curve"), for_r=for_r, replace=replace)
    settings = Settings(
        family=family,
        keys=tuple(key or ()),
        column=column,
        treatment=treatment,
        probability=probability,
        weights=weights,
        clusters=clusters,
        lam=lam,
        splits=splits,
        half_width=half_width,
        effect=effect,
        exclude_seen=exclude_seen,
        seed=seed,
    )
    others = [_on_their_scale(path) for path in also or ()]
    rectified = rectify(_on_their_scale(predictions), read_table(gold), formula, settings, others=others)
    _show_rectified(rectified, formula)
    written = write_output(rectified, out)
    if for_r is not None:
        write_table(rectified.people, for_r)
        written.append(for_r)
    for path in written:
        say(f"written: {path}")


def _show_rectified(rectified: Rectification, formula: str) -> None:
    shown = rectified.table.rename({"n_labeled": "answers", "n_predicted": "predictions"})
    print_table(formula, rounded(shown))
    if rectified.needed is not None:
        print_table("Answers needed", rounded(rectified.needed))
    if rectified.curve is not None:
        print_table("Power by number of answers", rounded(_few_points(rectified.curve)))
    for note in rectified.notes:
        say(f"note: {note}")


def _few_points(curve: pl.DataFrame) -> pl.DataFrame:
    """Every second number of answers, from a quarter of those that there are to sixteen times as many."""
    shown = curve["answers"].unique().sort()[::2]
    return curve.filter(curve["answers"].is_in(shown.implode()))


def _on_their_scale(path: Path) -> pl.DataFrame:
    """A table of predictions whose numbers are all places on a scale, so that they have a mean.

    Raises InputError for predictions that give shares to alternatives, whose codes are no quantities.
    """
    from socsci_jax.studies.predictions import read_metadata
    from socsci_jax.tables import read_table

    table = read_table(path)
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    if is_parquet and {"levels", "value"} & set(table.columns):
        layout = read_metadata(path).get("layout")
        if isinstance(layout, dict) and layout.get("alternatives") == "offered":
            raise InputError(
                f"{path}: these predictions offered answers outside the order of scales (don't know), whose codes would "
                "enter a mean; predict with a model that was trained with data.alternatives=withheld."
            )
    return table


Source = Annotated[
    Path,
    typer.Argument(metavar="STORE|PROFILES", help="A study store, or a table with one row a profile."),
]
ConjointPredictions = Annotated[
    Path | None,
    typer.Option(help="Predictions of the store's choices, or a table of simulated profiles."),
]
ConjointOut = Annotated[Path, typer.Option("-o", "--out", help="Tidy table to write (.csv or .parquet).")]
Choice = Annotated[str, typer.Option(help="Table: column of choices, 1 chosen, 0 not; or a rating.")]
Respondent = Annotated[str, typer.Option(help="Table: column that says whose choice it is.")]
Attribute = Annotated[
    list[str] | None,
    typer.Option(help="Table: column of an attribute (repeat); else all that are nothing else."),
]
ConjointWeights = Annotated[str | None, typer.Option(help="Table: column of sampling weights.")]
By = Annotated[str | None, typer.Option(help="Table: column of subgroups, which are estimated too.")]
Agrees = Annotated[
    str | None,
    typer.Option(
        help="Table: column, the same profile chosen in a repeated task (1, 0); corrects for mistakes."
    ),
]
Restricted = Annotated[
    list[str] | None,
    typer.Option(help="Attributes that the design does not combine freely: 'education,job'."),
]


@app.command("conjoint")
def conjoint_command(
    source: Source,
    predictions: ConjointPredictions = None,
    out: ConjointOut = Path("conjoint.csv"),
    choice: Choice = "chosen",
    respondent: Respondent = "participant",
    attribute: Attribute = None,
    weights: ConjointWeights = None,
    by: By = None,
    agrees: Agrees = None,
    restricted: Restricted = None,
    seed: Seed = 0,
    replace: Replace = False,
) -> None:
    """Estimate effects (AMCE) and marginal means of a conjoint experiment, of people and of a simulation of them.

    Errors are clustered by respondent. Where a store has a repeated task, choices are also corrected for mistakes.
    """
    from socsci_jax.evaluation.conjoint import Columns
    from socsci_jax.evaluation.conjoint_tables import conjoint_of_store, conjoint_of_table
    from socsci_jax.rectification.output import check_output, write_tables
    from socsci_jax.studies.predictions import read_predictions
    from socsci_jax.studies.store import StudyStore
    from socsci_jax.tables import read_table

    check_output(out, others=("rejects",), replace=replace)
    groups = [tuple(name.strip() for name in group.split(",")) for group in restricted or ()]
    if source.is_dir():
        store = StudyStore(source)
        predicted = None if predictions is None else read_predictions(predictions, store).frame
        result = conjoint_of_store(store, predicted, restricted=groups, seed=seed)
    else:
        columns = Columns(
            choice=choice,
            respondent=respondent,
            attributes=tuple(attribute or ()),
            weights=weights,
            by=by,
            agrees=agrees,
        )
        simulated = None if predictions is None else read_table(predictions)
        result = conjoint_of_table(read_table(source), simulated, columns, restricted=groups, seed=seed)
    overall = result.table.filter(result.table["group"].is_null()).drop("group")
    for (whose, estimand), rows in overall.group_by("source", "estimand", maintain_order=True):
        if whose != "agreement":
            print_table(f"{estimand} ({whose})", rounded(rows.drop("source", "estimand")))
    if not (agreement := overall.filter(overall["source"] == "agreement")).is_empty():
        print_table(
            "Simulated against human effects", rounded(agreement.drop("source", "attribute", "level", "p"))
        )
    for note in result.notes:
        say(f"note: {note}")
    for path in write_tables(result.table, out, rejects=result.excluded):
        say(f"written: {path}")
