"""A proposal for the mapping of a table: its columns and words are recognised where they are unmistakable.

What is not recognised, or could mean two things, is left to the user.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from bac_utils._tables import table_format
from bac_utils._tables.rows import raw_rows, sheet_names
from bac_utils.archives.ages import read_ages
from bac_utils.archives.columns import (
    BOTH,
    BOTH_VIEWS,
    DATES,
    FIELDS,
    MEANINGS,
    OPEN,
    SKIP,
    Columns,
    plain,
    read_columns,
    word_of,
)
from bac_utils.archives.labels import Labels, read_labels
from bac_utils.intake.exams import parse_date

_COLUMNS = {  # in the form of `_letters`; German, English, French, Spanish, Italian, Dutch
    "image": """
        image file filename imagefile imagepath filepath path datei dateiname bild bilddatei pfad fichier archivo
    """,
    "patient_id": """
        patientid patid pid patient patientin patientennummer patientennr patnr patientnr patno patientno mrn
        patientnumber patientenid subject subjectid subjectno idpatient npatient numeropatient idpaciente
        paciente idpaziente paziente patientnummer pseudonym id
    """,
    "laterality": """
        laterality imagelaterality side breast breastside seite brust brustseite mammaseite lateralitat cote
        lateralite lado lateralidad lato lateralita zijde rl lr rechtslinks linksrechts
    """,
    "view": """
        view viewposition projection aufnahme aufnahmerichtung ansicht projektion ebene einstellung incidence proyeccion
        proiezione opname ccmlo mlocc
    """,
    "study_date": """
        studydate examdate examinationdate mammographydate date datum untersuchungsdatum aufnahmedatum studiendatum
        untersuchungam datedexamen dateexamen dateetude fechaestudio dataesame onderzoeksdatum
    """,
    "accession": """
        accession accessionnumber accessionno accno accnr acc zugangsnummer zugangsnr auftragsnummer anforderungsnummer
        untersuchungsnummer
    """,
    "exam": "exam examid examno examnumber untersuchungsid",
    "bac": """
        bac bacpresent baclabel label breastarterialcalcification breastarterialcalcifications vascularcalcification
        vascularcalcifications arterialcalcification arterialcalcifications gefasskalk gefassverkalkung
        gefassverkalkungen gefassverkalkt gefasskalzifikation gefasskalzifikationen arterienkalk arterienverkalkung
        arterienverkalkungen mammaarterienkalk vaskularekalzifikation vaskularekalzifikationen
        calcificationsvasculaires calcificationvasculaire calcificacionvascular calcificacionesvasculares
        calcificazionivascolari
    """,
    "bac_right": """
        bacright bacrechts bacre bacr gefasskalkrechts gefasskalkre gefassverkalkungrechts arterienkalkrechts
    """,
    "bac_left": """
        bacleft baclinks bacli bacl gefasskalklinks gefasskalkli gefassverkalkunglinks arterienkalklinks
    """,
    "bac_length_mm": "baclengthmm lengthmm langemm baclangemm kalklangemm gefasskalkmm",
    "birth_date": """
        birthdate dateofbirth dob birthday patientbirthdate geburtsdatum gebdatum geburtstag datedenaissance
        fechadenacimiento fechanacimiento datadinascita geboortedatum
    """,
    "pixel_spacing_mm": "pixelspacingmm pixelspacing pixelabstandmm pixelgrossemm",
    "age": """
        age ageyears patientage alter alterjahre alterinjahren patientenalter alterbeiuntersuchung edad eta leeftijd
    """,
}
_CALCIFICATIONS = """
    kalk verkalkung verkalkungen kalzifikation kalzifikationen calcification calcifications calcificacion
    calcificaciones calcificazione calcificazioni
