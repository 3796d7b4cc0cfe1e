"""`socsci-jax export` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from socsci_jax.cli.output import cell, print_rich, say
from socsci_jax.storage import only_writer

app = typer.Typer()


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
    """Write a trained model, or a GGUF file, as a Hugging Face folder that `transformers` loads."""
    import jax

    # Weights are copied, and at most an adapter is merged: accelerators are left to those who train on them.
    jax.config.update("jax_platforms", "cpu")
    from socsci_jax.export import export_run

    with only_writer(out):
        export_run(checkpoint, out, step=step, dtype=dtype, adapter=adapter)
    say(f"exported: {out}")


@app.command()
def verify(
    a: Annotated[
        str,
        typer.Argument(
            help="A run's folder, RUN/checkpoints/STEP, a Hugging Face folder or hub id, or a GGUF file."
        ),
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
    from socsci_jax.verification.compare import compare, difference_table

    found = compare(a, b)
    for label, where in zip("AB", found.sides):
        say(f"{label}: {where}")
    if found.different:
        print_rich(difference_table(found))
    for label, names in zip("AB", found.only):
        for name in names[:20]:
            say(f"only in {label}: {name}")
    for kind, differing in (("file", found.files), ("config", found.config)):
        for key, (there, here) in differing.items():
            say(f"{kind} {key}: A {cell(there or 'absent')}, B {cell(here or 'absent')}")
    say(
        f"tensors: {len(found.equal):,} with equal bits, {len(found.different):,} different, "
        f"{len(found.only[0]):,} only in A, {len(found.only[1]):,} only in B; "
        f"different files: {len(found.files)}; different keys of the config: {len(found.config)}"
    )
    if json_path is not None:
        found.write(json_path)
        say(f"written: {json_path}")
    say("all equal" if found.all_equal else "not equal")
    if not found.all_equal:
        raise typer.Exit(1)
