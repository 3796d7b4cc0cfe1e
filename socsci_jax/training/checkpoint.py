"""Checkpoints: state, data position and metrics saved as one, asynchronously, by Orbax; checked when they are read."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from socsci_jax.errors import InputError, ending
from socsci_jax.models.modules import nested
from socsci_jax.peers import Peers
from socsci_jax.training.digest import digest_texts

# Orbax reports its every step as a warning; what matters comes as an exception.
absl.logging.set_verbosity(absl.logging.ERROR)

# Where the digests stand among the facts of a checkpoint.
DIGESTS, FACTS_HASH = "digests", "sha256"


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint as it was read; `damaged` says what is wrong with newer ones, newest first."""

    step: int
    state: Any
    facts: dict[str, Any]
    damaged: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run, newest last; a save returns before the files are written."""

    def __init__(self, folder: Path, *, keep: int | None = None, keep_every: int | None = None):
        """Opens the folder for reading, or with `keep` for writing.

        The newest `keep` are kept, and for good those of every `keep_every`-th step.
        """
        # Orbax raises from background threads for a relative path.
        self.folder = folder.resolve()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, keep_period=keep_every, create=keep is not None
            ),
        )

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """All complete steps, newest last."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, *, state: Any, facts: dict) -> None:
        """`facts` holds what is not an array: data position, metrics, what the run is.

        Raises InputError if an earlier save could not be written.
        """
        if step in self._manager.all_steps():
            return
        facts = facts | {DIGESTS: digest_texts(state)}
        with self._said_if_not_written(step):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state),
                    facts=ocp.args.JsonSave(facts | {FACTS_HASH: _facts_hash(facts)}),
                ),
            )

    def check(self) -> None:
        """Raises InputError if a save under way could not be written."""
        with self._said_if_not_written(None):
            self._manager.check_for_errors()

    def wait(self) -> None:
        """Waits for saves under way; raises as `check`."""
        with self._said_if_not_written(None):
            self._manager.wait_until_finished()

    def facts(self, step: int) -> dict[str, Any]:
        """Raises InputError if they are not as they were written."""
        try:
            path = self.folder / str(step) / "facts" / "metadata"
            facts = json.loads(path.read_text())
            written = facts.pop(FACTS_HASH)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(self._damaged(step, f"its facts cannot be read, {error}")) from error
        if written != _facts_hash(facts):
            raise InputError(self._damaged(step, "its facts are not as they were written"))
        return facts

    def restore_newest(self, *, abstract_state: Any, peers: Peers) -> Restored | None:
        """The newest checkpoint whose every array is as it was saved, onto the shardings of `abstract_state`.

        Newer ones that are damaged are set aside, into `damaged` beside the folder, once a good one is found.  None
        if there is no checkpoint at all; InputError if all of them are damaged.
        """
        problems: dict[int, str] = {}
        for step in reversed(self.steps()):
            state, problem = None, None
            try:
                facts = self.facts(step)
                state = self._restore(step, _onto(abstract_state))
            except InputError as error:
                problem = str(error)
            # What one process cannot read, none may go on from.
            found = [p for p in peers.gather(problem, what="reading the checkpoint") if p]
            if not found:
                found = [p for p in [self._differences(step, {"": state}, facts)] if p]
            if not found:
                self._set_aside(list(problems), peers)
                return Restored(step, state, facts, tuple(problems.values()))
            problems[step] = found[0]
            del state
        if problems:
            raise InputError(
                f"{'; '.join(problems.values())}; no checkpoint of this run is whole: restore the folder from a "
                "copy, or delete it to start afresh."
            )
        return None

    def restore_params(self, step: int, *, abstract_params: Any) -> Any:
        """Only the parameters of `step`; raises InputError if they are not as they were saved."""
        item = {"params": abstract_params}
        params = self._restore(step, _onto(item, partial=True))["params"]
        if problem := self._differences(step, {"['params']": params}, self.facts(step)):
            raise InputError(problem)
        return params

    def read_parameter(self, step: int, *, path: tuple[str, ...]) -> np.ndarray:
        """One parameter of `step`, whole on the host and in the dtype it was saved in; raises InputError if it cannot be read."""
        item = {"params": nested({path: 0})}
        arguments = ocp.args.PyTreeRestore(
            item=item,
            restore_args={"params": nested({path: ocp.RestoreArgs(restore_type=np.ndarray)})},
            partial_restore=True,
        )
        [parameter] = jax.tree.leaves(self._restore(step, arguments))
        return parameter

    def _restore(self, step: int, arguments: Any) -> Any:
        try:
            # Not through the manager: it would wait for processes that have failed to read.
            return ocp.PyTreeCheckpointHandler().restore(self.folder / str(step) / "state", args=arguments)
        except Exception as error:  # of many kinds: Orbax's, TensorStore's, the file system's
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise InputError(self._damaged(step, reason)) from error

    def _differences(self, step: int, trees: dict[str, Any], facts: dict[str, Any]) -> str | None:
        written = facts[DIGESTS]
        wrong = [
            name
            for root, tree in trees.items()
            for path, digest in digest_texts(tree).items()
            if written.get(name := root + path) != digest
        ]
        if not wrong:
            return None
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return self._damaged(step, f"{wrong[0]}{more} is not as it was saved")

    def _damaged(self, step: int, reason: str) -> str:
        return f"{self.folder / str(step)}: this checkpoint is damaged or of another architecture ({reason})"

    def _set_aside(self, steps: list[int], peers: Peers) -> None:
        if not steps:
            return
        if peers.process_id == 0:
            aside = self.folder.parent / "damaged"
            aside.mkdir(exist_ok=True)
            for step in steps:
                number = sum(1 for other in aside.iterdir() if other.name.startswith(f"{step}-"))
                (self.folder / str(step)).rename(aside / f"{step}-{number}")
        peers.gather(None, what="setting damaged checkpoints aside")
        self._manager.reload()

    def _said_if_not_written(self, step: int | None) -> _SaidIfNotWritten:
        return _SaidIfNotWritten(self, step)

    def close(self) -> None:
        """Waits for saves under way; raises as `check`."""
        self.wait()
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
        elif jax.process_count() == 1:
            # What is under way can be finished, unless it needs processes that are gone.
            with contextlib.suppress(Exception):
                self.close()


class _SaidIfNotWritten:
    def __init__(self, checkpoints: Checkpoints, step: int | None):
        self._checkpoints, self._step = checkpoints, step

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            return
        steps = self._checkpoints.steps()
        folder = self._checkpoints.folder
        raise InputError(
            f"{folder}: a checkpoint could not be written ({_reason(error)}); the last complete one is "
            f"{f'that of step {steps[-1]}' if steps else 'none'}: make room, and start the same command again."
        ) from error


def _reason(error: BaseException) -> str:
    """What the file system said, wherever in the chain of exceptions it stands."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, OSError):
            return ending(cause)[0]
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _onto(abstract: Any, *, partial: bool = False) -> Any:
    return ocp.args.PyTreeRestore(
        item=abstract,
        restore_args=ocp.checkpoint_utils.construct_restore_args(abstract),
        partial_restore=partial,
    )


def _facts_hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
