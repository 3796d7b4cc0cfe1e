"""Sampling weights of rows: a row of weight 2 stands for two people."""

from __future__ import annotations

from typing import overload

import numpy as np

from socsci_jax.errors import InputError
from socsci_jax.wording import counted


class Weights:
    """Field of a dataclass for sampling weights [N]: may be given as None, in whose place `__post_init__` puts an array."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> None: ...
    @overload
    def __get__(self, instance: object, owner: type) -> np.ndarray: ...
    def __get__(self, instance: object | None, owner: type) -> np.ndarray | None:
        # What a dataclass finds at the class is the field's default.
        return None if instance is None else vars(instance)[self.name]

    def __set__(self, instance: object, value: np.ndarray | None) -> None:
        vars(instance)[self.name] = value


def check_weights(weights: np.ndarray, rows: int) -> np.ndarray:
    """Weights as floats [N]; InputError where one is negative or not finite, or all are 0."""
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (rows,):
        raise InputError(f"{weights.shape} weights for {counted(rows, 'row')}; give one for each row.")
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        raise InputError(
            f"Weight {weights[np.argmax(bad)]} in row {int(np.argmax(bad))}; weights are 0 or more."
        )
    if not weights.any():
        raise InputError("All weights are 0.")
    return weights
