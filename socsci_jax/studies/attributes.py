"""Attributes of participants as texts: what a prompt shows, and which values mean that nothing is known."""

from __future__ import annotations

import math
import numbers

from socsci_jax.studies.scale import format_value

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
