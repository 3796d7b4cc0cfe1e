"""Fixtures that several test files share."""

import gc
import os
from pathlib import Path

import hypothesis
import pytest
import quick_programs
from tokenizer_files import llama_tokenizer

# How long an example takes says how busy the machine is, not whether the code is right.
# The same examples in every run: whether a change lands is no matter of chance; benchmarks/fuzz.py looks for new ones.
hypothesis.settings.register_profile("patient", deadline=None, derandomize=True)
hypothesis.settings.load_profile("patient")

# Eight simulated devices, on which the sharded code runs as it would on eight real ones; JAX reads this once,
# when it starts. Tests of fewer take jax.devices()[:n].
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        quick_programs.FLAGS,
    ]
).strip()


# Tracing makes many objects, of which few are garbage: looking through them all the time took a seventh of the tests' time.
gc.set_threshold(50_000, 20, 20)

REPOSITORY = Path(__file__).resolve().parent.parent
# Many tests compile the same programs, also in processes of their own.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPOSITORY / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


# Files of minutes, then folders of long files: at the end one worker would do them while the other has nothing left.
FIRST = (
    "test_slurm.py",
    "test_distributed.py",
    "test_treatments.py",
    "training",
    "models",
    "simulation",
    "tests",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return min(FIRST.index(name) if name in FIRST else len(FIRST) for name in item.path.parts[-2:])

    items.sort(key=place)
    quick_programs.few_sizes_of_attention()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests are excluded, files that are slow as a whole are not imported: their references take seconds."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return "\npytestmark = pytest.mark.slow\n" in collection_path.read_text(encoding="utf-8") or None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real deposits; tests that need it skip where it is absent."""
    path = Path(os.environ.get("SOCSCI_JAX_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data at {path} (set SOCSCI_JAX_DATA to the folder that holds it)")
    return path


@pytest.fixture
def llama(tmp_path) -> Path:
    """Folder of a small tokenizer as Llama 3 has it."""
    return llama_tokenizer(tmp_path / "llama")
