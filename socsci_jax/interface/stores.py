"""Stores of the public interface: opened, built, split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore


def open_store(path: str | Path) -> StudyStore:
    """Opens a study store on disk; its tables are read when they are used.

    Raises InputError if there is none, or if it is damaged or of another schema version.
    """
    return StudyStore(path)


def build_store(kind: str, source: str | Path, out: str | Path, *, replace: bool = False) -> StudyStore:
    """Turns a deposit into a study store; what cannot be read is counted and kept in its `rejects`.

    Args:
      kind: what the deposit is; an unknown one raises an error that lists the known ones.
      source: the deposit's folder or file; for "synthetic" the name of a preset.
      out: folder of the store to write.
      replace: replaces a store that is there.

    Raises InputError if the source cannot be read as such a deposit, or holds no answer that can be used.
    """
    import data_pipelines

    command = f"socsci_jax.build_store({kind!r}, {str(source)!r}, {str(out)!r})"
    return data_pipelines.build(kind, str(source), Path(out), command=command, replace=replace)


def split_store(
    store: StudyStore,
    *,
    name: str = "main",
    seed: int = 0,
    studies: float | Sequence[str] | None = None,
    conditions: float | None = None,
    outcomes: float | None = None,
    participants: float | None = None,
    validation: float | None = None,
    replace: bool = False,
) -> Split:
    """Holds out studies, conditions, outcomes and participants by seed, saves the split in the store, and returns it.

    Args:
      store: the store whose answers are divided.
      name: name of the split in the store; recipes and `store.split` find it by this.
      seed: of every draw.
      studies: share of the studies, between 0 and 1, or a list of their ids.
      conditions: share of the conditions within each study that is not itself held out, at least one and never all.
      outcomes: the same of outcomes.
      participants: share of the participants within each study.
      validation: share of the training part's participants by which checkpoints are chosen.
      replace: replaces a split of this name.

    Raises InputError for a share out of range, an unknown study id, or a split that holds out nothing.
    """
    from socsci_jax.studies.split_making import make_split

    split = make_split(
        store,
        name=name,
        seed=seed,
        studies=studies,
        conditions=conditions,
        outcomes=outcomes,
        participants=participants,
        validation=validation,
    )
    split.save(replace=replace)
    return split
