"""Studies on opposite sides of a split that may be one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore


@dataclasses.dataclass(frozen=True)
class NearDuplicate:
    """Two studies on opposite sides of a split that may be one fielding, and what gives them away."""

    held_out: str
    training: str
    text_overlap: float
    reason: str


def near_duplicate_studies(
    store: StudyStore,
    split: Split,
    *,
    threshold: float = 0.3,
    progress: Callable[[str], None] = lambda _: None,
) -> list[NearDuplicate]:
    """Held-out studies that resemble a training study.

    `text_overlap` is the share of the smaller study's distinct eight-word sequences (stimulus and question)
    that the other also has (containment).  Pairs are named for an overlap of at least `threshold`, for equal
    titles, or for equal numbers of participants and answers per item (one fielding split in two deposits).
    """
    held = sorted(split.units("unseen_studies")["study_id"].unique())
    training = sorted(set(store.studies["study_id"]) - set(held))
    shingles: dict[str, set[int]] = {}
    studies = store.item_places["study_id"]
    for study, (stimulus, question, _) in zip(studies, store.item_by_id.texts, strict=True):
        words = re.findall(r"\w+", f"{stimulus} {question}".lower())
        grams = {hash(tuple(words[i : i + 8])) for i in range(max(1, len(words) - 7))}
        shingles.setdefault(study, set()).update(grams)
    titles = {
        study: re.sub(r"\W+", " ", title.lower()).removesuffix(" replication").strip()
        for study, title in store.studies.select("study_id", "title").iter_rows()
    }
    sizes = dict(store.participants.group_by("study_id").len().iter_rows())
    pairs = []
    for a in held:
        progress(a)
        for b in training:
            overlap = len(shingles[a] & shingles[b]) / max(1, min(len(shingles[a]), len(shingles[b])))
            if overlap >= threshold:
                pairs.append(NearDuplicate(a, b, overlap, "shared text"))
            elif titles[a] and titles[a] == titles[b]:
                pairs.append(NearDuplicate(a, b, overlap, "equal titles"))
            elif sizes[a] == sizes[b] and sizes[a] >= 500:
                pairs.append(NearDuplicate(a, b, overlap, f"equal number of participants ({sizes[a]})"))
    return pairs
