"""Machines that training may run on: memory and peak speed of accelerators from their vendors' data sheets.

A gigabyte of a data sheet is taken as 10^9 bytes.  Most devices report up to 7 % more: that is left to them.
"""

from __future__ import annotations

import dataclasses
import difflib
import re

from socsci_jax.errors import InputError

# What is left of a device for libraries and fragmentation; `compilation.py` gives JAX the rest of a GPU.
MARGIN = 0.08

NVIDIA = "NVIDIA's data sheet"
GOOGLE = "Cloud TPU documentation, system architecture"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One device as JAX counts them, so of a TPU one chip.

    `peak_tflops` are those of dense bfloat16 products summed in float32; None where no sheet says.  A slice of TPUs
    is named by its TensorCores where `cores_per_chip` is 2, else by its chips.
    """

    name: str
    memory_gb: float
    peak_tflops: float | None
    source: str
    cores_per_chip: int | None = None

    @property
    def memory(self) -> int:
        """Bytes."""
        return int(self.memory_gb * 1e9)

    @property
    def usable(self) -> int:
        """Bytes that a run may take."""
        return int(self.memory * (1 - MARGIN))


ACCELERATORS = {
    accelerator.name: accelerator
    for accelerator in (
        # Data sheets give sparse rates: dense is half of them.  The memory of B200 is that of DGX B200, 1,440 GB by 8.
        Accelerator(name="b200", memory_gb=180, peak_tflops=2250, source=f"{NVIDIA}, DGX B200"),
        Accelerator(name="h200", memory_gb=141, peak_tflops=989, source=f"{NVIDIA}, H200 SXM"),
        Accelerator(name="h100", memory_gb=80, peak_tflops=989, source=f"{NVIDIA}, H100 SXM"),
        Accelerator(name="a100-80g", memory_gb=80, peak_tflops=312, source=f"{NVIDIA}, A100 80GB"),
        Accelerator(name="a100-40g", memory_gb=40, peak_tflops=312, source=f"{NVIDIA}, A100 40GB"),
        Accelerator(name="l40s", memory_gb=48, peak_tflops=362, source=f"{NVIDIA}, L40S"),
        Accelerator(name="rtx4090", memory_gb=24, peak_tflops=165, source="NVIDIA's Ada architecture paper"),
        Accelerator(name="v4", memory_gb=32, peak_tflops=275, source=GOOGLE, cores_per_chip=2),
        Accelerator(name="v5e", memory_gb=16, peak_tflops=197, source=GOOGLE, cores_per_chip=1),
        Accelerator(name="v5p", memory_gb=95, peak_tflops=459, source=GOOGLE, cores_per_chip=2),
        Accelerator(name="v6e", memory_gb=32, peak_tflops=918, source=GOOGLE, cores_per_chip=1),
        Accelerator(name="cpu", memory_gb=8, peak_tflops=None, source="half of a laptop's memory"),
    )
}


@dataclasses.dataclass(frozen=True)
class Machine:
    """So many devices of one kind."""

    name: str
    accelerator: Accelerator
    devices: int


def parse_machine(name: str) -> Machine:
    """`8xh200` is eight GPUs, `v5p-16` a slice as Google names it: of v4 and v5p 16 TensorCores, which are 8 chips.

    Raises InputError for anything else.
    """
    gpus = re.fullmatch(r"([1-9]\d*)x(.+)", name)
    tpus = re.fullmatch(r"(v\d\w*)-([1-9]\d*)", name)
    kind, count = (gpus[2], int(gpus[1])) if gpus else (tpus[1], int(tpus[2])) if tpus else (name, 0)
    accelerator = ACCELERATORS.get(kind)
    if accelerator is None or not count or (accelerator.cores_per_chip is None) != bool(gpus):
        near = difflib.get_close_matches(kind, ACCELERATORS, n=1, cutoff=0.5)
        hint = f"did you mean {_example(near[0])}?" if near else "write 8xh200 or v5p-16"
        raise InputError(f"no machine is named {name!r} ({hint}); known are {', '.join(ACCELERATORS)}")
    cores = accelerator.cores_per_chip or 1
    if count % cores:
        raise InputError(f"{name!r} counts TensorCores, {cores} a chip; give an even number of them")
    return Machine(name=name, accelerator=accelerator, devices=count // cores)


def _example(kind: str) -> str:
    return f"1x{kind}" if ACCELERATORS[kind].cores_per_chip is None else f"{kind}-8"
