"""What journals and benchmarks ask for, filled in from metadata as far as those go, with what is missing named.

GUIDE-LLM: the fourteen core items of "GUIDE-LLM: a reporting checklist for LLMs in behavioural science" (2026,
llm-checklist.com/checklist), in our words.  The registration form is that of the Silicon Sample Benchmark
(registration.md of its submission template), in our words as well; a star marks what must be public.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from socsci_jax.evaluation.result import Evaluation
from socsci_jax.pages.tables import Cell, Column, Table
from socsci_jax.wording import counted, counted_of

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


class Facts:
    """What a predictions file says of itself, in words; "" where it says nothing."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.made: Mapping[str, Any] = evaluation.metadata.get("predictions", {})
        self.judged: Mapping[str, Any] = evaluation.metadata.get("evaluation", {})
        self.counts = evaluation.counts
        self.coded = evaluation.coding.counts
        self.training = _mapping(self.made.get("training"))
        self.recipe = _mapping(self.made.get("recipe"))
        self.layout = _mapping(self.made.get("layout"))
        # Our own simulation writes its command; of others nothing is assumed.
        self.is_ours = "elicitation" in self.made and bool(self.layout)

    def said(self, key: str) -> str:
        """A key that authors may add themselves to the metadata."""
        value = self.made.get(key)
        return "" if value is None else value if isinstance(value, str) else _json(value)

    def model(self) -> str:
        shape = _mapping(_mapping(self.recipe.get("model")).get("architecture"))
        start = _mapping(self.recipe.get("model")).get("init_from")
        return _sentences(
            self.said("model"),
            self.made.get("model_hash") and f"hash {self.made['model_hash']}",
            start and f"started from {'random weights' if start == 'random' else start}",
            shape
            and f"{shape.get('model_type', 'decoder')}, {shape.get('num_hidden_layers')} layers of width {shape.get('hidden_size')}",
        )

    def tuning(self) -> str:
        objective = _mapping(self.recipe.get("objective")).get("kind")
        optimizer = _mapping(self.recipe.get("optimizer"))
        studies = self.training.get("trained_studies")
        responses = self.training.get("trained_responses")
        return _sentences(
            objective and f"fine-tuned with objective {objective}",
            responses
            and f"{counted(responses, 'response')}"
            + (f" of {counted(len(studies), 'study')}" if isinstance(studies, list) else ""),
            optimizer and f"{optimizer.get('epochs')} epochs, learning rate {optimizer.get('learning_rate')}",
            self.training.get("total_steps") and f"{counted(self.training['total_steps'], 'step')}",
            self.recipe.get("lora") and f"LoRA {_json(self.recipe['lora'])}",
            self.training.get("trained_on_hash")
            and f"hash of what was trained on {self.training['trained_on_hash']}",
        )

    def elicitation(self) -> str:
        how = self.made.get("elicitation")
        if how == "exact":
            return "probabilities of every allowed answer, computed exactly: no sampling, so no temperature and no seed"
        sampling = self.made.get("sampling")
        return _sentences(
            how and str(how),
            sampling and f"sampling {_json(sampling)}",
            self.made.get("seed") is not None and f"seed {self.made['seed']}",
        )

    def prompts(self) -> str:
        return "\n".join(
            str(self.layout[key]) for key in ("shared", "attribute", "own") if self.layout.get(key)
        )

    def validation(self) -> str:
        parts = [
            f"{n['answers']:,} human answers to {counted(n['items'], 'item')}"
            for n in (*self.counts.values(), *self.coded.values())
        ]
        return f"this evaluation: {'; '.join(parts)}" if parts else ""

    def after(self) -> str:
        draws = sum(n.get("draws", 0) for n in self.counts.values())
        bad = sum(n.get("draws_off_scale", 0) for n in self.counts.values())
        return _sentences(
            self.made.get("rejects") and f"rejected: {self.said('rejects')}",
            self.is_ours and "probabilities renormalized over the allowed answers",
            draws and f"{counted_of(bad, draws, 'draw')} no allowed answer and left out of distances",
        )

    def paragraph(self) -> str:
        """How the predictions were made, for a methods section; "" where the file says nothing."""
        source = _sentences(
            _mapping(self.training.get("data")).get("source"),
            self.said("split") and f"split {self.said('split')}",
        )
        told = (
            (self.model(), "Predictions were made by"),
            (self.tuning(), "The model was"),
            (source, "Data:"),
            (self.held_out(), "Held out from training:"),
            (self.elicitation(), "Elicitation:"),
            (
                self.made.get("versions")
                and ", ".join(f"{k} {v}" for k, v in _mapping(self.made["versions"]).items()),
                "Software:",
            ),
        )
        return " ".join(f"{words} {fact}." for fact, words in told if fact)

    def held_out(self) -> str:
        held = self.made.get("held_out")
        if isinstance(held, dict):
            return ", ".join(
                f"{n:,} {part.replace('_', ' ')}" if isinstance(n, int) else f"{part}: {n}"
                for part, n in held.items()
            )
        return self.said("held_out")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _sentences(*parts: object) -> str:
    return "; ".join(str(part) for part in parts if part)


