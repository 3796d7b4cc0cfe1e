"""The fuzzed readers of deposits: files of every format, archives, surveys, studies with a specification, reviews.

Whole inputs are those of the tests.
"""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from benchmarks.fuzz_readers import Reader, make_store

_TESTS = Path(__file__).resolve().parent.parent / "tests"


def _of_tests(name: str) -> ModuleType:
    if str(_TESTS) not in sys.path:
        sys.path.insert(0, str(_TESTS))
    return importlib.import_module(name)


# --- one file -----------------------------------------------------------------------------------------------------------


def _makes_file(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for path in _of_tests("deposit_files").samples(folder):
            if path.suffix != suffix:
                path.unlink()

    return make


def _read_file(folder: Path) -> object:
    from data_pipelines.formats.documents import read_document
    from data_pipelines.formats.tables import read_table
    from socsci_jax.studies.specification import SourceFile

    (path,) = folder.glob("a.*")
    if path.suffix in (".docx", ".pdf", ".md"):
        return read_document(path, kind="text" if path.suffix == ".md" else path.suffix[1:])
    return read_table(path, SourceFile(path=path.name))


# --- a deposit ----------------------------------------------------------------------------------------------------------


def _builds(kind: str, source: str = "deposit") -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        import data_pipelines

        return data_pipelines.build(kind, str(folder / source), folder / "out", command="fuzz", replace=True)

    return read


def _make_documents(folder: Path) -> None:
    from data_pipelines.archives.document_codebook import CODEBOOK, DOCUMENTS

    deposit = folder / "deposit"
    deposit.mkdir()
    labels = [{"code": 1, "label": "Traffic"}, {"code": 2, "label": "Parks", "definition": "and ponds"}]
    variable = {"name": "topic", "question": "What is it about?", "labels": labels}
    (deposit / CODEBOOK).write_text(
        yaml.safe_dump({"title": "Letters", "variables": [variable]}, sort_keys=False)
    )
    rows = "".join(f'letter-{i},ada,"Dear council, letter {i}.",{1 + i % 2}\n' for i in range(8))
    (deposit / DOCUMENTS).write_text("id,coder,text,topic\n" + rows)


def _make_tess(folder: Path) -> None:
    deposit = folder / "deposit"
    deposit.mkdir()
    (deposit / "conditions.csv").write_text(
        "study,title,condition.name,condition.text,blurb,Exclude\n"
        'kites,Kites,control,,"You walk in a park.",0\nkites,,warning,"A sign says no kites.","You walk in a park.",0\n'
    )
    (deposit / "outcomes.csv").write_text(
        "study,title,outcome.name,outcome.text,outcome.scale,outcome.limits,outcome.lower,outcome.upper,exclude\n"
        'kites,,anger,How angry?,"1 Calm\n2 Neither\n3 Angry",1-3,,,0\n'
    )
    header = (
        "study,outcome.name,y,condition.name,GENDER,race_4,pid_3,age_5,EDUC4,ideo_3,outcome.min,outcome.max\n"
    )
    rows = "".join(
        f"kites,anger,{1 + i % 3},{'warning' if i % 2 else 'control'},Male,White,Democrat,Old,BA,Liberal,1,3\n"
        for i in range(12)
    )
    (deposit / "responses.csv.gz").write_bytes(gzip.compress((header + rows).encode()))


def _make_socsci210(folder: Path) -> None:
    deposit = folder / "deposit"
    deposit.mkdir()
    text = "A kite flies. How angry are you? Answer with a number from 1 (calm) to 3 (angry)."
    rows = [
        {
            **{
                "sample_id": i,
                "participant": i,
                "response": 1 + i % 3,
                "condition_num": i % 2,
                "task_num": 0,
            },
            **{"study_id": "kites", "stimuli": text, "prompt": text, "reasoning": None},
            "demographic": {"age": 30 + i, "gender": "Female", "party_id": None},
        }
        for i in range(12)
    ]
    (deposit / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _make_socsci210_parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _make_socsci210(folder)
    lines = (folder / "deposit" / "rows.jsonl").read_text().splitlines()
    pq.write_table(
        pa.Table.from_pylist([json.loads(line) for line in lines]), folder / "deposit" / "rows.parquet"
    )
    (folder / "deposit" / "rows.jsonl").unlink()


def _make_study(folder: Path) -> None:
    _of_tests("small_deposit").write_deposit(folder / "deposit")


def _make_survey(folder: Path) -> None:
    _of_tests("invented_qualtrics").two_arms(folder / "deposit")


def _read_survey(folder: Path) -> Any:
    """The draft of a specification, which reads the whole survey and its export."""
    from data_pipelines.drafting.rules import draft_by_rules

    return draft_by_rules(folder / "deposit")


def _make_conjoint(folder: Path) -> None:
    _of_tests("invented_conjoint").towns(folder / "deposit")


# --- a review -----------------------------------------------------------------------------------------------------------


def _make_review(folder: Path) -> None:
    from data_pipelines.review.signatures import sign
    from socsci_jax.studies.store import StudyStore

    make_store(folder)
    store = StudyStore(folder / "store")
    study, item = store.items.row(0, named=True)["study_id"], store.items["outcome"][0]
    places = {study: {f"outcomes.{item}.question": ["codebook.md, line 3"]}}
    (folder / "store" / "provenance.json").write_text(json.dumps(places))
    sign(store, "Ada")


def _read_review(folder: Path) -> object:
    from data_pipelines.review.page import write_review
    from socsci_jax.studies.store import StudyStore

    return write_review(StudyStore(folder / "store"))


DEPOSIT_READERS = (
    *(
        Reader(f"file{suffix}", _makes_file(suffix), _read_file)
        for suffix in (".csv", ".docx", ".dta", ".md", ".pdf", ".rds", ".sav", ".xlsx")
    ),
    Reader("documents", _make_documents, _builds("text_classification")),
    Reader("tess", _make_tess, _builds("tess_archive")),
    Reader("socsci210", _make_socsci210, _builds("socsci210")),
    Reader("socsci210-parquet", _make_socsci210_parquet, _builds("socsci210")),
    Reader("study", _make_study, _builds("study")),
    Reader("survey", _make_survey, _read_survey),
    Reader("conjoint", _make_conjoint, _builds("conjoint")),
    Reader("review", _make_review, _read_review, changes="store/*.json"),
)
