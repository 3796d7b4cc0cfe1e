"""The command line.  Each command imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperOption

from socsci_jax import __version__
from socsci_jax.errors import InputError, ending
from socsci_jax.specification_cli import spec_app

app = typer.Typer(
    name="socsci-jax",
    help=(
        "Fine-tune language models on survey experiments and predict how people would answer.\n\n"
        "The way of the data: `data build` and `data split`, `train`, `simulate`, `evaluate`, `export`. "
        "`plan` says beforehand whether a recipe fits a machine. `quickstart` runs all of it on a built-in demonstration."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
data_app = typer.Typer(help="Build, inspect and split study stores.", no_args_is_help=True)
data_app.add_typer(spec_app, name="spec")
app.add_typer(data_app, name="data")

Replace = Annotated[bool, typer.Option("--replace", help="Replace what is there already.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


def main() -> None:
    """Runs the command line; what a user is meant to read is one sentence, and the exit status says what to do next."""
    if sys.argv[1:2] and sys.argv[1] in ("train", "simulate", "sweep", "quickstart"):
        from socsci_jax.compilation import before_jax

        before_jax()
    try:
        app()
    except (Exception, KeyboardInterrupt) as error:
        sentence, status = ending(error)
        if status == 1:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        raise SystemExit(status) from None


class _ManyValues(TyperCommand):
    """Takes `--shares 0.1 0.5` for `--shares 0.1 --shares 0.5`: an option has one value each time it is given."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        options = {name for p in self.params if isinstance(p, TyperOption) and p.multiple for name in p.opts}
        given, option = [], None
        for argument in args:
            if option is not None and given[-1] != option and re.fullmatch(r"[\d.]+(e-?\d+)?", argument):
                given.append(option)
            elif argument.startswith("-"):
                option = argument if argument in options else None
            given.append(argument)
        return super().parse_args(ctx, given)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"socsci_jax {__version__}")
        raise typer.Exit


@data_app.command("build")
def data_build(
    kind: Annotated[str, typer.Argument(help="tess_archive, socsci210, text_classification or synthetic.")],
    source: Annotated[str, typer.Argument(help="The deposit's folder or file (synthetic: a preset's name).")],
    out: Annotated[Path, typer.Argument(help="Folder of the study store to write.")],
    replace: Replace = False,
) -> None:
    """Turn a deposit into a study store; what cannot be read is counted and written to rejects.parquet."""
    import data_pipelines

    store = data_pipelines.build(kind, source, out, command=_command_line(), replace=replace)
    rows = store.manifest["rows"]
    print(
        f"{out}: {rows['studies']} studies, {rows['items']} items, {rows['participants']} participants, "
        f"{rows['responses']} responses; {rows['rejects']} records rejected."
    )
    _print_rejects(store)
    for note in store.manifest["notes"]:
        print(f"note: {note}")


@data_app.command("inspect")
def data_inspect(
    store_path: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of a study store.")],
    tokenizer: Annotated[
        str | None, typer.Option(help="Also give token lengths under this tokenizer (folder or hub id).")
    ] = None,
    layout: Annotated[str, typer.Option(help="Prompt layout for token lengths.")] = "study_first",
) -> None:
    """Show what is in a store: studies, items, scales and where they were read from, rejects, lengths."""
    from socsci_jax.studies.inspect import inspect_store
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(store_path)
    found = inspect_store(store)
    print(f"{store_path}: {store.manifest['source']} ({store.manifest['license']})")
    print(f"content hash {store.content_hash}; built by `{store.manifest['command']}`")
    _print_table("Studies", found.studies)
    _print_table("Scales: kind, range, where read", found.scales)
    _print_table("Outcomes whose arms state different scales", found.disagreements)
    _print_table("Arms that read the same", found.equal_texts)
    _print_rejects(store)
    for path in sorted((store_path / "splits").glob("*.parquet")):
        print(f"split: {path.stem}")
    if tokenizer is not None:
        from socsci_jax.data.lengths import token_lengths
        from socsci_jax.data.tokenizers import load_tokenizer
        from socsci_jax.studies.prompts import load_layout

        table = token_lengths(store, layout=load_layout(layout), tokenizer=load_tokenizer(tokenizer))
        _print_table(f"Tokens per prompt, layout {layout}", table)
    else:
        print("token lengths: pass --tokenizer FOLDER")


