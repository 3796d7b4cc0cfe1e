"""Review pages: arms compared, texts as text, gates and origins shown; signatures hold for the content that was signed."""

import datetime
import html
import re

import pytest
from browser import Visit, look
from small_deposit import CODEBOOK, answers, build, specification, write_deposit
from typer.testing import CliRunner

from data_pipelines.review.charts import histogram
from data_pipelines.review.differences import Run, differences, shortened
from data_pipelines.review.page import describe, write_review
from data_pipelines.review.signatures import sign, signatures
from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.store import StudyStore


def page_of(store: StudyStore) -> str:
    return write_review(store)[1].read_text(encoding="utf-8")


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> StudyStore:
    return build(write_deposit(tmp_path_factory.mktemp("deposit") / "d"))


def test_differences_of_arms_are_marked(store):
    page = page_of(store)
    assert "A <del>doctor named Ellis</del><ins>computer program</ins> reads the scan" in page


def test_the_page_shows_scales_gates_counts_and_origins(store):
    page = page_of(store)
    shown = words(page)
    assert 'data-tip="codebook.md, heading &#39;Machine&#39;"' in page
    assert "1 = Not at all; 2 = A little; 3 = A lot. Missing: -99. Read from: codebook." in shown
    assert "120 people, 239 answers, 2 conditions, 4 items" in shown
    assert "different-texts Do different conditions give different texts? ✓ passed" in shown
    assert "missing answer (code -99) 1" in shown


def test_text_from_a_deposit_is_text_on_the_page(tmp_path):
    spec = specification()
    spec["title"] = "<script>alert(1)</script>"
    spec["attributes"]["region"]["recode"] = {"1": "North<img src=x onerror=alert(1)>", "2": "South"}
    codebook = CODEBOOK.replace("1 = North", "1 = North<img src=x onerror=alert(1)>")
    page = page_of(
        build(write_deposit(tmp_path / "d", codebook=codebook, spec=spec), allow=("labels-agree",))
    )
    assert page.count("<script") == 1 and "<img" not in page  # the page's own, which its policy names
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_waived_gates_are_shown_with_what_they_found(tmp_path):
    rows = [row | {"trust": 9 if i == 3 else 1 + i // 2 % 3} for i, row in enumerate(answers())]
    shown = words(page_of(build(write_deposit(tmp_path / "d", rows=rows), allow=("values-on-scale",))))
    assert "! waived outcome 'trust': 1 answer is outside the scale: '9' (1)" in shown


def test_pages_are_named_by_the_program_and_written_again(store):
    assert [path.name for path in write_review(store)] == ["index.html", "study-001.html"]
    assert sorted(path.name for path in (store.path / "review").iterdir()) == ["index.html", "study-001.html"]


def test_a_signature_holds_for_the_content_that_was_signed(tmp_path):
    folder = write_deposit(tmp_path / "d")
    first = build(folder)
    signature = sign(first, "  Ada   Reviewer ", date=datetime.date(2026, 1, 2))
    assert (signature.name, signature.date) == ("Ada Reviewer", "2026-01-02")
    assert signature.content_hash == first.content_hash
    assert [known.is_of(first) for known in signatures(first)] == [True]
    assert "Signed off by Ada Reviewer on 2026-01-02" in words(page_of(first))
    rows = answers(seed=1)
    second = build(write_deposit(folder, rows=rows))
    assert [known.is_of(second) for known in signatures(second)] == [False]
    assert "An earlier build was signed off by Ada Reviewer" in words(page_of(second))


def test_signing_another_specification_of_the_same_answers_is_another_signature(tmp_path):
    store = build(write_deposit(tmp_path / "d"))
    signature = sign(store, "Ada")
    store.manifest["specification"]["sha256"] = "0" * 64
    assert not signature.is_of(store)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
def test_a_signature_needs_a_name(store, name):
    with pytest.raises(InputError, match="a signature is the name"):
        sign(store, name)


def test_the_command_writes_pages_and_signs(tmp_path):
    store = build(write_deposit(tmp_path / "d"))
    result = CliRunner().invoke(app, ["data", "review", str(store.path), "--sign", "Ada"])
    assert result.exit_code == 0, result.output
    assert [signature.name for signature in signatures(store)] == ["Ada"]
    assert (store.path / "review" / "index.html").is_file()


def test_reviewing_changes_nothing_of_what_the_store_holds(tmp_path):
    store = build(write_deposit(tmp_path / "d"))
    before = {path.name: path.read_bytes() for path in store.path.iterdir()}
    write_review(store)
    assert {name: (store.path / name).read_bytes() for name in before} == before


def test_runs_without_the_removed_ones_are_the_text():
    old, new = "a b c d e f g\nh", "a x c d e f g\nh y"
    runs = differences(old, new)
    assert "".join(run.text for run in runs if run.kind != "removed") == new
    assert "".join(run.text for run in runs if run.kind != "added") == old
    assert runs[1:3] == [Run("removed", "b"), Run("added", "x")]


def test_long_stretches_that_both_have_are_left_out():
    runs = shortened([Run("same", "word " * 400), Run("added", "new")])
    assert [run.kind for run in runs] == ["same", "gap", "same", "added"]


def test_bars_are_shares_of_levels_and_alternatives():
    scale = Scale.of_levels({1: "no", 2: "yes"}, origin="codebook", alternatives={8: "Don't know"})
    chart = histogram("arm", [1, 1, 2, 8], scale, highest=0.5)
    assert [(bar.label, bar.count, bar.share) for bar in chart.bars] == [
        ("1 no", 2, 0.5),
        ("2 yes", 1, 0.25),
        ("8 Don't know", 1, 0.25),
    ]
    assert chart.mean == pytest.approx(4 / 3)


def test_scales_are_told_in_words():
    assert (
        describe(Scale.open_number(lo=0.0, origin="codebook"))
        == "a number from 0 to any. Read from: codebook."
    )
    assert describe(Scale.of_levels(range(101), origin="codebook")).startswith("0; ...; 100")


@pytest.mark.slow
def test_pages_of_two_studies_are_sound_in_a_browser(tmp_path):
    """No errors, no requests beyond the file, no finding of axe-core, and no word torn apart on a narrow screen."""
    spec = specification()
    both = {key: spec.pop(key) for key in ("files",)}
    study = {key: value for key, value in spec.items() if key != "study"}
    folder = write_deposit(tmp_path / "d", spec=both | {"studies": {"one": study, "two": study}})
    pages = write_review(build(folder))
    width = "Math.min(...[...document.querySelectorAll('td')].filter(t => t.textContent.length > 30).map(t => t.offsetWidth))"
    visits = [Visit(page, axe=True) for page in pages] + [
        Visit(pages[1], theme="dark", width=390, script=width)
    ]
    for visit, seen in zip(visits, look(visits), strict=True):
        assert not seen.errors and not seen.violations
        assert seen.requests == [visit.page.resolve().as_uri()]
        if visit.script:
            assert seen.value > 60
