"""`socsci-jax export` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from socsci_jax.cli.output import cell, print_rich, say
from socsci_jax.locks import only_writer

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
    from socsci_jax.model_export import export_run

    with only_writer(out):
        export_run(checkpoint, out, step=step, dtype=dtype, adapter=adapter)
    say(f"exported: {out}")


@app.command()
def verify(
    a: Annotated[
        str,
        typer.Argument(
            help="A run's folder, RUN/checkpoints/STEP, a Hugging Face folder or hub id, a GGUF file, or package:NAME."
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

    comparison = compare(a, b)
    for label, where in zip("AB", comparison.sides):
        say(f"{label}: {where}")
    if comparison.different:
        print_rich(difference_table(comparison))
    for label, names in zip("AB", comparison.only):
        for name in names[:20]:
            say(f"only in {label}: {name}")
    for kind, differing in (("file", comparison.files), ("config", comparison.config)):
        for key, (there, here) in differing.items():
            say(f"{kind} {key}: A {cell(there or 'absent')}, B {cell(here or 'absent')}")
    say(
        f"tensors: {len(comparison.equal):,} with equal bits, {len(comparison.different):,} different, "
        f"{len(comparison.only[0]):,} only in A, {len(comparison.only[1]):,} only in B; "
        f"different files: {len(comparison.files)}; different keys of the config: {len(comparison.config)}"
    )
    if json_path is not None:
        comparison.write(json_path)
        say(f"written: {json_path}")
    say("all equal" if comparison.all_equal else "not equal")
    if not comparison.all_equal:
        raise typer.Exit(1)
