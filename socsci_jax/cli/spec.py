"""The commands of `socsci-jax data spec`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.cli.output import Replace
from socsci_jax.wording import counted

if TYPE_CHECKING:
    from socsci_jax.studies.specification import Specification

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
    from data_pipelines.specified.experiment import variants_of_experiment
    from data_pipelines.specified.problems import check_deposit
    from socsci_jax.studies.specification_files import load_specification

    specification = load_specification(path)
    if specification.files:
        deposit = Deposit(path if path.is_dir() else path.parent, specification)
        check_deposit(specification, deposit, where=str(path))
    else:
        variants_of_experiment(specification)
    for name, study in specification.studies.items():
        print(f"{name}: {counted(len(study.factors), 'factor')}, {counted(len(study.outcomes), 'outcome')}")
    print(f"{path}: no problems")


DraftDeposit = Annotated[
    Path,
    typer.Argument(
        help="A table (CSV, Excel, SPSS, Stata, R), with its codebook next to it if there is one, or a folder with a "
        "Qualtrics .qsf file and the export of its answers."
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", "-o", help="The study.yaml to write; files are named relative to the deposit."),
]
ModelUrl = Annotated[
    str,
    typer.Option(
        help="Ask a model about what rules leave open: base of an OpenAI-compatible endpoint (.../v1)."
    ),
]
Model = Annotated[str, typer.Option(help="Name of the model at that endpoint.")]
KeyVariable = Annotated[str, typer.Option(help="Environment variable that holds the endpoint's key.")]
Transcript = Annotated[
    Path | None,
    typer.Option(help="Everything asked and answered, reused on the next run; by default next to the draft."),
]
MostTokens = Annotated[int | None, typer.Option(help="Stop asking once so many tokens are spent.")]
PriceIn = Annotated[float, typer.Option(help="Price of a million tokens in, to show the cost.")]
PriceOut = Annotated[float, typer.Option(help="Price of a million tokens out.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for one answer.", min=1)]


@spec_app.command("draft")
def draft(
    deposit: DraftDeposit,
    out: Out = Path("study.yaml"),
    model_url: ModelUrl = "",
    model: Model = "",
    key_variable: KeyVariable = "",
    transcript: Transcript = None,
    most_tokens: MostTokens = None,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    timeout: Timeout = 60.0,
    replace: Replace = False,
) -> None:
    """Propose a specification: arms, texts, scales, attributes; what cannot be told is left open by name.

    Rules read a table's names, labels and codes, or a survey and its export. With `--model-url`, a model is asked
    small questions about what they left open of a survey; its answers must quote the deposit, and passages of it are
    sent to the endpoint.
    """
    from data_pipelines.drafting.report import describe
    from data_pipelines.drafting.rules import check_free_draft, draft_by_rules, write_draft
    from data_pipelines.drafting.table_draft import draft_of_table, table_of
    from socsci_jax.cli.output import say
    from socsci_jax.errors import InputError

    check_free_draft(out, replace=replace)
    if (table := table_of(deposit)) is not None:
        if model_url:
            raise InputError(
                f"--model-url: a model is asked about Qualtrics deposits; {deposit} is a table alone."
            )
        from_table = draft_of_table(table)
        for line in from_table.lines:
            say(line)
        write_draft(from_table.specification, out, replace=replace)
        _say_holes(out, from_table.specification)
        return
    proposal = draft_by_rules(deposit)
    for line in describe(proposal):
        say(line)
    if model_url:
        from data_pipelines.drafting.model.run import ask_model

        asked = ask_model(
            proposal,
            url=model_url,
            model=model,
            key_variable=key_variable,
            transcript=transcript or out.with_suffix(".transcript.jsonl"),
            most_tokens=most_tokens,
            prices=(price_in, price_out),
            timeout_seconds=timeout,
        )
        proposal = asked.draft
        for line in asked.lines:
            say(line)
    write_draft(proposal.specification, out, replace=replace)
    _say_holes(out, proposal.specification)


def _say_holes(out: Path, specification: Specification) -> None:
    from socsci_jax.cli.output import say

    say(
        f"{out}: {counted(len(specification.unresolved), 'value is', 'values are')} left open; they stand under `unresolved`."
    )
