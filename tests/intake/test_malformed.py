"""Broken, contradictory, unsuitable and hostile files: each ends in a view or a reason, never in another exception.

The corpus names what each file must end in; `test_fuzz.py` draws more such files.
"""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from jpeg_streams import jpeg_lossless
from malformed_files import (
    COLOUR,
    GREY,
    LARGE,
    LOSSLESS_STREAM,
    LS_STREAM,
    NOISE,
    changed,
    claim_all,
    deep_sequence,
    edited,
    frame,
    overwrite,
    picture,
    place,
    png_of,
    put,
    pydicom_file,
    raw,
    resyntaxed,
    retyped,
    twice,
    zipped,
)
from mammogram_files import NO_TAGS, VALUES, code, item, outcome
from PIL import Image
from pydicom.data import get_testdata_files
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from bac_utils.intake import mammogram
from bac_utils.intake.reader import MAMMOGRAPHY_CLASSES, REASONS

VIEW = "view"  # a mammogram, of the left or of no stated side
CORPUS = {}


def cases(builds, *expected):
    """Register builders, which get a folder and return a file, with what their files may end in."""
    for name, build in builds.items():
        assert name not in CORPUS
        CORPUS[name] = (build, expected)


cases(
    {
        "empty": raw(b""),
        "one byte": raw(b"\0"),
        "text": raw(b"no image " * 40),
        "web page": raw(b"<!DOCTYPE html><html><body>session expired</body></html>" * 9, "view.dcm"),
        "jpeg": raw(b"\xff\xd8\xff\xe0" + bytes(200)),
        "bitmap": raw(b"BM" + bytes(400)),
        "zipped": raw(lambda: zipped(b"DICM" * 400)),
        "gzipped": raw(lambda: gzip.compress(b"DICM" * 400)),
        "zeros": raw(bytes(5000)),
        "noise": raw(np.random.default_rng(5).bytes(5000)),
        "preamble cut off": raw(bytes(128) + b"DIC"),
    },
    "not_an_image",
)
cases(
    {
        "preamble alone": raw(bytes(128) + b"DICM"),
        "preamble and ones": raw(bytes(128) + b"DICM" + b"\xff" * 500),
        "preamble and zeros": raw(bytes(128) + b"DICM" + bytes(500)),
        "preamble and noise": raw(bytes(128) + b"DICM" + np.random.default_rng(6).bytes(5000)),
        "noise that begins like a data set": raw(b"\x08\0" + np.random.default_rng(7).bytes(5000)),
        "header cut in a length": edited(lambda whole: whole[: place(whole, 0x0028, 0x0010) + 5]),
    },
    "truncated",
    "unreadable",
    "not_mammography",
)
cases(
    {
        "CT": pydicom_file("CT_small.dcm"),
        "MR": pydicom_file("MR_small.dcm"),
        "plan": pydicom_file("rtplan.dcm"),
        "dose": pydicom_file("rtdose.dcm"),
        "structures": pydicom_file("rtstruct.dcm"),
        "report": pydicom_file("reportsi.dcm"),
        "waveform": pydicom_file("waveform_ecg.dcm"),
        "directory": pydicom_file("dicomdirtests/DICOMDIR"),
        "MR that calls itself a mammogram": pydicom_file("MR_small.dcm", Modality="MG"),
        "plan that calls itself a mammogram": pydicom_file("rtplan.dcm", Modality="MG"),
        "quality control": changed(QualityControlImage="YES"),
        "mask": picture(GREY > 90),
    },
    "not_mammography",
)
cases(
    {
        "tomosynthesis": changed(SOPClassUID="1.2.840.10008.5.1.4.1.1.13.1.3"),
        "frames": changed(NumberOfFrames="50"),
        "frames in the table of offsets": changed(syntax=JPEGLossless, pixels=[LOSSLESS_STREAM] * 3),
        "pages": picture(GREY, "L.tif", save_all=True, append_images=[Image.fromarray(GREY)]),
    },
    "multi_frame",
)
cases(
    {
        "colour": changed(SamplesPerPixel=3, PhotometricInterpretation="RGB"),
        "palette": changed(PhotometricInterpretation="PALETTE COLOR"),
        "colour in the stream": changed(
            values=GREY,
            syntax=JPEGBaseline8Bit,
            pixels=b"\xff\xd8\xff\xc0\0\x11\x08\0\x20\0\x28\x03" + bytes(40) + b"\xff\xd9",
        ),
        "colour picture": picture(COLOUR),
        "colour picture with a palette": lambda folder: (
            Image.fromarray(COLOUR).quantize(16).save(folder / "a.png"),
            folder / "a.png",
        )[1],
    },
    "colour",
)
cases(
    {
        "specimen": changed(ViewCodeSequence=[code("127457009")]),
    },
    "specimen",
)
cases({"scout": changed(ImageType=["ORIGINAL", "PRIMARY", "STEREO_SCOUT"])}, "localiser")
cases({"implant": changed(BreastImplantPresent="YES")}, "implant")
cases({"spot": changed(ViewModifierCodeSequence=[code("399055006")])}, "spot_or_magnification")
cases({"synthetic": changed(ImageType=["DERIVED", "PRIMARY", "TOMO_2D"])}, "synthetic")
cases({"both breasts": changed(ImageLaterality="B"), "view unheard of": changed(ViewPosition="\x1b[31m")}, "other_view")
cases(
    {
        "two sides in tags": changed(Laterality="R"),
        "two sides in tag and view position": changed(ViewPosition="RCC"),
        "two sides in tag and code": changed(
            AnatomicRegionSequence=[item(AnatomicRegionModifierSequence=[code("24028007")])]
        ),
        "two sides in view position": changed(ViewPosition="L R CC"),
        "two views": changed(ViewCodeSequence=[code("399368009")]),
        "two views in codes": changed(ViewPosition=None, ViewCodeSequence=[code("399368009"), code("399162004")]),
        "two intents": changed(PresentationIntentType="FOR PROCESSING"),
        "more pixels than stated": changed(Rows=2),
        "8 bits of 16 stated": changed(BitsAllocated=8, BitsStored=8, HighBit=7, Rows=15),
        "high bit": changed(HighBit=15),
        "bits stored understated": changed(BitsStored=4, HighBit=3),
        "stream of another size": changed(syntax=JPEGLossless, pixels=jpeg_lossless(VALUES[:30], 12)),
        "stream of more bits": changed(values=GREY, syntax=JPEGLossless, pixels=LOSSLESS_STREAM),
        "run lengths of three bytes": changed(syntax=RLELossless, pixels=struct.pack("<16I", 3, 64, *[0] * 14) + b"ab"),
        "run lengths of nothing": changed(syntax=RLELossless, pixels=b"\0\0"),
    },
    "conflict",
)
cases(
    {
        "no rows": changed(Rows=0),
        "half a column": retyped("Columns", "DS", "39.5"),
        "rows below 0": retyped("Rows", "IS", "-32"),
        "12 bits allocated": changed(BitsAllocated=12),
        "32 bits": changed(BitsAllocated=32, BitsStored=32, HighBit=31),
        "no bits allocated": changed(BitsAllocated=None),
        "more bits stored than allocated": changed(BitsStored=255),
        "no bits stored": changed(BitsStored=None),
        "no pixel representation": changed(PixelRepresentation=None),
        "no photometric interpretation": changed(PhotometricInterpretation=None),
        "syntax unheard of": resyntaxed(pydicom.uid.UID("1.2.3.4")),
        "film": resyntaxed(pydicom.uid.MPEG2MPML),
        "native called JPEG 2000": resyntaxed(JPEG2000Lossless),
        "native called run-length": resyntaxed(RLELossless),
        "JPEG-LS called native": resyntaxed(ExplicitVRLittleEndian, JPEGLSLossless),
        "JPEG-LS called JPEG 2000": resyntaxed(JPEG2000, JPEGLSLossless),
        "JPEG 2000 called run-length": resyntaxed(RLELossless, JPEG2000),
        "stream of ones": changed(syntax=JPEGLossless, pixels=b"\xff" * 3000 + b"\xff\xd9"),
        "boxes without an end": changed(syntax=JPEG2000, pixels=b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50) + b"\xff\xd9"),
        "size header cut off": changed(syntax=JPEG2000, pixels=b"\xff\x4f\xff\x51\0\x29\xff\xd9"),
        "run lengths beyond the image": changed(
            syntax=RLELossless,
            pixels=struct.pack("<16I", 2, 64, 64 + 9000, *[0] * 13) + b"\x81\0" * 9000,
        ),
        "rescale beyond all numbers": changed(RescaleSlope="1e300", RescaleIntercept="0"),
        "For Processing without intensity": changed(
            values=np.zeros_like(VALUES),
            SOPClassUID="1.2.840.10008.5.1.4.1.1.1.2.1",
            PresentationIntentType=None,
            PhotometricInterpretation="MONOCHROME1",
        ),
    },
    "unreadable",
    "conflict",
)
cases(
    {
        "no modality and no class": edited(
            lambda whole: whole.replace(b"MG", b"  ").replace(b".1.1.1.2\0", b".1.1.1.9\0")
        ),
        "no rows stated": changed(Rows=None),
        "no columns stated": changed(Columns=None),
        "no pixels": changed(PixelData=None),
        "a row too many": changed(Rows=33),
        "half of it": edited(lambda whole: whole[: len(whole) // 2]),
        "last byte missing": edited(lambda whole: whole[:-1]),
        "half of it, deflated": edited(
            lambda whole: whole[: int(0.8 * len(whole))], syntax=DeflatedExplicitVRLittleEndian
        ),
        "half of it, run-length": edited(lambda whole: whole[: len(whole) * 3 // 4], syntax=RLELossless),
        "half a stream": changed(syntax=JPEGLSLossless, pixels=LS_STREAM[: len(LS_STREAM) // 2]),
        "no stream": changed(syntax=JPEGLSLossless, pixels=b"\0\0"),
        "length of an element beyond the file": edited(put(0x0008, 0x0060, 6, b"\xf0\xff")),
        "big endian called little": resyntaxed(ExplicitVRLittleEndian, ExplicitVRBigEndian),
        "picture cut off": raw(lambda: png_of(40, 32, 8, 0, NOISE)[:600], "L_CC.png"),
    },
    "truncated",
    "unreadable",
    "not_mammography",
)
cases(
    {
        "4 gigapixels": changed(Rows=65535, Columns=65535),
        "4 gigapixels in the stream": changed(syntax=JPEGLossless, pixels=claim_all(LOSSLESS_STREAM)),
        "4 gigapixels in JPEG-LS": changed(syntax=JPEGLSLossless, pixels=claim_all(LS_STREAM)),
        "16 exapixels in JPEG 2000": frame(edit=overwrite(8, b"\xff" * 8)),
        "bomb of zeros, deflated": changed(values=LARGE, syntax=DeflatedExplicitVRLittleEndian),
        "picture of 4 gigapixels": raw(lambda: png_of(65535, 65535, 16, 0, b"0"), "L_CC.png"),
        "picture of 250 gigapixels": raw(lambda: png_of(500_000, 500_000, 16, 0, b"0"), "L_CC.png"),
        "large file": edited(lambda whole: whole + bytes(5 << 20)),
    },
    "too_large",
)  # fmt: skip
cases(
    {
        "picture broken": raw(lambda: b"\x89PNG\r\n\x1a\n" + bytes(200), "L_CC.png"),
        "picture of no size": raw(lambda: png_of(0, 0, 8, 0, b""), "L_CC.png"),
        "picture of a kind unheard of": raw(lambda: png_of(40, 32, 7, 9, bytes(5000)), "L_CC.png"),
        "picture signature alone": raw(b"\x89PNG\r\n\x1a\n", "L_CC.png"),
        "TIFF of noise": raw(b"II*\0" + np.random.default_rng(8).bytes(3000), "L_CC.tif"),
        "TIFF that points to itself": raw(b"II*\0\x08\0\0\0\0\0\x08\0\0\0" * 20, "L_CC.tif"),
    },
    "unreadable",
    "truncated",
    "multi_frame",
)
cases(
    {
        "picture with more data than pixels": raw(lambda: png_of(40, 32, 8, 0, bytes(3 << 20)), "L_CC.png"),
        "picture of floating numbers": lambda folder: (
            tifffile.imwrite(folder / "L_CC.tif", VALUES.astype(np.float32)),
            folder / "L_CC.tif",
        )[1],
    },
    VIEW,
    "unreadable",
)
cases(
    {
        "no side and no view": changed(**NO_TAGS),
        "side unheard of": changed(ImageLaterality="\u00fc"),
        "side in bytes": retyped("ImageLaterality", "OB", b"L "),
        "side unknown to the reader": edited(put(0x0020, 0x0062, 4, b"ZZ")),
        "identifier in bytes": retyped("PatientID", "OB", b"\xff\xfe\x00"),
        "character set unheard of": changed(SpecificCharacterSet="ISO 2022 KLINGON"),
        "age unheard of": changed(PatientAge="old"),
        "spacing of words": retyped("ImagerPixelSpacing", "LO", ["far", "near"]),
        "spacing of 0": changed(ImagerPixelSpacing=[0, 0]),
        "spacing of nothing": changed(ImagerPixelSpacing=""),
        "window of words": retyped("WindowCenter", "LO", "middle"),
        "window without an end": changed(WindowCenter="1e30", WindowWidth="1e38"),
        "window of no width": changed(WindowCenter="5", WindowWidth="0"),
        "window without a width": changed(WindowCenter="5"),
        "table without entries": changed(VOILUTSequence=[item(LUTDescriptor=[8, 0, 16])]),
        "table of nothing": changed(VOILUTSequence=[item()]),
        "rescale of 0": changed(RescaleSlope="0", RescaleIntercept="0"),
        "padding everywhere": changed(values=np.zeros_like(VALUES), PixelPaddingValue=0),
        "padding of words": retyped("PixelPaddingValue", "LO", "white"),
        "preamble lost": edited(lambda whole: whole[132:]),
        "meta header lost": edited(lambda whole: whole[place(whole, 0x0008, 0x0016) :]),
        "group length that lies": edited(put(0x0002, 0x0000, 8, b"\xff\xff\xff\x7f")),
        "rubbish behind the pixels": edited(lambda whole: whole + b"rubbish" * 9),
        "implicit called explicit": resyntaxed(ExplicitVRLittleEndian, ImplicitVRLittleEndian),
        "explicit called implicit": resyntaxed(ImplicitVRLittleEndian, ExplicitVRLittleEndian),
    },
    VIEW,
)
cases(
    {
        "rows as text": retyped("Rows", "LO", "32"),
        "length of the pixels beyond the file": edited(put(0x7FE0, 0x0010, 8, b"\xf0\xff\xff\xff")),
        "sequences in sequences": edited(deep_sequence),
        "native called deflated": resyntaxed(DeflatedExplicitVRLittleEndian),
        "little endian called big": resyntaxed(ExplicitVRBigEndian, ExplicitVRLittleEndian),
        "representation unheard of": edited(put(0x0028, 0x0010, 4, b"ZZ")),
        "length of a short element beyond the file": edited(put(0x0028, 0x0010, 6, b"\xff\xff")),
        "an element twice": edited(twice),
        "pixels of no length": edited(put(0x7FE0, 0x0010, 8, b"\0\0\0\0")),
        "pixels of undefined length": edited(put(0x7FE0, 0x0010, 8, b"\xff\xff\xff\xff")),
        "lossless stream broken in the middle": changed(
            syntax=JPEGLossless, pixels=LOSSLESS_STREAM[:200] + b"\x55" * 50 + LOSSLESS_STREAM[250:]
        ),
        "JPEG-LS stream broken in the middle": changed(
            syntax=JPEGLSLossless, pixels=LS_STREAM[:200] + b"\x55" * 50 + LS_STREAM[250:]
        ),
        "JPEG 2000 stream broken in the middle": frame(edit=overwrite(200, b"\x55" * 50)),
        "JPEG 2000 of tiny tiles": frame(edit=overwrite(24, struct.pack(">2I", 1, 1))),
        "JPEG 2000 without tiles": frame(edit=overwrite(24, bytes(8))),
        "fragments that overlap": edited(put(0x7FE0, 0x0010, 16, b"\xff\xff\0\0"), syntax=JPEGLossless),
    },
    VIEW,
    *REASONS,
)


def test_the_corpus_is_large():
    assert len(CORPUS) >= 60


@pytest.mark.parametrize("name", CORPUS)
def test_corpus(name, tmp_path, monkeypatch):
    monkeypatch.setattr(mammogram, "MAX_BYTES", 4 << 20)
    build, expected = CORPUS[name]
    found = outcome(build(tmp_path))
    if isinstance(found, str):
        assert found in expected
    else:
        assert VIEW in expected and found.laterality in ("L", "") and found.view in ("CC", "")


def test_a_decoder_that_panics_prints_nothing(tmp_path, capfd):
    """Rust prints where it panicked, which looks like a failure of the batch; what comes later is printed again."""
    build, _ = CORPUS["run lengths beyond the image"]
    assert outcome(build(tmp_path)) == "unreadable"
    os.write(2, b"later")
    assert capfd.readouterr() == ("", "later")


@pytest.mark.filterwarnings("ignore")
def test_files_of_pydicom_that_call_themselves_mammograms(tmp_path):
    """Each ends in a reason, or in the values that pydicom decodes, rescaled and in display polarity."""
    views, reasons = 0, set()
    for file in sorted({file for file in map(Path, get_testdata_files()) if file.is_file()}):
        try:
            ds = pydicom.dcmread(file, force=True)
            ds.Modality, ds.SOPClassUID, ds.ViewPosition = "MG", MAMMOGRAPHY_CLASSES[0], "CC"
            ds.save_as(tmp_path / "view.dcm")
        except Exception:
            continue  # pydicom cannot write what it has read
        found = outcome(tmp_path / "view.dcm", apply_voi=False)
        if isinstance(found, str):
            reasons.add(found)
            continue
        views += 1
        stored = pydicom.dcmread(file).pixel_array
        expected = stored * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))
        valid = stored != ds.get("PixelPaddingValue")
        low, high = expected[valid].min(), expected[valid].max()
        expected[~valid] = low
        if ds.PhotometricInterpretation == "MONOCHROME1":
            expected[valid] = low + high - expected[valid]
        np.testing.assert_allclose(found.pixels, expected, rtol=1e-6, err_msg=file.name)
    assert views > 30
    assert reasons >= {"colour", "multi_frame", "truncated", "too_large", "unreadable", "localiser"}
