"""The kernels for GPUs and TPUs as far as can be seen without either: compiled or written out, and interpreted."""

import functools
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from conftest import REPOSITORY
from jax.sharding import AbstractDevice, AbstractMesh

from benchmarks.kernel_resources import launches, resources
from socsci_jax.models import attention_gpu, attention_tpu, triton_call

KERNELS = [f"tree_attention_{name}" for name in ("forward", "backward_queries", "backward_keys")]


def lowered(see_of, attend, *, head_dim: int, platform: str) -> str:
    """The program of attention's forward and gradients, in bfloat16."""
    g, n, t, kv, r = 1, 256, 512, 2, 7

    def of(*shape, dtype=jnp.bfloat16):
        return jax.ShapeDtypeStruct(shape, dtype)

    def total(q, k, v, at, end):
        return attend(q, k, v, see_of(at, end)).astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(total, argnums=(0, 1, 2))).trace(
        of(g, n, kv, r, head_dim),
        of(g, t, kv, head_dim),
        of(g, t, kv, head_dim),
        of(g, n, dtype=jnp.int32),
        of(g, t, dtype=jnp.int32),
    )
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.fixture
def calls(monkeypatch):
    """What is written down for jaxlib's handler, which comes with JAX's CUDA plugin; the plugin is not needed."""
    from jaxlib import gpu_triton

    written = []

    def kernel(name, warps, ctas, shared, ptx, ttir, capability):
        return types.SimpleNamespace(name=name, shared=shared, ptx=ptx, capability=capability)

    def call(kernel, x, y, z, parameters):
        written.append(types.SimpleNamespace(kernel=kernel, grid=(x, y, z), parameters=parameters))
        return types.SimpleNamespace(to_proto=lambda name, metadata: name.encode())

    monkeypatch.setattr(gpu_triton, "TritonKernel", kernel, raising=False)
    monkeypatch.setattr(gpu_triton, "TritonKernelCall", call, raising=False)
    monkeypatch.setattr(gpu_triton, "create_array_parameter", lambda *facts: facts, raising=False)
    return written


@pytest.mark.slow
def test_the_gpu_kernels_compile_for_hopper_and_are_called(calls):
    pytest.importorskip("triton")
    call = functools.partial(triton_call.call_for, 90)
    program = lowered(
        attention_gpu.blocks,
        lambda q, k, v, see: attention_gpu.kernel_attention(q, k, v, see, call),
        head_dim=80,
        platform="cuda",
    )
    assert program.count(f"custom_call @{triton_call.TARGET}") == 3
    assert [x.kernel.name for x in calls] == KERNELS
    for x in calls:
        assert ".target sm_90a" in x.kernel.ptx and f".entry {x.kernel.name}" in x.kernel.ptx
        assert 0 < x.kernel.shared <= 227 * 1024
    # Blocks of 64 of queries, queries and keys; rows; heads of queries, queries and keys.
    assert [x.grid for x in calls] == [(4, 1, 14), (4, 1, 14), (8, 1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "dtype", "most"), [(128, "float32", 0), (128, "bfloat16", 16), (256, "bfloat16", 0)]
)
def test_on_hopper_two_blocks_fit_a_multiprocessor_and_next_to_nothing_is_spilled(width, dtype, most):
    pytest.importorskip("triton")
    for launch, dtypes in launches(width, dtype):
        found = resources(launch, dtypes, 90)
        assert found["blocks"] >= 2 and found["spilled"] <= most, found


@pytest.mark.slow
def test_the_gpu_kernels_interpreted_are_the_rule():
    """Values and gradients, for blocks at a time and for pieces of them, of padded heads; Triton's interpreter must be asked
    for from the start."""
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, Path(__file__).parent.parent / "interpreted_triton.py", "16", "80"],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    apart = json.loads(done.stdout.splitlines()[-1])
    assert set(apart) == {"width 16", "width 80"}
    assert all(x < 1e-5 for of_width in apart.values() for x in of_width), apart


@pytest.mark.parametrize("head_dim", [64, 80, 96, 128])
def test_the_tpu_kernels_are_written_out(head_dim):
    tpu = AbstractDevice(device_kind="TPU v5e", num_cores=1, platform="tpu")
    with jax.sharding.use_abstract_mesh(AbstractMesh((), (), abstract_device=tpu)):
        program = lowered(
            attention_tpu.pairs, attention_tpu.kernel_attention, head_dim=head_dim, platform="tpu"
        )
    assert program.count("custom_call @tpu_custom_call") == 3
    assert all(name in program for name in ("forward", "queries_gradient", "keys_gradient"))


def test_without_triton_the_gpu_says_what_to_install(monkeypatch):
    monkeypatch.setattr(triton_call.importlib.util, "find_spec", lambda name: None)
    assert triton_call.missing() == "Triton is not installed: pip install 'socsci_jax[cuda]'"
