"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

# Eight simulated devices, on which the sharded code runs as it would on eight real ones; JAX reads this once,
# when it starts. Tests of fewer take jax.devices()[:n].
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real deposits; tests that need it skip where it is absent."""
    path = Path(os.environ.get("SOCSCI_JAX_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data at {path} (set SOCSCI_JAX_DATA to the folder that holds it)")
    return path
