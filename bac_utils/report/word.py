"""A page of a report as a Word file (.docx)."""

from pathlib import Path

from bs4 import BeautifulSoup
from docx import Document
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.oxml import OxmlElement
from docx.shared import Cm, Pt, RGBColor
from html4docx import HtmlToDocx

WIDEST, HIGHEST = Cm(16), Cm(20)
"""Largest width and height of a figure: A4 with margins of 2.5 cm, with room for the caption."""
_TABLE_STYLE = "Table Grid"
_SMALL = Pt(8.5)
_LETTERS = (10, 45)
"""A column is as wide as its longest cell, counted in letters, within these limits."""


def write_word(page: str, path: Path) -> None:
    """Convert a page to a Word file: headings, tables with a repeated header row, figures with alternative texts.

    Args:
        page: The HTML page; its figures are data URIs.
        path: The .docx file.
    """
    soup = BeautifulSoup(page, "lxml")
    title, main = soup.title.get_text(), soup.main
    for part in main.find_all("nav"):
        part.decompose()
    for caption in main.find_all(["caption", "figcaption"]):
        caption.name, caption["class"] = "p", "caption"
        if caption.find_parent("table") is not None:
            caption.find_parent("table").insert_before(caption.extract())
    for part in main.find_all(["figure", "blockquote", "span"]):
        part.unwrap()
    for cell in main.select("tbody th"):
        cell.name = "td"
    for cell in main.select(".number"):
        cell["style"] = "text-align: right"
    texts = [image["alt"] for image in main.find_all("img")]
    for image in main.find_all("img"):
        del image["width"], image["height"]
        paragraph = soup.new_tag("p")
        image.wrap(paragraph)
    document = Document()
    for section in document.sections:
        section.page_width, section.page_height = Cm(21), Cm(29.7)
        section.left_margin = section.right_margin = section.top_margin = section.bottom_margin = Cm(2.5)
    converter = HtmlToDocx(style_map={"caption": "Caption", "note": "Normal"})
    converter.table_style = _TABLE_STYLE
    converter.add_html_to_document("".join(map(str, main.contents)), document)
    for picture, text in zip(document.inline_shapes, texts, strict=True):
        scale = min(1, WIDEST / picture.width, HIGHEST / picture.height)
        picture.width, picture.height = int(picture.width * scale), int(picture.height * scale)
        picture._inline.docPr.set("descr", text)
    for table in document.tables:
        table.alignment, table.autofit = WD_TABLE_ALIGNMENT.CENTER, False
        rows = [row.cells for row in table.rows]
        longest = [max(len(cell.text) for cell in column) for column in zip(*rows, strict=True)]
        letters = [min(max(_LETTERS[0], number), _LETTERS[1]) for number in longest]
        table.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
        widths = [int(WIDEST * number / sum(letters)) for number in letters]
        for column, width in zip(table.columns, widths, strict=True):
            column.width = width
        for row, cells in zip(table.rows, rows, strict=True):
            row._tr.get_or_add_trPr().append(OxmlElement("w:cantSplit"))
            for cell, width in zip(cells, widths, strict=True):
                cell.width = width
                for paragraph in cell.paragraphs:
                    paragraph.paragraph_format.space_after = Pt(0)
                    for run in paragraph.runs:
                        run.font.size = _SMALL
    for style in (document.styles[name] for name in ("Caption", "Heading 1", "Heading 2", "Heading 3")):
        style.font.color.rgb = RGBColor(0, 0, 0)
    for paragraph in document.paragraphs:
        if paragraph.style.name == "Caption":
            paragraph.paragraph_format.keep_with_next = paragraph.text.startswith("Table")
    document.core_properties.title, document.core_properties.author = title, ""
    document.core_properties.comments = ""
    document.save(str(path))
