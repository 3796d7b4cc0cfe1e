"""socsci_jax: fine-tune open language models on survey experiments and predict how people would answer.

    import socsci_jax as sj

    model = sj.open_model("runs/tiny")
    item = sj.item("How much do you trust the council?", "1-7: not at all | completely")
    people = [{"age": "34", "gender": "Female"}, {"age": "70", "gender": "Male"}]
    sj.predict(model, item, people).plot()

Importing the package loads nothing heavy: a name of the interface is loaded when it is used first.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from socsci_jax.errors import InputError as InputError
    from socsci_jax.interface.forecasts import forecast as forecast
    from socsci_jax.interface.judging import evaluate as evaluate
    from socsci_jax.interface.judging import read_predictions as read_predictions
    from socsci_jax.interface.models import export as export
    from socsci_jax.interface.models import open_model as open_model
    from socsci_jax.interface.models import train as train
    from socsci_jax.interface.respondents import respondents as respondents
    from socsci_jax.interface.stores import build_store as build_store
    from socsci_jax.interface.stores import open_store as open_store
    from socsci_jax.interface.stores import split_store as split_store
    from socsci_jax.plain_tables import compare_tables as compare_tables
    from socsci_jax.plain_tables import evaluate_tables as evaluate_tables
    from socsci_jax.simulation.hidden import hidden_states as hidden_states
    from socsci_jax.simulation.predict import predict as predict
    from socsci_jax.simulation.sampling import Sampling as Sampling
    from socsci_jax.studies.asking import item as item
    from socsci_jax.studies.pairs import Pairs as Pairs
    from socsci_jax.studies.predictions import Predictions as Predictions
    from socsci_jax.studies.schema import Item as Item
    from socsci_jax.studies.schema import Scale as Scale
    from socsci_jax.studies.splits import Split as Split
    from socsci_jax.studies.store import StudyStore as StudyStore

# Where each name of the public interface is.
_INTERFACE = {
    "InputError": "errors",
    "Item": "studies.schema",
    "Pairs": "studies.pairs",
    "Predictions": "studies.predictions",
    "Sampling": "simulation.sampling",
    "Scale": "studies.schema",
    "Split": "studies.splits",
    "StudyStore": "studies.store",
    "build_store": "interface.stores",
    "evaluate": "interface.judging",
    "evaluate_tables": "plain_tables",
    "compare_tables": "plain_tables",
    "export": "interface.models",
    "forecast": "interface.forecasts",
    "hidden_states": "simulation.hidden",
    "item": "studies.asking",
    "open_model": "interface.models",
    "open_store": "interface.stores",
    "predict": "simulation.predict",
    "read_predictions": "interface.judging",
    "respondents": "interface.respondents",
    "split_store": "interface.stores",
    "train": "interface.models",
}

__all__ = sorted(_INTERFACE)


def __getattr__(name: str) -> object:
    if name not in _INTERFACE:
        raise AttributeError(f"module 'socsci_jax' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"socsci_jax.{_INTERFACE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_INTERFACE])
