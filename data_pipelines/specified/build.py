"""Builds a study store from a specification and its deposit; gates decide whether it may be written."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from pathlib import Path

from data_pipelines.formats.tables import TABLE_FORMATS
from data_pipelines.gates import GateResult, check_gates
from data_pipelines.specified.deposit import Deposit
from data_pipelines.specified.problems import check_deposit
from data_pipelines.specified.study import BuiltStudy, build_study
from socsci_jax.errors import InputError
from socsci_jax.studies.specification import Specification
from socsci_jax.studies.specification_files import load_specification
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.wording import counted

SPECIFICATION = "study.yaml"


def build(source: Path, out: Path, *, replace: bool = False, allow: tuple[str, ...] = ()) -> StudyStore:
    """Writes the store that a specification (a file, or the folder that holds `study.yaml`) describes.

    The same specification and files give the same bytes.  The store keeps both hashes, the specification and what
    each gate found; gates in `allow` are waived, which is recorded.
    Raises InputError for a wrong specification, absent files or columns, and for a study that a gate refuses.
    """
    path = source / SPECIFICATION if source.is_dir() else source
    specification = load_specification(path)
    if not specification.files:
        raise InputError(
            f"{path}: names no files, so it describes an experiment that has not been run; a store needs answers."
        )
    deposit = Deposit(path.parent, specification)
    builder = StoreBuilder(
        attributes=attribute_names(specification),
        verbatim=free_texts(specification),
        source=specification.source or path.name,
        license=specification.license,
        command=f"socsci-jax data build study {path.name}" + "".join(f" --allow {gate}" for gate in allow),
    )
    check_deposit(specification, deposit, where=str(path))
    studies = [build_study(study_id, specification, deposit, builder) for study_id in specification.studies]
    for name in specification.files:
        if deposit.format(name) in TABLE_FORMATS:
            builder.notes += deposit.table(name).notes
    results = check_gates(studies, deposit, allow=allow)
    refused = [r for r in results if r.status == "failed"]
    if refused:
        raise _refused(path, refused)
    builder.metadata = {
        "specification": {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        "sources": {
            name: {"file": file.path, "sha256": deposit.sha256(name)}
            for name, file in specification.files.items()
        },
        "gates": [dataclasses.asdict(result) for result in results],
    }
    builder.files |= {SPECIFICATION: path.read_bytes(), "provenance.json": _provenance(studies)}
    for study in studies:
        for again in study.retests:
            builder.add_retest(again.item.item_id, again.person, again.value, occasion=again.occasion)
    return builder.write(out, replace=replace)


def attribute_names(specification: Specification) -> tuple[str, ...]:
    """Names of all studies' attributes, in the order of the first study that has them."""
    return tuple(dict.fromkeys(name for study in specification.studies.values() for name in study.attributes))


def free_texts(specification: Specification) -> tuple[str, ...]:
    """Names of the attributes that are texts to be shown as they stand."""
    told = {
        name
        for study in specification.studies.values()
        for name, a in study.attributes.items()
        if a.free_text
    }
    return tuple(name for name in attribute_names(specification) if name in told)


def _refused(path: Path, refused: list[GateResult]) -> InputError:
    lines = [f"{path}: not built, {counted(len(refused), 'gate refuses', 'gates refuse')} it:"]
    for result in refused:
        lines.append(f"  {result.gate} ({result.study}):")
        lines += [f"    {finding}" for finding in result.findings]
    gates = collections.Counter(result.gate for result in refused)
    lines.append(
        "  Correct the specification; or, where a finding is right as it is, build with "
        f"`allow=[{', '.join(gates)}]`, which the store records."
    )
    return InputError("\n".join(lines))


def _provenance(studies: list[BuiltStudy]) -> bytes:
    """Where each text of each study comes from: for the page on which a person reviews it."""
    places = {study.study_id: study.provenance for study in studies}
    return (json.dumps(places, indent=1, ensure_ascii=False) + "\n").encode()
