"""The design of an invented study: its arms, its questions with their scales, and the truth about each cell."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.synthetic.answering import ItemTruth
from data_pipelines.synthetic.cues import FACTORS, Cue
from data_pipelines.synthetic.people import FEATURES
from data_pipelines.synthetic.questions import END_LABELS, LABELS, QUESTIONS, Question
from data_pipelines.synthetic.texts import (
    DETAILS,
    DOMAINS,
    FACTORS_BY_KIND,
    FIRMS,
    IT,
    OPENINGS,
    PEOPLE,
    SUBJECTS,
    TOWNS,
)
from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.schema import Item, Scale

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    name: str
    cues: tuple[Cue, ...]
    sentences: tuple[str, ...]
    factors: Mapping[str, str]
    is_control: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskedQuestion:
    question: Question
    scale: Scale
    descending: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    item: Item
    truth: ItemTruth


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """`cells_by_arm` holds, for each arm, one cell per outcome."""

    study_id: str
    title: str
    cells_by_arm: tuple[tuple[Cell, ...], ...]


def design_study(index: int, config: SyntheticConfig) -> Design:
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

    def cell(arm: Arm, ask: AskedQuestion) -> Cell:
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
        return Cell(item=item, truth=truth)

    return Design(
        study_id=study_id,
        title=f"{subject.capitalize()} ({kind})",
        cells_by_arm=tuple(tuple(cell(arm, ask) for ask in asked) for arm in arms),
    )


def _draw_arms(
    rng: np.random.Generator,
    factor_names: Sequence[str],
    design: tuple[tuple[int, ...], bool],
    words: Mapping[str, str],
) -> list[Arm]:
    """All combinations of the drawn levels, after the control that reads no cue."""
    sizes, with_control = design
    names = [factor_names[i] for i in rng.choice(len(factor_names), len(sizes), replace=False)]
    levels = [_draw_levels(rng, list(FACTORS[name]), size) for name, size in zip(names, sizes, strict=True)]
    wording = {name: int(rng.integers(2)) for name in names}
    arms = []
    if with_control:
        none = dict.fromkeys(names, "none")
        arms.append(Arm(name="control", cues=(), sentences=(), factors=none, is_control=True))
    for combination in itertools.product(*levels):
        factors = dict(zip(names, combination, strict=True))
        cues = tuple(FACTORS[name][level] for name, level in factors.items())
        arms.append(
            Arm(
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


def _draw_scale(rng: np.random.Generator, question: Question) -> AskedQuestion:
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
    return AskedQuestion(
        question=question, scale=Scale.of_levels(levels, origin="stated"), descending=descending
    )


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
