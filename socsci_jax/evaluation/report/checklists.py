"""What journals and benchmarks ask for, filled in from metadata as far as those go, with what is missing named.

GUIDE-LLM: the fourteen core items of "GUIDE-LLM: a reporting checklist for LLMs in behavioural science" (2026,
llm-checklist.com/checklist), in our words.  The registration form is that of the Silicon Sample Benchmark
(registration.md of its submission template), in our words as well; a star marks what must be public.
"""

from __future__ import annotations

import dataclasses

from socsci_jax.evaluation.report.facts import Facts, as_json, mapping, sentences
from socsci_jax.pages.tables import Cell, Column, Table, escaped

GUIDE_SOURCE = (
    "GUIDE-LLM, a reporting checklist for LLMs in behavioural science (2026), llm-checklist.com/checklist"
)
FORM_SOURCE = "Silicon Sample Benchmark, method registration form of its submission template"


@dataclasses.dataclass(frozen=True)
class Entry:
    """An item of a checklist: what the metadata answer, and what an author must add ("" if nothing)."""

    item: str
    title: str
    answer: str
    missing: str = ""


def guide(f: Facts) -> list[Entry]:
    """The fourteen core items of GUIDE-LLM."""
    local = "local weights, no interface of a provider; every prompt by itself" if f.is_ours else ""
    people = sentences(
        f.training.get("attributes") and f"personas hold {', '.join(map(str, f.training['attributes']))}",
        mapping(f.training.get("data")).get("license")
        and f"license of the data {mapping(f.training.get('data'))['license']}",
    )
    return [
        Entry(
            "A.1",
            "What language models were used for",
            f.purpose,
            "any other use in the project, such as writing or coding",
        ),
        Entry(
            "A.2",
            "Automated, or with people in the loop",
            f"automated: {f.said('command')}" if f.made.get("command") else "",
            "" if f.made.get("command") else "whether anybody intervened",
        ),
        Entry(
            "B.1",
            "Model: name, provider, size, version, date, source",
            f.model(),
            "provider, date of access and link" if f.model() else "the model",
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
            sentences(f.elicitation(), f.is_ours and f"versions {as_json(f.made.get('versions'))}"),
            "" if f.elicitation() else "temperature, length, seeds, number of runs",
        ),
        Entry(
            "B.4",
            "Fine-tuning and customization",
            f.tuning(),
            "" if f.tuning() else "whether and on what the model was tuned",
        ),
        Entry(
            "B.5",
            "Memory between calls",
            "none: no prompt sees another" if f.is_ours else "",
            "" if f.is_ours else "whether state was kept",
        ),
        Entry("C.1", "Prompts, verbatim", f.prompts(), "" if f.prompts() else "the prompts"),
        Entry(
            "C.2",
            "Instructions for the whole system",
            str(f.layout.get("system") or ""),
            "" if f.layout.get("system") else "the system prompt, or that there was none",
        ),
        Entry(
            "D.1",
            "Personal and sensitive data",
            people,
            "consent, ethics approval, and how data were protected",
        ),
        Entry("E.1", "Validation against people", f.validation, ""),
        Entry(
            "E.2",
            "Filtering and other post-processing",
            f.after(),
            "" if f.after() else "how answers were read and what was dropped",
        ),
        Entry(
            "F.1",
            "Code that others can run",
            sentences(f.said("code"), f.software),
            "" if f.made.get("code") else "link to the code and scripts",
        ),
        Entry(
            "G.1",
            "Funding and interests",
            f.said("funding"),
            "" if f.made.get("funding") else "funding, support, relations to providers",
        ),
    ]


