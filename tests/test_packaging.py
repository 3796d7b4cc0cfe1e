"""What the package says of itself: versions agree, and the exact versions of constraints.txt are allowed by setup.py."""

import importlib.metadata

import pytest
import yaml
from conftest import REPOSITORY
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from socsci_jax import __version__

PINNED = [
    Requirement(line)
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
REQUIRED = [Requirement(line) for line in importlib.metadata.requires("socsci_jax")]
EXTRAS = ("", "test", "gcs", "formats", "docs", "lint", "wandb")


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_exact_versions_are_within_the_ranges(python):
    def holds(requirement: Requirement, extra: str) -> bool:
        environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
        return requirement.marker is None or requirement.marker.evaluate(environment)

    pins = {canonicalize_name(pin.name): pin for pin in PINNED if holds(pin, "")}
    for required in REQUIRED:
        if any(holds(required, extra) for extra in EXTRAS):
            (version,) = pins[canonicalize_name(required.name)].specifier
            assert version.operator == "==" and required.specifier.contains(version.version), str(required)


def test_the_citation_names_this_version():
    assert yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"] == __version__
