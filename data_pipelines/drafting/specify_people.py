"""The people of a drafted study: what tells them apart, what is known of them, who is excluded."""

from __future__ import annotations

import re

from data_pipelines.drafting.asked_attributes import DraftAttribute
from data_pipelines.drafting.draft_tree import Draft, one_line
from data_pipelines.drafting.holes import NOT_FINISHED
from socsci_jax.wording import counted


def participant(draft: Draft, at: str) -> dict:
    """The column that tells people apart: the response's id, or an id that nobody shares; the store numbers people,
    because such ids are known to others."""
    export = draft.design.export
    candidates = [c for c in export.columns if c.role == "record" and c.import_id == "_recordId"]
    candidates += [
        c
        for c in export.columns
        if c.role == "field" and re.search(r"(?i)(?:^|[_\s.-])(?:p|r)?id$|^id$", c.header)
    ]
    for column in candidates:
        cells = export.table[column.name]
        if cells.null_count() == 0 and cells.n_unique() == export.table.height:
            draft.provenance[f"{at}participant"] = (
                f"{export.path.name}, column {column.name}: another value in every row"
            )
            return {"participant": [column.name], "number_participants": True}
    draft.provenance[f"{at}participant"] = "no column has another value in every row; each row is a person"
    return {}


def attribute_tree(draft: Draft, at: str, attribute: DraftAttribute) -> dict:
    key = f"{at}attributes.{attribute.name}"
    draft.provenance[key] = attribute.origin
    draft.hole(key, *attribute.holes)
    for i, told in enumerate(attribute.told):
        draft.provenance[f"{key}.told[{i}]"] = told
    tree = {"column": attribute.column}
    if attribute.recode:
        tree["recode"] = {code: one_line(text) for code, text in attribute.recode.items()}
    if attribute.missing:
        tree["missing"] = list(attribute.missing)
    return tree


def exclusions(draft: Draft, at: str) -> list[dict]:
    export = draft.design.export
    rules = []
    for import_id in ("status", "distributionChannel"):
        column = export.record(import_id)
        if column is None:
            continue
        cells = {
            cell
            for cell, preview in zip(export.table[column.name], export.is_preview, strict=True)
            if preview and cell is not None
        }
        others = {
            cell
            for cell, preview in zip(export.table[column.name], export.is_preview, strict=True)
            if not preview and cell is not None
        }
        if cells - others:
            rules.append(
                {"where": {column.name: {"is": sorted(cells - others)}}, "reason": "a preview by the authors"}
            )
            draft.provenance[f"{at}exclude[{len(rules) - 1}]"] = f"{export.path.name}, column {column.name}"
            break
    finished = export.is_finished
    if finished is not None and not all(finished):
        column = export.record("finished")
        if draft.rulings.unfinished == "exclude":
            values = {
                cell
                for cell, done in zip(export.table[column.name], finished, strict=True)
                if not done and cell
            }
            rules.append({"where": {column.name: {"is": sorted(values)}}, "reason": "not finished"})
        if draft.rulings.unfinished:
            draft.provenance[f"{at}exclude (unfinished)"] = draft.rulings.unfinished_told
        else:
            draft.hole(
                f"{at}exclude",
                f"{counted(finished.count(False), 'response was', 'responses were')} {NOT_FINISHED} ({column.name}); say whether they count",
            )
    for column_name, right, told in draft.rulings.checks:
        draft.provenance[f"{at}exclude[{len(rules)}]"] = told
        rules.append(
            {"where": {column_name: {"not": [right]}}, "reason": f"failed the attention check {column_name}"}
        )
    return rules
