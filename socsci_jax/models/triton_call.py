"""Calls of Triton kernels from JAX: compiled by Triton for a GPU's capability, called through JAX's foreign functions.

`jax_triton` does the same through JAX's inner interfaces, and its newest release does not work with the newest JAX: here
`jax.ffi` is what calls, and of jaxlib only the four names that write a call down for its handler are used.
"""

from __future__ import annotations

import functools
import importlib.util
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TARGET = "triton_kernel_call_ffi"
# Of PTX: what drivers of CUDA 12.3 and later, and 12.8 for Blackwell, know.
PTX_VERSION, PTX_VERSION_BLACKWELL = 83, 87
TYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "int32": "i32"}
# Pointers that Triton adds to a kernel's own, for scratch memory: jaxlib gives null for both.
ADDED = 2


class Launch(NamedTuple):
    """A kernel's name in `attention_gpu_kernels.py`, how often it runs, what its results are, and its constants."""

    kernel: str
    grid: tuple[int, int, int]
    results: Sequence[jax.ShapeDtypeStruct]
    constants: tuple[tuple[str, Any], ...]
    warps: int
    stages: int


Call = Callable[..., list[jax.Array]]
"""(launch, *arrays) -> the arrays of launch.results."""


def missing() -> str | None:
    """What is not installed that calls need."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: pip install 'socsci_jax[cuda]'"
    from jaxlib import gpu_triton

    return None if hasattr(gpu_triton, "TritonKernel") else "this jaxlib cannot call kernels of Triton"


def on_gpu(launch: Launch, *arrays: jax.Array) -> list[jax.Array]:
    """Calls on the GPU that the process has (all of a process's GPUs are of one kind)."""
    return call_for(_capability(), launch, *arrays)


@functools.cache
def _capability() -> int:
    return int(float(jax.local_devices(backend="gpu")[0].compute_capability) * 10)


def call_for(capability: int, launch: Launch, *arrays: jax.Array) -> list[jax.Array]:
    """Calls on a GPU of compute capability 90 for 9.0, and so on; can be traced without one."""
    from jaxlib import gpu_triton

    compiled = compiled_for(capability, launch, tuple(jnp.dtype(x.dtype) for x in arrays))
    kernel = gpu_triton.TritonKernel(
        compiled.metadata.name,
        launch.warps,
        1,
        compiled.metadata.shared,
        compiled.asm["ptx"],
        compiled.asm["ttir"],
        capability,
    )
    # Nothing is to be zeroed; every array begins at a multiple of 16 bytes.
    parameters = [gpu_triton.create_array_parameter(0, 16)] * (len(arrays) + len(launch.results))
    call = gpu_triton.TritonKernelCall(kernel, *launch.grid, parameters)
    return jax.ffi.ffi_call(TARGET, list(launch.results))(
        *arrays, opaque=zlib.compress(call.to_proto(launch.kernel, b""))
    )


@functools.cache
def compiled_for(capability: int, launch: Launch, dtypes: tuple[np.dtype, ...]) -> Any:
    """Triton's compiled kernel: asm (ttir, ptx, cubin) and metadata (name, shared memory).

    Raises RuntimeError if it wants what jaxlib does not give.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from socsci_jax.models import attention_gpu_kernels

    kernel = getattr(attention_gpu_kernels, launch.kernel)
    constants = dict(launch.constants)
    pointers = [f"*{TYPES[dtype.name]}" for dtype in (*dtypes, *(jnp.dtype(x.dtype) for x in launch.results))]
    arrays = [name for name in kernel.arg_names if name not in constants]
    source = ASTSource(
        fn=kernel,
        signature=dict(zip(arrays, pointers, strict=True)) | dict.fromkeys(constants, "constexpr"),
        constexprs=constants,
        attrs={(number,): [["tt.divisibility", 16]] for number in range(len(arrays))},
    )
    options = {
        "num_warps": launch.warps,
        "num_stages": launch.stages,
        "ptx_version": PTX_VERSION if capability < 100 else PTX_VERSION_BLACKWELL,
        "enable_fp_fusion": True,
    }
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    entry = compiled.asm["ptx"].split(".entry", 1)[1].split(")", 1)[0]
    if entry.count(".param") != len(arrays) + ADDED or compiled.metadata.global_scratch_size:
        raise RuntimeError(f"Triton {triton.__version__} gives kernels parameters that jaxlib does not know")
    return compiled
