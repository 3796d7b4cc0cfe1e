"""Drafts of invented Qualtrics deposits, and what a test reads of them."""

from __future__ import annotations

import collections

import invented_qualtrics as q

from data_pipelines.drafting.rules import draft_by_rules
from socsci_jax.studies.specification_files import parse_specification, render


def settled(draft):
    """The draft's specification as it is read once nothing is left open."""
    return parse_specification(
        render(draft.specification.model_copy(update={"unresolved": {}})), where="draft"
    )


def counts(draft, factor):
    design = draft.design
    levels = (design.factors | design.same_text)[factor].levels
    found = collections.Counter(design.assignments[factor].levels)
    return {levels[i].name if i is not None else None: n for i, n in found.items()}


def only_study(draft):
    return next(iter(settled(draft).studies.values()))


def vignettes(flow, questions=(), blocks=(), *, columns, rows, folder):
    """A deposit whose one outcome follows what the flow does."""
    survey_ = q.survey(
        [*questions, q.single("QID9", "mood", "How do you feel?", "Very bad", "Bad", "Good")],
        [*blocks, q.block("BL_9", "Mood", "QID9")],
        [*flow, q.show("FL_99", "BL_9")],
    )
    return draft_by_rules(q.write_deposit(folder, survey_, [*columns, q.column("mood", "QID9")], rows))
