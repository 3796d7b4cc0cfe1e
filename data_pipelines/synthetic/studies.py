"""Invented studies with known truth: for the built-in demonstration and for tests.

People answer by an ordered logit.  With x the features of a persona, u the person's own deviation and F the
logistic function,

    attitude = popularity + leaning·x + sum of the cues' effects (some differ by party) + u,  u ~ N(0, person_sd²)
    P(answer ≤ level k) = F(cut_k − intercept − loading · attitude),  cut_k = logit(k / number of levels)

Popularity and leaning belong to the domain of a study, effects to the words of a condition, intercept and loading to
a question; all three recur in other studies (`synthetic_texts.py`).  On sliders people prefer round numbers.
What is not known of a persona adds nothing, so the true distribution is a function of what a prompt shows.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.synthetic.texts import (
    DETAILS,
    DOMAINS,
    END_LABELS,
    FACTORS,
    FACTORS_BY_KIND,
    FIRMS,
    IT,
    LABELS,
    OPENINGS,
    PEOPLE,
    QUESTIONS,
    SUBJECTS,
    TOWNS,
    Cue,
    Question,
)
from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.schema import SOCSCI210_ATTRIBUTES, Item, Scale
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder

SOURCE = "Invented by data_pipelines/synthetic/studies.py"
LICENSE = "CC0-1.0"

PARTIES = ("Democrat", "Lean Democrat", "Independent", "Lean Republican", "Republican")
IDEOLOGIES = ("Very liberal", "Liberal", "Moderate", "Conservative", "Very conservative")
EDUCATIONS = ("No diploma", "High school diploma", "Some college", "Bachelor's degree", "Graduate degree")
INCOMES = ("Under 25K", "25-49K", "50-74K", "75-99K", "100K or more")
METRO = ("Countryside", "Suburb", "City")
ATTRIBUTES = tuple(
    name
    for name in SOCSCI210_ATTRIBUTES
    if name in ("age", "gender", "education", "metro_status", "income", "party_id", "ideology")
)
FEATURES = ("party", "ideology", "age", "female", "education", "income", "city")

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

# Designs in the order in which studies take them; numbers of levels, and whether a control goes with them.
_DESIGNS = (((3,), True), ((2, 2), False), ((2, 3), False), ((2, 2), True), ((3,), True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """How many studies and people, and how the people differ.

    participants_per_condition: fewest and most; each study draws its own number.
    person_sd: standard deviation of a person's own deviation, in latent units.
    demographics: factor on all demographic leanings; effects: factor on all treatment effects.
    popularity: factor on how far subjects and questions lie from the middle of their scales.
    missing: share of persona attributes that are not known.
    """

    n_studies: int
    participants_per_condition: tuple[int, int]
    seed: int = 0
    person_sd: float = 0.7
    demographics: float = 1.0
    effects: float = 1.0
    popularity: float = 1.0
    missing: float = 0.05

    def __post_init__(self) -> None:
        fewest, most = self.participants_per_condition
        if self.n_studies < 1 or not 1 <= fewest <= most:
            raise InputError(
                f"synthetic studies: n_studies = {self.n_studies} and participants_per_condition = "
                f"{self.participants_per_condition} found; at least one study and 1 <= fewest <= most are needed."
            )


DEMONSTRATION = SyntheticConfig(
    n_studies=20, participants_per_condition=(80, 120), effects=1.1, popularity=2.5
)
SMALL = SyntheticConfig(n_studies=4, participants_per_condition=(6, 8))
PRESETS = {"demonstration": DEMONSTRATION, "small": SMALL}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemTruth:
    """Everything that decides how people answer one item; see the formula of this module.

    leaning_f: latent effect per feature, in the order of FEATURES.
    descending: the lowest level stands for the highest attitude ("1 = Strongly support").
    """

    levels: tuple[int, ...]
    intercept: float
    loading: float
    popularity: float
    leaning_f: tuple[float, ...]
    cue_effect: float
    cue_party_slope: float
    descending: bool
    person_sd: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arm:
    name: str
    cues: tuple[Cue, ...]
    sentences: tuple[str, ...]
    factors: Mapping[str, str]
    is_control: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class _AskedQuestion:
    question: Question
    scale: Scale
    descending: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cell:
    item: Item
    truth: ItemTruth


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Study:
    """`cells_by_arm` holds, for each arm, one cell per outcome."""

    study_id: str
    title: str
    cells_by_arm: tuple[tuple[_Cell, ...], ...]


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
        for cells in _design_study(index, config).cells_by_arm
        for cell in cells
    }


def true_distribution(truth: ItemTruth, attributes: Mapping[str, str | None]) -> np.ndarray:
    """Probabilities [L] over `truth.levels` with which somebody with these attributes answers."""
    return _distributions_pl(truth, _features(attributes)[None, :])[0]


def _distributions_pl(truth: ItemTruth, features_pf: np.ndarray) -> np.ndarray:
    """Probabilities over levels for each persona [P, L], averaged over the person's own deviation."""
    probs_pl = np.zeros((len(features_pf), len(truth.levels)))
    for node, weight in zip(*_deviation_quadrature()):
        deviation_p = np.full(len(features_pf), truth.person_sd * node)
        probs_pl += weight * _given_deviation_pl(truth, features_pf, deviation_p)
    return probs_pl


