"""SimBench's form: one row a question, with the shares that people and a model gave to each option.

Rows are those of the published results (`human_answer`, a mapping of options to shares; `Response_Distribution`, a list in
the same order; `dataset_name`; `Model`), as JSON lines, JSON, Parquet or CSV.  The published files are pickles, which are
never read here, as they run what stands in them.  Options have no known order: no distance along a scale is computed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from socsci_jax import __version__
from socsci_jax.bounds import COUNTED_PEOPLE, JSON_BYTES
from socsci_jax.errors import InputError
from socsci_jax.evaluation import intervals, resampling
from socsci_jax.evaluation.classification import judge
from socsci_jax.evaluation.elsewhere import incomplete
from socsci_jax.evaluation.elsewhere.columns import REJECTED
from socsci_jax.evaluation.elsewhere.tables import TableEvaluation
from socsci_jax.evaluation.intervals import Estimate, point
from socsci_jax.evaluation.metric import Pair
from socsci_jax.evaluation.metrics import BY_NAME, distribution_metric
from socsci_jax.evaluation.metrics.summaries import simbench_scores
from socsci_jax.evaluation.result import Evaluation
from socsci_jax.evaluation.table import EXACT, MODEL, UNIFORM, columns_of, row, table_of
from socsci_jax.reading import json_lines, parse_json, read_bytes
from socsci_jax.tables import check_columns_once, decompressed, open_parquet, read_rows, to_polars, unreadable
from socsci_jax.wording import counted, kind_of

HUMAN, PREDICTED, DATASET, NAME, SIZE = (
    "human_answer",
    "Response_Distribution",
    "dataset_name",
    "Model",
    "group_size",
)
METRICS = (
    "total_variation",
    "jensen_shannon",
    "kl_divergence",
    "entropy_ratio",
    "mode_share",
    "without_variance",
)
# Shares are rounded where they were published; what is farther from 1 is no distribution.
SUM_TOLERANCE = 0.02
PART = "all"


def is_simbench(path: str | Path) -> bool:
    """Whether a file has a name of SimBench's form; its content is looked at by `evaluate_simbench`."""
    path = Path(path)
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        return True
    if path.suffix.lower() not in (".parquet", ".csv") or not path.is_file():
        return False
    try:
        scan = (
            pl.scan_parquet(path)
            if path.suffix.lower() == ".parquet"
            else pl.scan_csv(path, infer_schema=False)
        )
        return {HUMAN, PREDICTED} <= set(scan.collect_schema().names())
    except (OSError, pl.exceptions.PolarsError):
        return False


def evaluate_simbench(path: str | Path, *, seed: int = 0) -> TableEvaluation:
    """Scores a file of SimBench's form; rows that hold no two distributions over the same options are rejected.

    The SimBench score is that of the published script.  Other metrics are means within a data set, then over them.
    Raises InputError for a file that is no such table, or holds several models' predictions.
    """
    path = Path(path)
    records = list(_records(path))
    named = (record.get(NAME) for _, record in records if not isinstance(record, str))
    models = sorted({str(name) for name in named if name is not None})
    if len(models) > 1:
        raise InputError(
            f"{path}: predictions of {counted(len(models), 'model')} ({', '.join(models[:5])}); give a file for each."
        )
    pairs, datasets, at, bad = [], [], [], []
    for number, record in records:
        pair = record if isinstance(record, str) else _pair(record)
        if isinstance(pair, str) or isinstance(record, str):
            bad.append((str(path), number, PREDICTED, pair, json.dumps(record, default=str)[:200]))
            continue
        pairs.append(pair)
        datasets.append(str(record.get(DATASET) or "data set"))
        at.append(f"row {number}")
    if not pairs:
        raise InputError(
            f"{path}: not one row holds shares of people ({HUMAN}) and of a model ({PREDICTED}) over the same options; "
            f"found {counted(len(bad), 'row')}, the first: {bad[0][3] if bad else 'no row'}."
        )
    rejected = pl.DataFrame(bad, schema=REJECTED, orient="row")
    notes = (
        "SimBench's form: options without a known order, so distances along a scale are not computed; people are given as "
        "shares, so nothing is reported about single people.",
        *((f"{counted(len(bad), 'row')} could not be used and are listed in rejects.csv.",) if bad else ()),
    )
    table = _table(pairs, datasets, at, seed=seed)
    return TableEvaluation(_evaluation(table, pairs, datasets, notes, path, seed), rejected)


