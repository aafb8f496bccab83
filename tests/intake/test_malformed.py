"""Broken, contradictory, unsuitable and hostile files: each ends in a view or a reason, never in another exception.

`CORPUS` states the result expected for each file; `test_fuzz.py` generates more such files.
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
    declare_largest,
    deep_sequence,
    edited,
    frame,
    overwrite,
    place,
    png_of,
    png_or_tiff,
    put,
    pydicom_file,
    raw,
    resyntaxed,
    retyped,
    twice,
    zipped,
)
from mammogram_files import NO_TAGS, VALUES, code, item, outcome, remove_voi
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
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from bac_utils.intake import mammogram
from bac_utils.intake.dicom_header import MAMMOGRAPHY_CLASSES
from bac_utils.intake.mammogram import REASONS

VIEW = "view"  # a mammogram of the left breast or without a stated side
CORPUS = {}


def cases(builds, *expected):
    """Register builders, which take a folder and return a file, with the results that are allowed."""
    for name, build in builds.items():
        assert name not in CORPUS
        CORPUS[name] = (build, expected)


cases(
    {
        "empty": raw(b""),
        "one byte": raw(b"\0"),
        "text": raw(b"no image " * 40),
        "web page": raw(b"<!DOCTYPE html><html><body>session expired</body></html>" * 9, "view.dcm"),
        "bitmap": raw(b"BM" + bytes(400)),
        "zipped": raw(lambda: zipped(b"DICM" * 400)),
        "gzipped": raw(lambda: gzip.compress(b"DICM" * 400)),
        "zeros": raw(bytes(5000)),
        "noise": raw(np.random.default_rng(5).bytes(5000)),
        "preamble cut off": raw(bytes(128) + b"DIC"),
    },
    "not_an_image",
)
cases({"start of a jpeg": raw(b"\xff\xd8\xff\xe0" + bytes(200))}, "unreadable", "truncated")
cases(
    {
        "preamble alone": raw(bytes(128) + b"DICM"),
        "preamble and ones": raw(bytes(128) + b"DICM" + b"\xff" * 500),
        "preamble and zeros": raw(bytes(128) + b"DICM" + bytes(500)),
        "preamble and noise": raw(bytes(128) + b"DICM" + np.random.default_rng(6).bytes(5000)),
        "noise that starts like a data set": raw(b"\x08\0" + np.random.default_rng(7).bytes(5000)),
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
        "MR declared as a mammogram": pydicom_file("MR_small.dcm", Modality="MG"),
        "plan declared as a mammogram": pydicom_file("rtplan.dcm", Modality="MG"),
        "quality control": changed(QualityControlImage="YES"),
        "mask": png_or_tiff(GREY > 90),
    },
    "not_mammography",
)
cases(
    {
        "tomosynthesis": changed(SOPClassUID="1.2.840.10008.5.1.4.1.1.13.1.3"),
        "frames": changed(NumberOfFrames="50"),
        "frames in the offset table": changed(syntax=JPEGLossless, pixels=[LOSSLESS_STREAM] * 3),
        "pages": png_or_tiff(GREY, "L.tif", save_all=True, append_images=[Image.fromarray(GREY)]),
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
        "colour PNG": png_or_tiff(COLOUR),
        "PNG with a palette": lambda folder: (
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
cases({"both breasts": changed(ImageLaterality="B"), "unknown view": changed(ViewPosition="\x1b[31m")}, "other_view")
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
        "8 bits declared, 16 stored": changed(BitsAllocated=8, BitsStored=8, HighBit=7, Rows=15),
        "high bit": changed(HighBit=15),
        "bits stored understated": changed(BitsStored=4, HighBit=3),
        "stream of another size": changed(syntax=JPEGLossless, pixels=jpeg_lossless(VALUES[:30], 12)),
        "stream of more bits": changed(values=GREY, syntax=JPEGLossless, pixels=LOSSLESS_STREAM),
        "run lengths of 3 segments": changed(syntax=RLELossless, pixels=struct.pack("<16I", 3, 64, *[0] * 14) + b"ab"),
        "empty run lengths": changed(syntax=RLELossless, pixels=b"\0\0"),
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
        "unknown transfer syntax": resyntaxed(pydicom.uid.UID("1.2.3.4")),
        "video": resyntaxed(pydicom.uid.MPEG2MPML),
        "native declared as JPEG 2000": resyntaxed(JPEG2000Lossless),
        "native declared as run-length": resyntaxed(RLELossless),
        "JPEG-LS declared as native": resyntaxed(ExplicitVRLittleEndian, JPEGLSLossless),
        "JPEG-LS declared as JPEG 2000": resyntaxed(JPEG2000, JPEGLSLossless),
        "JPEG 2000 declared as run-length": resyntaxed(RLELossless, JPEG2000),
        "stream of ones": changed(syntax=JPEGLossless, pixels=b"\xff" * 3000 + b"\xff\xd9"),
        "boxes without an end": changed(syntax=JPEG2000, pixels=b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50) + b"\xff\xd9"),
        "size header cut off": changed(syntax=JPEG2000, pixels=b"\xff\x4f\xff\x51\0\x29\xff\xd9"),
        "run lengths beyond the image": changed(
            syntax=RLELossless,
            pixels=struct.pack("<16I", 2, 64, 64 + 9000, *[0] * 13) + b"\x81\0" * 9000,
        ),
        "rescale beyond the number range": changed(RescaleSlope="1e300", RescaleIntercept="0"),
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
        "no modality and no SOP class": edited(
            lambda whole: whole.replace(b"MG", b"  ").replace(b".1.1.1.2\0", b".1.1.1.9\0")
        ),
        "no rows stated": changed(Rows=None),
        "no columns stated": changed(Columns=None),
        "no pixels": changed(PixelData=None),
        "one row too many": changed(Rows=33),
        "first half": edited(lambda whole: whole[: len(whole) // 2]),
        "last byte missing": edited(lambda whole: whole[:-1]),
        "first part, deflated": edited(
            lambda whole: whole[: int(0.8 * len(whole))], syntax=DeflatedExplicitVRLittleEndian
        ),
        "first part, run-length": edited(lambda whole: whole[: len(whole) * 3 // 4], syntax=RLELossless),
        "half a stream": changed(syntax=JPEGLSLossless, pixels=LS_STREAM[: len(LS_STREAM) // 2]),
        "empty stream": changed(syntax=JPEGLSLossless, pixels=b"\0\0"),
        "length of an element beyond the file": edited(put(0x0008, 0x0060, 6, b"\xf0\xff")),
        "big endian declared as little": resyntaxed(ExplicitVRLittleEndian, ExplicitVRBigEndian),
        "truncated PNG": raw(lambda: png_of(40, 32, 8, 0, NOISE)[:600], "L_CC.png"),
    },
    "truncated",
    "unreadable",
    "not_mammography",
)
cases(
    {
        "4 gigapixels": changed(Rows=65535, Columns=65535),
        "4 gigapixels in the stream": changed(syntax=JPEGLossless, pixels=declare_largest(LOSSLESS_STREAM)),
        "4 gigapixels in JPEG-LS": changed(syntax=JPEGLSLossless, pixels=declare_largest(LS_STREAM)),
        "16 exapixels in JPEG 2000": frame(edit=overwrite(8, b"\xff" * 8)),
        "deflated zeros": changed(values=LARGE, syntax=DeflatedExplicitVRLittleEndian),
        "PNG of 4 gigapixels": raw(lambda: png_of(65535, 65535, 16, 0, b"0"), "L_CC.png"),
        "PNG of 250 gigapixels": raw(lambda: png_of(500_000, 500_000, 16, 0, b"0"), "L_CC.png"),
        "large file": edited(lambda whole: whole + bytes(5 << 20)),
    },
    "too_large",
)  # fmt: skip
cases(
    {
        "broken PNG": raw(lambda: b"\x89PNG\r\n\x1a\n" + bytes(200), "L_CC.png"),
        "PNG of size 0": raw(lambda: png_of(0, 0, 8, 0, b""), "L_CC.png"),
        "PNG of an unknown colour type": raw(lambda: png_of(40, 32, 7, 9, bytes(5000)), "L_CC.png"),
        "PNG signature alone": raw(b"\x89PNG\r\n\x1a\n", "L_CC.png"),
        "TIFF of noise": raw(b"II*\0" + np.random.default_rng(8).bytes(3000), "L_CC.tif"),
        "TIFF that points to itself": raw(b"II*\0\x08\0\0\0\0\0\x08\0\0\0" * 20, "L_CC.tif"),
    },
    "unreadable",
    "truncated",
    "multi_frame",
)
cases(
    {
        "PNG with more data than pixels": raw(lambda: png_of(40, 32, 8, 0, bytes(3 << 20)), "L_CC.png"),
        "TIFF of floating-point numbers": lambda folder: (
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
        "unknown side": changed(ImageLaterality="\u00fc"),
        "side in bytes": retyped("ImageLaterality", "OB", b"L "),
        "side of an unknown VR": edited(put(0x0020, 0x0062, 4, b"ZZ")),
        "identifier in bytes": retyped("PatientID", "OB", b"\xff\xfe\x00"),
        "unknown character set": changed(SpecificCharacterSet="ISO 2022 KLINGON"),
        "age in words": changed(PatientAge="old"),
        "spacing in words": retyped("ImagerPixelSpacing", "LO", ["far", "near"]),
        "spacing of 0": changed(ImagerPixelSpacing=[0, 0]),
        "empty spacing": changed(ImagerPixelSpacing=""),
        "window in words": retyped("WindowCenter", "LO", "middle"),
        "huge window": changed(WindowCenter="1e30", WindowWidth="1e38"),
        "window of width 0": changed(WindowCenter="5", WindowWidth="0"),
        "window without width": changed(WindowCenter="5"),
        "LUT without entries": changed(VOILUTSequence=[item(LUTDescriptor=[8, 0, 16])]),
        "empty LUT": changed(VOILUTSequence=[item()]),
        "rescale of 0": changed(RescaleSlope="0", RescaleIntercept="0"),
        "padding everywhere": changed(values=np.zeros_like(VALUES), PixelPaddingValue=0),
        "padding in words": retyped("PixelPaddingValue", "LO", "white"),
        "no preamble": edited(lambda whole: whole[132:]),
        "no meta header": edited(lambda whole: whole[place(whole, 0x0008, 0x0016) :]),
        "wrong group length": edited(put(0x0002, 0x0000, 8, b"\xff\xff\xff\x7f")),
        "extra bytes after the pixels": edited(lambda whole: whole + b"rubbish" * 9),
        "implicit declared as explicit": resyntaxed(ExplicitVRLittleEndian, ImplicitVRLittleEndian),
        "explicit declared as implicit": resyntaxed(ImplicitVRLittleEndian, ExplicitVRLittleEndian),
    },
    VIEW,
)
cases(
    {
        "rows as text": retyped("Rows", "LO", "32"),
        "length of the pixels beyond the file": edited(put(0x7FE0, 0x0010, 8, b"\xf0\xff\xff\xff")),
        "deeply nested sequences": edited(deep_sequence),
        "native declared as deflated": resyntaxed(DeflatedExplicitVRLittleEndian),
        "little endian declared as big": resyntaxed(ExplicitVRBigEndian, ExplicitVRLittleEndian),
        "unknown VR": edited(put(0x0028, 0x0010, 4, b"ZZ")),
        "length of a short element beyond the file": edited(put(0x0028, 0x0010, 6, b"\xff\xff")),
        "repeated element": edited(twice),
        "pixels of length 0": edited(put(0x7FE0, 0x0010, 8, b"\0\0\0\0")),
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
        "overlapping fragments": edited(put(0x7FE0, 0x0010, 16, b"\xff\xff\0\0"), syntax=JPEGLossless),
    },
    VIEW,
    *REASONS,
)


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
    """Rust prints the place of a panic, which looks as if the batch had failed. Later output must appear again."""
    build, _ = CORPUS["run lengths beyond the image"]
    assert outcome(build(tmp_path)) == "unreadable"
    os.write(2, b"later")
    assert capfd.readouterr() == ("", "later")


@pytest.mark.filterwarnings("ignore")
def test_files_of_pydicom_declared_as_mammograms(tmp_path):
    """Each ends in a reason, or in the values decoded by pydicom, rescaled and in display polarity."""
    views, reasons = 0, set()
    for file in sorted({file for file in map(Path, get_testdata_files()) if file.is_file()}):
        try:
            ds = pydicom.dcmread(file, force=True)
            ds.Modality, ds.SOPClassUID, ds.ViewPosition = "MG", MAMMOGRAPHY_CLASSES[0], "CC"
            ds.ImageType = ["PRIMARY" if t == "SECONDARY" else t for t in ds.get("ImageType", [])]
            remove_voi(ds)
            ds.save_as(tmp_path / "view.dcm")
        except Exception:
            continue  # a file that pydicom can read but not write
        found = outcome(tmp_path / "view.dcm")
        if isinstance(found, str):
            reasons.add(found)
            continue
        views += 1
        if ds.file_meta.get("TransferSyntaxUID") in (JPEGExtended12Bit, *JPEGLSTransferSyntaxes):
            continue  # pydicom itself has no decoder for them here; `test_dicom_pixels.py` has their values
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
