"""Small files of every format that a deposit may hold: tests read them, fuzzing damages them."""

import io
from pathlib import Path

import docx
import openpyxl
import pandas as pd
import pyreadstat
import rdata


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def workbook(path: Path, **sheets: list[list]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name)
        for line in lines:
            sheet.append(line)
    book.save(path)
    return path


ANSWERS = pd.DataFrame({"id": [1, 2, 3], "arm": [1.0, 2.0, None], "q": [5.0, -99.0, 2.5]})


LABELS = {"arm": {1: "Control", 2: "Machine"}}


def r_frame() -> pd.DataFrame:
    return ANSWERS.assign(
        arm=pd.Categorical(["Control", "Machine", None]), yes=pd.array([True, None, False], dtype="boolean")
    )


def pdf(lines: list[tuple[int, int, str]], rules: str = "") -> bytes:
    """One page with texts at places, and lines drawn by `rules`."""
    texts = "".join(f"BT /F1 10 Tf {x} {y} Td ({text}) Tj ET\n" for x, y, text in lines)
    stream = (rules + texts).encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = io.BytesIO(b"%PDF-1.4\n"), []
    out.seek(0, io.SEEK_END)
    for number, body in enumerate(objects, start=1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % o for o in offsets))
    out.write(b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % start)
    return out.getvalue()


def samples(folder: Path) -> list[Path]:
    """One file of each format, with little in it."""
    pyreadstat.write_sav(ANSWERS, str(folder / "a.sav"), variable_value_labels=LABELS)
    pyreadstat.write_dta(ANSWERS, str(folder / "a.dta"), variable_value_labels=LABELS)
    rdata.write_rds(folder / "a.rds", r_frame())
    workbook(folder / "a.xlsx", answers=[["id", "q"], [1, 2]])
    document = docx.Document()
    document.add_heading("Variables", 2)
    document.add_table(1, 2).rows[0].cells[0].text = "How warm?"
    document.save(folder / "a.docx")
    written(folder / "a.pdf", pdf([(50, 740, "Variables")]))
    written(folder / "a.csv", 'id;q;t\n1;2;"a ""b"""\n3;4;"für\nzwei"\n'.encode())
    written(
        folder / "a.md",
        b"# Codebook\n\n- q: How much do you trust the council? 1 = not at all ... 7 = fully\n",
    )
    return sorted(folder.iterdir())
