"""Simulating the held-out parts of a split: from a model and a study store to the predictions table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.data.prompt_table import tokenize_prompts
from socsci_jax.data.tries import NO_ANSWERS, AnswerTrie, build_trie
from socsci_jax.distributed.processes import Processes
from socsci_jax.errors import InputError
from socsci_jax.simulation.chunks import PAIRS_PER_CHUNK, FinishedChunks, chunks_of, compute_chunks
from socsci_jax.simulation.exact import exact_distributions
from socsci_jax.simulation.model import SimulationModel, params_hash
from socsci_jax.simulation.sampling import Sampling, sample_answers
from socsci_jax.studies.predictions import write_predictions
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA, Item
from socsci_jax.studies.splits import PARTS, VALIDATION, Split
from socsci_jax.studies.store import StudyStore

# With more levels, feeding all of them to draw one costs more than a second pass.
MOST_LEVELS_FED = 11
ALONE = Processes()


def simulate(
    model: SimulationModel,
    store: StudyStore,
    split: Split,
    *,
    out: Path,
    layout: Layout,
    parts: Sequence[str] = (),
    sampling: Sampling | None = None,
    facts: dict[str, Any] | None = None,
    processes: Processes = ALONE,
    pairs_per_chunk: int = PAIRS_PER_CHUNK,
) -> int:
    """Predicts every held-out (item, participant) pair and writes the table; returns the number of rows.

    Chunks that are done wait beside `out` until all are: what was stopped goes on with those that are not, whatever the
    number of processes was.  Of N `processes`, which share a folder and nothing else, each has a model on its own
    devices and computes every Nth chunk; the first then waits for the others and writes the table, the others return
    before.  Chunks of a process that shows no sign of life are computed by the first.  The table does not depend on N.

    A model that was trained with rationales has to be sampled: what it was shown of them is never shown again.
    Without `sampling` the distributions are exact, and items without a finite set of levels are left out with
    a message.  `parts` narrows the split's held-out parts.  Raises InputError if nothing is to be predicted.
    """
    data = (model.facts.get("recipe") or {}).get("data") or {}
    if data.get("rationales"):
        if sampling is None:
            raise InputError(
                f"{model.facts['name']}: this model writes a rationale before its number, so the number alone has no "
                "exact probability; draw whole answers with --draws 1 --max-tokens 300."
            )
        sampling = dataclasses.replace(sampling, number_after=data["rationale_end"])
    pairs = held_out_pairs(store, split, parts=parts)
    items = store.item_by_id
    left_out = 0
    if sampling is None:
        closed = [item_id for item_id in pairs["item_id"].unique() if items[item_id].scale.kind == "levels"]
        left_out = pairs["item_id"].n_unique() - len(closed)
        pairs = pairs.filter(pl.col("item_id").is_in(closed))
        if left_out:
            print(f"{left_out} items without a finite set of levels are left out; draw answers with --draws.")
        if pairs.is_empty():
            raise InputError(f"split {split.name!r}: no held-out item has levels; draw answers with --draws.")
    table = tokenize_prompts(store, pairs, layout=layout, tokenizer=model.tokenizer)
    longest = max(map(len, table.prefixes)) + max(map(len, table.prompts))
    if longest > model.config.max_position_embeddings:
        raise InputError(
            f"{store.path}: prompts are up to {longest} tokens long, the model takes "
            f"{model.config.max_position_embeddings}; simulate with another model."
        )
    training = dict(model.facts)
    # No time of writing: what was stopped and went on must give the same file.
    metadata = {
        "model": training.pop("name"),
        "model_hash": params_hash(model.params),
        "recipe": training.pop("recipe", None),
        "layout": layout.to_dict(),
        "elicitation": "exact" if sampling is None else "sampled",
        "sampling": None if sampling is None else vars(sampling),
        "seed": None if sampling is None else sampling.seed,
        "split": split.name,
        "split_hash": split.content_hash,
        "store_hash": store.content_hash,
        "parts": sorted(pairs["part"].unique()),
        "held_out": dict(split.held_out["part"].value_counts(sort=True).iter_rows()),
        "rejects": f"{left_out} items without a finite set of levels",
        "versions": training.pop("software", None),
        "training": training,
        **(facts or {}),
    }
    rows = pairs.height * (1 if sampling is None else sampling.draws)
    finished = FinishedChunks(out, metadata, pairs_per_chunk=pairs_per_chunk)
    if processes.is_main:
        finished.begin()
    elif not finished.wait_for_begin():
        return rows
    chunks = chunks_of(table, pairs_per_chunk=pairs_per_chunk)
    if processes.is_main and len(chunks) < processes.num_processes:
        print(f"note: {len(chunks)} chunks for {processes.num_processes} processes; some have nothing to do.")

    def compute(number: int, show: Callable[[int, int], None]) -> None:
        chunk = chunks[number]
        of_chunk = (pairs[chunk], items, table.of_pairs(chunk))
        if sampling is None:
            answers = _exact_rows(model, *of_chunk, show)
        else:
            answers = _sampled_rows(model, *of_chunk, sampling, show)
        finished.write(number, answers)

    try:
        compute_chunks(finished, [len(chunk) for chunk in chunks], compute, processes=processes)
    except InputError:
        # A process that was held up until the others had done its work as well.
        if finished.table_is_written():
            return rows
        raise
    if processes.is_main:
        try:
            write_predictions(out, finished.read(len(chunks)), metadata=metadata)
        except OSError as error:
            raise InputError(
                f"{out}: cannot be written ({error.strerror}); mend this and start the same command again: nothing is "
                "computed again."
            ) from error
        finished.remove()
    return rows


def held_out_pairs(store: StudyStore, split: Split, *, parts: Sequence[str]) -> pl.DataFrame:
    """Distinct (item_id, participant_id) with study_id and part, of the split's held-out answers.

    The validation part is given only if `parts` names it.
    """
    known = (*PARTS, VALIDATION)
    unknown = sorted(set(parts) - set(known))
    if unknown:
        raise InputError(f"part {unknown[0]!r} is not known; known are {', '.join(known)}.")
    labeled = split.label(store).filter(pl.col("part").is_in(list(parts or PARTS)))
    if labeled.is_empty():
        raise InputError(
            f"split {split.name!r} of {store.path} holds out no answers{' of ' + ', '.join(parts) if parts else ''}."
        )
    columns = ["item_id", "study_id", "participant_id", "part"]
    return labeled.select(columns).unique(maintain_order=True).sort("item_id", "participant_id")


def _tries_of_pairs(
    model, pairs: pl.DataFrame, items: dict[str, Item], *, at_most: int | None = None
) -> tuple[list[AnswerTrie], np.ndarray]:
    """The distinct tries of allowed answers, and which one each pair has.

    It is empty for items without levels, or with more than `at_most`.
    """
    levels_of_item = {item_id: items[item_id].scale.levels for item_id in pairs["item_id"].unique()}
    if at_most is not None:
        levels_of_item = {i: levels if len(levels) <= at_most else () for i, levels in levels_of_item.items()}
    distinct = sorted(set(levels_of_item.values()))
    index = {levels: i for i, levels in enumerate(distinct)}
    tries = [
        build_trie(
            model.tokenizer.encode_batch([str(level) for level in levels]),
            end_id=model.tokenizer.end_of_answer_id,
        )
        if levels
        else NO_ANSWERS
        for levels in distinct
    ]
    return tries, np.array([index[levels_of_item[item_id]] for item_id in pairs["item_id"]])


def _exact_rows(model, pairs: pl.DataFrame, items: dict[str, Item], table, show) -> pl.DataFrame:
    tries, trie_of_pair = _tries_of_pairs(model, pairs, items)
    found = exact_distributions(model, table, tries=tries, trie_of_pair=trie_of_pair, progress=show)
    return _frame(
        item_id=pairs["item_id"].to_list(),
        participant_id=pairs["participant_id"].to_list(),
        levels=[list(items[item_id].scale.levels) for item_id in pairs["item_id"]],
        probs=[distribution.probs.tolist() for distribution in found],
        mass_on_levels=[distribution.mass_on_levels for distribution in found],
    )


def _sampled_rows(
    model, pairs: pl.DataFrame, items: dict[str, Item], table, sampling: Sampling, show
) -> pl.DataFrame:
    keys = [f"{item}/{person}" for item, person in pairs.select("item_id", "participant_id").iter_rows()]
    # What follows a rationale is no continuation of the prompt.
    most = MOST_LEVELS_FED if sampling.number_after is None else 0
    tries, trie_of_pair = _tries_of_pairs(model, pairs, items, at_most=most)
    drawn = sample_answers(
        model, table, keys=keys, sampling=sampling, tries=tries, trie_of_pair=trie_of_pair, progress=show
    )
    return _frame(
        item_id=np.repeat(pairs["item_id"].to_numpy(), sampling.draws).tolist(),
        participant_id=np.repeat(pairs["participant_id"].to_numpy(), sampling.draws).tolist(),
        draw=list(range(sampling.draws)) * pairs.height,
        value=[value for values in drawn for value in values],
    )


def _frame(**columns: list) -> pl.DataFrame:
    import pyarrow as pa

    rows = len(columns["item_id"])
    table = pa.table(
        {name: columns.get(name, [None] * rows) for name in PREDICTIONS_SCHEMA.names},
        schema=PREDICTIONS_SCHEMA,
    )
    return pl.from_arrow(table)
