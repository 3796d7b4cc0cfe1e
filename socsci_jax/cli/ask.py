"""`socsci-jax ask`: questions that nobody has been asked yet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.cli.output import Layout, Model, OtherLayout, Replace, print_table, read_people, say
from socsci_jax.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from socsci_jax.studies.predictions import Predictions
    from socsci_jax.studies.schema import Item

app = typer.Typer()
BAR = 40


@app.command()
def ask(
    model: Model,
    experiment: Annotated[
        Path | None,
        typer.Argument(
            help="YAML of several questions and versions: a study.yaml without data (docs/asking.md)."
        ),
    ] = None,
    question: Annotated[str | None, typer.Option(help="The question, as people read it.")] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="'1-7', '1-7: not at all | completely', or '1 = no | 2 = yes'."),
    ] = None,
    stimulus: Annotated[
        list[str] | None,
        typer.Option(help="What is read before it; NAME=TEXT names a version; repeat to compare versions."),
    ] = None,
    persona: Annotated[
        list[str] | None, typer.Option(help="One person, as 'age=34; gender=Female'; repeat for several.")
    ] = None,
    people: Annotated[
        Path | None, typer.Option(help="Table of people, one row each, a column an attribute.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Also write: .csv the shares, .parquet all predictions."),
    ] = None,
    layout: Layout = None,
    other_layout: OtherLayout = False,
    replace: Replace = False,
) -> None:
    """Ask a model a new question: shares and means for each version, and the differences between versions.

    Example: socsci-jax ask runs/tiny --question "How much do you trust the council?" --scale "1-7: not at all | completely"
    --persona "age=34; gender=Female" --persona "age=70; gender=Male"
    """
    from socsci_jax.rectification.output import check_output, write_table

    items = _items(experiment, question=question, scale=scale, stimuli=stimulus or [])
    personas = _personas(persona or [], people)
    if out is not None:
        check_output(out, replace=replace)
    import socsci_jax as sj

    opened = sj.open_model(model)
    predictions = sj.predict(opened, items, personas, layout=layout, allow_other_layout=other_layout)
    _show(predictions)
    _show_evidence(Path(model), predictions.metadata.get("model_hash"))
    if out is not None:
        if out.suffix == ".csv":
            write_table(predictions.shares(), out)
        else:
            predictions.write(out)
        say(f"written: {out}")


def _items(
    experiment: Path | None, *, question: str | None, scale: str | None, stimuli: list[str]
) -> list[Item]:
    from socsci_jax.studies.asking import item

    if experiment is not None:
        if question is not None or scale is not None or stimuli:
            raise InputError(f"{experiment}: give either this file or --question, --scale and --stimulus.")
        from socsci_jax.interface.experiments import items_of

        return list(items_of(experiment))
    if question is None or scale is None:
        raise InputError("say what is asked: --question and --scale, or a file of questions.")
    if not stimuli:
        return [item(question, scale)]
    versions = [_version(text, number) for number, text in enumerate(stimuli, start=1)]
    return [item(question, scale, stimulus=text, condition=name) for name, text in versions]


def _version(text: str, number: int) -> tuple[str, str]:
    named = re.match(r"\s*(\w[\w -]{0,39}?)\s*=\s*(.*)", text, re.S)
    return (named[1], named[2]) if named else (f"version {number}", text)


def _personas(inline: list[str], people: Path | None) -> list[dict[str, object]]:
    if bool(inline) == (people is not None):
        raise InputError("say who is asked: --persona (repeat for several) or --people FILE.csv.")
    if people is None:
        return [_persona(text) for text in inline]
    return read_people(people).to_dicts()


def _persona(text: str) -> dict[str, object]:
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    if not pairs or not all(equals and name.strip() for name, equals, _ in pairs):
        raise InputError(
            f"persona {text!r}: write attributes as name=value, separated by ; as in 'age=34; gender=Female'."
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _show(predictions: Predictions) -> None:
    shares = predictions.shares()
    for (_, outcome), of_outcome in shares.group_by(["study", "outcome"], maintain_order=True):
        print_table(str(outcome), _with_bars(of_outcome))
    means = predictions.means()
    _show_frame("Means", means)
    _show_frame("Differences between versions", predictions.differences())
    if means.height:
        say("Nothing here says how far to trust this: the number of simulated people does not.")


def _with_bars(shares: pl.DataFrame) -> pl.DataFrame:
    """The shares of one outcome with a bar each; a condition is named in its first row."""
    import polars as pl

    largest = max(shares["share"].to_list())
    rows, before = [], None
    for row in shares.iter_rows(named=True):
        rows.append(
            (
                "" if row["condition"] == before else row["condition"],
                f"{row['level']:g} {row['label']}".strip(),
                f"{row['share']:6.1%}",
                "█" * round(BAR * row["share"] / largest) if largest else "",
            )
        )
        before = row["condition"]
    return pl.DataFrame(rows, schema=["condition", "answer", "share", ""], orient="row")


def _show_frame(title: str, frame: pl.DataFrame) -> None:
    import polars as pl

    if not frame.is_empty():
        print_table(title, frame.with_columns(pl.col(pl.Float64).round_sig_figs(3)))


def _show_evidence(model: Path, model_hash: object) -> None:
    """How the very model that was asked did on studies that it had never seen, if an evaluation of it lies next to it."""
    for folder in _evaluations(model):
        file = folder / "evaluation.parquet"
        if file.is_file() and _is_of(file, model_hash):
            evidence = _evidence(_evaluation(file))
            if evidence.is_empty():
                say(
                    f"How this model did on unseen studies is not known: {file} judges none, because its split "
                    "held none out or people gave too few answers."
                )
            _show_frame(f"How its predictions did on unseen studies ({file})", evidence)
            return
    where = "".join(f", into the folder {folder}" for folder in _evaluations(model)[:1])
    say(
        f"How this model did on unseen studies is not known here: evaluate it on held-out studies (`simulate`, `evaluate`){where}."
    )


def _is_of(file: Path, model_hash: object) -> bool:
    """Whether an evaluation judges predictions of the model with this hash; says whose they are, if not."""
    from socsci_jax.studies.predictions import read_metadata

    told = read_metadata(file).get("predictions")
    made = told if isinstance(told, dict) else {}
    if model_hash is not None and made.get("model_hash") == model_hash:
        return True
    whose = (
        "another model's predictions"
        if "model_hash" in made
        else "predictions that do not say which model made them"
    )
    named = f" ({made['model']})" if isinstance(made.get("model"), str) else ""
    say(f"{file} judges {whose}{named}, and says nothing of this model.")
    return False


def _evaluations(model: Path) -> list[Path]:
    """Where a model on this disk may have its evaluation; a model of a hub or a package has none."""
    folders = [model, model.parent] if model.is_dir() else [model.parent] if model.is_file() else []
    return [folder / "evaluation" for folder in folders]


def _evaluation(file: Path) -> pl.DataFrame:
    from socsci_jax.evaluation.table import EVALUATION_SCHEMA
    from socsci_jax.tables import read_parquet, to_polars

    hint = "evaluate the model again"
    return to_polars(read_parquet(file, EVALUATION_SCHEMA, hint=hint), file, hint=hint)


def _evidence(table: pl.DataFrame) -> pl.DataFrame:
    """The distance and the correlation of effects, of the model and of what it is compared with."""
    import polars as pl

    whole = [pl.col(name).is_null() for name in ("reference", "study", "condition", "outcome", "group")]
    return table.filter(
        *whole,
        pl.col("part") == "unseen_studies",
        pl.col("metric").is_in(["wasserstein", "effect_r"]),
        pl.col("normalization").is_null() | (pl.col("normalization") == "scale"),
        pl.col("predictor").is_in(
            ["model", "uniform", "training_marginal", "condition_pooled", "split_half"]
        ),
    ).select("metric", "source", "predictor", "value", "lo", "hi", "n")
