"""Every number of a report equals its source, whose address stands beside it."""

import csv
import json
import math
import re
import zipfile

import pytest
from bs4 import BeautifulSoup
from docx import Document
from page_requests import asked_elsewhere
from report_folders import HOSTILE, report_evaluation, report_run
from typer.testing import CliRunner

import bac_utils.report.folder
from bac_utils import __main__ as cli
from bac_utils.report import NAMES, sources, write_report
from bac_utils.report.rendering import render, shown
from bac_utils.settings import PRESETS, PUBLISHED, preset
from bac_utils.study import cross_validation, runner
from bac_utils.study.folder import OWN_FILES

STATIC = (
    r"95 %", r"F1\b", r"33:6746", r"\(2023\)|, 2023\)", r"10\.1007/s00330-023-09668-z", r"Table \d[ab]?\.",
    r"Figure \d+\.", r"SHA-256", r"mean 0 and standard deviation 1", r"notebook 04", r"length 0\b", r"float16",
    r"Score from 0 to 1",
)  # fmt: skip
"""Digits that belong to the text of the templates."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = report_run(tmp_path_factory.mktemp("reports") / "run")
    return folder, write_report(folder)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    folder = report_evaluation(tmp_path_factory.mktemp("reports") / "evaluation")
    return folder, write_report(folder)


@pytest.fixture
def no_word(monkeypatch):
    """Word files take seconds; those of the two fixtures above are checked."""
    monkeypatch.setattr(bac_utils.report.folder, "write_word", lambda _, path: path.write_bytes(b""))


def page_of(folder, name="report.html"):
    return BeautifulSoup((folder / name).read_text(encoding="utf-8"), "lxml")


def look_up(folder, address):
    """Find a value by its address, with none of the code that wrote the page."""
    file, _, path = address.partition(":")
    if file == "paper":
        found = json.loads(json.dumps(dict(PUBLISHED)))
    elif file == "preset":
        name = json.loads((folder / "summary.json").read_text())["preset"]
        found = json.loads(json.dumps(vars(PRESETS[name]) | {"augmentation": vars(PRESETS[name].augmentation)}))
    elif file == "model.keras":
        config = json.loads(zipfile.ZipFile(folder / file).read("config.json"))
        found = dict(zip(("rows", "columns"), config["config"]["layers"][0]["config"]["batch_shape"][1:3], strict=True))
    else:
        place = sources.HERE / file[4:] if file.startswith("kit/") else folder / file
        if not place.exists():
            return None
        text = place.read_text(encoding="utf-8")
        found = json.loads(text) if file.endswith(".json") else list(csv.DictReader(text.splitlines()))
    for written in path.split("."):
        name = written
        for code, sign in (("~4", ":"), ("~3", "÷"), ("~2", "−"), ("~1", "."), ("~0", "~")):
            name = name.replace(code, sign)
        try:
            found = found[int(name)] if isinstance(found, list) else found[name]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return found


def value_of(folder, expression):
    terms = [[look_up(folder, name) for name in term.split(" ÷ ")] for term in expression.split(" − ")]
    if len(terms) == len(terms[0]) == 1:
        return terms[0][0]
    try:
        quotients = [math.prod([float(term[0]), *(1 / float(x) for x in term[1:])]) for term in terms]
    except (TypeError, ValueError):
        return None
    return quotients[0] - sum(quotients[1:])


def check_value(folder, span):
    form, text = span["data-as"], span.get_text()
    value = value_of(folder, span["data-from"])
    if form == "key":
        assert text in value
    elif text == "not available":
        assert value in (None, "", []) or (isinstance(value, str) and value.lower() == "nan"), span
    elif form == "":
        parts = value if isinstance(value, list) else [value]
        words = [{True: "yes", False: "no"}.get(part, part) if isinstance(part, bool) else part for part in parts]
        if all(isinstance(part, str) for part in words):
            assert text == " ".join(", ".join(words).split())
        else:
            assert [float(part) for part in text.split(", ")] == pytest.approx([float(part) for part in words])
    elif text == "< 0.001":
        assert form == "p" and float(value) < 0.001
    else:
        number = text.replace(",", "").replace("−", "-").replace("\u00a0%", "").replace("\u00a0pp", "")
        decimals = len(number.partition(".")[2].partition("e")[0])
        wanted = float(value) * (100 if form.endswith(("%", "pp")) else 1)
        assert all(text.endswith(unit) == form.endswith(unit) for unit in ("%", "pp"))
        if "g" in form:
            assert float(number) == pytest.approx(wanted, rel=6e-3 if "3" in form else 1e-5)
        else:
            assert abs(float(number) - wanted) <= 0.5000001 * 10**-decimals, span
            digits = re.search(r"\.(\d)", form)
            assert decimals == (int(digits[1]) if digits else 3), span
        assert number.startswith(("+", "-")) if form.startswith("+") and wanted else True


def check_page(folder, name):
    page = page_of(folder, name)
    spans = page.select("[data-from]")
    for span in spans:
        check_value(folder, span)
        span.string = ""
    for part in page.find_all(["style", "title"]):
        part.decompose()
    left = page.get_text(" ")
    for allowed in STATIC:
        left = re.sub(allowed, "", left)
    assert re.findall(r".{0,40}\d.{0,20}", left) == []
    return len(spans)


@pytest.mark.parametrize(("name", "least"), [("report.html", 300), ("checklists.html", 300)])
def test_numbers_of_a_run(run, name, least):
    assert check_page(run[0], name) > least


@pytest.mark.parametrize(("name", "least"), [("report.html", 300), ("checklists.html", 300)])
def test_numbers_of_an_evaluation(evaluation, name, least):
    assert check_page(evaluation[0], name) > least


def test_numbers_of_a_cross_validation(tmp_path, no_word):
    for fold in (1, 2):
        report_run(tmp_path / f"fold-{fold}", cohort="views.csv")
    inclusion = json.loads((tmp_path / "fold-1" / "summary.json").read_text())["inclusion"]
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inclusion.json").write_text(json.dumps({"inclusion": inclusion}))
    asked = {"preset": "demo", "seed": 0, "cohort": "views.csv", "cohort_sha256": "12ab", "parameters": {}, "folds": 2}
    (tmp_path / "manifest.json").write_text(json.dumps({"asked": asked, "notebooks": {}}))
    cross_validation.pool_folds(tmp_path, 2, preset("demo", bootstrap_samples=20))
    assert [path.name for path in write_report(tmp_path)] == list(NAMES[:4])
    assert check_page(tmp_path, "report.html") > 200 and check_page(tmp_path, "checklists.html") > 200
    text = " ".join(page_of(tmp_path).get_text().split())
    assert "with 2 folds, each woman was in the test set of one fold" in text and "Table 2b. The folds" in text
    assert "from 20 bootstrap resamples" in text


def test_the_check_finds_a_wrong_number(run):
    page = page_of(run[0])
    span = page.find(attrs={"data-from": "summary.json:detection.test.auc_roc"})
    check_value(run[0], span)
    span.string = f"{float(span.get_text()) - 0.01:.2f}"
    with pytest.raises(AssertionError):
        check_value(run[0], span)


def test_files_of_a_run(run):
    folder, paths = run
    assert [path.name for path in paths] == list(NAMES) and all(path.parent == folder for path in paths)
    assert set(NAMES) <= set(OWN_FILES)
    assert cross_validation.REPORT[1] in NAMES
    assert not list(folder.glob("part-*"))


def test_sections_and_main_results(run):
    text = page_of(run[0]).get_text()
    for words in ("All mammograms are simulated", "Table 1b", "Table 2a", "Otsu", "Contradictions inside the paper"):
        assert words in text
    assert text.count("For research, not for diagnosis") == 1


def test_pages_ask_for_nothing(run, evaluation):
    for folder, _ in (run, evaluation):
        for name in ("report.html", "checklists.html"):
            page = (folder / name).read_text(encoding="utf-8")
            assert asked_elsewhere(page) == []
            assert "<script" not in page and "default-src 'none'" in page
            assert all(image["alt"] and image["src"].startswith("data:image/png;") for image in page_of(folder)("img"))


def test_word_file(run, evaluation):
    for folder, _ in (run, evaluation):
        for name in ("report", "checklists"):
            page, document = page_of(folder, f"{name}.html"), Document(folder / f"{name}.docx")
            assert len(document.tables) == len(page("table"))
            assert len(document.inline_shapes) == len(page("img"))
            alts = [shape._inline.docPr.get("descr") for shape in document.inline_shapes]
            assert alts == [image["alt"] for image in page("img")]
            assert all(shape.width.cm <= 16.01 for shape in document.inline_shapes)
            headings = [p.text for p in document.paragraphs if p.style.name.startswith("Heading")]
            assert headings == [" ".join(part.get_text().split()) for part in page(["h1", "h2", "h3"])]
            for table, html in zip(document.tables, page("table"), strict=True):
                rows = [[" ".join(cell.text.split()) for cell in row.cells] for row in table.rows]
                wanted = [[" ".join(cell.get_text().split()) for cell in row(["th", "td"])] for row in html("tr")]
                assert [[c.replace(" ", "") for c in r] for r in rows] == [
                    [c.replace(" ", "") for c in r] for r in wanted
                ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(weights="imagenet", head="flatten", width_divisor=1), "It started from ImageNet weights."),
        (dict(weights="none", head="average", mixed_precision=True), "global average pooling, two dense layers"),
        (dict(weights="/runs/first/model.keras"), "The training of an earlier detector (the weights structures)"),
    ],
)
def test_methods_in_words(tmp_path, no_word, settings, words):
    folder = report_run(tmp_path / "run", cohort="archive/views.csv", **settings)
    write_report(folder)
    assert check_page(folder, "report.html") > 300 and check_page(folder, "checklists.html") > 200
    methods = " ".join(page_of(folder).blockquote.get_text().split())
    assert words in methods and "simulated" not in methods
    changed = {row.th.get_text() for row in page_of(folder).select("tr.changed")}
    assert {"epochs", "bootstrap_samples", "seed"} <= changed and "dropout" not in changed


def test_missing_results_are_not_numbers(tmp_path, no_word):
    folder = report_run(tmp_path / "run")
    for file in ("quantification.json", "detection.json"):
        (folder / "parts" / file).unlink()
    summary = json.loads((folder / "summary.json").read_text())
    summary |= {"quantification": None, "detection": None, "detection_by_woman": None, "timing": None}
    summary |= {"threshold": None}
    (folder / "summary.json").write_text(json.dumps(summary))
    write_report(folder)
    assert check_page(folder, "report.html") > 100
    span = page_of(folder).find(attrs={"data-from": "summary.json:detection.test.auc_roc"})
    assert span.get_text() == "not available"
    assert "not available" in (folder / "model_card.md").read_text(encoding="utf-8")


def test_changed_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="a report needs a finished run"):
        write_report(tmp_path)
    folder = report_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    summary["threshold"]["value"] = 0.4
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match="threshold: differs from parts/detection.json"):
        write_report(folder)
    (folder / "predictions.csv").write_text("patient_id\n")
    with pytest.raises(ValueError, match="predictions.csv.*has changed"):
        write_report(folder)
    (folder / "summary.json").write_text('{"kind": "other"}')
    with pytest.raises(ValueError, match="kind: got 'other', must be one of run, evaluation"):
        write_report(folder)


def test_hostile_text_is_harmless(tmp_path, monkeypatch):
    folder = report_run(tmp_path / "run", cohort=HOSTILE)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["asked"]["parameters"] = {"weights": HOSTILE, HOSTILE: "a − b ÷ c:d"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "figures" / "ages.png").write_text("no figure")
    write_report(folder)
    cells = [cell.text for t in Document(folder / "report.docx").tables for row in t.rows for cell in row.cells]
    assert HOSTILE in cells
    monkeypatch.setattr(bac_utils.report.folder, "write_word", lambda _, path: path.write_bytes(b""))
    other = report_evaluation(tmp_path / "evaluation", text=HOSTILE)
    write_report(other)
    for place in (folder, other):
        page = page_of(place)
        assert page("script") == [] and " ".join(HOSTILE.split()) in page.get_text()
        check_page(place, "checklists.html")
        for span in page.select("[data-from]"):
            check_value(place, span)
    assert "<script" not in (folder / "model_card.md").read_text(encoding="utf-8")


def test_shown():
    assert shown(0.1234, ".1%") == "12.3\u00a0%"
    assert shown(-0.5, "+.2f") == "−0.50"
    assert (shown(0.0001, "p"), shown(0.0123, "p")) == ("< 0.001", "0.012")
    assert (shown(None), shown(float("nan"), ".2f"), shown("a", ".2f"), shown([])) == (None, None, None, None)
    assert (shown(True), shown(1e-6), shown([45, 60.5])) == ("yes", "1e-06", "45, 60.5")


def test_keys_with_signs(tmp_path):
    odd = "a.b ~1 − ÷ : c"
    (tmp_path / "summary.json").write_text(json.dumps({"x": {odd: 3, "ten": 10}, "none": 0}))
    found = sources.Sources(tmp_path)
    assert found.value(sources.reference("summary.json", "x", odd)) == 3
    assert found.value("x.ten ÷ x.ten − x.ten ÷ x.ten") == 0
    assert found.value("x.ten ÷ none") is None and found.value("x.missing − x.ten") is None


def test_model_card_of_the_bundled_detector():
    from bac_utils.detector import BUNDLED
    from bac_utils.report.cards import NAME, bundled_card

    assert (BUNDLED.parent / NAME).read_text(encoding="utf-8") == bundled_card(BUNDLED.parent)


@pytest.mark.parametrize(
    ("file", "number", "items"), [("claim_2024", 44, 44), ("stard_ai_2025", 40, 48), ("tripod_ai_2024", 27, 52)]
)
def test_checklists(file, number, items):
    """CLAIM 2024 has 44 items, STARD-AI 40 and TRIPOD+AI 27, some with letters."""
    rows = list(csv.DictReader((sources.HERE / "checklists" / f"{file}.csv").open(encoding="utf-8")))
    assert len(rows) == items == len({row["item"] for row in rows})
    numbers = [int(re.match(r"\d+", row["item"])[0]) for row in rows]
    assert sorted(set(numbers)) == list(range(1, number + 1)) and numbers == sorted(numbers)
    for kind in ("run", "evaluation"):
        known = (sources.HERE / "templates" / f"answers_{kind}.j2").read_text(encoding="utf-8")
        assert all(f"macro {row['fact']}()" in known for row in rows if row["fact"])


def test_contradictions_are_those_of_the_docs():
    text = (runner.NOTEBOOKS.parent / "docs" / "paper.md").read_text(encoding="utf-8")
    for row in csv.DictReader((sources.HERE / "contradictions.csv").open(encoding="utf-8")):
        wanted = f"| {row['about']} | {row['says']} ({row['here']}) | {row['says_instead']} ({row['there']}) |"
        assert f"{wanted} {row['taken'] or '–'} |" in text


def test_report_verb(run, no_word):
    done = CliRunner().invoke(cli.app, ["report", str(run[0])])
    assert done.exit_code == 0 and "report.docx" in done.output
    empty = CliRunner().invoke(cli.app, ["report", str(run[0] / "figures")])
    assert empty.exit_code == 1 and "a report needs a finished run" in empty.output


def test_a_failed_report_loses_no_run(run, no_word, monkeypatch):
    monkeypatch.setattr(runner, "check_parameters", lambda *_, **__: None)
    monkeypatch.setattr(runner, "run_notebooks", lambda *_, **__: json.loads((run[0] / "summary.json").read_text()))
    done = CliRunner().invoke(cli.app, ["run", "--output", str(run[0])])
    assert done.exit_code == 0 and f"report   {run[0] / 'report.html'}" in done.output

    def fail(*_):
        raise KeyError("a\nfault")

    monkeypatch.setattr(bac_utils.report.folder, "write_word", fail)
    done = CliRunner().invoke(cli.app, ["run", "--output", str(run[0])])
    assert done.exit_code == 1 and "numbers" in done.output
    assert "results are complete, but not their report" in done.output


def test_templates_need_no_name_that_is_not_there(run):
    with pytest.raises(Exception, match="undefined"):
        render(sources.Sources(run[0]), "run.html.j2")
