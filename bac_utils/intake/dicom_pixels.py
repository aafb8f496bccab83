"""Stored values of a DICOM image, decoded only if header and compressed stream agree on an acceptable size.

The decoders are third-party native code: size, components and bits are checked before anything is passed to them.
"""

import re
import struct
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import apply_color_lut, pixel_array
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from bac_utils._terminal import without_lines
from bac_utils.intake.dicom_file import number, numbers, read_whole, text, word
from bac_utils.intake.mammogram import Skip, check_bytes, check_pixels, may_pass

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
ENCAPSULATED = (RLELossless, *JPEG, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes)
_ANY_LINE = re.compile(b"")
_ITEM = b"\xfe\xff\x00\xe0"
_NO_SYNTAX = "the transfer syntax is none of those for single images"
_END = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
_TAILS = (b"", b"\x55\xaa" * 32)  # put behind a stream without an end marker: a complete one does not depend on them
_SCAN, _DATA = b"\xff\xda", b"\xff\x93"  # start of a scan in JPEG and JPEG-LS; of a tile's data in JPEG 2000
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
"""Photometric interpretations of three samples a pixel that may hold a grey image."""


def check_layout(header: pydicom.Dataset) -> None:
    """Raise `Skip` unless a header describes one image of up to 16 bits, possibly grey, within the size limits.

    Colour images pass if their pixels may turn out to be grey: three samples a pixel, or a palette.
    """
    size = [numbers(header, k)[:1] for k in ("Rows", "Columns")]
    if not all(size):
        raise Skip("truncated", "the header states no matrix size")
    rows, columns = size[0][0], size[1][0]
    if not (rows >= 1 and columns >= 1 and rows % 1 == columns % 1 == 0):
        raise Skip("unreadable", "the matrix size is not two whole numbers above 0")
    check_pixels(int(rows), int(columns))
    photometric, samples = word(header, "PhotometricInterpretation"), number(header, "SamplesPerPixel", 1)
    palette = photometric == "PALETTE COLOR" and _has_palette(header)
    if samples != 1 and (samples, photometric in COLOURS) != (3, True):
        raise Skip("colour", "several samples a pixel")
    if samples == 1 and photometric not in ("MONOCHROME1", "MONOCHROME2") and not palette:
        code = "colour" if photometric else "unreadable"
        raise Skip(code, "the photometric interpretation is neither MONOCHROME1 nor MONOCHROME2")
    allocated, stored = number(header, "BitsAllocated", 0), number(header, "BitsStored", 0)
    if allocated not in (8, 16) or stored % 1 or not 1 <= stored <= allocated:
        raise Skip("unreadable", "bits allocated must be 8 or 16, bits stored 1 up to that")
    if number(header, "HighBit", stored - 1) != stored - 1:
        raise Skip("conflict", "the high bit is not the last of the bits stored")
    if number(header, "PixelRepresentation", -1) not in (0, 1):
        raise Skip("unreadable", "the pixel representation is neither 0 nor 1")
    if number(header, "PixelRepresentation", 0) and (samples != 1 or palette):
        raise Skip("colour", "the samples of a colour image are signed")


def _has_palette(header: pydicom.Dataset) -> bool:
    """Return whether a header has a complete palette, which for a grey image has three equal tables."""
    return all(
        header.get(f"{colour}PaletteColorLookupTableDescriptor")
        and (
            header.get(f"{colour}PaletteColorLookupTableData")
            or header.get(f"Segmented{colour}PaletteColorLookupTableData")
        )
        for colour in ("Red", "Green", "Blue")
    )


