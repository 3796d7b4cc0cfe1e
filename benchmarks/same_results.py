"""Whether a change of the code changes results: the demonstration's store, training, predictions and metrics, hashed.

python -m benchmarks.same_results                      # of the code here
python -m benchmarks.same_results --before FOLDER      # also of another checkout, and which hashes differ

Each side runs the commands of its own checkout, which must know the same recipe keys and columns.  Content is hashed, not
files: these hold commands and versions.  Metrics that only one side has are listed, not compared.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from benchmarks.checkouts import python_in
from benchmarks.options import options_of

CHANGES = ["batch.tokens_per_row=1024", "optimizer.epochs=0.1", "checkpoints.every_steps=1000"]
KEYS = ["metric", "normalization", "source", "predictor", "reference", "part"]
KEYS += ["study", "condition", "outcome", "group", "resampled"]


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--before", type=Path, help="another checkout")
    options.add_argument("--out", type=Path, help="folder for what is made; by default a temporary one")
    a = options.parse_args()
    here = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as temporary:
        out = a.out or Path(temporary)
        now = results_of(here, out / "now")
        if a.before is None:
            for name, value in now.items():
                print(f"{digest(value)}  {name}")
            return
        before = results_of(a.before, out / "before")
    metrics = sorted({name for name in before | now if name.startswith("metric ")})
    for name in metrics:
        if (name in before) != (name in now):
            print(f"only {'before' if name in before else 'now'}: {name}")
    shared = [name for name in before if name in now]
    differ = [name for name in shared if not before[name].equals(now[name], null_equal=True)]
    for name in shared:
        verdict = "DIFFERENT" if name in differ else "equal"
        print(f"{digest(before[name])}  {digest(now[name])}  {verdict:9}  {name}")
    print(f"{len(shared) - len(differ)} of {len(shared)} equal")
    sys.exit(bool(differ))


def results_of(code: Path, out: Path) -> dict[str, pl.DataFrame]:
    """Name -> content of each result, made by the commands of the checkout `code`."""
    out.mkdir(parents=True)
    store, run, predictions = out / "store", out / "run", out / "predictions.parquet"
    recipe = yaml.safe_load((code / "recipes" / "tiny.yaml").read_text())
    recipe |= {"output": str(run)}
    recipe["data"] |= {"store": str(store)}
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command(code, "data", "build", "synthetic", "demonstration", store)
    shares = ("--studies", 0.15, "--conditions", 0.25, "--participants", 0.15)
    command(code, "data", "split", store, *shares)
    command(code, "train", out / "recipe.yaml", *CHANGES)
    command(code, "simulate", run, store, "-o", predictions)
    command(code, "evaluate", predictions, store, "-o", out / "evaluation")
    command(code, "export", run, out / "exported")
    results = {f"store {path.stem}": pl.read_parquet(path) for path in sorted(store.glob("*.parquet"))}
    results |= {"trained weights": weights(out / "exported"), "predictions": pl.read_parquet(predictions)}
    values = pl.read_parquet(out / "evaluation" / "evaluation.parquet").select(
        *KEYS, "value", "lo", "hi", "n"
    )
    for (metric,), rows in sorted(values.partition_by("metric", as_dict=True).items()):
        results[f"metric {metric}"] = rows.sort(KEYS, nulls_last=True)
    return results


def weights(folder: Path) -> pl.DataFrame:
    """Name and SHA-256 of every exported tensor."""
    from safetensors.numpy import load_file

    tensors = {
        name: t for path in sorted(folder.glob("*.safetensors")) for name, t in load_file(path).items()
    }
    hashes = [hashlib.sha256(np.ascontiguousarray(t).tobytes()).hexdigest() for t in tensors.values()]
    return pl.DataFrame({"name": list(tensors), "sha256": hashes}).sort("name")


def digest(frame: pl.DataFrame) -> str:
    """The beginning of a hash of columns, order and values, bit for bit."""
    content = hashlib.sha256(str(frame.schema).encode())
    content.update(frame.write_ndjson().encode())
    return content.hexdigest()[:16]


def command(code: Path, *arguments: object) -> None:
    """Runs a command of the checkout `code`."""
    print(" ".join(["socsci_jax", *map(str, arguments)]), flush=True)
    python_in(code, "-m", "socsci_jax", *arguments)


if __name__ == "__main__":
    main()
