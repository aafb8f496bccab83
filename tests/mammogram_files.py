"""Writing mammograms for tests: DICOM files in any transfer syntax, with or without changes."""

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

from bac_utils.intake.dicom_header import MAMMOGRAPHY_CLASSES
from bac_utils.intake.mammogram import REASONS, Mammogram, Skip
from bac_utils.intake.reader import describe_mammogram, read_mammogram

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
    """Compress values with a test encoder; the DCT encoders take one value per block of 8 x 8."""
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
    """Return a left CC view, uncompressed; `bits` are the bits stored."""
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
    ds.PixelData = np.frombuffer(data, "<u2").astype(">u2").tobytes() if big_endian else data  # words, also for 8 bits
    ds["PixelData"].VR = "OW"
    return ds


def write(path, values=VALUES, syntax=ExplicitVRLittleEndian, bits=None, pixels=None, **changes):
    """Write a mammogram and return its path.

    Args:
        path: The file.
        values: Integers (rows, columns).
        syntax: The transfer syntax.
        bits: Bits stored; by default 12 of 16, or 8 of 8.
        pixels: One or more compressed streams to write instead of the encoded values.
        changes: Values of elements by keyword; None removes the element.
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


def remove_voi(dataset):
    """Remove VOI LUT and window, so that a For Presentation image is rendered as it is stored."""
    for keyword in ("VOILUTSequence", "WindowCenter", "WindowWidth"):
        if keyword in dataset:
            delattr(dataset, keyword)


def frame_of(path):
    """Return the compressed stream of a single-frame file."""
    return get_frame(dcmread(path).PixelData, 0, number_of_frames=1)


def outcome(path, **arguments):
    """Return the `Mammogram`, or the code of the `Skip`; any other exception fails the test.

    The result of `describe_mammogram`, which reads no pixels, must agree.
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
    """Return the code with which a file is skipped."""
    found = outcome(path, **arguments)
    assert isinstance(found, str), found
    return found