def registration_form(f: Facts) -> list[Entry]:
    """The items of the Silicon Sample Benchmark's method registration form."""

    def asked(item: str, title: str, answer: str, missing: str) -> Entry:
        """What is missing is named only where there is no answer."""
        return Entry(item, title, answer, "" if answer else missing)

    ensemble = "one model, no ensemble" if f.is_ours else ""
    versions = f"versions {as_json(f.made['versions'])}" if f.made.get("versions") else ""
    resembling = f.made.get("resembling")
    near = f"held-out studies that resemble training studies: {as_json(resembling)}" if resembling else ""
    return [
        asked("0.1 ★", "Team", f.said("team"), "name, members, affiliations, contact"),
        asked(
            "0.2 ★", "Summary in plain language", f.said("summary"), "a paragraph on what the approach does"
        ),
        asked(
            "0.3 ★",
            "Tier and family",
            sentences(f.said("tier"), f.is_ours and "per-respondent simulation by a single model"),
            "tier 1, 2 or 3, and family",
        ),
        asked("0.4", "Pipeline", f.said("command"), "the steps from inputs to the file"),
        Entry(
            "0.5 ★",
            "Coverage",
            f.validation,
            "which of the benchmark's interventions and outcomes are covered",
        ),
        asked(
            "A.1",
            "Where language models are used",
            "prediction of answers only" if f.is_ours else "",
            "every stage in which they are used",
        ),
        asked(
            "A.2 ★",
            "Degree of automation",
            "fully automated" if f.made.get("command") else "",
            "confirmation that nobody was in the loop",
        ),
        asked("B.1", "Models", f.model(), "exact identifiers"),
        asked(
            "B.2",
            "Access and context",
            "local, stateless" if f.is_ours else "",
            "interface, version, dates of calls",
        ),
        asked("B.3", "Configuration", f.elicitation(), "temperature, top-p, length, seeds, completions"),
        asked("B.4", "Customization", f.tuning(), "tuning, retrieval, tools"),
        asked("B.5", "Persistent memory", "none" if f.is_ours else "", "whether anything persisted"),
        asked(
            "B.6",
            "Inference stack",
            sentences(versions, f.recipe.get("hardware") and f"trained on {f.recipe['hardware']}"),
            "framework, quantization, hardware",
        ),
        asked("B.7", "Ensembles", ensemble, "members and the rule of aggregation"),
        asked(
            "C.1",
            "Prompts, verbatim",
            f.prompts(),
            "the prompts, and whether they were refined after seeing outputs",
        ),
        asked("C.2", "System instructions", str(f.layout.get("system") or ""), "the system prompt"),
        asked("C.3", "Source of profiles", f.said("profiles"), "the pool that profiles were taken from"),
        asked(
            "C.4",
            "How profiles are put into words",
            str(f.layout.get("attribute") or ""),
            "variables and template",
        ),
        asked(
            "C.5",
            "Assignment and weighting",
            f.said("assignment"),
            "number of personas, assignment to conditions, weights",
        ),
        asked("C.6", "Stimuli", "verbatim, as text" if f.is_ours else "", "verbatim or paraphrased"),
        asked(
            "C.7",
            "Walk through the survey",
            "one item a prompt, nothing carried over" if f.is_ours else "",
            "items per call, order, carry-over",
        ),
        asked("C.8", "How answers are elicited", f.elicitation(), "free text, choices, or probabilities"),
        asked("D.1", "Runs and seeds", f.elicitation(), "runs for each item, seeds"),
        asked(
            "D.2",
            "Aggregation",
            "probabilities of people, averaged over those who answered"
            if f.made.get("elicitation") == "exact"
            else "",
            "how generations become values",
        ),
        asked(
            "E.1",
            "Human review of outputs",
            "none" if f.made.get("command") else "",
            "whether anybody reviewed outputs",
        ),
        asked("E.2", "Post-processing", f.after(), "parsing, refusals, exclusions"),
        asked(
            "E.3",
            "Corrections after the fact",
            f.said("calibration"),
            "any scaling or shifting, and on what it was fit",
        ),
        asked(
            "F.1",
            "Data of fine-tuning",
            sentences(mapping(f.training.get("data")).get("source"), f.tuning()),
            "corpus, hashes, hyperparameters",
        ),
        asked("F.2", "Documents in context", "none" if f.is_ours else "", "what was retrieved or shown"),
        asked("G.1 ★", "Competing interests", f.said("funding"), "funding, compute in kind, relations"),
        asked(
            "G.2",
            "Human data from elsewhere",
            str(mapping(f.training.get("data")).get("source") or ""),
            "all human data that informed the approach",
        ),
        asked(
            "G.3 ★",
            "Blinding, attested",
            f.said("blinding"),
            "a signed statement that nobody on the team saw outcomes",
        ),
        Entry("G.4", "Contamination", near, "the cutoff of pretraining against the dates of the materials"),
        asked(
            "H.1",
            "How the pipeline was chosen",
            f.said("selection"),
            "how many configurations were tried, and judged on what",
        ),
        asked("I.1", "Code and materials", f.said("code"), "link or DOI"),
        asked(
            "I.2",
            "Raw outputs",
            f"the predictions table{', hash of the store ' + str(f.made['store_hash']) if f.made.get('store_hash') else ''}",
            "",
        ),
        asked("I.3", "Compute", f.said("compute"), "calls, tokens, cost, hours"),
    ]


def answered(entries: list[Entry]) -> str:
    """ "9 of 14 answered from metadata, 3 of them in part." """
    full = sum(bool(e.answer) for e in entries)
    partly = sum(bool(e.answer and e.missing) for e in entries)
    return f"{full} of {len(entries)} are answered from the predictions' metadata" + (
        f", {partly} of them in part." if partly else "."
    )


def table(entries: list[Entry], *, name: str, title: str) -> Table:
    return Table(
        name=name,
        title=title,
        columns=[
            Column(head, is_number=False)
            for head in ("Item", "Asks for", "Answer", "Missing, to be added by the authors")
        ],
        rows=[[Cell(e.item), Cell(e.title), Cell(e.answer or "–"), Cell(e.missing or "–")] for e in entries],
    )


def document(entries: list[Entry], *, title: str, source: str) -> str:
    """A checklist as a Markdown file: its items, and below them by name what authors have to add."""
    missing = [f"- {e.item} {e.title}: {e.missing}" for e in entries if e.missing]
    parts = [
        f"# {title}",
        f"{answered(entries)} Source: {escaped(source)}; items in our words.",
        table(entries, name="", title=title).markdown(),
        "## Missing, to be added by the authors",
        "\n".join(missing) or "Nothing.",
    ]
    return "\n\n".join(parts) + "\n"
