"""A gate on recodes: no code is left a bare number in a persona alongside codes that have words."""

from __future__ import annotations

import collections
import re
from typing import TYPE_CHECKING

from socsci_jax.studies.specification_parts import code

if TYPE_CHECKING:
    from data_pipelines.specified.deposit import Deposit
    from data_pipelines.specified.study import BuiltStudy

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def complete(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Codes in the data that an attribute's recode does not name.

    A recode that names fewer than half of the different codes words the ends of a quantity ("90 or older"), and cells
    that are words speak for themselves.
    """
    findings = []
    for name, attribute in built.study.attributes.items():
        if not attribute.recode or attribute.free_text or attribute.unit:
            continue
        codes: collections.Counter[str] = collections.Counter()
        told: set[str] = set(attribute.recode)
        for rows in built.rows:
            column = rows.column(attribute.column or name)
            cells = rows.frame[column]
            if attribute.rows:
                cells = cells.filter(rows.where(attribute.rows))
            codes.update(code(cell) for cell in cells.drop_nulls())
            told |= {*attribute.missing, *rows.table.missing.get(column, ())}
            told |= set(rows.table.value_labels.get(column, {}))
        missed = {c: n for c, n in codes.items() if c not in told and _NUMBER.fullmatch(c)}
        if missed and len(attribute.recode.keys() & codes.keys()) >= len(missed):
            listed = ", ".join(f"{c} ({n:,})" for c, n in sorted(missed.items(), key=lambda cn: float(cn[0])))
            findings.append(
                f"attributes.{name}: the recode misses {listed}; name each code there, or under `missing` if it is no answer"
            )
    return findings
