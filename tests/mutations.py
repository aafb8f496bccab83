"""Randomly damaged mammograms ("mutants") for `tests/intake/test_fuzz.py` and `benchmarks/fuzz.py`.

A good file is damaged in two steps: whole elements are set, changed, moved or removed, then single bytes. Each mutant
records which sides and views its file may still state, so that a wrong side is noticed. All original files show a left
breast in CC and state it at least twice.
"""

import struct
import zlib
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from mammogram_files import LOSSLESS, code, item, outcome, write
from PIL import Image
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSNearLossless,
)

from bac_utils._workers import end_after, worker_pool
from bac_utils.intake.mammogram import REASONS
from bac_utils.scoring import reading_pool

SHAPE = (96, 64)
"""Shape of the prepared views."""
SYNTAXES = (*LOSSLESS, JPEG2000, JPEGLSNearLossless, JPEGBaseline8Bit)
SIDES = ("ImageLaterality", "Laterality")
STATEMENTS = (*SIDES, "ViewPosition", "PatientOrientation")
LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")  # lengths of four bytes
UNDEFINED = 0xFFFFFFFF  # length

# Unusual values, and some that are unusual only in combination. Numbers are written in the VR of their element.
VALUES = {
    **dict.fromkeys(SIDES, ("R", "L", "B", "", "r ", "RIGHT", "L\\R", "\xff", "R\0")),
    "ViewPosition": ("MLO", "CC", "RCC", "LMLO", "ML", "R", "", "CC SPOT", "\x1b[31m"),
    "PatientOrientation": ("P\\L", "A\\R", "A\\FR", "P\\FL", "MLO", "\\", "A\\R\\H"),
    **dict.fromkeys(
        ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing"),
        ("0\\0", "-1\\-1", "nan\\nan", "1e400\\1", "0.1", "0.005\\2", "2\\2", "0.07\\0.07", "inf\\inf", "x\\y", ""),
    ),
    "EstimatedRadiographicMagnificationFactor": ("1.2", "0", "-1", "nan", "1e9", "1.39999"),
    "DistanceSourceToDetector": ("660", "0", "nan", "-5"),
    "DistanceSourceToPatient": ("600", "0", "1e-300", "-5"),
    **dict.fromkeys(("Rows", "Columns"), (0, 1, 2, 48, 63, 64, 65, 8000, 65535)),
    **dict.fromkeys(("BitsAllocated", "BitsStored", "HighBit"), (0, 1, 7, 8, 11, 12, 15, 16, 32, 65535)),
    **dict.fromkeys(("PixelRepresentation", "SamplesPerPixel"), (0, 1, 2, 3, 65535)),
    "PlanarConfiguration": (0, 1, 2),
    "NumberOfFrames": ("0", "1", "2", "-1", "99999999999", "one"),
    "PhotometricInterpretation": ("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "monochrome2", ""),
    **dict.fromkeys(
        ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"),
        ("0", "1", "-1", "nan", "inf", "1e308", "1e-308", "1e30", "2000\\5", "", "x"),
    ),
    "VOILUTFunction": ("SIGMOID", "LINEAR_EXACT", "x"),
    "PixelPaddingValue": (0, 1, 4095, 65535),
    "PixelPaddingRangeLimit": (0, 4095, 65535),
    "Modality": ("MG", "CT", "", "OT"),
    "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.13.1.3", "1.2.3", ""),
    "PresentationIntentType": ("FOR PROCESSING", "FOR PRESENTATION", ""),
    "PatientID": ("", "\x1b[31m", "a\nb", "\xff\xfe", "x" * 300),
    "PatientAge": ("000Y", "x", "59"),
    "SpecificCharacterSet": ("ISO 2022 IR 87", "KLINGON", "\\"),
}  # fmt: skip
REPRESENTATIONS = ("US", "SS", "UL", "DS", "IS", "CS", "LO", "UI", "SQ", "OB", "OW", "UN", "FD", "AT", "ZZ", "\0\0")
CHANGES = ("set", "set", "set", "retype", "claim", "swap", "drop", "repeat", "syntax")  # of elements
MARKS = (b"\xff\xff\xff\xff", bytes(4), b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0", b"\x7f\xff\xff\xff", b"\xff\xd9")


class Element(NamedTuple):
    """An element: its tag, VR, bytes, and declared length."""

    tag: int
    vr: str
    value: bytes
    length: int


class Original(NamedTuple):
    """A good file: a PNG or TIFF as bytes, or a DICOM data set with its transfer syntax."""

    name: str
    image: bytes
    syntax: str
    elements: tuple[Element, ...]


class Mutant(NamedTuple):
    """A damaged file.

    Attributes:
        name: File name; that of a PNG or TIFF states side and view.
        data: The bytes.
        sides: Sides that the file may state.
        views: Views that the file may state.
        conflict: The file certainly states two sides or two views.
        intact: All statements are those of the original.
        pixel_mm: Argument of `prepare`.
        history: The changes made.
    """

    name: str
    data: bytes
    sides: frozenset[str]
    views: frozenset[str]
    conflict: bool
    intact: bool
    pixel_mm: float | None
    history: tuple


def breast():
    """Return a left breast in CC on a dark background, uint16 (64, 48), 12 bits."""
    y, x = np.mgrid[:64, :48]
    inside = np.hypot((y - 32) / 28, x / 40) < 1
    noise = np.random.default_rng(1).integers(0, 300, inside.shape)
    return np.where(inside, 1500 + 20 * (40 - x) + noise, noise // 20).astype(np.uint16)


@cache
def originals():
    """Return one good file of each kind; the DICOM files state the left breast three times and CC twice."""
    stated = dict(
        Laterality="L", AnatomicRegionSequence=[item(AnatomicRegionModifierSequence=[code("7771000")])],
        ViewCodeSequence=[code("399162004")], WindowCenter="2000", WindowWidth="4000", PixelPaddingValue=0,
        RescaleSlope="2", RescaleIntercept="5", VOILUTSequence=[item(LUTDescriptor=[8, 0, 16])],
        ImagerPixelSpacing=["2", "2"],  # so that the breast has a human size
    )  # fmt: skip
    values, found = breast(), []
    grey = (values // 16).astype(np.uint8)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for syntax in SYNTAXES:
            shown = grey[::8, ::8].repeat(8, 0).repeat(8, 1) if syntax == JPEGBaseline8Bit else values
            whole = write(folder / "view.dcm", shown, syntax, **stated).read_bytes()
            body = whole[144 + struct.unpack("<I", whole[140:144])[0] :]
            if syntax == DeflatedExplicitVRLittleEndian:
                body = zlib.decompress(body, -zlib.MAX_WBITS)
            found.append(Original("view.dcm", b"", syntax, tuple(split(body, syntax))))
        for name, shown in (("a_L_CC.png", values), ("b_L_CC.png", grey), ("L_CC.tif", values), ("left-cc.tif", grey)):
            Image.fromarray(shown).save(folder / name)
            found.append(Original(name, (folder / name).read_bytes(), "", ()))
    return tuple(found)


def order(syntax):
    """Return the byte order of a transfer syntax, for `struct`."""
    return ">" if syntax == ExplicitVRBigEndian else "<"


def split(body, syntax):
    """Yield the elements of a data set; an element of undefined length takes all the rest."""
    place, sign = 0, order(syntax)
    while place < len(body):
        group, number = struct.unpack_from(f"{sign}HH", body, place)
        tag, vr, start = group << 16 | number, body[place + 4 : place + 6].decode("latin-1"), place + 8
        if syntax == ImplicitVRLittleEndian:
            vr, length = dictionary_VR(tag)[:2], struct.unpack_from("<I", body, place + 4)[0]
        elif vr in LONG:
            length, start = struct.unpack_from(f"{sign}I", body, place + 8)[0], place + 12
        else:
            length = struct.unpack_from(f"{sign}H", body, place + 6)[0]
        place = len(body) if length == UNDEFINED else start + length
        yield Element(tag, vr, body[start:place], length)


def header_of(element, syntax):
    """Return tag, VR and length of an element, as bytes."""
    sign, (tag, vr, _, length) = order(syntax), element
    place = struct.pack(f"{sign}HH", tag >> 16, tag & 0xFFFF)
    if syntax == ImplicitVRLittleEndian:
        return place + struct.pack("<I", length)
    if vr in LONG:
        return place + vr.encode("latin-1") + bytes(2) + struct.pack(f"{sign}I", length)
    return place + vr.encode("latin-1") + struct.pack(f"{sign}H", length & 0xFFFF)


def meta(syntax):
    """Return preamble and meta header for a transfer syntax."""
    uid = syntax.encode() + bytes(len(syntax) % 2)
    element = b"\x02\0\x10\0UI" + struct.pack("<H", len(uid)) + uid
    return bytes(128) + b"DICM" + b"\x02\0\0\0UL\4\0" + struct.pack("<I", len(element)) + element


def make(keyword, value, syntax):
    """Return an element with a value: text, bytes or a number."""
    vr = dictionary_VR(keyword)[:2]  # `US or SS`: the first
    data = value if isinstance(value, bytes) else None
    if data is None:
        data = struct.pack(f"{order(syntax)}H", value) if isinstance(value, int) else value.encode("latin-1")
    data += bytes(len(data) % 2) if vr == "UI" else b" " * (len(data) % 2)
    return Element(tag_for_keyword(keyword), vr, data, len(data))


@st.composite
def _element_change(draw, count, kinds):
    index, kind = st.integers(0, count - 1), draw(st.sampled_from(kinds))
    if kind == "set":
        keyword = draw(st.one_of(st.sampled_from(STATEMENTS), st.sampled_from(sorted(VALUES))))
        return kind, keyword, draw(st.one_of(st.sampled_from(VALUES[keyword]), st.binary(max_size=12)))
    if kind == "retype":
        return kind, draw(index), draw(st.sampled_from(REPRESENTATIONS))
    if kind == "claim":
        odd = st.sampled_from((0, 1, 2, 7, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFF0, UNDEFINED))
        return kind, draw(index), draw(st.one_of(odd, st.integers(0, 300)))
    if kind == "syntax":
        return kind, draw(st.sampled_from((*SYNTAXES, "1.2.3.4", ""))), ""
    return kind, draw(index), draw(index)


@st.composite
def _byte_change(draw):
    kind = draw(st.sampled_from(("flip", "flip", "write", "mark", "fill", "cut", "repeat", "delete", "insert")))
    place = draw(st.integers(0, 1 << 16))
    if kind == "flip":
        return kind, place, draw(st.integers(0, 7))
    if kind == "mark":
        return kind, place, draw(st.sampled_from(MARKS))
    if kind in ("write", "insert"):
        return kind, place, draw(st.binary(min_size=1, max_size=24))
    return kind, place, draw(st.integers(1, 200))


def change_elements(elements, syntax, changes):
    """Return the changed elements, and the transfer syntax that the meta header is to state."""
    elements, stated = list(elements), syntax
    for kind, first, second in changes:
        if kind == "syntax":
            stated = first
        elif kind == "set":
            element = make(first, second, syntax)
            elements = sorted([e for e in elements if e.tag != element.tag] + [element])
        elif kind == "retype":
            elements[first % len(elements)] = elements[first % len(elements)]._replace(vr=second)
        elif kind == "claim":
            elements[first % len(elements)] = elements[first % len(elements)]._replace(length=second)
        elif kind == "drop":
            del elements[first % len(elements)]
        elif kind == "repeat":
            elements.insert(second % len(elements), elements[first % len(elements)])
        else:
            first, second = first % len(elements), second % len(elements)
            elements[first], elements[second] = elements[second], elements[first]
    return elements, stated


def statements(changes):
    """Return the sides and views that may be stated after changes of elements, and whether a conflict is certain."""
    values = {first: second for kind, first, second in changes if kind == "set"}
    texts = {keyword: values.get(keyword, "") for keyword in STATEMENTS}
    known = {keyword: text.upper() for keyword, text in texts.items() if isinstance(text, str)}
    right = any(known.get(k, "").split("\\")[0].strip(" \0") in ("R", "RIGHT") for k in SIDES)
    # bytes may spell anything; in PatientOrientation, P means a right breast and F an oblique view
    sides = {"L"} | {"R" for text in texts.values() if isinstance(text, bytes) or set(text.upper()) & {"R", "P"}}
    views = {"CC"} | {"MLO" for text in texts.values() if isinstance(text, bytes) or "F" in text or "MLO" in text}
    conflict = right or known.get("ViewPosition") in ("MLO", "RCC", "LMLO")
    only_set = all(kind == "set" for kind, *_ in changes)
    return frozenset(sides), frozenset(views), conflict and only_set


def change_bytes(whole, changes):
    """Return the changed bytes."""
    whole = bytearray(whole)
    for kind, place, what in changes:
        place %= len(whole) + 1
        if kind == "flip":
            whole[place : place + 1] = bytes(byte ^ 1 << what for byte in whole[place : place + 1])
        elif kind in ("write", "mark"):
            whole[place : place + len(what)] = what
        elif kind == "insert":
            whole[place:place] = what
        elif kind == "fill":
            whole[place : place + what] = bytes([what]) * len(whole[place : place + what])
        elif kind == "cut":
            del whole[place:]
        elif kind == "delete":
            del whole[place : place + what]
        else:
            whole[place:place] = whole[place : place + what]
    return bytes(whole)


def repair_checksums(whole):
    """Return a PNG with correct checksums, so that changes within it reach the decoder."""
    whole, place = bytearray(whole), 8
    while place + 12 <= len(whole):
        end = place + 8 + struct.unpack_from(">I", whole, place)[0]
        if end + 4 > len(whole):
            break
        whole[end : end + 4] = struct.pack(">I", zlib.crc32(whole[place + 4 : end]))
        place = end + 4
    return bytes(whole)


@st.composite
def mutants(draw):
    """Draw a good file and its changes."""
    original, pixel_mm = draw(st.sampled_from(originals())), draw(st.sampled_from((None, 2.0)))
    element_changes, byte_changes = [], draw(st.lists(_byte_change(), max_size=4))
    if original.image:
        data = change_bytes(original.image, byte_changes)
        data = repair_checksums(data) if original.name.endswith("png") and draw(st.booleans()) else data
        said = frozenset({"L"}), frozenset({"CC"}), False
        return Mutant(original.name, data, *said, True, pixel_mm, (original.name, *byte_changes))
    if draw(st.booleans()):
        kinds = draw(st.sampled_from((("set",), CHANGES)))
        element_changes = draw(st.lists(_element_change(len(original.elements), kinds), min_size=1, max_size=4))
        byte_changes = byte_changes if draw(st.booleans()) else []
    where = draw(st.sampled_from(("meta", "header", "pixels", "pixels", "anywhere")))
    elements, syntax = change_elements(original.elements, original.syntax, element_changes)
    front = b"".join(header_of(e, original.syntax) + e.value for e in elements)
    head, front, pixels = meta(syntax), *split_off(front, len(elements[-1].value))
    deflated = original.syntax == DeflatedExplicitVRLittleEndian
    packed = deflated and draw(st.booleans())  # change the deflated bytes
    if packed:
        front, pixels = b"", deflate(front + pixels)
    if where == "meta":
        head = change_bytes(head, byte_changes)
    elif where == "header":
        front = change_bytes(front, byte_changes)
    elif where == "pixels":
        pixels = change_bytes(pixels, byte_changes)
    else:
        front, pixels = change_bytes(front + pixels, byte_changes), b""
    data = head + (deflate(front + pixels) if deflated and not packed else front + pixels)
    sides, views, conflict = statements(element_changes)
    spared = not byte_changes or (where == "pixels" and not packed)  # no changed bytes in the header
    history = (original.syntax, where, *["packed"] * packed, *element_changes, *byte_changes)
    intact = spared and not element_changes
    return Mutant(original.name, data, sides, views, conflict and spared, intact, pixel_mm, history)


def split_off(whole, length):
    """Return all but the last `length` bytes, and the last ones."""
    return whole[: len(whole) - length], whole[len(whole) - length :]


def deflate(body):
    """Return the deflated form of a data set."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def examine(path, pixel_mm):
    """Read a file as `score` does, and directly; the two results must agree."""
    read = reading_pool.read_file(path, SHAPE, pixel_mm)
    found = outcome(path)
    prepared = ("", "no_breast", "rotated", "coarse_pixels")
    assert read.reason in ((found,) if isinstance(found, str) else prepared), (read.reason, found)
    if not isinstance(found, str):
        names = ("patient_id", "exam", "study_date", "laterality", "view")
        assert read.header == {name: getattr(found, name) for name in names} | {"image_rank": found.rank}
    return read


class Reader:
    """A worker process that reads mutants, as those of `score` do; it is replaced if a mutant terminates it.

    Attributes:
        seconds: Time limit for one mutant.
    """

    def __init__(self, folder, seconds=30):
        """Set the folder for the mutants; the process starts with the first one."""
        self.folder, self.seconds, self._pool = Path(folder), seconds, None

    def __call__(self, mutant):
        """Return the `FileRead` of a mutant; an assertion that fails in `examine` is raised."""
        path = self.folder / mutant.name
        path.write_bytes(mutant.data)
        self._pool = self._pool or worker_pool(1)
        try:
            return self._pool.submit(end_after, self.seconds, examine, path, mutant.pixel_mm).result()
        except BrokenProcessPool:
            self.close()
            return reading_pool.FileRead({}, None, "unreadable", "reading it ended the process", 0.0)

    def close(self):
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None


def check(mutant, read):
    """Assert that a mutant ended in a reason, or in a view that agrees with its file."""
    if read.prepared is None:
        assert read.reason in REASONS and read.message
        return
    assert read.reason == ""
    header, pixels = read.header, read.prepared.pixels
    assert header["laterality"] in mutant.sides | {""}, "wrong side"
    assert header["view"] in mutant.views | {""}, "wrong view"
    assert not mutant.conflict, "a conflict was resolved"
    if mutant.intact:
        assert (header["laterality"], header["view"]) == ("L", "CC"), "side and view were lost"
        is_dicom = mutant.name.endswith("dcm")
        assert header["patient_id"] == ("W-1" if is_dicom else "")
        assert is_dicom != (read.prepared.spacing_mm is None)
    assert pixels.shape == SHAPE and pixels.dtype == np.float32 and np.isfinite(pixels).all()
    assert read.prepared.mask.any()
    spacing = read.prepared.spacing_mm
    assert spacing is None or (len(spacing) == 2 and all(0 < s < np.inf for s in spacing))
