"""Builders of broken files: each returns a function that takes a folder, writes a file into it and returns its path."""

import io
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pydicom
from jpeg_streams import jpeg_lossless, jpeg_ls
from mammogram_files import VALUES, write
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEG2000Lossless


def raw(data, name="file"):
    """Return a builder of a file with the given bytes."""

    def build(folder):
        (folder / name).write_bytes(data() if callable(data) else data)
        return folder / name

    return build


def changed(**changes):
    """Return a builder of a mammogram with changed elements."""

    def build(folder):
        with pydicom.config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the writer warns about invalid values
            return write(folder / "view.dcm", **changes)

    return build


def edited(edit, **changes):
    """Return a builder of a mammogram whose bytes `edit` changes."""

    def build(folder):
        path = write(folder / "view.dcm", **changes)
        path.write_bytes(edit(bytearray(path.read_bytes())))
        return path

    return build


def place(whole, group, element):
    """Return the position of a little-endian element."""
    return bytes(whole).index(struct.pack("<HH", group, element), 132)


def put(group, element, offset, data):
    """Return an edit that overwrites bytes at an offset from the start of an element."""

    def edit(whole):
        start = place(whole, group, element) + offset
        whole[start : start + len(data)] = data
        return whole

    return edit


def retyped(keyword, vr, value):
    """Return a builder of a mammogram with an element of another VR."""

    def build(folder):
        path = write(folder / "view.dcm")
        with pydicom.config.disable_value_validation():
            ds = pydicom.dcmread(path)
            ds.add_new(keyword, vr, value)
            ds.save_as(path)
        return path

    return build


def resyntaxed(syntax, written=ExplicitVRLittleEndian):
    """Return a builder of a mammogram whose meta header declares a wrong transfer syntax."""

    def build(folder):
        path = write(folder / "view.dcm", syntax=written)
        whole, old = path.read_bytes(), written.encode() + b"\0" * (len(written) % 2)
        new = syntax.encode() + b"\0" * (len(syntax) % 2)
        element = b"\x02\0\x10\0UI"
        assert element + struct.pack("<H", len(old)) + old in whole
        path.write_bytes(
            whole.replace(element + struct.pack("<H", len(old)) + old, element + struct.pack("<H", len(new)) + new, 1)
        )
        return path

    return build


def pydicom_file(name, **changes):
    """Return a builder of one of pydicom's own test files, with changed elements."""

    def build(folder):
        path = get_testdata_file(name, download=False)
        if changes:
            ds = pydicom.dcmread(path)
            for keyword, value in changes.items():
                setattr(ds, keyword, value)
            path = folder / "view.dcm"
            ds.save_as(path)
        return path

    return build


def png_or_tiff(values, name="L_CC.png", **form):
    """Return a builder of a PNG or TIFF file."""

    def build(folder):
        Image.fromarray(values).save(folder / name, **form)
        return folder / name

    return build


def png_of(width, height, bits, kind, data):
    """Return a PNG file with any header and any pixel data."""

    def chunk(name, payload):
        return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def zipped(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("view.dcm", data)
    return buffer.getvalue()


def deep_sequence(whole):
    """Nest 3,000 sequences of undefined length before the pixels."""
    opened = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    start = place(whole, 0x0008, 0x0060)
    return whole[:start] + opened * 3000 + whole[start:]


def twice(whole):
    """Insert a second number of rows before the first."""
    start = place(whole, 0x0028, 0x0010)
    return whole[:start] + b"\x28\0\x10\0US\2\0\x40\0" + whole[start:]


def frame(edit):
    """Return a builder of a mammogram whose JPEG 2000 stream `edit` changes."""

    def build(folder):
        path = write(folder / "other.dcm", syntax=JPEG2000Lossless)
        stream = pydicom.encaps.get_frame(pydicom.dcmread(path).PixelData, 0, number_of_frames=1)
        return write(folder / "view.dcm", syntax=JPEG2000, pixels=edit(bytearray(stream)))

    return build


def overwrite(start, data):
    """Return an edit that overwrites bytes of a stream."""

    def edit(stream):
        stream[start : start + len(data)] = data
        return bytes(stream)

    return edit


def declare_largest(stream):
    """Return a JPEG stream that declares 65535 x 65535 pixels."""
    return stream[:7] + b"\xff" * 4 + stream[11:]


NOISE = np.random.default_rng(4).bytes(41 * 32)
GREY = (VALUES // 16).astype(np.uint8)
COLOUR = np.dstack([GREY, GREY, GREY // 2])
LARGE = np.zeros((3000, 3000), np.uint16)
LOSSLESS_STREAM, LS_STREAM = jpeg_lossless(VALUES, 12), jpeg_ls(VALUES, 12)[0]
