"""Good mammograms, and accidents that may befall them: what `test_fuzz.py` and `benchmarks/fuzz.py` draw from.

A mutant is made in two steps: whole elements are set, changed, moved or lost, then bytes. It knows what its file may
still state, so that a wrong side cannot pass for a right one. Each shows a left breast in CC and says so twice or more.
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
from bac_utils.intake.reader import REASONS
from bac_utils.scoring import batch as scoring

SHAPE = (96, 64)
"""Of the prepared views."""
SYNTAXES = (*LOSSLESS, JPEG2000, JPEGLSNearLossless, JPEGBaseline8Bit)
SIDES = ("ImageLaterality", "Laterality")
TELLING = (*SIDES, "ViewPosition", "PatientOrientation")
LONG = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")  # lengths of four bytes
UNDEFINED = 0xFFFFFFFF

# Odd values, and some that are not odd alone. Numbers are written as their element's representation wants them.
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
ACCIDENTS = ("set", "set", "set", "retype", "claim", "swap", "drop", "repeat", "syntax")  # to elements
MARKS = (b"\xff\xff\xff\xff", bytes(4), b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0", b"\x7f\xff\xff\xff", b"\xff\xd9")


class Element(NamedTuple):
    """An element: its tag, representation, bytes, and the length that it claims."""

    tag: int
    vr: str
    value: bytes
    length: int


class Original(NamedTuple):
    """A good file: a picture as a whole, or a data set with its transfer syntax."""

    name: str
    picture: bytes
    syntax: str
    elements: tuple[Element, ...]


class Mutant(NamedTuple):
    """A damaged file.

    Attributes:
        name: Its name; that of a picture states side and view.
        data: Its bytes.
        sides: What it may state as its side.
        views: What it may state as its view.
        conflict: It is known to state two sides or two views.
        intact: All that it states is as it was.
        pixel_mm: For `prepare`.
        story: What befell it.
    """

    name: str
    data: bytes
    sides: frozenset[str]
    views: frozenset[str]
    conflict: bool
    intact: bool
    pixel_mm: float | None
    story: tuple


def breast():
    """Return a left breast in CC, uint16 (64, 48) of 12 bits, on a dark ground."""
    y, x = np.mgrid[:64, :48]
    inside = np.hypot((y - 32) / 28, x / 40) < 1
    noise = np.random.default_rng(1).integers(0, 300, inside.shape)
    return np.where(inside, 1500 + 20 * (40 - x) + noise, noise // 20).astype(np.uint16)


@cache
def originals():
    """Return a good file of each kind; the DICOM files say three times that it is a left breast, and twice CC."""
    stated = dict(
        Laterality="L", AnatomicRegionSequence=[item(AnatomicRegionModifierSequence=[code("7771000")])],
        ViewCodeSequence=[code("399162004")], WindowCenter="2000", WindowWidth="4000", PixelPaddingValue=0,
        RescaleSlope="2", RescaleIntercept="5", VOILUTSequence=[item(LUTDescriptor=[8, 0, 16])],
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
    return ">" if syntax == ExplicitVRBigEndian else "<"


def split(body, syntax):
    """Yield the elements of a data set; one of undefined length takes all the rest."""
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
    """Return what comes before an element's value."""
    sign, (tag, vr, _, length) = order(syntax), element
    place = struct.pack(f"{sign}HH", tag >> 16, tag & 0xFFFF)
    if syntax == ImplicitVRLittleEndian:
        return place + struct.pack("<I", length)
    if vr in LONG:
        return place + vr.encode("latin-1") + bytes(2) + struct.pack(f"{sign}I", length)
    return place + vr.encode("latin-1") + struct.pack(f"{sign}H", length & 0xFFFF)


def meta(syntax):
    """Return preamble and meta header."""
    uid = syntax.encode() + bytes(len(syntax) % 2)
    element = b"\x02\0\x10\0UI" + struct.pack("<H", len(uid)) + uid
    return bytes(128) + b"DICM" + b"\x02\0\0\0UL\4\0" + struct.pack("<I", len(element)) + element


def make(keyword, value, syntax):
    """Return an element with a value: text, or a number."""
    vr = dictionary_VR(keyword)[:2]  # `US or SS`: the first
    data = value if isinstance(value, bytes) else None
    if data is None:
        data = struct.pack(f"{order(syntax)}H", value) if isinstance(value, int) else value.encode("latin-1")
    data += bytes(len(data) % 2) if vr == "UI" else b" " * (len(data) % 2)
    return Element(tag_for_keyword(keyword), vr, data, len(data))


@st.composite
def _element_accident(draw, count, kinds):
    index, kind = st.integers(0, count - 1), draw(st.sampled_from(kinds))
    if kind == "set":
        keyword = draw(st.one_of(st.sampled_from(TELLING), st.sampled_from(sorted(VALUES))))
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
def _byte_accident(draw):
    kind = draw(st.sampled_from(("flip", "flip", "write", "mark", "fill", "cut", "repeat", "delete", "insert")))
    place = draw(st.integers(0, 1 << 16))
    if kind == "flip":
        return kind, place, draw(st.integers(0, 7))
    if kind == "mark":
        return kind, place, draw(st.sampled_from(MARKS))
    if kind in ("write", "insert"):
        return kind, place, draw(st.binary(min_size=1, max_size=24))
    return kind, place, draw(st.integers(1, 200))


def befall_elements(elements, syntax, accidents):
    """Return the elements, and the transfer syntax that is to be stated."""
    elements, stated = list(elements), syntax
    for kind, first, second in accidents:
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


