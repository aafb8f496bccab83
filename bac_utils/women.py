"""From views to women: one row per woman, in which nothing of two exams is combined."""

import pandas as pd

from bac_utils.views_table import exam_keys


def women_table(views: pd.DataFrame) -> pd.DataFrame:
    """Reduce a checked views table to one row per woman.

    Of several exams, the first BAC+ one describes her or, if there is none, the first one with known labels: age and
    label are always those of one exam. Their order is that of the study dates (exams without a date come last), then of
    their names.

    Args:
        views: A checked views table.

    Returns:
        `patient_id, age, bac, views, bac_views`, `exam` (the one that describes her) if the views state exams, and
        `split` if they have one; sorted by `patient_id`. `age` is NaN where unknown. `bac` is 1 for at least one BAC+
        view (the paper's definition of a BAC+ woman), else NaN if a label is unknown, else 0; int64 if no woman has
        NaN. `views` and `bac_views` are those of all her exams.
    """
    keys = exam_keys(views)
    dated = views if "study_date" in views else views.assign(study_date="")
    exams = dated.groupby(keys).agg(age=("age", "first"), bac=("bac", "max"), date=("study_date", "first"))
    unknown = views["bac"].isna().groupby([views[name] for name in keys]).any()
    exams["bac"] = exams["bac"].where((exams["bac"] == 1) | ~unknown)
    exams = exams.reset_index().assign(undated=exams["date"].to_numpy() == "")
    exams = exams.sort_values(["bac", "undated", "date", *keys], ascending=[False, True, True, *[True] * len(keys)])
    women = exams.drop_duplicates("patient_id").drop(columns=["date", "undated"]).set_index("patient_id").sort_index()
    group = views.groupby("patient_id")
    women["bac"] = women["bac"].where((women["bac"] == 1) | ~views["bac"].isna().groupby(views["patient_id"]).any())
    women = women.assign(views=group["bac"].size(), bac_views=group["bac"].sum().astype("int64"))
    if women["bac"].notna().all():
        women["bac"] = women["bac"].astype("int64")
    if "split" in views:
        women["split"] = group["split"].first()
    names = ["age", "bac", "views", "bac_views"] + ["split"] * ("split" in women)
    names += ["exam"] * ("exam" in women and bool((women["exam"] != "").any()))
    return women[names].reset_index()
