"""Who is who: keyed pseudonyms, and identifiers that name nobody because all women of an archive share them."""

import hmac
import re
import unicodedata
from datetime import date, timedelta
from hashlib import blake2b

_NOBODY = """
REMOVED REMOVE ANON ANONYM ANONYME ANONYMOUS ANONYMUS ANONYMIZED ANONYMISED ANONYMIZE ANONYMISIERT ANONIM ANONIMO
ANONIMIZADO ANONIMIZZATO ANONYMISE DEIDENTIFIED DEID DE IDENTIFIED DEIDENT DELETED DELETE REDACTED CLEARED HIDDEN MASKED
CONFIDENTIAL ENTFERNT GELOSCHT GELOESCHT UNKNOWN UNBEKANNT UNDEFINED UNSPECIFIED NOTAVAILABLE NONE NULL NIL NAN NA NO
NOT AVAILABLE APPLICABLE EMPTY BLANK LEER KEINE PATIENT PATIENTIN PATIENTID PAT PID ID NAME NONAME SUBJECT WOMAN TEST
DUMMY DEFAULT NN PSEUDONYM PSEUDO SECRET PRIVATE
"""
SHIFT_DAYS = (1, 365)
"""With a key, dates become earlier by a number of days in this range."""
_NOBODY_WORDS = frozenset(_NOBODY.split())
_ZEROS = re.compile(r"0+|X+|([1-9])\1{4,}|1?234567?8?9?0?|12345")


def pseudonym(patient_id: str, key: bytes) -> str:
    """Return a patient's pseudonym: the first 16 hexadecimal digits of HMAC-SHA256 (RFC 2104) of the identifier.

    Args:
        patient_id: As in the file.
        key: The secret, 16 bytes or more. Anyone who has it can find out which identifier a pseudonym stands for.

    Returns:
        The pseudonym.

    Raises:
        ValueError: The key is shorter than 16 bytes.
    """
    if len(key) < 16:
        raise ValueError(f"key: got {len(key)} bytes, must be 16 or more")
    return _digest(patient_id, key)[:16]


def exam_pseudonym(patient_id: str, exam: str, key: bytes) -> str:
    """Return the pseudonym of a woman's exam, like `pseudonym`; equal exams of two women get different ones.

    Args:
        patient_id: As in the file.
        exam: What tells her exams apart (`exams.exam_name`).
        key: The secret, 16 bytes or more.

    Returns:
        The pseudonym; empty if `exam` is empty.
    """
    return _digest(f"exam\0{patient_id}\0{exam}", key)[:16] if exam else ""


def shifted_date(patient_id: str, study_date: str, key: bytes) -> str:
    """Return a date that is earlier by a number of days, which is the same for all dates of a woman.

    The intervals between her exams remain. The number of days comes from HMAC-SHA256 of her identifier; see
    `SHIFT_DAYS`.

    Args:
        patient_id: As in the file.
        study_date: YYYY-MM-DD, or empty.
        key: The secret, 16 bytes or more.

    Returns:
        YYYY-MM-DD; empty if date or identifier is empty.
    """
    if not (patient_id and study_date):
        return ""
    low, high = SHIFT_DAYS
    days = low + int(_digest(f"days\0{patient_id}", key), 16) % (high - low + 1)
    return (date.fromisoformat(study_date) - timedelta(days)).isoformat()


def _digest(text: str, key: bytes) -> str:
    """Return HMAC-SHA256 in hexadecimal digits."""
    return hmac.new(key, text.encode("utf-8", "backslashreplace"), "sha256").hexdigest()


def names_nobody(patient_id: str) -> bool:
    """Return whether an identifier is one that tools write for everybody, such as `removed`, `ANON`, `0` or `XXXX`."""
    text = unicodedata.normalize("NFKD", patient_id.upper())
    words = re.findall(r"[A-Z]+|\d+", "".join(c for c in text if not unicodedata.combining(c)))
    whole = "".join(words)
    words = [whole] if whole == "NA" else words
    if not words:
        return patient_id != "" and patient_id.isascii()
    return bool(_ZEROS.fullmatch(whole)) or all(word in _NOBODY_WORDS or re.fullmatch("0+|X+", word) for word in words)


def tell_apart(patient_id: str, *facts: str) -> str:
    """Return an identifier for one of the women who share `patient_id`: it, and 8 digits from what differs.

    Args:
        patient_id: The shared identifier.
        facts: What differs between women, such as StudyInstanceUID and date of birth; equal facts mean one woman.
    """
    return f"{patient_id}-{blake2b(chr(0).join(facts).encode('utf-8', 'backslashreplace'), digest_size=4).hexdigest()}"
