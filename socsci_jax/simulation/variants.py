"""Predictions of a study's multiverse: every variant is a branch of one prompt tree, so what variants share is computed once."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import polars as pl

from socsci_jax.data.prompt_table import PromptTable, joined_tables, sort_by_tokens, tokenize_prompts
from socsci_jax.data.tries import AnswerTrie
from socsci_jax.errors import InputError
from socsci_jax.progress import progress
from socsci_jax.simulation.assignment import Asking, asking_of, assign
from socsci_jax.simulation.exact import Distribution, answer_tries, exact_distributions
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.predict import exact_frame, prepare_prediction
from socsci_jax.simulation.requests import TokenCounts, count_tokens, distinct_requests
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.persona_formats import PERSONA_FORMATS, PersonaFormatName
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.schema import VARIANT
from socsci_jax.studies.variants import CHECKED, StudyVariants, VariantPredictions

logger = logging.getLogger(__name__)

# Prompts whose branches are held in memory at once.
AT_A_TIME = 50_000


def predict_variants(
    model: SimulationModel,
    study: StudyVariants,
    personas: pl.DataFrame,
    *,
    layout: str | Layout | None = None,
    allow_other_layout: bool = False,
    seed: int = 0,
    show_progress: bool = True,
) -> VariantPredictions:
    """Predicts how personas answer the variants of a study's items, all of them or a balanced assignment.

    Args:
      model: what `open_model` gives.
      study: the items with their variants, and what else is asked.
      personas: a row a person with its `participant_id`, attributes as texts.
      layout, allow_other_layout: as in `predict`.
      seed: of who answers which variants.
      show_progress: a bar in a terminal or notebook.

    Raises InputError as `predict`, and for attributes to be swapped or asked for that personas do not have.
    """
    prepared = prepare_prediction(
        model,
        Pairs.cross(list(study.items), personas),
        layout=layout,
        allow_other_layout=allow_other_layout,
    )
    asked = {item_id: study.of_item[item_id] for item_id in prepared.pairs.frame["item_id"].unique()}
    closed = tuple(item for item in study.items if item.item_id in asked)
    study = dataclasses.replace(study, items=closed, of_item={i.item_id: asked[i.item_id] for i in closed})
    asking = asking_of(study, personas, seed=seed)
    prompts = Prompts.of(model, asking, prepared.layout)
    assignment = assign(asking, cost=lambda rows: prompts.tokens(rows).distinct)
    logger.info(
        "Variants: %s prompts, %.2f times the tokens of one pass.",
        f"{assignment.rows.height:,}",
        assignment.cost / assignment.one_pass,
    )
    distributions = prompts.distributions(assignment.rows, show_progress=show_progress)
    metadata = prepared.metadata | {"assignment": study.declared.assignment, "assignment_seed": seed}
    seen = (
        None if prepared.seen is None else pl.concat([prepared.pairs.frame, prepared.seen], how="horizontal")
    )
    of_variants = assignment.rows["purpose"] == "variant"
    return VariantPredictions(
        predictions=Predictions(
            frame=_variant_frame(study, prompts, assignment.rows, distributions, of_variants, seen),
            metadata=metadata,
            pairs=prepared.pairs,
        ),
        checks=_check_frame(assignment.rows, distributions, ~of_variants),
        cost=assignment.cost,
        one_pass=assignment.one_pass,
    )


def _variant_frame(
    study: StudyVariants,
    prompts: Prompts,
    rows: pl.DataFrame,
    distributions: list[Distribution],
    chosen: pl.Series,
    seen: pl.DataFrame | None,
) -> pl.DataFrame:
    own = rows.filter(chosen)
    frame = exact_frame(
        own["item_id"].to_list(),
        own["participant_id"].to_list(),
        prompts.answers,
        [distributions[i] for i in chosen.arg_true()],
    )
    names = {item_id: [variant.name for variant in of_item] for item_id, of_item in study.of_item.items()}
    variant = [names[item_id][number] for item_id, number in own.select("item_id", "variant").iter_rows()]
    frame = frame.with_columns(pl.Series(VARIANT, variant, dtype=pl.String))
    if seen is None:
        return frame
    key = ["item_id", "participant_id"]
    columns = frame.columns
    known = seen.select(*key, "seen", "unseen")
    joined = frame.drop("seen", "unseen").join(known, on=key, how="left", maintain_order="left")
    return joined.select(columns)


def _check_frame(rows: pl.DataFrame, distributions: list[Distribution], chosen: pl.Series) -> pl.DataFrame:
    probs = [distributions[i].probs.tolist() for i in chosen.arg_true()]
    own = rows.filter(chosen).with_columns(pl.Series("probs", probs, dtype=pl.List(pl.Float64)))
    return own.select(list(CHECKED))


@dataclasses.dataclass(frozen=True, eq=False)
class Prompts:
    """All prompts that could be asked about a study as token ids, and the answers that they allow.

    `item_part` and `person_part` say, for each format, which of the table's prefixes and prompts an item and a person are; the
    layout says which of the two is the prefix.
    """

    model: SimulationModel
    table: PromptTable
    shared_by: str
    item_part: pl.DataFrame  # persona_format, asked, item_part
    person_part: pl.DataFrame  # persona_format, person, person_part
    answers: dict[str, tuple[float, ...]]  # of each asked or answered item
    tries: list[AnswerTrie]
    trie_of_item: dict[str, int]

    @classmethod
    def of(cls, model: SimulationModel, asking: Asking, layout: Layout) -> Prompts:
        """Tokenizes every item and every persona in every format; raises InputError for prompts that are too long."""
        items, people = list(asking.items), list(asking.personas)
        formats = asking.choices["persona_format"].unique(maintain_order=True).to_list()
        tables = [
            _covering_table(model, asking, PERSONA_FORMATS[name].layout(layout), name) for name in formats
        ]
        table = joined_tables(tables)
        longest = max(map(len, table.prefixes)) + max(map(len, table.prompts))
        if longest > model.config.max_position_embeddings:
            raise InputError(
                f"prompts of variants are up to {longest} tokens long, {model.metadata['name']} takes "
                f"{model.config.max_position_embeddings}; use another model or shorter texts."
            )
        by_item = layout.shared_by == "item"
        of_items, of_people = (
            (table.pair_prefix, table.pair_prompt) if by_item else (table.pair_prompt, table.pair_prefix)
        )
        size = len(items) + len(people)
        item_rows = [
            (name, item, int(of_items[f * size + i]))
            for f, name in enumerate(formats)
            for i, item in enumerate(items)
        ]
        person_rows = [
            (name, person, int(of_people[f * size + len(items) + i]))
            for f, name in enumerate(formats)
            for i, person in enumerate(people)
        ]
        answers = {i: layout.answers(item.scale) for i, item in asking.items.items()}
        tries, trie_of_item = answer_tries(model.tokenizer, list(answers.values()))
        return cls(
            model=model,
            table=table,
            shared_by=layout.shared_by,
            item_part=pl.DataFrame(item_rows, schema=["persona_format", "asked", "item_part"], orient="row"),
            person_part=pl.DataFrame(
                person_rows, schema=["persona_format", "person", "person_part"], orient="row"
            ),
            answers=answers,
            tries=tries,
            trie_of_item=dict(zip(answers, trie_of_item.tolist(), strict=True)),
        )

    def of_rows(self, rows: pl.DataFrame) -> tuple[PromptTable, np.ndarray]:
        """The table of some rows (`assignment.ROWS`), and the trie of each."""
        parts = rows.join(
            self.item_part, on=["persona_format", "asked"], how="left", maintain_order="left"
        ).join(self.person_part, on=["persona_format", "person"], how="left", maintain_order="left")
        item, person = parts["item_part"].to_numpy(), parts["person_part"].to_numpy()
        prefix, prompt = (item, person) if self.shared_by == "item" else (person, item)
        table = dataclasses.replace(self.table, pair_prefix=prefix, pair_prompt=prompt)
        kinds = rows["asked"].replace_strict(self.trie_of_item, return_dtype=pl.Int64).to_numpy()
        return table.of_pairs(np.arange(rows.height)), kinds

    def tokens(self, rows: pl.DataFrame) -> TokenCounts:
        """What computing the rows costs: every token of their tree once."""
        table, kinds = self.of_rows(rows)
        requests = distinct_requests(table, kinds)
        return count_tokens(requests, table, self.tries, tokens_per_row=self.model.tokens_per_row)

    def distributions(self, rows: pl.DataFrame, *, show_progress: bool = False) -> list[Distribution]:
        """The distribution of each row, neighbors in the tree together."""
        table, kinds = self.of_rows(rows)
        prefix_rank, prompt_rank = sort_by_tokens(table.prefixes).rank, sort_by_tokens(table.prompts).rank
        order = np.lexsort((prompt_rank[table.pair_prompt], prefix_rank[table.pair_prefix]))
        distributions: list[Distribution | None] = [None] * rows.height
        with progress("variants", total=rows.height, shown=show_progress) as bar:
            for start in range(0, rows.height, AT_A_TIME):
                chosen = order[start : start + AT_A_TIME]
                of_chosen = exact_distributions(
                    self.model, table.of_pairs(chosen), tries=self.tries, trie_of_pair=kinds[chosen]
                )
                for i, distribution in zip(chosen.tolist(), of_chosen, strict=True):
                    distributions[i] = distribution
                bar.update(start + len(chosen))
        return [distribution for distribution in distributions if distribution is not None]


def _covering_table(
    model: SimulationModel, asking: Asking, layout: Layout, name: PersonaFormatName
) -> PromptTable:
    """Every item with the first person, then every person with the first item, in one format."""
    items, people = list(asking.items), list(asking.personas)
    study = asking.study.items[0].study_id
    covering = [(item, study, people[0]) for item in items] + [(items[0], study, person) for person in people]
    pairs = Pairs(
        frame=pl.DataFrame(covering, schema=["item_id", "study_id", "participant_id"], orient="row"),
        items=asking.items,
        personas={
            (study, person): PERSONA_FORMATS[name].persona(persona)
            for person, persona in asking.personas.items()
        },
    )
    return tokenize_prompts(pairs, layout=layout, tokenizer=model.tokenizer)
