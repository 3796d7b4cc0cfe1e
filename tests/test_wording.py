"""Counts in sentences."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from socsci_jax.errors import InputError
from socsci_jax.wording import counted, counted_of

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "study", "1 study"),
        (0, "study", "0 studies"),
        (2043, "answer", "2,043 answers"),
        (2, "person", "2 people"),
        (2, "branch", "2 branches"),
        (2, "key", "2 keys"),
        (2, "survey weight", "2 survey weights"),
    ],
)
def test_a_count_agrees_with_its_noun(number, noun, text):
    assert counted(number, noun) == text


def test_a_verb_agrees_with_the_count():
    assert [counted(n, "row is", "rows are") for n in (1, 3)] == ["1 row is", "3 rows are"]
    assert [counted_of(n, 30, "row") for n in (1, 3)] == ["1 of 30 rows is", "3 of 30 rows are"]


def test_no_sentence_writes_a_counts_noun_in_plural_alone():
    """f"{len(studies)} studies" would say "1 studies"; `counted` does not."""
    plain = []
    for path in [p for package in ("socsci_jax", "data_pipelines") for p in (ROOT / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                plain += [
                    f"{path.relative_to(ROOT)}:{node.lineno}"
                    for _ in filter(_says_many, zip(node.values, node.values[1:]))
                ]
    assert plain == []


def _says_many(pair: tuple[ast.expr, ast.expr]) -> bool:
    """Whether `len(...)` or `....height` is followed by a noun in plural."""
    value, text = pair
    if not (isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant)):
        return False
    counts = ast.unparse(value.value).startswith("len(") or ast.unparse(value.value).endswith(".height")
    word = str(text.value).lstrip(" ").split(" ")[0] if str(text.value).startswith(" ") else ""
    return counts and word.isalpha() and word.endswith("s") and word not in ("is", "has", "as", "does")


@pytest.mark.parametrize(
    "repeated",
    [
        "x" * 100_000,
        "many words " * 10_000,
        ", ".join(f"column {n}" for n in range(5_000)),
        "line\n" * 100_000,
    ],
    ids=["word", "text", "names", "lines"],
)
def test_a_sentence_is_short_whatever_it_repeats(repeated):
    sentence = str(InputError(f"answers.csv: column 'mood' is missing; found {repeated}; give it that name."))
    assert len(sentence) < 1_200
    assert sentence.startswith("answers.csv: column 'mood' is missing; found ")
    assert sentence.endswith("; give it that name.") or "lines omitted" in sentence


def test_a_sentence_of_usual_length_is_not_changed():
    sentence = f"/{'folder/' * 40}answers.csv: {'column, ' * 60}\n  second line"
    assert str(InputError(sentence)) == sentence
