"""`socsci-jax simulate`, `evaluate` and `compare`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.bounds import DEVICES
from socsci_jax.cli.output import Replace, Seed, command_line, print_rich, print_table, say
from socsci_jax.errors import InputError
from socsci_jax.storage import only_writer
from socsci_jax.wording import counted

if TYPE_CHECKING:
    from socsci_jax.distributed.processes import Processes
    from socsci_jax.models.sharding import Mesh
    from socsci_jax.simulation.model import SimulationModel
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore

app = typer.Typer()


@app.command("simulate")
def simulate_command(
    model: Annotated[
        str,
        typer.Argument(
            help="A training run's folder, a folder or hub id of a Hugging Face model, or a GGUF file."
        ),
    ],
    store_path: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of a study store.")],
    split: Annotated[str, typer.Option(help="Split whose held-out parts are predicted.")] = "main",
    out: Annotated[Path, typer.Option("-o", "--out", help="Predictions table to write.")] = Path(
        "predictions.parquet"
    ),
    parts: Annotated[
        list[str] | None, typer.Option("--part", help="Only this part of the split (repeat for several).")
    ] = None,
    draws: Annotated[
        int, typer.Option(help="Sample this many answers per person instead of exact probabilities.")
    ] = 0,
    temperature: Annotated[
        float,
        typer.Option(help="Temperature of sampling (the paper's: 0.6; 0 takes the most probable token)."),
    ] = 0.6,
    top_p: Annotated[float, typer.Option(help="Nucleus of sampling (the paper's: 0.9).")] = 0.9,
    max_tokens: Annotated[
        int, typer.Option(help="Longest answer that is drawn; more for a model that writes rationales.")
    ] = 12,
    seed: Seed = 0,
    layout: Annotated[
        str | None, typer.Option(help="Prompt layout; by default the one the model was trained with.")
    ] = None,
    other_layout: Annotated[
        bool, typer.Option("--allow-other-layout", help="Allow a layout that the model was not trained with.")
    ] = False,
    effects_from: Annotated[
        str | None,
        typer.Option(help="Take the differences between arms from this model, and only levels from MODEL."),
    ] = None,
    kappa: Annotated[
        str,
        typer.Option(help="How much of these differences is believed: 0 to 1, or `validation` to learn it."),
    ] = "validation",
    fsdp: Annotated[
        int, typer.Option(min=1, max=DEVICES, help="Cut the parameters over this many devices.")
    ] = 1,
    tensor: Annotated[
        int, typer.Option(min=1, max=DEVICES, help="Cut every layer over this many devices.")
    ] = 1,
    hidden: Annotated[
        bool,
        typer.Option(
            "--hidden",
            help="Store the model's hidden state at every item beside the predictions; evaluate then adds a linear probe.",
        ),
    ] = False,
    replace: Replace = False,
) -> None:
    """Predict how held-out people would answer: exact probabilities over the levels, or draws."""
    from socsci_jax.distributed.processes import StopSignals, initialize
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore

    # Parts that are finished are kept: a signal may end it anywhere.
    with (
        initialize(joins_jax=False) as processes,
        StopSignals(),
        only_writer(out) if processes.is_main else contextlib.nullcontext(),
    ):
        if processes.is_main and out.exists() and not replace:
            raise InputError(f"{out} exists already; choose another file or pass --replace.")
        from socsci_jax.model_io import open_model
        from socsci_jax.models.attention_choice import attention_for
        from socsci_jax.models.sharding import make_mesh
        from socsci_jax.simulation.sampling import Sampling
        from socsci_jax.simulation.simulate import simulate

        store = StudyStore(store_path)
        held_out = Split.load(store, split)
        processes.peers.agree(
            **{"study store": store.content_hash, "split": held_out.content_hash, "command": command_line()}
        )
        held_out.pairs(*(parts or ()))  # fails before a model is loaded
        import jax

        # Every process simulates with a model of its own.
        devices = jax.local_devices()
        if len(devices) % (fsdp * tensor):
            raise InputError(
                f"--fsdp {fsdp} x --tensor {tensor} does not divide the {counted(len(devices), 'device')}."
            )
        data = len(devices) // (fsdp * tensor)
        mesh = make_mesh(data=data, fsdp=fsdp, tensor=tensor, devices=devices)
        sampling = None
        if draws:
            sampling = Sampling(
                draws=draws, temperature=temperature, top_p=top_p, seed=seed, max_tokens=max_tokens
            )
        if effects_from is not None:
            if hidden:
                raise InputError("--hidden is of one model; leave --effects-from out.")
            names = (model, effects_from)
            settings = {"mesh": mesh, "out": out, "parts": parts or (), "kappa": kappa, "draws": draws}
            _two_parts(names, store, held_out, processes, **settings)
            return
        opened = open_model(model, mesh=mesh)
        processes.peers.agree(attention=attention_for(opened.config.head_dim, opened.compute_dtype).name)
        rows = simulate(
            opened,
            store,
            held_out,
            out=out,
            layout=layout,
            allow_other_layout=other_layout,
            parts=parts or (),
            sampling=sampling,
            metadata={"command": command_line()},
            processes=processes,
        )
        if processes.is_main:
            say(f"predictions: {out} ({counted(rows, 'row')})")
            if hidden:
                _store_hidden(opened, store, out, layout=layout, other_layout=other_layout)


def _store_hidden(
    model: SimulationModel, store: StudyStore, out: Path, *, layout: str | None, other_layout: bool
) -> None:
    from socsci_jax.simulation.hidden import hidden_states
    from socsci_jax.studies.hidden import hidden_file, write_hidden_states

    states = hidden_states(model, store, layout=layout, allow_other_layout=other_layout)
    path = hidden_file(out)
    write_hidden_states(path, states.by_item, metadata=states.metadata)
    say(f"hidden states: {path} ({counted(len(states.by_item), 'item')})")


def _two_parts(
    names: tuple[str, str],
    store: StudyStore,
    split: Split,
    processes: Processes,
    *,
    mesh: Mesh,
    out: Path,
    parts: Sequence[str],
    kappa: str,
    draws: int,
) -> None:
    from socsci_jax.model_io import open_model
    from socsci_jax.simulation.two_parts import simulate_two_parts

    if draws:
        raise InputError("--effects-from combines exact probabilities; leave --draws out.")
    if kappa != "validation":
        try:
            given = float(kappa)
        except ValueError:
            given = -1.0
        if not 0 <= given <= 1:
            raise InputError(f"--kappa {kappa}: give a number from 0 to 1, or `validation`.")
    levels, effects = (open_model(name, mesh=mesh) for name in names)
    found = simulate_two_parts(
        levels,
        effects,
        store,
        split,
        out=out,
        parts=tuple(parts),
        kappa=None if kappa == "validation" else given,
        metadata={"command": command_line()},
        processes=processes,
    )
    if found is not None:
        say(f"predictions: {out} (kappa {found:.2f})")


@app.command()
def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="Predictions (anybody's): Parquet; with --human also CSV, Excel, SPSS, Stata, R."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the evaluation table and the report.")],
    store_path: Annotated[
        Path | None, typer.Argument(metavar="STORE", help="Folder of the study store; not with --human.")
    ] = None,
    human: Annotated[
        Path | None,
        typer.Option(
            help="People's answers as a plain table, long, wide or counts, instead of a store (`book.xlsx#Sheet`)."
        ),
    ] = None,
    scales: Annotated[
        Path | None,
        typer.Option(help="With --human: YAML, `question: 1 to 5`; without it scales are observed."),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="With --human: the column that says who answered.")
    ] = None,
    control: Annotated[
        list[str] | None, typer.Option(help="With --human: name of a control condition (repeatable).")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split; by default the one named in the predictions.")
    ] = None,
    resample: Annotated[
        str | None,
        typer.Option(help="studies, conditions, outcomes or participants; by default as the design says."),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="Another predictor's table (repeatable): the mean of all is a row of every table."),
    ] = None,
    seed: Seed = 0,
    minimum_n: Annotated[int, typer.Option(help="Items with fewer human answers stay out of averages.")] = 10,
) -> None:
    """Say how far the predictions can be trusted: an evaluation table and one self-contained HTML report."""
    from socsci_jax.evaluation.elsewhere.simbench import evaluate_simbench, is_simbench
    from socsci_jax.evaluation.evaluate_files import evaluate_files
    from socsci_jax.evaluation.report import labels
    from socsci_jax.evaluation.report.terminal import summary_table
    from socsci_jax.evaluation.verdicts import with_interval
    from socsci_jax.plain_tables import evaluate_tables

    own_people = store_path is None and human is None and is_simbench(predictions)
    if (store_path is None) == (human is None) and not own_people:
        raise InputError(
            "give either STORE, the folder of a study store, or --human, a table of people's answers."
        )
    with only_writer(out):
        if own_people:
            judged = evaluate_simbench(predictions, seed=seed)
            judged.write(out)
            evaluation = judged.evaluation
        elif human is not None:
            judged = evaluate_tables(
                predictions,
                human,
                scales=scales,
                id_column=id_column,
                controls=control or (),
                seed=seed,
                minimum_n=minimum_n,
                resample=resample,
                also=also or (),
            )
            judged.write(out)
            evaluation = judged.evaluation
        else:
            assert store_path is not None
            evaluation = evaluate_files(
                predictions,
                store_path,
                out,
                split_name=split,
                seed=seed,
                minimum_n=minimum_n,
                resample=resample,
                also=also or (),
            )
    if evaluation.parts:
        print_rich(summary_table(evaluation))
    if evaluation.coding.parts:
        print_rich(labels.summary_table(evaluation.coding))
    if own_people:
        say(f"SimBench score: {with_interval(evaluation.metric('simbench_score'), digits=1)}")
    for note in evaluation.notes if store_path is None else ():
        say(f"note: {note}")
    say(f"report: {out / 'report.html'}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Predictions table.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another predictions table.")],
    store_path: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the study store.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="CSV file for every metric of both and A − B.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split; by default the one named in both.")] = None,
    seed: Seed = 0,
    minimum_n: Annotated[int, typer.Option(help="Items with fewer human answers stay out of averages.")] = 10,
) -> None:
    """Compare two predictors on the answers that both predict: paired differences, the same resamples."""
    from socsci_jax.evaluation.compare import compare_files
    from socsci_jax.foreign_text import write_csv

    found = compare_files(a, b, store_path, split_name=split, seed=seed, minimum_n=minimum_n)
    print_table("A against B", found.headline())
    for sentence in found.sentences():
        say(sentence)
    if found.excluded:
        say(
            f"{counted(found.excluded, 'answer is', 'answers are')} not predicted by both and left aside; {counted(found.answers, 'answer was', 'answers were')} used."
        )
    if out is not None:
        write_csv(found.table, out)
        say(f"table: {out}")
