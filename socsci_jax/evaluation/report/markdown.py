"""The report in Markdown: the same sentences and tables, for a repository or an appendix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from socsci_jax.pages.tables import escaped


def report(shown: dict[str, Any]) -> str:
    """The report of the values that the page shows (`page.values`)."""
    return "\n\n".join(_blocks(shown)) + "\n"


def _blocks(shown: dict[str, Any]) -> Iterator[str]:
    yield "# How far can these predictions be trusted?"
    yield f"Predictions of **{escaped(shown['model'])}**, compared with what people answered."
    yield from (f"**{escaped(text)}**" for text in shown["lead"])
    yield "## Findings"
    yield escaped(shown["registration"])
    for part in shown["parts"]:
        yield f"### {escaped(part['name']).capitalize()}"
        yield "\n".join(f"- {finding.title}: {escaped(finding.text)}" for finding in part["findings"])
        rules = dict.fromkeys(finding.rule for finding in part["findings"] if finding.rule)
        yield from (f"Rule: {escaped(rule)}." for rule in rules)
    for part in shown["coded"]:
        yield f"### {escaped(part['name']).capitalize()}"
        yield "\n".join(f"- {escaped(sentence)}" for sentence in part["verdict"])
    if shown["notes"]:
        yield "\n".join(f"- {escaped(note)}" for note in shown["notes"])
    if shown["methods"]:
        yield "## Methods, to paste"
        yield from (
            escaped(text) for text in (shown["made"], *(text for _, text in shown["methods"])) if text
        )
    if shown["people"]:
        yield "## People"
        yield shown["people"].markdown()
    yield f"Held out from training: {escaped(shown['held_out'] or 'not stated in the predictions file')}."
    if shown["headline"].rows:
        yield "## Distances"
        yield shown["headline"].markdown()
    for part in shown["parts"]:
        for table in filter(None, (part["effects"], part["metrics"])):
            yield f"## {escaped(table.title)}"
            yield table.markdown()
    for part in shown["coded"]:
        yield f"## Labels: {escaped(part['name'])}"
        yield part["metrics"].markdown()
        yield part["variables"].markdown()
    if shown["studies"]:
        yield "## Studies"
        yield shown["studies"].markdown()
    for name, heading in (("guide", "GUIDE-LLM"), ("form", "Registration form")):
        yield f"## {heading}"
        yield escaped(f"{shown[name + '_answered']} Source: {shown[name + '_source']}.")
        yield shown[name].markdown()
    yield "## Where the predictions come from"
    yield shown["provenance"].markdown()
    yield shown["settings"].markdown()
