"""What an evaluation of means or shares has in the place of what only answers of single people give."""

from __future__ import annotations

import polars as pl

_PLACE = {
    "part": pl.String,
    "item_id": pl.String,
    "study": pl.String,
    "condition": pl.String,
    "outcome": pl.String,
}
_SHARES = {"levels": pl.List(pl.Float64), "human": pl.List(pl.Float64), "model": pl.List(pl.Float64)}


def no_distributions() -> pl.DataFrame:
    """The table of distributions (`averaging.distribution_table`), without a row."""
    return pl.DataFrame(
        schema={**_PLACE, "n": pl.Int64, "averaged": pl.Boolean, "wasserstein": pl.Float64, **_SHARES}
    )


def nothing_excluded() -> pl.DataFrame:
    """The table of excluded items (`parts.excluded_table`), without a row."""
    names = ("part", "item_id", "reason", "study_id", "condition", "outcome")
    return pl.DataFrame(schema=dict.fromkeys(names, pl.String))


def part_table() -> pl.DataFrame:
    """Any other table by part, without a row."""
    return pl.DataFrame(schema={"part": pl.String})


def counts(**known: int) -> dict[str, int]:
    """The counts of a part, 0 where nothing was counted."""
    names = (
        "studies", "items", "answers", "median_answers_per_item", "items_below_minimum_n", "items_not_levels",
        "items_without_prediction", "items_without_probabilities", "items_where_all_answered_alike",
        "items_without_training_marginal", "items_without_pooled_answers", "answers_without_prediction",
        "answers_off_scale", "draws", "draws_off_scale",
    )  # fmt: skip
    return dict.fromkeys(names, 0) | known
