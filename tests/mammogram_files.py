"""Mammograms that the tests write: DICOM files of any transfer syntax, whole or with changes."""

import numpy as np
from jpeg_streams import jpeg_dct_flat, jpeg_lossless, jpeg_ls
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
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
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from bac_utils.intake.reader import MAMMOGRAPHY_CLASSES, REASONS, Mammogram, Skip, describe_mammogram, read_mammogram

VALUES = np.arange(0, 3840, 3, dtype=np.uint16).reshape(32, 40)
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
LOSSLESS = (*NATIVE, RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
NO_TAGS = {"ImageLaterality": None, "ViewPosition": None}


def item(**elements):
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value):
    return item(CodeValue=value, CodingSchemeDesignator="SCT", CodeMeaning="x")


def stream(values, syntax, bits):
    """Compress values by a test encoder; the DCT ones take one value for each block of 8 x 8."""
    plain = values.astype(np.int64) % (1 << bits)
    return {
        JPEGBaseline8Bit: lambda: jpeg_dct_flat(plain[::8, ::8], bits),
        JPEGExtended12Bit: lambda: jpeg_dct_flat(plain[::8, ::8], bits),
        JPEGLossless: lambda: jpeg_lossless(plain, bits, predictor=7),
        JPEGLosslessSV1: lambda: jpeg_lossless(plain, bits),
        JPEGLSLossless: lambda: jpeg_ls(plain, bits)[0],
        JPEGLSNearLossless: lambda: jpeg_ls(plain, bits, near=2)[0],
    }[syntax]()


def plain_dataset(values=VALUES, bits=None, big_endian=False):
    """A left CC view, uncompressed; `bits` are the bits stored."""
    wide = values.dtype.itemsize == 2
    bits = bits or (12 if wide else 8)
    ds = item(
        SOPClassUID=MAMMOGRAPHY_CLASSES[0], SOPInstanceUID="2.25.1", Modality="MG", PatientID="W-1",
        PatientName="Secret^Name", PatientAge="059Y", ImageLaterality="L", ViewPosition="CC",
        PresentationIntentType="FOR PRESENTATION", PhotometricInterpretation="MONOCHROME2",
        ImagerPixelSpacing=[0.1, 0.1], SamplesPerPixel=1, BitsAllocated=16 if wide else 8, BitsStored=bits,
        HighBit=bits - 1, PixelRepresentation=int(values.dtype.kind == "i"),
        Rows=values.shape[0], Columns=values.shape[1],
    )  # fmt: skip
    data = values.tobytes() + bytes(values.nbytes % 2)
    ds.PixelData = np.frombuffer(data, "<u2").astype(">u2").tobytes() if big_endian else data  # words, 8 bits as well
    ds["PixelData"].VR = "OW"
    return ds


def write(path, values=VALUES, syntax=ExplicitVRLittleEndian, bits=None, pixels=None, **changes):
    """Write a mammogram and return its path.

    Args:
        path: Where.
        values: Integers (rows, columns).
        syntax: The transfer syntax.
        bits: Bits stored; 12 of 16, or 8 of 8.
        pixels: A compressed stream to write instead of the encoded values, or several.
        changes: Elements by keyword; None removes one.
    """
    ds = plain_dataset(values, bits, syntax == ExplicitVRBigEndian)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = MAMMOGRAPHY_CLASSES[0], "2.25.1"
    ds.file_meta.TransferSyntaxUID = syntax
    if pixels is not None:
        ds.PixelData = encapsulate([pixels] if isinstance(pixels, bytes) else pixels)
    elif syntax in (RLELossless, JPEG2000Lossless, JPEG2000):
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(syntax, generate_instance_uid=False, **({"j2k_cr": [4]} if syntax == JPEG2000 else {}))
    elif syntax not in NATIVE:
        ds.PixelData = encapsulate([stream(values, syntax, ds.BitsStored)])
    if syntax not in NATIVE:
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.save_as(path, enforce_file_format=True)
    return path


def frame_of(path):
    """Return the compressed stream of a file with one frame."""
    return get_frame(dcmread(path).PixelData, 0, number_of_frames=1)


def outcome(path, **arguments):
    """Return the `Mammogram`, or the code of the `Skip`; anything else fails the test.

    What `describe_mammogram` says without the pixels must agree.
    """
    try:
        described = describe_mammogram(path)
    except Skip as skip:
        described = skip.code
    try:
        found = read_mammogram(path, **arguments)
    except Skip as skip:
        assert skip.code in REASONS and str(skip) == f"{skip.code}: {skip.message}" and skip.message
        return skip.code
    assert isinstance(found, Mammogram) and found.pixels.dtype == np.float32 and found.pixels.ndim == 2
    names = ("spacing_mm", "spacing_rule", "laterality", "view", "patient_id", "age")
    if not {"laterality", "view", "pixel_spacing_mm"} & set(arguments):
        assert all(getattr(described, name) == getattr(found, name) for name in names), described
    assert np.isfinite(found.pixels).all() and found.laterality in ("L", "R", "") and found.view in ("CC", "MLO", "")
    return found


def reason(path, **arguments):
    """Return the code for which a file is left out."""
    found = outcome(path, **arguments)
    assert isinstance(found, str), found
    return found
