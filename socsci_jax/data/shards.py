"""Training shards: prompt trees tokenized once, in ArrayRecord files that are read at random positions.

A shard folder holds prefixes and branches as records, an index of their lengths, the prompts that were rejected,
and `shards.json`.  It is named by the hash of what it was made from, so that equal input is never tokenized twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from socsci_jax.data.branch_targets import Targets
from socsci_jax.data.contrasts import arms_by_people, contrast_table
from socsci_jax.data.plan import Lengths
from socsci_jax.data.rationales import Rationales
from socsci_jax.data.shard_records import decode_branch
from socsci_jax.data.shard_writer import ShardWriter
from socsci_jax.data.targets import ANSWERS, target_table
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.data.trees import Branch
from socsci_jax.errors import InputError
from socsci_jax.locks import HeldError, only_writer
from socsci_jax.reading import read_json_object
from socsci_jax.storage import beside
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.splits import Split, Subset
from socsci_jax.studies.store import StudyStore
from socsci_jax.tables import open_parquet, read_rows, to_polars, unreadable
from socsci_jax.wording import counted, kind_of

FORMAT_VERSION = 4

Sharing = Literal["all", "prefix"]
"""What is computed once: all equal beginnings and equal prompts, or only the prefix that a layout shares."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardRecipe:
    """Everything that the content of a shard folder depends on."""

    store_hash: str
    split: str
    split_hash: str
    subset: Subset | None
    tokenizer_hash: str
    layout_hash: str
    sharing: Sharing
    max_tokens: int
    targets: Targets
    rationales_hash: str | None

    @property
    def digest(self) -> str:
        fields = {**dataclasses.asdict(self), "format": FORMAT_VERSION}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def build_shards(
    store: StudyStore,
    split: Split,
    train: pl.DataFrame,
    *,
    tokenizer: Tokenizer,
    layout: Layout,
    root: Path,
    sharing: Sharing,
    max_tokens: int,
    targets: Targets = ANSWERS,
    rationales: Rationales | None = None,
    subset: Subset | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Writes the training part of a split, or a subset of it, as shards below `root`; returns their folder.

    `train` are its responses, as `split.training_responses(subset=subset)` gives them.
    Shards that are there already are taken as they are, and so is what a build left that was killed.  With `sharing`
    "all", people with equal persona and item become one branch whose slots carry their counts, and equal beginnings of
    branches stand once; with "prefix" every response is a branch of its own.  With `targets.contrasts`, branches of arms
    and people without answers stand behind those with answers, and `cells.parquet` holds what people of `train` answered
    in each arm.  Prompts of more than `max_tokens`, and responses that have no targets of the kind asked for, are rejected
    and written out.
    Raises InputError if nothing is left to train on.
    """
    recipe = ShardRecipe(
        store_hash=store.content_hash,
        split=split.name,
        split_hash=split.content_hash,
        subset=subset,
        tokenizer_hash=tokenizer.content_hash,
        layout_hash=layout.digest,
        sharing=sharing,
        max_tokens=max_tokens,
        targets=targets,
        rationales_hash=rationales.content_hash if rationales else None,
    )
    folder = root / f"shards-{recipe.digest}"
    if (folder / "shards.json").is_file():
        return folder

    with _appears_whole(folder) as partial:
        tokens = partial / "tokens"
        tokens.mkdir(exist_ok=True)
        writer = ShardWriter(
            partial, kept=tokens, tokenizer=tokenizer, max_tokens=max_tokens, shares=sharing == "all"
        )
        _add_branches(writer, store, train, targets, layout=layout, rationales=rationales, progress=progress)
        counts = writer.close(where=f"{store.path}, split {split.name!r}")
        metadata = {
            "format": FORMAT_VERSION,
            "made_from": dataclasses.asdict(recipe),
            "layout": layout.to_dict(),
            **counts,
        }
        shutil.rmtree(tokens)
        (partial / "shards.json").write_text(json.dumps(metadata, indent=2) + "\n")
    return folder


def _add_branches(
    writer: ShardWriter,
    store: StudyStore,
    train: pl.DataFrame,
    targets: Targets,
    *,
    layout: Layout,
    rationales: Rationales | None,
    progress: Callable[[int, int], None],
) -> None:
    """Answers stand before contrasts, where both are trained on; the prompts of both are tokenized at once."""
    answers = None if targets.kind == "nothing" else train
    contrasts = None if targets.contrasts is None else contrast_table(train, store, targets.contrasts)
    arms = None if contrasts is None else arms_by_people(contrasts)
    columns = ["item_id", "study_id", "participant_id"]
    asked = pl.concat([rows.select(columns) for rows in (answers, arms) if rows is not None])
    writer.tokenize(Pairs.of_store(store, asked), layout=layout)
    if answers is not None:
        wanted = target_table(
            writer.placed(answers, first=0),
            store,
            targets,
            merged=writer.shares,
            alternatives=layout.alternatives,
            rationales=rationales,
        )
        writer.refuse(wanted.refused.iter_rows())
        writer.add_targets(wanted, progress=progress)
    if contrasts is not None:
        writer.refuse(contrasts.refused)
        first = 0 if answers is None else answers.height
        writer.add_contrasts(contrasts, writer.placed(arms, first=first), store.item_by_id)


@contextlib.contextmanager
def _appears_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name of `folder` when the block ends well.

    If it is killed, what is there stays for the next one.  While another process fills it, this one fills its own.
    """
    unfinished = folder.parent / f".{folder.name}.unfinished"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(only_writer(unfinished))
            unfinished.mkdir(exist_ok=True)
        except HeldError:
            unfinished = stack.enter_context(beside(folder))
        try:
            yield unfinished
        except InputError:
            shutil.rmtree(unfinished)
            raise
        try:
            unfinished.rename(folder)
        except OSError:
            # Else another process was faster with the same content.
            if not (folder / "shards.json").is_file():
                raise
            shutil.rmtree(unfinished)


@dataclasses.dataclass(frozen=True, eq=False)
class CellStatistics:
    """What people of the training part answered in each arm: mean, its standard error, number of answers."""

    mean: np.ndarray
    error: np.ndarray
    answers: np.ndarray


def _index(path: Path, *, hint: str) -> pl.DataFrame:
    try:
        with open_parquet(path, hint=hint) as opened:
            return to_polars(read_rows(opened, path, hint=hint), path, hint=hint)
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise unreadable(path, error, hint=hint) from error


class TreeShards:
    """A shard folder, read at random positions."""

    def __init__(self, folder: Path):
        """Raises InputError for a file that is missing or not of the size that was written."""
        self.folder = folder
        hint = f"delete {folder} and start again, it will be rebuilt from the study store"
        self.metadata = read_json_object(folder / "shards.json", hint=hint)
        if not isinstance(self.metadata.get("files"), dict):
            raise InputError(
                f"{folder / 'shards.json'}: files is {kind_of(self.metadata.get('files'))}; {hint}."
            )
        for name, size in self.metadata["files"].items():
            path = folder / name
            bytes_there = path.stat().st_size if path.is_file() else None
            if bytes_there != size:
                state = "missing" if bytes_there is None else f"{counted(bytes_there, 'byte')} long"
                raise InputError(
                    f"{path}: this training shard is {state}, {counted(size, 'byte was', 'bytes were')} written; "
                    f"delete {folder} and start again, it will be rebuilt from the study store."
                )
        self.branch_index = _index(folder / "branch_index.parquet", hint=hint)
        self.prefix_index = _index(folder / "prefix_index.parquet", hint=hint)
        self._branches = self._open("branches")
        self._prefixes = self._open("prefixes")
        self.cell_statistics: CellStatistics | None = None
        if self.metadata["cells"]:
            self._cells = _index(folder / "cells.parquet", hint=hint)
            self.cell_statistics = CellStatistics(
                *(self._cells[name].to_numpy() for name in ("mean", "error", "answers"))
            )

    def _open(self, kind: str):
        from grain.sources import ArrayRecordDataSource

        return ArrayRecordDataSource(
            [str(self.folder / n) for n in self.metadata["files"] if n.startswith(kind)]
        )

    @property
    def lengths(self) -> Lengths:
        return Lengths(
            prefix_tokens=self.prefix_index["tokens"].to_numpy(),
            branch_prefix=self.branch_index["prefix"].to_numpy(),
            branch_tokens=self.branch_index["tokens"].to_numpy(),
            branch_shared=self.branch_index["shared"].to_numpy(),
            branch_reads=self.branch_index["reads"].to_numpy(),
            branch_slots=self.branch_index["slots"].to_numpy(),
            branch_comparisons=self.branch_index["comparisons"].to_numpy(),
            answers_of_comparison=self.metadata["answers_of_comparison"],
            slots_of_answer=self.metadata["slots_of_answer"],
            **self._contrasts(),
        )

    def _contrasts(self) -> dict[str, np.ndarray]:
        if self.cell_statistics is None:
            return {}
        return {
            "branch_cell": self.branch_index["cell"].to_numpy(),
            "branch_person": self.branch_index["person"].to_numpy(),
            "cell_set": self._cells["set"].to_numpy(),
        }

    def prefix(self, index: int) -> np.ndarray:
        return np.frombuffer(self._read(self._prefixes, "prefixes", index), np.int32)

    def branch(self, index: int) -> Branch:
        return decode_branch(self._read(self._branches, "branches", index))

    def _read(self, source, kind: str, index: int) -> bytes:
        try:
            return source[index]
        except Exception as error:  # ArrayRecord checks every record, and has no exception of its own
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise InputError(
                f"{self.folder}: record {index} of {kind} is damaged ({reason}); delete this folder and start again, "
                "it will be rebuilt from the study store."
            ) from error
