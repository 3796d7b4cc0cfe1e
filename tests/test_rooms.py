"""The architecture: which package may import which, and that nothing heavy is loaded before it is needed."""

import ast
import functools
import graphlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EVERYBODY = {"errors", "progress", "hub", "gguf_header", "compilation", "hardware", "distributed"}
EVERYBODY |= {
    "bounds",
    "column_types",
    "wording",
    "reading",
    "yaml_reading",
    "tables",
    "foreign_text",
    "storage",
    "locks",
    "pages",
}
MAY_IMPORT = {
    "studies": set(),
    "evaluation": {"studies", "estimation"},
    "estimation": set(),
    "rectification": {"estimation"},
    "forecasting": {"studies", "estimation", "evaluation", "rectification"},
    "data": {"studies"},
    "models": set(),
    "training": {"studies", "data", "models", "simulation", "evaluation"},
    "simulation": {"studies", "data", "models"},
    "distributed": set(),
}
WITHOUT_JAX = (
    "socsci_jax/pages",
    "socsci_jax/studies",
    "socsci_jax/evaluation",
    "socsci_jax/estimation",
    "socsci_jax/rectification",
    "socsci_jax/forecasting",
    "data_pipelines",
)


# From the bottom up: whatever stands in a line may import what stands in earlier lines, and packages their own modules.
LAYERS = (
    ("errors", "bounds", "wording", "column_types"),
    ("foreign_text",),
    ("pages", "progress", "compilation", "hardware", "reading", "hub"),
    ("yaml_reading", "storage", "tables", "gguf_header", "distributed"),
    ("locks",),
    ("studies", "models", "estimation"),
    ("evaluation", "data", "rectification"),
    ("simulation", "forecasting"),
    ("training",),
    ("model_io", "model_card", "companions"),
    ("model_export",),
    ("verification", "sweep", "feasibility", "quickstart"),
    ("pretrained", "plain_tables"),
    ("interface",),
    ("cli",),
    ("__main__",),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}


@functools.cache
def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_the_design_allows(package):
    allowed = MAY_IMPORT[package] | EVERYBODY | {package}
    for path in (ROOT / "socsci_jax" / package).rglob("*.py"):
        own = {name.split(".")[1] for name in imports(path) if name.startswith("socsci_jax.")}
        modules = own - {"__version__"}
        assert modules <= allowed, f"{path.name} imports {modules - allowed}"
        assert not any(name.startswith("data_pipelines") for name in imports(path))


def test_every_package_and_every_loose_module_has_a_layer():
    there = {path.stem for path in (ROOT / "socsci_jax").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert there - {"__init__", "__pycache__", "py"} == set(LAYER)


@pytest.mark.parametrize("name", sorted(LAYER))
def test_no_import_goes_upward(name):
    place = ROOT / "socsci_jax" / name
    for path in place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
        for imported in imports(path):
            head, _, rest = imported.partition(".")
            other = rest.split(".")[0]
            if head == "socsci_jax" and other in LAYER and other != name:
                assert LAYER[other] < LAYER[name], f"{path.relative_to(ROOT)} imports {imported}"


def run_at_import(tree: ast.Module) -> list[ast.stmt]:
    """The statements that importing a module runs: not those of functions, nor those for type checkers alone."""
    found, todo = [], list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found.append(node)
        todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


def test_no_import_goes_in_a_circle():
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in ("socsci_jax", "data_pipelines")
        for path in (ROOT / folder).rglob("*.py")
    }
    graph = {}
    for module, path in files.items():
        statements = run_at_import(ast.parse(path.read_text()))
        named = set()
        for node in statements:
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= {part if part in files else node.module for part in parts}
        graph[module] = (named & files.keys()) - {module}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("place", WITHOUT_JAX)
def test_a_room_without_jax_has_no_jax(place):
    for path in (ROOT / place).rglob("*.py"):
        found = {name.split(".")[0] for name in imports(path)} & {"jax", "flax", "optax", "orbax"}
        assert not found, f"{path} imports {found}"


def test_pipelines_import_only_studies():
    for path in (ROOT / "data_pipelines").rglob("*.py"):
        own = {name.split(".")[1] for name in imports(path) if name.startswith("socsci_jax.")}
        assert own <= {"studies"} | EVERYBODY


# A process of its own, whose answer to the one that started it is what it writes.
WRITE_THEIR_ANSWERS = {
    "socsci_jax/data/template_process.py",
    "socsci_jax/data/pattern_process.py",
    "data_pipelines/archives/file_parts.py",
}


PRINTS = ("print", "rich.print", "sys.stdout.write", "sys.stderr.write")


def test_only_the_command_line_prints():
    files = [path for folder in ("socsci_jax", "data_pipelines") for path in (ROOT / folder).rglob("*.py")]
    library = [path for path in files if "cli" not in path.relative_to(ROOT).parts]
    printing = {
        path.relative_to(ROOT).as_posix()
        for path in library
        if any(
            isinstance(node, ast.Call) and ast.unparse(node.func) in PRINTS
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    assert printing == WRITE_THEIR_ANSWERS


# Fast: no module that evaluation imports may import JAX, above.
@pytest.mark.slow
def test_evaluation_runs_without_jax_installed():
    script = (
        "import sys; sys.modules['jax'] = None; "
        "import socsci_jax.evaluation.evaluate, socsci_jax.evaluation.report.files"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def processor_seconds(command: list[str], environment: dict[str, str]) -> float:
    """Not the clock's seconds: the machine may be busy with something else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("arguments", [["-c", "import socsci_jax"], ["-m", "socsci_jax", "--help"]])
def test_import_and_help_take_under_half_a_second(arguments):
    # The first start after an installation writes bytecode, which takes longer than starting does.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    assert min(processor_seconds([sys.executable, *arguments], environment) for _ in range(2)) < 0.5


def test_names_of_test_files_are_unique():
    """Folders of tests are no packages, so Python knows a file by its name alone."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)
