"""Records of training shards: branches as bytes, in ArrayRecord files that are read at random positions."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from socsci_jax.data.branch_targets import BranchTargets, Comparisons
from socsci_jax.data.trees import Branch, grow_branch
from socsci_jax.data.tries import AnswerTrie

RECORDS_PER_FILE = 1 << 17
_SIZES_BYTES = 6 * 4  # six int32 before a branch's ids


class RecordWriter:
    """ArrayRecord files of at most RECORDS_PER_FILE records each, named so that sorting gives their order.

    A file has its name once it is whole; one that is there already is taken to hold these records.
    """

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
            if not (self._folder / name).exists():
                # One record per group: every record is read on its own.
                self._writer = ArrayRecordWriter(os.fspath(self._partial(name)), "group_size:1")
        if self._writer is not None:
            self._writer.write(record)
        self._count += 1

    def _partial(self, name: str) -> Path:
        return self._folder / f"{name}.partial"

    def _close_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._partial(self._files[-1]).rename(self._folder / self._files[-1])

    def close(self) -> dict[str, None]:
        self._close_file()
        return dict.fromkeys(self._files)


def encode_branch(branch: Branch) -> bytes:
    comparisons = branch.comparisons
    sizes = np.array(
        [len(branch.ids), len(branch.read), len(branch.slot_id), *comparisons.path.shape], np.int32
    )
    integers = (sizes, branch.ids, branch.depth, branch.end, branch.read, branch.slot_read, branch.slot_id)
    floats = (
        branch.slot_weight,
        comparisons.target.reshape(-1),
        comparisons.gap.reshape(-1),
        comparisons.weight,
    )
    return (
        np.concatenate([*integers, comparisons.path.reshape(-1)]).astype(np.int32).tobytes()
        + np.concatenate(floats).astype(np.float32).tobytes()
    )


@dataclasses.dataclass(frozen=True, eq=False)
class RecordForm:
    """What records of branches have in common whose prompts are of one length and who are asked the same.

    `before` and `after` stand around the prompt's ids; the sizes are those of a branch, `answers` and `path` those of its
    comparisons.
    """

    before: bytes
    after: bytes
    tokens: int
    reads: int
    slots: int
    comparisons: int
    answers: int
    path: int
    responses: int

    @classmethod
    def of(cls, prompt_tokens: int, asked: BranchTargets, trie: AnswerTrie) -> RecordForm:
        compared = asked.comparisons(trie)
        prompt = np.zeros(prompt_tokens, np.int32)
        branch = grow_branch(prompt, trie, trie.edge_weights(asked.counts), compared)
        record = encode_branch(branch)
        return cls(
            before=record[:_SIZES_BYTES],
            after=record[_SIZES_BYTES + prompt.nbytes :],
            tokens=len(branch.ids),
            reads=len(branch.read),
            slots=len(branch.slot_id),
            comparisons=compared.count,
            answers=compared.path.shape[1],
            path=compared.path.shape[2],
            responses=round(sum(asked.counts)),
        )

    def record(self, prompt: np.ndarray) -> bytes:
        """The record of the branch of this prompt [n], int32."""
        return self.before + prompt.tobytes() + self.after


def decode_branch(record: bytes) -> Branch:
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
