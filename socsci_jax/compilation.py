"""How JAX is set up before it computes: memory, compiler, and where compiled programs are kept.

Every setting that is not JAX's default is here, with its reason.  A variable that the user has set is left as it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CACHE = "JAX_COMPILATION_CACHE_DIR"
WORTH_KEEPING = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
OPTIMIZATION_LEVEL = "JAX_OPTIMIZATION_LEVEL"

# Read when JAX starts its devices.
DEVICE_ENVIRONMENT = {
    # JAX takes three quarters of a GPU by default; a training run has the device to itself, and what is left here
    # is enough for the libraries that allocate besides it (NCCL, cuBLAS workspaces).
    "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92",
}


def before_jax() -> None:
    """What the environment must hold before JAX is imported; on Linux this program is started again if need be.

    XLA on CPU takes its buffers afresh in every step; with pages of 4 KB a training step spends up to half of its
    time on page faults (measured on 2 cores: 0.68 s with, 0.34 s without).  glibc reads the setting only when a
    process starts.
    """
    for name, value in DEVICE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ and "JAX_PLATFORMS" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, "-m", "socsci_jax", *sys.argv[1:]])


def set_up_compiler() -> Path:
    """Turns on JAX's persistent compilation cache, and XLA's first level of optimization where it is a GPU's.

    XLA takes seconds to minutes for each program, and a run that resumes repeats them; the cache lies in the folder
    of JAX's own variable, or of the user's cache, and is returned.  Level O1 has XLA's GPU compiler overlap
    collectives with computation (latency hiding, pipelined collectives); on other devices it only costs time.
    """
    import jax

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(os.environ.get(CACHE) or cache / "socsci_jax" / "xla")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if WORTH_KEEPING not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    if jax.default_backend() == "gpu" and OPTIMIZATION_LEVEL not in os.environ:
        jax.config.update("jax_optimization_level", "O1")
    return folder


def same_bits_options(autotuning: Path) -> dict[str, bool | str]:
    """Options of a program that is to give the same bits whenever it runs on the same GPUs.

    On GPUs sums of a scatter are taken in any order, and the fastest of several products is chosen anew by every process.
    The first is forbidden; the choices are kept in the folder `autotuning`, so a run that resumes takes the same.
    """
    autotuning.mkdir(parents=True, exist_ok=True)  # XLA writes into it, but may not make it
    return {
        "xla_gpu_exclude_nondeterministic_ops": True,
        # Scatters are sorted and summed in parallel; without this, one update after the other.
        "xla_gpu_enable_scatter_determinism_expander": True,
        "xla_gpu_per_fusion_autotune_cache_dir": str(autotuning),
    }
