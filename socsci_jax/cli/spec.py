"""The commands of `socsci-jax data spec`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

spec_app = typer.Typer(
    help="Study specifications (study.yaml): check them, help editors.", no_args_is_help=True
)


@spec_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of study.yaml, for editors that check while one types."""
    from socsci_jax.studies.specification_files import json_schema, to_json

    print(to_json(json_schema()), end="")


@spec_app.command("check")
def check(
    path: Annotated[Path, typer.Argument(help="A study.yaml, or the folder that holds it.")],
) -> None:
    """Report every problem of a specification at once, without building."""
    from socsci_jax.studies.specification_files import load_specification

    specification = load_specification(path)
    for name, study in specification.studies.items():
        print(f"{name}: {len(study.factors)} factors, {len(study.outcomes)} outcomes")
    print(f"{path}: no problems")
