"""From a predictions table and a study store to the evaluation table.

Each part of the split is evaluated by itself.  Figures are computed per item, averaged within a study, then
over studies, and their intervals resample studies.  Beside the model stand predictors that need none.
"""

from __future__ import annotations

import collections
import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax import __version__
from socsci_jax.errors import InputError
from socsci_jax.evaluation import baselines, classification, distances, effects, individuals, intervals
from socsci_jax.evaluation.cells import Cell, PredictionIndex, answers_by_item, level_codes
from socsci_jax.evaluation.intervals import Estimate
from socsci_jax.studies.predictions import Predictions, read_predictions
from socsci_jax.studies.schema import EVALUATION_SCHEMA
from socsci_jax.studies.splits import PARTS, TRAIN, Split
from socsci_jax.studies.store import StudyStore

MODEL = "model"
BASELINES = ("uniform", "training_shape", "pooled", "split_half")
HALVES = 20
PERMUTATIONS = 1_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`frame` is the evaluation table (EVALUATION_SCHEMA); the other tables hold what the report draws.

    All but `frame`, `left_out` and `coding` are about items whose levels have an order; `coding` is about the others.

    In `frame` a row with condition and outcome is one item (n = human answers; half of them for split_half), a
    row with only a study is a mean over its items (n = items), a row with neither is a mean over studies
    (n = studies; for effects the contrasts or condition means).  `scope` is the part of the split.
    """

    frame: pl.DataFrame
    counts: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    metadata: Mapping[str, Mapping]
    distributions: pl.DataFrame
    condition_means: pl.DataFrame
    contrasts: pl.DataFrame
    left_out: pl.DataFrame
    coding: classification.Coding

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.counts)

    def source(self, part: str) -> str:
        """ "exact" if every item of the part has probabilities, else "sampled"."""
        return "sampled" if self.counts[part]["items_without_probabilities"] else "exact"

    def figure(self, metric: str, *, part: str, predictor: str, convention: str) -> dict | None:
        """The part's row of one figure (all columns of the table); None if it was not computed."""
        rows = self.frame.filter(
            pl.col("study").is_null(),
            pl.col("metric") == metric,
            pl.col("scope") == part,
            pl.col("predictor") == predictor,
            pl.col("convention") == convention,
        )
        return rows.row(0, named=True) if rows.height else None


def evaluate_files(
    predictions_path: str | Path,
    store_path: str | Path,
    out_dir: str | Path,
    *,
    split_name: str | None = None,
    seed: int = 0,
    minimum_n: int = 10,
) -> Evaluation:
    """Evaluates a predictions file and writes tables and report to `out_dir`; nothing is left on failure.

    The split is `split_name`, else the one named in the file's metadata, else none: then all answers are one
    part called "all".  Raises InputError for whatever cannot be read or does not fit together.
    """
    from socsci_jax.evaluation.report import write_report  # matplotlib is slow to import

    store = StudyStore(store_path)
    predictions = read_predictions(predictions_path, store)
    named = predictions.metadata.get("split")
    if split_name is None and named is not None and not isinstance(named, str):
        raise InputError(
            f"{predictions_path}: the metadata's 'split' is {named!r}, not a name; pass the split's name instead."
        )
    name = split_name or named
    notes = []
    if name is None:
        labelled = label_without_split(store)
        notes.append(
            "No split was named: all answers are judged together, and nothing here says whether the model "
            "had seen them."
        )
    else:
        labelled = Split.load(store, name).label(store)
        if named not in (None, name):
            notes.append(
                f"The predictions were made under split {named!r} and are judged under {name!r}: answers that "
                "count as unseen here may have been used in training."
            )
    evaluation = evaluate(predictions, store, labelled, seed=seed, minimum_n=minimum_n)
    settings = {**evaluation.metadata["evaluation"], "predictions": str(predictions_path), "split": name}
    evaluation = dataclasses.replace(
        evaluation,
        notes=(*notes, *evaluation.notes),
        metadata={**evaluation.metadata, "evaluation": settings},
    )
    write_report(evaluation, out_dir)
    return evaluation


