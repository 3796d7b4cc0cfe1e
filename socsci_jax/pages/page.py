"""Renders a self-contained page: styles, script and policy inside it, nothing fetched, every foreign text shown as text.

Templates extend `base.html.jinja`.  They get `style`, `script` and `policy`; they never write `style=` or `on…=`, which
the policy forbids, and never mark foreign text as safe.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from socsci_jax.foreign_text import for_page

# In this order: later rules override earlier ones.
STYLES = ("theme.css", "page.css", "table.css", "plot.css")
SCRIPTS = ("page.js",)


def environment(package: str) -> jinja2.Environment:
    """Jinja's environment for the templates of a package, which may extend and import those of this one.

    `package` is dotted, as `socsci_jax.evaluation`.  Everything is escaped, and control characters are written as their
    codes; an unknown name raises.
    """
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, "."), jinja2.PackageLoader("socsci_jax.pages", ".")]
        ),
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style, script = _joined(STYLES), _joined(SCRIPTS)
    made.globals.update(style=Markup(style), script=Markup(script), policy=policy(style, script))
    return made


def render(package: str, template: str, **values: Any) -> str:
    """One page of a package's template: the same bytes for the same values."""
    return environment(package).get_template(template).render(**values)


def _shown(value: Any) -> Any:
    """What a template prints of a value: markup of other templates and numbers as they are, every other text as text."""
    return value if isinstance(value, Markup | int | float) else for_page(value)


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy under which only this style and this script count, and nothing is fetched."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _joined(names: tuple[str, ...]) -> str:
    """Files of this package, one behind the other: our own text, which may stand in a page as it is."""
    folder = resources.files("socsci_jax.pages")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
