"""The commands of `socsci-jax forecast`: an experiment that has not been run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.cli import respondents
from socsci_jax.cli.multiverse import show_multiverse
from socsci_jax.cli.output import (
    Layout,
    Margins,
    Model,
    OtherLayout,
    Replace,
    Seed,
    print_table,
    read_people,
    say,
)
from socsci_jax.wording import counted

if TYPE_CHECKING:
    import polars as pl

    from socsci_jax.forecasting.report.material import Material
    from socsci_jax.studies.store import StudyStore

MOST_SENTENCES = 20

app = typer.Typer(
    help=(
        "Forecast an experiment that has not been run: expected effects with intervals that held-out studies have taught, "
        "then lock the forecast, and score it once people have answered."
    ),
    no_args_is_help=True,
)


app.command("respondents")(respondents.respondents)


@app.command("run")
def run(
    experiment: Annotated[Path, typer.Argument(help="A study.yaml without data (docs/forecasting.md).")],
    model: Model,
    calibration: Annotated[
        Path,
        typer.Option(
            help="Store of at least ten studies that people have answered and the model has never seen."
        ),
    ],
    people: Annotated[
        Path | None,
        typer.Option(
            help="Whom it is about: CSV of personas, or a study store; by default the calibration's participants."
        ),
    ] = None,
    margins: Margins = None,
    subgroup: Annotated[
        list[str] | None, typer.Option(help="Attribute by which effects are told apart (repeat for several).")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Study of the calibration store to exclude (repeat).")
    ] = None,
    per_arm: Annotated[
        int, typer.Option(min=2, help="People per arm of the study that is planned, for its power.")
    ] = 300,
    past_people: Annotated[
        int, typer.Option(min=2, help="Participants of each past study who are asked; fewer take less time.")
    ] = 20,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")] = Path("forecast"),
    layout: Layout = None,
    other_layout: OtherLayout = False,
    allow_unknown: Annotated[
        bool,
        typer.Option("--allow-unknown", help="Allow a model of which nobody knows what it was trained on."),
    ] = False,
    seed: Seed = 0,
    replace: Replace = False,
) -> None:
    """Say what to expect of an experiment, how sure to be, and where there is no telling.

    Example: socsci-jax forecast run experiment.yaml runs/main --calibration stores/heldout --people people.csv -o forecast
    """
    import socsci_jax as sj
    from socsci_jax.forecasting.files import REPORT, WRITTEN, material, write_material
    from socsci_jax.forecasting.population import read_margins
    from socsci_jax.locks import only_writer
    from socsci_jax.storage import check_free

    with only_writer(out):
        check_free(out, replaces=WRITTEN if replace else None)
        store = sj.open_store(calibration)
        forecast = sj.forecast(
            experiment,
            sj.open_model(model),
            calibration=store,
            people=store if people is None else _personas(people),
            margins=None if margins is None else read_margins(margins),
            subgroups=subgroup or (),
            exclude=exclude or (),
            past_people=past_people,
            layout=layout,
            allow_other_layout=other_layout,
            seed=seed,
            allow_unknown=allow_unknown,
        )
        made = material(forecast, per_arm=per_arm)
        write_material(made, out, replace=replace)
    _show(made)
    show_multiverse(forecast.multiverse)
    _show_plan(made)
    say(f"written: {out}, to be read from {out / REPORT}")


@app.command("lock")
def lock_command(
    forecast: Annotated[Path, typer.Argument(help="Folder that `forecast run` wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write, ready to be deposited.")] = Path(
        "lock"
    ),
    codebook: Annotated[
        Path | None, typer.Option(help="The benchmark's codebook, whose ranges the tiers have to keep.")
    ] = None,
    stated: Annotated[
        Path | None,
        typer.Option(
            help="YAML of what only authors know, for both checklists: team, summary, funding, blinding, selection, code, compute."
        ),
    ] = None,
    seed: Seed = 0,
    replace: Replace = False,
) -> None:
    """Lock a forecast before anybody answers: its files, the benchmark's three tiers, both checklists, and a hash to publish."""
    from socsci_jax.evaluation.elsewhere.silicon_sample import Ranges
    from socsci_jax.forecasting.checklists import FORM, GUIDE, read_stated
    from socsci_jax.forecasting.lock import lock
    from socsci_jax.locks import only_writer

    ranges = None if codebook is None else Ranges.of_codebook(codebook)
    known = None if stated is None else read_stated(stated)
    with only_writer(out):
        made = lock(forecast, out, ranges=ranges, stated=known, seed=seed, replace=replace)
    say(f"locked: {out}")
    say(f"hash:   {made.hash}")
    say(f"Both checklists name what only you can add: {out / GUIDE}, {out / FORM} (--stated adds it).")
    say("Deposit the whole folder where its date is attested, and publish the hash; then collect answers.")