@data_app.command("split")
def data_split(
    store_path: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of a study store.")],
    name: Annotated[str, typer.Option(help="Name of the split.")] = "main",
    studies: Annotated[
        str | None,
        typer.Option(
            help="Share of unseen studies (0.2), or a file of study ids (JSON list or {'unseen': [...]})."
        ),
    ] = None,
    conditions: Annotated[
        float | None, typer.Option(help="Share of unseen conditions within a study.")
    ] = None,
    outcomes: Annotated[float | None, typer.Option(help="Share of unseen outcomes within a study.")] = None,
    participants: Annotated[float | None, typer.Option(help="Share of unseen participants.")] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Share of the other participants kept for choosing a checkpoint (recipe: `validation`)."
        ),
    ] = None,
    seed: Seed = 0,
    replace: Replace = False,
) -> None:
    """Hold out studies, conditions, outcomes and participants; near-duplicate studies are reported.

    The paper's shares are 0.25 for conditions and outcomes and 0.5 for participants.
    """
    from socsci_jax.studies.splits import make_split, near_duplicate_studies, read_study_ids
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(store_path)
    held: float | tuple[str, ...] | None = None
    if studies is not None:
        try:
            held = float(studies)
        except ValueError:
            held = read_study_ids(Path(studies))
    split = make_split(
        store,
        name=name,
        seed=seed,
        studies=held,
        conditions=conditions,
        outcomes=outcomes,
        participants=participants,
        validation=validation,
    )
    path = split.save(store, replace=replace)
    counts = split.label(store)["part"].value_counts().sort("count", descending=True)
    _print_table(f"Responses by part, {path}", counts)
    for note in split.notes:
        print(f"note: {note}")
    for pair in near_duplicate_studies(store, split):
        print(
            f"warning: held-out study {pair.held_out} resembles training study {pair.training}: {pair.reason}, "
            f"text overlap {pair.text_overlap:.0%}"
        )


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe file; see recipes/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe, for instance optimizer.epochs=2.")
    ] = None,
) -> None:
    """Fine-tune a model on the training part of a split; goes on where an earlier run of the recipe stopped."""
    from socsci_jax.distributed.processes import initialize
    from socsci_jax.training.recipe import load_recipe

    with initialize() as processes:  # before anything else touches JAX
        loaded = load_recipe(recipe, overrides or ())
        processes.peers.agree(recipe=loaded.hash_of_all)
        from socsci_jax.training.loop import train as run

        folder = run(loaded, processes)
        if processes.is_main:
            print(f"trained: {folder}")


@app.command("plan")
def plan_command(
    recipe: Annotated[Path, typer.Argument(help="Recipe file; see recipes/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe, for instance batch.rows=16.")
    ] = None,
    devices: Annotated[
        str | None, typer.Option(help="Another machine than the recipe's: 8xh200, v5p-64.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Another study store than the recipe's; tokenized as `train` would.")
    ] = None,
    efficiency: Annotated[
        float, typer.Option(help="Share of the accelerators' peak speed that is expected.")
    ] = 0.4,
) -> None:
    """Say whether a recipe fits a machine, and how long it takes, without weights and without that machine.

    The step is compiled from shapes alone for simulated CPU devices. Where store and tokenizer are at hand, the data's
    own padding, sharing and number of steps are shown. Exit status 1 says that it does not fit.

    An accelerator's compiler orders and fuses differently: temporaries are an estimate, mostly from above
    (docs/feasibility.md). Parameters, optimizer and batch are exact.
    """
    from socsci_jax.training.recipe import load_recipe

    if not 0 < efficiency <= 1:
        raise InputError(f"--efficiency {efficiency}: give a share of the peak between 0 and 1, such as 0.4.")
    changes = [*(overrides or ())]
    changes += [f"hardware={devices}"] if devices is not None else []
    changes += [f"data.store={store}"] if store is not None else []
    loaded = load_recipe(recipe, changes)
    from socsci_jax.feasibility import advice, make_plan, plan_table, simulate_devices

    simulate_devices(loaded.machine.devices)
    plan = make_plan(loaded, loaded.machine)
    _print(plan_table(plan, efficiency=efficiency))
    for assumed in plan.assumed:
        print(f"assumed: {assumed}")
    if not plan.fits:
        print("to make it fit, one or several of:")
        for change in advice(plan):
            print(f"  {change}")
        raise typer.Exit(1)


