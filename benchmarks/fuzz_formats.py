"""Damaged files for every reader of deposits: counts what is read, refused in one sentence, or goes wrong.

    python -m benchmarks.fuzz_formats --seconds 60

Files of every format are made, bytes are changed, cut, doubled or moved, and each is read as a build reads it.
Allowed are a table or text, and one `InputError`; anything else is printed with the seed that makes it.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path

from data_pipelines.formats.documents import read_document
from data_pipelines.formats.tables import read_table
from socsci_jax.errors import InputError
from socsci_jax.studies.specification import SourceFile

SLOWEST = 10.0


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with a few changes of one to several bytes."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        if not data:
            break
        at, length = draw.randrange(len(data)), draw.randint(1, 40)
        match draw.randrange(6):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length] * draw.randint(1, 50)
            case 3:
                data[at : at + length] = bytes(draw.randrange(256) for _ in range(length))
            case 4:
                data[at : at + 4] = draw.choice(
                    [b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"]
                )
            case 5:
                data = data[:at]
    return bytes(data)


def read(path: Path) -> None:
    if path.suffix in (".docx", ".pdf", ".md"):
        read_document(path, kind="text" if path.suffix == ".md" else path.suffix[1:])
    else:
        read_table(path, SourceFile(path=path.name))


def fuzz(path: Path, *, seconds: float, seed: int) -> dict[str, float]:
    """Reads damaged copies of the file for so many seconds."""
    content = path.read_bytes()
    target = path.with_name(f"damaged{path.suffix}")
    counts: dict[str, float] = {"inputs": 0, "read": 0, "refused": 0, "wrong": 0, "slow": 0, "slowest s": 0.0}
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        draw = random.Random(f"{seed} {path.suffix} {counts['inputs']}")
        target.write_bytes(damaged(content, draw))
        began = time.monotonic()
        try:
            read(target)
            counts["read"] += 1
        except InputError:
            counts["refused"] += 1
        except BaseException:
            counts["wrong"] += 1
            print(f"{path.suffix}: seed {seed}, input {counts['inputs']:.0f}", file=sys.stderr)
            traceback.print_exc()
        took = time.monotonic() - began
        counts["slow"] += took > SLOWEST
        counts["slowest s"] = max(counts["slowest s"], round(took, 2))
        counts["inputs"] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="*", help="such as .csv .pdf; by default all")
    settings = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "data_pipelines"))
    from test_formats import samples

    with tempfile.TemporaryDirectory() as folder:
        for path in samples(Path(folder)):
            if settings.formats and path.suffix not in settings.formats:
                continue
            counts = fuzz(path, seconds=settings.seconds, seed=settings.seed)
            print(path.suffix, {name: f"{count:g}" for name, count in counts.items()}, flush=True)
    for who, name in ((resource.RUSAGE_SELF, "this process"), (resource.RUSAGE_CHILDREN, "largest reader")):
        print(f"peak memory of {name}: {resource.getrusage(who).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
