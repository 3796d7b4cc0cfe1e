"""What a draft found, in lines for a person."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from data_pipelines.drafting.rules import RuleDraft
from socsci_jax.wording import counted


def describe(draft: RuleDraft) -> Iterator[str]:
    """Files, factors with people per level, outcomes, attributes, what was excluded; text of the deposit is in it."""
    design = draft.design
    people = design.export.table.height
    yield f"{draft.survey_path.name} and {draft.data_path.name}: {counted(people, 'response')}"
    for name, factor in (*design.factors.items(), *design.same_text.items()):
        assignment = design.assignments[name]
        counts = collections.Counter(assignment.levels)
        levels = ", ".join(f"{level.name} {counts.get(i, 0)}" for i, level in enumerate(factor.levels))
        unknown = f"; {counts[None]} not known" if counts.get(None) else ""
        source = assignment.traces[0].source if assignment.traces else "no column tells the levels"
        order = " (an order, which changes no text)" if name in design.same_text else ""
        yield f"factor {name}{order}: {levels}{unknown} (from {source})"
    yield f"outcomes: {len(draft.outcomes)}; attributes: {', '.join(a.name for a in draft.reading.attributes) or 'none'}"
    reasons = collections.Counter(draft.reading.left_out.values())
    for reason, count in reasons.most_common():
        yield f"excluded: {counted(count, 'column')}, {reason}"
    for note in (*design.survey.notes, *design.export.notes):
        yield f"note: {note}"
