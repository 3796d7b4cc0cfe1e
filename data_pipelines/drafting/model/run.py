"""One run of drafting by a model: questions, answers, the changed draft, and lines that tell what happened."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.drafting.model.dialogue import Costs, Dialogue, hold
from data_pipelines.drafting.model.endpoint import Endpoint
from data_pipelines.drafting.model.resolve import questions_of, resolve
from data_pipelines.drafting.model.transcript import Transcript
from data_pipelines.drafting.rules import RuleDraft
from socsci_jax.wording import counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """The draft with what was answered, the dialogue, and lines for a person."""

    draft: RuleDraft
    dialogue: Dialogue
    lines: tuple[str, ...]


def ask_model(
    draft: RuleDraft,
    *,
    url: str,
    model: str,
    transcript: Path,
    key_variable: str = "",
    most_tokens: int | None = None,
    prices: tuple[float, float] = (0.0, 0.0),
    timeout_seconds: float = 60.0,
    patience_seconds: float = 0.5,
) -> Asked:
    """Asks about the draft's holes; `prices` are those of a million tokens in and out.

    Raises InputError for an endpoint that cannot be asked at all; what fails on the way leaves its hole open.
    """
    endpoint = Endpoint(
        url=url,
        model=model,
        key_variable=key_variable,
        timeout_seconds=timeout_seconds,
        patience_seconds=patience_seconds,
    )
    kept = Transcript(transcript)
    dialogue = hold(
        questions_of(draft),
        endpoint,
        kept,
        costs=Costs(price_in=prices[0], price_out=prices[1]),
        most_tokens=most_tokens,
    )
    return Asked(
        draft=resolve(draft, dialogue, model=model),
        dialogue=dialogue,
        lines=tuple(_lines(dialogue, kept)),
    )


def _lines(dialogue: Dialogue, transcript: Transcript) -> Iterator[str]:
    taken = sum(verdict.answer is not None for verdict in dialogue.verdicts)
    yield (
        f"model: {taken} of {counted(len(dialogue.verdicts), 'question')} answered ({counted(dialogue.costs.reused, 'answer')} from "
        f"{transcript.path}); {dialogue.costs}"
    )
    for verdict in dialogue.verdicts:
        if verdict.answer is None:
            yield f"left open: {verdict.question.key}: {verdict.reason}"
    if transcript.skipped:
        yield f"note: {counted(transcript.skipped, 'line')} of {transcript.path} could not be read and were skipped"
    if dialogue.stopped:
        yield f"stopped: {dialogue.stopped}; run the same command again to resume from there"
