"""An experiment of ten items of four labeled options, with all their orders and four formats of the persona."""

from __future__ import annotations

import polars as pl

from data_pipelines.specified.experiment import variants_of_experiment
from socsci_jax.forecasting.population import population
from socsci_jax.studies.specification_files import parse_specification
from socsci_jax.studies.variants import StudyVariants

TOPICS = ("parks", "taxes", "the plan", "the money", "the time")
_EXPERIMENT = """
study: plan
factors:
  frame:
    levels:
      plain: {{text: People read about plan c1., control: true}}
      costs: "People read about plan c2, which costs money and time."
multiverse: {multiverse}
scales: {{feeling: {{levels: {{{levels}}}}}}}
outcomes:
"""


def varied_study(
    multiverse: str = "{orders: all, persona_formats: [sentences, first_person, reversed]}",
    *,
    options: int = 4,
    topics: tuple[str, ...] = TOPICS,
) -> StudyVariants:
    """Two arms of as many outcomes as topics."""
    labels = ("an integer", "nothing else", "about money", "from people", "only time")[:options]
    levels = ", ".join(f"{code}: {label}" for code, label in enumerate(labels, start=1))
    text = _EXPERIMENT.format(multiverse=multiverse, levels=levels)
    text += "".join(f'  "{t}": {{question: "How do you feel about {t}?", scale: feeling}}\n' for t in topics)
    return variants_of_experiment(parse_specification(text, where="e.yaml"))["plan"]


def people(number: int) -> pl.DataFrame:
    """Personas that all differ."""
    ages, genders = ("18-34", "35-64", "65 or older"), ("Female", "Male")
    table = {
        "age": [ages[i % 3] for i in range(number)],
        "gender": [genders[i % 2] for i in range(number)],
        "household_size": list(map(str, range(number))),
    }
    return population(pl.DataFrame(table)).personas
