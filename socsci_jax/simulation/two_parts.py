"""Predictions in two parts: levels from one model, effects of arms from another.

    log p(l|c,i) = mean_k log p_S(l|k,i) + kappa [log p_E(l|c,i) - mean_k log p_E(l|k,i)] + const

for person i and arm c of an outcome with arms k.  S was trained to predict answers, E to tell arms apart; kappa in [0, 1]
says how much of E's effects is believed.  All arms must be known, as they are in a planned experiment.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.errors import InputError
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.predict import predict
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.predictions import write_predictions
from socsci_jax.studies.splits import VALIDATION, Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.trained_on import UNSEEN

# Of the scale's range: what no model need explain of an arm's mean.
TAU = 0.03
KAPPAS = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True, eq=False)
class Arms:
    """Log-probabilities of both models for one person and all arms of an outcome: levels_cl and effects_cl [C, L].

    `beside` are, for each arm, what the table says besides: mass_on_levels, seen, unseen.
    """

    items: list[str]
    beside: list[tuple[float, bool | None, str | None]]
    levels: list[float]
    levels_cl: np.ndarray
    effects_cl: np.ndarray

    def combined(self, kappa: float) -> np.ndarray:
        """Probabilities [C, L] of the two parts together."""
        deviation = self.effects_cl - self.effects_cl.mean(axis=0)
        logits = self.levels_cl.mean(axis=0) + kappa * deviation
        probs = np.exp(logits - logits.max(axis=1, keepdims=True))
        return probs / probs.sum(axis=1, keepdims=True)


def simulate_two_parts(
    levels: SimulationModel,
    effects: SimulationModel,
    store: StudyStore,
    split: Split,
    *,
    out: Path,
    kappa: float | None,
    parts: tuple[str, ...] = (),
    metadata: dict[str, Any] | None = None,
) -> float:
    """Writes the predictions table of all held-out pairs and returns kappa, which is learned on the validation part if None.

    Raises InputError if nothing is to be predicted, if kappa is to be learned and no outcome of the validation part has two
    arms, or if the models offer different answers.
    """
    found = None if kappa is not None else learn_kappa(levels, effects, store, split)
    kappa = kappa if found is None else found
    pairs = split.pairs(*parts).frame
    rows, wanted = [], set(pairs.select("item_id", "participant_id").iter_rows())
    for (_, _, person), arms in _predicted(levels, effects, store, pairs).items():
        for item_id, probs, beside in zip(arms.items, arms.combined(kappa), arms.beside):
            if (item_id, person) in wanted:
                rows.append((item_id, person, arms.levels, probs.tolist(), *beside))
    frame = pl.DataFrame(rows, schema=_COLUMNS, orient="row").sort("item_id", "participant_id")
    frame = frame.with_columns(draw=pl.lit(None, pl.Int32), value=pl.lit(None, pl.Float64))
    described = {
        "model": f"levels from {levels.metadata['name']}, effects from {effects.metadata['name']}",
        "kappa": kappa,
        "kappa_from": "argument" if found is None else "validation part",
        "elicitation": "exact",
        "split": split.name,
        "split_hash": split.content_hash,
        "store_hash": store.content_hash,
        "parts": sorted(pairs["part"].unique()),
        **(metadata or {}),
    }
    write_predictions(out, frame, metadata=described)
    return kappa


_COLUMNS = {
    "item_id": pl.String,
    "participant_id": pl.String,
    "levels": pl.List(pl.Float64),
    "probs": pl.List(pl.Float64),
    "mass_on_levels": pl.Float64,
    "seen": pl.Boolean,
    "unseen": pl.String,
}


def learn_kappa(levels: SimulationModel, effects: SimulationModel, store: StudyStore, split: Split) -> float:
    """The kappa in [0, 1] by which the validation part's contrasts between arms are predicted best.

    Least squares of contrasts within outcomes, weighted by 1 / (standard error^2 + 0.03^2) of people's means.
    """
    pairs = split.pairs(VALIDATION).frame
    answers = split.label().filter(pl.col("part") == VALIDATION)
    predicted: dict[tuple, list[Arms]] = {}
    for (study, outcome, _), arms in _predicted(levels, effects, store, pairs).items():
        predicted.setdefault((study, outcome), []).append(arms)
    errors = np.zeros(len(KAPPAS))
    used = 0
    for (study, outcome), people in predicted.items():
        if store.item_by_id[people[0].items[0]].scale.nominal:
            continue
        human = _human_means(answers.filter(study_id=study, outcome=outcome), people[0])
        if len(human) < 2:
            continue
        used += 1
        places = [people[0].items.index(item_id) for item_id in human]
        mean, variance = np.array(list(human.values())).T
        weight = 1 / (variance + TAU**2)
        position = _positions(people[0].levels)
        for number, kappa in enumerate(KAPPAS):
            means = np.mean([arms.combined(kappa) @ position for arms in people], axis=0)[places]
            difference = (means - np.average(means, weights=weight)) - (
                mean - np.average(mean, weights=weight)
            )
            errors[number] += weight @ difference**2
    if not used:
        raise InputError(
            f"split {split.name!r}: no outcome of the validation part has two arms with answers, so kappa cannot be learned; "
            "give a number from 0 to 1."
        )
    return float(KAPPAS[int(errors.argmin())])


def _predicted(
    levels: SimulationModel, effects: SimulationModel, store: StudyStore, pairs: pl.DataFrame
) -> dict[tuple[str, str, str], Arms]:
    """Both models' predictions for every arm of the outcomes of `pairs`, by (study, outcome, participant)."""
    outcomes = store.items.select("item_id", "study_id", "outcome")
    asked = pairs.select("item_id", "participant_id").join(outcomes, on="item_id")
    people = asked.select("study_id", "outcome", "participant_id").unique()
    frame = people.join(outcomes, on=["study_id", "outcome"]).sort("item_id", "participant_id")
    frame = frame.filter(
        pl.col("item_id").is_in(
            [i for i in frame["item_id"].unique() if store.item_by_id[i].scale.kind == "levels"]
        )
    )
    if frame.is_empty():
        raise InputError(
            "no item has a finite set of levels, so there are no exact probabilities to combine."
        )
    what = Pairs.of_store(store, frame.select("item_id", "study_id", "participant_id"))
    tables = [predict(model, what).frame for model in (levels, effects)]
    for (item_id, *one), (_, *other) in zip(*(t.select("item_id", "levels").iter_rows() for t in tables)):
        if one != other:
            raise InputError(
                f"item {item_id!r}: the two models offer different answers ({one[0][:5]} and {other[0][:5]}); they must be "
                "trained with the same data.alternatives."
            )
    logs = [np.log(np.maximum(np.array(p), 1e-30)) for p in tables[0]["probs"].to_list()]
    other_logs = [np.log(np.maximum(np.array(p), 1e-30)) for p in tables[1]["probs"].to_list()]
    places: dict[tuple, list[int]] = {}
    keys = zip(frame["study_id"], frame["outcome"], frame["participant_id"], tables[0]["levels"].to_list())
    for n, (study, outcome, person, offered) in enumerate(keys):
        places.setdefault((study, outcome, person, tuple(offered)), []).append(n)
    items = frame["item_id"].to_list()
    seen = [_either_saw(*both) for both in zip(*(t["seen"].to_list() for t in tables))]
    unseen = [_unseen_by_both(*both) for both in zip(*(t["unseen"].to_list() for t in tables))]
    beside = list(zip(tables[0]["mass_on_levels"].to_list(), seen, unseen))
    found: dict[tuple[str, str, str], Arms] = {}
    for (study, outcome, person, offered), rows in places.items():
        # Arms that offer other answers are an outcome of their own.
        name = outcome if (study, outcome, person) not in found else f"{outcome} {offered}"
        found[(study, name, person)] = Arms(
            items=[items[n] for n in rows],
            beside=[beside[n] for n in rows],
            levels=list(offered),
            levels_cl=np.stack([logs[n] for n in rows]),
            effects_cl=np.stack([other_logs[n] for n in rows]),
        )
    return found


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


def _positions(levels: list[float]) -> np.ndarray:
    position = np.array(levels, float)
    return (position - position[0]) / (position[-1] - position[0])


def _human_means(answers: pl.DataFrame, arms: Arms) -> dict[str, tuple[float, float]]:
    """Mean and squared standard error of each arm with answers; variances are pooled over the arms."""
    lo, width = arms.levels[0], arms.levels[-1] - arms.levels[0]
    values = {
        item_id: (answers.filter(item_id=item_id)["value"].to_numpy() - lo) / width for item_id in arms.items
    }
    values = {item_id: x for item_id, x in values.items() if len(x)}
    freedom = sum(map(len, values.values())) - len(values)
    if freedom < 1:
        return {}
    pooled = sum(float(((x - x.mean()) ** 2).sum()) for x in values.values()) / freedom
    return {item_id: (float(x.mean()), pooled / len(x)) for item_id, x in values.items()}