@app.command("simulate")
def simulate_command(
    model: Annotated[
        str, typer.Argument(help="A training run's folder, or a folder or hub id of a Hugging Face model.")
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
    temperature: Annotated[float, typer.Option(help="Temperature of sampling (the paper's: 0.6).")] = 0.6,
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
    fsdp: Annotated[int, typer.Option(help="Cut the parameters over this many devices.")] = 1,
    tensor: Annotated[int, typer.Option(help="Cut every layer over this many devices.")] = 1,
    replace: Replace = False,
) -> None:
    """Predict how held-out people would answer: exact probabilities over the levels, or draws."""
    from socsci_jax.distributed.processes import StopSignals, initialize
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore

    # Parts that are finished are kept: a signal may end it anywhere.
    with initialize(joins_jax=False) as processes, StopSignals():
        if processes.is_main and out.exists() and not replace:
            raise InputError(f"{out} exists already; choose another file or pass --replace.")
        from socsci_jax.model_io import choose_layout, open_model
        from socsci_jax.models.attention_choice import attention_for
        from socsci_jax.models.sharding import make_mesh
        from socsci_jax.simulation.sampling import Sampling
        from socsci_jax.simulation.simulate import held_out_pairs, simulate

        store = StudyStore(store_path)
        held_out = Split.load(store, split)
        processes.peers.agree(
            **{"study store": store.content_hash, "split": held_out.content_hash, "command": _command_line()}
        )
        held_out_pairs(store, held_out, parts=parts or ())  # fails before a model is loaded
        import jax

        # Every process simulates with a model of its own.
        devices = jax.local_devices()
        if len(devices) % (fsdp * tensor):
            raise InputError(f"--fsdp {fsdp} x --tensor {tensor} does not divide the {len(devices)} devices.")
        data = len(devices) // (fsdp * tensor)
        mesh = make_mesh(data=data, fsdp=fsdp, tensor=tensor, devices=devices)
        sampling = Sampling(
            draws=draws, temperature=temperature, top_p=top_p, seed=seed, max_tokens=max_tokens
        )
        opened = open_model(model, mesh=mesh)
        processes.peers.agree(attention=attention_for(opened.config.head_dim, opened.compute_dtype).name)
        rows = simulate(
            opened,
            store,
            held_out,
            out=out,
            layout=choose_layout(opened, layout, allow_other=other_layout),
            parts=parts or (),
            sampling=sampling if draws else None,
            facts={"command": _command_line()},
            processes=processes,
        )
        if processes.is_main:
            print(f"predictions: {out} ({rows:,} rows)")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Predictions table (anybody's).")],
    store_path: Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the study store.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the evaluation table and the report.")],
    split: Annotated[
        str | None, typer.Option(help="Split; by default the one named in the predictions.")
    ] = None,
    seed: Seed = 0,
    minimum_n: Annotated[int, typer.Option(help="Items with fewer human answers stay out of averages.")] = 10,
) -> None:
    """Say how far the predictions can be trusted: an evaluation table and one self-contained HTML report."""
    import rich

    from socsci_jax.evaluation import coding_report
    from socsci_jax.evaluation.evaluate import evaluate_files
    from socsci_jax.evaluation.report import summary_table

    evaluation = evaluate_files(
        predictions, store_path, out, split_name=split, seed=seed, minimum_n=minimum_n
    )
    if evaluation.parts:
        rich.print(summary_table(evaluation))
    if evaluation.coding.parts:
        rich.print(coding_report.summary_table(evaluation.coding))
    print(f"report: {out / 'report.html'}")


@app.command(cls=_ManyValues)
def sweep(
    recipe: Annotated[Path, typer.Argument(help="Recipe file; see recipes/.")],
    over: Annotated[str, typer.Option(help="participants, conditions or studies: what to take shares of.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the runs, the table and the plot.", metavar="DIR")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe, for instance optimizer.epochs=2.")
    ] = None,
    shares: Annotated[
        list[float] | None, typer.Option(help="Shares of the training part (default: 0.1 0.25 0.5 1).")
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(help="Seeds of subset and training, for every share (default: 0).")
    ] = None,
    minimum_n: Annotated[int, typer.Option(help="Items with fewer human answers stay out of averages.")] = 10,
) -> None:
    """Train on growing shares of the data and see how far the predictions improve; goes on where it stopped.

    Writes sweep.csv, sweep.parquet and sweep.png: W on the held-out parts against the share, beside the baselines.
    """
    from socsci_jax.evaluation.sweep_report import law_sentences, summary
    from socsci_jax.sweep import sweep as run
    from socsci_jax.training.recipe import load_recipe

    table = run(
        load_recipe(recipe, overrides or ()),
        of=over,
        shares=shares or (0.1, 0.25, 0.5, 1.0),
        seeds=seeds or (0,),
        out=out,
        minimum_n=minimum_n,
        command=_command_line(),
    )
    _print_table("Wasserstein distance on the scale's own range (lower is better)", summary(table))
    for sentence in law_sentences(table):
        print(sentence)
    print(f"table: {out / 'sweep.csv'}, plot: {out / 'sweep.png'}")


@app.command()
def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A training run's folder (taken is the best in validation, else the newest)."),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write in the Hugging Face format.")],
    step: Annotated[int | None, typer.Option(help="Another checkpoint than that.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or bfloat16; by default as trained.")] = None,
    adapter: Annotated[
        bool,
        typer.Option(
            "--adapter", help="Only the adapter of a LoRA run, as peft loads it; else it is merged."
        ),
    ] = False,
) -> None:
    """Write a trained model as a Hugging Face folder that `transformers` loads."""
    import jax

    # Weights are copied, and at most an adapter is merged: accelerators are left to those who train on them.
    jax.config.update("jax_platforms", "cpu")
    from socsci_jax.model_io import export_run

    export_run(checkpoint, out, step=step, dtype=dtype, adapter=adapter)
    print(f"exported: {out}")


