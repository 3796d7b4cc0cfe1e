"""Attributes of participants as texts: what a prompt shows, and which values mean that nothing is known."""

from __future__ import annotations

import math
import numbers
import re
from collections import Counter

import polars as pl

from socsci_jax.studies.scale import format_value

# Words that so few people share may say who they are, and an attribute of more forms than this is a text of its own.
FEWEST_PEOPLE, MOST_FORMS = 5, 50
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

# Values that R, pandas, SPSS, spreadsheets and SQL write where nothing is known, in any case of letters.  "None" and
# "Unknown" are not here: they are answers to some questions (religion, party).
UNKNOWN_TEXTS = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "#null!", "."})


def attribute_text(value: object) -> str | None:
    """The value as a prompt shows it, None where nothing is known: integral floats as integers, ages of 34.5 as 34.5.

    >>> [attribute_text(value) for value in (34.0, 34.5, " Female ", float("nan"), "NA", None)]
    ['34', '34.5', 'Female', None, None, None]
    """
    if value is None:
        return None
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number = int(value) if isinstance(value, numbers.Integral) else float(value)
        return format_value(number) if math.isfinite(number) else None
    text = str(value).strip()
    return None if text.casefold() in UNKNOWN_TEXTS else text


def form(value: str) -> str:
    """The words of a value, any number in it alike.

    >>> form("34 years"), form("Female"), form("18-29")
    ('# years', 'Female', '#-#')
    """
    return _NUMBER.sub("#", value)


def forms_of(people: pl.DataFrame) -> dict[str, list[str]]:
    """For each attribute the forms that people's values have, sorted; without those of fewer than FEWEST_PEOPLE people.

    `people` has a row a person and a column an attribute.  Attributes whose values are as good as free texts, and those of
    which nothing is left, are not listed.
    """
    counts: dict[str, Counter[str]] = {}
    for name in people.columns:
        of_name = counts[name] = Counter()
        # Of hundreds of thousands of people few have values of their own.
        for value, n in people[name].drop_nulls().value_counts().iter_rows():
            of_name[form(value)] += n
    shared = {
        name: sorted(words for words, n in of_name.items() if n >= FEWEST_PEOPLE)
        for name, of_name in counts.items()
        if len(of_name) <= MOST_FORMS
    }
    return {name: words for name, words in shared.items() if words}
