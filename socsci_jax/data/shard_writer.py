"""Writing one shard folder: prompts become branches, branches become records and an index of their lengths."""

from __future__ import annotations

import array
import functools
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax.data.branch_targets import BranchTargets, TargetTable
from socsci_jax.data.contrasts import FEWEST_PERSONAS, ContrastTable
from socsci_jax.data.prompt_table import PromptTable, SortedTokens, sort_by_tokens, tokenize_prompts
from socsci_jax.data.row_fitting import shared_with_previous
from socsci_jax.data.shard_records import RecordForm, RecordWriter
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.data.tries import AnswerTrie, build_trie
from socsci_jax.errors import InputError
from socsci_jax.foreign_text import write_csv
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.scale import format_value
from socsci_jax.studies.schema import Item
from socsci_jax.wording import counted

logger = logging.getLogger(__name__)

# Of some kilobytes each.
FORMS = 1 << 14
_COLUMNS = ("prefix", "rank", "tokens", "reads", "slots", "comparisons", "responses", "cell", "person")


class ShardWriter:
    """Call `tokenize` once, then `add_targets`, then `add_contrasts`, then `close`.

    What is whole in `folder`, which an earlier one began for the same shards, is not made again; `kept` is where
    that is which is no part of them.
    """

    # Whether equal prompts are one branch, and equal beginnings of branches stand once.
    shares: bool

    def __init__(self, folder: Path, *, kept: Path, tokenizer: Tokenizer, max_tokens: int, shares: bool):
        self._folder, self._kept = folder, kept
        self._tokenizer = tokenizer
        self._max_tokens, self.shares = max_tokens, shares
        self._rows = array.array("q")  # of _COLUMNS, one after the other
        self._rejects: list[dict[str, str]] = []
        self._tries: dict[tuple[str, ...], AnswerTrie] = {}
        self._kept_prefixes: dict[int, int] = {}
        # Most branches are asked what many others are; those of distributions each have their own.
        self._form = functools.lru_cache(maxsize=FORMS)(self._make_form)
        self._branches = RecordWriter(folder, "branches")
        self._answers_of_comparison = self._slots_of_answer = 0
        self._cells: pl.DataFrame | None = None
        self._table: PromptTable
        self._by_tokens: SortedTokens

    def tokenize(self, pairs: Pairs, *, layout: Layout) -> None:
        """Tokenizes all prompts, of answers and of contrasts, each distinct text once."""
        self._table = tokenize_prompts(pairs, layout=layout, tokenizer=self._tokenizer, kept=self._kept)
        # Prompts by their tokens: neighbors share the longest beginnings.
        self._by_tokens = sort_by_tokens(self._table.prompts)

    def placed(self, frame: pl.DataFrame, *, first: int) -> pl.DataFrame:
        """`frame`, whose pairs stand from number `first` on, with the prefix and the rank of each one's prompt."""
        here = slice(first, first + frame.height)
        rank = self._by_tokens.rank[self._table.pair_prompt[here]]
        return frame.with_columns(prefix=pl.Series(self._table.pair_prefix[here]), rank=pl.Series(rank))

    def refuse(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Notes items whose responses are not trained on: item_id, reason, responses."""
        for item_id, reason, responses in rows:
            self._reject(item_id, reason, responses)

    def add_targets(self, wanted: TargetTable, *, progress: Callable[[int, int], None]) -> None:
        """Writes one branch for each row of the table, but for prompts that are too long."""
        for n, ((prefix, rank), asked) in enumerate(zip(wanted.branches.iter_rows(), wanted.targets)):
            if n % 4096 == 0:
                progress(n, len(wanted.targets))
            form = self._form(asked, len(self._prompt(rank)))
            tokens = self._tokens(prefix, form)
            if tokens > self._max_tokens:
                reason = f"prompt of {counted(tokens, 'token')}, {self._max_tokens} allowed"
                self._reject(self._table.prefix_key[prefix], reason, form.responses)
            else:
                self._add(prefix, rank, form)
        progress(len(wanted.targets), len(wanted.targets))

    def add_contrasts(self, contrasts: ContrastTable, arms: pl.DataFrame, items: Mapping[str, Item]) -> None:
        """Writes one branch for each arm and person of a set, but for people for whom a prompt is too long.

        `arms` has columns set, cell, person, item_id, prefix and rank.
        """
        self._cells = contrasts.cells
        asked: dict[int, BranchTargets] = {}
        for cell, (item_id, shares) in enumerate(contrasts.cells.select("item_id", "histogram").iter_rows()):
            asked[cell] = _levels_with_shares(items[item_id], shares)
        tokens = [
            self._tokens(prefix, self._form(asked[cell], len(self._prompt(rank))))
            for prefix, rank, cell in arms.select("prefix", "rank", "cell").iter_rows()
        ]
        too_long = arms.filter(pl.Series(tokens) > self._max_tokens).select("set", "person").unique()
        kept = arms.join(too_long, on=["set", "person"], how="anti")
        if too_long.height:
            logger.warning(
                f"{counted(too_long.height, 'person is', 'people are')} not asked about the arms of an outcome: a prompt of theirs "
                f"has more than {counted(self._max_tokens, 'token')}"
            )
        people = kept.group_by("set").agg(pl.col("person").n_unique())
        enough = people.filter(pl.col("person") >= FEWEST_PERSONAS)["set"]
        lost = contrasts.cells.filter(~pl.col("set").is_in(enough.implode()))
        reason = f"fewer than {FEWEST_PERSONAS} people have prompts of at most {counted(self._max_tokens, 'token')} in all arms"
        self.refuse((item_id, reason, n) for item_id, n in lost.select("item_id", "answers").iter_rows())
        kept = kept.filter(pl.col("set").is_in(enough.implode())).sort("prefix", "rank", "cell", "person")
        for prefix, rank, cell, person in kept.select("prefix", "rank", "cell", "person").iter_rows():
            self._add(
                prefix, rank, self._form(asked[cell], len(self._prompt(rank))), cell=cell, person=person
            )
        if kept.is_empty():
            self._nothing_left("to contrast")

    def close(self, *, where: str) -> dict[str, Any]:
        """Writes prefixes and indices; returns what shards.json says of them.  Raises InputError if there is nothing."""
        files = self._branches.close()
        if not self._rows:
            self._nothing_left("to train on", where=f"{where}: ")
        prefixes = RecordWriter(self._folder, "prefixes")
        for prefix in self._kept_prefixes:
            prefixes.write(self._table.prefixes[prefix].astype(np.int32).tobytes())
        files |= prefixes.close()
        rows = dict(
            zip(_COLUMNS, np.frombuffer(self._rows, np.int64).reshape(-1, len(_COLUMNS)).T, strict=True)
        )
        index = pl.DataFrame({**rows, "shared": self._shared(rows)}).drop("rank")
        index.write_parquet(self._folder / "branch_index.parquet")
        pl.DataFrame(
            {
                "key": [self._table.prefix_key[p] for p in self._kept_prefixes],
                "tokens": [len(self._table.prefixes[p]) for p in self._kept_prefixes],
            }
        ).write_parquet(self._folder / "prefix_index.parquet")
        schema = ["kind", "place", "reason", "record"]
        write_csv(pl.DataFrame(self._rejects, schema=schema, orient="row"), self._folder / "rejects.csv")
        if self._cells is not None:
            self._cells.write_parquet(self._folder / "cells.parquet")
            files["cells.parquet"] = None
        return {
            "prefixes": len(self._kept_prefixes),
            "branches": index.height,
            "responses": int(index["responses"].sum()),
            "rejected": len(self._rejects),
            "answers_of_comparison": self._answers_of_comparison,
            "slots_of_answer": self._slots_of_answer,
            "cells": 0 if self._cells is None else self._cells.height,
            "files": {name: (self._folder / name).stat().st_size for name in files},
        }

    def _trie(self, texts: tuple[str, ...]) -> AnswerTrie:
        if texts not in self._tries:
            answers = self._tokenizer.encode_batch(list(texts))
            self._tries[texts] = build_trie(answers, end_id=self._tokenizer.end_of_answer_id)
        return self._tries[texts]

    def _prompt(self, rank: int) -> np.ndarray:
        return self._table.prompts[self._by_tokens.order[rank]]

    def _make_form(self, asked: BranchTargets, prompt_tokens: int) -> RecordForm:
        return RecordForm.of(prompt_tokens, asked, self._trie(asked.texts))

    def _tokens(self, prefix: int, form: RecordForm) -> int:
        return len(self._table.prefixes[prefix]) + form.tokens

    def _add(self, prefix: int, rank: int, form: RecordForm, *, cell: int = -1, person: int = -1) -> None:
        values = (
            self._kept_prefixes.setdefault(prefix, len(self._kept_prefixes)),
            rank,
            form.tokens,
            form.reads,
            form.slots,
            form.comparisons,
            form.responses,
            cell,
            person,
        )
        self._rows.extend(values)
        self._answers_of_comparison = max(self._answers_of_comparison, form.answers)
        self._slots_of_answer = max(self._slots_of_answer, form.path)
        self._branches.write(form.record(self._prompt(rank)))

    def _shared(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """First tokens that each branch has in common with the one before it in the index; 0 across prefixes."""
        prefix, rank = rows["prefix"], rows["rank"]
        if not self.shares:
            return np.zeros(len(rank), np.int64)
        contrasted = rows["cell"] >= 0
        shared = np.concatenate(
            [shared_with_previous(self._by_tokens.shared, rank[part]) for part in (~contrasted, contrasted)]
        )
        # Equal prompts, of several people, have all but the last token in common.
        same = np.flatnonzero(np.append(False, (rank[1:] == rank[:-1]) & contrasted[1:]))
        shared[same] = [len(self._prompt(r)) - 1 for r in rank[same]]
        shared[1:][prefix[1:] != prefix[:-1]] = 0
        shared[1:][contrasted[1:] != contrasted[:-1]] = 0
        return shared

    def _reject(self, place: str, reason: str, responses: int) -> None:
        record = json.dumps({"responses": responses})
        self._rejects.append({"kind": "response", "place": place, "reason": reason, "record": record})

    def _nothing_left(self, what: str, *, where: str = "") -> None:
        first = self._rejects[0]
        raise InputError(
            f"{where}nothing is left {what}; the first reason of {len(self._rejects)}: {first['place']}: "
            f"{first['reason']}."
        )


def _levels_with_shares(item: Item, shares: list[float]) -> BranchTargets:
    """No answers, and one comparison of all levels with the shares that people gave them."""
    levels = item.scale.levels
    gaps = (np.diff(levels) / (levels[-1] - levels[0])).tolist()
    return BranchTargets(
        tuple(map(format_value, levels)),
        (0.0,) * len(levels),
        answers=(tuple(range(len(levels))),),
        target=(tuple(shares),),
        gap=((*gaps, 0.0),),
        weight=(0.0,),
    )
