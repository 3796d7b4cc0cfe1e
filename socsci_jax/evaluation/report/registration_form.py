"""The items of the Silicon Sample Benchmark's method registration form (registration.md of its submission template), in
our words; a star marks what must be public."""

from __future__ import annotations

from socsci_jax.evaluation.report.checklists import Entry, asked
from socsci_jax.evaluation.report.provenance import Provenance, as_json, mapping, sentences

SOURCE = "Silicon Sample Benchmark, method registration form of its submission template"


def registration_form(made: Provenance) -> list[Entry]:
    """The form's items, answered as far as metadata go."""
    sections = (_overview, _automation, _models, _prompts, _answers, _data, _selection)
    return [entry for section in sections for entry in section(made)]


def _overview(made: Provenance) -> list[Entry]:
    """Who registers, and what."""
    return [
        asked("0.1 ★", "Team", made.given("team"), "name, members, affiliations, contact"),
        asked(
            "0.2 ★",
            "Summary in plain language",
            made.given("summary"),
            "a paragraph on what the approach does",
        ),
        asked(
            "0.3 ★",
            "Tier and family",
            sentences(made.given("tier"), made.is_ours and "per-respondent simulation by a single model"),
            "tier 1, 2 or 3, and family",
        ),
        asked("0.4", "Pipeline", made.given("command"), "the steps from inputs to the file"),
        Entry(
            "0.5 ★",
            "Coverage",
            made.validation,
            "which of the benchmark's interventions and outcomes are covered",
        ),
    ]


def _automation(made: Provenance) -> list[Entry]:
    """Where language models are used."""
    return [
        asked(
            "A.1",
            "Where language models are used",
            "prediction of answers only" if made.is_ours else "",
            "every stage in which they are used",
        ),
        asked(
            "A.2 ★",
            "Degree of automation",
            "fully automated" if made.metadata.get("command") else "",
            "confirmation that nobody was in the loop",
        ),
    ]


def _models(made: Provenance) -> list[Entry]:
    """Models and how they run."""
    ensemble = "one model, no ensemble" if made.is_ours else ""
    versions = f"versions {as_json(made.metadata['versions'])}" if made.metadata.get("versions") else ""
    return [
        asked("B.1", "Models", made.model(), "exact identifiers"),
        asked(
            "B.2",
            "Access and context",
            "local, stateless" if made.is_ours else "",
            "interface, version, dates of calls",
        ),
        asked("B.3", "Configuration", made.elicitation(), "temperature, top-p, length, seeds, completions"),
        asked("B.4", "Customization", made.tuning(), "tuning, retrieval, tools"),
        asked("B.5", "Persistent memory", "none" if made.is_ours else "", "whether anything persisted"),
        asked(
            "B.6",
            "Inference stack",
            sentences(versions, made.recipe.get("hardware") and f"trained on {made.recipe['hardware']}"),
            "framework, quantization, hardware",
        ),
        asked("B.7", "Ensembles", ensemble, "members and the rule of aggregation"),
    ]


def _prompts(made: Provenance) -> list[Entry]:
    """Prompts, profiles, stimuli."""
    return [
        asked(
            "C.1",
            "Prompts, verbatim",
            made.prompts(),
            "the prompts, and whether they were refined after seeing outputs",
        ),
        asked("C.2", "System instructions", str(made.layout.get("system") or ""), "the system prompt"),
        asked("C.3", "Source of profiles", made.given("profiles"), "the pool that profiles were taken from"),
        asked(
            "C.4",
            "How profiles are put into words",
            str(made.layout.get("attribute") or ""),
            "variables and template",
        ),
        asked(
            "C.5",
            "Assignment and weighting",
            made.given("assignment"),
            "number of personas, assignment to conditions, weights",
        ),
        asked("C.6", "Stimuli", "verbatim, as text" if made.is_ours else "", "verbatim or paraphrased"),
        asked(
            "C.7",
            "Walk through the survey",
            "one item a prompt, nothing carried over" if made.is_ours else "",
            "items per call, order, carry-over",
        ),
        asked("C.8", "How answers are elicited", made.elicitation(), "free text, choices, or probabilities"),
    ]


def _answers(made: Provenance) -> list[Entry]:
    """From runs to values, and what happens to values after that."""
    return [
        asked("D.1", "Runs and seeds", made.elicitation(), "runs for each item, seeds"),
        asked(
            "D.2",
            "Aggregation",
            "probabilities of people, averaged over those who answered"
            if made.metadata.get("elicitation") == "exact"
            else "",
            "how generations become values",
        ),
        asked(
            "E.1",
            "Human review of outputs",
            "none" if made.metadata.get("command") else "",
            "whether anybody reviewed outputs",
        ),
        asked("E.2", "Post-processing", made.after(), "parsing, refusals, exclusions"),
        asked(
            "E.3",
            "Corrections after the fact",
            made.given("calibration"),
            "any scaling or shifting, and on what it was fit",
        ),
    ]


def _data(made: Provenance) -> list[Entry]:
    """Data, interests, contamination."""
    resembling = made.metadata.get("resembling")
    near = f"held-out studies that resemble training studies: {as_json(resembling)}" if resembling else ""
    return [
        asked(
            "F.1",
            "Data of fine-tuning",
            sentences(mapping(made.training.get("data")).get("source"), made.tuning()),
            "corpus, hashes, hyperparameters",
        ),
        asked("F.2", "Documents in context", "none" if made.is_ours else "", "what was retrieved or shown"),
        asked("G.1 ★", "Competing interests", made.given("funding"), "funding, compute in kind, relations"),
        asked(
            "G.2",
            "Human data from elsewhere",
            str(mapping(made.training.get("data")).get("source") or ""),
            "all human data that informed the approach",
        ),
        asked(
            "G.3 ★",
            "Blinding, attested",
            made.given("blinding"),
            "a signed statement that nobody on the team saw outcomes",
        ),
        Entry("G.4", "Contamination", near, "the cutoff of pretraining against the dates of the materials"),
    ]


def _selection(made: Provenance) -> list[Entry]:
    """How the pipeline was chosen, and what is shared."""
    return [
        asked(
            "H.1",
            "How the pipeline was chosen",
            made.given("selection"),
            "how many configurations were tried, and judged on what",
        ),
        asked("I.1", "Code and materials", made.given("code"), "link or DOI"),
        asked(
            "I.2",
            "Raw outputs",
            f"the predictions table{', hash of the store ' + str(made.metadata['store_hash']) if made.metadata.get('store_hash') else ''}",
            "",
        ),
        asked("I.3", "Compute", made.given("compute"), "calls, tokens, cost, hours"),
    ]
