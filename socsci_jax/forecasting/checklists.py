"""Both reporting checklists of a locked forecast, filled in from what it says of itself and from what authors add."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from socsci_jax import __version__
from socsci_jax.errors import InputError
from socsci_jax.evaluation.report import checklists, guide_llm, registration_form
from socsci_jax.evaluation.report.provenance import Provenance, mapping
from socsci_jax.forecasting.files import SavedForecast
from socsci_jax.wording import counted
from socsci_jax.yaml_reading import read_yaml

GUIDE, FORM = "guide-llm.md", "registration-form.md"
# What no file knows and authors may state.
STATED = {
    "team": "name, members, affiliations, contact",
    "summary": "a paragraph on what the approach does",
    "funding": "funding, compute in kind, relations to providers",
    "blinding": "a signed statement that nobody on the team saw outcomes",
    "selection": "how many configurations were tried, and judged on what",
    "code": "link or DOI of code and materials",
    "compute": "calls, tokens, cost, hours",
}


def documents(saved: SavedForecast, stated: Mapping[str, str] | None = None) -> dict[str, str]:
    """Both checklists as Markdown by file name; what is missing is named in them."""
    known = provenance_of(saved, stated or {})
    return {
        GUIDE: checklists.document(guide_llm.guide(known), title="GUIDE-LLM", source=guide_llm.SOURCE),
        FORM: checklists.document(
            registration_form.registration_form(known),
            title="Registration form of the Silicon Sample Benchmark",
            source=registration_form.SOURCE,
        ),
    }


def provenance_of(saved: SavedForecast, stated: Mapping[str, str]) -> Provenance:
    """What predictions, calibration, population and authors say."""
    metadata, people = saved.record["metadata"], saved.record["population"]
    learned = saved.calibration
    outcomes, arms = (saved.table("arms").select(name).n_unique() for name in ("outcome", "condition"))
    weighting = f"raked to margins of {', '.join(people['margins'])}" if people["margins"] else "not weighted"
    measures = dict(saved.table("past_measures").select("measure", "value").iter_rows())
    covered = (
        f"; each held out and forecast from the others, 90 % intervals covered {measures['coverage_90']:.0%}"
        if "coverage_90" in measures
        else ""
    )
    made: dict[str, Any] = {
        **mapping(metadata.get("predictions")),
        "command": "socsci-jax forecast run, then socsci-jax forecast lock",
        "tier": "tiers 1, 2 and 3, of one forecast",
        "profiles": people["source"],
        "assignment": f"{counted(people['personas'], 'persona')}, each in every one of {counted(arms, 'arm')}, {weighting}; effective sample size "
        f"{people['effective_size']:.0f}",
        "calibration": f"effects shrunk, with intervals, by empirical Bayes over {learned.studies} past studies "
        f"({learned.contrasts} effects; {metadata.get('calibration')}) that the model was not trained on; none of them is this "
        "experiment",
        **stated,
    }
    return Provenance(
        made,
        software=f"socsci_jax {__version__}",
        validation=f"{counted(arms, 'arm')}, {counted(outcomes, 'outcome')}, from no answers of this experiment. Calibrated on {learned.studies} past studies{covered}",
        purpose="predicting how people will answer, from none of their answers",
    )


def read_stated(path: Path) -> dict[str, str]:
    """What authors state, from YAML: a text under each of STATED; raises InputError for another key."""
    stated = read_yaml(path, texts=True, hint="write `team: ...`, one line a statement")
    if not isinstance(stated, dict) or not all(isinstance(text, str) for text in stated.values()):
        raise InputError(f"{path}: write a text under each of {', '.join(STATED)}.")
    if unknown := sorted(set(stated) - set(STATED)):
        raise InputError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(STATED)}.")
    return stated
