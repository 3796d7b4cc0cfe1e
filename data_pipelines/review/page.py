"""What a review page shows of one study: arms compared, questions and scales, counts, gates, where texts are from."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from data_pipelines.gates import GATES
from data_pipelines.review.charts import Histogram, highest_share, histogram
from data_pipelines.review.comparisons import MOST_CONDITIONS, comparisons_of
from data_pipelines.review.signatures import Signature, signatures
from socsci_jax.errors import InputError
from socsci_jax.pages.page import environment
from socsci_jax.reading import read_json_object
from socsci_jax.storage import new_folder
from socsci_jax.studies.inspect import rejects_by_reason
from socsci_jax.studies.scale import Scale, format_value
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store import StudyStore
from socsci_jax.wording import first_listed

REVIEW = "review"
MOST_HISTOGRAMS, MOST_VALUES = 12, 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """One outcome: its wordings, its scales, answers of each arm."""

    name: str
    wordings: list[tuple[str, str]]
    scales: list[str]
    formats: list[str]
    histograms: list[Histogram]
    by: str
    n: int
    origin: str


def write_review(store: StudyStore) -> list[Path]:
    """Writes `review/` into the store: one page a study and an index; returns the pages' paths, the index first."""
    template, index = (
        environment("data_pipelines.review").get_template(name)
        for name in ("page.html.jinja", "index.html.jinja")
    )
    signed = signatures(store)
    rows = list(store.studies.iter_rows(named=True))
    names = _file_names([row["study_id"] for row in rows])
    folder = store.path / REVIEW
    with new_folder(
        folder, replaces=[path.name for path in folder.glob("*")] if folder.exists() else None
    ) as partial:
        for row in rows:
            page = study_page(store, row)
            text = template.render(**page, **_about(store, signed))
            (partial / names[row["study_id"]]).write_text(text, encoding="utf-8")
        listed = [
            {**row, "file": names[row["study_id"]], "gates": _gates(store, row["study_id"])} for row in rows
        ]
        (partial / "index.html").write_text(
            index.render(studies=listed, **_about(store, signed)), encoding="utf-8"
        )
    return [folder / "index.html", *(folder / name for name in names.values())]


def _file_names(ids: list[str]) -> dict[str, str]:
    """A safe file name for each study."""
    return {study: f"study-{number:03d}.html" for number, study in enumerate(ids, start=1)}


def _about(store: StudyStore, signed: list[Signature]) -> dict:
    return {
        "manifest": store.manifest,
        "signatures": [(signature, signature.is_of(store)) for signature in signed],
        "store": str(store.path),
        "asks": {gate.name: gate.asks for gate in GATES},
    }


def _gates(store: StudyStore, study_id: str) -> list[dict]:
    return [result for result in store.manifest.get("gates", ()) if result["study"] == study_id]


def study_page(store: StudyStore, study: Mapping) -> dict:
    """All that the page of one study shows; raises InputError for a damaged provenance file."""
    study_id = study["study_id"]
    items = {i: item for i, item in store.item_by_id.items() if item.study_id == study_id}
    answers = store.responses.filter(pl.col("item_id").is_in(list(items)))
    arm_of = {item_id: item.condition for item_id, item in items.items()}
    people = _people(answers, arm_of)
    origins = _origins(store, study_id)
    arms = {item.condition: item for item in reversed(items.values())}
    return {
        "study": study,
        "gates": _gates(store, study_id),
        "counts": {
            "people": store.participants.filter(pl.col("study_id") == study_id).height,
            "answers": answers.height,
            "conditions": len(arms),
            "items": len(items),
        },
        "rejects": list(rejects_by_reason(store).iter_rows()),
        "comparisons": comparisons_of(arms, people, origins),
        "conditions": [
            {
                "name": name,
                "levels": dict(item.factors),
                "control": item.is_control,
                "people": people.get(name, 0),
            }
            for name, item in sorted(arms.items())[:MOST_CONDITIONS]
        ],
        "more_conditions": max(0, len(arms) - MOST_CONDITIONS),
        "questions": _questions(items, answers, origins),
        "attributes": _attributes(store, study_id),
        "sources": store.manifest.get("sources", {}),
    }


def _origins(store: StudyStore, study_id: str) -> dict[str, str]:
    path = store.path / "provenance.json"
    if not path.exists():
        return {}
    places_of = read_json_object(path).get(study_id, {})
    if not isinstance(places_of, dict):
        raise InputError(f"{path}: study {study_id!r} is no mapping; build the store again.")
    return {key: "; ".join(map(str, places)) for key, places in places_of.items() if isinstance(places, list)}


