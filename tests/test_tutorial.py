"""docs/tutorial.md up to the training: what it says to type works in an empty folder, and gives the counts that it names."""

import re
import shlex

import pytest
from conftest import REPOSITORY
from typer.testing import CliRunner

from socsci_jax.cli import app

PAGE = (REPOSITORY / "docs" / "tutorial.md").read_text()
PYTHON = re.compile(r"^python - <<'PYTHON'\n(.*?)^PYTHON$", re.M | re.S)
BASH = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)  # what is an alternative stands in blocks of text
FILES = re.compile(r"^cat > (\S+) <<'YAML'\n(.*?)^YAML$", re.M | re.S)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for program in PYTHON.findall(PAGE):
        exec(program, {})
    for name, text in FILES.findall(PAGE):
        (tmp_path / name).write_text(text)
    return tmp_path


def type_in(line: str) -> str:
    result = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_page_can_be_typed_up_to_the_training(folder):
    lines = [
        line
        for block in BASH.findall(PAGE)
        for line in block.splitlines()
        if line.startswith("socsci-jax data ") and "synthetic" not in line
    ]
    said = "".join(type_in(line) for line in lines if " past " not in line)
    assert "no problems" in said and said.count("unchecked") == 2
    sentence = re.search(r"`(1 study, 6 items.*?)`", PAGE)[1]
    assert sentence in said
    counts = re.search(
        r"(\d+) to train on, (\d+) to the arm that is held out, (\d+) of people", PAGE
    ).groups()
    assert re.findall(r"│ +(\d+) │", said[said.index("Responses by part") :]) == list(counts)


def test_the_experiment_to_forecast_is_complete(folder):
    assert "no problems" in type_in("socsci-jax data spec check experiment.yaml")
