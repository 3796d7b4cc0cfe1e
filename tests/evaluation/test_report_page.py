"""The report in a browser: whole without a network, harmless whatever texts it shows, readable by everybody."""

import dataclasses
import html.parser
import re
import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest
from browser import DRAWN, Visit, look
from conftest import REPOSITORY
from evaluation_example import exact_predictions, label, make_world
from hostile_texts import HOSTILE, unshown

from socsci_jax.evaluation.compare import paired
from socsci_jax.evaluation.evaluate import evaluate
from socsci_jax.evaluation.report import guide_llm, registration_form
from socsci_jax.evaluation.report.files import write_report
from socsci_jax.evaluation.report.provenance import Provenance
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store_builder import StoreBuilder


def hostile_store(path):
    builder = StoreBuilder(attributes=("<b>age</b>",), source=HOSTILE[0], license=HOSTILE[1], command="test")
    rng = np.random.default_rng(0)
    world = make_world(path / "shape", studies=4, conditions=2, outcomes=2, levels=5, n=12)
    truth = {}
    for s, study in enumerate(world.store.studies["study_id"]):
        builder.add_study(f"{HOSTILE[s]}{study}", title=HOSTILE[s + 1])
        for k in range(12):
            for c in ("c0", "c1"):
                builder.add_participant(
                    f"{HOSTILE[s]}{study}", f"p{c[1]}_{k}", {"<b>age</b>": HOSTILE[k % 8]}
                )
    for item in world.store.item_by_id.values():
        s = int(item.study_id[1:])
        hostile = Item(
            **{
                **vars(item),
                "study_id": f"{HOSTILE[s]}{item.study_id}",
                "condition": f"{HOSTILE[(s + 4) % 8]}{item.condition}",
                "outcome": f"{HOSTILE[(s + 2) % 8]}{item.outcome}",
                "stimulus": "\n".join(HOSTILE),
                "question": f"{HOSTILE[s]} {item.condition} {item.outcome}?",
                "scale": dataclasses.replace(item.scale, labels=HOSTILE[:5]),
            }
        )
        item_id = builder.add_item(hostile)
        truth[item_id] = rng.dirichlet(np.ones(5))
        for k in range(12):
            builder.add_response(item_id, f"p{item.condition[1]}_{k}", int(rng.integers(1, 6)), sample_id=k)
    return dataclasses.replace(world, store=builder.write(path / "hostile"), truth=truth)