def check_storage(header: pydicom.Dataset, source: Path | BytesIO) -> None:
    """Raise `Skip` if size or transfer syntax show that the pixels are incomplete or cannot be decoded.

    Args:
        header: A header that has passed `check_layout`.
        source: As returned by `dicom_file.read_header` with the header.

    Raises:
        Skip: `too_large` or `truncated` by the number of bytes; `unreadable` for an unknown transfer syntax.
    """
    size = len(source.getbuffer()) if isinstance(source, BytesIO) else source.stat().st_size
    check_bytes(size)
    syntax = text(header.file_meta, "TransferSyntaxUID")
    if syntax and syntax not in (*NATIVE, *ENCAPSULATED):
        raise Skip("unreadable", _NO_SYNTAX)
    pixels = number(header, "Rows", 0) * number(header, "Columns", 0)
    if syntax not in ENCAPSULATED and size < pixels * number(header, "BitsAllocated", 0) / 8:
        raise Skip("truncated", f"{size} bytes cannot hold the pixels that the header states")


def check_fragments(header: pydicom.Dataset, source: Path | BytesIO) -> None:
    """Raise `Skip` if a fragment of compressed pixels (DICOM PS3.5, A.4) is longer than the rest of the file.

    Arguments as for `check_storage`.

    Raises:
        Skip: `truncated`.
    """
    if text(header.file_meta, "TransferSyntaxUID") not in ENCAPSULATED or isinstance(source, BytesIO):
        return
    size = source.stat().st_size
    with source.open("rb") as file:
        pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=[])
        file.seek(12, 1)  # tag, VR and length of the pixel data
        while (head := file.read(8))[:4] == b"\xfe\xff\x00\xe0" and len(head) == 8:
            if file.seek(int.from_bytes(head[4:], "little"), 1) > size + 1:  # the last byte may be padding
                raise Skip("truncated", "a fragment of the pixel data ends behind the end of the file")