@functools.cache
def _deviation_quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss-Hermite rule for a standard normal variable; 15 nodes are exact to 1e-9 here."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    return nodes, weights / weights.sum()


def _given_deviation_pl(truth: ItemTruth, features_pf: np.ndarray, deviation_p: np.ndarray) -> np.ndarray:
    party_p = features_pf[:, FEATURES.index("party")]
    attitude_p = (
        truth.popularity
        + features_pf @ np.asarray(truth.leaning_f)
        + truth.cue_effect
        + truth.cue_party_slope * party_p
        + deviation_p
    )
    n_levels = len(truth.levels)
    share = np.arange(1, n_levels) / n_levels
    cuts = np.log(share / (1 - share))
    eta_p = truth.intercept + truth.loading * attitude_p
    below_pl = 1 / (1 + np.exp(eta_p[:, None] - cuts))
    probs_pl = np.diff(below_pl, axis=1, prepend=0.0, append=1.0)
    if truth.descending:
        probs_pl = probs_pl[:, ::-1]
    probs_pl = probs_pl * _preference_for_round_numbers(truth.levels)
    return probs_pl / probs_pl.sum(axis=1, keepdims=True)


@functools.cache
def _preference_for_round_numbers(levels: tuple[int, ...]) -> np.ndarray:
    """Weight of each level: on sliders tens are ten times, other fives three times as likely as the rest."""
    values = np.asarray(levels)
    if len(levels) < 101:
        return np.ones(len(levels))
    return np.where(values % 10 == 0, 10.0, np.where(values % 5 == 0, 3.0, 1.0))


def _add_study(builder: StoreBuilder, index: int, config: SyntheticConfig) -> list[dict]:
    """Adds one study with its people and answers; returns its rows of truth.parquet."""
    study = _design_study(index, config)
    builder.add_study(study.study_id, title=study.title)
    rng = np.random.default_rng([config.seed, index, 1])
    fewest, most = config.participants_per_condition
    n_arms, per_arm = len(study.cells_by_arm), int(rng.integers(fewest, most + 1))
    people = [_draw_persona(rng, missing=config.missing) for _ in range(n_arms * per_arm)]
    features_pf = np.stack([_features(person) for person in people])
    deviation_p = rng.normal(scale=config.person_sd, size=len(people))
    arm_p = rng.permutation(np.repeat(np.arange(n_arms), per_arm))
    answers_by_person: list[list[tuple[str, int]]] = [[] for _ in people]
    rows = []
    for arm, cells in enumerate(study.cells_by_arm):
        readers = np.flatnonzero(arm_p == arm)
        for cell in cells:
            item_id, levels = builder.add_item(cell.item), np.asarray(cell.truth.levels)
            given_pl = _given_deviation_pl(cell.truth, features_pf[readers], deviation_p[readers])
            chosen = (rng.random((len(readers), 1)) > given_pl.cumsum(axis=1)[:, :-1]).sum(axis=1)
            for person, answer in zip(readers, levels[chosen]):
                answers_by_person[person].append((item_id, int(answer)))
            probs_pl = _distributions_pl(cell.truth, features_pf)
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


def _design_study(index: int, config: SyntheticConfig) -> _Study:
    rng = np.random.default_rng([config.seed, index, 0])
    kind, domain_name, subject = SUBJECTS[index % len(SUBJECTS)]
    domain = DOMAINS[domain_name]
    words = {
        "town": _pick(rng, TOWNS),
        "firm": _pick(rng, FIRMS),
        "person": _pick(rng, PEOPLE),
        "subject": subject,
        "it": IT[kind],
    }
    study_id = f"synthetic-{index:03d}"
    opening, detail = (_pick(rng, texts[kind]).format(**words) for texts in (OPENINGS, DETAILS))
    arms = _draw_arms(rng, FACTORS_BY_KIND[kind], _DESIGNS[index % len(_DESIGNS)], words)
    popularity = config.popularity * (domain.popularity + float(rng.normal(scale=0.3)))
    n_outcomes = int(rng.integers(1, 4))
    drawn = sorted(rng.choice(len(QUESTIONS[kind]), n_outcomes, replace=False))
    asked = [_draw_scale(rng, QUESTIONS[kind][i]) for i in drawn]

    def cell(arm: _Arm, ask: _AskedQuestion) -> _Cell:
        item = Item(
            study_id=study_id,
            condition=arm.name,
            outcome=ask.question.name,
            stimulus=" ".join((opening, detail, *arm.sentences)) + "\n\n",
            question=ask.question.text.format(**words) + "\n",
            answer_format=answer_format(
                ask.scale, style="options" if "dollars" in ask.question.families else "auto"
            ),
            scale=ask.scale,
            is_control=arm.is_control,
            factors=arm.factors,
        )
        truth = ItemTruth(
            levels=ask.scale.levels,
            intercept=config.popularity * ask.question.intercept,
            loading=ask.question.loading,
            popularity=popularity,
            leaning_f=tuple(config.demographics * domain.leaning.get(name, 0.0) for name in FEATURES),
            cue_effect=config.effects * sum(cue.effect for cue in arm.cues),
            cue_party_slope=config.effects * sum(cue.party_slope for cue in arm.cues),
            descending=ask.descending,
            person_sd=config.person_sd,
        )
        return _Cell(item=item, truth=truth)

    return _Study(
        study_id=study_id,
        title=f"{subject.capitalize()} ({kind})",
        cells_by_arm=tuple(tuple(cell(arm, ask) for ask in asked) for arm in arms),
    )


