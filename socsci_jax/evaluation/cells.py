"""Joins a predictions table with the answers of one part of a split: one `Cell` for each item."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import polars as pl

from socsci_jax.evaluation.alternatives import Alternatives, alternatives_of
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.schema import Item


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """The answers to one item that have a prediction, who gave them, and these predictions.

    Answers and draws are level indices.  `weights_n` are the people's survey weights, None where there are none; with
    `are_shares` what whole groups of people answered.  `probs_nl` is None unless every answer has exact probabilities;
    `draws_nl` is None where there are no draws, else the shares of the valid draws made for each answer's person (rows of
    NaN where none was valid).  `sampled` holds one draw per participant, valid ones only; draws that were made for nobody
    in particular are all in it.
    """

    item_id: str
    item: Item
    levels_l: np.ndarray
    codes_n: np.ndarray
    people_n: tuple[str, ...]
    weights_n: np.ndarray | None
    probs_nl: np.ndarray | None
    draws_nl: np.ndarray | None
    sampled: np.ndarray | None
    draws: int
    draws_valid: int
    mass_on_levels: float
    answers_without_prediction: int
    answers_off_scale: int
    alternatives: Alternatives | None
    are_shares: bool = False

    @property
    def predicted_nl(self) -> np.ndarray:
        """What is predicted of each answer's person [N, L]: probabilities, else shares of draws."""
        if self.probs_nl is not None:
            return self.probs_nl
        assert self.draws_nl is not None, "a cell has one or the other"
        return self.draws_nl


def level_codes(values: np.ndarray, levels_l: np.ndarray) -> np.ndarray:
    """Index of each value among the levels, -1 for what is no level: null, 3.5, 1997, 2e97."""
    at = np.minimum(np.searchsorted(levels_l, values), levels_l.size - 1)
    return np.where(levels_l[at] == values, at, -1)


class PredictionIndex:
    """The predictions of each item, read once and used for every part."""

    def __init__(self, predictions: Predictions):
        frame = predictions.frame
        exact = frame.filter(pl.col("probs").is_not_null()).sort(
            "draw", nulls_last=False, maintain_order=True
        )
        exact = exact.unique(["item_id", "participant_id"], keep="first", maintain_order=True)
        # A row with neither probabilities nor a number is a draw that could not be read.
        draws = frame.filter(pl.col("draw").is_not_null() | pl.col("probs").is_null()).sort("draw")
        self._exact = _ByItem(exact)
        self._probs = _Probabilities(self._exact.frame)
        self._draws = _ByItem(draws)

    @functools.cached_property
    def items(self) -> pl.Series:
        """The ids of the items that are predicted."""
        return pl.Series([*self._exact, *(i for i in self._draws if i not in self._exact)], dtype=pl.String)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._exact or item_id in self._draws

    def cell(self, item_id: str, item: Item, answers: pl.DataFrame) -> Cell | None:
        """The cell of an item with a scale of levels; None if no answer on the scale has a prediction.

        What is predicted of alternatives is kept apart, and the rest is renormalized over the levels.
        """
        exact, drawn = self._exact.get(item_id), self._draws.get(item_id)
        alternatives = alternatives_of(item.scale, answers, exact=exact, drawn=drawn)
        outside = list(map(float, item.scale.alternatives))
        if outside:
            answers = answers.filter(~pl.col("value").is_in(outside))
        levels = np.asarray(item.scale.levels)
        codes = level_codes(answers["value"].to_numpy(), levels)
        on_scale = codes >= 0
        if not on_scale.all():
            answers, codes = answers.filter(pl.Series(on_scale)), codes[on_scale]
        people = answers["participant_id"].to_list()

        probs_nl = self._probs_of(item_id, exact, people, levels)
        has_probs = np.isfinite(probs_nl[:, 0])
        draws = _Draws.read(drawn, levels, outside=outside)
        covered = has_probs | draws.are_for(people)
        if not covered.any():
            return None
        kept = np.flatnonzero(covered)
        kept_people = tuple(people[i] for i in kept)
        exact = exact if has_probs[kept].all() else None
        made = draws.made_for(people)
        return Cell(
            item_id=item_id,
            item=item,
            levels_l=levels,
            codes_n=codes[kept],
            people_n=kept_people,
            weights_n=weights_of(answers, kept),
            probs_nl=None if exact is None else probs_nl[kept],
            draws_nl=draws.shares(kept_people, levels.size) if made else None,
            sampled=draws.one_each(kept_people) if made else None,
            draws=len(made),
            draws_valid=sum(code >= 0 for code in made),
            mass_on_levels=_mean_mass(exact),
            answers_without_prediction=int((~covered).sum()),
            answers_off_scale=int((~on_scale).sum()),
            alternatives=alternatives,
            are_shares="share" in answers.columns and bool(answers["share"].any()),
        )

    def _probs_of(
        self, item_id: str, exact: pl.DataFrame | None, people: list[str], levels: np.ndarray
    ) -> np.ndarray:
        """Probabilities of each person's answer [N, L]; NaN where there are none for the person, nor for everybody."""
        if exact is None:
            return np.full((len(people), levels.size), np.nan)
        dense = self._probs.dense(self._exact.place[item_id], levels)
        # A row that gives all to alternatives says nothing of the levels.
        row_of = {p: row for row, p in enumerate(exact["participant_id"]) if np.isfinite(dense[row, 0])}
        everybody = row_of.pop(None, -1)
        rows = np.array([row_of.get(person, everybody) for person in people], dtype=int)
        return np.where((rows >= 0)[:, None], dense[rows], np.nan)

    def of_people(self, cell: Cell) -> np.ndarray | None:
        """What these predictions say of everybody in a cell [N, L]; None unless of everybody."""
        answers = pl.DataFrame(
            {"participant_id": cell.people_n, "value": cell.levels_l[cell.codes_n].astype(float)},
            schema={"participant_id": pl.String, "value": pl.Float64},
        )
        own = self.cell(cell.item_id, cell.item, answers) if cell.item_id in self else None
        return own.predicted_nl if own is not None and own.people_n == cell.people_n else None


