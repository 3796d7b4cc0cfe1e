"""Predictions in two parts: levels from one model, effects of arms from another.

    log p(l|c,i) = mean_k log p_S(l|k,i) + kappa [log p_E(l|c,i) - mean_k log p_E(l|k,i)] + const

for person i and arm c of an outcome with arms k.  S was trained to predict answers, E to tell arms apart; kappa in [0, 1]
says how much of E's effects is believed.  All arms must be known, as they are in a planned experiment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.distributed.processes import Processes
from socsci_jax.errors import InputError
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.predict import PreparedPrediction, prepare_prediction
from socsci_jax.simulation.simulate import ALONE, predict_to_file
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import read_metadata, write_predictions
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA
from socsci_jax.studies.splits import VALIDATION, Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.trained_on import UNSEEN

# Of the scale's range: what no model need explain of an arm's mean.
TAU = 0.03
KAPPAS = np.linspace(0, 1, 101)
# Arms that offer other answers are an outcome of their own.
OUTCOME = ["study_id", "outcome", "levels"]


def simulate_two_parts(
    levels: SimulationModel,
    effects: SimulationModel,
    store: StudyStore,
    split: Split,
    *,
    out: Path,
    kappa: float | None,
    parts: Sequence[str] = (),
    metadata: dict[str, Any] | None = None,
    processes: Processes = ALONE,
) -> float | None:
    """Writes the predictions table of all held-out pairs and returns kappa, which is learned on the validation part if None.

    Each model predicts every arm for every person first, in chunks that outlive the process (see `simulate`), into a table
    next to `out` that goes when all is done.  Processes other than the first return None once their chunks are computed.
    Raises InputError if nothing is to be predicted, if kappa is to be learned and no outcome of the validation part has two
    arms, or if the models offer different answers.
    """
    wanted = split.pairs(*parts).frame
    asked = [wanted] if kappa is not None else [wanted, split.pairs(VALIDATION).frame]
    arms = _all_arms(store, pl.concat([frame.select("item_id", "participant_id") for frame in asked]))
    tables = [out.with_name(f".{out.name}.{role}.parquet") for role in ("levels", "effects")]
    for model, table in zip((levels, effects), tables):
        _predict_unless_there(prepare_prediction(model, arms), table, split, processes)
    if not processes.is_main:
        return None
    both = TwoParts.of_tables(*map(pl.read_parquet, tables), store)
    used = learn_kappa(both, split) if kappa is None else kappa
    described = {
        "model": f"levels from {levels.metadata['name']}, effects from {effects.metadata['name']}",
        "kappa": used,
        "kappa_from": "validation part" if kappa is None else "argument",
        "elicitation": "exact",
        **split.provenance,
        "parts": sorted(wanted["part"].unique()),
        **(metadata or {}),
    }
    rows = both.frame.with_columns(probs=both.lists(both.probs(used)))
    rows = rows.join(wanted.select("item_id", "participant_id"), on=["item_id", "participant_id"], how="semi")
    write_predictions(out, rows.sort("item_id", "participant_id"), metadata=described)
    for table in tables:
        table.unlink()
    return used


@dataclasses.dataclass(frozen=True, eq=False)
class TwoParts:
    """Both models' log-probabilities for every arm, person and answer, flat in the order of `frame`.

    `frame` has a row for each pair: study_id, outcome and the columns of a predictions table.  `base` [N] is the mean of
    log p_S over arms, `deviation` [N] that of log p_E from its mean; a pair's answers begin at `starts` [pairs].
    """

    frame: pl.DataFrame
    base: np.ndarray
    deviation: np.ndarray
    starts: np.ndarray

    @classmethod
    def of_tables(cls, levels: pl.DataFrame, effects: pl.DataFrame, store: StudyStore) -> TwoParts:
        """From the two predictions tables; raises InputError if they offer different answers."""
        pair = ["item_id", "participant_id"]
        outcomes = store.item_places.select("item_id", "study_id", "outcome")
        both = levels.join(effects, on=pair, suffix="_effects").join(outcomes, on="item_id").sort(pair)
        if (other := both.filter(pl.col("levels") != pl.col("levels_effects"))).height:
            row = other.row(0, named=True)
            raise InputError(
                f"item {row['item_id']!r}: the two models offer different answers ({row['levels'][:5]} and "
                f"{row['levels_effects'][:5]}); they must be trained with the same data.alternatives."
            )
        sizes = both["probs"].list.len().to_numpy().astype(np.int64)
        arm = [*OUTCOME, "participant_id", "place"]
        flat = both.with_columns(place=pl.int_ranges(0, pl.col("probs").list.len()))
        flat = flat.explode("place", "probs", "probs_effects").select(
            base=_log("probs").mean().over(arm),
            deviation=_log("probs_effects") - _log("probs_effects").mean().over(arm),
        )
        seen = zip(both["seen"], both["seen_effects"])
        unseen = zip(both["unseen"], both["unseen_effects"])
        both = both.with_columns(
            seen=pl.Series([_either_saw(*row) for row in seen], dtype=pl.Boolean),
            unseen=pl.Series([_unseen_by_both(*row) for row in unseen], dtype=pl.String),
        )
        return cls(
            frame=both.select("study_id", "outcome", *PREDICTIONS_SCHEMA.names),
            base=flat["base"].to_numpy(),
            deviation=flat["deviation"].to_numpy(),
            starts=np.cumsum(sizes) - sizes,
        )

    def where(self, pairs: np.ndarray) -> TwoParts:
        """The pairs that `pairs` [pairs] is true for."""
        sizes = self.frame["levels"].list.len().to_numpy().astype(np.int64)
        kept, flat = sizes[pairs], np.repeat(pairs, sizes)
        return TwoParts(
            self.frame.filter(pairs), self.base[flat], self.deviation[flat], np.cumsum(kept) - kept
        )

    def probs(self, kappa: float) -> np.ndarray:
        """Probabilities [N] of the two parts together."""
        logits = self.base + kappa * self.deviation
        sizes = np.diff(self.starts, append=len(logits))
        probs = np.exp(logits - np.repeat(np.maximum.reduceat(logits, self.starts), sizes))
        return probs / np.repeat(np.add.reduceat(probs, self.starts), sizes)

    def lists(self, flat: np.ndarray) -> pl.Series:
        """A number for each answer [N] as lists by pair."""
        sizes = np.diff(self.starts, append=len(flat))
        numbers = pl.DataFrame({"row": np.repeat(np.arange(len(sizes)), sizes), "flat": flat})
        return numbers.group_by("row", maintain_order=True).agg("flat")["flat"]


def learn_kappa(both: TwoParts, split: Split) -> float:
    """The kappa in [0, 1] by which the validation part's contrasts between arms are predicted best.

    Least squares of contrasts within outcomes, on the range of the scale, weighted by 1 / (standard error^2 + 0.03^2) of
    people's means, over the validation part's people; answers outside the order of a scale are excluded on both sides.
    Raises InputError if no ordered outcome has answers in two arms.
    """
    scales = {i: item.scale for i, item in split.store.item_by_id.items() if not item.scale.nominal}
    positions = {
        i: pl.DataFrame({"item_id": i, "value": scale.levels, "position": _positions(scale.levels)})
        for i, scale in scales.items()
        if scale.kind == "levels"
    }
    answers = split.label().filter(pl.col("part") == VALIDATION, pl.col("item_id").is_in(list(positions)))
    person = ["study_id", "outcome", "participant_id"]
    both = both.where(
        _is_in(both.frame, answers, person) & both.frame["item_id"].is_in(list(positions)).to_numpy()
    )
    human = _human_means(both.frame, answers, positions)
    if human.is_empty():
        raise InputError(
            f"split {split.name!r}: no outcome of the validation part has two arms with answers, so kappa cannot be learned; "
            "give a number from 0 to 1."
        )
    place = {i: dict(of.select("value", "position").iter_rows()) for i, of in positions.items()}
    offered = both.frame.select("item_id", "levels").iter_rows()
    position = np.array([place[i].get(level, np.nan) for i, levels in offered for level in levels])
    errors = [_error(both, np.nan_to_num(position), ~np.isnan(position), human, kappa) for kappa in KAPPAS]
    # Sums of floats in another order differ in the last digits: of kappas that are as good, the least.
    return float(KAPPAS[int(np.round(errors, 9).argmin())])


def _error(
    both: TwoParts, position: np.ndarray, on_order: np.ndarray, human: pl.DataFrame, kappa: float
) -> float:
    """Weighted squares of what predicted contrasts of arms miss; `position` and `on_order` are flat [N]."""
    probs = both.probs(kappa) * on_order
    mass = np.add.reduceat(probs, both.starts)
    means = np.add.reduceat(probs * position, both.starts) / np.maximum(mass, 1e-30)
    arm, weight = [*OUTCOME, "item_id"], pl.col("weight")
    arms = both.frame.select(*arm, mean=means).group_by(arm).agg(pl.col("mean").mean()).join(human, on=arm)
    gap = pl.col("mean") - pl.col("human")
    gap -= (gap * weight).sum().over(OUTCOME) / weight.sum().over(OUTCOME)
    return float(arms.select((weight * gap**2).sum()).item())


def _human_means(
    frame: pl.DataFrame, answers: pl.DataFrame, positions: dict[str, pl.DataFrame]
) -> pl.DataFrame:
    """Of arms with answers, in outcomes with two: human (mean on [0, 1]) and weight; variances are pooled over the arms."""
    arm, n, squares = [*OUTCOME, "item_id"], pl.col("n"), pl.col("squares")
    on_range = pl.concat(positions.values()).with_columns(pl.col("value").cast(pl.Float64))
    values = answers.select("item_id", "value").join(on_range, on=["item_id", "value"])
    x = pl.col("position")
    means = values.join(frame.select(arm).unique(), on="item_id").group_by(arm)
    means = means.agg(human=x.mean(), n=pl.len(), squares=((x - x.mean()) ** 2).sum())
    freedom = n.sum().over(OUTCOME) - pl.len().over(OUTCOME)
    variance = squares.sum().over(OUTCOME) / freedom / n
    means = means.filter(pl.len().over(OUTCOME) > 1, freedom > 0)
    return means.select(*arm, "human", weight=1 / (variance + TAU**2))


def _positions(levels: Sequence[float]) -> np.ndarray:
    return (np.array(levels, float) - levels[0]) / (levels[-1] - levels[0])


def _is_in(frame: pl.DataFrame, other: pl.DataFrame, columns: list[str]) -> np.ndarray:
    known = other.select(columns).unique().with_columns(found=pl.lit(True))
    return (
        frame.join(known, on=columns, how="left", maintain_order="left")["found"].fill_null(False).to_numpy()
    )


def _all_arms(store: StudyStore, asked: pl.DataFrame) -> Pairs:
    """Every arm of the outcomes of the pairs `asked`, for the same people; only items with a finite set of levels."""
    closed = [item_id for item_id, item in store.item_by_id.items() if item.scale.kind == "levels"]
    outcomes = store.item_places.select("item_id", "study_id", "outcome")
    people = asked.join(outcomes, on="item_id").select("study_id", "outcome", "participant_id").unique()
    frame = people.join(outcomes.filter(pl.col("item_id").is_in(closed)), on=["study_id", "outcome"])
    if frame.is_empty():
        raise InputError(
            "no item has a finite set of levels, so there are no exact probabilities to combine."
        )
    frame = frame.sort("item_id", "participant_id").select("item_id", "study_id", "participant_id")
    return Pairs.of_store(store, frame)


def _predict_unless_there(
    prepared: PreparedPrediction, table: Path, split: Split, processes: Processes
) -> None:
    described = {**prepared.metadata, **split.provenance, "pairs": len(prepared)}
    if table.is_file() and read_metadata(table) == described:
        return
    predict_to_file(prepared, table, metadata=described, processes=processes)


def _log(column: str) -> pl.Expr:
    return pl.max_horizontal(column, 1e-30).log()


def _either_saw(one: bool | None, other: bool | None) -> bool | None:
    """Whether either model was trained on an answer; not known where one may have been."""
    if one or other:
        return True
    return None if one is None or other is None else False


def _unseen_by_both(one: str | None, other: str | None) -> str | None:
    """The largest thing that neither model was trained on: the smaller of what each was not."""
    if UNSEEN[-1] in (one, other):
        return UNSEEN[-1]
    return None if one is None or other is None else max(one, other, key=UNSEEN.index)
