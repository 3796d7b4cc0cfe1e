"""A sweep: the law is found where there is one, and every run is trained on its own nested share."""

import re

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from small import small_recipe, small_store

from socsci_jax.errors import InputError
from socsci_jax.evaluation.saturation import fit_saturation
from socsci_jax.evaluation.sweep_plot import plot
from socsci_jax.evaluation.sweep_report import write_sweep
from socsci_jax.evaluation.sweep_table import (
    KINDS,
    PRIMARY,
    SWEEP_SCHEMA,
    Point,
    law_sentences,
    summary,
    sweep_table,
)
from socsci_jax.evaluation.table import POLARS_SCHEMA

SHARES = np.array([0.1, 0.25, 0.5, 1.0])


def law(n, *, a=0.06, b=0.8, c=0.5):
    return a + b * n**-c


def fitted(w_r, *, share_r=SHARES, studies=12, noise=0.0, seed=0):
    """The fit to runs on shares of 2,000 units whose distances differ between studies by a factor of mean 1."""
    rng = np.random.default_rng(seed)
    factor = rng.uniform(0.5, 1.5, size=studies)
    w_rs = np.outer(w_r, factor / factor.mean()) + noise * rng.normal(size=(len(w_r), studies))
    return fit_saturation(
        2000 * np.asarray(share_r), w_rs, share_r=share_r, rng=np.random.default_rng(1), resamples=200
    )


@pytest.mark.parametrize("true", [{}, {"a": 0.15, "b": 3.0, "c": 0.9}, {"a": 0.02, "b": 0.4, "c": 0.25}])
def test_the_fit_recovers_the_law(true):
    found = fitted(law(2000 * SHARES, **true))
    true = {"a": 0.06, "b": 0.8, "c": 0.5, **true}
    assert found.reason is None
    assert found.a.value == pytest.approx(true["a"], abs=1e-4)
    assert found.b == pytest.approx(true["b"], rel=1e-2)
    assert found.c == pytest.approx(true["c"], rel=1e-2)
    assert found.a.lo < true["a"] < found.a.hi


def test_a_law_without_a_floor_levels_off_at_zero():
    assert fitted(law(2000 * SHARES, a=-0.01, b=0.4)).a.value == 0


def test_noise_between_seeds_widens_the_interval():
    share_r = np.repeat(SHARES, 3)
    shift = np.tile([-0.004, 0.0, 0.004], SHARES.size)
    calm = fitted(law(2000 * share_r), share_r=share_r, studies=200)
    noisy = fitted(law(2000 * share_r) + shift, share_r=share_r, studies=200)
    assert noisy.a.hi - noisy.a.lo > 1.2 * (calm.a.hi - calm.a.lo)


@pytest.mark.parametrize(
    ("w_r", "share_r", "reason"),
    [
        (law(2000 * SHARES[:3]), SHARES[:3], "at least 4 different amounts of data, here are 3"),
        (np.full(4, 0.2), SHARES, "does not fall"),
        (np.array([0.10, 0.12, 0.13, 0.14]), SHARES, "does not fall"),
        (np.array([0.3, 0.1, 0.1, 0.1]), np.array([0.5, 0.6, 0.8, 1.0]), "level from the second"),
    ],
)
def test_where_there_is_no_law_the_reason_is_said(w_r, share_r, reason):
    found = fitted(w_r, share_r=share_r)
    assert reason in found.reason
    assert found.a is found.b is found.c is None


def test_a_single_study_gives_no_interval():
    found = fitted(law(2000 * SHARES), studies=1)
    assert found.a.value == pytest.approx(0.06, abs=1e-4)
    assert found.a.lo is found.a.hi is None


def of_primary() -> tuple[pl.Expr, pl.Expr]:
    normalization, source = PRIMARY
    return pl.col("normalization") == normalization, pl.col("source") == source


def points(shares, *, of_units=None) -> list[Point]:
    """Runs with two seeds a share and the distances of four studies on two parts."""
    of_units = of_units or law
    made = []
    for share in shares:
        for seed in (0, 1):
            rows = []
            for part in ("unseen_studies", "unseen_conditions"):
                for normalization, source in KINDS:
                    for predictor, w in {
                        "model": of_units(200 * share),
                        "uniform": 0.3,
                        "condition_pooled": 0.1,
                    }.items():
                        row = {
                            "metric": "wasserstein",
                            "normalization": normalization,
                            "source": source,
                            "part": part,
                            "predictor": predictor,
                        }
                        rows.append({**row, "value": w, "lo": 0.9 * w, "hi": 1.1 * w, "n": 4})
                        for study, factor in {"s0": 0.5, "s1": 1.0, "s2": 1.5, "s3": 1.0}.items():
                            rows.append({**row, "study": study, "value": factor * w, "n": 4})
            frame = pl.DataFrame(rows, schema=POLARS_SCHEMA)
            made.append(
                Point(
                    share=share,
                    seed=seed,
                    units=int(200 * share),
                    responses=int(900 * share),
                    distances=frame,
                )
            )
    return made