def answers_by_item(labeled: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The answers of each item, items in order of their ids."""
    wanted = [
        name for name in ("item_id", "participant_id", "value", "weight", "share") if name in labeled.columns
    ]
    yield from _ByItem(labeled.select(wanted)).items()


class _ByItem(Mapping[str, pl.DataFrame]):
    """The rows of each item, cut out when they are asked for: a table of each of 80,000 items would take minutes."""

    def __init__(self, frame: pl.DataFrame):
        self.frame = frame.sort("item_id", maintain_order=True).rechunk()
        runs = self.frame["item_id"].rle().struct.unnest()
        starts = runs["len"].cum_sum() - runs["len"]
        # First row and number of rows.
        self.place = dict(zip(runs["value"], zip(starts, runs["len"], strict=True), strict=True))

    def __getitem__(self, item_id: str) -> pl.DataFrame:
        return self.frame.slice(*self.place[item_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self.place)

    def __len__(self) -> int:
        return len(self.place)


class _Probabilities:
    """The probabilities of all rows one after another, so that an item's are a piece of one array."""

    def __init__(self, exact: pl.DataFrame):
        self._starts = np.concatenate([[0], np.cumsum(exact["probs"].list.len().to_numpy())]).astype(np.int64)
        self._probs, self._levels = (
            exact[name].to_arrow().flatten().to_numpy(zero_copy_only=False) for name in ("probs", "levels")
        )

    def dense(self, place: tuple[int, int], levels: np.ndarray) -> np.ndarray:
        """Probabilities [rows, L] over all levels of the scale, 0 where a row leaves a level out.

        Rows are renormalized over the levels; a row without any probability there is NaN.
        """
        first, rows = place
        starts = self._starts[first : first + rows + 1]
        columns = level_codes(self._levels[starts[0] : starts[-1]], levels)
        probs = self._probs[starts[0] : starts[-1]]
        cells = np.repeat(np.arange(rows), np.diff(starts)) * levels.size + columns
        if columns.size and columns.min() < 0:
            cells, probs = cells[columns >= 0], probs[columns >= 0]
        flat = np.bincount(cells, weights=probs, minlength=rows * levels.size)
        dense = flat.reshape(rows, levels.size)
        total = dense.sum(axis=1, keepdims=True)
        return np.divide(dense, total, out=np.full_like(dense, np.nan), where=total > 0)


def weights_of(answers: pl.DataFrame, kept: np.ndarray) -> np.ndarray | None:
    """Weights of the kept answers; people without one weigh nothing compared with people who have one."""
    if "weight" not in answers.columns:
        return None
    weights = answers["weight"].to_numpy()[kept]
    known = np.isfinite(weights) & (weights > 0)
    return np.where(known, weights, 0.0) if known.any() else None


def _mean_mass(exact: pl.DataFrame | None) -> float:
    """Mean mass that a model gave to the levels; NaN where it is not known."""
    masses = None if exact is None else exact["mass_on_levels"].drop_nulls()
    return cast(float, masses.mean()) if masses is not None and len(masses) else float("nan")


@dataclasses.dataclass(frozen=True)
class _Draws:
    """An item's draws as level codes (-1: no level), those for named people and those for nobody in particular."""

    own: Mapping[str | None, list[int]]
    anonymous: list[int]

    @classmethod
    def read(cls, drawn: pl.DataFrame | None, levels: np.ndarray, *, outside: list[float]) -> _Draws:
        """The draws of these rows; those of alternatives (`outside`) are left to `alternatives_of`."""
        if drawn is None:
            return cls({}, [])
        drawn = drawn.filter(pl.col("value").is_in(outside).not_().fill_null(True))
        codes = level_codes(drawn["value"].fill_null(float("nan")).to_numpy(), levels)
        own: dict[str | None, list[int]] = {}
        for person, code in zip(drawn["participant_id"], codes.tolist(), strict=True):
            own.setdefault(person, []).append(code)
        anonymous = own.pop(None, [])
        return cls(own, anonymous)

    def are_for(self, people: Sequence[str]) -> np.ndarray:
        """Whether there are draws for each person [N]."""
        return np.array([bool(self.anonymous) or person in self.own for person in people], dtype=bool)

    def made_for(self, people: Sequence[str]) -> list[int]:
        """All draws for these people and for nobody in particular."""
        return [
            code for person in dict.fromkeys(people) for code in self.own.get(person, ())
        ] + self.anonymous

    def shares(self, people: Sequence[str], levels: int) -> np.ndarray:
        """Shares of the valid draws for each person [N, L]."""
        fallback = _shares(self.anonymous, levels)
        return np.stack([_shares(self.own[p], levels) if p in self.own else fallback for p in people])

    def one_each(self, people: Sequence[str]) -> np.ndarray:
        """The valid ones among each person's first draw; without any of named people, all."""
        first = [self.own[p][0] for p in people if p in self.own]
        return np.array([code for code in (first or self.anonymous) if code >= 0], dtype=int)


def _shares(codes: list[int], levels: int) -> np.ndarray:
    counts = np.bincount(np.array([c for c in codes if c >= 0], dtype=int), minlength=levels)
    return counts / counts.sum() if counts.sum() else np.full(levels, np.nan)
