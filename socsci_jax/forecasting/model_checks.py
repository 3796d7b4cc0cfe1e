"""What should move a model's answers and does not, and what should not and does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from socsci_jax.forecasting.arms import positions
from socsci_jax.forecasting.table import CHECKS, KEY
from socsci_jax.studies.schema import VARIANT, Item
from socsci_jax.studies.variants import DRIFT, StudyVariants, drift_items
from socsci_jax.wording import quoted

# Percentage points of the scale's range below which answers do not move.
STILL = 1.0
# Percentage points of total variation from which an arm changes whom the model imagines.
DRIFTS = 5.0
_SIGNIFICANT = 0.05
_FLIPS = 2_000
# With fewer personas no sign-flip test can tell.
_FEWEST = 6

Row = tuple[object, ...]


def study_checks(
    frame: pl.DataFrame,
    checks: pl.DataFrame,
    study: StudyVariants,
    personas: pl.DataFrame,
    *,
    weights: Mapping[str, float],
    seed: int = 0,
) -> pl.DataFrame:
    """Rows of CHECKS for one study, but for negative controls, which are read from effects.

    Args:
      frame: predictions of its items by persona, and by `variant` where there are any.
      checks: predictions of prompts that only test the model (`variants.CHECKED`).
      study, personas: what was asked, and of whom.
      weights: of each persona.
      seed: of the sign-flip test.
    """
    rows = [
        *_persona_swaps(frame, study, personas),
        *_attribute_swaps(checks, study),
        *_drifts(checks, study, personas, weights, np.random.default_rng(seed)),
    ]
    return pl.DataFrame(rows, schema=CHECKS, orient="row")


def moved_controls(effects: pl.DataFrame, studies: Iterable[StudyVariants]) -> pl.DataFrame:
    """Rows of CHECKS for the outcomes that no arm can move; `effects` are predicted ones."""
    controls = {(study.items[0].study_id, outcome) for study in studies for outcome in study.controls}
    rows = []
    for study, outcome, condition, reference, predicted in effects.select(*KEY, "predicted").iter_rows():
        if (study, outcome) in controls:
            moved = abs(predicted) >= STILL
            finding = (
                f"{quoted(condition)} moves {quoted(outcome)} by {predicted:+.1f} points, though no arm can."
                if moved
                else ""
            )
            rows.append(
                (
                    "negative control",
                    study,
                    outcome,
                    condition,
                    reference,
                    "",
                    predicted,
                    STILL,
                    None,
                    moved,
                    finding,
                )
            )
    return pl.DataFrame(rows, schema=CHECKS, orient="row")


def distance(scale_levels: np.ndarray, first: np.ndarray, second: np.ndarray, *, nominal: bool) -> np.ndarray:
    """How far distributions [..., L] lie apart, in percentage points: Wasserstein-1 of the scale's range, or total variation
    where levels have no order."""
    if nominal:
        return 50 * np.abs(first - second).sum(axis=-1)
    steps = np.diff(positions(scale_levels))
    return np.abs(np.cumsum(first - second, axis=-1)[..., :-1]) @ steps


def _persona_swaps(frame: pl.DataFrame, study: StudyVariants, personas: pl.DataFrame) -> Iterable[Row]:
    """Each persona against the next one that differs, within a variant."""
    names = [name for name in personas.columns if name != "participant_id"]
    who = dict(zip(personas["participant_id"], personas.select(names).rows(), strict=True))
    for item in study.items:
        own = frame.filter(pl.col("item_id") == item.item_id)
        pairs = []
        for group in own.partition_by(VARIANT) if VARIANT in own.columns else [own]:
            probs = _on_levels(group, item)
            people = [who[person] for person in group["participant_id"]]
            others = np.roll(np.arange(len(people)), -1)
            differ = np.array([people[i] != people[j] for i, j in enumerate(others)], bool)
            pairs.append((probs[differ], probs[others[differ]]))
        if not any(len(first) for first, _ in pairs):
            continue
        first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
        levels = np.asarray(item.scale.levels, float)
        moved = float(distance(levels, first, second, nominal=item.scale.nominal).mean())
        finding = f"{quoted(item.outcome)}, {quoted(item.condition)}: another persona moves answers by {moved:.1f} points only."
        yield _row("persona swap", item, "", moved, finding)


def _row(check: str, item: Item, attribute: str, moved: float, finding: str) -> Row:
    flagged = moved < STILL
    return (
        *(check, item.study_id, item.outcome, item.condition, "", attribute),
        *(moved, STILL, None, flagged, finding if flagged else ""),
    )


def _on_levels(rows: pl.DataFrame, item: Item) -> np.ndarray:
    """Probabilities [n, L] on the levels of the item's scale, alternatives excluded."""
    given = rows["levels"][0].to_list() if rows.height else []
    probs = np.array(rows["probs"].to_list()).reshape(rows.height, -1)
    inside = probs[:, np.isin(given, item.scale.levels)]
    return inside / inside.sum(axis=1, keepdims=True)


