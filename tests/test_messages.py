"""What reaches the terminal: no escape sequences and no line breaks from names and cells."""

import pickle

import pytest
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils._tables import Lines, Problems
from bac_utils._terminal import say, say_error

BAD = "x\x1b[31m\nerror: y\r\x9b2J"
CLEAN = "x?[31m?error: y??2J"


def test_errors_are_one_line_or_those_of_the_kit(capsys):
    say_error(ValueError(f"a {BAD} b"))
    say_error(Lines([f"one {BAD}", "two"]))
    assert capsys.readouterr().err == f"error: a {CLEAN} b\nerror: one {CLEAN}\ntwo\n"
    say(BAD, "b")
    assert capsys.readouterr().out == f"{CLEAN}\nb\n"
    again = pickle.loads(pickle.dumps(Lines(["a", "b"])))
    assert again.lines == ("a", "b") and str(again) == "a\nb"


def test_a_list_of_broken_cells_keeps_its_lines(capsys):
    problems = Problems(BAD)
    problems.add([True, True], [2, 3], "bac", [BAD, "7"], "must be 0 or 1")
    with pytest.raises(ValueError) as caught:
        problems.check()
    say_error(caught.value)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    assert lines[1] == f"{CLEAN} row 3, column 'bac': got 7, must be 0 or 1"


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--cohort", "VIEWS", "--output", "OUT"],
        ["views", BAD, "FOLDER", "--output", "OUT/v.csv"],
        ["views", "RSNA", "FOLDER", "--output", "OUT/v.csv"],
        ["run", "--preset", BAD],
        ["run", "-p", "weights", BAD],
        ["run", "-p", "heatmap_sets", BAD],
    ],
)
def test_commands_print_nothing_on_which_a_terminal_acts(tmp_path, words):
    folder = tmp_path / BAD.replace("/", "")
    folder.mkdir()
    (folder / "views.csv").write_text("patient_id,age,laterality,view,image,bac\n1,50,L,CC,\x1b[2Ja.dcm,1\n")
    places = {"VIEWS": folder / "views.csv", "FOLDER": folder, "OUT": tmp_path / "out", "OUT/v.csv": folder / "v.csv"}
    done = CliRunner().invoke(cli.app, [str(places.get(word, word)) for word in words])
    assert done.exit_code in (1, 2)
    assert all(line.isprintable() for line in done.output.split("\n")), repr(done.output)
    assert not any(line.startswith("error: y") for line in done.output.split("\n"))
