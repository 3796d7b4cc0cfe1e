"""Checkpoints: state, data position and metrics saved as one, asynchronously, by Orbax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from socsci_jax.errors import InputError
from socsci_jax.models.modules import nested

# Orbax reports its every step as a warning; what matters comes as an exception.
absl.logging.set_verbosity(absl.logging.ERROR)


class Checkpoints:
    """The checkpoints of one run, newest last; a save returns before the files are written."""

    def __init__(self, folder: Path, *, keep: int | None = None):
        """Opens the folder for reading, or with `keep` for writing: then only so many are kept."""
        # Orbax raises from background threads for a relative path.
        self.folder = folder.resolve()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=keep is not None),
        )

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """All complete steps, newest last."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, *, state: Any, facts: dict) -> None:
        """`facts` holds what is not an array: data position, metrics, what the run is."""
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(state=ocp.args.PyTreeSave(state), facts=ocp.args.JsonSave(facts)),
        )

    def facts(self, step: int) -> dict:
        return self._manager.restore(step, args=ocp.args.Composite(facts=ocp.args.JsonRestore()))["facts"]

    def restore(self, step: int, *, abstract_state: Any) -> Any:
        """State of `step`, onto the shardings of `abstract_state`.

        Raises InputError if the files cannot be read or hold arrays of other names or shapes.
        """
        return self._restore(
            step,
            ocp.args.PyTreeRestore(
                item=abstract_state, restore_args=ocp.checkpoint_utils.construct_restore_args(abstract_state)
            ),
        )

    def restore_params(self, step: int, *, abstract_params: Any) -> Any:
        """Only the parameters of `step`; raises as `restore`."""
        item = {"params": abstract_params}
        arguments = ocp.args.PyTreeRestore(
            item=item,
            restore_args=ocp.checkpoint_utils.construct_restore_args(item),
            partial_restore=True,
        )
        return self._restore(step, arguments)["params"]

    def read_parameter(self, step: int, *, path: tuple[str, ...]) -> np.ndarray:
        """One parameter of `step`, whole on the host and in the dtype it was saved in; raises as `restore`."""
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
            restored = self._manager.restore(step, args=ocp.args.Composite(state=arguments))
        except (ValueError, KeyError, TypeError, OSError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise InputError(
                f"{self.folder / str(step)}: this checkpoint cannot be restored, it is damaged or of another "
                f"architecture ({reason}); remove that folder to go on from the one before."
            ) from error
        return restored["state"]

    def close(self) -> None:
        """Waits for saves under way."""
        self._manager.wait_until_finished()
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
