"""The random order in which a reader sees the women."""

import hashlib
import json
from collections.abc import Iterable


def reading_order(exams: Iterable[tuple[str, str]], reader: str, seed: int) -> list[tuple[str, str]]:
    """Shuffle exams for a reader: the same for the same reader and seed, and another one for every other.

    Exams are sorted by the SHA-256 digest of seed, reader and exam. So the order does not depend on that of the table,
    and exams that are added to a table, or removed, leave the order of the others as it is.

    Args:
        exams: (patient_id, exam); repeated ones count once.
        reader: Name of the reader.
        seed: Any whole number.

    Returns:
        The exams in the reader's order.
    """
    return sorted(set(exams), key=lambda exam: hashlib.sha256(json.dumps([seed, reader, *exam]).encode()).digest())
