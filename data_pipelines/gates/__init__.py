"""What a study must pass before it enters a store: texts, assignment, values and people are held against the deposit.

A gate says `passed`, `failed` with findings, `waived` (failed, and allowed by the person who builds) or `unchecked`
where the deposit gives nothing to compare with.  `GATES` is the whole list.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from data_pipelines.gates import assignment, personal, recodes, texts, values
from socsci_jax.errors import InputError

if TYPE_CHECKING:
    from data_pipelines.specified.deposit import Deposit
    from data_pipelines.specified.study import BuiltStudy

SHOWN_FINDINGS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gate:
    """A check of one built study; yields one sentence for each thing that is wrong."""

    name: str
    asks: str
    check: Callable[[BuiltStudy, Deposit], list[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateResult:
    """What a gate found in one study."""

    gate: str
    study: str
    status: Literal["passed", "failed", "waived", "unchecked"]
    findings: tuple[str, ...] = ()


GATES = (
    Gate(name="different-texts", asks="Do different conditions give different texts?", check=texts.different),
    Gate(name="factors-change-text", asks="Does every factor change the text?", check=texts.factors_change),
    Gate(name="texts-in-deposit", asks="Does the deposit contain every text?", check=texts.in_deposit),
    Gate(
        name="texts-of-this-study",
        asks="Do texts stand where the deposit is about this study?",
        check=texts.own_part,
    ),
    Gate(
        name="assignment-counts",
        asks="Are as many people in each arm as the deposit says?",
        check=assignment.counts,
    ),
    Gate(
        name="assignments-used",
        asks="Is every column used by which the deposit assigned people?",
        check=assignment.unused,
    ),
    Gate(name="balance", asks="Are the arms alike in size and in who is in them?", check=assignment.balance),
    Gate(name="people-once", asks="Is every person counted once for an item?", check=assignment.people_once),
    Gate(name="values-on-scale", asks="Does every answer lie on its scale?", check=values.on_scale),
    Gate(name="labels-agree", asks="Do labels agree with the codebook?", check=values.labels_agree),
    Gate(
        name="recodes-complete",
        asks="Does a recode name every code in the data?",
        check=recodes.complete,
    ),
    Gate(name="bands", asks="Does no band become a quantity?", check=values.bands),
    Gate(
        name="answer-in-prompt",
        asks="Is nothing in a prompt derived from the answer?",
        check=values.answer_in_prompt,
    ),
    Gate(name="personal-details", asks="Are there no personal details?", check=personal.personal_details),
)


def check_gates(
    studies: Sequence[BuiltStudy], deposit: Deposit, *, allow: Sequence[str] = ()
) -> list[GateResult]:
    """Every gate for every study; `allow` waives a gate, for all studies or for one (GATE:STUDY).

    Raises InputError for a gate or study in `allow` that does not exist.
    """
    names = [gate.name for gate in GATES]
    ids = [study.study_id for study in studies]
    for waiver in allow:
        name, _, study_id = waiver.partition(":")
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"gates are {', '.join(names)}."
            raise InputError(f"`allow=[{waiver}]`: no such gate; {hint}")
        if study_id and study_id not in ids:
            raise InputError(f"`allow=[{waiver}]`: no such study; studies are {', '.join(ids[:50])}.")
    return [
        _result(
            gate, study, deposit, allowed=not {gate.name, f"{gate.name}:{study.study_id}"}.isdisjoint(allow)
        )
        for study in studies
        for gate in GATES
    ]


def _result(gate: Gate, study: BuiltStudy, deposit: Deposit, *, allowed: bool) -> GateResult:
    try:
        findings = list(dict.fromkeys(gate.check(study, deposit)))
    except texts.NothingToCompare as absent:
        return GateResult(gate=gate.name, study=study.study_id, status="unchecked", findings=(str(absent),))
    if len(findings) > SHOWN_FINDINGS:
        findings = [*findings[:SHOWN_FINDINGS], f"... and {len(findings) - SHOWN_FINDINGS:,} more"]
    status = "passed" if not findings else "waived" if allowed else "failed"
    return GateResult(gate=gate.name, study=study.study_id, status=status, findings=tuple(findings))
