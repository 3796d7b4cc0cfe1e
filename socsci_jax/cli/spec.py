"""The commands of `socsci-jax data spec`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from socsci_jax.cli.output import Replace

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
    """Report every problem of a specification at once: of itself, then of the files that it names."""
    from data_pipelines.specified.deposit import Deposit
    from data_pipelines.specified.problems import check_deposit
    from socsci_jax.studies.specification_files import load_specification

    specification = load_specification(path)
    if specification.files:
        deposit = Deposit(path if path.is_dir() else path.parent, specification)
        check_deposit(specification, deposit, where=str(path))
    for name, study in specification.studies.items():
        print(f"{name}: {len(study.factors)} factors, {len(study.outcomes)} outcomes")
    print(f"{path}: no problems")


@spec_app.command("draft")
def draft(
    deposit: Annotated[
        Path,
        typer.Argument(
            help="The deposit's folder, with a Qualtrics .qsf file and the export of its answers."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The study.yaml to write; files are named relative to the deposit."),
    ] = Path("study.yaml"),
    replace: Replace = False,
) -> None:
    """Propose a specification by rules: arms, texts, scales, attributes; what they cannot tell is left open by name."""
    from data_pipelines.drafting.report import describe
    from data_pipelines.drafting.rules import draft_by_rules, write_draft

    found = draft_by_rules(deposit)
    write_draft(found.specification, out, replace=replace)
    for line in describe(found):
        print(line)
    print(
        f"{out}: {len(found.specification.unresolved)} values are left open; they stand under `unresolved`."
    )
