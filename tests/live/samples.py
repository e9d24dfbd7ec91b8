"""Tiny real documents, each made here: an HTML page, a Word document, a workbook, a Markdown text, a PDF.

Each but the PDF says in its own way that invoice 2026-117 comes to 42.50: as a heading and a table.
"""

from __future__ import annotations

import io
import zipfile

HEADING = "Invoice 2026-117"
ROWS = (("Item", "Amount"), ("Paper", "12.50"), ("Ink", "30.00"), ("Total", "42.50"))
SAYS = ("2026-117", "Paper", "12.50", "Total", "42.50")
"""What the extracted text of each of them holds, the PDF's left out."""

_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def html() -> bytes:
    """Return a page with a heading, a paragraph and a table."""
    rows = "".join(f"<tr><td>{left}</td><td>{right}</td></tr>" for left, right in ROWS)
    return f"<!DOCTYPE html><html><body><h1>{HEADING}</h1><p>Due in 30 days.</p><table>{rows}</table></body></html>".encode()


def markdown() -> bytes:
    """Return a text with a heading and a table."""
    head, *rows = (f"| {left} | {right} |" for left, right in ROWS)
    return "\n".join((f"# {HEADING}", "", head, "| --- | --- |", *rows, "")).encode()


def docx() -> bytes:
    """Return a Word document with a heading and a table."""
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    rows = "".join(f"<w:tr>{''.join(_docx_cell(text) for text in row)}</w:tr>" for row in ROWS)
    heading = f'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>{HEADING}</w:t></w:r></w:p>'
    table = f"<w:tbl><w:tblPr/><w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid>{rows}</w:tbl>"
    document = f'<w:document xmlns:w="{main}"><w:body>{heading}{table}<w:p/><w:sectPr/></w:body></w:document>'
    style = '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
    parts = {
        "word/document.xml": (f"{_DOCX}.document.main+xml", document),
        "word/styles.xml": (f"{_DOCX}.styles+xml", f'<w:styles xmlns:w="{main}">{style}</w:styles>'),
    }
    return _office(parts, {"word/_rels/document.xml.rels": ("styles", "styles.xml")})


def _docx_cell(text: str) -> str:
    return f"<w:tc><w:tcPr/><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>"


def xlsx() -> bytes:
    """Return a workbook with one sheet: the heading, an empty row, the table."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rows = "".join(
        f'<row r="{number}">{"".join(_xlsx_cell(column, number, text) for column, text in zip("AB", row, strict=False))}</row>'
        for number, row in enumerate([(HEADING,), (), *ROWS], 1)
    )
    sheets = f'<sheets><sheet xmlns:r="{_OFFICE}" name="Invoice" sheetId="1" r:id="r0"/></sheets>'
    parts = {
        "xl/workbook.xml": (f"{_XLSX}.sheet.main+xml", f'<workbook xmlns="{main}">{sheets}</workbook>'),
        "xl/worksheets/sheet1.xml": (
            f"{_XLSX}.worksheet+xml",
            f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
        ),
    }
    return _office(parts, {"xl/_rels/workbook.xml.rels": ("worksheet", "worksheets/sheet1.xml")})


def _xlsx_cell(column: str, row: int, text: str) -> str:
    return f'<c r="{column}{row}" t="inlineStr"><is><t>{text}</t></is></c>'


def _office(parts: dict[str, tuple[str, str]], links: dict[str, tuple[str, str]]) -> bytes:
    """Return an Office Open XML package of parts (content type and XML, the main one first) and the links between them."""
    overrides = "".join(f'<Override PartName="/{name}" ContentType="{kind}"/>' for name, (kind, _) in parts.items())
    default = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    files = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}">{default}{overrides}</Types>',
        "_rels/.rels": _relationship("officeDocument", next(iter(parts))),
        **{name: _relationship(*link) for name, link in links.items()},
        **{name: text for name, (_, text) in parts.items()},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in files.items():
            package.writestr(name, _XML + text)
    return out.getvalue()


def _relationship(kind: str, target: str) -> str:
    return f'<Relationships xmlns="{_LINKS}"><Relationship Id="r0" Type="{_OFFICE}/{kind}" Target="{target}"/></Relationships>'


def pdf() -> bytes:
    """Return a PDF of one page with one line of text."""
    text = f"BT /F1 24 Tf 72 720 Td ({HEADING}) Tj ET".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


SAMPLES = {
    "invoice.html": html,
    "invoice.docx": docx,
    "invoice.xlsx": xlsx,
    "invoice.md": markdown,
    "invoice.pdf": pdf,
}
"""File names and what makes each file's bytes."""
