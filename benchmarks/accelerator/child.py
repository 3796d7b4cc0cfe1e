"""One measurement in a process of its own: its environment, its time, and what is said of one that fails."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from benchmarks.accelerator.catalog import MEASUREMENTS, Measurement
from benchmarks.accelerator.failures import LONGEST_MESSAGE, failure
from socsci_jax.compilation import DEVICE_ENVIRONMENT

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def environment() -> dict[str, str]:
    """As the command line sets JAX up, with one GPU, and without a network."""
    given = dict(os.environ)
    first_gpu = given.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return DEVICE_ENVIRONMENT | given | OFFLINE | {"CUDA_VISIBLE_DEVICES": first_gpu}


def in_a_process(one: Measurement, *, seconds: float, tiny: bool) -> dict[str, Any]:
    """What it found, or why it found nothing.  Nothing that it began outlives it: it would keep the device's memory."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.accelerator",
        "--one",
        one.name,
        "--parent",
        str(os.getpid()),
        *(["--tiny"] if tiny else []),
    ]
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        told, complained = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"cut off": f"after {seconds:.0f} s"}
    finally:
        _kill_group(process)
    lines = told.strip().splitlines()
    if process.returncode or not lines:
        return {"failed": f"exit status {process.returncode}: {complained.strip()[-LONGEST_MESSAGE:]}"}
    return dict(json.loads(lines[-1]))


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def measured(name: str, *, parent: int, tiny: bool) -> dict[str, Any]:
    """In the process of its own: what the measurement found or why it failed, with the machine and the versions."""
    _end_with(parent)
    import jax

    from socsci_jax.compilation import set_up_compiler
    from socsci_jax.training.run import software_versions

    [one] = [one for one in MEASUREMENTS if one.name == name]
    if one.in_processes:
        # The device's memory is left to the processes that it starts.
        jax.config.update("jax_platforms", "cpu")
    set_up_compiler()
    begun = time.monotonic()
    result = _result(one, tiny=tiny)
    return {
        "device": result.get("found", {}).pop("device", None) or jax.devices()[0].device_kind,
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "versions": software_versions(),
        "command": f"python -m benchmarks.accelerator --only '{name}'{' --tiny' if tiny else ''}",
        "tiny": tiny,
        "seconds": round(time.monotonic() - begun, 1),
        **result,
    }


def _result(one: Measurement, *, tiny: bool) -> dict[str, Any]:
    try:
        return {"found": one.run(tiny)}
    except (Exception, SystemExit) as error:  # whatever a driver, a compiler or a peer raises is a finding
        return failure(error)


def _end_with(parent: int) -> None:
    """Ends this process and its own as soon as the one is gone that started it, which may be killed without a word."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    if os.getpgrp() == os.getpid():
        threading.Thread(target=watch, daemon=True).start()