def _draw_arms(
    rng: np.random.Generator,
    factor_names: Sequence[str],
    design: tuple[tuple[int, ...], bool],
    words: Mapping[str, str],
) -> list[_Arm]:
    """All combinations of the drawn levels, after the control that reads no cue."""
    sizes, with_control = design
    names = [factor_names[i] for i in rng.choice(len(factor_names), len(sizes), replace=False)]
    levels = [_draw_levels(rng, list(FACTORS[name]), size) for name, size in zip(names, sizes, strict=True)]
    wording = {name: int(rng.integers(2)) for name in names}
    arms = []
    if with_control:
        none = dict.fromkeys(names, "none")
        arms.append(_Arm(name="control", cues=(), sentences=(), factors=none, is_control=True))
    for combination in itertools.product(*levels):
        factors = dict(zip(names, combination, strict=True))
        cues = tuple(FACTORS[name][level] for name, level in factors.items())
        arms.append(
            _Arm(
                name="; ".join(f"{name}: {level}" for name, level in factors.items()),
                cues=cues,
                sentences=tuple(
                    cue.wordings[wording[name]].format(**words) for name, cue in zip(names, cues)
                ),
                factors=factors,
                is_control=False,
            )
        )
    return arms


def _draw_levels(rng: np.random.Generator, levels: list[str], size: int) -> list[str]:
    return [levels[i] for i in sorted(rng.choice(len(levels), size, replace=False))]


def _draw_scale(rng: np.random.Generator, question: Question) -> _AskedQuestion:
    """The question with one of the scales that fit it."""
    family = _pick(rng, question.families)
    descending = False
    if family == "slider":
        levels = range(101)
    elif family == "ends":
        lo, hi = int(rng.integers(2)), int(rng.integers(5, 11))
        levels = dict.fromkeys(range(lo, hi + 1), "") | {lo: END_LABELS[0], hi: END_LABELS[1]}
    else:
        labels = _pick(rng, LABELS[family])
        descending = family == "yes_no" or (family in ("support", "agree") and bool(rng.integers(2)))
        levels = dict(enumerate(reversed(labels) if descending else labels, start=1))
    return _AskedQuestion(
        question=question, scale=Scale.of_levels(levels, origin="stated"), descending=descending
    )


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _draw_persona(rng: np.random.Generator, *, missing: float) -> dict[str, str | None]:
    """Party and ideology go together, education and income too."""
    party = int(rng.choice(5, p=(0.28, 0.12, 0.18, 0.12, 0.30)))
    education = int(rng.choice(5, p=(0.08, 0.27, 0.28, 0.23, 0.14)))
    persona = {
        "age": str(int(rng.integers(18, 86))),
        "gender": ("Female", "Male")[int(rng.integers(2))],
        "education": EDUCATIONS[education],
        "metro_status": METRO[int(rng.choice(3, p=(0.2, 0.5, 0.3)))],
        "income": INCOMES[int(np.clip(education + rng.integers(-2, 3), 0, 4))],
        "party_id": PARTIES[party],
        "ideology": IDEOLOGIES[int(np.clip(party + rng.integers(-1, 2), 0, 4))],
    }
    unknown = rng.random(len(ATTRIBUTES)) < missing
    return {name: None if gone else persona[name] for name, gone in zip(ATTRIBUTES, unknown)}


def _features(attributes: Mapping[str, str | None]) -> np.ndarray:
    """[F] in the order of FEATURES, each about -1 to 1 and 0 where nothing is known."""

    def rank(name: str, ordered: Sequence[str]) -> float:
        value = attributes.get(name)
        return 0.0 if value is None else 2 * ordered.index(value) / (len(ordered) - 1) - 1

    age = attributes.get("age")
    return np.array(
        [
            rank("party_id", PARTIES),
            rank("ideology", IDEOLOGIES),
            0.0 if age is None else (int(age) - 51.5) / 33.5,
            rank("gender", ("Male", "Female")),
            rank("education", EDUCATIONS),
            rank("income", INCOMES),
            rank("metro_status", METRO),
        ]
    )
