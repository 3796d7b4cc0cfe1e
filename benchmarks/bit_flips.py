"""One bit turned round in a Parquet file of a study store: `python -m benchmarks.bit_flips --tries 1000`.

A bit of a random file is turned round, and the whole store is read, splits included.  Tries that change a value (or make
the file unreadable) are counted until there are enough, and those of them that nothing noticed; ends with status 1 if
there are any.
"""

from __future__ import annotations

import collections
import random
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzz_readers import make_store
from benchmarks.options import options_of
from socsci_jax.errors import InputError
from socsci_jax.evaluation.evaluate import TRUTH_FILE
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import TABLES, StudyStore


def main() -> None:
    """Prints for each file how many of its tries changed a value, and how many of these were noticed."""
    arguments = options_of(__doc__)
    arguments.add_argument("--tries", type=int, default=1000, help="tries that change a value")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_store(Path(folder))
        changed, noticed, harmless = flip(Path(folder) / "store", tries=options.tries, seed=options.seed)
    print(f"{'file':<24}{'value changed':>14}{'noticed':>9}{'no value changed':>18}")
    for name in sorted(changed | harmless):
        print(f"{name:<24}{changed[name]:>14,}{noticed[name]:>9,}{harmless[name]:>18,}")
    print(f"noticed: {noticed.total():,} of {changed.total():,} tries that change a value")
    raise SystemExit(noticed != changed)


def flip(store: Path, *, tries: int, seed: int) -> tuple[collections.Counter[str], ...]:
    """Tries by file: that changed a value, those of them that were noticed, and that changed none."""
    rng = random.Random(seed)
    files = sorted(store.rglob("*.parquet"))
    whole = {path: (path.read_bytes(), pq.read_table(path)) for path in files}
    changed, noticed, harmless = (collections.Counter[str]() for _ in range(3))
    while changed.total() < tries:
        path = rng.choice(files)
        content, table = whole[path]
        name = str(path.relative_to(store))
        path.write_bytes(_with_bit(content, rng.randrange(8 * len(content))))
        if _reads_as(path, table):
            harmless[name] += 1
        else:
            changed[name] += 1
            noticed[name] += _is_refused(store)
        path.write_bytes(content)
    return changed, noticed, harmless


def _with_bit(content: bytes, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << (bit % 8)
    return bytes(flipped)


def _reads_as(path: Path, table: pa.Table) -> bool:
    try:
        return pq.read_table(path).equals(table)
    except (OSError, UnicodeDecodeError, pa.ArrowException):
        return False


def _is_refused(folder: Path) -> bool:
    """Whether reading everything in the store is refused in one sentence; anything else that is raised passes through."""
    try:
        store = StudyStore(folder)
        for name in TABLES:
            getattr(store, name)
        store.check_file(TRUTH_FILE)  # as evaluation reads it
        for path in (folder / "splits").glob("*.parquet"):
            Split.load(store, path.stem).label()
    except InputError:
        return True
    return False


if __name__ == "__main__":
    main()
