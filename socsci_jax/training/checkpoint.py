"""Checkpoints: state, data position and metrics saved as one, asynchronously, by Orbax; checked when they are read."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import absl.logging
import jax
import orbax.checkpoint as ocp
from etils import epath

from socsci_jax.distributed.peers import Peers
from socsci_jax.errors import BAD_INPUT, InputError, StorageFailed, ending
from socsci_jax.models.tensor_files import PIECE_BYTES
from socsci_jax.reading import parse_json_object
from socsci_jax.training.digest import device_digests, digest_texts, to_text
from socsci_jax.training.stored import (
    StoredParams,
    absolute,
    causes,
    failed_reading,
    in_short,
    restore_state,
)

# Orbax reports its every step as a warning, and errors with their stacks; what matters comes as an exception.
absl.logging.set_verbosity(absl.logging.FATAL)

# Where the digests stand among the facts of a checkpoint.
DIGESTS, FACTS_HASH = "digests", "sha256"
# Part of the names that Orbax gives to what is not complete.
TEMPORARY = ".orbax-checkpoint-tmp"
# What the facts of a checkpoint are called while it is removed.
REMOVED = f"{TEMPORARY}-removed"


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint as it was read; `damaged` says what is wrong with newer ones, newest first."""

    step: int
    state: Any
    facts: dict[str, Any]
    damaged: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run, newest last; a save returns before the files are written."""

    def __init__(self, folder: Path | epath.Path, *, keep: int | None = None, keep_every: int | None = None):
        """Opens the folder, on a disk or in object storage (gs://...), for reading, or with `keep` for writing.

        The newest `keep` are kept, and for good those of every `keep_every`-th step.
        """
        # Orbax raises from background threads for a relative path.
        self.folder = absolute(folder)
        self._keep, self._keep_every = keep, keep_every
        self._writer: ocp.AsyncCheckpointer | None = None
        self._threads = concurrent.futures.ThreadPoolExecutor(2)
        self._facts_under_way: concurrent.futures.Future | None = None
        if keep is not None:
            # Orbax's manager would do more, but waits for all processes also when one of them cannot write.
            self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
            if jax.process_index() == 0:
                self._begin_writing()

    def _begin_writing(self) -> None:
        """Takes away what was broken off; raises InputError if nothing can be written here."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"can-be-written{TEMPORARY}").write_text("")
            for broken_off in self.folder.glob(f"*{TEMPORARY}*"):
                if broken_off.name.endswith(REMOVED):
                    _remove(self.folder / broken_off.name.removesuffix(REMOVED))
                _remove(broken_off)
        except Exception as error:  # of many kinds: the file system's, or of the library for object storage
            raise InputError(
                f"{self.folder}: no checkpoints can be written here ({_reason(error)}); give another "
                "checkpoints.folder."
            ) from error

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
            # The facts first: one that is being removed has none, and may be gone at the next look.
            complete = (step for step in named if self._facts(step).is_file())
            return sorted(
                step for step in complete if ocp.utils.is_checkpoint_finalized(self.folder / str(step))
            )
        except Exception as error:  # of many kinds: the file system's, or of the library for object storage
            problem = f"{self.folder}: checkpoints cannot be read here ({_reason(error)})."
            raise failed_reading(self.folder, error, problem) from error

    def save(self, step: int, *, state: Any, facts: dict) -> None:
        """`facts` holds what is not an array: data position, metrics, what the run is.

        Returns once the state is copied; checksums are computed and files written while training goes on.  Raises
        as `check` if an earlier save could not be written.
        """
        self.wait()
        with self._said_if_not_written():
            # A run that goes on from an earlier checkpoint comes to this step again.
            if jax.process_index() == 0:
                self._facts(step).unlink(missing_ok=True)
            digests = device_digests(state)
            self._writer.save(
                self.folder / str(step),
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(
                        state, save_args=jax.tree_util.tree_map_with_path(_chunks, state)
                    )
                ),
                force=True,
            )
            if jax.process_index() == 0:
                # The caller may go on changing them.
                self._facts_under_way = self._threads.submit(
                    self._write_facts, step, copy.deepcopy(facts), digests
                )

    def _write_facts(self, step: int, facts: dict, digests: Any) -> None:
        facts = facts | {DIGESTS: digest_texts(digests)}
        partial = self.folder / f"{step}{TEMPORARY}-facts"
        partial.write_text(json.dumps(facts | {FACTS_HASH: _facts_hash(facts)}))
        partial.rename(self._facts(step))

    def check(self) -> None:
        """Raises InputError if a save under way could not be written, StorageFailed if that may pass."""
        with self._said_if_not_written():
            self._writer.check_for_errors()
            if self._facts_under_way is not None and self._facts_under_way.done():
                self._facts_under_way.result()

    def wait(self) -> None:
        """Waits for a save under way, and removes what need not be kept; raises as `check`."""
        with self._said_if_not_written():
            self._writer.wait_until_finished()
            if self._facts_under_way is not None:
                self._facts_under_way.result()
        self._remove_old()

    def _remove_old(self) -> None:
        if jax.process_index() != 0:
            return
        for step in self.steps()[: -self._keep]:
            if self._keep_every is None or step % self._keep_every:
                # Not complete at once, so that nobody reads half of it.  In object storage a folder has no name that
                # could be changed, but for every file in it.
                going = self.folder / f"{step}{REMOVED}"
                self._facts(step).rename(going)
                self._threads.submit(lambda *paths: list(map(_remove, paths)), self.folder / str(step), going)

    def _facts(self, step: int) -> epath.Path:
        """Its facts stand beside a checkpoint, and make it complete."""
        return self.folder / f"{step}.json"

    def facts(self, step: int) -> dict[str, Any]:
        """Raises InputError if they are not as they were written, StorageFailed if they cannot be had at present."""
        try:
            facts = parse_json_object(self._facts(step).read_bytes(), where="facts", finite=False)
            written = facts.pop(FACTS_HASH)
        except Exception as error:  # of many kinds: the file system's, or of the library for object storage
            problem = self._damaged(step, f"its facts cannot be read, {in_short(error)}")
            raise failed_reading(self.folder, error, problem) from error
        if written != _facts_hash(facts):
            raise InputError(self._damaged(step, "its facts are not as they were written"))
        return facts

    def restore_newest(self, *, abstract_state: Any, peers: Peers) -> Restored | None:
        """The newest checkpoint whose every array is as it was saved, onto the shardings of `abstract_state`.

        Newer ones that are damaged are set aside, into `damaged` within the folder, once a good one is found.  None
        if there is no checkpoint at all; InputError if all of them are damaged.  Storage that does not answer says
        nothing about a checkpoint: StorageFailed.
        """
        problems: dict[int, str] = {}
        for step in reversed(self.steps()):
            state, problem = None, None
            try:
                facts = self.facts(step)
                state = self._restore(step, abstract_state)
            except InputError as error:
                problem = str(error)
            # What one process cannot read, none may go on from.
            found = [p for p in peers.gather(problem, what="reading the checkpoint") if p]
            if not found:
                found = [p for p in [self._differences(step, state, facts)] if p]
            if not found:
                self._set_aside(problems, peers)
                return Restored(step, state, facts, tuple(problems.values()))
            problems[step] = found[0]
            del state
        if problems:
            raise InputError(
                f"{'; '.join(problems.values())}; no checkpoint of this run is whole: restore the folder from a "
                "copy, or delete it to start afresh."
            )
        return None

    def check_params(self, step: int, params: Any) -> None:
        """Raises InputError if these are not the parameters that were saved at `step`."""
        if problem := self._differences(step, {"params": params}, self.facts(step)):
            raise InputError(problem)

    def check_stored(self, step: int) -> None:
        """Reads all that was saved at `step`, a piece at a time; raises InputError if it is not what was saved."""
        written = self.facts(step)[DIGESTS]
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

    def _differences(self, step: int, state: Any, facts: dict[str, Any]) -> str | None:
        """What of a state, or of a part of it, is not as it was saved."""
        written = facts[DIGESTS]
        found = digest_texts(device_digests(state))
        wrong = [name for name, digest in found.items() if written.get(name) != digest]
        if not wrong:
            return None
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return self._damaged(step, f"{wrong[0]}{more} is not as it was saved")

    def _damaged(self, step: int, reason: str) -> str:
        return f"{self.folder / str(step)}: this checkpoint is damaged or of another architecture ({reason})"

    def _set_aside(self, problems: dict[int, str], peers: Peers) -> None:
        if not problems:
            return
        if peers.process_id == 0:
            aside = self.folder / "damaged"
            aside.mkdir(exist_ok=True)
            for step, problem in problems.items():
                name = f"{step}-{len(list(aside.glob(f'{step}-*.txt')))}"
                # Said first: in object storage a folder is there once something is in it.
                (aside / f"{name}.txt").write_text(f"{problem}\n")
                (self.folder / str(step)).rename(aside / name)
                self._facts(step).rename(aside / f"{name}.json")
        peers.gather(None, what="setting damaged checkpoints aside")

    @contextlib.contextmanager
    def _said_if_not_written(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of many kinds: Orbax's, TensorStore's, the file system's
            # What somebody must put right is known by its number; anything else may be otherwise the next time.
            kind = InputError if _known(error) else StorageFailed
            raise kind(
                f"{self.folder}: a checkpoint could not be written ({_reason(error)}); {self._where_to_go_on()}"
            ) from error

    def _where_to_go_on(self) -> str:
        try:
            latest = self.latest()
            last = "none" if latest is None else f"that of step {latest}"
        except (InputError, StorageFailed):
            last = "unknown"
        return f"the last complete checkpoint is {last}; start the same command again."

    @contextlib.contextmanager
    def translate_storage_errors(self, folder: Path) -> Iterator[None]:
        """What else is written in `folder` fails in the words of the disk, and with what is safe: InputError."""
        try:
            yield
        except OSError as error:
            reason, status = ending(error)
            if status != BAD_INPUT:
                raise
            where = "" if error.filename else f"{folder}: "
            raise InputError(f"{where}{reason}; {self._where_to_go_on()}") from error

    def close(self) -> None:
        """Waits for saves under way; raises as `check`."""
        if self._writer is not None:
            self.wait()
            self._writer.close()
            self._threads.shutdown()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
        elif jax.process_count() == 1:
            # What is under way can be finished, unless it needs processes that are gone.
            with contextlib.suppress(Exception):
                self.close()


def _remove(path: epath.Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            path.rmtree()
        else:
            path.unlink()


def _reason(error: BaseException) -> str:
    """What the file system said, wherever it stands, or the error itself."""
    said = _of_file_system(error)
    return in_short(error) if said is None else ending(said)[0]


def _known(error: BaseException) -> bool:
    """Whether it is one of the file system's errors that somebody must put right: no space, not allowed."""
    said = _of_file_system(error)
    return said is not None and ending(said)[1] == BAD_INPUT


def _of_file_system(error: BaseException) -> OSError | None:
    for cause in causes(error):
        if isinstance(cause, OSError):
            return cause
    # TensorStore's errors are no OSErrors, and name the number within a text.
    if number := re.search(r"os_error_code='(\d+)'", str(error)):
        return OSError(int(number[1]), os.strerror(int(number[1])))
    return None


def _chunks(path: Any, array: Any) -> ocp.SaveArgs:
    """How an array is cut on disk: by layers and into small pieces, so that readers need not hold whole parameters."""
    stacked = array.ndim and any(getattr(key, "key", None) == "layers" for key in path)
    return ocp.SaveArgs(shard_axes=(0,) if stacked else (), chunk_byte_size=PIECE_BYTES)


def _facts_hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
