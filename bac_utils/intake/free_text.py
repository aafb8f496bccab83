"""Side, view and kind of image from free text: series descriptions, protocol names, view positions, file names.

Hospitals write these in their own words and languages. A text is read word by word; what no word states stays unknown.
"""

import re
import unicodedata
from dataclasses import dataclass, field


def _words(text: str) -> set[str]:
    return set(text.split())


SIDES = dict.fromkeys(
    _words(
        "L LT LI LEFT LINKS LINKE LINKER LINKES LINKEN LKS GAUCHE GCHE IZQ IZQUIERDA IZQUIERDO ESQ ESQUERDA ESQUERDO "
        "SINISTRA SINISTRO SINISTER VENSTRE VANSTER VASEN LEWA LEWY LEVA LEVY LAVA SOL BAL ЛЕВАЯ ЛЕВЫИ ЛЕВОИ"
    ),
    "L",
) | dict.fromkeys(
    _words(
        "R RT RE RIGHT RECHTS RECHTE RECHTER RECHTES RECHTEN DROITE DROIT DTE DERECHA DERECHO DCHA DCHO DIREITA "
        "DIREITO DESTRA DESTRO DEXTER HOJRE HOYRE HOGER HOEGER OIKEA PRAWA PRAWY PRAVA PRAVY SAG JOBB ПРАВАЯ ПРАВЫИ "
        "ПРАВОИ"
    ),
    "R",
)
"""Words for a side, in upper case and without accents."""
_SHORT_SIDES = "LEFT|RIGHT|LINKS|RECHTS|LT|RT|LI|RE|L|R"
_BOTH = _words("B BILAT BILATERAL BILATERALE BOTH BEIDE BEIDER BEIDSEITIG BEIDSEITS BEIDERSEITS BDS")
_OTHER_VIEWS = _words(
    "ML LM LMO XCC XCCL XCCM SIO TANGENTIAL LATEROMEDIAL MEDIOLATERAL CLEAVAGE AXILLA AXILLARY PROFIL PERFIL ROLLED "
    "SUPEROLATERAL LATERAL SEITLICH FRONTAL"
)
_NOT_MLO = _words("LM LMO SIO LATEROMEDIAL SUPEROLATERAL")
_IMPLANT = _words("IMPLANT IMPLANTS IMPLANTAT IMPLANTE EKLUND PROTHESE")
_SPECIMEN = _words("SPECIMEN PRAPARAT PRAEPARAT")
_FILLERS = _words(
    "VIEW PROJECTION PROJEKTION PROJ AUFNAHME IMAGE BILD INCIDENCE INCIDENCIA PROYECCION BREAST BREASTS MAMMA MAMA "
    "MAMMO MAMMOGRAPHY MAMMOGRAPHIE MAMMOGRAFIE MAMMOGRAM BRUST SEIN SENO BORST BRYST BROST PIERS MG FFDM DM D "
    "STANDARD STD ROUTINE SCREENING THE DER DIE DE VON ID"
)
_MAGNIFIED = re.compile(r"SPOT|SPT|MAG|MAGN|MAGNIFI\w*|VERGROSSER\w*|LUPE|AGRANDI\w*")
_OBLIQUE_WORD = r"(?:OBLI\w*|OBL|SCHRAE?G\w*|SKRA)"
_OBLIQUE = re.compile(r"OBLI[QCK]\w*|SCHRAE?G\w*|SKRA")
_VIEW_PHRASES = (  # before single words: a medio-lateral view is another one, unless it is oblique
    ("MLO", re.compile(rf"MEDIO ?-?LATERAL\w*? ?-?{_OBLIQUE_WORD}|{_OBLIQUE_WORD} ?-?MEDIO ?-?LATERAL\w*")),
    ("MLO", re.compile(rf"\bML ?-?{_OBLIQUE_WORD}|\bOML\b")),
    ("CC", re.compile(r"[CK]RAN[IE]O ?-?[CK]AUD\w*")),
)
_FROM_BELOW = re.compile(r"[CK]AUDO ?-?[CK]RANIA\w*")
_GLUED = re.compile(rf"({_SHORT_SIDES})?(M)?(CC|MLO)({_SHORT_SIDES})?(ID|MAG|SPOT)?")
_NO_SIDE = re.compile(r"\b[LD]['’]|(?<=\d)[LRB](?![^\W\d_])|(?<![^\W\d_])[LRB](?=\d)")
"""An elided article (l'incidence), or a letter beside a digit (R2)."""