def label_without_split(store: StudyStore) -> pl.DataFrame:
    """The responses with study_id, condition, outcome and one part, "all"."""
    columns = store.items.select("item_id", "study_id", "condition", "outcome")
    return store.responses.join(columns, on="item_id", how="left").with_columns(part=pl.lit("all"))


def evaluate(
    predictions: Predictions,
    store: StudyStore,
    labelled: pl.DataFrame,
    *,
    seed: int = 0,
    minimum_n: int = 10,
) -> Evaluation:
    """Judges predictions against the answers in `labelled`, as `Split.label` gives them, part by part.

    Only answers that have a prediction are used, for the model and for every other predictor.  Items with
    fewer than `minimum_n` of them stay in the table but enter no average.  Raises InputError if no answer has
    a prediction.
    """
    index = PredictionIndex(predictions)
    is_nominal = pl.col("item_id").is_in([i for i, item in store.item_by_id.items() if item.scale.nominal])
    context = _Context(store, labelled.filter(~is_nominal), seed=seed, minimum_n=minimum_n)
    coded = _Context(store, labelled.filter(is_nominal), seed=seed, minimum_n=minimum_n)
    present = set(labelled["part"].unique())
    ordered = [p for p in (*PARTS, TRAIN) if p in present] + sorted(present - {*PARTS, TRAIN})
    found = {part: context.cells(part, index) for part in ordered}
    parts = {part: _Part(part, cells, context) for part, cells in found.items() if cells}
    coding = classification.judge(
        {part: coded.cells(part, index) for part in ordered},
        labelled.filter(is_nominal, pl.col("part") == TRAIN),
        counts=coded.counts,
        seed=seed,
        minimum_n=minimum_n,
    )
    if not parts and not coding.parts:
        raise InputError(
            f"not one answer of {store.path} has a prediction on a scale of levels; predict items and participants "
            "of this store that have answers."
        )
    unused = _predictions_without_answer(predictions.frame, labelled)
    notes = [f"Not used, because the person did not answer the item: {unused:,} predictions."] * (unused > 0)
    counts = {name: {**context.counts[name], **part.counts()} for name, part in parts.items()}
    rows = [row for part in parts.values() for row in part.rows()]
    rows += [
        _row(f"count_{what}", "count", name, "all", Estimate(float(number)), n=number)
        for name, numbers in counts.items()
        for what, number in numbers.items()
    ]
    schema = pl.from_arrow(EVALUATION_SCHEMA.empty_table()).schema
    return Evaluation(
        frame=pl.concat([pl.DataFrame(rows, schema=schema, orient="row"), coding.frame]),
        counts=counts,
        notes=tuple(notes),
        metadata={
            "predictions": dict(predictions.metadata),
            "evaluation": {
                "store": str(store.path),
                "store_hash": store.content_hash,
                "seed": seed,
                "minimum_n": minimum_n,
                "resamples": intervals.RESAMPLES,
                "halves": HALVES,
                "permutations": PERMUTATIONS,
                "software": f"socsci_jax {__version__}",
            },
        },
        distributions=_stacked([part.distributions() for part in parts.values()]),
        condition_means=_stacked([part.condition_means() for part in parts.values()]),
        contrasts=_stacked([part.contrast_table() for part in parts.values()]),
        left_out=pl.concat([context.left_out(), coded.left_out()]),
        coding=coding,
    )


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One table of all parts; without columns where there is none."""
    return pl.concat(frames) if frames else pl.DataFrame()


def _predictions_without_answer(frame: pl.DataFrame, labelled: pl.DataFrame) -> int:
    personal = frame.filter(pl.col("participant_id").is_not_null())
    key = ["item_id", "participant_id"]
    return personal.join(labelled.select(key).unique(), on=key, how="anti").height


def _rng(seed: int, *words: str) -> np.random.Generator:
    """A stream of its own for each purpose: one item's figures do not depend on which others are evaluated."""
    return np.random.default_rng([seed, zlib.crc32("/".join(words).encode())])


