"""The command line.  Each command imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from socsci_jax import __version__
from socsci_jax.cli import (
    ask,
    checkpoints,
    convert,
    data,
    evaluate,
    forecast,
    games,
    inference,
    simulate,
    training,
)
from socsci_jax.cli.output import Seed, as_options, print_rich, say, show_log_lines
from socsci_jax.errors import InputError, RunStopped, ending
from socsci_jax.wording import counted

app = typer.Typer(
    name="socsci-jax",
    help=(
        "Fine-tune language models on survey experiments and predict how people would answer.\n\n"
        "Data flow: `data build` and `data split`, `train`, `simulate`, `evaluate`, `export`. "
        "`plan` says beforehand whether a recipe fits a machine. `quickstart` runs all of it on a built-in demonstration."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(data.app, name="data")
app.add_typer(forecast.app, name="forecast")
for commands in (training, simulate, evaluate, convert, ask, inference, games, checkpoints):
    app.add_typer(commands.app)


def main() -> None:
    """Runs the command line; what a user is meant to read is one sentence, and the exit status says what to do next."""
    if sys.argv[1:2] and sys.argv[1] in ("train", "simulate", "sweep", "quickstart"):
        from socsci_jax.compilation import before_jax

        before_jax()
    show_log_lines()
    try:
        app(prog_name="socsci-jax")
    except (Exception, KeyboardInterrupt) as error:
        sentence, status = ending(error)
        if status == 1:
            raise
        # An end that was asked for is no error; its sentence begins with "stopped".
        asked_for = isinstance(error, RunStopped | KeyboardInterrupt)
        say(sentence if asked_for else f"error: {as_options(sentence)}", file=sys.stderr)
        raise SystemExit(status) from None


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"socsci_jax {__version__}")
        raise typer.Exit


@app.command()
def quickstart(
    out: Annotated[Path, typer.Argument(help="Folder for everything that is made.")] = Path("quickstart"),
    seed: Seed = 0,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="Start from SmolLM2-135M-Instruct, and compare with what it predicts as published.",
        ),
    ] = False,
    deposit: Annotated[
        Path | None, typer.Option(help="With --pretrained: a deposit instead of the demonstration.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="Kind of the deposit, as `data build` takes it.")
    ] = "tess_archive",
) -> None:
    """Run the whole chain on the built-in demonstration: build, split, train, simulate, evaluate, export."""
    if pretrained:
        from socsci_jax.pretrained import comparison, run_pretrained

        source = {} if deposit is None else {"kind": kind, "deposit": str(deposit)}
        before, after = run_pretrained(out, seed=seed, **source)
        print_rich(comparison(before, after))
        say(f"report:   {out / 'evaluation_fine_tuned' / 'report.html'}")
        say(f"exported: {out / 'exported'}")
        return
    if deposit is not None:
        raise InputError(
            "--deposit goes with --pretrained: random weights learn too little of a deposit here."
        )
    from socsci_jax.evaluation.report.terminal import summary_table
    from socsci_jax.quickstart import run

    evaluation = run(out, seed=seed)
    print_rich(summary_table(evaluation))
    for part in evaluation.parts:
        correlation = evaluation.metric("true_effect_correlation", part=part)
        if correlation is not None and correlation.value is not None:
            say(
                f"correlation of predicted with true effects, {part}: {correlation.value:.2f} (n = {counted(correlation.n, 'item')})"
            )
    say(f"report:   {out / 'evaluation' / 'report.html'}")
    say(f"exported: {out / 'exported'}")
