"""Responses trained per second, compared with the peers.

python -m benchmarks.training --peers PEERS/bin/python --source TESS_ARCHIVE [--shape small --tokenizer QWEN]
"""

from __future__ import annotations

from benchmarks.table import compare, ours, parser, peer
from benchmarks.workload import workload


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=5)
    options.add_argument("--without", nargs="*", default=[], help="labels to exclude")
    a = options.parse_args()
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
    large, equal = (8192, 2048) if tiny else (2048, 1024)
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
            ours, *mine, "--tokens-per-row", equal, "--sharing", "prefix", "--branches-per-tree", 32,
        ],
    }  # fmt: skip
    sides = {label: side for label, side in sides.items() if label not in a.without}
    compare(
        f"training-{folder.name}-{dtype}",
        sides,
        rounds=a.rounds,
        baselines=[label for label in ("TRL", "loop, logits_to_keep") if label in sides],
    )


if __name__ == "__main__":
    main()