def _row(
    metric: str,
    convention: str,
    scope: str,
    predictor: str,
    figure: Estimate,
    *,
    n: int,
    study: str | None = None,
    condition: str | None = None,
    outcome: str | None = None,
) -> tuple:
    """A row in the order of EVALUATION_SCHEMA; `group` stays null."""
    return (
        metric,
        convention,
        scope,
        predictor,
        study,
        condition,
        outcome,
        None,
        figure.value,
        figure.lo,
        figure.hi,
        n,
    )


def _plain(value: float) -> Estimate:
    return Estimate(float(value) if np.isfinite(value) else None)


class _Context:
    """What all parts share: the answers, the training shapes, the pooled answers, the truth if it is known."""

    def __init__(self, store: StudyStore, labelled: pl.DataFrame, *, seed: int, minimum_n: int):
        self.seed = seed
        self.minimum_n = minimum_n
        self.counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        self._store = store
        self._labelled = labelled
        self._left_out: list[tuple[str, str, str]] = []
        truth = store.path / "truth.parquet"
        self.truth = pl.read_parquet(truth) if truth.is_file() else None
        training, self._pooled = [], {}
        for item_id, answers in answers_by_item(labelled):
            key = self._pool_key(item_id)
            if key is None:
                continue
            codes = level_codes(answers["value"].to_numpy(), np.asarray(key[2]))
            counts = np.bincount(codes[codes >= 0], minlength=len(key[2]))
            self._pooled[key] = self._pooled.get(key, 0) + counts
        for item_id, answers in answers_by_item(labelled.filter(pl.col("part") == TRAIN)):
            key = self._pool_key(item_id)
            if key is None:
                continue
            codes = level_codes(answers["value"].to_numpy(), np.asarray(key[2]))
            if (codes >= 0).any():
                training.append((codes[codes >= 0], len(key[2])))
        self.shapes = baselines.training_shapes(training)

    def _pool_key(self, item_id: str) -> tuple[str, str, tuple[int, ...]] | None:
        item = self._store.item_by_id[item_id]
        return (item.study_id, item.outcome, item.scale.levels) if item.scale.kind == "levels" else None

    def pooled_counts(self, cell: Cell) -> np.ndarray:
        return self._pooled[self._pool_key(cell.item_id)]

    def cells(self, part: str, index: PredictionIndex) -> list[Cell]:
        cells, counts = [], self.counts[part]
        for item_id, answers in answers_by_item(self._labelled.filter(pl.col("part") == part)):
            item = self._store.item_by_id[item_id]
            if item_id not in index:
                counts["items_without_prediction"] += 1
                counts["answers_without_prediction"] += answers.height
                continue
            if item.scale.kind != "levels":
                counts["items_not_levels"] += 1
                self._left_out.append(
                    (part, item_id, f"its scale is {item.scale.kind}, not a list of levels")
                )
                continue
            cell = index.cell(item_id, item, answers)
            if cell is None:
                counts["items_without_prediction"] += 1
                counts["answers_without_prediction"] += answers.height
                continue
            counts["answers_without_prediction"] += cell.answers_without_prediction
            counts["answers_off_scale"] += cell.answers_off_scale
            if cell.codes_n.size < self.minimum_n:
                counts["items_below_minimum_n"] += 1
                self._left_out.append(
                    (
                        part,
                        item_id,
                        f"{cell.codes_n.size} answers, fewer than {self.minimum_n}: in no average",
                    )
                )
            cells.append(cell)
        return cells

    def left_out(self) -> pl.DataFrame:
        schema = {"scope": pl.String, "item_id": pl.String, "reason": pl.String}
        frame = pl.DataFrame(self._left_out, schema=schema, orient="row")
        columns = self._store.items.select("item_id", "study_id", "condition", "outcome")
        return frame.join(columns, on="item_id", how="left", maintain_order="left")


