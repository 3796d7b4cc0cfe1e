"""`socsci-jax games`: how rational a model plays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from socsci_jax.cli.output import Replace, print_table, rounded, say

app = typer.Typer()


@app.command("games")
def games_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|PREDICTIONS", help="A model, or a predictions table (.parquet) of the games."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Table of every decision to write (.csv or .parquet).")
    ] = None,
    replace: Replace = False,
) -> None:
    """Say how rational a model plays: dictator, rock-paper-scissors, ring of two; exact, nothing is sampled."""
    from socsci_jax.evaluation.games import game_summary, game_table
    from socsci_jax.rectification.output import check_output, write_table

    if out is not None:
        check_output(out, replace=replace)
    if source.endswith(".parquet"):
        from socsci_jax.tables import read_table

        predictions = read_table(source)
    else:
        import socsci_jax as sj
        from socsci_jax.studies.games import game_items

        predictions = sj.predict(sj.open_model(source), [one.item for one in game_items()], [{}]).frame
    table = game_table(predictions)
    summary = game_summary(table).drop("off_scale")
    for (game,), rows in summary.group_by("game", maintain_order=True):
        shown = rows.drop("game")
        # A dictator believes nothing of the other one.
        print_table(str(game), rounded(shown.select(c for c in shown if c.null_count() < shown.height)))
    if (off := table["off_scale"].mean()) > 0:
        say(f"note: {off:.1%} of the draws are off the options; all estimates use the others")
    if out is not None:
        write_table(table, out)
        say(f"written: {out}")
