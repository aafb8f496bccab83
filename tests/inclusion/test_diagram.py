"""The flow diagram names every count, and no text leaves its box."""

from itertools import combinations

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from bac_utils.archives.conversion import NO_AGE, REPEATED
from bac_utils.archives.dicom_folder import RAW_TWIN
from bac_utils.inclusion.diagram import inclusion_diagram
from bac_utils.inclusion.flow import Selection
from bac_utils.inclusion.study import CRITERIA, UNDERSAMPLED
from bac_utils.intake.mammogram import REASONS

SETS = {
    "train": {"women": 12345, "views": 49380, "bac_views": 10000},
    "validation": {"women": 1, "views": 1, "bac_views": 0},
    "test": {"women": 2, "views": 8, "bac_views": 3},
}


pytestmark = pytest.mark.usefixtures("no_display_and_no_trace")


def cohort(women, start="found"):
    rows = [(f"W{k // 4}", f"{k}.dcm") for k in range(4 * women)]
    return Selection(pd.DataFrame(rows, columns=["patient_id", "image"]), start)


def drop(flow, reason, stage, views):
    """Exclude the last views."""
    flow.exclude(reason, flow.frame.index.isin(flow.frame.index[-views:]), stage)


def full():
    """Return a flow that excludes at each stage, from 60 women with four views; all reasons of skipped files occur."""
    flow = cohort(60)
    for number, code in enumerate(list(REASONS)[:23]):
        drop(flow, code, "read", 2 if number < 1 else 1)
    for stage, reason, views in (
        ("one_per_view", RAW_TWIN, 11),
        ("one_per_view", REPEATED, 1),
        ("exam", "another exam of the woman", 4),
        ("table", NO_AGE, 8),
        ("table", "x" * 200, 4),
        ("aged", "younger than 45 years", 4),
        ("complete", "not all four views", 8),
        ("labelled", "BAC label unknown", 4),
        ("split", UNDERSAMPLED, 16),
    ):
        drop(flow, reason, stage, views)
    return flow


def boxes(figure):
    """Return the lines of each box, and check that all texts and boxes lie where they belong."""
    figure.canvas.draw()
    renderer, whole = figure.canvas.get_renderer(), figure.bbox
    patches = [patch for patch in figure.findobj(Rectangle) if patch not in (figure.patch, figure.axes[0].patch)]
    found = {patch: [] for patch in patches}
    extents = {patch: patch.get_window_extent(renderer) for patch in patches}
    texts = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
    for text in texts:
        extent = text.get_window_extent(renderer)
        inside = [p for p, e in extents.items() if e.x0 <= extent.x0 and extent.x1 <= e.x1]
        inside = [p for p in inside if extents[p].y0 <= extent.y0 and extent.y1 <= extents[p].y1]
        assert len(inside) == 1, text.get_text()
        found[inside[0]].append(text.get_text().replace("\u00a0", " "))
    for part in (list(extents.values()), [text.get_window_extent(renderer) for text in texts]):
        assert not any(Bbox.intersection(a, b) for a, b in combinations(part, 2))
    assert all(whole.x0 < e.x0 < e.x1 < whole.x1 and whole.y0 < e.y0 < e.y1 < whole.y1 for e in extents.values())
    return list(found.values())


def test_every_stage_is_drawn_with_its_counts():
    flow = full()
    drawn = boxes(inclusion_diagram(flow.stages(), "Images found", SETS))
    main = [lines for lines in drawn if not lines[0].startswith("Excluded")]
    assert main == [
        ["Images found", "240 images"],
        ["Usable CC and MLO views", "54 women, 216 views"],
        ["One image per view", "51 women, 204 views"],
        ["One exam per woman", "50 women, 200 views"],
        ["Views table", "47 women, 188 views"],
        ["Of the age studied", "46 women, 184 views"],
        ["All four views", "44 women, 176 views"],
        ["Included", "43 women, 172 views"],
        ["In the three sets", "39 women, 156 views"],
        ["train", "12,345 women, 49,380 views", "10,000 BAC+ views"],
        ["validation", "1 woman, 1 view", "0 BAC+ views"],
        ["test", "2 women, 8 views", "3 BAC+ views"],
    ]
    side = [lines for lines in drawn if lines[0].startswith("Excluded")]
    assert side[0][:3] == ["Excluded: 24 images", "not found: 2 images", "not read: 1 image"]
    assert side[0][-1] == "15 other reasons: 15 images" and len(side[0]) == 10
    assert side[1][0] == "Excluded: 12 views" and side[1][-1] == f"{REPEATED}: 1 view"  # some women have others left
    assert side[3][0] == "Excluded: 3 women, 12 views"
    assert side[4] == ["Excluded, younger than 45 years: 1 woman, 4 views"]
    assert len(side) == 8


def test_a_simulated_cohort_begins_with_the_table():
    drawn = boxes(inclusion_diagram(cohort(12, "table").stages(), "Simulated views", None))
    assert drawn == [["Simulated views", "12 women, 48 views"], ["Included", "12 women, 48 views"]]
    flow = cohort(12, "table")
    drop(flow, "younger than 45 years", CRITERIA[0], 4)
    drawn = boxes(inclusion_diagram(flow.stages(), "Views table", {"test": SETS["test"]}))
    assert [lines[0] for lines in drawn if len(lines) > 1] == ["Views table", "Included", "test"]
