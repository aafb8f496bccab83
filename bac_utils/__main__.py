"""The command line: `python -m bac_utils VERB`.

Exit codes: 0 for success, 1 for a failure (one line states the reason), 2 for wrong arguments.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from bac_utils import __version__
from bac_utils._stopping import ended_on_sigterm
from bac_utils._terminal import say, say_error, shown
from bac_utils.study.command_line import PairsCommand, parse_parameters

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors are raised as Python exceptions anyway

app = typer.Typer(
    name="bac_utils",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Breast arterial calcifications on mammograms: simulate, run the notebooks, score files.",
)

Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that read or render images.")]


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Report an expected failure in one line on stderr with exit code 1; end with code 143 on SIGTERM."""
    try:
        with ended_on_sigterm():
            yield
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError, EOFError) as error:
        say_error(error if str(error) else type(error)(f"{type(error).__name__}"))
        raise typer.Exit(1) from None


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Breast arterial calcifications on mammograms: simulate, run the notebooks, score files."""


@app.command()
def simulate(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for views.csv, images/ and truth/ (masks).", file_okay=False)
    ],
    women: Annotated[int, typer.Option(min=1, help="Number of women; each has four views.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same women.")] = 2023,
    spacing: Annotated[float, typer.Option(min=0.03, max=2.0, help="Pixel spacing in mm.")] = 0.15,
    prevalence: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Proportion of BAC+ women; default: as in the paper.")
    ] = None,
    workers: Workers = 2,
    as_export: Annotated[
        bool,
        typer.Option("--as-export", help="Write an export of a hospital's archive instead (docs/tutorial.md)."),
    ] = False,
) -> None:
    """Write a cohort of simulated mammograms (DICOM) with its views table and ground truth."""
    with _one_line_errors():
        from bac_utils._files import locked
        from bac_utils.simulator.cohort_files import claim_folder, simulate_cohort
        from bac_utils.simulator.pacs_export import simulate_export

        asked = {"women": women, "seed": seed, "spacing_mm": spacing, "prevalence": prevalence}
        out.mkdir(parents=True, exist_ok=True)
        with locked(out):
            claim_folder(out, asked | ({"as_export": True} if as_export else {}))
            if as_export:
                truth = simulate_export(out, women, seed, spacing, prevalence, workers)
                counts = f"women: {women}, exams: {truth['accession'].nunique()}, files: {len(truth)}"
                say(f"{counts}, written to {out / 'export'}; findings: {out / 'befunde.csv'}")
                return
            path = simulate_cohort(out, women, seed, spacing, prevalence, workers)
        say(f"women: {women}, views: {4 * women}, written to {path}")


@app.command(cls=PairsCommand)
def run(
    cohort: Annotated[
        Path | None,
        typer.Option(help="Your views table; without one, a cohort is simulated.", exists=True, dir_okay=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The run's folder; default: runs/PRESET.", file_okay=False)
    ] = None,
    preset: Annotated[str, typer.Option(help="Settings: demo or paper.")] = "demo",
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            metavar="NAME VALUE",
            help="A parameter of any notebook, such as -p epochs 12; may be repeated.",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(help="Cross-validate: each woman of the cohort is tested in one of this number of folds.", min=2),
    ] = None,
    readings: Annotated[
        Path | None,
        typer.Option(
            help="Readers' labels and lengths, which replace the table's: a folder of readings, a consensus.csv, or a "
            "reader_notes.csv.",
            exists=True,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run.")] = False,
) -> None:
    """Run all notebooks in order into one folder; a stopped run is resumed."""
    folder = output or Path("runs") / preset
    if folds is not None and cohort is None:
        raise typer.BadParameter("--folds: needs --cohort; `simulate` writes one of simulated women")
    if readings is not None and cohort is None:
        raise typer.BadParameter("--readings: needs --cohort")
    parameters = parse_parameters(parameter)
    with _one_line_errors():
        from bac_utils.report import report_after
        from bac_utils.study import cross_validation
        from bac_utils.study.runner import check_parameters, closing_words, run_folds, run_notebooks

        try:
            check_parameters(preset, parameters, simulated=cohort is None)
        except (ValueError, TypeError) as error:
            raise typer.BadParameter(shown(error)) from None
        if folds is None:
            summary = run_notebooks(folder, preset, cohort, parameters, overwrite, readings=readings)
            with report_after(folder):
                say(*closing_words(folder, summary).split("\n"))
        else:
            summary = run_folds(folder, folds, preset, cohort, parameters, overwrite, readings=readings)
            with report_after(folder):
                say(*cross_validation.closing_words(folder, summary).split("\n"))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A finished run.", exists=True, file_okay=False)],
) -> None:
    """Write the report of a finished run or evaluation again (docs/results.md)."""
    with _one_line_errors():
        from bac_utils.report import write_report

        say(*(f"written: {folder / path.name}" for path in write_report(folder)))


@app.command()
def score(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Mammograms and folders.", exists=True)],
    output: Annotated[Path, typer.Option(help="The table of scores (CSV); existing rows are kept.", dir_okay=False)],
    model: Annotated[
        Path | None, typer.Option(help="A .keras file or a run's folder; default: the bundled model.", exists=True)
    ] = None,
    workers: Workers = 1,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="Key, 16 bytes or more; patient_id and exam become keyed hashes, dates are shifted.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    dicom: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for DICOM results of BAC+ views; they name the patient (not with --key-file).",
            file_okay=False,
        ),
    ] = None,
    file_seconds: Annotated[
        float, typer.Option(min=1, max=86400, help="Time limit for reading a file, s; then it is skipped.")
    ] = 120.0,
    operating_point: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Detection threshold: one of the model's names, or a number up to 1."),
    ] = None,
    alarm_share: Annotated[
        float | None,
        typer.Option(metavar="S", help="Choose the threshold so that at most this share of the views is BAC+."),
    ] = None,
    negatives: Annotated[
        Path | None,
        typer.Option(
            metavar="LIST",
            help="Files known to be BAC-: choose the threshold so that --specificity of them is below it.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    specificity: Annotated[float | None, typer.Option(help="With --negatives; default: 0.95.")] = None,
) -> None:
    """Detect and measure BAC on any mammograms; one row per file (docs/scoring.md)."""
    if dicom is not None and key_file is not None:
        raise typer.BadParameter("--dicom: not with --key-file, as DICOM results name the patient")
    if specificity is not None and negatives is None:
        raise typer.BadParameter("--specificity: needs --negatives")
    with _one_line_errors():
        from bac_utils._files import read_json
        from bac_utils.scoring.batch import score_files
        from bac_utils.scoring.chosen_threshold import SPECIFICITY
        from bac_utils.scoring.dicom_results_folder import missing_results
        from bac_utils.scoring.sanity import write_report
        from bac_utils.scoring.spread import describe_spread

        key = key_file.read_bytes() if key_file else None
        least = SPECIFICITY if specificity is None else specificity
        options = (key, dicom, file_seconds, operating_point, alarm_share, negatives, least)
        counts = score_files(paths, output, model, workers, *options)
        parts = ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in counts.most_common())
        say(f"files: {sum(counts.values())} ({parts or 'none'}), written to {output}")
        if alarm_share is not None or negatives is not None:
            chosen = read_json(output.with_name(f"{output.name}.json"))["operating_point"]["threshold"]
            say(f"threshold: {chosen:g}, chosen from the scores of this archive")
        lines, warning = describe_spread(output, model)
        for line in lines:
            say(line)
        if warning:
            say(f"warning: {warning}", err=True)
        for line in write_report(output, [*lines, *([f"warning: {warning}"] if warning else [])]):
            say(line)
        if dicom is not None and (missing := missing_results(dicom)):
            raise OSError(f"{dicom}: {len(missing)} DICOM results not written ({missing[0]}): call this again")


@app.command(cls=PairsCommand)
def evaluate(
    cohort: Annotated[
        Path, typer.Option(help="A views table with labels, of other women.", exists=True, dir_okay=False)
    ],
    output: Annotated[Path, typer.Option(help="The folder of the evaluation.", file_okay=False)],
    model: Annotated[
        Path | None, typer.Option(help="A .keras file or a run's folder; default: the bundled model.")
    ] = None,
    second_model: Annotated[
        Path | None, typer.Option(help="Another model to compare on the same views; detector: the bundled one.")
    ] = None,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="Also show what a recalibration on half of the women changes.")
    ] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p", "--parameter", metavar="NAME VALUE", help="A parameter of notebook 08, such as -p split test."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing evaluation.")] = False,
) -> None:
    """Evaluate a frozen model on another cohort; nothing is refitted (docs/evaluation.md)."""
    parameters = parse_parameters(parameter)
    parameters |= {"recalibrate": True} if recalibrate else {}
    with _one_line_errors():
        from bac_utils.evaluation.external import check_before
        from bac_utils.report import report_after
        from bac_utils.study.external import check_evaluation, closing_words, run_evaluation

        try:
            check_evaluation(parameters)
        except (ValueError, TypeError) as error:
            raise typer.BadParameter(shown(error)) from None
        check_before(model, cohort, parameters.get("split", ""), parameters.get("other_women", False))
        summary = run_evaluation(output, model, cohort, second_model, parameters, overwrite)
        with report_after(output):
            say(*closing_words(output, summary).split("\n"))


@app.command()
def summarise(
    scores: Annotated[
        Path, typer.Argument(metavar="SCORES.csv", help="A table written by `score`.", exists=True, dir_okay=False)
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for by_view.csv, by_breast.csv, by_exam.csv and by_woman.csv.", file_okay=False)
    ],
    spreadsheet: Annotated[
        bool, typer.Option("--spreadsheet", help="Write summaries.xlsx, too: identifiers are text, never formulas.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing tables.")] = False,
) -> None:
    """Summarise a table of scores per view, breast, exam and woman (docs/scoring.md)."""
    with _one_line_errors():
        from bac_utils._files import has_content, written_whole
        from bac_utils._tables.workbook import write_workbook
        from bac_utils.scoring.summaries import write_summaries

        book = output / "summaries.xlsx"
        if spreadsheet and has_content(book) and not overwrite:
            raise FileExistsError(f"{book} already exists: choose another folder, or overwrite it")
        found = write_summaries(scores, output, overwrite)
        if spreadsheet:
            levels = {"by_view": found.views, "by_breast": found.breasts, "by_exam": found.exams}
            with written_whole(book) as part:
                write_workbook(part, levels | {"by_woman": found.women})
        tables = {"women": found.women, "exams": found.exams, "breasts": found.breasts, "views": found.views}
        counts = ", ".join(f"{what}: {len(table)}" for what, table in tables.items())
        say(f"{counts}, written to {output}", *found.notes)


@app.command()
def views(
    archive: Annotated[
        str,
        typer.Argument(metavar="ARCHIVE", help="CBIS-DDSM, EMBED, VinDr-Mammo, RSNA, INbreast or DICOM (a folder)."),
    ],
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder with the archive's tables.", exists=True, file_okay=False)
    ],
    output: Annotated[
        Path | None, typer.Option(help="The views table; exclusions are written next to it.", dir_okay=False)
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, if different from SOURCE.", exists=True, file_okay=False)
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="DICOM: CSV or .xlsx with bac and image (or patient_id, laterality, view).",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    ages: Annotated[
        Path | None,
        typer.Option(help="Table with patient_id and age, or birth_date if mapped.", exists=True, dir_okay=False),
    ] = None,
    columns: Annotated[
        Path | None,
        typer.Option(help="DICOM: mapping (YAML) of the columns and words of --labels and --ages.", dir_okay=False),
    ] = None,
    labels_by: Annotated[
        str | None,
        typer.Option(help="DICOM: labels are by view (default), breast, exam or woman; all their views get them."),
    ] = None,
    exam: Annotated[
        str | None,
        typer.Option(help="DICOM: of several complete exams of a woman, take the first (default), last or all."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only show how --labels and --ages are understood, and propose --columns."),
    ] = False,
    without_age: Annotated[bool, typer.Option("--without-age", help="Keep views without an age.")] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="DICOM: key, 16 bytes or more; PatientID and exam become keyed hashes, dates are shifted.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    keep_ids: Annotated[
        bool, typer.Option("--keep-ids", help="DICOM: keep PatientID, exam and date, if they are anonymous already.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing tables.")] = False,
) -> None:
    """Make a views table from the tables of a public dataset, or from a folder of DICOM files (docs/archives.md)."""
    with _one_line_errors():
        from inspect import signature

        from bac_utils.archives import ARCHIVES, column_words
        from bac_utils.archives.columns import read_columns
        from bac_utils.archives.conversion import check_output, closing_words, write_views

        reader = {name.upper(): reader for name, reader in ARCHIVES.items()}.get(archive.upper())
        if reader is None:
            raise typer.BadParameter(f"archive: got '{shown(archive)}', must be one of {', '.join(ARCHIVES)}")
        if dry_run:
            tables = {name: path for name, path in (("labels", labels), ("ages", ages)) if path}
            if not tables:
                raise typer.BadParameter("--dry-run: needs --labels or --ages")
            say(*column_words.dry_run(columns, tables, labels_by, images or source))
            return
        if output is None:
            raise typer.BadParameter("--output: needed, except with --dry-run")
        key = key_file.read_bytes() if key_file else None
        mapping = read_columns(columns) if columns else None
        given = {"images": images, "labels": labels, "key": key, "keep_ids": keep_ids}
        given |= {"columns": mapping, "labels_by": labels_by, "exam": exam}
        given = {name: value for name, value in given.items() if value not in (None, False)}
        unfit = [name for name in given if name not in signature(reader).parameters]
        if unfit:
            raise typer.BadParameter(f"{unfit[0]}: {archive} does not take it")
        check_output(output, overwrite)
        found = reader(source, ages=ages, without_age=without_age, **given)
        write_views(found, output, overwrite)
        say(*closing_words(found, output))


@app.command()
def pretrain(
    output: Annotated[Path, typer.Option(help="File for the backbone's weights.", dir_okay=False)],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training.")] = 1,
    structures_only: Annotated[
        bool, typer.Option("--structures-only", help="Train only the weights `structures` of all networks.")
    ] = False,
    detector_only: Annotated[
        bool, typer.Option("--detector-only", help="Start from the structures.weights.h5 beside OUTPUT.")
    ] = False,
) -> None:
    """Train the bundled weights (structures, backbone and detector) again, on simulated views."""
    with _one_line_errors():
        if structures_only and detector_only:
            raise typer.BadParameter("--structures-only, --detector-only: got both, must be at most one of them")
        from bac_utils._files import locked
        from bac_utils.pretraining.patches import Recipe
        from bac_utils.pretraining.pretext import pretrain_networks
        from bac_utils.pretraining.pretrain import pretrain as make
        from bac_utils.report.cards import NAME, bundled_card, write_card

        with locked(output):
            if not detector_only:
                pretrain_networks(output.parent, seed)
            if not structures_only:
                make(output, Recipe(seed=seed))
                write_card(output.with_name(NAME), bundled_card(output.parent))


if __name__ == "__main__":
    app()
