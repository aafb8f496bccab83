"""The search for the number of layers to fine-tune, by AUC-PR on the validation set."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from bac_utils._files import read_json, written_whole
from bac_utils.model import build_model
from bac_utils.settings import Settings
from bac_utils.training.fit import fit_model


def sweep_convolutions(
    numbers: Sequence[int], settings: Settings, train: tuple, validation: tuple, folder: str | Path
) -> tuple[int, pd.DataFrame]:
    """Train once for each number of fine-tuned convolutions, and keep the model with the best AUC-PR.

    The paper chose the layers by trial and error, "each time training the modified CNN and assessing its performance on
    the validation set". Only the validation set is used here, too. With equal AUC-PR, fewer trained convolutions win.

    Files: `training/sweep-NN/` with the training of each number, resumed or reused by later calls; `sweep.csv`, updated
    after each training; at the end `model.keras`, `history.csv` and `training/fit.json` of the best one, so that
    `fit_model` with its number trains nothing again in this folder.

    Args:
        numbers: Values of `trainable_convolutions`, at least one; the order does not matter.
        settings: As for `fit_model`; `trainable_convolutions` is replaced.
        train: As for `fit_model`.
        validation: As for `fit_model`.
        folder: The run's folder.

    Returns:
        The best number, and one row per number: `trainable_convolutions`, `val_auc_pr` and `epoch` of the best epoch,
        `minutes` of the training.

    Raises:
        ValueError: The numbers are not different integers in the range of the backbone, the folder has a training
            that is not from this search, or as in `fit_model`.
        FloatingPointError: A training has diverged.
    """
    numbers, folder = check_numbers(numbers), Path(folder)
    build_model(replace(settings, trainable_convolutions=numbers[-1]))  # an error before the first training
    _refuse_other_training(folder, numbers)
    rows: list[dict] = []
    for number in tqdm(numbers, desc="trained convolutions", unit="training"):
        chosen = replace(settings, trainable_convolutions=number)
        history = fit_model(build_model(chosen), chosen, train, validation, _subfolder(folder, number))
        best = history.loc[history["val_auc_pr"].idxmax()]
        row = {"trainable_convolutions": number, "val_auc_pr": best["val_auc_pr"], "epoch": int(best["epoch"])}
        rows.append(row | {"minutes": history["seconds"].sum() / 60})
        with written_whole(folder / "sweep.csv") as part:
            pd.DataFrame(rows).to_csv(part, index=False)
    table = pd.DataFrame(rows)
    best_number = int(table.loc[table["val_auc_pr"].idxmax(), "trainable_convolutions"])
    for name in ("history.csv", "model.keras", "training/fit.json"):
        with written_whole(folder / name) as part:
            shutil.copyfile(_subfolder(folder, best_number) / name, part)
    return best_number, table


def check_numbers(numbers: Sequence[int]) -> list[int]:
    """Return the numbers of a search in ascending order.

    Raises:
        ValueError: They are not a list of different integers >= 0.
    """
    valid = isinstance(numbers, list | tuple) and all(type(n) is int and n >= 0 for n in numbers)
    if not valid or not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"sweep_trainable_convolutions: got {numbers!r}, must be a list of different numbers >= 0, such as [0, 5]"
        )
    return sorted(numbers)


def _subfolder(folder: Path, number: int) -> Path:
    return folder / "training" / f"sweep-{number:02d}"


def _refuse_other_training(folder: Path, numbers: list[int]) -> None:
    """Raise an error if the folder's model was not copied from a search."""
    own = folder / "training" / "fit.json"
    if own.is_file():
        number = read_json(own)["trainable_convolutions"]
        source = _subfolder(folder, number) / "training" / "fit.json"
        if not source.is_file() or read_json(source) != read_json(own):
            raise ValueError(
                f"folder: {folder} has a training with trainable_convolutions {number}, got {numbers}; "
                "choose another folder"
            )
