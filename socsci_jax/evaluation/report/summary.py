"""The report's first lines: what to remember of it, in one sentence or two."""

from __future__ import annotations

from socsci_jax.evaluation import effect_verdicts, sentences, verdicts
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.evaluation.result import Evaluation, is_known
from socsci_jax.evaluation.sentences import part_name
from socsci_jax.evaluation.table import CONDITION_POOLED, SPLIT_HALF, UNIFORM
from socsci_jax.pages.findings import Finding
from socsci_jax.wording import counted

# In the words of a reader who meets the page for the first time.
KINDS = {
    "claim": "May be claimed",
    "warning": "Do not rely on it",
    "undecided": "Cannot be told",
    "note": "Good to know",
}
WHERE = {
    "unseen_studies": "In studies that the model has never seen",
    "unseen_conditions": "In conditions that the model has never seen",
    "unseen_outcomes": "On questions that the model has never seen",
    "unseen_participants": "Of people whom the model has never seen",
    "train": "On the very answers that it was trained on",
    "all": "Over all answers",
}


def lead(evaluation: Evaluation, part: str) -> str:
    """What to remember of a part: how near predictions are, and whether they know the treatment."""
    where = _where(evaluation, part)
    why = unjudged(evaluation, part)
    moves = _moves(evaluation, part)
    if why and not moves:
        return f"{where}, nothing can be said: {why}."
    near = "" if why else _near(evaluation, part)
    return f"{where}, {near or moves}." + (f" {moves[0].upper()}{moves[1:]}." if near and moves else "")


def _where(evaluation: Evaluation, part: str) -> str:
    """Of few studies nothing is claimed beyond them."""
    w = evaluation.metric("wasserstein", part=part)
    if part == "unseen_studies" and w is not None and w.resampled != "studies":
        n = evaluation.counts[part]["studies"]
        return f"In {'this study' if n == 1 else f'these {n} studies'}, which the model has never seen"
    return WHERE.get(part, f"In {part_name(part)}")


def unjudged(evaluation: Evaluation, part: str) -> str:
    """Why a part has no distance; "" if it has one."""
    if is_known(evaluation.metric("wasserstein", part=part)):
        return ""
    if evaluation.distributions.is_empty():
        return "means were predicted, no distributions"
    counts = evaluation.counts[part]
    if not counts["items"]:
        least = evaluation.metadata["evaluation"]["minimum_n"]
        return f"no item has the {counted(least, 'answer')} that are needed"
    return "no prediction could be read as an answer"


def _near(evaluation: Evaluation, part: str) -> str:
    every = {p: _against(evaluation, part, p) for p in (UNIFORM, CONDITION_POOLED)}
    said = {p: word for p, word in every.items() if word}
    names = {
        UNIFORM: "a blind guess",
        CONDITION_POOLED: "human answers pooled over conditions",
    }
    if not said:
        return ""
    if len(set(said.values())) == 1:
        both = " and than ".join(names[p] for p in said)
        return f"{_phrase(next(iter(said.values())))} {both}"
    return ", and ".join(
        f"{_phrase(word, again=k > 0)} {names[p]}" for k, (p, word) in enumerate(said.items())
    )


def _phrase(word: str, *, again: bool = False) -> str:
    subject = "they are" if again else "its predictions are"
    return {
        "better": f"{subject} closer to people's answers than",
        "worse": f"{subject} farther from people's answers than",
        "open": (
            "it cannot be told whether they are" if again else "it cannot be told whether its predictions are"
        )
        + " closer to people's answers than",
    }[word]


def _against(evaluation: Evaluation, part: str, predictor: str) -> str:
    difference = sentences.difference(evaluation, part, predictor)
    if difference is None or not is_known(difference):
        return ""
    if verdicts.beats(difference):
        return "better"
    return "worse" if difference.lo is not None and difference.lo > 0 else "open"


def _moves(evaluation: Evaluation, part: str) -> str:
    r = evaluation.metric("condition_sensitivity_r", part=part)
    state = effect_verdicts.state_of(evaluation, part)
    if state == "moves":
        half = evaluation.metric("condition_sensitivity_r", part=part, predictor=SPLIT_HALF)
        return f"its predictions move with the conditions (r = {_two(r)}" + (
            f"; other people reach {_two(half)})" if half is not None and is_known(half) else ")"
        )
    return {
        "blind": "it does not know the treatment: its predictions are the same in every condition",
        "against": "its predictions move against people's when conditions change",
        "undecided": "whether it knows which condition moves people cannot be told from "
        + sentences.studies_of(evaluation, part),
        "nothing": "",
    }[state]


def _two(value: Estimate | None) -> str:
    return sentences.number(None if value is None else value.value, digits=2)


def findings(evaluation: Evaluation, part: str) -> list[Finding]:
    """The verdict's sentences, each with the words that say of what kind it is."""
    return [
        Finding(sentence.kind, KINDS[sentence.kind], sentence.text, sentence.rule)
        for sentence in verdicts.verdict(evaluation, part)
    ]