class AttributeNames(html.parser.HTMLParser):
    """The names of all attributes of a page."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attrs):
        self.found |= {name for name, _ in attrs}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    world = hostile_store(folder)
    found = evaluate(exact_predictions(world, world.truth), world.store, label(world.store))
    made = {
        "model": HOSTILE[0],
        "layout": {"shared": HOSTILE[1]},
        "elicitation": HOSTILE[2],
        "held_out": HOSTILE[5],
    }
    found = dataclasses.replace(found, metadata={**found.metadata, "predictions": made}, notes=HOSTILE)
    write_report(found, folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    world = make_world(
        tmp_path_factory.mktemp("friendly") / "store", studies=5, conditions=3, outcomes=2, n=40
    )
    labeled = label(world.store, s00="train")
    # A part of one person, of whom nothing can be averaged.
    alone = (pl.col("participant_id") == "p0_0") & (pl.col("study_id") == "s01")
    labeled = labeled.with_columns(part=pl.when(alone).then(pl.lit("unseen_participants")).otherwise("part"))
    return evaluate(exact_predictions(world, world.truth), world.store, labeled)


@pytest.fixture(scope="module")
def friendly(found, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "out"
    write_report(found, out)
    return out


# What a reader does with a table: sort it up and down, filter it, download it.
TABLE = """(async () => {
  const frame = document.querySelector('.table[data-name="studies"]'), table = frame.querySelector("table");
  const column = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.startsWith("model"));
  const read = () => [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => Number(row.cells[column].dataset.value));
  const button = table.tHead.rows[0].cells[column].querySelector("button");
  button.click(); const up = read(), sorted = table.tHead.rows[0].cells[column].getAttribute("aria-sort");
  button.click(); const down = read();
  const people = document.querySelector('.table[data-name="unseen-studies-metrics"]'), input = people.querySelector("input");
  input.value = "wasserstein scale exact"; input.dispatchEvent(new Event("input"));
  const kept = [...people.querySelectorAll("tbody tr")].filter((row) => !row.hidden).map((row) => row.textContent);
  let blob = null; URL.createObjectURL = (given) => { blob = given; return "#"; };
  HTMLAnchorElement.prototype.click = () => {};
  [...frame.querySelectorAll("button")].find((one) => one.textContent === "Download CSV").click();
  return { up, down, sorted, kept, csv: await blob.text() };
})()"""

# Arrow keys walk through a plot's marks, and say each.
KEYS = """(() => {
  const plot = document.querySelector(".plot"), tip = document.getElementById("tip"), said = [];
  plot.focus();
  for (let k = 0; k < 3; k++) {
    plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    said.push(tip.textContent);
  }
  return said;
})()"""


# What a reader of a page sees of the heads of its columns, and of what can only be clicked.
HEADS = """(() => ({
  heads: [...document.querySelectorAll("thead th")].map((head) => head.innerText.trim()),
  clickable: [...document.querySelectorAll("button")].filter((one) => !one.closest("th") && one.getClientRects().length).length,
}))()"""


@pytest.mark.slow
def test_on_paper_columns_keep_their_heads_and_nothing_can_be_clicked(friendly):
    screen, paper = look(
        [Visit(friendly / "report.html", script=HEADS, print=on_paper) for on_paper in (False, True)]
    )
    assert paper.value["heads"] == screen.value["heads"] and "Study" in paper.value["heads"]
    assert screen.value["clickable"] > 0 and paper.value["clickable"] == 0


def test_hostile_texts_stay_texts_and_pages_hold_together(hostile):
    pages = [hostile / "report.html", *sorted((hostile / "studies").iterdir())[:2]]
    visits = [
        Visit(page, width=width, theme=theme, script=DRAWN)
        for page in pages
        for width, theme in ((1280, "light"), (390, "dark"))
    ]
    for visit, seen in zip(visits, look(visits), strict=True):
        assert seen.errors == [], visit
        assert seen.requests == [visit.page.resolve().as_uri()]
        assert seen.value["title"] != "owned"
        assert seen.value["drawn"] == seen.value["plots"] > 2
        assert seen.value["sideways"] == 0, visit


def test_what_no_reader_sees_is_written_as_its_code(hostile):
    written = [path for path in hostile.rglob("*") if path.suffix in (".html", ".md", ".svg")]
    assert len(written) > 5
    for path in written:
        text = path.read_text()
        assert unshown(text) == [], path
    assert "\\u202egnihtemos esle\\u202c \\x1b]0;owned" in (hostile / "report.html").read_text()


@pytest.mark.slow
def test_the_report_is_accessible_and_works_in_a_browser(friendly):
    report, study = friendly / "report.html", friendly / "studies" / "study-002.html"
    sorting, keys, *others = look(
        [
            Visit(report, script=TABLE),
            Visit(report, script=KEYS),
            Visit(report, script=DRAWN, axe=True),
            Visit(report, script=DRAWN, axe=True, theme="dark", width=390),
            Visit(study, script=DRAWN, axe=True, width=390),
            Visit(study, script=DRAWN, axe=True, theme="dark", width=1600),
        ]
    )
    values = [value for value in sorting.value["up"] if value is not None]
    missing = [None] * (len(sorting.value["up"]) - len(values))  # last, whichever way the rest goes
    assert sorting.value["up"] == sorted(values) + missing and len(set(values)) > 1 and missing
    assert sorting.value["down"] == sorted(values, reverse=True) + missing
    assert sorting.value["sorted"] == "ascending"
    assert len(sorting.value["kept"]) == 1 and "Wasserstein-1" in sorting.value["kept"][0]
    assert sorting.value["csv"].splitlines()[0].startswith("Study,Title,Part,Items")
    assert len(sorting.value["csv"].splitlines()) == len(sorting.value["up"]) + 1
    assert len(set(keys.value)) == 3 and all("\n" in said for said in keys.value)
    for seen in others:
        assert seen.errors == [] and seen.violations == []
        assert seen.value["drawn"] == seen.value["plots"] and seen.value["sideways"] == 0


def test_the_policy_names_the_pages_own_script_alone(hostile):
    page = (hostile / "report.html").read_text()
    assert page.count("<script") == 1 and page.count("<style") == 1
    names = AttributeNames()
    names.feed(page)
    assert "class" in names.found
    assert not [name for name in names.found if name.startswith("on") or name in ("style", "srcdoc")]
    assert "<img" not in page
    assert "script-src &#39;sha256-" in page and "unsafe" not in page


def test_every_figure_is_an_svg_that_stands_alone(hostile, friendly):
    for folder in (hostile, friendly):
        for path in (folder / "figures").iterdir():
            tree = ET.parse(path)  # a text that is not escaped would break it
            assert tree.find("{http://www.w3.org/2000/svg}title").text
            names = {element.tag.split("}")[1] for element in tree.iter()}
            assert names <= {"svg", "title", "desc", "text", "path"}


def test_every_column_of_its_tables_is_described(friendly, found):
    page = (REPOSITORY / "docs" / "reference" / "tables.md").read_text()
    sections = "".join(re.findall(r"^## (?:Evaluation|Comparison)$(.*?)(?=^## )", page, re.M | re.S))
    described = set(re.findall(r"`(\w+)`", sections))
    tables = {path.stem: pl.read_parquet(path).columns for path in friendly.glob("*.parquet")}
    assert set(tables) >= {"contrasts", "condition_means", "distributions", "items", "people", "counts"}
    for name, columns in {**tables, "comparison": paired(found, found).columns}.items():
        assert set(columns) <= described, name


def test_plots_can_be_drawn_again_from_the_tables(friendly):
    contrasts = pl.read_csv(friendly / "contrasts.csv").filter(part="unseen_studies")
    assert {"study", "outcome", "condition", "reference", "human", "human_se", "model"} <= set(
        contrasts.columns
    )
    page = (friendly / "report.html").read_text()
    drawn = re.search(r'data-name="unseen-studies-effects".*?</table>', page, re.S).group()
    shown = sorted(float(value) for value in re.findall(r'data-value="([^"]+)"', drawn)[::2])
    assert shown == pytest.approx(sorted(contrasts["human"].to_list()), rel=1e-5)
    shares = (
        pl.read_csv(friendly / "distributions.csv")
        .group_by("part", "item_id")
        .agg(pl.col("people", "model").sum())
    )
    assert shares["people"].to_list() == pytest.approx([1.0] * shares.height)
    assert shares["model"].to_list() == pytest.approx([1.0] * shares.height)


def test_the_summary_says_what_to_remember_and_the_findings_their_rules(friendly):
    page = (friendly / "report.html").read_text()
    lead = re.search(r'<p class="lead">(.*?)</p>', page, re.S).group(1)
    assert lead.startswith("In studies that the model has never seen")
    assert page.count("The rule behind this sentence") >= 2
    assert "`" not in page.split("<script>")[0]


def test_markdown_holds_foreign_text_in_its_cells(hostile):
    text = (hostile / "report.md").read_text()
    assert "<script" not in text and "<img" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) > 40 and all(line.endswith("|") for line in tables)


@pytest.mark.parametrize("said", ["many", -1.5, None, [], {"a": 1}, True])
def test_a_number_that_a_file_says_of_itself_need_not_be_one(found, said):
    training = {"trained_responses": said, "total_steps": said, "trained_studies": said}
    facts = Provenance({"training": training}, software="", validation="", purpose="")
    assert "answers" not in facts.tuning() and "steps" not in facts.tuning()


def test_the_methods_paragraph_says_how_the_split_was_drawn():
    made = {"split": "main", "split_seed": 3, "split_shares": {"studies": 0.2, "conditions": 0.25}}
    facts = Provenance(made, software="", validation="", purpose="")
    drawn = "drawn with seed 3; shares held out: 0.2 of the studies, 0.25 of the conditions of a study"
    assert f"split main ({drawn})." in facts.paragraph()


def test_checklists_say_what_is_missing(found):
    known = Provenance.of_evaluation(found)
    guide, form = guide_llm.guide(known), registration_form.registration_form(known)
    assert [entry.item for entry in guide] == [
        "A.1",
        "A.2",
        "B.1",
        "B.2",
        "B.3",
        "B.4",
        "B.5",
        "C.1",
        "C.2",
        "D.1",
        "E.1",
        "E.2",
        "F.1",
        "G.1",
    ]
    assert len(form) == 37 and sum("★" in entry.item for entry in form) == 7
    # Of a table without metadata almost nothing is known, and nothing is made up.
    assert {entry.item for entry in guide if entry.answer} == {"A.1", "E.1", "F.1"}
    assert all(entry.missing for entry in guide if entry.item != "E.1")
    told = {
        "model": "m",
        "command": "socsci-jax simulate",
        "elicitation": "exact",
        "layout": {"system": "s", "shared": "t"},
        "funding": "none",
    }
    filled = dataclasses.replace(found, metadata={**found.metadata, "predictions": told})
    answers = {entry.item: entry for entry in guide_llm.guide(Provenance.of_evaluation(filled))}
    assert answers["C.1"].answer == "t" and answers["C.2"].answer == "s" and answers["G.1"].missing == ""
    assert "no temperature" in answers["B.3"].answer


def test_a_part_without_items_enough_says_why(friendly):
    page = (friendly / "report.html").read_text()
    assert "Unseen participants: no distance, because no item has the 10 answers that are needed." in page
    headline = re.search(r'data-name="distances".*?</table>', page, re.S).group()
    assert "unseen participants" not in headline