_SYNTHETIC = re.compile(
    "|".join(
        (
            r"\bC[ _-]?VIEW|\bS[_-]?VIEW\b|\bV[ _-]?PREVIEW|\bSYNTH?[ _-]?VIEW",
            r"\b(?:INTELLIGENT|INSIGHT|GEN(?:ERATED)?|VIRTUAL|PSEUDO|SMART|RECON\w*|SYNTH?)[ _-]?2D",
            r"\b2D[ _-](?:FROM|OUT OF|AUS)[ _-](?:TOMO|DBT|3D)",
            r"\b(?:I2D|S2D|2DS|2DSM|TOMO[ _-]?2D|2D[ _-]?SYN\w*)\b",
            r"\bS[YI]NTHETI[CKSQZ]\w*|\bSINTETI[CKZ]\w*|\bSYNTH\b|\bSYNTHESI[SZ]ED\b",
            r"\bSUBTRA[CK]T(?:ED|ION)\b|\bRECOMBINED\b|\bHIGH[ _-]?ENERGY\b",
        )
    )
)
_TOMOSYNTHESIS = re.compile(
    r"\b(?:TOMO(?:S[YI]NTH\w*)?|DBT|BT)[ _-]?(?:PROJE[CK]TION|RECON|VOLUME|SLICE|SLAB|PLANE|SCHICHT|RAW)"
    r"|\bSMART ?SLICE|\b(?:SLICE|SLAB|PLANE|SCHICHT)S?[ _-](?:\d+[ _-])?(?:OF[ _-])?(?:TOMO|DBT)"
)
_DENIED = re.compile(r"\b(?:NO|NOT|NON|W/O|WITHOUT|OHNE|SANS)[ -](?:\S+[ -])?$")
_CAPTURE = re.compile(
    "|".join(
        (
            r"\bSECONDARY[ _-]?CAPTURE|\bSCREEN[ _-]?(?:SHOT|CAPTURE|SAVE|GRAB|COPY|DUMP)|\bPRINT[ _-]?SCREEN",
            r"\bSNAP[ _-]?SHOT|\bBILDSCHIRM|\bHARD[ _-]?COPY|\bCAPTURED?\b|\bTHUMBNAIL|\bCOLLAGE\b|\bMONTAGE\b",
            r"\bANNOT(?:AT|IER)|\bBURN(?:ED|T)[ _-]?IN|\bTEXT\b|\bOVERLAYS?\b|\bMARKED[ _-]IMAGE",
            r"\b(?:WITH|W/|MIT)[ _-]?MARK(?:S|ERS|ERN)\b|\bKEY[ _-]?IMAGES?\b|\bSCANNED[ _-]DOC",
            r"\b(?:DOSE|DOSIS)[ _-]?(?:REPORT|INFO|SHEET|BERICHT|PROTO)|\b(?:PATIENT|EXAM)[ _-]PROTOCOL",
            r"\bSTRUCTURED[ _-]?REPORT|\bBEFUND|\bIMAGECHECKER|\bSECOND[ _-]?LOOK\b|\bR2[ _-]?(?:CAD|IMAGE)",
            # `Screening with CAD` names an examination, `CAD marks` an image
            r"^[ _-]*I?CAD\b|\b(?:MAMMOGRAPHY|MAMMO|MG)[ _-]CAD\b",
            r"\bCAD[ _:-]*(?:MARK|RESULT|OVERLAY|SC\b|FINDING|OUTPUT|IMAGE|ANNOT|REPORT|SHOT|CAPTURE)",
            r"\bCAD[ _:-]*(?:SECONDARY|DISPLAY|OVERVIEW|PRINT|BILD|ERGEBNIS|ON\b|\d)",
        )
    )
)


@dataclass(frozen=True)
class Words:
    """What a text states.

    Attributes:
        sides: `L`, `R`.
        views: `CC`, `MLO`.
        codes: Codes of `mammogram.REASONS`, for words such as `SPOT`.
        others: Words without a known meaning.
    """

    sides: set[str] = field(default_factory=set)
    views: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)