@app.command()
def verify(
    a: Annotated[
        str, typer.Argument(help="A run's folder, RUN/checkpoints/STEP, or a Hugging Face folder or hub id.")
    ],
    b: Annotated[str, typer.Argument(help="The same, to compare with.")],
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write all that was found as JSON.")
    ] = None,
) -> None:
    """Compare two checkpoints tensor by tensor, with tokenizer and config; exit status 1 if anything differs."""
    import jax

    # Nothing is computed: accelerators are left to those who train on them.
    jax.config.update("jax_platforms", "cpu")
    from socsci_jax.verification import compare, difference_table

    found = compare(a, b)
    for label, where in zip("AB", found.sides):
        print(f"{label}: {where}")
    if found.different:
        _print(difference_table(found))
    for label, names in zip("AB", found.only):
        for name in names[:20]:
            print(f"only in {label}: {name}")
    for kind, differing in (("file", found.files), ("config", found.config)):
        for key, (there, here) in differing.items():
            print(f"{kind} {key}: A {_cell(there or 'absent')}, B {_cell(here or 'absent')}")
    print(
        f"tensors: {len(found.equal):,} with equal bits, {len(found.different):,} different, "
        f"{len(found.only[0]):,} only in A, {len(found.only[1]):,} only in B; "
        f"different files: {len(found.files)}; different keys of the config: {len(found.config)}"
    )
    if json_path is not None:
        found.write(json_path)
        print(f"written: {json_path}")
    print("all equal" if found.all_equal else "not equal")
    if not found.all_equal:
        raise typer.Exit(1)


@app.command()
def quickstart(
    out: Annotated[Path, typer.Argument(help="Folder for everything that is made.")] = Path("quickstart"),
    seed: Seed = 0,
) -> None:
    """Run the whole chain on the built-in demonstration: build, split, train, simulate, evaluate, export."""
    from socsci_jax.quickstart import run

    run(out, seed=seed)


def _command_line() -> str:
    return shlex.join(["socsci-jax", *sys.argv[1:]])


def _print_rejects(store) -> None:
    from socsci_jax.studies.inspect import inspect_store

    _print_table("Rejects", inspect_store(store).rejects)


def _print_table(title: str, frame) -> None:
    from rich.table import Table

    if frame.is_empty():
        print(f"{title}: none")
        return
    table = Table(title=title, title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    _print(table)


def _print(table) -> None:
    import rich
    from rich.console import Console

    Console(width=max(rich.get_console().width, 120)).print(table)


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