@app.command("score")
def score_command(
    locked: Annotated[Path, typer.Argument(metavar="LOCK", help="Folder that `forecast lock` wrote.")],
    data: Annotated[
        Path, typer.Argument(help="What people answered: a study store, a CSV or a Parquet file.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write.")] = Path("score"),
    replace: Replace = False,
) -> None:
    """Compare a locked forecast with what people answered: coverage, and error compared with no effect and raw predictions.

    A table has a row a person (condition, and a column an outcome) or a row an answer (condition, outcome, value).
    """
    import socsci_jax as sj
    from socsci_jax.evaluation.elsewhere.columns import read_table
    from socsci_jax.forecasting.lock import read_lock
    from socsci_jax.forecasting.score import REPORT, WRITTEN, last_changed, score, write_score
    from socsci_jax.locks import only_writer
    from socsci_jax.storage import check_free

    with only_writer(out):
        check_free(out, replaces=WRITTEN if replace else None)
        answers = sj.open_store(data) if data.is_dir() else read_table(data)
        scored = score(read_lock(locked), answers, changed=last_changed(data))
        write_score(scored, out, replace=replace)
    print_table("Forecast against people", scored.measures.with_columns(_rounded()))
    for text in scored.directions[:MOST_SENTENCES]:
        say(text)
    if scored.answers_from:
        say(
            f"What people answered was last changed {scored.answers_from}, before the forecast was locked {scored.locked}."
        )
    for reason, number in scored.excluded.items():
        say(f"{counted(number, 'answer')} excluded: {reason}.")
    if scored.unscored:
        say(
            f"{counted(scored.unscored, 'effect')} not scored: an arm has too few answers, or equal ones only."
        )
    say(f"written: {out}, to be read from {out / REPORT}")


def _rounded() -> pl.Expr:
    import polars as pl

    return pl.col(pl.Float64).round(2) + 0.0  # no negative zero


def _personas(path: Path) -> pl.DataFrame | StudyStore:
    import socsci_jax as sj

    return sj.open_store(path) if path.is_dir() else read_people(path)


def _show(m: Material) -> None:
    """What the page says in sentences, and its tables of effects and ranks."""
    from socsci_jax.forecasting.report.words import directions, findings, lead, learned_from

    people = m.record["population"]
    say(
        f"{counted(people['personas'], 'persona')} ({people['source']}), effective sample size {people['effective_size']:.0f}; "
        f"calibrated on {counted(m.calibration.studies, 'study')} ({learned_from(m)})."
    )
    for text in (*lead(m), *directions(m)[:MOST_SENTENCES]):
        say(text)
    for finding in findings(m):
        say(f"{finding.title}: {finding.text}")
    shown = [
        "outcome",
        "condition",
        "predicted",
        "expected",
        "lo_50",
        "hi_50",
        "lo_90",
        "hi_90",
        "p_positive",
    ]
    print_table(
        "Expected effects, in percentage points of the scale's range",
        m.told.select(shown).with_columns(_rounded()),
    )
    if m.refused.height:
        print_table(
            "No forecast: too far from all that is known",
            m.refused.select("outcome", "condition", "abstains"),
        )
    print_table(
        "Probability of the highest and of the lowest mean",
        m.tables["ranks"].with_columns(_rounded()),
    )
    say(
        "Intervals hold for studies like those of the calibration; the number of simulated people does not enter them."
    )


def _show_plan(m: Material) -> None:
    """Power of the study that is planned in words, and how its people are best divided, where anything is forecast."""
    from socsci_jax.forecasting.collecting import allocation
    from socsci_jax.forecasting.report.page import pasted

    if m.told.is_empty():
        return
    for text in pasted(m):
        say(text)
    arms, references = m.tables["arms"], m.effects["reference"].unique().to_list()
    if len(references) == 1:
        people = m.record["per_arm"] * arms["condition"].n_unique()
        divided = allocation(arms, people, control=references[0])
        print_table(
            f"How {counted(people, 'person is', 'people are')} best divided", divided.with_columns(_rounded())
        )
