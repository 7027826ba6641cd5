"""The one door to `.npz` and `.npy` files: no pickles, no zip bombs, and no memory that only a header asks for."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

KINDS = "biufU"  # of arrays that are read: numbers and texts
_MOST_GROWN = 100  # times the size of its file that an array may have
_ALWAYS_BYTES = 1 << 26  # which no memory minds
_MOST_MEMBERS = 1 << 16
_LAST_CHARACTER, _SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that numpy writes


def read_npz(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz`, or those of them that have one of the `names`.

    Raises FileNotFoundError, and ValueError for a file that is none or claims what it can't hold.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            wanted = {name: each for name, each in members.items() if names is None or name in names}
            _require_honest(list(wanted.values()), len(archive.infolist()), path.stat().st_size)
            arrays = {}
            for name, member in wanted.items():
                with archive.open(member) as file:
                    arrays[name] = _read(file, name, member.file_size)
            return arrays
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile and the header, which is Python to numpy, can raise anything
        raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from error


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an `.npy`. Raises FileNotFoundError or ValueError as `read_npz` does."""
    try:
        with path.open("rb") as file:
            return _read(file, path.name, path.stat().st_size)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path.name}: {' '.join(str(error).split())[:300] or type(error).__name__}") from error


def numbers(values: NDArray[Any], kinds: str, dtype: Any) -> NDArray[Any]:
    """An array in another type, itself where it has that already.

    Raises ValueError where its own is not of the `kinds`, as "iu".
    """
    if values.dtype.kind not in kinds:
        raise ValueError(f"an array holds {values.dtype}, which are not the numbers that belong there")
    return values.astype(dtype, copy=False)


def _require_honest(members: list[zipfile.ZipInfo], count: int, file_bytes: int) -> None:
    if count > _MOST_MEMBERS:
        raise ValueError(f"it holds {count} arrays")
    if any(each.compress_type not in _METHODS or each.flag_bits & 1 for each in members):
        raise ValueError("it is compressed or encrypted in a way that numpy does not write")
    claimed_bytes = sum(each.file_size for each in members)
    if claimed_bytes > _MOST_GROWN * file_bytes + _ALWAYS_BYTES:
        raise ValueError(f"it claims {claimed_bytes:,} bytes of arrays in {file_bytes:,}")


def _read(file: IO[bytes], name: str, num_bytes: int) -> NDArray[Any]:
    """An array of a file of that many bytes, which its header must account for."""
    version = npy.read_magic(file)
    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"{name} is of version {version}")
    shape, by_column, dtype = headers[version](file)
    if dtype.kind not in KINDS or dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"{name} holds {dtype}, no numbers or texts")
    claimed_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed_bytes != num_bytes - file.tell():
        raise ValueError(f"{name} claims {claimed_bytes:,} bytes of values, which are not there")
    values = np.empty(math.prod(shape), dtype)
    rest = values.view(np.uint8).data
    while rest:
        piece = file.read(min(len(rest), 1 << 22))
        if not piece:
            raise ValueError(f"{name} ends before its last value")
        rest[: len(piece)] = piece
        rest = rest[len(piece) :]
    if dtype.kind == "U":
        _require_characters(values, name)
    return values.reshape(shape, order="F" if by_column else "C")


def _require_characters(values: NDArray[Any], name: str) -> None:
    """Raise ValueError for numbers that are no characters: numpy takes any, and Python stops at some of them."""
    codes = values.view(np.dtype(np.uint32).newbyteorder(values.dtype.byteorder))
    if ((codes > _LAST_CHARACTER) | ((codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1]))).any():
        raise ValueError(f"{name} is no text")
