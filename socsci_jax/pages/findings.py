"""A sentence that a page sets off: what was found, of what kind it is, and by which rule it was written."""

from __future__ import annotations

import dataclasses
from typing import Literal

Kind = Literal["claim", "warning", "undecided", "note"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """`title` says the kind in words; `rule` is shown on demand, "" for none."""

    kind: Kind
    title: str
    text: str
    rule: str = ""
