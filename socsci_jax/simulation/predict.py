"""Prediction: a model and pairs of items and personas in, a predictions table in memory out; nothing is written."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from socsci_jax.data.prompt_table import PromptTable, tokenize_prompts
from socsci_jax.data.tries import AnswerTrie
from socsci_jax.errors import InputError
from socsci_jax.progress import progress
from socsci_jax.simulation.exact import Distribution, answer_tries, exact_distributions
from socsci_jax.simulation.model import SimulationModel, params_hash
from socsci_jax.simulation.sampling import Sampling, sample_answers
from socsci_jax.studies.attributes import form
from socsci_jax.studies.pairs import Pairs, Persona
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.scale import Number
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA, Item
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)

# With more levels, feeding all of them to draw one costs more than a second pass.
MOST_LEVELS_FED = 11

# Takes (done, total).
Report = Callable[[int, int], None]
# The answers that the prompt of each item allows.
AnswersOf = Mapping[str, tuple[Number, ...]]


def predict(
    model: SimulationModel,
    what: Pairs | Item | Sequence[Item],
    personas: Sequence[Persona] | pl.DataFrame | None = None,
    *,
    layout: str | Layout | None = None,
    allow_other_layout: bool = False,
    sampling: Sampling | None = None,
    show_progress: bool = True,
) -> Predictions:
    """Predicts how each persona would answer each item; a pure function of its arguments.

    Args:
      model: what `open_model` gives.
      what: pairs (of a split: `split.pairs(part)`), or one item or several, which every persona is asked.
      personas: with items, mappings or rows of attribute to value; the attributes that the model was trained with, and
        their wording, are the ones that it knows.
      layout: the order in which a prompt is written, by name or itself; by default the model's own.
      allow_other_layout: allows a layout that the model was not trained with.
      sampling: draws instead of exact probabilities; items without a finite set of levels need it.
      show_progress: a bar in a terminal or notebook, a log line now and then elsewhere.

    Returns:
      Predictions whose `frame` has one row per pair: item_id, participant_id, levels [L], probs [L] that sum to one, and
      mass_on_levels, the probability that the model gave to valid answers before that; or one row per pair and draw.

    Raises:
      InputError: if nothing is to be predicted, if prompts are longer than the model takes, or if no layout is known.
    """
    if not isinstance(what, Pairs):
        if personas is None:
            raise InputError(
                "personas is missing: give who is asked, such as [{'age': '34', 'gender': 'Female'}]."
            )
        what = Pairs.cross(what, personas)
    elif personas is not None:
        raise InputError("personas is given twice: pairs have personas of their own; give them alone.")
    prepared = prepare_prediction(
        model, what, layout=layout, allow_other_layout=allow_other_layout, sampling=sampling
    )
    with progress("predict", total=len(prepared), shown=show_progress) as bar:
        frame = prepared.compute(np.arange(len(prepared)), lambda done, total: bar.update(done))
        bar.update(len(prepared))
    return Predictions(frame=frame, metadata=prepared.metadata, pairs=prepared.pairs)


def prepare_prediction(
    model: SimulationModel,
    pairs: Pairs,
    *,
    layout: str | Layout | None = None,
    allow_other_layout: bool = False,
    sampling: Sampling | None = None,
) -> PreparedPrediction:
    """Checks all that can be wrong and tokenizes the prompts; see `predict`.

    A model that was trained with rationales has to be sampled.  Without `sampling`, items that have no finite set of
    levels are excluded, which is logged and counted in the metadata.
    """
    layout = model.choose_layout(layout, allow_other=allow_other_layout)
    data = (model.metadata.get("recipe") or {}).get("data") or {}
    if data.get("rationales"):
        if sampling is None:
            raise InputError(
                f"{model.metadata['name']}: this model writes a rationale before its number, so the number alone has no "
                "exact probability; draw whole answers, with about 300 tokens each (draws=1, max_tokens=300)."
            )
        sampling = dataclasses.replace(sampling, number_after=data["rationale_end"])
    excluded = 0
    if sampling is None:
        asked = pairs.frame["item_id"].unique().to_list()
        closed = [item_id for item_id in asked if pairs.items[item_id].scale.kind == "levels"]
        excluded = len(asked) - len(closed)
        pairs = pairs.where(pl.col("item_id").is_in(closed))
        if not closed:
            raise InputError(
                "no item has a finite set of levels, so there are no exact probabilities; draw answers."
            )
        if excluded:
            logger.warning(
                "%d items without a finite set of levels are excluded; draw answers for them.", excluded
            )
    warn_of_unknown_attributes(model, pairs)
    table = tokenize_prompts(pairs, layout=layout, tokenizer=model.tokenizer)
    longest = max(map(len, table.prefixes)) + max(map(len, table.prompts))
    if longest > model.config.max_position_embeddings:
        raise InputError(
            f"prompts are up to {longest} tokens long, {model.metadata['name']} takes "
            f"{model.config.max_position_embeddings}; use another model or shorter texts."
        )
    return PreparedPrediction(
        model=model,
        pairs=pairs,
        layout=layout,
        sampling=sampling,
        table=table,
        excluded_items=excluded,
        seen=None if model.trained_on is None else model.trained_on.label(pairs),
    )


def warn_of_unknown_attributes(model: SimulationModel, pairs: Pairs) -> None:
    """Logs attributes of personas that the model was not trained with, and words for their values that it never read.

    It reads them as words like any others, so that nothing learned of people belongs to them.
    """
    known = model.metadata.get("attributes")
    if not isinstance(known, list) or pairs.store is not None:
        return
    given: dict[str, dict[str, str]] = {}  # by attribute, one value of each form
    for persona in pairs.personas.values():
        for name, value in persona.items():
            if value is not None:
                given.setdefault(name, {}).setdefault(form(value), value)
    if unknown := sorted(given.keys() - set(known)):
        logger.warning(
            "The model was not trained with %s; it knows %s.",
            ", ".join(map(repr, unknown)),
            ", ".join(map(repr, known)),
        )
    forms = model.metadata.get("attribute_forms")
    for name, words in (forms if isinstance(forms, dict) else {}).items():
        strange = [value for shape, value in given.get(name, {}).items() if shape not in words]
        if strange:
            logger.warning(
                "%s %s: the model was not trained with people described so; it knows %s%s.",
                name,
                ", ".join(map(repr, strange[:5])),
                ", ".join(map(repr, words[:10])),
                " (# is a number)" if any("#" in one for one in words[:10]) else "",
            )


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedPrediction:
    """Pairs as token ids, checked against the model; any part of them can be computed apart from the others."""

    model: SimulationModel
    pairs: Pairs
    layout: Layout
    sampling: Sampling | None
    table: PromptTable
    excluded_items: int
    seen: pl.DataFrame | None  # `seen` and `unseen` of each pair, where it is known what was trained on

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def rows(self) -> int:
        """Number of rows that all pairs give."""
        return len(self) * (1 if self.sampling is None else self.sampling.draws)

    @property
    def metadata(self) -> dict[str, Any]:
        """What a predictions table says of itself; no time of writing, so that the same work gives the same file."""
        training = dict(self.model.metadata)
        return {
            "model": training.pop("name"),
            "model_hash": params_hash(self.model.params),
            "recipe": training.pop("recipe", None),
            "layout": self.layout.to_dict(),
            "elicitation": "exact" if self.sampling is None else "sampled",
            "sampling": None if self.sampling is None else vars(self.sampling),
            "seed": None if self.sampling is None else self.sampling.seed,
            "rejects": f"{counted(self.excluded_items, 'item')} without a finite set of levels",
            "versions": training.pop("software", None),
            "trained_on": None if self.model.trained_on is None else self.model.trained_on.digest,
            "training": training,
        }

    def compute(self, indices: np.ndarray, report: Report = lambda done, total: None) -> pl.DataFrame:
        """Rows of PREDICTIONS_SCHEMA for the pairs with these `indices` [n], in their order."""
        frame, table = self.pairs.frame[indices], self.table.of_pairs(indices)
        answers = {i: self.layout.answers(self.pairs.items[i].scale) for i in frame["item_id"].unique()}
        if self.sampling is None:
            rows = _exact_rows(self.model, frame, answers, table, report)
        else:
            rows = _sampled_rows(self.model, frame, answers, table, self.sampling, report)
        if self.seen is None:
            return rows
        draws = 1 if self.sampling is None else self.sampling.draws
        return rows.with_columns(self.seen[np.repeat(indices, draws)])


def _exact_rows(
    model: SimulationModel, pairs: pl.DataFrame, answers: AnswersOf, table: PromptTable, report: Report
) -> pl.DataFrame:
    tries, trie_of_pair = _tries_of_pairs(model, pairs, answers)
    distributions = exact_distributions(model, table, tries=tries, trie_of_pair=trie_of_pair, progress=report)
    return exact_frame(pairs["item_id"].to_list(), pairs["participant_id"].to_list(), answers, distributions)


def exact_frame(
    item_id: list[str], participant_id: list[str], answers: AnswersOf, distributions: Sequence[Distribution]
) -> pl.DataFrame:
    """Rows of PREDICTIONS_SCHEMA, one for each distribution."""
    return _frame(
        item_id=item_id,
        participant_id=participant_id,
        levels=[list(answers[item]) for item in item_id],
        probs=[distribution.probs.tolist() for distribution in distributions],
        mass_on_levels=[distribution.mass_on_levels for distribution in distributions],
    )


def _sampled_rows(
    model: SimulationModel,
    pairs: pl.DataFrame,
    answers: AnswersOf,
    table: PromptTable,
    sampling: Sampling,
    report: Report,
) -> pl.DataFrame:
    keys = [f"{item}/{person}" for item, person in pairs.select("item_id", "participant_id").iter_rows()]
    # What follows a rationale is no continuation of the prompt.
    most = MOST_LEVELS_FED if sampling.number_after is None else 0
    tries, trie_of_pair = _tries_of_pairs(model, pairs, answers, at_most=most)
    drawn = sample_answers(
        model, table, keys=keys, sampling=sampling, tries=tries, trie_of_pair=trie_of_pair, progress=report
    )
    return _frame(
        item_id=np.repeat(pairs["item_id"].to_numpy(), sampling.draws).tolist(),
        participant_id=np.repeat(pairs["participant_id"].to_numpy(), sampling.draws).tolist(),
        draw=list(range(sampling.draws)) * pairs.height,
        value=[value for values in drawn for value in values],
    )


def _tries_of_pairs(
    model: SimulationModel, pairs: pl.DataFrame, answers: AnswersOf, *, at_most: int | None = None
) -> tuple[list[AnswerTrie], np.ndarray]:
    """The distinct tries of allowed answers, and which one each pair has.

    It is empty for items without levels, or with more than `at_most`.
    """
    few = {i: levels if at_most is None or len(levels) <= at_most else () for i, levels in answers.items()}
    return answer_tries(model.tokenizer, [few[item_id] for item_id in pairs["item_id"]])


def _frame(**columns: list[Any]) -> pl.DataFrame:
    rows = len(columns["item_id"])
    table = pa.table(
        {name: columns.get(name, [None] * rows) for name in PREDICTIONS_SCHEMA.names},
        schema=PREDICTIONS_SCHEMA,
    )
    return pl.DataFrame(pl.from_arrow(table))
