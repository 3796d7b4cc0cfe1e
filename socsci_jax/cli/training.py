"""`socsci-jax train`, `plan` and `sweep`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from socsci_jax.cli.output import ManyValues, command_line, print_rich, print_table, say
from socsci_jax.errors import InputError
from socsci_jax.locks import only_writer

Recipe = Annotated[
    Path,
    typer.Argument(help="Recipe: a file, or the name of one that comes with the package (`recipe list`)."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Changes to the recipe, for instance optimizer.epochs=2 or batch.rows=16."),
]

app = typer.Typer()
recipe_app = typer.Typer(help="Recipes: list them, show one whole, help editors.", no_args_is_help=True)
app.add_typer(recipe_app, name="recipe")


@recipe_app.command("show")
def show(
    recipe: Recipe,
    overrides: Overrides = None,
) -> None:
    """Check a recipe, and print it with every key: what it extends, changes and defaults included."""
    from socsci_jax.training.recipe_files import load_recipe

    print(load_recipe(recipe, overrides or ()).rendered(), end="")


@recipe_app.command("list")
def list_recipes() -> None:
    """List the recipes that come with the package: model, objective, and the hardware each is for."""
    import polars as pl

    from socsci_jax.training.recipe_files import load_recipe, own_recipes

    loaded = {name: load_recipe(file) for name, file in own_recipes().items()}
    rows = [(name, r.model.init_from, r.objective.kind, r.hardware) for name, r in loaded.items()]
    print_table(
        "Recipes", pl.DataFrame(rows, schema=["name", "start", "objective", "hardware"], orient="row")
    )


@recipe_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of recipes, for editors that complete and check keys while one types."""
    from socsci_jax.training.recipe_files import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command()
def train(
    recipe: Recipe,
    overrides: Overrides = None,
) -> None:
    """Fine-tune a model on the training part of a split; resumes where an earlier run of the recipe stopped."""
    from socsci_jax.distributed.processes import initialize
    from socsci_jax.training.recipe_files import load_recipe

    with initialize() as processes:  # before anything else touches JAX
        loaded = load_recipe(recipe, overrides or ())
        processes.peers.agree(recipe=loaded.hash_of_all)
        from socsci_jax.training.loop import train as run

        folder = run(loaded, processes)
        if processes.is_main:
            say(f"trained: {folder}")


@app.command("plan")
def plan_command(
    recipe: Recipe,
    overrides: Overrides = None,
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
    from socsci_jax.training.recipe_files import load_recipe

    if not 0 < efficiency <= 1:
        raise InputError(f"--efficiency {efficiency}: give a share of the peak between 0 and 1, such as 0.4.")
    changes = [*(overrides or ())]
    changes += [f"hardware={devices}"] if devices is not None else []
    changes += [f"data.store={store}"] if store is not None else []
    loaded = load_recipe(recipe, changes)
    from socsci_jax.feasibility.plan import make_plan, simulate_devices
    from socsci_jax.feasibility.report import advice, plan_table

    simulate_devices(loaded.machine.devices)
    plan = make_plan(loaded, loaded.machine)
    print_rich(plan_table(plan, efficiency=efficiency))
    for assumed in plan.assumed:
        say(f"assumed: {assumed}")
    if not plan.fits:
        say("to make it fit, one or several of:")
        for change in advice(plan):
            say(f"  {change}")
        raise typer.Exit(1)


@app.command("same-bits")
def same_bits_command(
    recipe: Recipe,
    overrides: Overrides = None,
) -> None:
    """Say whether a resumed run has the same bits as one that never stopped, on this machine's devices.

    Steps of the recipe are taken from random weights on invented rows, by two processes one after the other that compile
    anew; then both again without the recipe's `same_bits`. Exit status 1 says that the bits differ with it.
    """
    from socsci_jax.feasibility.same_bits import same_bits
    from socsci_jax.training.recipe_files import load_recipe

    found = same_bits(load_recipe(recipe, overrides or ()))
    say(f"on {found[True].device}:")
    for promised, of in found.items():
        bits = "the same bits" if of.same else "different bits"
        say(f"  same_bits: {str(promised).lower()}: {bits}, {of.seconds * 1e3:.1f} ms a step")
    say(f"the promise costs {found[True].seconds / found[False].seconds - 1:+.0%} of a step's time")
    if not found[True].same:
        raise typer.Exit(1)


@app.command(cls=ManyValues)
def sweep(
    recipe: Recipe,
    over: Annotated[str, typer.Option(help="participants, conditions or studies: what to take shares of.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the runs, the table and the plot.", metavar="DIR")
    ],
    overrides: Overrides = None,
    shares: Annotated[
        list[float] | None, typer.Option(help="Shares of the training part (default: 0.1 0.25 0.5 1).")
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(help="Seeds of subset and training, for every share (default: 0).")
    ] = None,
    minimum_n: Annotated[int, typer.Option(help="Items with fewer human answers stay out of averages.")] = 10,
) -> None:
    """Train on growing shares of the data and see how far the predictions improve; resumes where it stopped.

    Writes sweep.csv, sweep.parquet and sweep.png: W on the held-out parts against the share, with the baselines.
    """
    from socsci_jax.evaluation.sweep_table import law_sentences, summary
    from socsci_jax.sweep import sweep as run
    from socsci_jax.training.recipe_files import load_recipe

    with only_writer(out):
        table = run(
            load_recipe(recipe, overrides or ()),
            of=over,
            shares=shares or (0.1, 0.25, 0.5, 1.0),
            seeds=seeds or (0,),
            out=out,
            minimum_n=minimum_n,
            command=command_line(),
        )
    print_table("Wasserstein distance on the scale's own range (lower is better)", summary(table))
    for sentence in law_sentences(table):
        say(sentence)
    say(f"table: {out / 'sweep.csv'}, plot: {out / 'sweep.png'}")
