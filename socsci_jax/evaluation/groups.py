"""Metrics by group of people: what each group gets, how far groups are apart, and stereotyping."""

from __future__ import annotations

import dataclasses

import numpy as np

from socsci_jax.evaluation.averaging import averaged, mean_rows
from socsci_jax.evaluation.cells import Cell
from socsci_jax.evaluation.contrasts import centered, centered_se2
from socsci_jax.evaluation.demographics import Attribute, Demographics
from socsci_jax.evaluation.effects import Effects, replicates
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.item_values import Key
from socsci_jax.evaluation.metric import EffectMetric, Pair
from socsci_jax.evaluation.metrics import BY_NAME, distribution_metric
from socsci_jax.evaluation.metrics.distributions import positions
from socsci_jax.evaluation.metrics.groups import LEAST_ANSWERS, METRICS, disparity
from socsci_jax.evaluation.metrics.individuals import draw_accuracy
from socsci_jax.evaluation.parts import Part
from socsci_jax.evaluation.table import MODEL, SCALE, SPLIT_HALF, row

HALVES = 5
OF_GROUPS = ("wasserstein", "mean_error", "individual_accuracy_draw")


@dataclasses.dataclass
class _Values:
    """Of one attribute: values [C, G] by metric and predictor, and human and predicted means with se² [C, G]."""

    by_key: dict[tuple[str, str], np.ndarray]
    human: np.ndarray
    model: np.ndarray
    se2: np.ndarray
    n: np.ndarray
    # Share of variance between groups, predicted − human [C].
    r2: np.ndarray


def group_rows(part: Part, people: Demographics) -> list[dict[str, object]]:
    """Rows of every group with answers enough, of the differences between groups, and of stereotyping."""
    if not people.attributes:
        return []
    rows: list[dict[str, object]] = []
    judged = list(zip(part.cells, part.averaged_c, strict=True))
    nobody = np.zeros(0)
    row_of_person = [
        people.rows(cell.item.study_id, cell.people_n) if used else nobody for cell, used in judged
    ]
    accuracy = [_accuracy(cell) if used else nobody for cell, used in judged]
    for attribute in people.attributes:
        values = _values(part, attribute, row_of_person, accuracy)
        known = values.n.sum(axis=0) >= LEAST_ANSWERS
        if known.sum() >= 2:
            rows += _level_rows(part, attribute, values, known)
            rows += _gap_rows(part, attribute, values, known)
            key = Key("group_r2_difference", SCALE, part.source, MODEL)
            rows += mean_rows(part, key, values.r2, None, group=attribute.name)[-1:]
    return rows


def _accuracy(cell: Cell) -> np.ndarray:
    probs = cell.predicted_nl
    assert probs is not None
    return draw_accuracy(probs, cell.codes_n, levels_l=cell.levels_l)


def _values(
    part: Part, attribute: Attribute, row_of_person: list[np.ndarray], accuracy: list[np.ndarray]
) -> _Values:
    shape = (len(part.cells), len(attribute.groups))
    by_key = {(metric, name): np.full(shape, np.nan) for metric in OF_GROUPS for name in (MODEL, SPLIT_HALF)}
    human, model, se2 = (np.full(shape, np.nan) for _ in range(3))
    filled = _Values(by_key, human, model, se2, np.zeros(shape), np.full(shape[0], np.nan))
    # A group with answers enough is of an item with answers enough.
    for c in np.flatnonzero(part.averaged_c).tolist():
        cell = part.cells[c]
        code = np.where(row_of_person[c] >= 0, attribute.code_p[row_of_person[c]], -1)
        readable = (code >= 0) & np.isfinite(accuracy[c])
        kept = np.flatnonzero(readable)
        if kept.size:
            rng = part.rng(f"groups of {cell.item_id}")
            _of_cell(filled, c, cell, code[kept], kept, accuracy[c][kept], part.minimum_n, rng)
    return filled