def statements(accidents):
    """Return the sides and views that may be stated after accidents to elements, and whether two of a kind must be."""
    told = {first: second for kind, first, second in accidents if kind == "set"}
    texts = {keyword: told.get(keyword, "") for keyword in TELLING}
    known = {keyword: text.upper() for keyword, text in texts.items() if isinstance(text, str)}
    right = any(known.get(k, "").split("\\")[0].strip(" \0") in ("R", "RIGHT") for k in SIDES)
    # bytes may spell anything; P as a direction is that of a right breast, F that of an oblique view
    sides = {"L"} | {"R" for text in texts.values() if isinstance(text, bytes) or set(text.upper()) & {"R", "P"}}
    views = {"CC"} | {"MLO" for text in texts.values() if isinstance(text, bytes) or "F" in text or "MLO" in text}
    conflict = right or known.get("ViewPosition") in ("MLO", "RCC", "LMLO")
    only_set = all(kind == "set" for kind, *_ in accidents)
    return frozenset(sides), frozenset(views), conflict and only_set


def befall_bytes(whole, accidents):
    """Return bytes after accidents to them."""
    whole = bytearray(whole)
    for kind, place, what in accidents:
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


def mend(whole):
    """Return a PNG with right check sums, so that its accidents get as far as the decoder."""
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
    """Draw a good file and what befalls it."""
    original, pixel_mm = draw(st.sampled_from(originals())), draw(st.sampled_from((None, 0.1)))
    events, accidents = [], draw(st.lists(_byte_accident(), max_size=4))
    if original.picture:
        data = befall_bytes(original.picture, accidents)
        data = mend(data) if original.name.endswith("png") and draw(st.booleans()) else data
        said = frozenset({"L"}), frozenset({"CC"}), False
        return Mutant(original.name, data, *said, True, pixel_mm, (original.name, *accidents))
    if draw(st.booleans()):
        kinds = draw(st.sampled_from((("set",), ACCIDENTS)))
        events = draw(st.lists(_element_accident(len(original.elements), kinds), min_size=1, max_size=4))
        accidents = accidents if draw(st.booleans()) else []
    where = draw(st.sampled_from(("meta", "header", "pixels", "pixels", "anywhere")))
    elements, syntax = befall_elements(original.elements, original.syntax, events)
    front = b"".join(header_of(e, original.syntax) + e.value for e in elements)
    head, front, pixels = meta(syntax), *cut(front, len(elements[-1].value))
    deflated = original.syntax == DeflatedExplicitVRLittleEndian
    packed = deflated and draw(st.booleans())  # so that the accidents are to what was deflated already
    if packed:
        front, pixels = b"", deflate(front + pixels)
    if where == "meta":
        head = befall_bytes(head, accidents)
    elif where == "header":
        front = befall_bytes(front, accidents)
    elif where == "pixels":
        pixels = befall_bytes(pixels, accidents)
    else:
        front, pixels = befall_bytes(front + pixels, accidents), b""
    data = head + (deflate(front + pixels) if deflated and not packed else front + pixels)
    sides, views, conflict = statements(events)
    spared = not accidents or (where == "pixels" and not packed)  # the header, by the accidents to bytes
    story = (original.syntax, where, *["packed"] * packed, *events, *accidents)
    return Mutant(original.name, data, sides, views, conflict and spared, spared and not events, pixel_mm, story)


def cut(whole, length):
    """Return bytes without the last ones, and those."""
    return whole[: len(whole) - length], whole[len(whole) - length :]


def deflate(body):
    """Return the deflated form of a data set."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def examine(path, pixel_mm):
    """Read a file as `score` does, and as the tests do; the two must agree."""
    read = scoring._read(path, SHAPE, pixel_mm)
    found = outcome(path)
    assert read.reason in ((found,) if isinstance(found, str) else ("", "no_breast")), (read.reason, found)
    if not isinstance(found, str):
        assert read.header == {name: getattr(found, name) for name in ("patient_id", "laterality", "view")}
    return read


class Reader:
    """A process that reads mutants, as one of `score` does; it is replaced when a mutant ends it.

    Attributes:
        seconds: Longest time for one.
    """

    def __init__(self, folder, seconds=30):
        """Take a folder for the mutants; no process is started yet."""
        self.folder, self.seconds, self._pool = Path(folder), seconds, None

    def __call__(self, mutant):
        """Return what `scoring` reads of a mutant; what `examine` finds wrong is raised."""
        path = self.folder / mutant.name
        path.write_bytes(mutant.data)
        self._pool = self._pool or worker_pool(1)
        try:
            return self._pool.submit(end_after, self.seconds, examine, path, mutant.pixel_mm).result()
        except BrokenProcessPool:
            self.close()
            return scoring._Read({}, None, "unreadable", "reading it ended the process", 0.0)

    def close(self):
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None


def check(mutant, read):
    """Assert that a mutant ended in a reason, or in a view that is what it says."""
    if read.prepared is None:
        assert read.reason in REASONS and read.message
        return
    assert read.reason == ""
    header, pixels = read.header, read.prepared.pixels
    assert header["laterality"] in mutant.sides | {""}, "wrong side"
    assert header["view"] in mutant.views | {""}, "wrong view"
    assert not mutant.conflict, "a conflict was settled"
    if mutant.intact:
        assert (header["laterality"], header["view"]) == ("L", "CC"), "side and view were lost"
        picture = not mutant.name.endswith("dcm")
        assert header["patient_id"] == ("" if picture else "W-1")
        assert picture == (read.prepared.spacing_mm is None)
    assert pixels.shape == SHAPE and pixels.dtype == np.float32 and np.isfinite(pixels).all()
    assert read.prepared.mask.any()
    spacing = read.prepared.spacing_mm
    assert spacing is None or (len(spacing) == 2 and all(0 < s < np.inf for s in spacing))
