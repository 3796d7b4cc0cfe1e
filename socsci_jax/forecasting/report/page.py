"""The page of a forecast: what to expect, how sure, what not to conclude, and all that it was learned from."""

from __future__ import annotations

from typing import Any

from socsci_jax.forecasting.power import sentences
from socsci_jax.forecasting.report import pictures, tables, variants, words
from socsci_jax.forecasting.report.material import Material
from socsci_jax.pages import page
from socsci_jax.pages.tables import metadata_table

MOST_PASTED = 20

FILES = {
    "effects.csv": "each effect: predicted, expected, intervals, or why there is no forecast (also as Parquet)",
    "arms.parquet": "the predicted distribution of every arm",
    "ranks.parquet": "how likely an arm is the highest or the lowest",
    "groups.parquet": "effects by subgroup",
    "components.parquet": "effects of single levels of factors",
    "power.parquet": "what studies of several sizes would find",
    "variants.parquet": "the specification curve: each effect under each way of asking",
    "multiverse.parquet": "what the curve says of each effect",
    "checks.parquet": "what moved that should not have moved",
    "personas.parquet": "who was asked, with weights",
    "population.parquet": "what weighting did to each attribute",
    "predictions.parquet": "every probability",
    "calibration.parquet": "effects of people and model in past studies, from which calibration learned",
    "past.parquet": "each past study, forecast from the others",
    "past_measures.parquet": "coverage and errors of these",
    "forecast.json": "what was learned, and every setting",
}


def render(m: Material) -> str:
    """The page as HTML: nothing is fetched, and the same forecast gives the same bytes."""
    return page.render("socsci_jax.forecasting.report", "forecast.html.jinja", **values(m))


def values(m: Material) -> dict[str, Any]:
    """What the template shows."""
    metadata = m.metadata
    return {
        "studies": ", ".join(m.studies),
        "model": _model(metadata),
        "made": metadata.get("made"),
        "lead": words.lead(m),
        "directions": words.directions(m)[: words.MOST_DIRECTIONS],
        "silent": m.told.is_empty(),
        "findings": words.findings(m),
        "outcomes": None if m.told.is_empty() else tables.outcomes(m),
        "never": words.NEVER,
        "refused": tables.refused(m),
        "arms": pictures.arms(m),
        "effects": None if m.told.is_empty() else tables.effects(m),
        "components": tables.components(m),
        "curves": variants.curves(m),
        "multiverse": variants.summary(m),
        "variant_findings": variants.findings(m),
        "checks": variants.checks(m),
        "distributions": pictures.distributions(m),
        "groups": tables.groups(m),
        "group_plots": pictures.subgroups(m),
        "power": pictures.power(m),
        "people": None if m.told.is_empty() else tables.people(m),
        "per_arm": m.record["per_arm"],
        "pasted": pasted(m),
        "past": pictures.past(m),
        "calibration": m.calibration,
        "learned_from": words.learned_from(m),
        "learned": tables.learned(m),
        "past_studies": tables.studies(m),
        "source": metadata.get("calibration"),
        "excluded": list(metadata.get("excluded_studies", [])),
        "seen": list(metadata.get("seen_studies", [])),
        "population": tables.population(m),
        "weights": tables.weights(m),
        "personas": m.record["population"],
        "provenance": metadata_table("provenance", "What the forecast says of itself", metadata),
        "files": FILES,
    }


def pasted(m: Material) -> list[str]:
    """What a manuscript may say of the first effects."""
    return sentences(m.told.head(MOST_PASTED), m.tables["arms"], m.record["per_arm"])


def _model(metadata: Any) -> str:
    made = metadata.get("predictions") or {}
    return str(made.get("model", "a model that does not name itself")) if isinstance(made, dict) else ""
