"""`socsci-jax data`: build, inspect and split study stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsci_jax.cli.output import Replace, Seed, StorePath, command_line, print_table, say, share_of
from socsci_jax.cli.spec import spec_app
from socsci_jax.locks import only_writer
from socsci_jax.wording import counted, first_listed, quoted

if TYPE_CHECKING:
    from socsci_jax.studies.splits import Split

app = typer.Typer(help="Build, inspect and split study stores.", no_args_is_help=True)
app.add_typer(spec_app, name="spec")


@app.command("build")
def data_build(
    kind: Annotated[
        str,
        typer.Argument(
            help="study, conjoint, tess_archive, socsci210, text_classification, subpop, opinionqa, twin2k, transcripts "
            "or synthetic (docs/deposits.md)."
        ),
    ],
    source: Annotated[str, typer.Argument(help="The deposit's folder or file (synthetic: a preset's name).")],
    out: Annotated[Path, typer.Argument(help="Folder of the study store to write.")],
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Build although this gate refuses (repeat for several); the store records it."),
    ] = None,
    replace: Replace = False,
) -> None:
    """Turn a deposit into a study store; what cannot be read is counted and written to rejects.parquet."""
    import data_pipelines
    from socsci_jax.studies.inspect import rejects_by_reason

    with only_writer(out):
        store = data_pipelines.build(
            kind, source, out, command=command_line(), replace=replace, allow=tuple(allow or ())
        )
    rows = store.manifest["rows"]
    say(
        f"{out}: {counted(rows['studies'], 'study')}, {counted(rows['items'], 'item')}, {counted(rows['participants'], 'participant')}, "
        f"{counted(rows['responses'], 'response')}; {counted(rows['rejects'], 'record')} rejected."
    )
    print_table("Rejects", rejects_by_reason(store))
    for note in store.manifest["notes"]:
        say(f"note: {note}")
    for result in store.manifest.get("gates", ()):
        if result["status"] != "passed":
            say(f"gate {result['gate']} ({result['study']}): {result['status']}")
            for finding in result["findings"]:
                say(f"  {finding}")


@app.command("inspect")
def data_inspect(
    store_path: StorePath,
    tokenizer: Annotated[
        str | None, typer.Option(help="Also give token lengths under this tokenizer (folder or hub id).")
    ] = None,
    layout: Annotated[str, typer.Option(help="Prompt layout for token lengths.")] = "study_first",
) -> None:
    """Show what is in a store: studies, items, people, scales and where they were read from, rejects, lengths."""
    from data_pipelines.review.signatures import signatures
    from socsci_jax.studies.inspect import inspect_store
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(store_path)
    inspection = inspect_store(store)
    say(f"{store_path}: {store.manifest['source']} ({store.manifest['license']})")
    say(f"content hash {store.content_hash}; built by `{store.manifest['command']}`")
    print_table("Studies", inspection.studies)
    print_table("Scales: kind, range, where read", inspection.scales)
    print_table("What is known of people, in the words that models are trained with", inspection.attributes)
    print_table("Outcomes whose arms state different scales", inspection.disagreements)
    print_table("Arms that read the same", inspection.equal_texts)
    print_table("Labels that run against those of other outcomes", inspection.opposite)
    print_table("Rejects", inspection.rejects)
    for path in sorted((store_path / "splits").glob("*.parquet")):
        say(f"split: {path.stem}")
    for signature in signatures(store):
        of = "this content" if signature.is_of(store) else "an earlier build"
        say(f"signed off: {signature.name}, {signature.date}, {of}")
    if tokenizer is not None:
        from socsci_jax.data.lengths import token_lengths
        from socsci_jax.data.tokenizer_loading import load_tokenizer
        from socsci_jax.studies.layouts import load_layout

        table = token_lengths(store, layout=load_layout(layout), tokenizer=load_tokenizer(tokenizer))
        print_table(f"Tokens per prompt, layout {layout}", table)
    else:
        say("token lengths: pass --tokenizer FOLDER")


@app.command("review")
def data_review(
    store_path: StorePath,
    sign: Annotated[
        str | None, typer.Option(help="Sign the store off with this name; date and hashes are added.")
    ] = None,
) -> None:
    """Write a page a study: arms compared, scales, histograms, gates, where texts are from; or sign the store off."""
    from data_pipelines.review.page import write_review
    from data_pipelines.review.signatures import sign as sign_off
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(store_path)
    with only_writer(store_path):
        if sign is not None:
            signature = sign_off(store, sign)
            say(f"signed off by {signature.name} on {signature.date}: content hash {signature.content_hash}")
        index, *pages = write_review(store)
    say(f"{index}: {counted(len(pages), 'study')}")


@app.command("layout")
def data_layout(
    layout: Annotated[
        str, typer.Argument(help="A built-in layout (study_first, persona_first, codebook_first) or a file.")
    ] = "study_first",
    attributes: Annotated[
        str, typer.Option(help="What a persona lists, with commas between: 'interview', or 'age, gender'.")
    ] = "",
) -> None:
    """Print a prompt layout as JSON, to be changed and named under `data.layout` or `--layout`."""
    import dataclasses
    import json

    from socsci_jax.studies.layouts import load_layout

    chosen = load_layout(layout)
    if attributes:
        chosen = dataclasses.replace(chosen, attributes=attributes)
    print(json.dumps(chosen.to_dict(), indent=2, ensure_ascii=False))


SplitName = Annotated[str, typer.Option(help="Name of the split.")]
HeldOutStudies = Annotated[
    str | None,
    typer.Option(
        help="Share of unseen studies (0.2), or a file of study ids (JSON list or {'unseen': [...]})."
    ),
]
HeldOutConditions = Annotated[
    float | None, typer.Option(parser=share_of, help="Share of unseen conditions within a study.")
]
HeldOutOutcomes = Annotated[
    float | None, typer.Option(parser=share_of, help="Share of unseen outcomes within a study.")
]
HeldOutParticipants = Annotated[
    float | None, typer.Option(parser=share_of, help="Share of unseen participants.")
]
ValidationShare = Annotated[
    float | None,
    typer.Option(
        parser=share_of,
        help="Share of the other participants kept for choosing a checkpoint (recipe: `validation`).",
    ),
]


@app.command("split")
def data_split(
    store_path: StorePath,
    name: SplitName = "main",
    studies: HeldOutStudies = None,
    conditions: HeldOutConditions = None,
    outcomes: HeldOutOutcomes = None,
    participants: HeldOutParticipants = None,
    validation: ValidationShare = None,
    seed: Seed = 0,
    replace: Replace = False,
) -> None:
    """Hold out studies, conditions, outcomes and participants; near-duplicate studies are reported.

    The paper's shares are 0.25 for conditions and outcomes and 0.5 for participants.
    """
    from socsci_jax.studies.near_duplicates import near_duplicate_studies
    from socsci_jax.studies.split_making import make_split, read_study_ids
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(store_path)
    held: float | tuple[str, ...] | None = None
    if studies is not None:
        try:
            held = share_of(studies)
        except typer.BadParameter:
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
    counts = split.label()["part"].value_counts().sort("count", descending=True)
    resembling = near_duplicate_studies(store, split)
    path = split.save(replace=replace)  # once everything that it needs was found sound
    print_table(f"Responses by part, {path}", counts)
    for sentence in _held_out(split):
        say(sentence)
    for note in split.notes:
        say(f"note: {note}")
    for pair in resembling:
        say(
            f"warning: held-out study {pair.held_out} resembles training study {pair.training}: {pair.reason}, "
            f"text overlap {pair.text_overlap:.0%}"
        )


def _held_out(split: Split) -> list[str]:
    """The studies, conditions and outcomes that are held out, by name; of people their number is enough."""
    from socsci_jax.studies.splits import PARTS

    sentences = []
    for part in PARTS:
        if part == "unseen_participants":
            continue
        units = split.units(part).unique()
        column = units.columns[-1]
        units = units.sort(units.columns)
        several = column != "study_id" and units["study_id"].n_unique() > 1
        names = [
            f"{quoted(row[column])} of {row['study_id']}" if several else quoted(row[column])
            for row in units.iter_rows(named=True)
        ]
        if names:
            sentences.append(f"{part}: {first_listed(names)}")
    return sentences
