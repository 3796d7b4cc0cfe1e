"""`socsci-jax evaluate` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.cli.output import Replace, Seed, as_options, print_rich, print_table, say
from socsci_jax.errors import InputError
from socsci_jax.locks import only_writer
from socsci_jax.wording import counted

if TYPE_CHECKING:
    from socsci_jax.evaluation.result import Evaluation

app = typer.Typer()

EvaluatePredictions = Annotated[
    Path,
    typer.Argument(help="Predictions (anybody's): Parquet; with --human also CSV, Excel, SPSS, Stata, R."),
]


EvaluateOut = Annotated[
    Path,
    typer.Option(
        "-o",
        "--out",
        help="Folder for the evaluation table and the report; an earlier evaluation there is replaced.",
    ),
]


EvaluateStorePath = Annotated[
    Path | None, typer.Argument(metavar="STORE", help="Folder of the study store; not with --human.")
]


Human = Annotated[
    Path | None,
    typer.Option(
        help="People's answers as a plain table, long, wide or counts, instead of a store (`book.xlsx#Sheet`)."
    ),
]


Scales = Annotated[
    Path | None,
    typer.Option(help="With --human: YAML, `question: 1 to 5`; without it scales are observed."),
]


IdColumn = Annotated[
    str | None, typer.Option("--id", help="With --human: the column that says who answered.")
]


Control = Annotated[
    list[str] | None, typer.Option(help="With --human: name of a control condition (repeatable).")
]


EvaluateSplit = Annotated[
    str | None, typer.Option(help="Split; by default the one named in the predictions.")
]


Resample = Annotated[
    str | None,
    typer.Option(help="studies, conditions, outcomes or participants; by default as the design says."),
]


Also = Annotated[
    list[Path] | None,
    typer.Option(help="Another predictor's table (repeatable): the mean of all is a row of every table."),
]


_WHOSE_ANSWERS = "give either STORE, the folder of a study store, or --human, a table of people's answers."


MinimumN = Annotated[int, typer.Option(help="Items with fewer human answers stay out of averages.")]


@app.command()
def evaluate(
    predictions: EvaluatePredictions,
    out: EvaluateOut,
    store_path: EvaluateStorePath = None,
    human: Human = None,
    scales: Scales = None,
    id_column: IdColumn = None,
    control: Control = None,
    split: EvaluateSplit = None,
    resample: Resample = None,
    also: Also = None,
    seed: Seed = 0,
    minimum_n: MinimumN = 10,
) -> None:
    """Say how far the predictions can be trusted: an evaluation table and one self-contained HTML report."""
    from socsci_jax.evaluation.elsewhere.simbench import evaluate_simbench, is_simbench
    from socsci_jax.evaluation.evaluate_files import evaluate_files
    from socsci_jax.plain_tables import evaluate_tables

    own_people = store_path is None and human is None and is_simbench(predictions)
    if (store_path is None) == (human is None) and not own_people:
        raise InputError(_WHOSE_ANSWERS)
    settings = {"seed": seed, "minimum_n": minimum_n, "resample": resample, "also": also or ()}
    with only_writer(out):
        # Whatever it holds can be made again from the same files.
        replaced = ", in place of an earlier one" if (out / "report.html").exists() else ""
        if store_path is not None:
            _show(evaluate_files(predictions, store_path, out, split_name=split, **settings))
        else:
            if human is None:
                judged = evaluate_simbench(predictions, seed=seed)
            else:
                columns = {"id_column": id_column, "controls": control or ()}
                judged = evaluate_tables(predictions, human, scales=scales, **columns, **settings)
            judged.write(out)
            _show(judged.evaluation)
            _show_of_tables(judged.evaluation, own_people=own_people)
    say(f"report: {out / 'report.html'}{replaced}")


def _show(evaluation: Evaluation) -> None:
    """The summaries that a terminal of 80 columns has room for: of distributions and effects, and of labels."""
    from socsci_jax.evaluation.report import labels
    from socsci_jax.evaluation.report.terminal import summary_table

    if evaluation.parts:
        print_rich(summary_table(evaluation))
    if evaluation.coding.parts:
        print_rich(labels.summary_table(evaluation.coding))


def _show_of_tables(evaluation: Evaluation, *, own_people: bool) -> None:
    """Shows what plain tables need besides: notes, since no store was checked before."""
    from socsci_jax.evaluation.sentences import with_interval

    if own_people:
        say(f"SimBench score: {with_interval(evaluation.metric('simbench_score'), digits=1)}")
    for note in evaluation.notes:
        say(f"note: {as_options(note)}")


@app.command()
def compare(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="Predictions: Parquet; with --human also CSV, Excel, SPSS, Stata, R."
        ),
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="Other predictions.")],
    store_path: EvaluateStorePath = None,
    human: Human = None,
    scales: Scales = None,
    id_column: IdColumn = None,
    control: Control = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Table of every metric of both and A − B (.csv or .parquet)."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split; by default the one named in both.")] = None,
    resample: Resample = None,
    seed: Seed = 0,
    minimum_n: MinimumN = 10,
    replace: Replace = False,
) -> None:
    """Compare two predictors on the answers that both predict: paired differences, the same resamples."""
    from socsci_jax.evaluation.compare import compare_files
    from socsci_jax.plain_tables import compare_tables
    from socsci_jax.rectification.output import check_output, write_table

    if (store_path is None) == (human is None):
        raise InputError(_WHOSE_ANSWERS)
    if out is not None:
        check_output(out, replace=replace)
    same = {"seed": seed, "minimum_n": minimum_n, "resample": resample}
    if human is not None:
        comparison = compare_tables(
            a, b, human, scales=scales, id_column=id_column, controls=control or (), **same
        )
    else:
        assert store_path is not None
        comparison = compare_files(a, b, store_path, split_name=split, **same)
    say(f"A: {a}")
    say(f"B: {b}")
    print_table("A against B", comparison.headline())
    if (comparison.table["source"] == "sampled").any():
        say(
            "sampled: from one draw for each person; `evaluate` shows the exact distance of a table that holds probabilities."
        )
    for sentence in comparison.sentences():
        say(sentence)
    if comparison.excluded:
        say(
            f"{counted(comparison.excluded, 'answer is', 'answers are')} not predicted by both and excluded; {counted(comparison.answers, 'answer was', 'answers were')} used."
        )
    if out is not None:
        write_table(comparison.table, out)
        say(f"table: {out}")
