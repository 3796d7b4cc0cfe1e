"""Training shards: prompt trees tokenized once, in ArrayRecord files that are read at random positions.

A shard folder holds prefixes and branches as records, an index of their lengths, the prompts that were rejected,
and `shards.json`.  It is named by the hash of what it was made from, so that equal input is never tokenized twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from socsci_jax.data.plan import Lengths, shared_with_previous
from socsci_jax.data.prompt_table import SortedTokens, sort_by_tokens, tokenize_prompts
from socsci_jax.data.rationales import Rationales
from socsci_jax.data.targets import ANSWERS, Comparisons, Targets, target_table
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.data.trees import Branch, grow_branch
from socsci_jax.data.tries import AnswerTrie, build_trie
from socsci_jax.errors import InputError
from socsci_jax.foreign_text import write_csv
from socsci_jax.reading import kind_of, read_json_object
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.splits import Split, Subset
from socsci_jax.studies.store import StudyStore

FORMAT_VERSION = 4
RECORDS_PER_FILE = 1 << 17

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

    `train` are its responses, as `split.training_responses(store, subset=subset)` gives them.
    Shards that are there already are taken as they are.  With `sharing` "all", people with equal persona and item
    become one branch whose slots carry their counts, and equal beginnings of branches stand once; with "prefix"
    every response is a branch of its own.  Prompts of more than `max_tokens`, and responses that have no targets of
    the kind asked for, are rejected and written out.
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

    table = tokenize_prompts(Pairs.of_store(store, train), layout=layout, tokenizer=tokenizer)
    # Prompts by their tokens: neighbors share the longest beginnings.
    by_tokens = sort_by_tokens(table.prompts)
    placed = train.with_columns(
        prefix=pl.Series(table.pair_prefix), rank=pl.Series(by_tokens.rank[table.pair_prompt])
    )
    wanted = target_table(
        placed,
        store,
        targets,
        merged=sharing == "all",
        alternatives=layout.alternatives,
        rationales=rationales,
    )

    root.mkdir(parents=True, exist_ok=True)
    partial = root / f".{folder.name}.partial-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        rejects = [
            _reject(place=item_id, reason=reason, responses=responses)
            for item_id, reason, responses in wanted.refused.iter_rows()
        ]
        tries: dict[tuple[str, ...], AnswerTrie] = {}
        columns = ("prefix", "rank", "tokens", "reads", "slots", "comparisons", "responses")
        answers_of_comparison = slots_of_answer = 0
        rows: dict[str, list] = {name: [] for name in columns}
        kept_prefixes: dict[int, int] = {}
        writer = _RecordWriter(partial, "branches")
        for n, ((prefix, rank), asked) in enumerate(zip(wanted.branches.iter_rows(), wanted.targets)):
            if n % 4096 == 0:
                progress(n, len(wanted.targets))
            trie = tries.get(asked.texts)
            if trie is None:
                answers = tokenizer.encode_batch(list(asked.texts))
                trie = tries[asked.texts] = build_trie(answers, end_id=tokenizer.end_of_answer_id)
            branch = grow_branch(
                table.prompts[by_tokens.order[rank]],
                trie,
                trie.edge_weights(asked.counts),
                asked.comparisons(trie),
            )
            responses = round(sum(asked.counts))
            tokens = len(table.prefixes[prefix]) + len(branch.ids)
            if tokens > max_tokens:
                reason = f"prompt of {tokens} tokens, {max_tokens} allowed"
                rejects.append(_reject(place=table.prefix_key[prefix], reason=reason, responses=responses))
                continue
            rows["prefix"].append(kept_prefixes.setdefault(prefix, len(kept_prefixes)))
            rows["rank"].append(rank)
            rows["tokens"].append(len(branch.ids))
            rows["reads"].append(len(branch.read))
            rows["slots"].append(len(branch.slot_id))
            rows["comparisons"].append(branch.comparisons.count)
            rows["responses"].append(responses)
            answers_of_comparison = max(answers_of_comparison, branch.comparisons.path.shape[1])
            slots_of_answer = max(slots_of_answer, branch.comparisons.path.shape[2])
            writer.write(_encode_branch(branch))
        progress(len(wanted.targets), len(wanted.targets))
        files = writer.close()
        if not rows["prefix"]:
            raise InputError(
                f"{store.path}, split {split.name!r}: nothing is left to train on; the first reason of "
                f"{len(rejects)}: {rejects[0]['place']}: {rejects[0]['reason']}."
            )
        prefix_writer = _RecordWriter(partial, "prefixes")
        for prefix in kept_prefixes:
            prefix_writer.write(table.prefixes[prefix].astype(np.int32).tobytes())
        files |= prefix_writer.close()
        shared = (
            _shared_with_previous(by_tokens, rows) if sharing == "all" else np.zeros(len(rows["rank"]), int)
        )
        index = pl.DataFrame({**rows, "shared": shared}).drop("rank")
        index.write_parquet(partial / "branch_index.parquet")
        pl.DataFrame(
            {
                "key": [table.prefix_key[p] for p in kept_prefixes],
                "tokens": [len(table.prefixes[p]) for p in kept_prefixes],
            }
        ).write_parquet(partial / "prefix_index.parquet")
        table_of_rejects = pl.DataFrame(rejects, schema=["kind", "place", "reason", "record"], orient="row")
        write_csv(table_of_rejects, partial / "rejects.csv")
        metadata = {
            "format": FORMAT_VERSION,
            "made_from": dataclasses.asdict(recipe),
            "layout": layout.to_dict(),
            "prefixes": len(kept_prefixes),
            "branches": len(rows["prefix"]),
            "responses": sum(rows["responses"]),
            "rejected": len(rejects),
            "answers_of_comparison": answers_of_comparison,
            "slots_of_answer": slots_of_answer,
            "files": {name: (partial / name).stat().st_size for name in files},
        }
        (partial / "shards.json").write_text(json.dumps(metadata, indent=2) + "\n")
        try:
            partial.rename(folder)
        except OSError:
            if not (
                folder / "shards.json"
            ).is_file():  # else another process was faster with the same content
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _reject(*, place: str, reason: str, responses: int) -> dict[str, str]:
    return {
        "kind": "response",
        "place": place,
        "reason": reason,
        "record": json.dumps({"responses": responses}),
    }


def _shared_with_previous(by_tokens: SortedTokens, rows: dict[str, list]) -> np.ndarray:
    """First tokens that each branch has in common with the one before it in the index; 0 across prefixes."""
    prefix, rank = np.array(rows["prefix"]), np.array(rows["rank"])
    shared = shared_with_previous(by_tokens.shared, rank)
    shared[1:][prefix[1:] != prefix[:-1]] = 0
    return shared


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
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                state = "missing" if found is None else f"{found} bytes long"
                raise InputError(
                    f"{path}: this training shard is {state}, {size} bytes were written; "
                    f"delete {folder} and start again, it will be rebuilt from the study store."
                )
        self.branch_index = pl.read_parquet(folder / "branch_index.parquet")
        self.prefix_index = pl.read_parquet(folder / "prefix_index.parquet")
        self._branches = self._open("branches")
        self._prefixes = self._open("prefixes")

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
        )

    def prefix(self, index: int) -> np.ndarray:
        return np.frombuffer(self._read(self._prefixes, "prefixes", index), np.int32)

    def branch(self, index: int) -> Branch:
        return _decode_branch(self._read(self._branches, "branches", index))

    def _read(self, source, kind: str, index: int) -> bytes:
        try:
            return source[index]
        except Exception as error:  # ArrayRecord checks every record, and has no exception of its own
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise InputError(
                f"{self.folder}: record {index} of {kind} is damaged ({reason}); delete this folder and start again, "
                "it will be rebuilt from the study store."
            ) from error


class _RecordWriter:
    """ArrayRecord files of at most RECORDS_PER_FILE records each, named so that sorting gives their order."""

    def __init__(self, folder: Path, kind: str):
        self._folder, self._kind = folder, kind
        self._files: list[str] = []
        self._writer = None
        self._count = 0

    def write(self, record: bytes) -> None:
        from array_record.python.array_record_module import ArrayRecordWriter

        if self._count % RECORDS_PER_FILE == 0:
            self._close_file()
            name = f"{self._kind}-{len(self._files):05d}.array_record"
            self._files.append(name)
            # One record per group: every record is read on its own.
            self._writer = ArrayRecordWriter(os.fspath(self._folder / name), "group_size:1")
        self._writer.write(record)
        self._count += 1

    def _close_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def close(self) -> dict[str, None]:
        self._close_file()
        return dict.fromkeys(self._files)


def _encode_branch(branch: Branch) -> bytes:
    found = branch.comparisons
    sizes = np.array([len(branch.ids), len(branch.read), len(branch.slot_id), *found.path.shape], np.int32)
    integers = (sizes, branch.ids, branch.depth, branch.end, branch.read, branch.slot_read, branch.slot_id)
    floats = (branch.slot_weight, found.target.reshape(-1), found.gap.reshape(-1), found.weight)
    return (
        np.concatenate([*integers, found.path.reshape(-1)]).astype(np.int32).tobytes()
        + np.concatenate(floats).astype(np.float32).tobytes()
    )


def _decode_branch(record: bytes) -> Branch:
    numbers = np.frombuffer(record, np.int32)
    s, r, a, *shape = (int(n) for n in numbers[:6])
    c, answers, path = shape
    lengths = [s, s, s, r, a, a, c * answers * path, a, c * answers, c * answers]
    parts = np.split(numbers[6:], np.cumsum(lengths))
    weight, target, gap, compared = (part.view(np.float32) for part in parts[7:])
    return Branch(
        ids=parts[0],
        depth=parts[1],
        end=parts[2],
        read=parts[3],
        slot_read=parts[4],
        slot_id=parts[5],
        slot_weight=weight,
        comparisons=Comparisons(
            path=parts[6].reshape(shape),
            target=target.reshape(c, answers),
            gap=gap.reshape(c, answers),
            weight=compared,
        ),
    )
