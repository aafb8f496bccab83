"""Keyed pseudonyms: equal identifiers get equal pseudonyms, which reveal nothing to anyone without the key."""

import hmac


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
