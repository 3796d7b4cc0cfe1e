"""Reading the checkpoints of a run: which are complete, what they hold, and whether it is what was saved.

A checkpoint is a folder STEP of arrays and next to it STEP.json, its metadata, without which it is not complete: the
data position, metrics, and a checksum of every array.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import absl.logging
import orbax.checkpoint as ocp
from etils import epath

from socsci_jax.distributed.peers import Peers
from socsci_jax.errors import InputError, StorageFailed
from socsci_jax.reading import parse_json_object
from socsci_jax.training.digest import device_digests, digest_texts, to_text
from socsci_jax.training.storage_errors import absolute, failed_reading, in_short, reason
from socsci_jax.training.stored import StoredParams, restore_state

# Orbax reports its every step as a warning, and errors with their stacks; what matters comes as an exception.
absl.logging.set_verbosity(absl.logging.FATAL)

# Where the checksums of the arrays and that of the metadata itself stand among the metadata.
DIGESTS, METADATA_HASH = "digests", "sha256"


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint as it was read; `damaged` says what is wrong with newer ones, newest first."""

    step: int
    state: Any
    metadata: dict[str, Any]
    damaged: tuple[str, ...]


def metadata_file(folder: epath.Path, step: int) -> epath.Path:
    """The metadata of a checkpoint stand next to it, and make it complete."""
    return folder / f"{step}.json"


def metadata_hash(metadata: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()


class CheckpointReader:
    """The complete checkpoints of a folder, on a disk or in object storage (gs://...)."""

    def __init__(self, folder: Path | epath.Path | str):
        # Orbax raises from background threads for a relative path.
        self.folder = absolute(folder)

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return max(self.steps(), default=None)

    def steps(self) -> list[int]:
        """All complete steps, newest last.

        Raises InputError if the folder cannot be read, StorageFailed if that may pass.
        """
        try:
            try:
                listed = list(self.folder.iterdir()) if self.folder.is_dir() else []
            except FileNotFoundError:
                listed = []  # in object storage a folder is gone with its last file, also between these two looks
            named = (int(path.name) for path in listed if path.name.isdigit())
            # The metadata first: one that is being removed has none, and may be gone at the next look.
            complete = (step for step in named if metadata_file(self.folder, step).is_file())
            return sorted(
                step for step in complete if ocp.utils.is_checkpoint_finalized(self.folder / str(step))
            )
        except Exception as error:  # of many kinds: the file system's, or of the library for object storage
            problem = f"{self.folder}: checkpoints cannot be read here ({reason(error)})."
            raise failed_reading(self.folder, error, problem) from error

    def metadata(self, step: int) -> dict[str, Any]:
        """Raises InputError if they are not as they were written, StorageFailed if they cannot be had at present."""
        try:
            content = metadata_file(self.folder, step).read_bytes()
            metadata = parse_json_object(content, where="metadata", finite=False)
            written = metadata.pop(METADATA_HASH)
        except Exception as error:  # of many kinds: the file system's, or of the library for object storage
            problem = self._damaged(step, f"its metadata cannot be read, {in_short(error)}")
            raise failed_reading(self.folder, error, problem) from error
        if written != metadata_hash(metadata):
            raise InputError(self._damaged(step, "its metadata are not as they were written"))
        return metadata

    def restore_newest(self, *, abstract_state: Any, peers: Peers) -> Restored | None:
        """The newest checkpoint whose every array is as it was saved, onto the shardings of `abstract_state`.

        Newer ones that are damaged are quarantined, into `damaged` within the folder, once a good one is found.  None
        if there is no checkpoint at all; InputError if all of them are damaged.  Storage that does not answer says
        nothing about a checkpoint: StorageFailed.
        """
        problems: dict[int, str] = {}
        for step in reversed(self.steps()):
            state, problem = None, None
            try:
                metadata = self.metadata(step)
                state = self._restore(step, abstract_state)
            except InputError as error:
                problem = str(error)
            # What one process cannot read, none may resume from.
            reasons = [p for p in peers.gather(problem, what="reading the checkpoint") if p]
            if not reasons:
                reasons = [p for p in [self._differences(step, state, metadata)] if p]
            if not reasons:
                self._quarantine(problems, peers)
                return Restored(step, state, metadata, tuple(problems.values()))
            problems[step] = reasons[0]
            del state
        if problems:
            raise InputError(
                f"{'; '.join(problems.values())}; no checkpoint of this run is whole: restore the folder from a "
                "copy, or delete it to start afresh."
            )
        return None

    def check_params(self, step: int, params: Any) -> None:
        """Raises InputError if these are not the parameters that were saved at `step`."""
        if problem := self._differences(step, {"params": params}, self.metadata(step)):
            raise InputError(problem)

    def check_stored(self, step: int) -> None:
        """Reads all that was saved at `step`, a piece at a time; raises InputError if it is not what was saved."""
        written = self.metadata(step)[DIGESTS]
        stored = StoredParams(self.folder / str(step))
        for path in stored.arrays:
            name = "".join(f"[{part!r}]" for part in ("params", *path))
            if written.get(name) != to_text(stored.digest(path)):
                raise InputError(self._damaged(step, f"{name} is not as it was saved"))

    def _restore(self, step: int, abstract_state: Any) -> Any:
        try:
            return restore_state(self.folder / str(step), abstract_state)
        except (InputError, StorageFailed):
            raise
        except Exception as error:  # of many kinds: TensorStore's, the file system's, a broken tree's
            raise failed_reading(self.folder, error, self._damaged(step, in_short(error))) from error

    def _differences(self, step: int, state: Any, metadata: dict[str, Any]) -> str | None:
        """What of a state, or of a part of it, is not as it was saved."""
        written = metadata[DIGESTS]
        digests = digest_texts(device_digests(state))
        wrong = [name for name, digest in digests.items() if written.get(name) != digest]
        if not wrong:
            return None
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return self._damaged(step, f"{wrong[0]}{more} is not as it was saved")

    def _damaged(self, step: int, why: str) -> str:
        return f"{self.folder / str(step)}: this checkpoint is damaged or of another architecture ({why})"

    def _quarantine(self, problems: dict[int, str], peers: Peers) -> None:
        if not problems:
            return
        if peers.process_id == 0:
            quarantine = self.folder / "damaged"
            quarantine.mkdir(exist_ok=True)
            for step, problem in problems.items():
                name = f"{step}-{len(list(quarantine.glob(f'{step}-*.txt')))}"
                # The reason first: in object storage a folder is there once something is in it.
                (quarantine / f"{name}.txt").write_text(f"{problem}\n")
                (self.folder / str(step)).rename(quarantine / name)
                metadata_file(self.folder, step).rename(quarantine / f"{name}.json")
        peers.gather(None, what="quarantining damaged checkpoints")
