"""What a passage of a sentence says about answers, and when two of its numbers are the ends of a range."""

from __future__ import annotations

import dataclasses
import re

from data_pipelines.scales.written_numbers import UNIT, Number


@dataclasses.dataclass
class Passage:
    """What one passage says about the answers that it allows."""

    ranges: set[tuple[float, float]] = dataclasses.field(default_factory=set)
    listed: list[tuple[float, ...]] = dataclasses.field(default_factory=list)
    labels: dict[int, str] = dataclasses.field(default_factory=dict)
    # Levels next to a range: "from 1 to 7, or 99 for Don't know".
    extra: dict[int, str] = dataclasses.field(default_factory=dict)
    # The labeled numbers are all that may be returned: "1 for Yes or 5 for No".
    options: bool = False
    # The range is introduced as a scale, or its ends are labeled.
    on_scale: bool = False
    # The passage says two things that cannot both hold.
    clash: bool = False
    # Numbers that nothing explains.
    unused: list[float] = dataclasses.field(default_factory=list)

    @property
    def is_silent(self) -> bool:
        return not (self.ranges or self.listed or self.labels)


_BETWEEN = re.compile(r"\bbetween\b[^\d]{0,25}$", re.I)
_RANGE_JOIN = re.compile(
    rf"{UNIT}?(?:\s*(?:inclusive|, inclusive,))?\s*(?:-{{1,2}}|\bto\b|\bthrough\b|\bthru\b|\buntil\b|,?\s*\bup to\b"
    r"|\.\.\.?|…|\band\b|\bto a\b)\s*(?:(?:a )?(?:max(?:imum)?|high|highest)(?: of)?\s*)?[\"']?",
    re.I,
)
BEFORE_ANCHOR = re.compile(
    r"(?:^|[,;:.(\[\n/|\"')\]?]|\b(?:and|or|to|through|where|with|return|select|choose|use|enter|from|between|answer|"
    r"respond|as|up to|then|if|of|reply|type|write|just|only|mark|pick|option|options|integer|number|scale|say|is|are|"
    r"indicate|give|put|circle|otherwise|while|whereas))\s*[(\[]?\s*$",
    re.I,
)


def is_range(plain: str, a: Number, b: Number) -> bool:
    join = plain[a.end : b.start]
    match = _RANGE_JOIN.fullmatch(join.rstrip("\"'") if join.endswith(("'", '"')) else join)
    if match is None:
        bracketed = plain[: a.start].rstrip().endswith("[") and join.strip() == ","
        return bracketed and plain[b.end :].lstrip().startswith("]")
    if re.search(r"\band\b", join, re.I):
        return _BETWEEN.search(plain[: a.start]) is not None
    return True
