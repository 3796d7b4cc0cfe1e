"""Responses trained per second, beside the peers.

python -m benchmarks.training --peers PEERS/bin/python --source TESS_ARCHIVE [--shape small --tokenizer QWEN]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.table import compare, ours, peer
from benchmarks.workload import workload


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers", required=True, help="python of the peers' environment (see benchmarks/peers)"
    )
    parser.add_argument("--source", default="synthetic", help="a TESS archive, or synthetic")
    parser.add_argument("--shape", default="tiny", choices=["tiny", "small"])
    parser.add_argument("--tokenizer", type=Path, help="Qwen2.5's tokenizer files, for --shape small")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=[], help="labels to leave out")
    a = parser.parse_args()
    folder = workload(a.work, shape=a.shape, source=a.source, tokenizer=a.tokenizer).resolve()
    tiny = a.shape == "tiny"
    dtype, batch = ("float32", 16) if tiny else ("bfloat16", 8)
    theirs = [
        "--model",
        folder / "model",
        "--data",
        folder / "train.npz",
        "--dtype",
        dtype,
        "--batch-size",
        batch,
    ]
    theirs += ["--steps", a.steps]
    mine = [
        "train",
        "--workload",
        folder,
        "--dtype",
        dtype,
        "--steps",
        a.steps,
        "--remat",
        "none" if tiny else "layers",
    ]
    large, equal = (8192, 1024 if tiny else 512) if tiny else (2048, 512)
    sides = {
        "TRL": [peer, a.peers, "train.py", *theirs, "--mode", "trl"],
        "loop, logits_to_keep": [peer, a.peers, "train.py", *theirs, "--mode", "keep"],
        "ours, merged": [ours, *mine, "--tokens-per-row", large],
        "ours, merging off": [
            ours, *mine, "--tokens-per-row", large, "--sharing", "prefix", "--branches-per-tree", 32,
        ],
        # Nothing to share: as many tokens in a step as the peers' batch has.
        "ours, one branch a tree": [
            ours, *mine, "--rows", 1, "--tokens-per-row", 8192 if tiny else 4096,
            "--sharing", "prefix", "--branches-per-tree", 1,
        ],
        # About as many responses in a step as the peers' batch has.
        "ours, merging off, peers' batch": [
            ours, *mine, "--tokens-per-row", 2 * equal, "--sharing", "prefix", "--branches-per-tree", 32,
        ],
    }  # fmt: skip
    sides = {label: side for label, side in sides.items() if label not in a.without}
    compare(
        f"training-{folder.name}-{dtype}",
        sides,
        rounds=a.rounds,
        baselines=[label for label in ("TRL", "loop, logits_to_keep") if label in sides],
        command=" ".join(["python -m benchmarks.training", *sys.argv[1:]]),
    )


if __name__ == "__main__":
    main()
