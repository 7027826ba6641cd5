"""The one door to HDF5 files: what is behind a name is looked at before anything of it is read.

A file may come from anybody. Its header can claim a trillion rows, a link can lead to another file, an array can be of
any type; HDF5 itself follows and allocates. So readers take groups, arrays and attributes from here only, which raises
KeyError or ValueError for what no driftcli file holds; `schema.opened` turns these into an InputError.
"""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

NUMBERS, WHOLE = "iuf", "iu"  # kinds of numpy's dtypes
_MOST_TO_ONE = 1032  # what deflate makes of a byte at most
_MOST_GROWN = 100  # times the size of its file that an array may have: peaks and motions are noise in their last digits
_ALWAYS_BYTES = 1 << 26  # which no memory minds
_CHUNK_BYTES = 1 << 26  # HDF5 takes a chunk as a whole, however few of its rows are wanted
_TEXT_BYTES = 1 << 26
_ATTRIBUTE_BYTES = 1 << 20
_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF)
_COMPRESSING = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF)


def require_usual_sizes(file: h5py.File) -> None:
    """Raise ValueError unless addresses and lengths in the file have 8 bytes each, as in all that h5py writes."""
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise ValueError("its addresses or lengths do not have 8 bytes")


def subgroup(parent: h5py.Group, name: str) -> h5py.Group:
    """A group of `parent`, in the file itself."""
    found = _linked(parent, name)
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{name} is no group")
    return found


def dataset(group: h5py.Group, name: str, kinds: str, ndim: int) -> h5py.Dataset:
    """An array of numbers that can be read, whole or by rows, in no more memory than its file can mean.

    kinds: of its numbers, such as "iu"; ndim: the number of its dimensions.
    """
    found = _linked(group, name)
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{name} is no array")
    dtype = _dtype_of(found, name)
    if dtype.kind not in kinds or dtype.itemsize > 8:
        raise ValueError(f"{name} holds {dtype}, which are not the numbers that belong there")
    if found.shape is None or found.ndim != ndim:
        raise ValueError(f"{name} has {found.ndim} dimensions, not {ndim}")
    _require_stored(found, name, dtype.itemsize)
    return found


def array(group: h5py.Group, name: str, kinds: str, ndim: int, dtype: Any) -> NDArray[Any]:
    """All values of such an array."""
    values: NDArray[Any] = dataset(group, name, kinds, ndim)[()].astype(dtype)
    return values


def text(group: h5py.Group, name: str) -> str:
    """A text that is stored as an array of no dimension."""
    found = _linked(group, name)
    if not isinstance(found, h5py.Dataset) or found.shape != ():
        raise ValueError(f"{name} is no text")
    dtype = _dtype_of(found, name)
    if h5py.check_string_dtype(dtype) is None or dtype.itemsize > _TEXT_BYTES:
        raise ValueError(f"{name} is no text")
    _require_stored(found, name, dtype.itemsize)
    if dtype.kind == "O":
        _require_length(found, name)
    return str(found.asstr()[()])


def _require_length(found: h5py.Dataset, name: str) -> None:
    """Raise ValueError where a text of any length states one that its file can't hold: HDF5 makes room for it first.

    The value is its length in 4 bytes and where it is (HDF5 File Format Specification 3.0, IV.B, "Variable-length").
    """
    offset = found.id.get_offset()
    if offset is None:
        raise ValueError(f"{name} is stored in a way that driftcli does not write")
    with open(found.file.filename, "rb") as content:
        content.seek(offset)
        stated_bytes = int.from_bytes(content.read(4), "little")
    if stated_bytes > min(_TEXT_BYTES, found.file.id.get_filesize()):
        raise ValueError(f"{name} claims {stated_bytes:,} bytes of text, which are not in the file")


def number(holder: h5py.HLObject, name: str, default: float | None = None) -> float:
    """An attribute that is a finite number; `default` where it isn't there."""
    value = _attribute(holder, name, default)
    if not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
        raise ValueError(f"its {name} is no number")
    return float(value)


def integer(holder: h5py.HLObject, name: str, default: int | None = None) -> int:
    """An attribute that is a whole number."""
    value = _attribute(holder, name, default)
    if not isinstance(value, int | np.integer):
        raise ValueError(f"its {name} is no whole number")
    return int(value)


def word(holder: h5py.HLObject, name: str, default: str | None = None) -> str:
    """An attribute that is a text."""
    value = _attribute(holder, name, default)
    if not isinstance(value, str):
        raise ValueError(f"its {name} is no text")
    return value


def flag(holder: h5py.HLObject, name: str) -> bool:
    """An attribute that is true or false; false where it isn't there."""
    value = _attribute(holder, name, False)
    if not isinstance(value, bool | np.bool_ | np.integer):
        raise ValueError(f"its {name} is neither true nor false")
    return bool(value)


def _attribute(holder: h5py.HLObject, name: str, default: Any) -> Any:
    """The value of an attribute of no dimension."""
    if name not in holder.attrs:
        if default is None:
            raise KeyError(f"its {name} is missing")
        return default
    found = holder.attrs.get_id(name)
    if found.get_space().get_simple_extent_type() != h5py.h5s.SCALAR or found.get_storage_size() > _ATTRIBUTE_BYTES:
        raise ValueError(f"its {name} is not one value")
    try:
        return holder.attrs[name]
    except TypeError:  # HDF5 has types that numpy hasn't
        raise ValueError(f"its {name} is neither a number nor a text") from None


def _linked(group: h5py.Group, name: str) -> Any:
    """What is in the file itself under a name. Links to other names or files aren't followed."""
    if name not in group:
        raise KeyError(f"there is no {name}")
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link to another place")
    return group[name]


def _dtype_of(found: h5py.Dataset, name: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = found.dtype
        return dtype
    except TypeError:  # HDF5 has types that numpy hasn't
        raise ValueError(f"{name} holds no numbers") from None


def _require_stored(found: h5py.Dataset, name: str, itemsize: int) -> None:
    """Raise ValueError unless the values that the header claims can be in the file."""
    made_by = found.id.get_create_plist()
    if found.is_virtual or made_by.get_external_count():
        raise ValueError(f"the values of {name} are in another file")
    filters = [made_by.get_filter(index)[0] for index in range(made_by.get_nfilters())]
    compressions = [each for each in filters if each in _COMPRESSING]
    if not set(filters) <= set(_FILTERS) or len(compressions) > 1:
        raise ValueError(f"{name} is stored in a way that driftcli does not write")
    claimed_bytes, stored_bytes = math.prod(found.shape) * itemsize, found.id.get_storage_size()
    file_bytes = found.file.id.get_filesize()
    possible = stored_bytes * (_MOST_TO_ONE if compressions else 1)
    if stored_bytes > file_bytes or claimed_bytes > min(possible, _MOST_GROWN * file_bytes + _ALWAYS_BYTES):
        raise ValueError(f"{name} claims {claimed_bytes:,} bytes of values, which are not in the file")
    if found.chunks and math.prod(found.chunks) * itemsize > _CHUNK_BYTES:
        raise ValueError(f"{name} is stored in chunks of {math.prod(found.chunks) * itemsize:,} bytes")
