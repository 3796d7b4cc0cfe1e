"""Chains: several items that one persona is asked in one conversation, and what is predicted of all its answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from socsci_jax.studies.scale import Number
from socsci_jax.studies.schema import Item


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """Items in the order in which a persona is asked them; each answer stands in the conversation when the next is asked.

    `persona` holds attributes as a prompt shows them; None is not known.
    """

    items: tuple[Item, ...]
    persona: Mapping[str, str | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Joint:
    """Probabilities [L1, ..., LK] of all combinations of answers to a chain of K items; they sum to one.

    `answers[k]` are the answers to item k, levels first and then the alternatives that were offered.  `mass[k]` is what
    the model gave to these before renormalizing, averaged over the answers that went before.
    """

    answers: tuple[tuple[Number, ...], ...]
    probs: np.ndarray
    mass: tuple[float, ...]
