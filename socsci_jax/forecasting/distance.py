"""How far an experiment's words are from those of the studies that calibration knows."""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping

from socsci_jax.studies.schema import Item

_WORD = re.compile(r"[^\W\d_]{3,}")
Counts = Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """Studies as unit vectors of words, weighted by frequency and rarity (Salton and Buckley 1988)."""

    rarity: Mapping[str, float]
    vectors: Mapping[str, Counts]

    @classmethod
    def of(cls, items: Iterable[Item]) -> Words:
        texts = texts_by_study(items)
        counts = {study: collections.Counter(_WORD.findall(text.casefold())) for study, text in texts.items()}
        seen = collections.Counter(word for own in counts.values() for word in own)
        rarity = {word: math.log((1 + len(counts)) / (1 + n)) + 1 for word, n in seen.items()}
        words = cls(rarity, {})
        return cls(rarity, {study: words._vector(own) for study, own in counts.items()})

    def _vector(self, counts: Mapping[str, int]) -> Counts:
        unseen = math.log(1 + len(self.vectors)) + 1
        weighted = {word: (1 + math.log(n)) * self.rarity.get(word, unseen) for word, n in counts.items()}
        length = math.sqrt(sum(value**2 for value in weighted.values())) or 1.0
        return {word: value / length for word, value in weighted.items()}

    def distance(self, text: str, *, excluded: str | None = None) -> float:
        """1 less the largest cosine with a known study; `excluded` is not compared with itself."""
        others = (study for study in self.vectors if study != excluded)
        return min((self.between(text, study) for study in others), default=1.0)

    def between(self, text: str, study: str) -> float:
        """1 less the cosine with one study."""
        other = self.vectors[study]
        own = self._vector(collections.Counter(_WORD.findall(text.casefold())))
        return 1 - sum(value * other.get(word, 0.0) for word, value in own.items())


def texts_by_study(items: Iterable[Item]) -> dict[str, str]:
    """All that people read in each study, every text once."""
    texts: dict[str, dict[str, None]] = {}
    for item in items:
        texts.setdefault(item.study_id, {}).update(dict.fromkeys((item.stimulus, item.question)))
    return {study: "\n".join(own) for study, own in texts.items()}
