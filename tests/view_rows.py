"""Rows of views tables that the tests share."""


def four_views(patient_id, age=59, bac=(0, 0, 0, 0)):
    sides = [("R", "CC"), ("R", "MLO"), ("L", "CC"), ("L", "MLO")]
    return [
        {"patient_id": patient_id, "age": age, "laterality": side, "view": view, "bac": label,
         "image": f"{patient_id}_{side}_{view}.dcm"}
        for (side, view), label in zip(sides, bac, strict=True)
    ]  # fmt: skip
