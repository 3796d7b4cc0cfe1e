"""One module per kind of deposit; each writes a study store.  No JAX."""

from __future__ import annotations

import importlib
from pathlib import Path

from socsci_jax.errors import InputError
from socsci_jax.studies.store import StudyStore

# Module of `archives/` for each kind that has one; imported when such a deposit is built.
ARCHIVES = {
    "conjoint": "conjoint",
    "tess_archive": "tess",
    "socsci210": "socsci210",
    "text_classification": "documents",
    "subpop": "subpop",
    "opinionqa": "opinionqa",
    "twin2k": "twin2k",
    "transcripts": "transcripts",
}
KINDS = ("study", *ARCHIVES, "synthetic")


def build(
    kind: str,
    source: str,
    out: Path,
    *,
    command: str,
    replace: bool = False,
    allow: tuple[str, ...] = (),
) -> StudyStore:
    """Builds a study store from a deposit of the given kind; `allow` waives gates of the kind `study`.

    Raises InputError for an unknown kind, a source that cannot be read, or a study that a gate refuses.
    """
    if kind == "study":
        from data_pipelines.specified.build import build as build_study

        return build_study(Path(source), out, replace=replace, allow=allow)
    if allow:
        raise InputError(f"`allow=[{allow[0]}]`: gates are checked for kind 'study' only, not {kind!r}.")
    if kind in ARCHIVES:
        archive = importlib.import_module(f"data_pipelines.archives.{ARCHIVES[kind]}")
        return archive.build(Path(source), out, command=command, replace=replace)
    if kind == "synthetic":
        from data_pipelines.synthetic import documents as synthetic_documents
        from data_pipelines.synthetic import games
        from data_pipelines.synthetic import studies as synthetic

        if source == synthetic_documents.PRESET:
            return synthetic_documents.build(out, command=command, replace=replace)
        if source == games.PRESET:
            return games.build(out, command=command, replace=replace)
        if source not in synthetic.PRESETS:
            known = ", ".join((*synthetic.PRESETS, synthetic_documents.PRESET, games.PRESET))
            raise InputError(f"synthetic deposit {source!r} is not known; known are {known}.")
        return synthetic.build(out, config=synthetic.PRESETS[source], command=command, replace=replace)
    raise InputError(f"kind {kind!r} of deposit is not known; known are {', '.join(KINDS)}.")
