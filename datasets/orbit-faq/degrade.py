#!/usr/bin/env python3
"""Derive a worse sibling of a model: every weight matrix crudely rounded to a few bits. Needs no package.

It stands for the silent regression, such as a careless quantisation, that leaves the questions everybody checks intact.
The result is deterministic: the same weights and the same bits give the same bytes on every machine.
"""

import argparse
import hashlib
import json
import shutil
import struct
import sys
from array import array
from pathlib import Path

DEFAULT_BITS = 3
WEIGHTS = "model.safetensors"


def to_float(raw: int) -> float:
    """Return the number that a bfloat16 pattern stands for: it is the upper half of a 32-bit float."""
    value: float = struct.unpack("<f", struct.pack("<I", raw << 16))[0]
    return value


def to_bfloat16(value: float) -> int:
    """Return the bfloat16 pattern nearest to a number, ties to even."""
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def crush(data: bytes, bits: int) -> bytes:
    """Round one bfloat16 matrix to evenly spaced levels between minus and plus its largest weight.

    One scale for the whole matrix is what makes it crude. Equal weights round alike, so each pattern is rounded once.
    """
    weights = array("H", data)
    if sys.byteorder == "big":
        weights.byteswap()
    values = {raw: to_float(raw) for raw in set(weights)}
    scale = max(map(abs, values.values())) / (2 ** (bits - 1) - 1)
    if scale == 0:
        return data
    rounded = {raw: to_bfloat16(round(value / scale) * scale) for raw, value in values.items()}
    weights = array("H", map(rounded.__getitem__, weights))
    if sys.byteorder == "big":
        weights.byteswap()
    return weights.tobytes()


def degrade(blob: bytes, bits: int) -> bytes:
    """Return a safetensors file with every matrix rounded; vectors, such as norms, keep their weights."""
    if bits < 2:
        raise ValueError("bits must be 2 or more")
    start = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:start])
    out = bytearray(blob)
    for name, spec in header.items():
        if name == "__metadata__" or len(spec["shape"]) != 2:
            continue
        if spec["dtype"] != "BF16":
            raise ValueError(f"{name} is {spec['dtype']}, expected BF16")
        begin, end = (start + offset for offset in spec["data_offsets"])
        out[begin:end] = crush(blob[begin:end], bits)
    return bytes(out)


def degrade_folder(src: Path, dst: Path, bits: int = DEFAULT_BITS) -> str:
    """Copy a model folder with degraded weights and return their sha256."""
    blob = degrade((src / WEIGHTS).read_bytes(), bits)
    dst.mkdir(parents=True, exist_ok=True)
    for path in sorted(src.iterdir()):
        if path.is_file() and path.name != WEIGHTS:
            shutil.copyfile(path, dst / path.name)
    (dst / WEIGHTS).write_bytes(blob)
    return hashlib.sha256(blob).hexdigest()


def main() -> None:
    """Parse the command line and write the degraded folder."""
    parser = argparse.ArgumentParser(description="Write a copy of a model folder with crudely rounded weights.")
    parser.add_argument("src", type=Path, help="model folder to read")
    parser.add_argument("dst", type=Path, help="folder to write")
    parser.add_argument("--bits", type=int, default=DEFAULT_BITS, help="bits per weight (default: %(default)s)")
    args = parser.parse_args()
    print(f"{degrade_folder(args.src, args.dst, args.bits)}  {args.dst / WEIGHTS}")


if __name__ == "__main__":
    main()
