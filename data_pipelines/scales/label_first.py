"""Labels that stand before their numbers: "Label (1) to Label (7)", "Yes = 1, No = 2"."""

from __future__ import annotations

import itertools
import re

from data_pipelines.scales.labels import clean_label, connector
from data_pipelines.scales.passage import BEFORE_ANCHOR, Passage, is_range
from data_pipelines.scales.written_numbers import Number

_LABELED = re.compile(r"[\"']?\s*(?:[(\[]\s*|=\s*|\s(?:is|being|equals|as|coded as)\s+)[\"']?$", re.I)


def read_labels_first(text: str, plain: str, numbers: list[Number], reading: Passage) -> bool:
    """Reads "Label (1) to Label (7)" and "Yes = 1, No = 2"; False if the passage is not of this form."""
    run = [
        n
        for n in numbers
        if _LABELED.search(plain[: n.start])
        and re.match(r"[\"']?\s*(?:[)\],;.?]|$|(?:and|or|to|through|up to)\b)", plain[n.end :], re.I)
        and not re.search(r"[=:(]\s*$", plain[: _LABELED.search(plain[: n.start]).start()])
    ]
    if len(run) < 2 or any(n.value != int(n.value) for n in run) or len({n.value for n in run}) < len(run):
        return False
    labels: dict[int, str] = {}
    spans = False
    previous_end = None
    for n in run:
        close = re.match(r"[\"']?\s*[)\]]?", plain[n.end :]).end() + n.end
        label_end = _LABELED.search(plain[: n.start]).start()
        if plain[label_end : label_end + 1] in ('"', "'"):
            label_end += 1
        if previous_end is None:
            begin = _first_label_start(plain, label_end)
            if begin is None:
                return False
        else:
            join = re.match(
                r"[\s,;.]*(?:\b(to|through|thru|up to|until|and|or)\b)?\s*|\s*-\s*",
                plain[previous_end:label_end],
                re.I,
            )
            spans = spans or (join[1] or "").lower() in ("to", "through", "thru", "up to", "until")
            begin = previous_end + join.end()
        label = clean_label(text[begin:label_end], plain[begin:label_end])
        if not label or re.fullmatch(r"[\W\d]*", label):
            return False
        labels[int(n.value)] = label
        previous_end = close
    used = {id(n) for n in run}
    values = sorted(labels)
    for n, m in itertools.pairwise(numbers):
        if id(n) not in used and id(m) not in used and is_range(plain, n, m):
            reading.ranges.add((min(n.value, m.value), max(n.value, m.value)))
    others = [n for n in numbers if id(n) not in used]
    if any(
        connector(plain, n) in ("copula", "option") and BEFORE_ANCHOR.search(plain[: n.start]) for n in others
    ):
        return False
    reading.labels = labels
    reading.on_scale = True
    if spans:
        reading.ranges.add((values[0], values[-1]))
    elif not reading.ranges:
        reading.options = values[-1] - values[0] == len(values) - 1
    return True


def _first_label_start(plain: str, end: int) -> int | None:
    before = plain[:end]
    if before and before[-1] in "\"'":
        opening = before.rfind(before[-1], 0, len(before) - 1)
        return opening if opening >= 0 else None
    lead = list(
        re.finditer(
            r"[.?!:;]\s+|[(\[]\s*|\b(?:from|where|with|between|return|select|choose|either|one of|ranging from|scale|options?)\b[\s:,]*",
            before,
            re.I,
        )
    )
    return lead[-1].end() if lead else None
