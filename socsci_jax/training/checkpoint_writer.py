"""Writing the checkpoints of a run: state, data position and metrics saved as one, asynchronously, by Orbax."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from socsci_jax.errors import BAD_INPUT, InputError, StorageFailed, ending
from socsci_jax.models.tensor_files import PIECE_BYTES
from socsci_jax.training.checkpoint_reader import (
    DIGESTS,
    METADATA_HASH,
    CheckpointReader,
    metadata_file,
    metadata_hash,
)
from socsci_jax.training.digest import device_digests, digest_texts
from socsci_jax.training.storage_errors import needs_somebody, reason

# Part of the names that Orbax gives to what is not complete.
TEMPORARY = ".orbax-checkpoint-tmp"
# What the metadata of a checkpoint are called while it is removed.
REMOVED = f"{TEMPORARY}-removed"


class CheckpointWriter:
    """Adds checkpoints to a folder, newest last; a save returns before the files are written."""

    def __init__(self, folder: Path | epath.Path | str, *, keep: int, keep_every: int | None = None):
        """Opens the folder, on a disk or in object storage (gs://...).

        The newest `keep` are kept, and for good those of every `keep_every`-th step.  Raises InputError if nothing can
        be written here.
        """
        self.reader = CheckpointReader(folder)
        self._folder = self.reader.folder
        self._keep, self._keep_every = keep, keep_every
        # Orbax's manager would do more, but waits for all processes also when one of them cannot write.
        self._arrays = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        self._threads = concurrent.futures.ThreadPoolExecutor(2)
        self._metadata_under_way: concurrent.futures.Future | None = None
        if jax.process_index() == 0:
            self._begin_writing()

    def _begin_writing(self) -> None:
        """Removes what is incomplete."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"can-be-written{TEMPORARY}").write_text("")
            for incomplete in self._folder.glob(f"*{TEMPORARY}*"):
                if incomplete.name.endswith(REMOVED):
                    _remove(self._folder / incomplete.name.removesuffix(REMOVED))
                _remove(incomplete)
        except Exception as error:  # of many kinds: the file system's, or of the library for object storage
            raise InputError(
                f"{self._folder}: no checkpoints can be written here ({reason(error)}); give another "
                "checkpoints.folder."
            ) from error

    def save(self, step: int, *, state: Any, metadata: dict[str, Any]) -> None:
        """Saves a pytree of arrays, and as `metadata` what is not an array: data position, metrics, what the run is.

        Returns once the state is copied; checksums are computed and files written while training continues.  Raises
        as `check` if an earlier save could not be written.
        """
        self.wait()
        with self._translate_failed_writing():
            # A run that resumes from an earlier checkpoint comes to this step again.
            if jax.process_index() == 0:
                metadata_file(self._folder, step).unlink(missing_ok=True)
            digests = device_digests(state)
            save_args = jax.tree_util.tree_map_with_path(_chunks, state)
            self._arrays.save(
                self._folder / str(step),
                args=ocp.args.Composite(state=ocp.args.PyTreeSave(state, save_args=save_args)),
                force=True,
            )
            if jax.process_index() == 0:
                # The caller may change them in the meantime.
                self._metadata_under_way = self._threads.submit(
                    self._write_metadata, step, copy.deepcopy(metadata), digests
                )

    def _write_metadata(self, step: int, metadata: dict[str, Any], digests: Any) -> None:
        metadata = metadata | {DIGESTS: digest_texts(digests)}
        partial = self._folder / f"{step}{TEMPORARY}-metadata"
        partial.write_text(json.dumps(metadata | {METADATA_HASH: metadata_hash(metadata)}))
        partial.rename(metadata_file(self._folder, step))

    def check(self) -> None:
        """Raises InputError if a save under way could not be written, StorageFailed if that may pass."""
        with self._translate_failed_writing():
            self._arrays.check_for_errors()
            if self._metadata_under_way is not None and self._metadata_under_way.done():
                self._metadata_under_way.result()

    def wait(self) -> None:
        """Waits for a save under way, and removes what need not be kept; raises as `check`."""
        with self._translate_failed_writing():
            self._arrays.wait_until_finished()
            if self._metadata_under_way is not None:
                self._metadata_under_way.result()
        self._remove_old()

    def _remove_old(self) -> None:
        if jax.process_index() != 0:
            return
        for step in self.reader.steps()[: -self._keep]:
            if self._keep_every is None or step % self._keep_every:
                # Not complete at once, so that nobody reads half of it.  In object storage a folder has no name that
                # could be changed, but for every file in it.
                removed = self._folder / f"{step}{REMOVED}"
                metadata_file(self._folder, step).rename(removed)
                self._threads.submit(
                    lambda *paths: list(map(_remove, paths)), self._folder / str(step), removed
                )

    @contextlib.contextmanager
    def _translate_failed_writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of many kinds: Orbax's, TensorStore's, the file system's
            # What somebody must put right is known by its number; anything else may be otherwise the next time.
            kind = InputError if needs_somebody(error) else StorageFailed
            raise kind(
                f"{self._folder}: a checkpoint could not be written ({reason(error)}); {self._where_to_resume()}"
            ) from error

    def _where_to_resume(self) -> str:
        try:
            latest = self.reader.latest()
            last = "none" if latest is None else f"that of step {latest}"
        except (InputError, StorageFailed):
            last = "unknown"
        return f"the last complete checkpoint is {last}; start the same command again."

    @contextlib.contextmanager
    def translate_storage_errors(self, folder: Path) -> Iterator[None]:
        """Turns what the disk refuses elsewhere in `folder` into an InputError that says what is safe."""
        try:
            yield
        except OSError as error:
            why, status = ending(error)
            if status != BAD_INPUT:
                raise
            where = "" if error.filename else f"{folder}: "
            raise InputError(f"{where}{why}; {self._where_to_resume()}") from error

    def close(self) -> None:
        """Waits for saves under way; raises as `check`."""
        self.wait()
        self._arrays.close()
        self._threads.shutdown()

    def __enter__(self) -> CheckpointWriter:
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


def _chunks(path: Any, array: Any) -> ocp.SaveArgs:
    """How an array is cut on disk: by layers and into small pieces, so that readers need not hold whole parameters."""
    stacked = array.ndim and any(getattr(key, "key", None) == "layers" for key in path)
    return ocp.SaveArgs(shard_axes=(0,) if stacked else (), chunk_byte_size=PIECE_BYTES)
