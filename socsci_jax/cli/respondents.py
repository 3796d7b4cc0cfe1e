"""`socsci-jax forecast respondents`: whole respondents as a data set, and how their answers hang together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.cli.output import (
    Layout,
    Margins,
    Model,
    OtherLayout,
    Replace,
    Seed,
    command_line,
    print_table,
    read_people,
    say,
)
from socsci_jax.errors import InputError
from socsci_jax.wording import counted

if TYPE_CHECKING:
    import polars as pl

    from socsci_jax.forecasting.respondents import Respondents


Experiment = Annotated[Path, typer.Argument(help="A study.yaml without data (docs/respondents.md).")]
People = Annotated[Path, typer.Option(help="Whom it is about: CSV of personas, or a study store.")]
PerArm = Annotated[int, typer.Option("-n", "--per-arm", min=2, help="Respondents of each arm.")]
RespondentsOutcome = Annotated[
    list[str] | None,
    typer.Option(help="Outcome to ask, in this order (repeat); by default all, as the file has them."),
]
Battery = Annotated[
    list[str] | None,
    typer.Option(help="Several outcomes as one scale: 'mood = happy, calm, -sad' (minus: reverse-coded)."),
]
ModelOfRows = Annotated[
    list[str] | None,
    typer.Option(
        "--fit",
        help="Regression ('trust ~ condition + age') or mediation ('condition -> mood -> trust') (repeat).",
    ),
]
ExactPairs = Annotated[
    bool,
    typer.Option(
        "--exact-pairs/--no-exact-pairs",
        help="Also ask every pair of outcomes by itself, for exact correlations within personas; takes longer.",
    ),
]
Answers = Annotated[
    Path | None,
    typer.Option(help="Study store in which people answered the same study: their statistics come beside."),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Data set to write: .csv, .parquet or .sav (SPSS).")]


def respondents(
    experiment: Experiment,
    model: Model,
    people: People,
    margins: Margins = None,
    per_arm: PerArm = 200,
    outcome: RespondentsOutcome = None,
    battery: Battery = None,
    model_of_rows: ModelOfRows = None,
    exact_pairs: ExactPairs = True,
    answers: Answers = None,
    out: Out = Path("respondents.csv"),
    layout: Layout = None,
    other_layout: OtherLayout = False,
    seed: Seed = 0,
    replace: Replace = False,
) -> None:
    """Simulate whole respondents: each answers all outcomes one after another, as rows of a data set.

    An answer is drawn from its exact distribution given the persona and the answers before it. With the rows comes
    NAME_statistics.csv: correlations (over all people, within personas, between personas), reliability, and what you fit.
    What was stopped resumes with the same command.

    Example: socsci-jax forecast respondents experiment.yaml runs/main --people people.csv -n 300
    --battery "mood = happy, calm, -sad" --fit "condition -> mood -> trust" -o respondents.csv
    """
    import socsci_jax as sj
    from socsci_jax.forecasting.population import read_margins
    from socsci_jax.forecasting.respondent_files import check_out, write_respondents
    from socsci_jax.locks import only_writer
    from socsci_jax.simulation.batches import discard_batches

    with only_writer(out):
        check_out(out, replace=replace)
        drawn = sj.respondents(
            experiment,
            sj.open_model(model),
            people=sj.open_store(people) if people.is_dir() else read_people(people),
            margins=None if margins is None else read_margins(margins),
            per_arm=per_arm,
            outcomes=outcome or (),
            batteries=_batteries(battery or []),
            models=model_of_rows or (),
            exact_pairs=exact_pairs,
            answers=None if answers is None else sj.open_store(answers),
            layout=layout,
            allow_other_layout=other_layout,
            seed=seed,
            beside=out,
        )
        written = write_respondents(drawn, out, metadata={"command": command_line()})
        discard_batches(out)
    _show(drawn)
    say(f"written: {', '.join(map(str, written))} ({counted(drawn.rows.height, 'respondent')})")


def _batteries(texts: list[str]) -> dict[str, list[str]]:
    batteries: dict[str, list[str]] = {}
    for text in texts:
        name, equals, outcomes = text.partition("=")
        if not equals or not name.strip() or not outcomes.strip():
            raise InputError(
                f"battery {text!r}: write a name and its outcomes, as in 'mood = happy, calm, -sad'."
            )
        if name.strip() in batteries:
            raise InputError(f"battery {name.strip()!r} is given twice; give each once.")
        batteries[name.strip()] = [outcome.strip() for outcome in outcomes.split(",")]
    return batteries


def _show(drawn: Respondents) -> None:
    import polars as pl

    rounded = pl.col(pl.Float64).round(2)
    table = drawn.statistics
    correlations = table.filter(pl.col("statistic").is_in(["r", "r_within", "r_between", "cramers_v"]))
    if correlations.height:
        key = ["condition", "outcome", "other", "source"]
        wide = correlations.pivot("statistic", index=key, values="value", maintain_order=True)
        print_table("Pairs of answers", wide.with_columns(rounded))
    for title, names in TITLES.items():
        own = table.filter(pl.col("statistic").is_in(names))
        if own.height:
            print_table(title, _without_empty(own.drop("study")).with_columns(rounded))
    say(
        "Intervals are those of so many rows, not of what people will do: a larger -n makes them narrower, not truer."
    )


TITLES = {
    "Reliability (Cronbach's alpha)": ["alpha"],
    "Regressions": ["coefficient"],
    "Mediation": ["a", "b", "indirect", "direct", "total"],
}


def _without_empty(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(name for name in frame.columns if frame[name].count())
