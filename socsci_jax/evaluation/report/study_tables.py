"""The tables of one study's page."""

from __future__ import annotations

from socsci_jax.evaluation.sentences import part_name
from socsci_jax.pages.plots import number
from socsci_jax.pages.tables import Column, Table, whole, words


def contrasts(rows: list[dict[str, object]], *, name: str) -> Table:
    """The contrasts of one study, people's with standard errors."""
    return Table(
        name=name,
        title="Every contrast: difference in mean answer, as a share of the scale",
        columns=[
            *(Column(title, is_number=False) for title in ("Outcome", "Condition", "Against", "Part")),
            *(
                Column(title)
                for title in ("n", "n against", "People", "Standard error", "Model", "Model − people")
            ),
        ],
        rows=[
            [
                *(words(row[key]) for key in ("outcome", "condition", "reference")),
                words(part_name(str(row["part"]))),
                *(whole(row[key]) for key in ("n", "n_reference")),  # type: ignore[arg-type]
                *(number(row[key], 3) for key in ("human", "human_se", "model")),  # type: ignore[arg-type]
                number(_difference(row), 3),
            ]
            for row in rows
        ],
    )


def _difference(row: dict[str, object]) -> float | None:
    human, model = row["human"], row["model"]
    return model - human if isinstance(model, float) and isinstance(human, float) else None


def condition_means(rows: list[dict[str, object]], *, name: str) -> Table:
    """The condition means of one study."""
    return Table(
        name=name,
        title="Every condition mean: 0 is the lowest point of the scale, 1 the highest",
        columns=[
            *(Column(title, is_number=False) for title in ("Outcome", "Condition", "Control", "Part")),
            *(Column(title) for title in ("n", "People", "Standard error", "Model")),
        ],
        rows=[
            [
                *(words(row[key]) for key in ("outcome", "condition")),
                words({True: "yes", False: "no"}.get(row["is_control"], "not known")),  # type: ignore[call-overload]
                words(part_name(str(row["part"]))),
                whole(row["n"]),  # type: ignore[arg-type]
                *(number(row[key], 3) for key in ("human", "human_se", "model")),  # type: ignore[arg-type]
            ]
            for row in rows
        ],
    )
