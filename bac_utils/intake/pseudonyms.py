"""Who is who: keyed pseudonyms, and identifiers that name nobody because all women of an archive share them."""

import hmac
import re
import unicodedata
from hashlib import blake2b

_NOBODY = """
REMOVED REMOVE ANON ANONYM ANONYME ANONYMOUS ANONYMUS ANONYMIZED ANONYMISED ANONYMIZE ANONYMISIERT ANONIM ANONIMO
ANONIMIZADO ANONIMIZZATO ANONYMISE DEIDENTIFIED DEID DE IDENTIFIED DEIDENT DELETED DELETE REDACTED CLEARED HIDDEN MASKED
CONFIDENTIAL ENTFERNT GELOSCHT GELOESCHT UNKNOWN UNBEKANNT UNDEFINED UNSPECIFIED NOTAVAILABLE NONE NULL NIL NAN NA NO
NOT AVAILABLE APPLICABLE EMPTY BLANK LEER KEINE PATIENT PATIENTIN PATIENTID PAT PID ID NAME NONAME SUBJECT WOMAN TEST
DUMMY DEFAULT NN PSEUDONYM PSEUDO SECRET PRIVATE
"""
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
    return hmac.new(key, patient_id.encode("utf-8", "backslashreplace"), "sha256").hexdigest()[:16]


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
