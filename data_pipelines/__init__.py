"""One module per kind of deposit; each writes a study store.  No JAX."""

from __future__ import annotations

from pathlib import Path

from socsci_jax.errors import InputError
from socsci_jax.studies.store import StudyStore

KINDS = (
    *("study", "conjoint", "tess_archive", "socsci210", "text_classification"),
    *("subpop", "opinionqa", "twin2k", "transcripts", "synthetic"),
)


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
        raise InputError(f"--allow {allow[0]}: gates are checked for kind 'study' only, not {kind!r}.")
    if kind == "conjoint":
        from data_pipelines.archives import conjoint

        return conjoint.build(Path(source), out, command=command, replace=replace)
    if kind == "tess_archive":
        from data_pipelines.archives import tess as tess_archive

        return tess_archive.build(Path(source), out, command=command, replace=replace)
    if kind == "socsci210":
        from data_pipelines.archives import socsci210

        return socsci210.build(Path(source), out, command=command, replace=replace)
    if kind == "text_classification":
        from data_pipelines.archives import documents as text_classification

        return text_classification.build(Path(source), out, command=command, replace=replace)
    if kind == "subpop":
        from data_pipelines.archives import subpop

        return subpop.build(Path(source), out, command=command, replace=replace)
    if kind == "opinionqa":
        from data_pipelines.archives import opinionqa

        return opinionqa.build(Path(source), out, command=command, replace=replace)
    if kind == "twin2k":
        from data_pipelines.archives import twin2k

        return twin2k.build(Path(source), out, command=command, replace=replace)
    if kind == "transcripts":
        from data_pipelines.archives import transcripts

        return transcripts.build(Path(source), out, command=command, replace=replace)
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