class _Part:
    """All figures of one part of the split."""

    def __init__(self, name: str, cells: Sequence[Cell], context: _Context):
        self.name = name
        self.cells = cells
        self.context = context
        self.n_c = np.array([cell.codes_n.size for cell in cells])
        self.averaged_c = self.n_c >= context.minimum_n
        self.studies = sorted({cell.item.study_id for cell in cells})
        number = {study: i for i, study in enumerate(self.studies)}
        self.study_c = np.array([number[cell.item.study_id] for cell in cells])
        self.counts_bs = intervals.resample_counts(
            len(self.studies), rng=_rng(context.seed, name, "resamples")
        )
        self.fallbacks = 0
        self.pooled_undefined = 0
        self.degenerate = 0
        # (metric, convention, predictor) -> one value per cell, NaN where undefined.
        self.values: dict[tuple[str, str, str], np.ndarray] = {}
        self.human: list[np.ndarray] = []
        self.predicted: list[np.ndarray] = []
        halves = []
        for i in range(len(cells)):
            halves.append(self._measure(i))
        self.half_positions_2cr = np.stack(halves, axis=1)
        self.source = "exact" if all(cell.probs_nl is not None for cell in cells) else "sampled"
        self.means = self._condition_means()

    # ---- items ----

    def _set(self, metric: str, convention: str, predictor: str, cell: int, value: float) -> None:
        column = self.values.setdefault((metric, convention, predictor), np.full(len(self.cells), np.nan))
        column[cell] = value

    def _measure(self, i: int) -> np.ndarray:
        """Fills in the figures of cell i; returns the mean positions of its human halves [2, R]."""
        cell = self.cells[i]
        levels, codes, size = cell.levels_l, cell.codes_n, cell.levels_l.size
        rng = _rng(self.context.seed, self.name, cell.item_id)
        human = distances.histogram(codes, levels=size)
        self.degenerate += int((human > 0).sum() == 1)

        others = {"uniform": baselines.uniform(size)}
        shape = self.context.shapes.get(size)
        self.fallbacks += shape is None
        others["training_shape"] = others["uniform"] if shape is None else shape
        rest = baselines.pooled(self.context.pooled_counts(cell), np.bincount(codes, minlength=size))
        self.pooled_undefined += rest is None
        if rest is not None:
            others["pooled"] = rest

        models = {}
        if cell.probs_nl is not None:
            models["exact"] = cell.probs_nl.mean(axis=0)
        sampled = cell.sampled if cell.sampled is not None else baselines.sample_rows(cell.probs_nl, rng=rng)
        models["sampled"] = distances.histogram(sampled, levels=size)

        halves = None
        if codes.size >= 2:
            halves = baselines.half_histograms(codes, levels=size, splits=HALVES, rng=rng)
        for source, model in models.items():
            beside = {MODEL: model}
            for name, q in others.items():
                beside[name] = q
                if source == "sampled":
                    beside[name] = baselines.sample_histogram(q, n=codes.size, rng=rng)
            for name, q in beside.items():
                self._distances(i, source, name, q, human)
            if halves is not None:
                self._distances(i, source, "split_half", halves[0], halves[1], range_of=human)

        rows = cell.probs_nl if cell.probs_nl is not None else cell.draws_nl
        self._accuracies(i, MODEL, rows)
        for name, q in others.items():
            self._accuracies(i, name, q[None, :])
        if halves is not None:
            at = distances.positions(levels)
            far = np.abs(at[:, None] - at[None, :])
            drawn = ((halves[0] @ far) * halves[1]).sum(axis=1).mean()
            medians = (far[individuals.median_codes(halves[0])] * halves[1]).sum(axis=1).mean()
            self._set("individual_accuracy", "draw", "split_half", i, 1 - drawn)
            self._set("individual_accuracy", "median", "split_half", i, 1 - medians)

        self.human.append(human)
        self.predicted.append(models.get("exact", models["sampled"]))
        if halves is None:
            return np.full((2, HALVES), np.nan)
        return np.stack(halves) @ distances.positions(levels)

    def _distances(
        self,
        i: int,
        source: str,
        predictor: str,
        q: np.ndarray,
        human: np.ndarray,
        *,
        range_of: np.ndarray | None = None,
    ) -> None:
        """W under both conventions and total variation; the mean where q and human are several [R, L]."""
        levels = self.cells[i].levels_l
        stated = distances.wasserstein_stated(q, human, levels_l=levels)
        observed = distances.wasserstein_observed(q, human, levels_l=levels, range_of=range_of)
        self._set("wasserstein", f"stated/{source}", predictor, i, float(np.mean(stated)))
        self._set("wasserstein", f"observed/{source}", predictor, i, float(np.mean(observed)))
        self._set(
            "total_variation", source, predictor, i, float(np.mean(distances.total_variation(q, human)))
        )

    def _accuracies(self, i: int, predictor: str, probs_nl: np.ndarray) -> None:
        cell = self.cells[i]
        codes = cell.codes_n
        if probs_nl.shape[0] == codes.size:
            # People none of whose draws could be read have no accuracy.
            readable = np.isfinite(probs_nl[:, 0])
            probs_nl, codes = probs_nl[readable], codes[readable]
        for rule, accuracy in (
            ("draw", individuals.draw_accuracy),
            ("median", individuals.median_accuracy),
        ):
            value = accuracy(probs_nl, codes, levels_l=cell.levels_l).mean() if codes.size else np.nan
            self._set("individual_accuracy", rule, predictor, i, float(value))

    # ---- condition means and effects ----

    def _condition_means(self) -> pl.DataFrame:
        """Mean positions of people and model by (study, outcome, levels, condition); texts weigh by answers."""
        at = [distances.positions(cell.levels_l) for cell in self.cells]
        return (
            pl.DataFrame(
                {
                    "cell": np.arange(len(self.cells)),
                    "study": [cell.item.study_id for cell in self.cells],
                    "outcome": [cell.item.outcome for cell in self.cells],
                    "scale": [str(cell.item.scale.levels) for cell in self.cells],
                    "condition": [cell.item.condition for cell in self.cells],
                    "is_control": [bool(cell.item.is_control) for cell in self.cells],
                    "n": self.n_c,
                    "human": [float(p @ x) for p, x in zip(self.human, at, strict=True)],
                    "model": [float(p @ x) for p, x in zip(self.predicted, at, strict=True)],
                }
            )
            .group_by("study", "outcome", "scale", "condition", maintain_order=True)
            .agg(
                pl.col("cell"),
                pl.col("is_control").any(),
                pl.col("n").sum(),
                *((pl.col(name) * pl.col("n")).sum() / pl.col("n").sum() for name in ("human", "model")),
            )
            .filter(pl.col("n") >= self.context.minimum_n, pl.col("model").is_finite())
            .filter(pl.len().over("study", "outcome", "scale") >= 2)
            .with_columns(group=pl.struct("study", "outcome", "scale").rank("dense").cast(pl.Int64) - 1)
        )

    def _halves_of_means(self) -> np.ndarray:
        """Mean positions of the human halves of each condition mean [2, M, R]."""
        halves = []
        for members in self.means["cell"]:
            cells = np.array(members)
            cells = cells[self.n_c[cells] >= 2]
            weights = self.n_c[cells] // 2
            halves.append(
                np.einsum("hcr,c->hr", self.half_positions_2cr[:, cells], weights / max(weights.sum(), 1))
            )
        return np.stack(halves, axis=1)

    def _clusters(self, studies: Sequence[str], groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
        """Cluster of each row, resample counts, and what to say: outcomes stand in where there is one study."""
        number = {study: i for i, study in enumerate(self.studies)}
        if len(set(studies)) >= 2:
            return np.array([number[study] for study in studies]), self.counts_bs, ""
        counts = intervals.resample_counts(
            int(groups.max()) + 1, rng=_rng(self.context.seed, self.name, "outcomes")
        )
        return groups, counts, "/outcomes resampled"

    def effect_rows(self) -> list[tuple]:
        means = self.means
        if means.is_empty():
            return []
        group = means["group"].to_numpy()
        studies = means["study"].to_list()
        human, model = means["human"].to_numpy(), means["model"].to_numpy()
        halves_2mr = self._halves_of_means()
        cluster, counts_bs, said = self._clusters(studies, group)
        convention = f"stated/{self.source}{said}"
        rows: list[tuple] = []

        def add(metric: str, predictor: str, replicates: np.ndarray, clusters: np.ndarray, n: int) -> None:
            figure = intervals.estimate(replicates, clusters=len(np.unique(clusters)))
            rows.append(_row(metric, convention, self.name, predictor, figure, n=n))

        # Condition sensitivity: condition means centred within their outcome.
        human_centred = effects.centred(human, group)
        model_centred = effects.centred(model, group)
        half_centred = halves_2mr - _group_means(halves_2mr, group)
        sensitivity = {
            MODEL: effects.moments(model_centred, human_centred),
            "split_half": effects.moments(half_centred[0], half_centred[1]).mean(axis=1),
        }
        for predictor, terms in sensitivity.items():
            sums = counts_bs @ _sum_by(terms, cluster, counts_bs.shape[1])
            for metric, statistic in (
                ("condition_sensitivity_r", effects.correlation),
                ("condition_sensitivity_slope", effects.slope_of_human),
                ("condition_sensitivity_spread_ratio", effects.spread_ratio),
            ):
                add(metric, predictor, statistic(sums), cluster, group.size)
        rows.append(
            _row("condition_sensitivity_r", convention, self.name, "pooled", Estimate(None), n=group.size)
        )
        rows += self._permutation_rows(model_centred, human_centred, group, convention)

        # Effects: differences between condition means.
        pairs = effects.contrasts(group, means["is_control"].to_numpy())
        h = human[pairs.treated] - human[pairs.reference]
        zero = np.zeros_like(h)
        half = halves_2mr[:, pairs.treated] - halves_2mr[:, pairs.reference]
        of_pair = cluster[pairs.treated]
        both = {
            MODEL: (h, model[pairs.treated] - model[pairs.reference]),
            "no_effect": (h, zero),
            "split_half": (half[0], half[1]),
        }
        signs, errors = {}, {}
        for predictor, (x, l) in both.items():  # noqa: E741
            agreement, error = effects.sign_agreement(x, l), (x - l) ** 2
            ways = pairs.both_ways if x.ndim == 1 else pairs.both_ways[:, None]
            terms = effects.moments(l, x, both_ways=ways)
            if x.ndim == 2:
                agreement, error, terms = agreement.mean(axis=1), error.mean(axis=1), terms.mean(axis=1)
            width = counts_bs.shape[1]
            signs[predictor] = intervals.mean_over(counts_bs, _mean_by(agreement, of_pair, width))
            errors[predictor] = np.sqrt(intervals.mean_over(counts_bs, _mean_by(error, of_pair, width)))
            add("effect_sign_agreement", predictor, signs[predictor], of_pair, h.size)
            add("effect_rmse", predictor, errors[predictor], of_pair, h.size)
            r = effects.correlation(counts_bs @ _sum_by(terms, of_pair, width))
            add("effect_r", predictor, r, of_pair, h.size)
        for metric, figures in (("effect_sign_agreement", signs), ("effect_rmse", errors)):
            for other in ("no_effect", "split_half"):
                difference = figures[MODEL] - figures[other]
                add(f"{metric}_difference", f"{MODEL}-{other}", difference, of_pair, h.size)
        return rows

    def _permutation_rows(
        self, model: np.ndarray, human: np.ndarray, group: np.ndarray, convention: str
    ) -> list[tuple]:
        r = float(effects.correlation(effects.moments(model, human).sum(axis=0)))
        null = effects.permutation_null(
            model,
            human,
            group,
            permutations=PERMUTATIONS,
            rng=_rng(self.context.seed, self.name, "permutations"),
        )
        null = null[np.isfinite(null)]
        shuffled, p = Estimate(None), Estimate(None)
        if np.isfinite(r) and null.size:
            lo, hi = np.quantile(null, [0.025, 0.975])
            shuffled = Estimate(float(null.mean()), float(lo), float(hi))
            p = Estimate((1 + int((null >= r).sum())) / (1 + null.size))
        return [
            _row("condition_sensitivity_r_null", convention, self.name, MODEL, shuffled, n=group.size),
            _row("condition_sensitivity_p", convention, self.name, MODEL, p, n=group.size),
        ]

    def true_effect_rows(self) -> list[tuple]:
        """Correlation with the known true effects; a predictor without effects has none."""
        if self.context.truth is None:
            return []
        at = [distances.positions(cell.levels_l) for cell in self.cells]
        rows = []
        for predictor, shares in ((MODEL, self.predicted), ("human", self.human)):
            positions = pl.DataFrame(
                {
                    "item_id": [cell.item_id for cell in self.cells],
                    "study_id": [cell.item.study_id for cell in self.cells],
                    "outcome": [cell.item.outcome for cell in self.cells],
                    "predicted": [float(p @ x) for p, x in zip(shares, at, strict=True)],
                }
            )
            pairs = effects.effects_beside_truth(positions, self.context.truth)
            if pairs.is_empty():
                continue
            groups = pairs.select(pl.struct("study_id", "outcome").rank("dense").cast(pl.Int64) - 1)
            cluster, counts_bs, said = self._clusters(
                pairs["study_id"].to_list(), groups.to_series().to_numpy()
            )
            terms = effects.moments(pairs["predicted"].to_numpy(), pairs["true"].to_numpy())
            r = effects.correlation(counts_bs @ _sum_by(terms, cluster, counts_bs.shape[1]))
            figure = intervals.estimate(r, clusters=len(np.unique(cluster)))
            convention = f"stated/{self.source}{said}"
            rows.append(
                _row("true_effect_correlation", convention, self.name, predictor, figure, n=pairs.height)
            )
        convention = f"stated/{self.source}"
        return rows + [
            _row("true_effect_correlation", convention, self.name, name, Estimate(None), n=len(self.cells))
            for name in ("pooled", "no_effect")
        ]

    # ---- the table ----

    def rows(self) -> list[tuple]:
        rows = []
        for (metric, convention, predictor), values in sorted(self.values.items()):
            rows += self._item_rows(metric, convention, predictor, values)
            rows += self._mean_rows(metric, convention, predictor, values)
            if predictor != MODEL:
                paired = self.values[metric, convention, MODEL] - values
                # Nobody is better than their equal by what rounding leaves.
                paired[np.abs(paired) < effects.ZERO] = 0.0
                rows += self._mean_rows(f"{metric}_difference", convention, f"{MODEL}-{predictor}", paired)
        mass = np.array([cell.mass_on_levels for cell in self.cells])
        if np.isfinite(mass).any():
            rows += self._mean_rows("mass_on_levels", "exact", MODEL, mass)
        draws = np.array([cell.draws for cell in self.cells])
        if draws.any():
            valid = np.array([cell.draws_valid for cell in self.cells])
            share = np.where(draws > 0, valid / np.maximum(draws, 1), np.nan)
            rows += self._mean_rows("parse_rate", "draws", MODEL, share)
        return rows + self.effect_rows() + self.true_effect_rows()

    def _item_rows(self, metric: str, convention: str, predictor: str, values: np.ndarray) -> list[tuple]:
        return [
            _row(
                metric,
                convention,
                self.name,
                predictor,
                _plain(value),
                n=cell.codes_n.size // (2 if predictor == "split_half" else 1),
                study=cell.item.study_id,
                condition=cell.item.condition,
                outcome=cell.item.outcome,
            )
            for cell, value in zip(self.cells, values, strict=True)
        ]

    def _mean_rows(self, metric: str, convention: str, predictor: str, values: np.ndarray) -> list[tuple]:
        used = self.averaged_c & np.isfinite(values)
        per_study = _mean_by(values[used], self.study_c[used], len(self.studies))
        items = np.bincount(self.study_c[used], minlength=len(self.studies))
        rows = [
            _row(metric, convention, self.name, predictor, _plain(value), n=int(n), study=study)
            for study, value, n in zip(self.studies, per_study, items, strict=True)
        ]
        overall = intervals.mean_estimate(self.counts_bs, per_study)
        n = int((items > 0).sum())
        return [*rows, _row(metric, convention, self.name, predictor, overall, n=n)]

    def counts(self) -> dict[str, int]:
        context = self.context.counts[self.name]
        averaged = [i for i in range(len(self.cells)) if self.averaged_c[i]]
        return {
            "studies": len({self.study_c[i] for i in averaged}),
            "items": len(averaged),
            "answers": int(self.n_c[averaged].sum()),
            "median_answers_per_item": int(np.median(self.n_c[averaged])) if averaged else 0,
            "items_below_minimum_n": context["items_below_minimum_n"],
            "items_not_levels": context["items_not_levels"],
            "items_without_prediction": context["items_without_prediction"],
            "items_without_probabilities": sum(cell.probs_nl is None for cell in self.cells),
            "items_where_all_answered_alike": self.degenerate,
            "items_without_training_shape": self.fallbacks,
            "items_without_pooled_answers": self.pooled_undefined,
            "answers_without_prediction": context["answers_without_prediction"],
            "answers_off_scale": context["answers_off_scale"],
            "draws": sum(cell.draws for cell in self.cells),
            "draws_off_scale": sum(cell.draws - cell.draws_valid for cell in self.cells),
        }

    def distributions(self) -> pl.DataFrame:
        stated = self.values["wasserstein", f"stated/{self.source}", MODEL]
        return pl.DataFrame(
            {
                "scope": self.name,
                "item_id": [cell.item_id for cell in self.cells],
                "study": [cell.item.study_id for cell in self.cells],
                "condition": [cell.item.condition for cell in self.cells],
                "outcome": [cell.item.outcome for cell in self.cells],
                "n": self.n_c,
                "averaged": self.averaged_c,
                "wasserstein": stated,
                "levels": [cell.levels_l.tolist() for cell in self.cells],
                "human": [p.tolist() for p in self.human],
                "model": [p.tolist() for p in self.predicted],
            }
        )

    def condition_means(self) -> pl.DataFrame:
        centre = [
            (pl.col(name) - pl.col(name).mean().over("group")).alias(f"{name}_centred")
            for name in ("human", "model")
        ]
        return self.means.select(
            pl.lit(self.name).alias("scope"),
            "study",
            "outcome",
            "condition",
            "is_control",
            "n",
            "human",
            "model",
            *centre,
        )

    def contrast_table(self) -> pl.DataFrame:
        means = self.means
        pairs = effects.contrasts(means["group"].to_numpy(), means["is_control"].to_numpy())
        treated, reference = means[pairs.treated], means[pairs.reference]
        return pl.DataFrame(
            {
                "scope": pl.Series([self.name] * treated.height, dtype=pl.String),
                "study": treated["study"],
                "outcome": treated["outcome"],
                "condition": treated["condition"],
                "reference": reference["condition"],
                "human": treated["human"] - reference["human"],
                "model": treated["model"] - reference["model"],
                "both_ways": pl.Series(pairs.both_ways, dtype=pl.Boolean),
            }
        )


def _sum_by(terms: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
    """Sums [S, ...] of rows by cluster."""
    sums = np.zeros((clusters, *terms.shape[1:]))
    np.add.at(sums, cluster, terms)
    return sums


def _mean_by(values: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
    """Means [S] by cluster, NaN for a cluster without values."""
    n = np.bincount(cluster, minlength=clusters)
    with np.errstate(invalid="ignore"):
        return np.where(n > 0, np.bincount(cluster, weights=values, minlength=clusters) / n, np.nan)


def _group_means(halves_2mr: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean over the members of each group, given back to each member."""
    size = np.bincount(group)
    sums = _sum_by(np.moveaxis(halves_2mr, 1, 0), group, size.size)
    return np.moveaxis((sums / size[:, None, None])[group], 0, 1)