def guide(evaluation: Evaluation) -> list[Entry]:
    """The fourteen core items of GUIDE-LLM."""
    f = Facts(evaluation)
    local = "local weights, no interface of a provider; every prompt by itself" if f.is_ours else ""
    people = _sentences(
        f.training.get("attributes") and f"personas hold {', '.join(map(str, f.training['attributes']))}",
        _mapping(f.training.get("data")).get("license")
        and f"license of the data {_mapping(f.training.get('data'))['license']}",
    )
    return [
        Entry(
            "A.1",
            "What language models were used for",
            "predicting how people answer; compared here with what people answered",
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
            _sentences(f.elicitation(), f.is_ours and f"versions {_json(f.made.get('versions'))}"),
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
        Entry("E.1", "Validation against people", f.validation(), ""),
        Entry(
            "E.2",
            "Filtering and other post-processing",
            f.after(),
            "" if f.after() else "how answers were read and what was dropped",
        ),
        Entry(
            "F.1",
            "Code that others can run",
            _sentences(f.said("code"), f.judged.get("software")),
            "" if f.made.get("code") else "link to the code and scripts",
        ),
        Entry(
            "G.1",
            "Funding and interests",
            f.said("funding"),
            "" if f.made.get("funding") else "funding, support, relations to providers",
        ),
    ]


def registration_form(evaluation: Evaluation) -> list[Entry]:
    """The items of the Silicon Sample Benchmark's method registration form."""
    f = Facts(evaluation)

    def asked(item: str, title: str, answer: str, missing: str) -> Entry:
        """What is missing is named only where there is no answer."""
        return Entry(item, title, answer, "" if answer else missing)

    ensemble = "one model, no ensemble" if f.is_ours else ""
    versions = f"versions {_json(f.made['versions'])}" if f.made.get("versions") else ""
    resembling = f.made.get("resembling")
    near = f"held-out studies that resemble training studies: {_json(resembling)}" if resembling else ""
    return [
        asked("0.1 ★", "Team", f.said("team"), "name, members, affiliations, contact"),
        asked(
            "0.2 ★", "Summary in plain language", f.said("summary"), "a paragraph on what the approach does"
        ),
        asked(
            "0.3 ★",
            "Tier and family",
            _sentences(f.said("tier"), f.is_ours and "per-respondent simulation by a single model"),
            "tier 1, 2 or 3, and family",
        ),
        asked("0.4", "Pipeline", f.said("command"), "the steps from inputs to the file"),
        Entry(
            "0.5 ★",
            "Coverage",
            f.validation(),
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
            _sentences(versions, f.recipe.get("hardware") and f"trained on {f.recipe['hardware']}"),
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
            _sentences(_mapping(f.training.get("data")).get("source"), f.tuning()),
            "corpus, hashes, hyperparameters",
        ),
        asked("F.2", "Documents in context", "none" if f.is_ours else "", "what was retrieved or shown"),
        asked("G.1 ★", "Competing interests", f.said("funding"), "funding, compute in kind, relations"),
        asked(
            "G.2",
            "Human data from elsewhere",
            str(_mapping(f.training.get("data")).get("source") or ""),
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
