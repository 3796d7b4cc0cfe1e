"""`socsci-jax convert`: predictions in the forms that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.cli.output import Replace, Seed, StorePath, say
from socsci_jax.errors import InputError
from socsci_jax.wording import counted

if TYPE_CHECKING:
    import polars as pl

    from socsci_jax.studies.predictions import Predictions
    from socsci_jax.studies.store import StudyStore

app = typer.Typer()

TIERS = ("T1", "T2", "T3")
FORMS = ("long", "wide", *TIERS)


@app.command("convert")
def convert_command(
    predictions: Annotated[Path, typer.Argument(help="Predictions table.")],
    store_path: StorePath,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="File to write: .csv, .parquet, or .sav (labeled, wide only)."),
    ],
    form: Annotated[
        str,
        typer.Option(
            help="long: a row a person and item; wide: a row a person; T1, T2, T3: the Silicon Sample Benchmark's."
        ),
    ] = "wide",
    study: Annotated[str | None, typer.Option(help="Study, where the predictions are of several.")] = None,
    control: Annotated[
        str | None, typer.Option(help="T1 to T3: the control condition; else the one the store marks.")
    ] = None,
    codebook: Annotated[
        Path | None, typer.Option(help="T1 to T3: the benchmark's codebook, whose ranges are checked.")
    ] = None,
    seed: Seed = 0,
    replace: Replace = False,
) -> None:
    """Write predictions with people's answers for R, SPSS or a benchmark.

    Every row holds the answer, the predicted mean, and one answer drawn from the prediction.
    """
    from socsci_jax.evaluation.elsewhere import people_tables
    from socsci_jax.rectification.output import write_table
    from socsci_jax.studies.predictions import read_predictions
    from socsci_jax.studies.store import StudyStore

    if form not in FORMS:
        raise InputError(f"--form {form}: choose one of {', '.join(FORMS)}.")
    allowed = [".csv", ".parquet", *([".sav"] if form == "wide" else [])]
    if out.suffix not in allowed:
        raise InputError(f"{out}: {form} tables are written as {' or '.join(allowed)}; choose such a name.")
    if out.exists() and not replace:
        raise InputError(f"{out} exists already; choose another file or pass --replace.")
    store = StudyStore(store_path)
    read = read_predictions(predictions, store)
    if form in TIERS:
        table = _tier(form, read, store, study=study, control=control, seed=seed)
        _say_problems(table, codebook)
        write_table(table, out)
    else:
        table = people_tables.long_table(read, store, seed=seed)
        if form == "wide":
            table = people_tables.wide_table(table, study)
        elif study is not None:
            table = table.filter(study=study)
        if out.suffix == ".sav":
            people_tables.write_sav(table, people_tables.labels_of(table, store.item_by_id), out)
        else:
            write_table(table, out)
    if form not in TIERS and (again := people_tables.repeated_answers(read, store)):
        say(f"note: {counted(again, 'answer')} not written: the person answered the same item before.")
    say(f"written: {out} ({counted(table.height, 'row')})")


def _tier(
    form: str,
    predictions: Predictions,
    store: StudyStore,
    *,
    study: str | None,
    control: str | None,
    seed: int,
) -> pl.DataFrame:
    """A tier's table of one study, its control named as the benchmark names it."""
    import dataclasses

    import polars as pl

    from socsci_jax.evaluation.elsewhere import people_tables, silicon_sample

    items = store.item_places.join(predictions.frame.select("item_id").unique(), on="item_id", how="semi")
    studies = items["study_id"].unique().sort().to_list()
    if study is None and len(studies) != 1:
        raise InputError(
            f"predictions are of {counted(len(studies), 'study')}; name one (--study): {', '.join(studies[:10])}."
        )
    study = study or studies[0]
    own = items.filter(study_id=study)
    if own.is_empty():
        raise InputError(f"no prediction is of study {study!r}; found {', '.join(studies[:10])}.")
    marked = own.filter(pl.col("is_control").fill_null(False))["condition"].unique().sort().to_list()
    if control is None and len(marked) == 1:
        control = marked[0]
    if control not in own["condition"].to_list():
        raise InputError(f"name the control (--control): {', '.join(own['condition'].unique().sort()[:10])}.")
    renamed = pl.col("condition").replace({control: silicon_sample.CONTROL})
    frame = predictions.frame.join(own.select("item_id"), on="item_id", how="semi", maintain_order="left")
    mine = dataclasses.replace(predictions, frame=frame)
    if form == "T1":
        wide = people_tables.wide_table(people_tables.long_table(mine, store, seed=seed), study)
        return silicon_sample.profiles_table(wide).with_columns(renamed)
    means = silicon_sample.means_table(mine, store.item_by_id, seed=seed).with_columns(renamed)
    return means if form == "T2" else silicon_sample.effects_table(means)


def _say_problems(table: pl.DataFrame, codebook: Path | None) -> None:
    """Says what the benchmark's validator would refuse."""
    import polars as pl

    from socsci_jax.evaluation.elsewhere.silicon_sample import Ranges, problems

    ranges = Ranges.of_codebook(codebook) if codebook is not None else None
    for problem in problems(table.with_columns(pl.all().cast(pl.String)), ranges=ranges):
        say(f"note: the benchmark would refuse this table: {problem}")
