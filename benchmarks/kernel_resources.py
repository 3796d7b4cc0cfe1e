"""Registers, spills and shared memory of the GPU attention's kernels, compiled without a GPU.

python -m benchmarks.kernel_resources [--capability 90] [--warps 4 8]

Triton compiles each kernel for the capability (90: H100 and H200, sm_90a), the assembler of its own package counts.  A
multiprocessor of sm_90a has 65,536 registers and 227 KiB of shared memory for its blocks; `blocks` is how many fit.  `tokens`
are computed at a time, `spilled` are bytes of a thread, `shared` bytes of a block, `seconds` those of processors that
Triton and the assembler take.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

from benchmarks.options import options_of
from benchmarks.table import save
from socsci_jax.models.attention_gpu import MOST_FEATURES, blocks, kernel_attention
from socsci_jax.models.triton_call import Launch, compiled_for
from socsci_jax.training.run import software_versions

REGISTERS, SHARED, THREADS = 65_536, 227 * 1024, 2048
TOKENS, KEY_HEADS, QUERY_HEADS = 8192, 2, 7


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--capability", type=int, default=90)
    options.add_argument(
        "--widths", type=int, nargs="+", default=[64, 80, 96, 128, 160, 256], help="features of a head"
    )
    options.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    options.add_argument("--warps", type=int, nargs="+", help="instead of those that the kernel takes")
    a = options.parse_args()
    os.environ["TRITON_ALWAYS_COMPILE"] = "1"
    columns = ("kernel", "width", "dtype", "tokens", "warps")
    columns += ("registers", "spilled", "shared", "blocks", "seconds")
    table = Table(*columns, title=f"sm_{a.capability}{'a' if a.capability >= 90 else ''}")
    kernels = []
    for dtype in a.dtypes:
        for width in (width for width in a.widths if width <= MOST_FEATURES[jnp.dtype(dtype).itemsize]):
            for launch, dtypes in launches(width, dtype):
                for warps in a.warps or [launch.warps]:
                    row = resources(launch._replace(warps=warps), dtypes, a.capability)
                    kernels.append({"width": width, "dtype": dtype, **row})
                    table.add_row(*(str(kernels[-1][column]) for column in columns))
    Console(width=110).print(table)
    save(
        f"kernel-resources-sm{a.capability}",
        {
            "versions": software_versions()
            | {"triton": metadata.version("triton"), "ptxas": _ptxas_version(a.capability)},
            "kernels": kernels,
        },
    )


def launches(width: int, dtype: str) -> list[tuple[Launch, tuple[Any, ...]]]:
    """The kernels of attention forward and backward, with their operands' types, for 7 query heads a key head."""
    found = []

    def record(launch: Launch, *arrays: jax.Array) -> list[jax.Array]:
        found.append((launch, tuple(jnp.dtype(x.dtype) for x in arrays)))
        return [jnp.zeros(x.shape, x.dtype) for x in launch.results]

    def both(q, k, v, at, end):
        see = blocks(at, end)
        mixed, gradients = jax.vjp(lambda q, k, v: kernel_attention(q, k, v, see, record), q, k, v)
        return gradients(mixed)

    q = jax.ShapeDtypeStruct((1, TOKENS, KEY_HEADS, QUERY_HEADS, width), dtype)
    k = jax.ShapeDtypeStruct((1, TOKENS, KEY_HEADS, width), dtype)
    number = jax.ShapeDtypeStruct((1, TOKENS), jnp.int32)
    jax.eval_shape(both, q, k, k, number, number)
    return found


def resources(launch: Launch, dtypes: tuple[Any, ...], capability: int) -> dict[str, Any]:
    begun = sum(os.times()[:4])
    compiled = compiled_for(capability, launch, dtypes)
    seconds = sum(os.times()[:4]) - begun  # of processors, the assembler's included
    registers, spilled = _assembled(compiled.asm["ptx"], capability)
    threads = launch.warps * 32
    fit = min(
        REGISTERS // (registers * threads), SHARED // (compiled.metadata.shared + 1024), THREADS // threads
    )
    return {
        "kernel": launch.kernel.removeprefix("tree_attention_"),
        "tokens": dict(launch.constants)["BLOCK"],
        "warps": launch.warps,
        "registers": registers,
        "spilled": spilled,
        "shared": compiled.metadata.shared,
        "blocks": fit,
        "seconds": round(seconds, 1),
    }


def _assembled(ptx: str, capability: int) -> tuple[int, int]:
    """Registers of a thread, and bytes that it spills."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        arch = f"--gpu-name={re.search(r'.target (sm_[0-9a-z]+)', ptx)[1]}"
        command = [_ptxas(capability), "-v", arch, str(source), "-o", str(source.with_suffix(".cubin"))]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill stores", told))
    return int(re.search(r"Used (\d+) registers", told)[1]), spilled


@functools.cache
def _ptxas(capability: int) -> str:
    from triton.backends.nvidia.compiler import get_ptxas

    return str(get_ptxas(capability).path)


def _ptxas_version(capability: int) -> str:
    told = subprocess.run(
        [_ptxas(capability), "--version"], check=True, capture_output=True, text=True
    ).stdout
    return re.search(r"release [\d.]+, V([\d.]+)", told)[1]


if __name__ == "__main__":
    main()
