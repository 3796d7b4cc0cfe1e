"""Recording a few steps for TensorBoard's profiler."""

from __future__ import annotations

from pathlib import Path

import jax


class Profiler:
    """Records steps first..last (counted from 1), if any; the steps around them run ahead as ever."""

    def __init__(self, steps: tuple[int, int] | None, folder: Path):
        self._steps = steps
        self._folder = folder
        self._runs = False

    def before(self, step: int) -> None:
        """Call before step number `step` (counted from 0) is given to the devices."""
        if self._steps is not None and step + 1 == self._steps[0]:
            jax.profiler.start_trace(str(self._folder))
            self._runs = True

    def waits_for(self, step: int) -> bool:
        """Whether the recording ends once this step has."""
        return self._runs and step + 1 >= self._steps[1]

    def after(self, step: int) -> None:
        """Call once the devices have finished the step."""
        if self.waits_for(step):
            jax.profiler.stop_trace()
            self._runs = False

    def __enter__(self) -> Profiler:
        return self

    def __exit__(self, *_: object) -> None:
        if self._runs:
            jax.profiler.stop_trace()
