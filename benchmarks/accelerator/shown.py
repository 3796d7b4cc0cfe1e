"""All that was found so far, as one table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.accelerator.catalog import MEASUREMENTS, Measurement

# Of a result, what is kept for those who read the file.
NOT_SHOWN = ("losses", "versions", "profile")


def file_of(out: Path, one: Measurement) -> Path:
    return out / f"{one.name.replace('/', '.').replace(' ', '-').replace(',', '')}.json"


def show(out: Path) -> None:
    """One line for each number that was found, with what is expected; for the others why there is none."""
    table = Table("measurement", "found", "expected", title=str(out.name))
    ceiling = _results(out, MEASUREMENTS[0]).get("found", {}).get("tflops_bfloat16")
    for one in MEASUREMENTS:
        table.add_row(one.name, "\n".join(_of(one, _results(out, one), ceiling)), one.expected)
    Console(width=140).print(table, markup=False)


def _results(out: Path, one: Measurement) -> dict[str, Any]:
    path = file_of(out, one)
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _of(one: Measurement, results: dict[str, Any], ceiling: float | None) -> Iterator[str]:
    if not results:
        missing = one.missing()
        yield f"not installed: {', '.join(missing)}" if missing else "not measured yet"
    for key in ("failed", "out of memory", "cut off"):
        if key in results:
            yield f"{key}: {results[key].strip()[:300]}"
    found = results.get("found", {})
    yield from _lines(found)
    if ceiling and "tflops_by_formula" in found:
        yield f"share of the ceiling: {found['tflops_by_formula'] / ceiling:.0%}"
    if found.get("peak_bytes") and found.get("planned_bytes"):
        yield f"planned / peak: {found['planned_bytes'] / found['peak_bytes']:.2f}"
    yield from (f"{share:.0%} {name}" for name, _, share in found.get("profile", [])[:5])


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for key, value in found.items():
        if key == "runs":
            yield from map(_run, value)
        elif isinstance(value, float):
            yield f"{key}: {value:.4g}"
        elif key not in NOT_SHOWN:
            yield f"{key}: {value}"


def _run(row: dict[str, Any]) -> str:
    way = f"{row['rows']} {row['way']}"
    if "failed" in row:
        return f"{way}: {row['failed']}"
    return f"{way}: {row['ms']:.2f} ms, apart {row['apart']:.0e}"
