"""Figures of a run as JSON lines and as TensorBoard scalars, written by the first process."""

from __future__ import annotations

import json
from typing import Any

import jax

from socsci_jax.training.run import RunFolder


class Log:
    """`history` holds the lines up to the checkpoint that the run goes on from; later ones will be written again."""

    def __init__(self, run: RunFolder, *, from_step: int):
        self._run = run
        lines = run.metrics.read_text().splitlines() if run.metrics.is_file() else []
        self.history: list[dict[str, Any]] = [
            figures for figures in map(json.loads, lines) if figures["step"] <= from_step
        ]

    def __enter__(self) -> Log:
        self._file = self._scalars = None
        if jax.process_index() != 0:
            return self
        from tensorboard.summary import Writer

        self._run.metrics.write_text("".join(json.dumps(figures) + "\n" for figures in self.history))
        self._file = self._run.metrics.open("a")
        self._scalars = Writer(str(self._run.tensorboard))
        return self

    def write(self, step: int, figures: dict[str, float]) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **figures}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._scalars.add_scalar(name, value, step=step)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._scalars.close()
