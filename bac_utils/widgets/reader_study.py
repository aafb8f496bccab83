"""The reader study: a reader labels and measures views in a random order, blind to everything but the images."""

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from bac_utils import plots, view_plots
from bac_utils.readings.lines import length_mm, lines_text, read_lines
from bac_utils.readings.order import reading_order
from bac_utils.readings.reader_file import ReaderFile, ViewKey
from bac_utils.readings.table import CSBI, check_reader
from bac_utils.widgets.base import LINE, WIDE, Panel, button, heading, row
from bac_utils.widgets.cohort_views import CohortViews
from bac_utils.widgets.hanging import HANGING, MOUSE, STEP_KEYS, VIEW_KEYS, HangingViews

LABELS = {"y": ("BAC+", 1.0), "x": ("BAC−", 0.0), "u": ("undecided", np.nan)}
"""Labels by key: the word, and the value in the table."""
OTHERS = "X"
"""Key that gives BAC- to all views of the exam that have not been read."""
RULER_KEYS = (
    "m ruler on or off: a click, or Shift with arrows and then space, adds a point, Enter or a double click ends the "
    "line, backspace removes the last point"
)
KEYS_HELP = (
    f"Keys while the views have the focus: y BAC+, x BAC−, u undecided, X BAC− in all views not read yet; {STEP_KEYS}; "
    f"{RULER_KEYS}; {VIEW_KEYS}. {MOUSE}"
)
CSBI_HELP = (
    "CSBI grade of both breasts: 0 no vascular calcification; 1 few punctate ones, none of them coarse, tram-track or "
    "ring; 2 coarse or tram-track in fewer than 3 vessels; 3 severe coarse or tram-track in 3 or more vessels."
)
PAUSE_S = 120
"""Between two actions of the reader at most this time counts as spent on a view, s."""


