"""Numbers as codebooks and sentences write them: signs, decimals, thousands; what is ambiguous is not a number."""

from __future__ import annotations

import re

from socsci_jax.studies.scale import LARGEST_ANSWER, Number, exact_number

# One character for one, so that positions in the plain text are positions in the text.  The minus sign U+2212 is here.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‘’‚‛`´‵′", "'"),
        **dict.fromkeys("‐‑‒–—―\u2212﹣－", "-"),
        **dict.fromkeys("＋", "+"),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f\u200a\t", " "),
        # Digits of other scripts are read by int(), but a survey's codes are these.
        **{ord(wide): digit for wide, digit in zip("０１２３４５６７８９", "0123456789")},
    }
)

# A run of digits with what may belong to it; `number` decides what it is.
NUMBER = r"[+-]?(?:[$€£]\s?)?\d+(?:[.,]\d+)*"
_WHOLE = re.compile(r"\d+")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(\.\d+)?|[1-9]\d{0,2}(?:\.\d{3}){2,}(,\d+)?")
_DECIMAL = re.compile(r"\d+\.\d+|(?:\d+,\d{1,2}|0,\d+)")
# "10.000" is ten in one country and ten thousand in another.
_AMBIGUOUS = re.compile(r"[1-9]\d{0,2}\.\d{3}")


def plain_text(text: str) -> str:
    """The text with plain quotation marks, dashes, digits and blanks, each character in its place."""
    return text.translate(_PLAIN)


def number(text: str) -> Number | None:
    """The number that a whole text of the form NUMBER is; None where it is ambiguous or too large.

    >>> [number(text) for text in ("+3", "1,500", "1,5", "1.5", "$35,000", "10.000")]
    [3, 1500, 1.5, 1.5, 35000, None]
    """
    body = re.sub(r"[+\-$€£\s]", "", text)
    if len(body) > 24 or _AMBIGUOUS.fullmatch(body):
        return None
    if _THOUSANDS.fullmatch(body):
        separator = "," if re.match(r"\d{1,3},", body) else "."
        body = body.replace(separator, "").replace(",", ".")
    elif _DECIMAL.fullmatch(body):
        body = body.replace(",", ".")
    elif not _WHOLE.fullmatch(body):
        return None
    value = -float(body) if text.lstrip().startswith("-") else float(body)
    return exact_number(value) if abs(value) <= LARGEST_ANSWER else None


def is_decimal(text: str) -> bool:
    """True if a text of the form NUMBER was written with decimals, as "0.0" is."""
    body = re.sub(r"[+\-$€£\s]", "", text)
    return not _WHOLE.fullmatch(body) and not re.fullmatch(
        r"[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{0,2}(?:\.\d{3}){2,}", body
    )