"""
"""Columns of labels that may be about other calcifications than those of arteries."""
_SIDES = {"r": "R", "l": "L"} | {
    word: side
    for side, words in {
        "R": "re rechts rechte right rt dx droite derecha destra destro rightbreast",
        "L": "li links linke left lt sx gauche izquierda sinistra sinistro leftbreast",
        BOTH: "b bds beidseits beide both bilateral rl lr beideseiten",
    }.items()
    for word in words.split()
}
_VIEWS = {
    "CC": "cc face craniocaudal kraniokaudal craniocaudale craneocaudal craniocaudad",
    "MLO": """
        mlo mediolateraloblique oblique obl schrag schragaufnahme mediolateralschrag obliquemediolaterale oblicua
        obliqua
    """,
    SKIP: "ml lm lmo xccl xccm xcc profil at cv spot mag lat lateral mediolateral lateromedial",
}
_LABELS = {  # in the form of `_mark`
    "1": "1 ja j yes y + pos positiv positive bac+ true wahr vorhanden present oui si x",
    "0": "0 nein n no neg negativ negative bac- false falsch kein keine keiner nicht_vorhanden absent non",
    "": "nan na n/a n.a #n/a #nv k.a k._a ka null none unbekannt unknown fehlt missing",
}
_TOTALS = "summe gesamt gesamtsumme insgesamt total totals sum mittelwert mean average anzahl somme totale"
_HEADER_ROWS = 20
_MOST_WORDS = 30
_CHOICE = re.compile("(?<=.)(janein|yesno|ouinon|jn|yn|10|01|rl|lr|rechtslinks|linksrechts|ccmlo|mlocc)$")
"""What a column name may add on its words, as in `BAC (ja/nein)`."""


def _letters(text: str) -> str:
    """Return the letters and digits of a text, without accents and case; `ä` and `ae` are equal."""
    text = "".join(c for c in unicodedata.normalize("NFKD", plain(text)) if c.isalnum())
    return re.sub("([aou])e", r"\1", text)


_NAMES = {_letters(word): name for name, words in _COLUMNS.items() for word in words.split()}
_NAMES |= {_letters(name): name for name in _COLUMNS}
_POSITIONS = {_letters(word): view for view, words in _VIEWS.items() for word in words.split()}


def propose(path: str | os.PathLike, section: str) -> tuple[Columns, list[str]]:
    """Recognise the columns and words of a table.

    Args:
        path: A CSV or Excel file.
        section: `labels` or `ages`.

    Returns:
        The mapping, in which `?` marks what the user must decide, and a description, one line per fact.

    Raises:
        ValueError: The file is not a table, or is empty.
    """
    path = Path(path)
    form = table_format(path)
    sheets = () if form.encoding else sheet_names(path)
    sheet = sheets[0] if sheets[1:] else ""
    rows = list(raw_rows(path, form, sheet))
    if not rows:
        raise ValueError(f"{path.name}: got an empty table, must have column names and rows")
    place = max(
        range(min(_HEADER_ROWS, len(rows))), key=lambda i: sum(bool(_field(cell, section)) for cell in rows[i][1])
    )
    (first, header), body = rows[place], rows[place + 1 :]
    columns, guessed, lines = _columns(header, section)
    titles = {name: title for name, title in columns.items() if title in header}
    titles |= {"bac": guessed[0]} if guessed[:1] and not guessed[1:] else {}
    words_in = {
        name: Counter(cells[header.index(title)] for _, cells in body if len(cells) == len(header))
        for name, title in titles.items()
    }
    skipped = _totals(header, columns, body)
    for row in skipped:
        cells = dict(body)[row]
        for name in words_in:
            words_in[name][cells[header.index(titles[name])]] -= 1
    words = {name: _words(name, +counts) for name, counts in words_in.items() if name in MEANINGS}
    dates, date_lines = _date_order(sum((+words_in.get(name, Counter()) for name in DATES), Counter()))
    mapping = Columns(
        columns,
        {name: needed for name, found in words.items() if (needed := _needed(found))},
        sheet,
        first if place or first > 1 else 0,
        tuple(skipped),
        dates=dates,
    )
    kind = f"text, {form.encoding}, cells separated by {form.delimiter!r}" if form.encoding else "Excel"
    head = [f"{path.name} ({kind}): {len(body)} rows below the column names in row {first}"]
    if sheets[1:]:
        head.append(f"  sheet: {sheet!r}, of {', '.join(map(repr, sheets))}")
    head += [f"  row {row} is not used (totals)" for row in skipped]
    for name, title in titles.items():
        counts = +words_in[name]
        lines.append(f"  {name}: {title!r}{_described(name, counts, words.get(name, {}))}")
    return mapping, head + lines + date_lines


def _needed(words: Mapping[str, str]) -> dict[str, str]:
    """Return the words that differ from their meaning."""
    return {word: meaning for word, meaning in words.items() if word_of(word) != plain(meaning)}


def _field(title: str, section: str) -> str:
    """Return the meaning of a column name; empty if it is not known."""
    letters = _letters(title)
    found = _NAMES.get(letters) or _NAMES.get(_CHOICE.sub("", letters), "")
    return found if found in FIELDS[section] else ""


def _columns(header: Sequence[str], section: str) -> tuple[dict[str, str], list[str], list[str]]:
    """Return the column of each field (`?` where the user must choose), columns that may be the labels, and remarks."""
    found: dict[str, list[str]] = {}
    for title in header:
        if name := _field(title, section):
            found.setdefault(name, []).append(title)
    columns = {name: titles[0] if len(titles) == 1 else OPEN for name, titles in found.items()}
    lines = [
        f"  {name}: several columns fit ({', '.join(map(repr, titles))}), choose one"
        for name, titles in found.items()
        if titles[1:]
    ]
    guessed = []
    if section == "labels" and not {"bac", "bac_right", "bac_left"} & set(columns):
        guessed = [title for title in header if _CHOICE.sub("", _letters(title)) in _CALCIFICATIONS.split()]
    if guessed:
        columns["bac"] = OPEN
        lines.append(f"  bac: {' or '.join(map(repr, guessed))}, if it is about calcified arteries")
    unused = [title for title in header if title and not _field(title, section) and title not in guessed]
    if unused:
        lines.append(f"  not used: {', '.join(map(repr, unused))}")
    return {name: columns[name] for name in _COLUMNS if name in columns}, guessed, lines


def _totals(header: Sequence[str], columns: Mapping[str, str], body: Sequence[tuple[int, list[str]]]) -> list[int]:
    """Return the rows of totals: a word such as `Summe`, and no identifier or the word in its place."""
    if columns.get("patient_id", OPEN) == OPEN:
        return []
    place, totals = header.index(columns["patient_id"]), _TOTALS.split()
    return [
        row
        for row, cells in body
        if len(cells) > place
        and any(_letters(cell) in totals for cell in cells)
        and (not cells[place] or _letters(cells[place]) in totals)
    ]


def _words(name: str, counts: Counter) -> dict[str, str]:
    """Return the meaning of each word of a column, `?` where it is not clear."""
    if name == "laterality":
        return {word: _SIDES.get(_letters(word), OPEN) for word in counts}
    if name == "view":
        return {word: _view(word) for word in counts}
    known = {mark: meaning for meaning, marks in _LABELS.items() for mark in marks.split()}
    meanings = {word: "" if word == "" else known.get(_mark(word), OPEN) for word in counts}
    dashes = [word for word in counts if word_of(word) in ("-", "--", "\u2013", "\u2212")]
    if dashes and any(word_of(word) == "+" for word in counts):
        meanings |= dict.fromkeys(dashes, "0")
    elif dashes and {"0", "1"} <= set(meanings.values()):
        meanings |= dict.fromkeys(dashes, "")
    return meanings


def _mark(word: str) -> str:
    """Return a word for a label without accents and a full stop."""
    text = "".join(c for c in unicodedata.normalize("NFKD", word_of(word)) if not unicodedata.combining(c))
    return text.removesuffix(".").replace(" ", "_")


def _view(word: str) -> str:
    """Return the meaning of a view, with its side if the word states it, such as `R-MLO`."""
    text = _letters(word)
    if text in _POSITIONS:
        return _POSITIONS[text]
    parts = [_letters(part) for part in re.split(r"[\W_]+", plain(word)) if part]
    splits = [(text[:1], text[1:]), (text[-1:], text[:-1])]
    splits += [(parts[0], "".join(parts[1:])), (parts[-1], "".join(parts[:-1]))] if parts[1:] else []
    for side, view in splits:
        if _SIDES.get(side) in ("R", "L") and view in _POSITIONS:
            return SKIP if _POSITIONS[view] == SKIP else f"{_SIDES[side]} {_POSITIONS[view]}"
    return OPEN


def _date_order(counts: Counter) -> tuple[str, list[str]]:
    """Return whether the day is first in dates such as 03/04/2023: decided by days above 12; `` if there are none."""
    slashes = [word for word in counts if re.fullmatch(r"\d{1,2}[/-]\d{1,2}[/-]\d{2,4}(\D.*)?", plain(word))]
    fits = {order: all(parse_date(plain(word), order == "day first") for word in slashes) for order in _ORDERS}
    if not slashes or fits == dict.fromkeys(_ORDERS, False):
        return "", []
    if all(fits.values()):
        return "", ["  dates: state 'dates: day first' or 'dates: month first'; both fit all dates"]
    return next(order for order, fit in fits.items() if fit), []


_ORDERS = ("day first", "month first")


def _described(name: str, counts: Counter, words: Mapping[str, str]) -> str:
    """Return how the cells of a column were understood."""
    if name not in MEANINGS:
        filled = sum(n for word, n in counts.items() if word)
        return f", {filled} filled, {len(set(counts) - {''})} different" if counts else ""
    shown = [
        f"{word or 'empty'} = {words.get(word, word) or 'unknown'} ({n})" for word, n in counts.most_common(_MOST_WORDS)
    ]
    more = f", and {len(counts) - _MOST_WORDS} more words" if len(counts) > _MOST_WORDS else ""
    return f": {', '.join(shown)}{more}"


def write_columns(path: str | os.PathLike, mappings: Mapping[str, Columns]) -> bool:
    """Write a mapping for the user to check.

    Args:
        path: The YAML file; an existing one is kept.
        mappings: The mapping of each table, by section.

    Returns:
        Whether the file was written.
    """
    head = (
        "# Which column and which word of your tables means what (docs/archives.md, Your own tables).\n"
        f"# Replace each '{OPEN}'. Meanings: laterality R, L, {BOTH} (both) ; view CC, MLO, {BOTH_VIEWS} (both), R CC\n"
        f"# and so on ; bac 1, 0 or '' (unknown). '{SKIP}' leaves out the rows with that word.\n"
    )
    content = {
        section: {key: _lists(value) for key, value in asdict(mapping).items() if value}
        for section, mapping in mappings.items()
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    text = re.sub(r"\? ''\n +: ", "'': ", text)  # the empty word, as people write it
    try:
        with open(path, "x", encoding="utf-8", newline="\n") as stream:
            stream.write(head + text)
    except FileExistsError:
        return False
    return True


def _lists(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def dry_run(
    columns: str | os.PathLike | None,
    tables: Mapping[str, Path],
    labels_by: str | None = None,
    images: str | os.PathLike | None = None,
) -> list[str]:
    """Describe how tables are understood; write a mapping for them, unless there is one.

    Args:
        columns: The mapping; with None, or if there is no such file, one is proposed.
        tables: The tables by section: `labels`, `ages`.
        labels_by: As for `labels.read_labels`.
        images: As for `labels.read_labels`.

    Returns:
        The description, one line per fact, and all problems.

    Raises:
        FileNotFoundError, ValueError: A file is not a table, or the mapping breaks a rule.
    """
    if columns is not None and os.path.exists(columns):
        mappings, lines = read_columns(columns), [f"mapping: {columns}"]
    else:
        proposed = {section: propose(path, section) for section, path in tables.items()}
        mappings = {section: mapping for section, (mapping, _) in proposed.items()}
        lines = [line for _, described in proposed.values() for line in described]
        if columns is not None:
            write_columns(columns, mappings)
            lines.append(f"written to {columns}: check it, replace each '{OPEN}', and give it with --columns")
    for section, path in tables.items():
        mapping = mappings.get(section)
        if mapping:
            mapping = replace(mapping, columns={k: title for k, title in mapping.columns.items() if title != OPEN})
        try:
            if section == "labels":
                lines += _described_labels(read_labels(path, mapping, labels_by, images))
            else:
                lines.append(str(read_ages(path, mapping)))
        except ValueError as error:
            lines += ["problems:", *(f"  {line}" for line in str(error).splitlines())]
    return lines


def _described_labels(labels: Labels) -> list[str]:
    """Return the numbers of labels, and their notes."""
    bac = labels.frame["bac"]
    counts = f"{(bac == 1).sum()} BAC+, {(bac == 0).sum()} BAC-, {bac.isna().sum()} unknown"
    return [f"{labels.path.name}: {len(bac)} labels by {labels.level} ({counts})", *labels.notes]
