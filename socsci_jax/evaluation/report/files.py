"""Writes an evaluation: the report and a page for each study, tables, and figures for a paper."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from socsci_jax.evaluation.report import markdown, page, studies
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.table import EVALUATION_SCHEMA
from socsci_jax.foreign_text import write_csv
from socsci_jax.storage import beside, check_free, writing
from socsci_jax.studies.predictions import METADATA_KEY

FIGURES, STUDIES = "figures", "studies"


def write_report(evaluation: Evaluation, out_dir: str | Path) -> Path:
    """Writes report.html and .md, a page for each study, figures, and the tables as CSV and Parquet.

    Returns the page's path.  All is made in a folder next to `out_dir` and moved there at the end, so a failure leaves
    nothing behind; other files in `out_dir` are left alone.
    """
    out_dir = Path(out_dir)
    with writing(out_dir), beside(out_dir) as partial:
        _write_tables(evaluation, partial)
        shown = page.values(evaluation)
        (partial / "report.html").write_text(page.render(shown), encoding="utf-8")
        (partial / "report.md").write_text(markdown.report(shown), encoding="utf-8")
        _write_all(partial / FIGURES, {f"{drawn.name}.svg": drawn.svg() for drawn in page.drawings(shown)})
        _write_all(partial / STUDIES, dict(studies.pages(evaluation)))
        _move(partial, out_dir)
    return out_dir / "report.html"


def _write_all(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _move(partial: Path, out_dir: Path) -> None:
    """Moves everything into `out_dir`; of its own two folders those of an earlier evaluation go."""
    for name, pattern in ((FIGURES, "*.svg"), (STUDIES, "study-*.html")):
        old = out_dir / name
        check_free(old, replaces=[path.name for path in old.glob(pattern)])
    out_dir.mkdir(exist_ok=True)
    for made in sorted(partial.iterdir()):
        if made.is_dir():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(out_dir / made.name)
        os.replace(made, out_dir / made.name)


def _write_tables(evaluation: Evaluation, folder: Path) -> None:
    metadata = json.dumps(
        {**evaluation.metadata, "counts": evaluation.counts, "notes": evaluation.notes},
        ensure_ascii=False,
        default=str,
    )
    table = evaluation.table.to_arrow().cast(EVALUATION_SCHEMA)
    pq.write_table(
        table.replace_schema_metadata({METADATA_KEY: metadata.encode()}), folder / "evaluation.parquet"
    )
    # Of single items there are hundreds of values each, more rows than a spreadsheet opens.
    write_csv(evaluation.table.filter(pl.col("outcome").is_null()), folder / "evaluation.csv")
    distributions = _distributions_table(evaluation)
    distributions.write_parquet(folder / "distributions.parquet")
    averaged = pl.col("n") >= evaluation.metadata["evaluation"]["minimum_n"]
    write_csv(
        distributions if distributions.is_empty() else distributions.filter(averaged),
        folder / "distributions.csv",
    )
    for name, frame in (
        ("items", _items_table(evaluation)),
        ("contrasts", evaluation.contrasts),
        ("condition_means", evaluation.condition_means),
        ("reliability", evaluation.reliability),
        ("people", evaluation.background.people),
        ("counts", _counts_table(evaluation)),
    ):
        write_csv(frame, folder / f"{name}.csv")
        frame.write_parquet(folder / f"{name}.parquet")


def _items_table(evaluation: Evaluation) -> pl.DataFrame:
    """One row an item, with the id that the evaluation table does not have, and why it is in no average."""
    place = ("part", "item_id", "study", "condition", "outcome", "n")
    tables = []
    if not evaluation.distributions.is_empty():
        tables.append(evaluation.distributions.select(*place, "wasserstein"))
    if evaluation.coding.parts:
        tables.append(evaluation.coding.items.select(*place, "accuracy"))
    reasons = evaluation.excluded.select(
        "part", "item_id", study="study_id", condition="condition", outcome="outcome", excluded="reason"
    )
    if not tables:
        return reasons
    items = pl.concat(tables, how="diagonal")
    unscored = reasons.join(items, on=["part", "item_id"], how="anti")
    scored = items.join(reasons.select("part", "item_id", "excluded"), on=["part", "item_id"], how="left")
    return pl.concat([scored, unscored], how="diagonal")


def _distributions_table(evaluation: Evaluation) -> pl.DataFrame:
    """One row an item and level: people's share and the model's, so that every histogram can be drawn again."""
    if evaluation.distributions.is_empty():
        return pl.DataFrame()
    frame = evaluation.distributions.select(
        "part", "item_id", "study", "condition", "outcome", "n", "levels", people="human", model="model"
    ).explode("levels", "people", "model")
    return frame.rename({"levels": "level"})


def _counts_table(evaluation: Evaluation) -> pl.DataFrame:
    """What was counted in each part: part, what, n."""
    rows = [
        (part, what, n)
        for counts in (evaluation.counts, evaluation.coding.counts)
        for part, numbers in counts.items()
        for what, n in numbers.items()
    ]
    return pl.DataFrame(rows, schema={"part": pl.String, "what": pl.String, "n": pl.Int64}, orient="row")