def _records(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """Rows from 1 as mappings, or why a row is none."""
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".csv"):
        yield from enumerate(_frame(path).iter_rows(named=True), start=1)
        return
    rows: Iterable[tuple[int, object, str | None]]
    if suffix == ".json":
        content = parse_json(read_bytes(path, limit=JSON_BYTES), where=str(path))
        if not isinstance(content, list):
            raise InputError(f"{path}: a list of rows was expected; write it with orient='records'.")
        rows = ((number, row, None) for number, row in enumerate(content, start=1))
    else:
        lines = json_lines(path, hint="write one JSON object a line")
        rows = ((line.number, line.value, line.problem) for line in lines)
    for number, value, problem in rows:
        if problem is None and isinstance(value, dict):
            yield number, value
        else:
            yield number, problem or f"{kind_of(value)}, no object with {HUMAN} and {PREDICTED}"


def _frame(path: Path) -> pl.DataFrame:
    hint = f"give a table with {HUMAN} and {PREDICTED}"
    if path.suffix.lower() == ".parquet":
        with open_parquet(path, hint=hint) as opened:
            return to_polars(read_rows(opened, path, hint=hint), path, hint=hint)
    try:
        frame = pl.read_csv(decompressed(path, hint=hint), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise unreadable(path, error, hint=hint) from error
    check_columns_once(path, frame.columns)
    return frame


def _pair(record: Mapping[str, Any]) -> Pair | str:
    """Both distributions, or why there are none."""
    human, predicted = (_decoded(record.get(name)) for name in (HUMAN, PREDICTED))
    if not isinstance(human, Mapping):
        return f"{HUMAN} is no mapping of options to shares"
    # Parquet holds every option of the file in every row.
    shares = {option: share for option, share in human.items() if share is not None}
    if isinstance(predicted, Mapping):
        if set(predicted) - {o for o, p in predicted.items() if p is None} != set(shares):
            return "people and model have different options"
        predicted = [predicted[option] for option in shares]
    if not isinstance(predicted, (list, tuple, np.ndarray, pl.Series)):
        return f"{PREDICTED} is no list of shares"
    if len(shares) < 2 or len(predicted) != len(shares):
        return f"{counted(len(shares), 'option')} of people, {len(predicted)} of the model (at least 2, and as many)"
    distributions = []
    for name, values in ((HUMAN, list(shares.values())), (PREDICTED, list(predicted))):
        if not all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) and v >= 0
            for v in values
        ):
            return f"{name} holds what is no share"
        total = float(sum(values))
        if abs(total - 1) > SUM_TOLERANCE:
            return f"{name} sums to {total:.3g}, not to 1"
        distributions.append(np.array(values, dtype=float) / total)
    size = record.get(SIZE)
    known = isinstance(size, (int, float)) and math.isfinite(size) and size >= 1
    n = int(min(float(size or 0), COUNTED_PEOPLE)) if known else 10**9
    return Pair(
        predicted=distributions[1], human=distributions[0], levels_l=np.arange(len(shares), dtype=float), n=n
    )


