"""Held-out responses predicted per second, compared with the peers.

python -m benchmarks.simulation --peers PEERS/bin/python --source TESS_ARCHIVE [--levels 101]
"""

from __future__ import annotations

from benchmarks.table import compare, ours, parser, peer
from benchmarks.workload import workload


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--levels", default="few", choices=["few", "101"], help="items of 2 to 11 levels, or of 101"
    )
    a = options.parse_args()
    folder = workload(a.work, shape=a.shape, source=a.source, tokenizer=a.tokenizer).resolve()
    dtype = "float32" if a.shape == "tiny" else "bfloat16"

    def theirs(mode: str, people: int) -> list:
        data = folder / f"score-{a.levels}-{people}.npz"
        arguments = [
            "--model",
            folder / "model",
            "--data",
            data,
            "--dtype",
            dtype,
            "--repeats",
            1,
            "--modes",
            mode,
        ]
        return [peer, a.peers, "score.py", *arguments]

    data = f"score-{a.levels}-400.npz"
    mine = ["score", "--workload", folder, "--dtype", dtype, "--data", data, "--repeats", 3]
    sides = {
        # The slow ones answer for fewer people of the same items: their rate does not depend on how many there are.
        "generate": theirs("generate", 40),
        "loop over the allowed answers": theirs("levels", 8),
        "prefix cache, first token only": theirs("prefix", 400),
        "ours, merged": [ours, *mine],
        # Personas of many fields are mostly unique: no two people are alike, but their personas may begin alike.
        "ours, every persona once": [ours, *mine, "--distinct"],
        "ours, every persona once, first token only": [ours, *mine, "--distinct", "--first-token"],
        "ours, merging off": [ours, *mine, "--sharing", "prefix"],
        "ours, merging off, first token only": [ours, *mine, "--sharing", "prefix", "--first-token"],
    }
    compare(f"simulation-{folder.name}-{a.levels}-{dtype}", sides, rounds=a.rounds, baselines=list(sides)[:3])


if __name__ == "__main__":
    main()
