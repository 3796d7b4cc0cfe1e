"""Records of training shards: branches as bytes, in ArrayRecord files that are read at random positions."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from socsci_jax.data.targets import Comparisons
from socsci_jax.data.trees import Branch

RECORDS_PER_FILE = 1 << 17


class RecordWriter:
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


def encode_branch(branch: Branch) -> bytes:
    found = branch.comparisons
    sizes = np.array([len(branch.ids), len(branch.read), len(branch.slot_id), *found.path.shape], np.int32)
    integers = (sizes, branch.ids, branch.depth, branch.end, branch.read, branch.slot_read, branch.slot_id)
    floats = (branch.slot_weight, found.target.reshape(-1), found.gap.reshape(-1), found.weight)
    return (
        np.concatenate([*integers, found.path.reshape(-1)]).astype(np.int32).tobytes()
        + np.concatenate(floats).astype(np.float32).tobytes()
    )


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
