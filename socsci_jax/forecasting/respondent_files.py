"""A data set of whole respondents as files: the rows, their statistics, and where they are from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.people_tables import write_sav
from socsci_jax.foreign_text import write_csv
from socsci_jax.storage import new_file

if TYPE_CHECKING:
    from socsci_jax.forecasting.respondents import Respondents

KINDS = (".csv", ".parquet", ".sav")


def files_of(out: Path) -> tuple[Path, Path, Path]:
    """The rows, NAME_statistics.csv and NAME.json."""
    return out, out.with_name(f"{out.stem}_statistics.csv"), out.with_name(f"{out.stem}.json")


def check_out(out: Path, *, replace: bool) -> None:
    """Raises InputError for another kind of file than KINDS, or where something is there already."""
    if out.suffix not in KINDS:
        raise InputError(f"{out}: a data set is written as {', '.join(KINDS)}; choose such a name.")
    for path in files_of(out):
        if path.exists() and not replace:
            raise InputError(f"{path} exists already; choose another file or pass `replace=True`.")


def write_respondents(
    respondents: Respondents, out: Path, *, metadata: Mapping[str, object] | None = None
) -> tuple[Path, ...]:
    """Writes the three files, over files of these names; returns their paths."""
    rows, statistics, told = files_of(out)
    if rows.suffix == ".sav":
        write_sav(respondents.rows, respondents.labels, rows)
    else:
        with new_file(rows) as partial:
            if rows.suffix == ".csv":
                write_csv(respondents.rows, partial)
            else:
                respondents.rows.write_parquet(partial)
    with new_file(statistics) as partial:
        write_csv(respondents.statistics, partial)
    content = json.dumps(
        {**respondents.metadata, **(metadata or {})}, ensure_ascii=False, indent=1, default=str
    )
    with new_file(told) as partial:
        partial.write_text(content + "\n", encoding="utf-8")
    return rows, statistics, told
