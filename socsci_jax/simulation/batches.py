"""Batches of chains that outlive the process: what is finished waits next to the file that is to be written."""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from socsci_jax.simulation.chunks import FinishedChunks
from socsci_jax.simulation.model import SimulationModel, params_hash
from socsci_jax.studies.chains import Chain
from socsci_jax.studies.prompts import Layout


def finished_batches(
    out: Path,
    kind: str,
    model: SimulationModel,
    layout: Layout,
    chains: Sequence[Chain],
    *,
    keys: Sequence[str] = (),
    seed: int = 0,
) -> FinishedChunks:
    """Where the batches of just this work wait; those of other models, texts, people or seeds are another folder's."""
    identity = {
        "model_hash": params_hash(model.params),
        "layout": layout.to_dict(),
        "seed": seed,
        "chains": _digest(chains, keys),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    return FinishedChunks(out.with_name(f"{out.name}.{kind}"), identity)


def in_batches(
    batches: Sequence[slice], compute: Callable[[slice], pl.DataFrame], *, kept: FinishedChunks | None
) -> Iterator[pl.DataFrame]:
    """The rows of each batch, in their order; of those that are kept only what is not there is computed."""
    if kept is None:
        yield from map(compute, batches)
        return
    kept.begin()
    there = kept.numbers()
    for number, batch in enumerate(batches):
        if number not in there:
            kept.write(number, compute(batch))
    yield from kept.read(len(batches))


def discard_batches(out: Path) -> None:
    """Removes what waits next to a file, once that is written."""
    for folder in out.parent.glob(f".{glob.escape(out.name)}.*.chunks-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _digest(chains: Sequence[Chain], keys: Sequence[str]) -> str:
    """SHA-256 of what is asked of whom."""
    ids: dict[int, list[str]] = {}
    digest = hashlib.sha256(json.dumps(list(keys)).encode())
    for chain in chains:
        items = ids.setdefault(id(chain.items), [item.item_id for item in chain.items])
        digest.update(json.dumps([items, dict(chain.persona)], sort_keys=True).encode())
    return digest.hexdigest()
