"""The arms of the TESS archive: what people read in each, and which of them is a control."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping

import polars as pl

from data_pipelines.archives.tess_tables import CONDITIONS, plain_text
from socsci_jax.studies.store_builder import StoreBuilder

# Arms whose text in the archive is that of an arm of another experiment, while their siblings are about something
# else.  What these people read is not in the archive, so they are excluded as long as the two texts are equal.
MISPLACED_TEXTS = {
    ("McCabeS19", "INSURANCE+GOVERNMENT CUE"): ("Howat1039", "Traits"),
    ("Merolla843", "relaxation_condition"): ("Levendusky741", "Control"),
}

# "Gun Control, ..." is a topic.
_CONTROL_NAME = re.compile(
    r"(?<!gun[ _])(?<![a-z])control(?![a-z])|(?<![a-z])(?:placebo|baseline)(?![a-z])|\bno (?:narrative|prompt)\b",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    name: str
    stimulus: str
    is_control: bool | None


def read_conditions(table: pl.DataFrame, builder: StoreBuilder) -> dict[tuple[str, str], Condition]:
    """The arms by (study, name); those that cannot be used go to the rejects with the reason."""
    stimuli: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    own_texts: dict[tuple[str, str], str] = {}
    for row in table.iter_rows(named=True):
        key = (row["study"], row["condition.name"])
        reason = None
        if None in key:
            reason = "without a study or a name"
        elif row["Exclude"] not in (None, "0"):
            reason = f"marked Exclude = {row['Exclude']} in the archive"
        if reason:
            builder.reject(
                "condition",
                place=f"{CONDITIONS}, row {row['row'] + 1}",
                reason=reason,
                record={"study": key[0], "condition": key[1]},
            )
            continue
        own_texts[key] = plain_text(row["condition.text"])
        stimuli[key].add(_joined(plain_text(row["blurb"]), own_texts[key]))
    reasons = {
        key: "several texts stand under this name" for key, texts in stimuli.items() if len(texts) > 1
    } | _misplaced(own_texts, builder)
    for (study, name), reason in reasons.items():
        builder.reject(
            "condition",
            place=f"{CONDITIONS}, study {study}, condition {name!r}",
            reason=reason,
            record={"study": study, "condition": name},
        )
    kept = {key: texts.pop() for key, texts in stimuli.items() if key not in reasons}
    controls = _controls(kept, own_texts)
    return {
        key: Condition(name=key[1], stimulus=stimulus, is_control=controls[key])
        for key, stimulus in kept.items()
    }


def _joined(blurb: str, own: str) -> str:
    """Both texts, once: some rows repeat the one within the other."""
    parts = [own] if blurb in own else [blurb] if own in blurb else [blurb, own]
    return "".join(f"{part}\n\n" for part in parts if part)


def _misplaced(texts: Mapping[tuple[str, str], str], builder: StoreBuilder) -> dict[tuple[str, str], str]:
    """Reasons to exclude arms that carry another experiment's text; a note for each text that studies share."""
    words = {key: "".join(re.findall(r"\w", text)) for key, text in texts.items()}
    holders = collections.defaultdict(list)
    for key, letters in words.items():
        if letters:
            holders[letters].append(key)
    for keys in holders.values():
        if len({study for study, _ in keys}) > 1:
            arms = ", ".join(f"{study} {name!r}" for study, name in keys)
            builder.notes.append(f"The same condition text stands in several studies: {arms}.")
    return {
        key: f"its text in the archive is that of study {owner[0]}, condition {owner[1]!r}"
        for key, owner in MISPLACED_TEXTS.items()
        if key in words and words[key] == words.get(owner)
    }


def _controls(
    kept: Iterable[tuple[str, str]], own_texts: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], bool | None]:
    """Whether an arm is its study's control: by its name, or because it alone adds no text.

    None for all arms of a study in which no arm, or every arm, looks like one.
    """
    looks = {key: bool(_CONTROL_NAME.search(key[1])) or not own_texts[key] for key in kept}
    seen = collections.defaultdict(set)
    for (study, _), is_control in looks.items():
        seen[study].add(is_control)
    return {key: is_control if len(seen[key[0]]) == 2 else None for key, is_control in looks.items()}