def _attribute_swaps(checks: pl.DataFrame, study: StudyVariants) -> Iterable[Row]:
    """One attribute of a persona against another value of it, all else alike."""
    swaps, base = (checks.filter(pl.col("purpose") == purpose) for purpose in ("swap", "base"))
    both = swaps.join(base, on=["item_id", "participant_id"], suffix="_base", maintain_order="left")
    for item in study.items:
        for attribute in study.declared.swaps:
            own = both.filter(pl.col("item_id") == item.item_id, pl.col("attribute") == attribute)
            if own.is_empty():
                continue
            # Answers outside the order follow the levels.
            size = len(item.scale.levels)
            first, second = (np.array(own[name].to_list())[:, :size] for name in ("probs", "probs_base"))
            first, second = (side / side.sum(axis=1, keepdims=True) for side in (first, second))
            levels = np.asarray(item.scale.levels, float)
            moved = float(distance(levels, first, second, nominal=item.scale.nominal).mean())
            finding = f"{quoted(item.outcome)}, {quoted(item.condition)}: another {attribute} moves answers by {moved:.1f} points only."
            yield _row("attribute swap", item, attribute, moved, finding)


def _drifts(
    checks: pl.DataFrame,
    study: StudyVariants,
    personas: pl.DataFrame,
    weights: Mapping[str, float],
    rng: np.random.Generator,
) -> Iterable[Row]:
    """The distribution of a hidden attribute in each arm against that in the control, or in the first arm."""
    asked = checks.filter(pl.col("purpose") == "drift")
    if asked.is_empty():
        return
    items = drift_items(study, personas)
    for attribute in study.declared.drift:
        own = [item for item in items if item.outcome == DRIFT + attribute]
        reference = next((item for item in own if item.is_control), own[0])
        of_reference = asked.filter(pl.col("item_id") == reference.item_id)
        for item in own:
            if item.condition == reference.condition:
                continue
            both = of_reference.join(
                asked.filter(pl.col("item_id") == item.item_id), on="participant_id", maintain_order="left"
            )
            differences = np.array(both["probs_right"].to_list()) - np.array(both["probs"].to_list())
            weight = np.array([weights.get(person, 0.0) for person in both["participant_id"]])
            if not weight.sum() > 0:
                continue
            moved, p = drift(differences, weight, rng)
            flagged = moved >= DRIFTS and (p is None or p < _SIGNIFICANT)
            finding = f"{quoted(item.condition)} changes the {attribute} that the model imagines by {moved:.1f} points."
            yield (
                *("drift", item.study_id, "", item.condition, reference.condition, attribute),
                *(moved, DRIFTS, p, flagged, finding if flagged else ""),
            )


def drift(
    differences: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> tuple[float, float | None]:
    """Total variation, in percentage points, between two mean distributions over the same personas, and the p value of a
    sign-flip test of no difference (None for fewer than six personas); `differences` [P, K] are those of single personas."""
    share = weights / weights.sum()
    moved = 50 * float(np.abs(share @ differences).sum())
    if len(differences) < _FEWEST:
        return moved, None
    signs = rng.choice((-1.0, 1.0), size=(_FLIPS, len(share)))
    by_chance = 50 * np.abs((signs * share) @ differences).sum(axis=1)
    # The observed signs are one of the draws.
    return moved, float((1 + (by_chance >= moved - 1e-9).sum()) / (1 + _FLIPS))
