"""What is measured, in the order of its value, and what is expected of it."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any

from benchmarks.accelerator import bits, products, simulated, steps
from benchmarks.accelerator.cases import Case


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """`run(tiny)` measures in a process of its own and returns what is kept; `seconds` is the most that it may take.

    Without what it `needs` it is not measured, without what it `prefers` it is measured otherwise.  One that starts
    processes which take the device is `in_processes`, and says itself what that is.
    """

    name: str
    run: Callable[[bool], dict[str, Any]]
    seconds: int
    expected: str = ""
    needs: tuple[str, ...] = ()
    prefers: tuple[str, ...] = ()
    in_processes: bool = False

    def missing(self) -> list[str]:
        """What is not installed that it needs."""
        return _not_installed(self.needs)

    def replaced(self) -> list[str]:
        """What is not installed that it would take."""
        return _not_installed(self.prefers)


def _not_installed(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]


def _step(name: str, seconds: int, expected: str = "", **case: Any) -> Measurement:
    return Measurement(
        name=name,
        seconds=seconds,
        expected=expected,
        run=lambda tiny: steps.measured(Case(**case), tiny=tiny),
    )


def _attention(dtype: str, shape: str) -> Measurement:
    return Measurement(
        name=f"attention/{shape}/{dtype}",
        seconds=240,
        expected="kernel the fastest; apart from the rule below 2e-2 (bfloat16), 1e-5 (float32)",
        run=lambda tiny: products.attention(shape, dtype, tiny=tiny),
    )


_SMALL, _LARGE = "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct"
_7B, _14B = "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-14B-Instruct"

MEASUREMENTS = (
    Measurement(
        name="ceiling",
        seconds=120,
        run=products.ceiling,
        expected="85 % of the data sheet's peak in bfloat16, 80 % of the memory's speed",
    ),
    _attention("float32", "Qwen2.5-0.5B"),
    _attention("bfloat16", "Qwen2.5-0.5B"),
    _attention("bfloat16", "Qwen2.5-7B"),
    _attention("bfloat16", "Qwen2.5-14B"),
    *(
        Measurement(
            name=f"variants/{shape}",
            seconds=300,
            expected="4 warps and 2 stages the fastest",
            run=lambda tiny, shape=shape: products.attention(shape, "bfloat16", variants=True, tiny=tiny),
        )
        for shape in ("Qwen2.5-0.5B", "Qwen2.5-7B")
    ),
    _step("step/0.5B/tree", 300, "55 to 75 ms a row", model=_SMALL, remat="layers"),
    _step("step/0.5B/flat", 300, "55 to 75 ms a row", model=_SMALL, remat="layers", flat=True),
    _step("step/0.5B/tree/whole rows", 300, "slower", model=_SMALL, remat="layers", attention="rows"),
    _step("step/0.5B/tree/conditionals", 300, "slower", model=_SMALL, remat="layers", attention="xla"),
    _step("step/0.5B/tree/pieces of 256 MB", 300, "slower", model=_SMALL, remat="layers", hardware="1xcpu"),
    _step("step/1.5B/tree", 300, "160 to 210 ms a row", model=_LARGE, remat="layers"),
    _step("step/1.5B/flat", 300, "160 to 210 ms a row", model=_LARGE, remat="layers", flat=True),
    Measurement(
        name="bits/0.5B",
        seconds=420,
        in_processes=True,
        run=lambda tiny: bits.measured(_SMALL, tiny=tiny),
        expected="the same parameters after a resume; deterministic operations cost at most a tenth",
    ),
    _step(
        "step/7B/LoRA",
        420,
        "750 to 900 ms a row; 60 % of the ceiling; planned within 10 %",
        model=_7B,
        lora=16,
        remat="layers",
        planned=True,
    ),
    _step(
        "step/14B/one device",
        480,
        "1,500 to 2,000 ms a row on an H200; planned within 10 %",
        model=_14B,
        recipe="qwen2.5-14b-sft-1xh200",
        planned=True,
    ),
    _step(
        "step/7B/full",
        480,
        "750 to 900 ms a row; planned within 10 %",
        model=_7B,
        remat="layers",
        lean=True,
        planned=True,
    ),
    *(
        Measurement(
            name=f"simulation/0.5B/rows of {tokens}",
            seconds=300,
            run=lambda tiny, tokens=tokens: simulated.ours(_SMALL, tokens, tiny=tiny),
            expected="20 times generate's responses a second",
        )
        for tokens in (4096, 8192, 16_384)
    ),
    Measurement(
        name="simulation/0.5B/generate",
        seconds=420,
        run=lambda tiny: simulated.peer(_SMALL, "generate", tiny=tiny),
        needs=("torch", "transformers"),
        in_processes=True,
    ),
    Measurement(
        name="simulation/0.5B/prefix cache, first token only",
        seconds=420,
        run=lambda tiny: simulated.peer(_SMALL, "prefix", tiny=tiny),
        needs=("torch", "transformers"),
        in_processes=True,
    ),
    Measurement(
        name="step/0.5B/TRL",
        seconds=420,
        run=lambda tiny: simulated.trl(_SMALL, tiny=tiny),
        needs=("torch", "transformers", "trl", "datasets"),
        in_processes=True,
        prefers=("flash_attn",),
        expected="a quarter of the tree layout's responses a second",
    ),
)
