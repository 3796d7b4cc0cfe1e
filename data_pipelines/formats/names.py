"""Names of columns that a header gives more than once, or not at all."""

from __future__ import annotations

import collections


def unique_names(headers: list[str]) -> list[str]:
    """Headers as the names under which a specification finds the columns: all that share a name are numbered
    (`Q2_1 (1)`, `Q2_1 (2)`), a column without a name gets its place (`(column 7)`)."""
    bare = [header.strip() or f"(column {place})" for place, header in enumerate(headers, start=1)]
    counts = collections.Counter(bare)
    met: collections.Counter[str] = collections.Counter()
    names = []
    for name in bare:
        met[name] += 1
        names.append(f"{name} ({met[name]})" if counts[name] > 1 else name)
    if len(set(names)) < len(names):
        return [f"{name} [{place}]" for place, name in enumerate(names, start=1)]
    return names
