"""`socsci-jax simulate`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.bounds import DEVICES
from socsci_jax.cli.output import Layout, Model, OtherLayout, Replace, Seed, StorePath, command_line, say
from socsci_jax.errors import InputError
from socsci_jax.locks import only_writer
from socsci_jax.wording import counted

if TYPE_CHECKING:
    from socsci_jax.distributed.processes import Processes
    from socsci_jax.models.sharding import Mesh
    from socsci_jax.simulation.model import SimulationModel
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore

app = typer.Typer()


SimulateSplit = Annotated[str, typer.Option(help="Split whose held-out parts are predicted.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Predictions table to write.")]
SimulateParts = Annotated[
    list[str] | None, typer.Option("--part", help="Only this part of the split (repeat for several).")
]
Draws = Annotated[
    int, typer.Option(help="Sample this many answers per person instead of exact probabilities.")
]
SimulateTemperature = Annotated[
    float,
    typer.Option(help="Temperature of sampling (the paper's: 0.6; 0 takes the most probable token)."),
]
TopP = Annotated[float, typer.Option(help="Nucleus of sampling (the paper's: 0.9).")]
MaxTokens = Annotated[
    int, typer.Option(help="Longest answer that is drawn; more for a model that writes rationales.")
]
EffectsFrom = Annotated[
    str | None,
    typer.Option(help="Take the differences between arms from this model, and only levels from MODEL."),
]
Kappa = Annotated[
    str,
    typer.Option(help="How much of these differences is believed: 0 to 1, or `validation` to learn it."),
]
Fsdp = Annotated[int, typer.Option(min=1, max=DEVICES, help="Cut the parameters over this many devices.")]
Tensor = Annotated[int, typer.Option(min=1, max=DEVICES, help="Cut every layer over this many devices.")]
Hidden = Annotated[
    bool,
    typer.Option(
        "--hidden",
        help="Store the model's hidden state at every item next to the predictions; evaluate then adds a linear probe.",
    ),
]


@app.command("simulate")
def simulate_command(
    model: Model,
    store_path: StorePath,
    split: SimulateSplit = "main",
    out: Out = Path("predictions.parquet"),
    parts: SimulateParts = None,
    draws: Draws = 0,
    temperature: SimulateTemperature = 0.6,
    top_p: TopP = 0.9,
    max_tokens: MaxTokens = 12,
    seed: Seed = 0,
    layout: Layout = None,
    other_layout: OtherLayout = False,
    effects_from: EffectsFrom = None,
    kappa: Kappa = "validation",
    fsdp: Fsdp = 1,
    tensor: Tensor = 1,
    hidden: Hidden = False,
    replace: Replace = False,
) -> None:
    """Predict how held-out people would answer: exact probabilities over the levels, or draws."""
    from socsci_jax.distributed.processes import StopSignals, initialize

    # Chunks that are finished are kept: a signal may end it anywhere.
    with (
        initialize(joins_jax=False) as processes,
        StopSignals(),
        only_writer(out) if processes.is_main else contextlib.nullcontext(),
    ):
        if processes.is_main and out.exists() and not replace:
            raise InputError(f"{out} exists already; choose another file or pass --replace.")
        from socsci_jax.models.sharding import local_mesh
        from socsci_jax.simulation.sampling import Sampling
        from socsci_jax.simulation.simulate import simulate

        sampling = None
        if draws:
            sampling = Sampling(
                draws=draws, temperature=temperature, top_p=top_p, seed=seed, max_tokens=max_tokens
            )
        store, held_out = _held_out(store_path, split, parts or (), processes)
        mesh = local_mesh(fsdp=fsdp, tensor=tensor)  # every process simulates with a model of its own
        if effects_from is not None:
            _check_combined(hidden=hidden, draws=draws)
            names, settings = (model, effects_from), {"mesh": mesh, "out": out, "parts": parts or ()}
            _two_parts(names, store, held_out, processes, kappa=_kappa(kappa), **settings)
            return
        opened = _open_alike(model, mesh, processes)
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


def _held_out(
    store_path: Path, split: str, parts: Sequence[str], processes: Processes
) -> tuple[StudyStore, Split]:
    """The store and its split, alike in all processes; a part that it lacks is refused before a model is loaded."""
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(store_path)
    held_out = Split.load(store, split)
    processes.peers.agree(
        **{"study store": store.content_hash, "split": held_out.content_hash, "command": command_line()}
    )
    held_out.pairs(*parts)
    return store, held_out


def _open_alike(name: str, mesh: Mesh, processes: Processes) -> SimulationModel:
    """The model, on devices that compute attention in the same way in all processes."""
    from socsci_jax.model_io import open_model
    from socsci_jax.models.attention_choice import Heads, same_attention

    model = open_model(name, mesh=mesh)
    gather = functools.partial(processes.peers.gather, what="comparing devices")
    heads = Heads.of(model.config, model.compute_dtype)
    processes.peers.agree(attention=same_attention(heads, gather))
    return model


def _store_hidden(
    model: SimulationModel, store: StudyStore, out: Path, *, layout: str | None, other_layout: bool
) -> None:
    from socsci_jax.simulation.hidden import hidden_states
    from socsci_jax.studies.hidden import hidden_file, write_hidden_states

    states = hidden_states(model, store, layout=layout, allow_other_layout=other_layout)
    path = hidden_file(out)
    write_hidden_states(path, states.by_item, metadata=states.metadata)
    say(f"hidden states: {path} ({counted(len(states.by_item), 'item')})")


def _check_combined(*, hidden: bool, draws: int) -> None:
    """Raises InputError for what cannot be asked of two models."""
    if hidden:
        raise InputError("--hidden is of one model; give it without --effects-from.")
    if draws:
        raise InputError("--effects-from combines exact probabilities; give it without --draws.")


def _kappa(text: str) -> float | None:
    """A number from 0 to 1, or None for the one that is learned on the validation part."""
    if text == "validation":
        return None
    try:
        given = float(text)
    except ValueError:
        given = -1.0
    if not 0 <= given <= 1:
        raise InputError(f"--kappa {text}: give a number from 0 to 1, or `validation`.")
    return given


def _two_parts(
    names: tuple[str, str],
    store: StudyStore,
    split: Split,
    processes: Processes,
    *,
    mesh: Mesh,
    out: Path,
    parts: Sequence[str],
    kappa: float | None,
) -> None:
    from socsci_jax.simulation.two_parts import simulate_two_parts

    levels, effects = (_open_alike(name, mesh, processes) for name in names)
    used = simulate_two_parts(
        levels,
        effects,
        store,
        split,
        out=out,
        parts=tuple(parts),
        kappa=kappa,
        metadata={"command": command_line()},
        processes=processes,
    )
    if used is not None:
        say(f"predictions: {out} (kappa {used:.2f})")
