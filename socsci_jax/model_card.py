"""The model card of an export, as the Hugging Face hub expects it: what the model is, from what, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from socsci_jax.foreign_text import for_page
from socsci_jax.studies.prompts import Layout
from socsci_jax.training.recipe import Recipe
from socsci_jax.wording import counted


def model_card(metadata: Mapping[str, Any], recipe: Recipe, *, adapter: bool, license: str | None) -> str:
    """Markdown with the hub's YAML block.

    `metadata` is what the export says of the model; `license` that of the start, if it is known.  What is not known is
    said to be missing.
    """
    start = recipe.model.init_from
    header: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["socsci_jax", "survey-experiments", recipe.objective.kind],
    }
    if start != "random":
        header |= {"base_model": start, "base_model_relation": "adapter" if adapter else "finetune"}
    header["license"] = license or "other"
    sections = [
        f"# {_plain(recipe.name)}",
        "Predicts how people would answer questions of survey experiments. It was fine-tuned with socsci_jax on individual "
        "answers of participants.",
        _section("Base model and data", _origin(metadata, recipe, license)),
        _section("What was held out", _held_out(metadata)),
        _section("Metrics", _metrics(metadata)),
        _section("How to prompt it", _prompting(metadata)),
        _section("What not to use it for", NOT_FOR),
    ]
    return (
        "---\n"
        + yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
        + "---\n\n"
        + "\n\n".join(sections)
        + "\n"
    )


NOT_FOR = """- Decisions about individual people.
- In place of asking people. Predictions of a treatment's effect are to be trusted as far as an evaluation on unseen studies shows, and no further; a small distance between distributions does not show it.
- Estimates with an interval that rests on the number of simulated people. Combine predictions with human answers (`socsci-jax rectify`) instead.
- People, languages and topics that the training studies do not cover."""


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}"


def _origin(metadata: Mapping[str, Any], recipe: Recipe, license: str | None) -> str:
    start = "random weights" if recipe.model.init_from == "random" else f"`{_code(recipe.model.init_from)}`"
    data = metadata.get("data") or {}
    lines = [
        f"- Start: {start}; license of the start: {license or 'not known, see its own page'}.",
        f"- Data: {_plain(data.get('source', 'source not stated'))}; license: {_plain(data.get('license', 'not stated'))}; "
        f"hash of the study store `{_code(metadata.get('store_hash', 'missing'))}`.",
        f"- {counted(metadata.get('trained_responses', 0), 'answer')} of {counted(len(metadata.get('trained_studies', ())), 'study')}; objective "
        f"`{recipe.objective.kind}`; {recipe.optimizer.epochs:g} epochs; learning rate {recipe.optimizer.learning_rate:g}; "
        f"checkpoint of step {metadata.get('step')} of {metadata.get('total_steps')}.",
        "- The complete recipe, hashes and software versions are in `socsci_jax.json`. `trained_on.parquet` holds digests of "
        "every study, item and participant that was trained on, so that nothing seen is evaluated as unseen.",
    ]
    return "\n".join(lines)


def _held_out(metadata: Mapping[str, Any]) -> str:
    held = metadata.get("held_out") or {}
    lines = [
        f"- {_plain(part.replace('_', ' '))}: {counted(count, 'unit')}"
        for part, count in sorted(held.items())
    ]
    return (
        "\n".join([f"Split `{_code(metadata.get('split', 'missing'))}`.", "", *lines])
        if lines
        else "Nothing."
    )


def _metrics(metadata: Mapping[str, Any]) -> str:
    metrics = {
        name: value
        for name, value in (metadata.get("metrics") or {}).items()
        if name.startswith("validation_") and isinstance(value, int | float)
    }
    rows = [f"| {_plain(name)} | {value:.4g} |" for name, value in sorted(metrics.items())]
    table = [
        "On the validation part, by which the checkpoint was chosen:",
        "",
        "| metric | value |",
        "|---|---|",
        *rows,
    ]
    unseen = (
        "Metrics on unseen studies, with their intervals: **missing** here. Write them with `socsci-jax evaluate`, whose report "
        "names this model by its hash."
    )
    return "\n".join([*table, "", unseen] if rows else [unseen])


def _prompting(metadata: Mapping[str, Any]) -> str:
    layout = Layout.from_dict(metadata["layout"], where="layout")
    return (
        "The chat template of this folder renders, by default, the prompt of training. The user's text is the first of these "
        "templates followed by the second, with the fields filled in; the answer is a number as text.\n\n"
        + "\n\n".join(_fenced(part) for part in (layout.shared, layout.own))
        + "\n\nSystem message:\n\n"
        + _fenced(layout.system)
        + "".join(
            f"\n\nEarlier turn {number}, {'for each known attribute, ' if turn.of_attribute else ''}question and answer:\n\n"
            f"{_fenced(turn.user)}\n\n{_fenced(turn.assistant)}"
            for number, turn in enumerate(layout.turns, start=1)
        )
    )


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _plain(text: object) -> str:
    """Foreign text as text: no markup of Markdown or HTML, one line."""
    one_line = for_page(" ".join(str(text).split()))[:500]
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+!|~&" else c for c in one_line)


def _code(text: object) -> str:
    return for_page(" ".join(str(text).split())).replace("`", "'")[:500]