def stored_values(source: Path | BytesIO) -> np.ndarray:
    """Decode the pixels.

    Args:
        source: As returned by `dicom_file.read_header`, for a header that has passed `check_layout`.

    Returns:
        The stored values, integers (rows, columns).

    Raises:
        Skip: `truncated`, `too_large`, `multi_frame`, `colour`, `conflict` or `unreadable`.
    """
    try:
        dataset = read_whole(source)
        _check_pixel_data(dataset)
        bits, values = int(dataset.BitsStored), _decode(dataset)
    except (Skip, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in a Rust decoder is not an Exception
        if may_pass(error):
            raise
        raise Skip("unreadable", f"the pixels cannot be decoded ({type(error).__name__})") from error
    if values.shape[:2] != (dataset.Rows, dataset.Columns) or values.shape[2:] not in ((), (3,)):
        raise Skip("unreadable", f"the pixels have the shape {values.shape}")
    return _grey(_without_unused_bits(values, bits, dataset), dataset)


def _grey(values: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Return the grey levels of an image, integers (rows, columns).

    A colour image is grey if its three channels are equal, or if its two chroma channels are neutral: their middle
    value, give or take one level for the rounding of encoders.

    Args:
        values: Stored values, (rows, columns), or (rows, columns, 3) in the order of the samples.
        dataset: The file, for its palette and bits stored.

    Raises:
        Skip: `colour`.
    """
    if word(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        try:
            values = apply_color_lut(values, dataset)
        except Exception as error:
            raise Skip("colour", "the palette cannot be applied") from error
    if values.ndim == 2:
        return values
    first, *others = np.moveaxis(values[..., :3], -1, 0)
    if all(np.array_equal(first, other) for other in others):
        return first
    if word(dataset, "PhotometricInterpretation") != "PALETTE COLOR" and _may_be_luminance(dataset):
        neutral = 1 << (int(dataset.BitsStored) - 1)
        if all(np.abs(other.astype(np.int32) - neutral).max() <= 1 for other in others):
            return first
    raise Skip("colour", "the image has colours")


def _may_be_luminance(dataset: pydicom.Dataset) -> bool:
    """Return whether the first sample may be luminance: by the header, or in JPEG."""
    return dataset.PhotometricInterpretation.startswith("YBR") or dataset.file_meta.TransferSyntaxUID in JPEG


def _decode(dataset: pydicom.Dataset) -> np.ndarray:
    dataset.SamplesPerPixel, dataset.NumberOfFrames = _samples(dataset), 1
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in (*JPEG, *JPEGLSTransferSyntaxes):
        return _decode_jpeg(dataset, syntax)
    plugin = "" if syntax in NATIVE else "pylibjpeg"  # pydicom's own RLE decoder has no size limit
    # The run-length decoder, in Rust, prints a panic before it raises.
    with without_lines(_ANY_LINE) if syntax == RLELossless else nullcontext():
        return pixel_array(dataset, raw=True, index=0, decoding_plugin=plugin, correct_unused_bits=False)


def _decode_jpeg(dataset: pydicom.Dataset, syntax: str) -> np.ndarray:
    """Decode JPEG with libjpeg-turbo or JPEG-LS with CharLS, into an array of the checked size or not at all."""
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    rows, columns, components, bits = _jpeg_size(frame)
    values = np.empty((rows, columns, components)[: 2 if components == 1 else 3], np.uint8 if bits <= 8 else np.uint16)
    if _END in frame[max(frame.find(_SCAN), 0) :]:
        _decode_jpeg_into(values, frame, syntax)
    else:
        values = _decode_without_end(values, frame, syntax)
    if not dataset.PixelRepresentation:
        return values
    shift = 0 if syntax in JPEG else 8 * values.itemsize - bits  # JPEG-LS: the sign is the stream's highest bit
    return values.view(f"i{values.itemsize}") << shift >> shift


def _decode_jpeg_into(values: np.ndarray, frame: bytes, syntax: str) -> None:
    if syntax not in JPEG:
        imagecodecs.jpegls_decode(frame, out=values)
    elif values.ndim == 2:
        imagecodecs.jpeg8_decode(frame, out=values)
    else:  # as they are stored, whichever colours they are meant to be
        imagecodecs.jpeg8_decode(frame, colorspace="RGB", outcolorspace="RGB", out=values)


def _decode_without_end(values: np.ndarray, frame: bytes, syntax: str) -> np.ndarray:
    """Decode a stream that lacks its end marker, if it is complete otherwise.

    JPEG decoders fill up what is missing without an error. So JPEG is decoded with different bytes put behind it: they
    change the image unless the stream is complete. The JPEG-LS decoder reports streams that end too early.

    Raises:
        Skip: `truncated`.
    """
    bare = frame.rstrip(b"\0")  # padding, which may also stand in for data that are missing
    if syntax in JPEG:
        ends = [bare + tail + _END for tail in _TAILS]
    else:
        ends = [bare + _END, bare + b"\0" + _END, bare + b"\0\0" + _END]
    found = []
    for stream in ends:
        try:
            _decode_jpeg_into(values, stream, syntax)
            found.append(values.copy())
        except imagecodecs.JpeglsError:
            continue
    complete = len(found) == len(_TAILS) and np.array_equal(*found) if syntax in JPEG else bool(found)
    if not complete:
        raise Skip("truncated", "the compressed pixels end too early, without an end marker")
    return found[0]


def _without_unused_bits(values: np.ndarray, bits: int, dataset: pydicom.Dataset) -> np.ndarray:
    """Return the lowest `bits` of the values, with their sign (DICOM PS3.5, 8.1.1).

    The bits above may be zeros, the sign, an overlay, part of a padding value, or have no meaning at all. They are cut
    off, unless the header understates the bits and they belong to the values. Cutting them off would then make large
    steps where the values pass a power of two, so the image would be rougher than before, or look like noise; bits
    without a meaning make the image rougher, or leave it as it is.
    """
    shift = 8 * values.dtype.itemsize - bits
    lowest, highest = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if values.dtype.kind == "i" else (0, (1 << bits) - 1)
    if shift <= 0 or (values.min() >= lowest and values.max() <= highest):
        return values
    kept = (values << shift) >> shift
    odd = (kept != values) & ((kept & ((1 << bits) - 1)) != values)
    if odd.any() and not _has_embedded_overlay(dataset):
        padding = [int(n) % (1 << 16) for n in numbers(dataset, "PixelPaddingValue")]
        padded = np.isin(values[odd].astype(np.int64) % (1 << 16), padding).all()
        if not padded and _is_spoiled(values, kept):
            raise Skip("conflict", f"pixels exceed the {bits} bits that the header states")
    return kept


def _is_spoiled(values: np.ndarray, kept: np.ndarray) -> bool:
    """Return whether values become rougher, or noise, if their high bits are cut off."""
    before, after = _roughness(values), _roughness(kept)
    noise = after > kept.std()  # 2.3 standard deviations if all values are equally likely everywhere
    return before < after or bool(noise and 2 * before / values.std() < after / kept.std())


def _roughness(values: np.ndarray) -> float:
    """Return the mean step between neighbouring pixels of a row and of a column."""
    values = values.astype(np.int32)
    return sum(float(np.abs(np.diff(values, axis=axis)).mean()) for axis in (0, 1) if values.shape[axis] > 1)


def _has_embedded_overlay(dataset: pydicom.Dataset) -> bool:
    return any(element.value for element in (dataset.get((g, 0x0102)) for g in range(0x6000, 0x6020, 2)) if element)


def _check_pixel_data(dataset: pydicom.Dataset) -> None:
    """Raise `Skip` if the pixel data are absent, too short, or encoded in another way than the header states."""
    data = dataset.get("PixelData")
    if not data:
        raise Skip("truncated", "the file ends before or within its pixel data")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:  # a file without a meta header: the encoding that pydicom found
        implicit, little = dataset.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax = syntax if little else ExplicitVRBigEndian
    if syntax in NATIVE:
        _check_native(dataset, data)
        return
    if syntax not in ENCAPSULATED:
        raise Skip("unreadable", _NO_SYNTAX)
    if not data.startswith(_ITEM):
        raise Skip("unreadable", "the pixel data are not encapsulated as their transfer syntax demands")
    if struct.unpack("<I", data[4:8])[0] > 4 or len(dataset.get("ExtendedOffsetTable") or b"") > 8:
        raise Skip("multi_frame", "the table of offsets lists several frames")
    frame = get_frame(data, 0, number_of_frames=1)
    if syntax == RLELossless:
        _check_rle(dataset, frame)
        return
    if syntax in JPEG2000TransferSyntaxes:
        _check_stream(dataset, *(stream := _j2k_size(frame)))
        if _END not in frame[max(frame.find(_DATA), 0) :]:
            dataset.PixelData = encapsulate([_ended_j2k(frame)])
    else:
        _check_stream(dataset, *(stream := _jpeg_size(frame)))
    if syntax in JPEG and stream[3] <= 8:  # decoded to 8 bits, whatever the header allocates
        dataset.BitsAllocated, dataset.BitsStored = 8, min(dataset.BitsStored, 8)


def _samples(dataset: pydicom.Dataset) -> int:
    return 3 if number(dataset, "SamplesPerPixel", 1) == 3 else 1


def _check_native(dataset: pydicom.Dataset, data: bytes) -> None:
    samples = _samples(dataset)
    if samples == 3 and word(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # the chroma of every second pixel
    expected = samples * dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    if data.startswith(_ITEM) and dataset["PixelData"].is_undefined_length:
        raise Skip("unreadable", "the pixel data are encapsulated, their transfer syntax is not")
    if len(data) < expected:
        if samples > 1 and len(data) * samples >= expected:
            raise Skip("colour", "the pixel data hold fewer samples than the header states")
        raise Skip("truncated", f"{len(data)} bytes of pixel data are too few")
    if len(data) >= 2 * expected + 2:
        raise Skip("conflict", "the pixel data hold at least twice the pixels that the header states")


def _check_rle(dataset: pydicom.Dataset, frame: bytes) -> None:
    segments = struct.unpack("<I", frame[:4].ljust(4, b"\0"))[0]
    if len(frame) < 64 or segments != _samples(dataset) * dataset.BitsAllocated // 8:
        raise Skip("conflict", "the run-length segments are not the bytes of one image")


def _check_stream(dataset: pydicom.Dataset, rows: int, columns: int, components: int, bits: int) -> None:
    """Raise `Skip` if a compressed stream and the header contradict each other."""
    check_pixels(rows, columns)
    if components != _samples(dataset):
        raise Skip("colour", f"the compressed pixels have {components} components")
    if (rows, columns) != (dataset.Rows, dataset.Columns):
        raise Skip("conflict", f"the compressed pixels are {rows} x {columns}, the header says otherwise")
    if not 2 <= bits <= dataset.BitsAllocated:
        raise Skip("conflict", f"the compressed pixels have {bits} bits, the header says otherwise")


def _jpeg_size(stream: bytes) -> tuple[int, int, int, int]:
    """Return rows, columns, components and bits from a JPEG or JPEG-LS stream's frame header."""
    place = 2
    while stream[:2] == b"\xff\xd8" and place + 10 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD9:  # no segment, so it could hide a frame header in what follows
            break
        elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, rows, columns, components = struct.unpack(">BHHB", stream[place + 4 : place + 10])
            return rows, columns, components, bits
        else:
            place += 2 + struct.unpack(">H", stream[place + 2 : place + 4])[0]
    raise Skip("unreadable", "the compressed pixels have no JPEG frame header")


def _codestream(stream: bytes) -> int:
    """Return where a JPEG 2000 codestream starts: at 0, or in a JP2 file's boxes."""
    place = 0
    if stream[4:8] == b"jP  ":
        while stream[place + 4 : place + 8] != b"jp2c":
            length = struct.unpack(">I", stream[place : place + 4].ljust(4, b"\0"))[0]
            if length < 8 or place + length >= len(stream):
                raise Skip("unreadable", "the compressed pixels lie in no JP2 box")
            place += length
        place += 8
    if stream[place : place + 4] != b"\xff\x4f\xff\x51" or place + 43 > len(stream):
        raise Skip("unreadable", "the compressed pixels have no JPEG 2000 size header")
    return place


def _j2k_size(stream: bytes) -> tuple[int, int, int, int]:
    """Return rows, columns, components and bits from a JPEG 2000 stream, bare or in a JP2 file's boxes."""
    place = _codestream(stream)
    right, bottom, left, top = struct.unpack(">4I", stream[place + 8 : place + 24])
    components, bits, *steps = struct.unpack(">HBBB", stream[place + 40 : place + 45].ljust(5, b"\0"))
    if steps != [1, 1] and components == 1:
        raise Skip("unreadable", "the compressed pixels are subsampled")
    return max(bottom - top, 0), max(right - left, 0), components, (bits & 0x7F) + 1


def _ended_j2k(stream: bytes) -> bytes:
    """Return a JPEG 2000 stream with the end marker that it lacks, if all its tiles are there (ISO/IEC 15444-1, A.4.2).

    Raises:
        Skip: `truncated`.
    """
    place = _codestream(stream)
    right, bottom, _, _, width, height, left, top = struct.unpack(">8I", stream[place + 8 : place + 40])
    tiles, found = -(-(right - left) // max(width, 1)) * -(-(bottom - top) // max(height, 1)), {}
    place += 2
    while stream[place : place + 1] == b"\xff" and place + 12 <= len(stream):
        length = struct.unpack(">H", stream[place + 2 : place + 4])[0]
        if stream[place + 1] == 0x90:  # a part of a tile
            tile, length = struct.unpack(">HI", stream[place + 4 : place + 10])
            if length < 14 or place + length > len(stream):
                break
            found.setdefault(tile, []).append(stream[place + 11])  # the number of its parts, or 0
            place += length
        else:
            place += 2 + length
    filled = len(stream.rstrip(b"\0")) < place < len(stream)  # padding may stand in for the end of the data
    if (
        filled
        or len(found) != tiles
        or any(len(parts) < max(parts) for parts in found.values())
        or stream[place:].strip(b"\0")
    ):
        raise Skip("truncated", "the compressed pixels end too early, without an end marker")
    return stream[:place] + _END
