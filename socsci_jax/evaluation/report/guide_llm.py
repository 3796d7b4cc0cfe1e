"""GUIDE-LLM: the fourteen core items of "GUIDE-LLM: a reporting checklist for LLMs in behavioral science" (2026,
llm-checklist.com/checklist), in our words."""

from __future__ import annotations

from socsci_jax.evaluation.report.checklists import Entry
from socsci_jax.evaluation.report.provenance import Provenance, as_json, mapping, sentences

SOURCE = "GUIDE-LLM, a reporting checklist for LLMs in behavioral science (2026), llm-checklist.com/checklist"


def guide(made: Provenance) -> list[Entry]:
    """The fourteen core items, answered as far as metadata go."""
    return [*_use(made), *_model(made), *_prompts(made), *_conduct(made)]


def _use(made: Provenance) -> list[Entry]:
    """What language models were used for."""
    return [
        Entry(
            "A.1",
            "What language models were used for",
            made.purpose,
            "any other use in the project, such as writing or coding",
        ),
        Entry(
            "A.2",
            "Automated, or with people in the loop",
            f"automated: {made.given('command')}" if made.metadata.get("command") else "",
            "" if made.metadata.get("command") else "whether anybody intervened",
        ),
    ]


def _model(made: Provenance) -> list[Entry]:
    """The model, its settings, its memory."""
    local = "local weights, no interface of a provider; every prompt by itself" if made.is_ours else ""
    return [
        Entry(
            "B.1",
            "Model: name, provider, size, version, date, source",
            made.model(),
            "provider, date of access and link" if made.model() else "the model",
        ),
        Entry(
            "B.2",
            "How it was reached",
            local,
            "" if local else "interface or local weights; chat or single calls",
        ),
        Entry(
            "B.3",
            "Settings that shape answers",
            sentences(
                made.elicitation(), made.is_ours and f"versions {as_json(made.metadata.get('versions'))}"
            ),
            "" if made.elicitation() else "temperature, length, seeds, number of runs",
        ),
        Entry(
            "B.4",
            "Fine-tuning and customization",
            made.tuning(),
            "" if made.tuning() else "whether and on what the model was tuned",
        ),
        Entry(
            "B.5",
            "Memory between calls",
            "none: no prompt sees another" if made.is_ours else "",
            "" if made.is_ours else "whether state was kept",
        ),
    ]


def _prompts(made: Provenance) -> list[Entry]:
    """Prompts."""
    return [
        Entry("C.1", "Prompts, verbatim", made.prompts(), "" if made.prompts() else "the prompts"),
        Entry(
            "C.2",
            "Instructions for the whole system",
            str(made.layout.get("system") or ""),
            "" if made.layout.get("system") else "the system prompt, or that there was none",
        ),
    ]


def _conduct(made: Provenance) -> list[Entry]:
    """People, validation, code, interests."""
    people = sentences(
        made.training.get("attributes")
        and f"personas hold {', '.join(map(str, made.training['attributes']))}",
        mapping(made.training.get("data")).get("license")
        and f"license of the data {mapping(made.training.get('data'))['license']}",
    )
    return [
        Entry(
            "D.1",
            "Personal and sensitive data",
            people,
            "consent, ethics approval, and how data were protected",
        ),
        Entry("E.1", "Validation against people", made.validation, ""),
        Entry(
            "E.2",
            "Filtering and other post-processing",
            made.after(),
            "" if made.after() else "how answers were read and what was dropped",
        ),
        Entry(
            "F.1",
            "Code that others can run",
            sentences(made.given("code"), made.software),
            "" if made.metadata.get("code") else "link to the code and scripts",
        ),
        Entry(
            "G.1",
            "Funding and interests",
            made.given("funding"),
            "" if made.metadata.get("funding") else "funding, support, relations to providers",
        ),
    ]
