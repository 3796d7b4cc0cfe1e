"""Invented studies with known truth: for the built-in demonstration and for tests.

`designs.py` draws what a study asks, `people.py` who is asked, and `answering.py` says how they answer.
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.synthetic.answering import ItemTruth, distributions_pl, given_deviation_pl
from data_pipelines.synthetic.designs import SyntheticConfig, design_study
from data_pipelines.synthetic.people import ATTRIBUTES, draw_persona, features
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

SOURCE = "Invented by data_pipelines/synthetic/studies.py"
LICENSE = "CC0-1.0"


TRUTH_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("study_id", pa.string()),
        ("condition", pa.string()),
        ("outcome", pa.string()),
        ("mean_position", pa.float64()),
        ("probs", pa.list_(pa.float64())),
        ("levels", pa.list_(pa.int64())),
    ]
)


DEMONSTRATION = SyntheticConfig(
    n_studies=20, participants_per_condition=(80, 120), effects=1.1, popularity=2.5
)
SMALL = SyntheticConfig(n_studies=4, participants_per_condition=(6, 8))
PRESETS = {"demonstration": DEMONSTRATION, "small": SMALL}


def build(
    out: Path, *, config: SyntheticConfig = DEMONSTRATION, command: str, replace: bool = False
) -> StudyStore:
    """Writes a study store and, next to its tables, `truth.parquet` (TRUTH_SCHEMA).

    There, `mean_position` is the true expected answer rescaled to [0, 1] and averaged over all personas of the study;
    `probs` is the true distribution over `levels` averaged over the personas who answered the item.
    The store depends on `config` alone: equal configurations give equal content hashes.
    """
    builder = StoreBuilder(attributes=ATTRIBUTES, source=SOURCE, license=LICENSE, command=command)
    builder.notes.append(f"Invented studies, {config}; the true distributions are in truth.parquet.")
    truth_rows = [row for index in range(config.n_studies) for row in _add_study(builder, index, config)]
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(truth_rows, schema=TRUTH_SCHEMA), content)
    builder.files["truth.parquet"] = content.getvalue()
    return builder.write(out, replace=replace)


def item_truths(config: SyntheticConfig) -> dict[str, ItemTruth]:
    """The truth about every item that `build` writes for this configuration, by item id."""
    return {
        cell.item.item_id: cell.truth
        for index in range(config.n_studies)
        for cells in design_study(index, config).cells_by_arm
        for cell in cells
    }


def _add_study(builder: StoreBuilder, index: int, config: SyntheticConfig) -> list[dict]:
    """Adds one study with its people and answers; returns its rows of truth.parquet."""
    study = design_study(index, config)
    builder.add_study(study.study_id, title=study.title)
    rng = np.random.default_rng([config.seed, index, 1])
    fewest, most = config.participants_per_condition
    n_arms, per_arm = len(study.cells_by_arm), int(rng.integers(fewest, most + 1))
    people = [draw_persona(rng, missing=config.missing) for _ in range(n_arms * per_arm)]
    features_pf = np.stack([features(person) for person in people])
    deviation_p = rng.normal(scale=config.person_sd, size=len(people))
    arm_p = rng.permutation(np.repeat(np.arange(n_arms), per_arm))
    answers_by_person: list[list[tuple[str, int]]] = [[] for _ in people]
    rows = []
    for arm, cells in enumerate(study.cells_by_arm):
        readers = np.flatnonzero(arm_p == arm)
        for cell in cells:
            item_id, levels = builder.add_item(cell.item), np.asarray(cell.truth.levels)
            given_pl = given_deviation_pl(cell.truth, features_pf[readers], deviation_p[readers])
            chosen = (rng.random((len(readers), 1)) > given_pl.cumsum(axis=1)[:, :-1]).sum(axis=1)
            for person, answer in zip(readers, levels[chosen]):
                answers_by_person[person].append((item_id, int(answer)))
            probs_pl = distributions_pl(cell.truth, features_pf)
            position_l = (levels - levels[0]) / (levels[-1] - levels[0])
            rows.append(
                {
                    "item_id": item_id,
                    "study_id": study.study_id,
                    "condition": cell.item.condition,
                    "outcome": cell.item.outcome,
                    "mean_position": float((probs_pl @ position_l).mean()),
                    "probs": probs_pl[readers].mean(axis=0).tolist(),
                    "levels": levels.tolist(),
                }
            )
    sample_ids = itertools.count()
    for person, answers in enumerate(answers_by_person):
        builder.add_participant(study.study_id, str(person), people[person])
        for item_id, answer in answers:
            builder.add_response(item_id, str(person), answer, sample_id=next(sample_ids))
    return rows