def _decoded(value: object) -> object:
    """A cell of a CSV as what its JSON says; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value, where="cell")
    except InputError:
        return value


def _table(pairs: Sequence[Pair], datasets: list[str], at: list[str], *, seed: int) -> pl.DataFrame:
    """Rows of every question, data set, and of all."""
    names = sorted(set(datasets))
    study = np.array([names.index(name) for name in datasets])
    single = len(names) == 1
    drawn = resampling.choose(
        names,
        ["all"],
        at,
        people=0,
        asked="outcomes" if single else "studies",
        rng=np.random.default_rng([seed, 0]),
        rng_within=np.random.default_rng([seed, 1]),
    )
    cluster = drawn.clusters_of(at if single else datasets)
    uniform = [np.full_like(pair.human, 1 / pair.human.size) for pair in pairs]
    of_items: list[np.ndarray] = []
    same: list[dict[str, str | None]] = []
    rows = []
    values: dict[str, dict[str, np.ndarray]] = {}
    for predictor in (MODEL, UNIFORM):
        told = pairs if predictor == MODEL else [
            Pair(predicted=q, human=pair.human, levels_l=pair.levels_l, n=pair.n) for q, pair in zip(uniform, pairs)
        ]  # fmt: skip
        values[predictor] = {
            name: np.array([float(distribution_metric(name).of(pair)) for pair in told]) for name in METRICS
        }
    variation = {predictor: of["total_variation"] for predictor, of in values.items()}
    for predictor, of in values.items():
        of = {**of, "simbench_score": simbench_scores(variation[predictor], variation[UNIFORM], study)}
        for name, values_c in of.items():
            of_items.append(values_c)
            same.append({"metric": name, "predictor": predictor, "part": PART, "source": EXACT})
            rows += _means(name, predictor, values_c, study, cluster, names, drawn)
    places = {
        name: pl.Series(column, dtype=pl.String)
        for name, column in (("study", datasets), ("condition", ["all"] * len(at)), ("outcome", at))
    }
    items = columns_of(places, of_items, [np.ones(len(at), dtype=int)] * len(of_items), same)
    return pl.concat([items, table_of(rows)])


def _means(
    name: str,
    predictor: str,
    values_c: np.ndarray,
    study: np.ndarray,
    cluster: np.ndarray,
    names: list[str],
    drawn: resampling.Resampling,
) -> list[dict[str, object]]:
    """Means of the data sets, and of all: over questions for the score, as published, else over data sets."""
    metric = BY_NAME[name]
    median = metric.aggregation == "median of items"
    used = ~np.isnan(values_c) if median else np.isfinite(values_c)
    of_studies = (values_c[used], study[used], len(names))
    by = intervals.quantile_by(*of_studies, q=0.5) if median else intervals.mean_by(*of_studies)
    n = np.bincount(study[used], minlength=len(names))
    same = {"part": PART, "predictor": predictor, "source": EXACT}
    rows = [
        row(name, point(value), n=int(k), study=s, **same) for s, value, k in zip(names, by, n, strict=True)
    ]
    if median and drawn.unit == "outcomes":
        replicates = intervals.weighted_quantiles(drawn.counts_bs, values_c[used], cluster[used])
    elif drawn.unit == "outcomes" or name == "simbench_score":
        sums = drawn.sums(np.stack([values_c[used], np.ones(int(used.sum()))], axis=1), cluster[used])
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates = sums[:, 0] / sums[:, 1]
    else:
        replicates = intervals.mean_over(drawn.counts_bs, by)
    estimate: Estimate = drawn.estimate(metric, replicates, clusters=len(np.unique(cluster[used])))
    return [*rows, row(name, estimate, n=int((n > 0).sum()), **same)]


def _evaluation(
    table: pl.DataFrame,
    pairs: Sequence[Pair],
    datasets: list[str],
    notes: tuple[str, ...],
    path: Path,
    seed: int,
) -> Evaluation:
    settings = {
        "store": str(path),
        "store_hash": hashlib.sha256(path.read_bytes()).hexdigest(),
        "seed": seed,
        "minimum_n": 1,
        "resamples": intervals.RESAMPLES,
        "halves": 0,
        "permutations": 0,
        "software": f"socsci_jax {__version__}",
    }
    labeled = {"item_id": pl.String, "participant_id": pl.String, "value": pl.Float64, "part": pl.String}
    return Evaluation(
        table=table,
        counts={PART: incomplete.counts(studies=len(set(datasets)), items=len(pairs))},
        notes=notes,
        metadata={"predictions": {"table": str(path)}, "evaluation": settings},
        distributions=incomplete.no_distributions(),
        condition_means=incomplete.part_table(),
        contrasts=incomplete.part_table(),
        excluded=incomplete.nothing_excluded(),
        reliability=incomplete.part_table(),
        coding=judge([], pl.DataFrame(schema=labeled)),
    )