def plain(text: str) -> str:
    """Return a text in upper case, without accents, with single blanks."""
    text = text.upper().replace("Ø", "O").replace("Ł", "L").replace("Å", "A").replace("左", " L ").replace("右", " R ")
    parts = unicodedata.normalize("NFKD", text)
    return " ".join("".join(c for c in parts if not unicodedata.combining(c)).split())


def read_text(text: str) -> Words:
    """Read side, view and unsuitable kinds of view from words in several languages.

    Args:
        text: Such as `R CC`, `Mamma links, MLO`, `sein droit cranio-caudal`.

    Returns:
        What it states. Both sides, or two views, mean that the text describes more than this image.
    """
    rest, found = plain(text), Words()
    if _FROM_BELOW.search(rest):
        found.codes.add("other_view")
        rest = _FROM_BELOW.sub(" ", rest)
    for view, phrase in _VIEW_PHRASES:
        rest, number = phrase.subn(" ", rest)
        found.views.update([view] * bool(number))
    words = re.findall(r"[^\W\d_]+", _NO_SIDE.sub(" ", rest))
    sides, short = found.sides, set()
    french = any(word == "SEIN" or word.startswith(("DROIT", "GAUCHE")) for word in words)
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word in SIDES:
            (sides if len(word) > 2 else short).add(SIDES[word])
        elif glued := _GLUED.fullmatch(word):
            _add_glued(found, *glued.groups(""), following)
        elif word in _BOTH:
            found.sides.update("LR")
        elif word in _OTHER_VIEWS:
            found.codes.add("other_view")
        elif _MAGNIFIED.fullmatch(word):
            found.codes.add("spot_or_magnification")
        elif word in _IMPLANT:
            found.codes.add("implant")
        elif word in _SPECIMEN:
            found.codes.add("specimen")
        elif word == "FACE" and french:
            found.views.add("CC")
        elif _OBLIQUE.fullmatch(word):
            found.views.update(["MLO"] * (not _NOT_MLO & set(words)))
        elif word not in _FILLERS:
            found.others.add(word)
    if found.views or not found.others:  # not the initials of a person
        found.sides.update(short)
    return found


def _add_glued(found: Words, before: str, magnified: str, view: str, after: str, affix: str, following: str) -> None:
    """Add what a word such as `RCC`, `LMMLO` or `CCID` states; `ID` may also be the following word."""
    found.sides.update(SIDES[side] for side in (before, after) if side)
    found.views.add(view)
    if magnified or affix in ("MAG", "SPOT"):
        found.codes.add("spot_or_magnification")
    if "ID" in (affix, following):
        found.codes.add("implant")


def names_synthetic(text: str) -> bool:
    """Return whether a description names a 2D image computed from tomosynthesis or a contrast study."""
    text = plain(text)
    return any(not _DENIED.search(text[: match.start()]) for match in _SYNTHETIC.finditer(text))


def names_tomosynthesis(text: str) -> bool:
    """Return whether a description names a projection, a slice or another part of a tomosynthesis acquisition."""
    return _TOMOSYNTHESIS.search(plain(text)) is not None


def names_capture(text: str) -> bool:
    """Return whether a description names a screen shot, marks of a CAD system, a text card or a report."""
    return _CAPTURE.search(plain(text)) is not None


_UUID = re.compile(r"[0-9a-f]{8}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{4}[-_]?[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"(?=.*\d)[0-9A-F]+", re.IGNORECASE)


_PLAIN_NAME = re.compile(
    r"\d*[A-Z]*\d*|[A-Z]+\d+(?:(?:LEFT|RIGHT|L|R)?M?(?:CC|MLO)(?:ID|MAG|SPOT)?|LEFT|RIGHT)\d*", re.IGNORECASE
)


def without_hashes(name: str) -> str:
    """Remove hashes from a file name, so that no view is read from their digits.

    A word of hexadecimal digits is a hash, except for a number with `CC` before or after it. Any other word with digits
    is one, unless it has only one group of letters, or a second one that states the view (`P12RCC`).
    """
    return re.sub(r"[0-9A-Za-z]+", _without_hash, _UUID.sub("-", name))


def _without_hash(match: re.Match) -> str:
    word = match[0]
    random = not _PLAIN_NAME.fullmatch(word)
    if _HEX.fullmatch(word):
        numbered = re.fullmatch(r"\d*CC|CC\d*|\d{1,4}CC\d{1,2}", word, re.IGNORECASE)
        random = random or not numbered
    return "-" if random else word