class ReaderStudy(HangingViews):
    """Shows one exam at a time, in the reader's own random order; `KEYS_HELP` lists the keys.

    The browser gets images, and what this reader has entered: no label of the table, score, heatmap, identifier or age.
    """

    def __init__(self, views: CohortViews, file: ReaderFile) -> None:
        """Show the first exam that has not been read.

        Args:
            views: The views.
            file: The reader's file; each change is saved in it at once.
        """
        self._views, self.file = views, file
        self._exams = reading_order(views.exams, file.reader, file.seed)
        self._keys = {exam: [views.key(r) for r in views.rows(exam) if r is not None] for exam in self._exams}
        self._ahead = ThreadPoolExecutor(1)
        self._coming: dict[int, Future] = {}
        self._filling, self._since = True, time.monotonic()
        options = {"on_lines": self.measure, "more_keys": [*LABELS, OTHERS, "m"]}
        self._make_views(views.originals, f"Four views, R and L back to back. {KEYS_HELP}", **options)
        self.women = [woman for woman, _ in self._exams]
        self._make_form()
        steps = row(self.previous, self.next, self.unread, self.actual, self.whole, self.linked)
        help_ = ipywidgets.HTML(f"<small>{KEYS_HELP}</small>")
        window = ipywidgets.VBox([self.centre, self.width])
        grades = ipywidgets.HTML(f"<small>{CSBI_HELP}</small>")
        entries = ipywidgets.VBox([self.told, self.label, self.tools, self.csbi, grades, self.points, self.comment])
        super().__init__([self.where, steps, self.canvas, entries, window, help_])
        self.go(next((k for k in range(len(self._exams)) if not self._is_read(k)), 0))

    def go(self, place: int) -> None:
        """Show the exam with this index in the reader's order, after saving the time spent on the last view."""
        self._spend(self.canvas.selected)
        super().go(place)

    def go_to_unread(self) -> None:
        """Show the next exam that has not been read completely, from the one shown on."""
        count = len(self._exams)
        order = [(self.place + 1 + k) % count for k in range(count)]
        place = next((k for k in order if not self._is_read(k)), None)
        if place is None:
            self._tell("all women have been read")
        else:
            self.go(place)

    def press(self, key: str) -> None:
        """Handle a key press forwarded by the views."""
        if key in LABELS:
            self.give(key)
        elif key == OTHERS:
            self.give_others()
        else:
            super().press(key)

    def give(self, key: str) -> None:
        """Give a label to the selected view.

        Args:
            key: One of `LABELS`.
        """
        view = self._selected()
        if view is None:
            return
        words, bac = LABELS[key]
        before = self.file.get(view)
        if bac == 0 and before["lines"]:
            self._tell(f"NOT CHANGED to {words}: the view has a measured line; remove the lines first")
            self._fill()
            return
        length = 0.0 if bac == 0 else before["bac_length_mm"] if before["lines"] else np.nan
        self._save({view: {"bac": bac, "bac_length_mm": length}})

    def give_others(self) -> None:
        """Give BAC- to all views of the exam that have not been read and have no line."""
        keys = [self._views.key(r) for r in self._rows if r is not None]
        free = [key for key in keys if not self.file.is_read(key) and not self.file.get(key)["lines"]]
        self._save({key: {"bac": 0.0, "bac_length_mm": 0.0} for key in free})

    def measure(self, index: int, lines: list[np.ndarray]) -> None:
        """Save the ruler's lines of a view, and the sum of their lengths; a length makes the view BAC+.

        Args:
            index: Index of the view on the canvas.
            lines: (n, 2), in pixels of the prepared view.
        """
        row_ = self._row_of(index)
        if row_ is None:
            return
        moved = [self._originals.to_file(row_, line) for line in lines]
        spacing, drawn = self._views.spacing_mm(row_), any(len(line) > 1 for line in lines)
        view, length = self._views.key(row_), np.nan
        if drawn and spacing:
            length = round(length_mm(lines, spacing), 2)
        entries: dict[str, Any] = {"lines": lines_text(moved), "bac_length_mm": length}
        known = self.file.get(view)
        if drawn and known["bac"] != 1 and not (known["read_at"] and np.isnan(known["bac"])):
            entries["bac"] = 1.0
        elif known["bac"] == 0:
            entries["bac_length_mm"] = 0.0
        self._save({view: entries}, index)

    def figure(self) -> Figure:
        """Draw the four views in the hanging protocol."""
        return _figure(self)

    def progress(self) -> dict[str, int]:
        """Return the numbers of exams and views, and of those that have been read."""
        keys = [key for exam in self._exams for key in self._keys[exam]]
        read = sum(self._is_read(place) for place in range(len(self._exams)))
        return {
            "exams": len(self._exams), "read_exams": read,
            "views": len(keys), "read_views": sum(map(self.file.is_read, keys)),
        }  # fmt: skip

    def _is_read(self, place: int) -> bool:
        return all(map(self.file.is_read, self._keys[self._exams[place]]))

    def _make_form(self) -> None:
        wide = {"style": WIDE | {"button_width": "auto"}}
        self.label = ipywidgets.ToggleButtons(
            options=[("not read", ""), *((words, key) for key, (words, _) in LABELS.items())],
            description="Selected view", tooltips=["", *(f"key: {key}" for key in LABELS)], **wide,
        )  # fmt: skip
        self.label.add_class("bac-reading")
        self.csbi = ipywidgets.ToggleButtons(
            options=[("–", None), *((str(grade), grade) for grade in CSBI)], description="CSBI grade (woman)",
            tooltips=[CSBI_HELP] * (len(CSBI) + 1), **wide,
        )  # fmt: skip
        self.csbi.add_class("bac-csbi")
        self.points = ipywidgets.Text(
            description="BAC-SS points (woman)", placeholder="by your group's rules; optional", continuous_update=False,
            style=WIDE, layout=LINE,
        )  # fmt: skip
        self.points.add_class("bac-points")
        self.comment = ipywidgets.Textarea(description="Comment on the view", rows=2, style=WIDE, layout=LINE)
        self.comment.add_class("bac-comment")
        self.ruler = ipywidgets.Checkbox(value=False, description="Ruler", indent=False, layout={"width": "auto"})
        self.ruler.add_class("bac-ruler")
        self._links.append(ipywidgets.jslink((self.ruler, "value"), (self.canvas, "ruler")))
        actions = (("undo", "Remove last point", "backspace"), ("finish", "End line", "Enter"))
        actions += (("clear", "Remove all lines of the view", "none"),)
        buttons = [
            button(words, f"bac-{name}", lambda name=name: self.canvas.ask_ruler(name), f"key: {key}")
            for name, words, key in actions
        ]
        others = button("BAC− in all views not read", "bac-others", self.give_others, f"key: {OTHERS}")
        self.tools = row(self.ruler, *buttons, others)
        self.unread = button("Next woman not read ▶▶", "bac-unread", self.go_to_unread)
        self.told = ipywidgets.HTML()
        self.told.add_class("bac-told")
        self.label.observe(lambda change: self._enter_label(change["new"]), "value")
        self.csbi.observe(lambda change: self._enter_csbi(change["new"]), "value")
        self.points.observe(lambda change: self._enter_points(change["new"]), "value")
        self.comment.observe(lambda change: self._enter_comment(change["new"]), "value")
        self.canvas.observe(lambda change: self._move(change["old"]), "selected")

    def _enter_label(self, key: str) -> None:
        if self._filling:
            return
        if key:
            self.give(key)
        else:
            self._fill()  # a view that has been read stays read

    def _enter_csbi(self, grade: int | None) -> None:
        if not self._filling:
            self._enter_of_exam("csbi", np.nan if grade is None else float(grade))

    def _enter_points(self, text: str) -> None:
        if self._filling:
            return
        if text.strip() and not text.strip().isdecimal():
            self._tell(f"NOT SAVED: BAC-SS points: got {text[:20]!r}, must be a whole number, 0 or more")
            return
        self._enter_of_exam("bac_ss", float(text) if text.strip() else np.nan)

    def _enter_of_exam(self, name: str, value: float) -> None:
        self._save({key: {name: value} for key in self._keys[self._exams[self.place]]})

    def _enter_comment(self, text: str) -> None:
        view = self._selected()
        if not self._filling and view is not None:
            self._save({view: {"comment": text.strip()}})

    def _move(self, old: int) -> None:
        if not self._filling:
            self._spend(old)
            self._fill()
            self._tell(f"{self.file.unsaved} views NOT SAVED yet" if self.file.unsaved else "")

    def _selected(self) -> ViewKey | None:
        row_ = self._row_of(self.canvas.selected)
        return None if row_ is None else self._views.key(row_)

    def _elapsed(self) -> float:
        """Return the time since the last action, at most `PAUSE_S`, and start anew."""
        now = time.monotonic()
        found, self._since = min(now - self._since, PAUSE_S), now
        return found

    def _spend(self, index: int) -> None:
        """Save the time spent on a view of the exam shown."""
        row_ = self._row_of(index)
        if row_ is not None:
            self._save({self._views.key(row_): {"seconds": self._elapsed()}}, index, quiet=True)

    def _save(self, changes: dict[ViewKey, dict], index: int | None = None, quiet: bool = False) -> None:
        """Save changes, with the time spent on a view (the selected one by default), and show what is known now."""
        row_ = self._row_of(self.canvas.selected if index is None else index)
        if row_ is not None and not quiet:
            key = self._views.key(row_)
            changes = changes | {key: changes.get(key, {}) | {"seconds": self._elapsed()}}
        words = f"saved in {self.file.path.name}"
        try:
            self.file.put(changes, self.place + 1)
        except (ValueError, OSError) as error:
            words, quiet = f"NOT SAVED, will be tried again with the next change ({error})", False
        if not quiet:
            self._fill()
            self._tell(words)

    def _show(self) -> None:
        """Show the exam at `place`, and prepare the next one in the background."""
        exam = self._exams[self.place]
        coming = self._coming.pop(self.place, None)
        if coming is not None:
            coming.result()
        rows = self._views.rows(exam)
        shown = [self._shown(number, index) for number, index in enumerate(rows)]
        self._rows = [index if view["pixels"] is not None else None for index, view in zip(rows, shown, strict=True)]
        self._note_unreadable(rows, shown)
        there = [number for number, index in enumerate(self._rows) if index is not None]
        unread = [number for number in there if not self.file.is_read(self._views.key(self._rows[number]))]
        self._filling = True
        self.canvas.show(shown, [*unread, *there, 0][0])
        self._filling = False
        self._since = time.monotonic()
        self._fill()
        self._tell("")
        self._prepare(self.place + 1)

    def _shown(self, number: int, index: int | None) -> dict:
        side, position = HANGING[number]
        lines, text = [], ""
        if index is not None:
            reading = self.file.get(self._views.key(index))
            lines, text = read_lines(reading["lines"]), _words(reading)
        about = {"key": f"{self.place}.{number}", "title": f"{side} {position}", "text": text, "mirror": side == "R"}
        return about | self._views.shown(index, lines)

    def _note_unreadable(self, rows: list[int | None], shown: list[dict]) -> None:
        """Record views whose file cannot be used as undecided, with the reason."""
        for index, view in zip(rows, shown, strict=True):
            if index is not None and view["pixels"] is None and not self.file.is_read(self._views.key(index)):
                self._save({self._views.key(index): {"bac": np.nan, "comment": view["missing"]}}, quiet=True)

    def _prepare(self, place: int) -> None:
        if place < len(self._exams) and place not in self._coming:
            rows = self._views.rows(self._exams[place])
            self._coming = {place: self._ahead.submit(self._views.load, rows)}

    def _of_exam(self, name: str) -> list[int]:
        """Return the known values of a grade in the views of the exam."""
        values = [self.file.get(key)[name] for key in self._keys[self._exams[self.place]]]
        return [int(value) for value in values if value == value]

    def _fill(self) -> None:
        """Show what is known of the selected view and its exam, without writing it."""
        view, texts = self._selected(), []
        for index in self._rows:
            texts.append("" if index is None else _words(self.file.get(self._views.key(index))))
        reading = None if view is None else self.file.get(view)
        grades = self._of_exam("csbi")
        points = self._of_exam("bac_ss")
        self._filling = True
        try:
            for widget in (self.label, self.comment):
                widget.disabled = reading is None
            self.label.value = "" if reading is None else _label_key(reading)
            self.comment.value = "" if reading is None else reading["comment"]
            self.csbi.value = grades[0] if grades else None
            self.points.value = str(points[0]) if points else ""
        finally:
            self._filling = False
        self.canvas.texts = texts
        found = self.progress()
        self.where.value = (
            f"Reader <b class='bac-reader'>{escape(self.file.reader)}</b>: woman "
            f"<b class='bac-place'>{self.place + 1}</b> of <b class='bac-women'>{found['exams']}</b>; read: "
            f"<b class='bac-read-women'>{found['read_exams']}</b> women, <b class='bac-read-views'>"
            f"{found['read_views']}</b> of {found['views']} views"
        )

    def _tell(self, words: str) -> None:
        row_ = self._row_of(self.canvas.selected)
        name, length = "no view", ""
        if row_ is not None:
            reading = self.file.get(self._views.key(row_))
            name = " ".join(HANGING[self.canvas.selected])
            if reading["lines"]:
                mm = reading["bac_length_mm"]
                length = ", no pixel spacing: no mm" if mm != mm else f", <b class='bac-mm'>{mm:.1f}</b> mm"
        told = f"Reading of <b class='bac-view-name'>{name}</b>{length}" + (f": {escape(words)}" if words else "")
        self.told.value = f"<span role='status' aria-live='polite'>{told}</span>"


