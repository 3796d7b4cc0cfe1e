"""The house: which room may import which, and that nothing heavy is loaded before it is needed."""

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EVERYBODY = {"errors", "progress", "hub", "gguf_header", "compilation", "hardware", "distributed"}
EVERYBODY |= {"bounds", "reading", "tables", "foreign_text", "storage"}
MAY_IMPORT = {
    "studies": set(),
    "evaluation": {"studies", "estimation"},
    "estimation": set(),
    "rectification": {"estimation"},
    "data": {"studies"},
    "models": set(),
    "training": {"studies", "data", "models", "simulation", "evaluation"},
    "simulation": {"studies", "data", "models"},
    "distributed": set(),
}
WITHOUT_JAX = (
    "socsci_jax/studies",
    "socsci_jax/evaluation",
    "socsci_jax/estimation",
    "socsci_jax/rectification",
    "data_pipelines",
)


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_the_design_allows(room):
    allowed = MAY_IMPORT[room] | EVERYBODY | {room}
    for path in (ROOT / "socsci_jax" / room).rglob("*.py"):
        own = {name.split(".")[1] for name in imports(path) if name.startswith("socsci_jax.")}
        modules = own - {"__version__"}
        assert modules <= allowed, f"{path.name} imports {modules - allowed}"
        assert not any(name.startswith("data_pipelines") for name in imports(path))


@pytest.mark.parametrize("place", WITHOUT_JAX)
def test_a_room_without_jax_has_no_jax(place):
    for path in (ROOT / place).rglob("*.py"):
        found = {name.split(".")[0] for name in imports(path)} & {"jax", "flax", "optax", "orbax"}
        assert not found, f"{path} imports {found}"


def test_pipelines_import_only_studies():
    for path in (ROOT / "data_pipelines").rglob("*.py"):
        own = {name.split(".")[1] for name in imports(path) if name.startswith("socsci_jax.")}
        assert own <= {"studies"} | EVERYBODY


def test_evaluation_runs_without_jax_installed():
    script = (
        "import sys; sys.modules['jax'] = None; "
        "import socsci_jax.evaluation.evaluate, socsci_jax.evaluation.report"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("arguments", [["-c", "import socsci_jax"], ["-m", "socsci_jax", "--help"]])
def test_import_and_help_take_under_half_a_second(arguments):
    # Processor time, not the clock's: the machine may be busy with something else.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