def _people(answers: pl.DataFrame, arm_of: Mapping[str, str]) -> dict[str, int]:
    counted = answers.with_columns(arm=pl.col("item_id").replace_strict(arm_of, return_dtype=pl.String))
    return dict(counted.group_by("arm").agg(pl.col("participant_id").n_unique()).iter_rows())


def _questions(
    items: Mapping[str, Item], answers: pl.DataFrame, origins: Mapping[str, str]
) -> list[Question]:
    values = {
        item_id: column.to_list()
        for (item_id,), column in (
            (key, group["value"]) for key, group in answers.group_by("item_id", maintain_order=True)
        )
    }
    questions = []
    for outcome in dict.fromkeys(item.outcome for item in items.values()):
        own = {item_id: item for item_id, item in items.items() if item.outcome == outcome}
        wordings = collections.defaultdict(list)
        for item in own.values():
            wordings[item.question.strip()].append(item.condition)
        scale = next(iter(own.values())).scale
        by, groups = _groups(own, values)
        highest = highest_share(list(groups.values()), scale)
        questions.append(
            Question(
                name=outcome,
                wordings=[
                    (text, "" if len(wordings) == 1 else first_listed(arms))
                    for text, arms in list(wordings.items())[:20]
                ],
                scales=list(dict.fromkeys(describe(item.scale) for item in own.values()))[:5],
                formats=list(dict.fromkeys(item.answer_format for item in own.values()))[:5],
                histograms=[histogram(name, group, scale, highest=highest) for name, group in groups.items()],
                by=by,
                n=sum(map(len, groups.values())),
                origin=origins.get(f"outcomes.{outcome}.question", ""),
            )
        )
    return questions


def _groups(own: Mapping[str, Item], values: Mapping[str, list[float]]) -> tuple[str, dict[str, list[float]]]:
    """Answers by condition; where there are many, by the factor that has a control, or that of fewest levels."""
    factors = list(dict.fromkeys(f for item in own.values() for f in item.factors))
    levels = {f: {item.factors.get(f, "") for item in own.values()} for f in factors}
    conditions = {item.condition for item in own.values()}
    factor = ""
    if len(conditions) > MOST_HISTOGRAMS and levels:
        factor = min(levels, key=lambda name: (not _tells_control(own, name), len(levels[name])))
    groups: dict[str, list[float]] = {}
    for item_id, item in own.items():
        groups.setdefault(item.factors.get(factor, "") if factor else item.condition, []).extend(
            values.get(item_id, ())
        )
    if len(groups) > MOST_HISTOGRAMS:
        return "all arms", {"all arms": [value for group in groups.values() for value in group]}
    return factor or "condition", dict(sorted(groups.items()))


def _tells_control(own: Mapping[str, Item], factor: str) -> bool:
    """Whether the factor's levels say which arms are controls."""
    told = {(item.factors.get(factor), item.is_control) for item in own.values()}
    return len({control for _, control in told}) == 2 and len(told) == len({level for level, _ in told})


def describe(scale: Scale) -> str:
    """A scale in words: its levels with labels, what lies outside them, and where it was read."""
    if scale.kind == "levels":
        labels = scale.labels or [""] * len(scale.levels)
        named = [
            f"{format_value(v)} = {label}" if label else format_value(v)
            for v, label in zip(scale.levels, labels, strict=True)
        ]
        if not any(scale.labels) and len(named) > MOST_VALUES:
            named = [named[0], "...", named[-1]]
        text = ("codes without an order: " if scale.nominal else "") + "; ".join(named)
    else:
        ends = ["any" if end is None else format_value(end) for end in (scale.lo, scale.hi)]
        text = f"a number from {ends[0]} to {ends[1]}" if scale.kind == "open" else "unknown"
    beside = [
        f"{format_value(v)} = {label}"
        for v, label in zip(scale.alternatives, scale.alternative_labels, strict=True)
    ]
    text += f". Outside the order: {'; '.join(beside)}" if beside else ""
    text += f". Missing: {', '.join(map(format_value, scale.missing))}" if scale.missing else ""
    return f"{text}. Read from: {scale.origin}."


def _attributes(store: StudyStore, study_id: str) -> list[dict]:
    people = store.participants.filter(pl.col("study_id") == study_id)["attributes"].to_list()
    attributes = []
    for name in store.attributes:
        counts = collections.Counter(known[name] for known in people if known[name] is not None)
        if counts:
            most = counts.most_common(MOST_VALUES)
            attributes.append(
                {
                    "name": name,
                    "values": most,
                    "others": len(counts) - len(most),
                    "unknown": len(people) - counts.total(),
                }
            )
    return attributes