class SignIn(Panel):
    """Asks for the reader's name, and then shows the study."""

    def __init__(self, views: CohortViews, folder: str | os.PathLike, seed: int) -> None:
        """Show a form.

        Args:
            views: The views.
            folder: Folder of the readings.
            seed: Seed of the order.
        """
        self._views, self._folder, self._seed = views, folder, seed
        self.name = ipywidgets.Text(description="Your name", style=WIDE, placeholder="the same at each session")
        self.name.add_class("bac-name")
        self.start = button("Start reading", "bac-start", self.begin)
        self.told = ipywidgets.HTML()
        super().__init__([heading("Reader study"), row(self.name, self.start), self.told])

    def begin(self) -> None:
        """Show the study of the reader whose name was entered, or say what is wrong with it."""
        try:
            file = ReaderFile(self._folder, check_reader(self.name.value), self._seed)
        except (ValueError, OSError) as error:
            self.told.value = f"<span role='alert'>{escape(str(error))}</span>"
            return
        self.children = [ReaderStudy(self._views, file)]

    def figure(self) -> Figure:
        """Return a figure that says that no reader is known yet."""
        figure, axes = plt.subplots(figsize=(6, 0.6))
        axes.set_axis_off()
        axes.text(0, 0.5, "Reader study: enter your name in JupyterLab or Voila.", va="center")
        return figure


def _words(reading: dict) -> str:
    """Return a reader's own label as text, empty if the view has not been read."""
    key = _label_key(reading)
    return LABELS[key][0] if key else ""


def _label_key(reading: dict) -> str:
    if not reading["read_at"]:
        return ""
    return next((key for key, (_, bac) in LABELS.items() if bac == reading["bac"]), "u")


@plots.styled
def _figure(study: ReaderStudy) -> Figure:
    figure, row_ = plt.subplots(1, 4, figsize=(11, 6), layout="constrained")
    for axes, index, (side, position) in zip(row_, study._rows, HANGING, strict=True):
        axes.set_axis_off()
        axes.set_title(f"{side} {position}" + (": no view" if index is None else ""), fontsize=9)
        if index is None:
            continue
        pixels, spacing = study._views.shown(index)["pixels"], study._views.spacing_mm(index) or (1, 1)
        view_plots.show_view(axes, pixels, spacing[0] / spacing[1])
        if side == "R":
            axes.invert_xaxis()
    figure.suptitle(f"Woman {study.place + 1} of {len(study.women)} in the order of this reader", fontsize=10)
    return figure