def test_the_table_holds_every_runs_figures_and_the_law_of_each_part(tmp_path):
    table = sweep_table(points(SHARES), of="participants")
    distances = table.filter(pl.col("metric") == "wasserstein")
    assert distances.height == 4 * 2 * 2 * 2 * 3  # shares, seeds, parts, kinds, predictors
    laws = table.filter(pl.col("metric") == "saturation_a", *of_primary())
    assert laws["value"].to_list() == pytest.approx([0.06, 0.06], abs=1e-4)
    assert (laws["lo"] < 0.06).all() and (laws["hi"] > 0.06).all()
    assert laws["note"].null_count() == 2
    assert summary(table).height == 4 * 2 * 2
    assert all("a = 0.060 [" in sentence for sentence in law_sentences(table))

    write_sweep(table, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sweep.csv", "sweep.parquet", "sweep.png"]
    assert pq.read_schema(tmp_path / "sweep.parquet").equals(SWEEP_SCHEMA)
    assert pl.read_parquet(tmp_path / "sweep.parquet").equals(table)
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_distance_that_falls_to_the_end_is_not_said_to_level_off_at_nothing():
    table = sweep_table(points(SHARES, of_units=lambda n: 0.9 * n**-0.3 - 0.02), of="participants")
    assert all("still falling where the data end" in sentence for sentence in law_sentences(table))
    texts = [text.get_text() for axes in plot(table).axes for text in axes.texts]
    assert texts == ["still falling where the data end"] * 2


def test_where_no_law_was_fitted_table_and_plot_say_why():
    table = sweep_table(points(SHARES[2:]), of="studies")
    laws = table.filter(pl.col("metric").str.starts_with("saturation"))
    assert laws["value"].null_count() == laws.height == 3 * 2 * 2
    assert laws["note"].str.contains("at least 4 different").all()
    texts = [text.get_text() for axes in plot(table).axes for text in axes.texts]
    assert len(texts) == 2 and all("at least" in text for text in texts)


@pytest.mark.slow
def test_a_sweep_trains_nested_shares_and_repeats_nothing(tmp_path, monkeypatch):
    from socsci_jax import sweep as module
    from socsci_jax.studies.splits import Split
    from socsci_jax.training.recipe_files import parse_recipe
    from socsci_jax.training.run import RunFolder

    store = small_store(tmp_path / "store")
    tree = small_recipe(store, tmp_path / "unused", optimizer={"epochs": 1, "learning_rate": 1e-2})
    recipe = parse_recipe(tree, where="test")
    out = tmp_path / "out"

    def sweep(recipe=recipe):
        return module.sweep(
            recipe, of="participants", shares=[1.0, 0.5], seeds=[0], out=out, minimum_n=2, command="test"
        )

    table = sweep()
    assert not (tmp_path / "unused").exists()
    model = table.filter(pl.col("metric") == "wasserstein", *of_primary(), pl.col("predictor") == "model")
    assert model["share"].unique().to_list() == [0.5, 1.0]
    assert {"unseen_studies", "unseen_conditions"} <= set(model["part"])
    assert model["value"].is_between(0, 1).all()
    whole = Split.load(store, "main").training_responses()
    for share, responses in model.select("share", "responses").unique().iter_rows():
        run = RunFolder(out / f"share-{share:g}-seed-0" / "run")
        assert run.metadata["trained_responses"] == responses
        assert run.recipe.data.subset.share == share
        assert (responses == whole.height) == (share == 1.0)
    baselines = table.filter(pl.col("predictor").is_in(["uniform", "condition_pooled"]))
    keys = ["part", "predictor", "normalization", "source"]
    assert (baselines.group_by(keys).agg(pl.col("value").n_unique())["value"] == 1).all()

    # The predictions of one run are lost: it alone is taken up again, and its training has nothing left to do.
    lost = out / "share-0.5-seed-0"
    (lost / "predictions.parquet").unlink()
    steps = (lost / "run" / "metrics.jsonl").read_text()
    original, redone = module._train_and_simulate, []

    def counted(run, *arguments, **settings):
        redone.append(run.folder)
        original(run, *arguments, **settings)

    monkeypatch.setattr(module, "_train_and_simulate", counted)
    assert sweep().equals(table)
    assert redone == [lost]
    assert (lost / "run" / "metrics.jsonl").read_text() == steps
    other = parse_recipe({**tree, "optimizer": {"epochs": 2, "learning_rate": 1e-2}}, where="test")
    with pytest.raises(InputError, match=r"another recipe \(optimizer.epochs 1.0 there, 2.0 here\)"):
        sweep(other)


@pytest.mark.parametrize(
    ("over", "shares", "message"),
    [
        ("people", (0.5, 1.0), "shares are taken of participants, conditions, studies"),
        ("studies", (0.5, 1.0, 0.5), "shares 0.5 1.0 0.5: give at least one, and each once"),
        ("studies", (50, 100), "shares: 50 is not allowed; a share lies above 0"),
        ("studies", (0.01, 1.0), "takes none of the 3 studies"),
    ],
)
def test_a_sweep_that_cannot_be_made(tmp_path, over, shares, message):
    from socsci_jax.sweep import sweep
    from socsci_jax.training.recipe_files import parse_recipe

    recipe = parse_recipe(small_recipe(small_store(tmp_path / "store"), tmp_path / "run"), where="test")
    with pytest.raises(InputError, match=re.escape(message)):
        sweep(recipe, of=over, shares=shares, seeds=(0, 1), out=tmp_path / "out", command="test")
    assert not (tmp_path / "out").exists()
