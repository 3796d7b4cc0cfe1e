"""What `forecast run` prints of variants of the prompt and of checks of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from socsci_jax.cli.output import print_table, say
from socsci_jax.wording import counted

if TYPE_CHECKING:
    from socsci_jax.forecasting.multiverse import Multiverse

_SHOWN_FINDINGS = 20


def show_multiverse(multiverse: Multiverse) -> None:
    """The summary of variants, and the checks that are flagged; nothing where there are none."""
    import polars as pl

    summary, checks = multiverse.summary, multiverse.checks
    varied = summary.filter(pl.col("declared") > 1)
    if varied.height:
        asked, declared = varied["asked"].max(), varied["declared"].max()
        columns = [
            "outcome",
            "condition",
            "predicted",
            "lo",
            "hi",
            "least",
            "most",
            "same_sign",
            "survives",
            "decisive",
        ]
        print_table(
            f"Predicted effects over variants of the prompt ({asked} of {declared} asked)",
            varied.select(columns).with_columns(pl.col(pl.Float64).round(2)),
        )
        say(
            "lo and hi: where the mean over all variants and personas lies (90 %); same_sign: share of variants with its sign; "
            "survives: what is left of it in the least favorable variant."
        )
    if checks.height:
        flagged = checks.filter("flagged")["finding"].to_list()
        say(
            f"{counted(checks.height, 'check')} of the model, {len(flagged)} flagged{':' if flagged else '.'}"
        )
        for finding in flagged[:_SHOWN_FINDINGS]:
            say(f"  {finding}")
        if len(flagged) > _SHOWN_FINDINGS:
            say(f"  and {len(flagged) - _SHOWN_FINDINGS} more, in checks.parquet")
