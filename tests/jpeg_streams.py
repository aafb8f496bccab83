"""Small encoders of the JPEG family, written from the standards, as references for the decoders under test.

Each takes grey levels and returns a compressed stream. They are slow and meant for small images.
"""

import struct

import numpy as np


class _Bits:
    """Writer of bits, most significant first; after a byte 0xFF it stuffs a zero `bit` or a zero `byte`."""

    def __init__(self, stuffing):
        self.bits, self.stuffing = [], stuffing

    def put(self, value, count):
        self.bits += [(value >> i) & 1 for i in range(count - 1, -1, -1)]

    def to_bytes(self, fill):
        out, place = bytearray(), 0
        while place < len(self.bits):
            free = 7 if self.stuffing == "bit" and out and out[-1] == 0xFF else 8
            chunk = self.bits[place : place + free]
            place += free
            byte = 0
            for bit in chunk + [fill] * (free - len(chunk)):
                byte = byte * 2 + bit
            out.append(byte)
            if self.stuffing == "byte" and byte == 0xFF:
                out.append(0)
        if self.stuffing == "bit" and out and out[-1] == 0xFF:
            out.append(0)
        return bytes(out)


def segment(marker, payload):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def frame_header(marker, values, bits):
    return segment(marker, struct.pack(">BHHB3B", bits, *values.shape, 1, 1, 0x11, 0))


def _put_category(writer, difference):
    """Write a difference as its category, in 5 bits, followed by the remaining bits."""
    category = abs(difference).bit_length()
    writer.put(category, 5)
    if category < 16:
        writer.put(difference if difference > 0 else difference + (1 << category) - 1, category)


_CATEGORIES = bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))  # a Huffman table of 17 codes of 5 bits each


def jpeg_lossless(values, bits, predictor=1):
    """Encode by ITU-T T.81, process 14: Huffman-coded differences from one of the seven predictors."""
    x = values.astype(np.int64)
    writer = _Bits("byte")
    for i, j in np.ndindex(x.shape):
        a, b = x[i, j - 1] if j else 0, x[i - 1, j] if i else 0
        c = x[i - 1, j - 1] if i and j else 0
        if i and j:
            p = [None, a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1][predictor]
        else:
            p = a if j else b if i else 1 << (bits - 1)
        difference = int(x[i, j] - p + 32768) % 65536 - 32768
        _put_category(writer, 32768 if difference == -32768 else difference)
    return b"".join(
        [
            b"\xff\xd8",
            frame_header(0xC3, values, bits),
            segment(0xC4, b"\0" + _CATEGORIES),
            segment(0xDA, bytes([1, 1, 0, predictor, 0, 0])),
            writer.to_bytes(1),
            b"\xff\xd9",
        ]
    )


def jpeg_dct_flat(blocks, bits):
    """Encode by ITU-T T.81, baseline (8 bits) or extended sequential (12): uniform blocks of 8 x 8 pixels, lossless.

    Args:
        blocks: The value of each block; the image has eight times as many rows and columns.
        bits: 8 or 12.
    """
    writer, last = _Bits("byte"), 0
    for value in blocks.astype(int).ravel():
        level = 8 * (int(value) - (1 << (bits - 1)))  # the DC coefficient of a uniform block
        _put_category(writer, level - last)
        writer.put(0, 1)  # no further coefficient
        last = level
    image = np.empty((8 * blocks.shape[0], 8 * blocks.shape[1]))
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\0" + bytes([1] * 64)),
            frame_header(0xC0 if bits == 8 else 0xC1, image, bits),
            segment(0xC4, b"\x00" + bytes([0, 0, 0, 0, 16] + [0] * 11) + bytes(range(16))),
            segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"),
            segment(0xDA, bytes([1, 1, 0, 0, 63, 0])),
            writer.to_bytes(1),
            b"\xff\xd9",
        ]
    )


_RUNS = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15]


