"""Drafting by rules: a folder with a survey file and an export becomes a specification, and nobody is asked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.drafting.asked import Reading, read_columns
from data_pipelines.drafting.design import Design, read_design
from data_pipelines.drafting.draft_tree import Rulings
from data_pipelines.drafting.outcomes import DraftOutcome, draft_outcomes
from data_pipelines.drafting.specify import specify
from data_pipelines.formats.qualtrics import Export, Questionnaire, read_export, read_questionnaire
from socsci_jax.errors import InputError
from socsci_jax.storage import new_file
from socsci_jax.studies.specification import Specification
from socsci_jax.studies.specification_files import render
from socsci_jax.wording import counted

_CSV = (".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz", ".zip")
# They lost rows of the header that link columns with questions, so they are read only where no CSV file fits.
_OTHER_TABLES = (".xlsx", ".xls", ".ods", ".sav", ".zsav", ".dta", ".rds")
_TABLES = (*_CSV, *_OTHER_TABLES)
# Pairs of files that are tried before a person is asked which belong together.
MOST_FILES = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuleDraft:
    """What rules found in a deposit, and the specification written from it."""

    specification: Specification | None
    design: Design
    reading: Reading
    outcomes: tuple[DraftOutcome, ...]
    survey_path: Path
    data_path: Path
    folder: Path

    def settled(self, *, reading: Reading, outcomes: tuple[DraftOutcome, ...], rulings: Rulings) -> RuleDraft:
        """The same draft after somebody decided what rules could not."""
        changed = dataclasses.replace(self, reading=reading, outcomes=outcomes)
        return dataclasses.replace(changed, specification=_specified(changed, rulings))


def draft_by_rules(deposit: str | Path) -> RuleDraft:
    """Drafts the specification of a Qualtrics deposit: a folder with a `.qsf` file and the export of its answers.

    Raises InputError where the folder holds no such pair, or several that fit equally well.
    """
    folder = Path(deposit)
    survey, export, survey_path = find_deposit(folder)
    design = read_design(survey, export)
    reading = read_columns(survey, export, survey_file=survey_path.name)
    outcomes = draft_outcomes(design, reading.asked)
    if not outcomes:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(reading.left_out.items())[:5])
        raise InputError(
            f"{export.path}: no column holds answers on a scale of {survey_path.name} ({reasons or 'none is linked'}); "
            "check that survey and export belong together."
        )
    draft = RuleDraft(
        specification=None,
        design=design,
        reading=reading,
        outcomes=outcomes,
        survey_path=survey_path,
        data_path=export.path,
        folder=folder,
    )
    return dataclasses.replace(draft, specification=_specified(draft, Rulings()))


def _specified(draft: RuleDraft, rulings: Rulings) -> Specification:
    name = re.sub(r"[^\w.]+", "_", draft.folder.resolve().name).strip("_") or "study"
    return specify(
        draft.design,
        draft.reading,
        draft.outcomes,
        name=name,
        data_path=str(draft.data_path.relative_to(draft.folder)),
        survey_path=str(draft.survey_path.relative_to(draft.folder)),
        rulings=rulings,
    )


def find_deposit(folder: Path) -> tuple[Questionnaire, Export, Path]:
    """The survey, the export and the survey's file of a folder, as `draft_by_rules` finds them."""
    survey_path, export = _pair(folder)
    return read_questionnaire(survey_path), export, survey_path


def _pair(folder: Path) -> tuple[Path, Export]:
    """The survey file and the export that share most questions."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: not a folder; give the deposit's folder, which holds a .qsf file and a table."
        )
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    surveys = [path for path in files if path.name.lower().endswith(".qsf")]
    tables = [path for path in files if path.name.lower().endswith(_TABLES)]
    if not surveys or not tables:
        missing = "a .qsf file" if not surveys else f"a table ({', '.join(_TABLES)})"
        raise InputError(
            f"{folder}: {missing} is missing; rules draft from a Qualtrics survey and its export, or "
            "from one table and its codebook. Write the specification of another deposit by hand."
        )
    if len(surveys) * len(tables) > MOST_FILES:
        raise InputError(
            f"{folder}: {counted(len(surveys), 'survey')} and {counted(len(tables), 'table')}; give a folder with one of each."
        )
    problems: list[str] = []
    fits = list(_fits(surveys, [t for t in tables if t.name.lower().endswith(_CSV)], problems))
    if not any(fit for fit, _, _ in fits):
        fits += _fits(surveys, [t for t in tables if t.name.lower().endswith(_OTHER_TABLES)], problems)
    if not fits:
        raise InputError(problems[0])
    best = max(fit for fit, _, _ in fits)
    chosen = [(survey, export) for fit, survey, export in fits if fit == best]
    if best == 0 or len(chosen) > 1:
        pairs = ", ".join(f"{survey.name} with {export.path.name}" for survey, export in chosen[:4])
        raise InputError(
            f"{folder}: {'no table shares a question with a survey' if best == 0 else 'several pairs fit equally well'} "
            f"({pairs}); give a folder with one survey and its export."
        )
    return chosen[0]


def _fits(
    surveys: Sequence[Path], tables: Sequence[Path], problems: list[str]
) -> Iterator[tuple[int, Path, Export]]:
    """How many columns of each table each survey explains; tables that cannot be read are listed under `problems`."""
    for survey_path in surveys if tables else ():
        survey = read_questionnaire(survey_path)
        for table in tables:
            try:
                export = read_export(table, survey)
            except InputError as error:
                problems.append(str(error))
                continue
            yield sum(c.role == "answer" for c in export.columns), survey_path, export


def check_free_draft(out: str | Path, *, replace: bool) -> None:
    """Raises InputError where the file is there already and is not to be replaced."""
    if Path(out).is_dir():
        raise InputError(f"{out} is a folder; name the file to write (study.yaml).")
    if Path(out).exists() and not replace:
        raise InputError(f"{out} exists already; choose another name or pass `replace=True`.")


def write_draft(specification: Specification, out: str | Path, *, replace: bool = False) -> None:
    """Writes the draft as YAML; raises InputError where the file is there already."""
    check_free_draft(out, replace=replace)
    with new_file(Path(out)) as partial:
        partial.write_text(render(specification), encoding="utf-8")