def _of_cell(
    filled: _Values,
    c: int,
    cell: Cell,
    code: np.ndarray,
    kept: np.ndarray,
    accuracy: np.ndarray,
    minimum_n: int,
    rng: np.random.Generator,
) -> None:
    size, groups = cell.levels_l.size, filled.n.shape[1]
    answer = cell.codes_n[kept]
    n_g = np.bincount(code, minlength=groups)
    enough = n_g >= minimum_n
    filled.n[c] = np.where(enough, n_g, 0)
    if not enough.any():
        return
    probs = cell.predicted_nl
    assert probs is not None
    member = np.zeros((groups, kept.size))
    member[code, np.arange(kept.size)] = 1
    with np.errstate(invalid="ignore", divide="ignore"):
        member /= n_g[:, None]
        human = member @ np.eye(size)[answer]
        model = member @ probs[kept]
    pair = Pair(predicted=model, human=human, levels_l=cell.levels_l, n=kept.size)
    half = rng.random((HALVES, kept.size)) < 0.5
    for name in ("wasserstein", "mean_error"):
        metric = distribution_metric(name).of
        filled.by_key[name, MODEL][c] = np.where(enough, metric(pair), np.nan)
        between = []
        for chosen in half:
            one, other = (_histograms(code[side], answer[side], groups, size) for side in (chosen, ~chosen))
            between.append(metric(Pair(predicted=one, human=other, levels_l=cell.levels_l, n=kept.size)))
        filled.by_key[name, SPLIT_HALF][c] = np.where(enough, np.mean(between, axis=0), np.nan)
    own = member @ accuracy
    filled.by_key["individual_accuracy_draw", MODEL][c] = np.where(enough, own, np.nan)
    at = positions(cell.levels_l)
    # Of two different people of the group: nobody predicts himself.
    with np.errstate(invalid="ignore", divide="ignore"):
        pairs = n_g / (n_g - 1)
        people = 1 - pairs * np.einsum("gl,lk,gk->g", human, np.abs(at[:, None] - at[None, :]), human)
    filled.by_key["individual_accuracy_draw", SPLIT_HALF][c] = np.where(enough, people, np.nan)
    filled.human[c], filled.model[c] = (
        np.where(enough, human @ at, np.nan),
        np.where(enough, model @ at, np.nan),
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        filled.se2[c] = (human @ at**2 - (human @ at) ** 2) / (n_g - 1)
    filled.r2[c] = _r2(model[enough], n_g[enough], at) - _adjusted_r2(human[enough], n_g[enough], at)


def _r2(shares_gl: np.ndarray, n_g: np.ndarray, at: np.ndarray) -> float:
    """Share of the variance of answers that lies between groups; NaN for one group, or without any variance."""
    weight = n_g / n_g.sum()
    means = shares_gl @ at
    total = weight @ (shares_gl @ at**2) - (weight @ means) ** 2
    if n_g.size < 2 or total < 1e-12:
        return float("nan")
    return float(weight @ (means - weight @ means) ** 2 / total)


def _adjusted_r2(shares_gl: np.ndarray, n_g: np.ndarray, at: np.ndarray) -> float:
    """The same of people's answers, without what chance puts between groups."""
    free = n_g.sum() - n_g.size
    return 1 - (1 - _r2(shares_gl, n_g, at)) * (n_g.sum() - 1) / free if free > 0 else float("nan")


def _histograms(code: np.ndarray, answer: np.ndarray, groups: int, size: int) -> np.ndarray:
    counts = np.bincount(code * size + answer, minlength=groups * size).reshape(groups, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return counts / counts.sum(axis=1, keepdims=True)


def _level_rows(
    part: Part, attribute: Attribute, values: _Values, known: np.ndarray
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for (name, predictor), of in values.by_key.items():
        metric = BY_NAME[name]
        key = Key(name, SCALE, part.source, predictor)
        overall = []
        for g in np.flatnonzero(known):
            group = f"{attribute.name}={attribute.groups[g]}"
            # Only the row of the part: a row for each study and group would be most of the table.
            one = mean_rows(part, key, of[:, g], None, group=group)[-1]
            rows.append({**one, "n": int(values.n[:, g].sum())})
            overall.append(averaged(part, metric, of[:, g], None).overall)
        apart = np.stack(overall, axis=-1)
        apart = disparity(np.abs(apart) if name == "mean_error" else apart)
        clusters = len(np.unique(part.cluster_c[part.averaged_c]))
        parity = BY_NAME[f"parity_{name}"]
        estimate = part.resampling.estimate(parity, apart, clusters=clusters)
        n = int(values.n[:, known].sum())
        rows.append(_row(part, attribute, parity.name, estimate, predictor=predictor, n=n))
    return rows


def _row(
    part: Part, attribute: Attribute, metric: str, estimate: Estimate, *, predictor: str, n: int
) -> dict[str, object]:
    return row(
        metric,
        estimate,
        part=part.name,
        predictor=predictor,
        n=n,
        normalization=SCALE,
        source=part.source,
        group=attribute.name,
    )


def _gap_rows(
    part: Part, attribute: Attribute, values: _Values, known: np.ndarray
) -> list[dict[str, object]]:
    """Gaps: the mean of a group less the mean of the item's groups, for people and model."""
    usable = known & np.isfinite(values.human) & np.isfinite(values.model) & np.isfinite(values.se2)
    usable &= (usable.sum(axis=1) >= 2)[:, None] & part.averaged_c[:, None]
    cell, group = np.nonzero(usable)
    if not cell.size:
        return []
    gaps = Effects(
        h=centered(values.human[cell, group], cell),
        l=centered(values.model[cell, group], cell),
        se2=centered_se2(values.se2[cell, group], cell),
        undirected=np.zeros(cell.size, dtype=bool),
    )
    cluster = part.cluster_c[cell]
    rows = []
    for metric in METRICS:
        if isinstance(metric, EffectMetric):
            by_resample = replicates(part, metric, gaps, cluster)
            estimate = part.resampling.estimate(metric, by_resample, clusters=len(np.unique(cluster)))
            rows.append(_row(part, attribute, metric.name, estimate, predictor=MODEL, n=cell.size))
    return rows