class _JpegLs:
    """ITU-T T.87: prediction, context modelling and Golomb codes; variables are named as in the standard."""

    def __init__(self, bits, near):
        self.near, self.step, self.maximum = near, 2 * near + 1, (1 << bits) - 1
        self.range = (self.maximum + 2 * near) // self.step + 1
        self.qbpp = (self.range - 1).bit_length()
        self.limit = 2 * (max(2, bits) + max(8, bits))
        factor = (min(self.maximum, 4095) + 128) // 256
        self.thresholds, low = [], near + 1
        for t in (factor + 2 + 3 * near, 4 * factor + 3 + 5 * near, 17 * factor + 4 + 7 * near):
            low = t if low <= t <= self.maximum else low
            self.thresholds.append(low)
        self.A = [max(2, (self.range + 32) // 64)] * 367
        self.N, self.B, self.C, self.negative = [1] * 367, [0] * 367, [0] * 365, [0] * 367
        self.run_index, self.writer = 0, _Bits("bit")

    def clamp(self, value):
        return min(max(value, 0), self.maximum)

    def quantise(self, error):
        return (error + self.near) // self.step if error > 0 else -((self.near - error) // self.step)

    def wrap(self, error):
        error += self.range if error < 0 else 0
        return error - self.range if error >= (self.range + 1) // 2 else error

    def golomb(self, value, k, limit):
        if value >> k < limit - self.qbpp - 1:
            self.writer.put(1, (value >> k) + 1)
            self.writer.put(value, k)
        else:
            self.writer.put(1, limit - self.qbpp)
            self.writer.put(value - 1, self.qbpp)

    def region(self, gradient):
        level = sum(abs(gradient) >= t for t in self.thresholds)
        level += abs(gradient) > self.near
        return level if gradient > 0 else -level

    def regular(self, x, a, b, c, gradients):
        q = [self.region(g) for g in gradients]
        context = 81 * q[0] + 9 * q[1] + q[2]
        sign = -1 if context < 0 else 1
        context = abs(context)
        p = min(a, b) if c >= max(a, b) else max(a, b) if c <= min(a, b) else a + b - c
        p = self.clamp(p + sign * self.C[context])
        error = self.quantise(sign * (x - p))
        rebuilt = self.clamp(p + sign * error * self.step)
        error = self.wrap(error)
        k = 0
        while self.N[context] << k < self.A[context]:
            k += 1
        if self.near == 0 and k == 0 and 2 * self.B[context] <= -self.N[context]:
            mapped = 2 * error + 1 if error >= 0 else -2 * (error + 1)
        else:
            mapped = 2 * error if error >= 0 else -2 * error - 1
        self.golomb(mapped, k, self.limit)
        self.learn(context, error)
        return rebuilt

    def learn(self, q, error):
        self.B[q] += error * self.step
        self.A[q] += abs(error)
        if self.N[q] == 64:
            self.A[q], self.N[q] = self.A[q] >> 1, 32
            self.B[q] = self.B[q] >> 1 if self.B[q] >= 0 else -((1 - self.B[q]) >> 1)
        self.N[q] += 1
        if self.B[q] <= -self.N[q]:
            self.B[q] = max(self.B[q] + self.N[q], -self.N[q] + 1)
            self.C[q] = max(self.C[q] - 1, -128)
        elif self.B[q] > 0:
            self.B[q] = min(self.B[q] - self.N[q], 0)
            self.C[q] = min(self.C[q] + 1, 127)

    def run(self, length, ended):
        while length >= 1 << _RUNS[self.run_index]:
            self.writer.put(1, 1)
            length -= 1 << _RUNS[self.run_index]
            self.run_index = min(self.run_index + 1, 31)
        if ended:
            if length:
                self.writer.put(1, 1)
        else:
            self.writer.put(0, 1)
            self.writer.put(length, _RUNS[self.run_index])

    def interruption(self, x, a, b):
        kind = int(abs(a - b) <= self.near)
        p, q = (a, 366) if kind else (b, 365)
        sign = -1 if not kind and a > b else 1
        error = self.quantise(sign * (x - p))
        rebuilt = self.clamp(p + sign * error * self.step)
        error = self.wrap(error)
        weight, k = self.A[q] + (self.N[q] >> 1) * kind, 0
        while self.N[q] << k < weight:
            k += 1
        mostly_negative = 2 * self.negative[q] >= self.N[q]
        flip = (error < 0) if k else (error < 0 and mostly_negative) or (error > 0 and not mostly_negative)
        mapped = 2 * abs(error) - kind - int(flip)
        self.golomb(mapped, k, self.limit - _RUNS[self.run_index] - 1)
        self.negative[q] += error < 0
        self.A[q] += (mapped + 1 - kind) >> 1
        if self.N[q] == 64:
            self.A[q], self.N[q], self.negative[q] = self.A[q] >> 1, 32, self.negative[q] >> 1
        self.N[q] += 1
        self.run_index = max(self.run_index - 1, 0)
        return rebuilt

    def encode(self, values):
        rows, columns = values.shape
        above, first_above = [0] * columns, 0  # the previous line as decoded, and its left neighbour
        decoded = []
        for line in values.tolist():
            here, left, j = [], above[0], 0
            while j < columns:
                a, b = here[-1] if here else left, above[j]
                c = above[j - 1] if j else first_above
                d = above[min(j + 1, columns - 1)]
                gradients = (d - b, b - c, c - a)
                if all(abs(g) <= self.near for g in gradients):
                    length = 0
                    while j + length < columns and abs(line[j + length] - a) <= self.near:
                        length += 1
                    here += [a] * length
                    j += length
                    self.run(length, j == columns)
                    if j < columns:
                        here.append(self.interruption(line[j], a, above[j]))
                        j += 1
                else:
                    here.append(self.regular(line[j], a, b, c, gradients))
                    j += 1
            first_above, above = left, here
            decoded.append(here)
        return self.writer.to_bytes(0), np.array(decoded)


def jpeg_ls(values, bits, near=0):
    """Encode by ITU-T T.87: return the stream and the values that it decodes to, which differ by up to `near`."""
    data, decoded = _JpegLs(bits, near).encode(values.astype(int))
    scan = segment(0xDA, bytes([1, 1, 0, near, 0, 0]))
    return b"\xff\xd8" + frame_header(0xF7, values, bits) + scan + data + b"\xff\xd9", decoded
