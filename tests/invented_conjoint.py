"""A conjoint in a Qualtrics export, made up."""

from __future__ import annotations

import invented_qualtrics as q


def task(id_, tag, number, first, second):
    rows = "".join(
        f"<tr><td>${{e://Field/K-{number}-{r}}}</td><td>${{e://Field/K-{number}-{first}-{r}}}</td>"
        f"<td>${{e://Field/K-{number}-{second}-{r}}}</td></tr>"
        for r in (1, 2)
    )
    return q.single(id_, tag, f"Which town?<table>{rows}</table>", "Town A", "Town B",
                    RecodeValues={"1": "1", "2": "2"})  # fmt: skip


def towns(folder, *, words=False):
    """Two tasks, and the first again with its sides swapped; four people, one of whom skipped a task."""
    survey_ = q.survey(
        [task("QID1", "Q1", 1, 1, 2), task("QID2", "Q2", 2, 1, 2), task("QID3", "Q3", 1, 2, 1)],
        [q.block("BL_1", "Tasks", "QID1", "QID2", "QID3")],
        [q.show("FL_2", "BL_1")],
    )
    fields = [f"K-{t}-{r}" for t in (1, 2) for r in (1, 2)]
    fields += [f"K-{t}-{p}-{r}" for t in (1, 2) for p in (1, 2) for r in (1, 2)]
    columns = [q.column("Q1", "QID1"), q.column("Q2", "QID2"), q.column("Q3", "QID3")]
    columns += [q.column(name, name) for name in fields]
    names = ["Cost", "School", "School", "Cost"]
    levels = ["low", "good", "high", "bad", "bad", "high", "good", "low"]
    label = {"1": "Town A", "2": "Town B", "": ""}
    answers = [("1", "2", "2"), ("1", "", "2"), ("2", "2", "1"), ("1", "1", "2")]
    rows = [[*(label[a] if words else a for a in given), *names, *levels] for given in answers]
    return q.write_deposit(folder, survey_, columns, rows)
