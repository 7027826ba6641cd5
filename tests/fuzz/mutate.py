"""Spoils valid files at random: bytes, the tokens of texts, and what HDF5 and npz files are built of."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np

EXTREMES = (
    *(
        "0",
        "-1",
        "1",
        "2",
        "-0.0",
        "0.5",
        "1e400",
        "-1e400",
        "1e308",
        "nan",
        "inf",
        "65536",
        "4294967296",
        "10" + "0" * 17,
    ),
    *(
        "1" + "0" * 40,
        "9" * 5000,
        "0x_",
        "1_0",
        "1:1:1",
        "true",
        "null",
        "~",
        '""',
        "[]",
        "{}",
        "()",
        "²",
        "\u0661",
        "0o9",
    ),
)
WORDS = (
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        ";",
        "=",
        "#",
        "\n",
        "\r",
        "\t",
        "\x00",
        "\ufeff",
        "\x1b[2J",
        "é",
        "'",
        '"',
    ),
    *(
        "&a ",
        "*a",
        "<<: ",
        "!!python/object:os.system ",
        "!!int ",
        "!!binary ",
        "? ",
        "- ",
        "| ",
        "> ",
        "---\n",
        "%YAML 9\n",
    ),
    *("range(", "list(", "dict(", "[0] * ", "** ", "for i in ", "lambda: ", "import os\n", "__import__('os')", "x = "),
    *("../../", "/dev/zero", "~0", "snsSaveChanSubset=0:999999999999", "-", "--", ":", "1:2", "\\", "${HOME}"),
)
_MOST_BYTES = 1_500_000  # repeated repetitions would grow to gigabytes
_TOKEN = re.compile(rb"[0-9.+\-eE]+|\w+|\s+|.", re.DOTALL)


def spoiled(rng: np.random.Generator, content: bytes, textual: bool) -> bytes:
    """`content` after one mutation or some."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 6]))):
        content = _of_tokens(rng, content) if textual and rng.random() < 0.75 else _of_bytes(rng, content)
        content = content[:_MOST_BYTES]
    return content


def _of_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    size = len(content)
    start = int(rng.integers(size + 1))
    stop = min(size, start + int(rng.choice([1, 2, 4, 8, 64, 1000])))
    span = content[start:stop]
    match int(rng.integers(7)):
        case 0:
            return content[:start] + bytes(each ^ 1 << int(rng.integers(8)) for each in span[:1]) + content[start + 1 :]
        case 1:
            return content[:start] + content[stop:]
        case 2:
            return content[:stop] + span * int(rng.integers(1, 4)) + content[stop:]
        case 3:
            return content[:start]
        case 4:
            return content[:start] + rng.bytes(len(span)) + content[stop:]
        case 5:
            return content[:start] + bytes([int(rng.choice([0, 1, 127, 128, 255]))]) * len(span) + content[stop:]
        case _:
            target = int(rng.integers(size + 1))
            return content[:target] + span + content[target:]


def _of_tokens(rng: np.random.Generator, content: bytes) -> bytes:
    tokens = _TOKEN.findall(content)
    if not tokens:
        return str(rng.choice(WORDS)).encode()
    place = int(rng.integers(len(tokens)))
    numbers = [index for index, token in enumerate(tokens) if token[:1].isdigit()]
    match int(rng.integers(7)):
        case 0 | 1 if numbers:
            tokens[int(rng.choice(numbers))] = str(rng.choice(EXTREMES)).encode()
        case 2:
            tokens[place] = str(rng.choice(WORDS + EXTREMES)).encode()
        case 3:
            tokens.insert(place, str(rng.choice(WORDS)).encode() * int(rng.choice([1, 1, 2, 30, 3000])))
        case 4:
            other = int(rng.integers(len(tokens)))
            tokens[place], tokens[other] = tokens[other], tokens[place]
        case 5:
            lines = content.splitlines(keepends=True)
            line = int(rng.integers(len(lines)))
            lines[line : line + 1] = [lines[line]] * int(rng.choice([0, 2, 2, 50]))
            return b"".join(lines)
        case _:
            tokens[place : place + int(rng.integers(1, 5))] = []
    return b"".join(tokens)


# Arrays as they may be in place of others. Claims of more than a file holds are made where the format lets one.


def strange_array(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    values = np.array(like)
    if values.dtype.kind not in "biuf":
        return values if rng.random() < 0.5 else np.arange(3.0)
    match int(rng.integers(8)):
        case 0:
            return values.astype(str(rng.choice(["i1", "u8", "f2", "f4", "c16", "?", "S3", ">i8", ">f4"])))
        case 1:
            return values[: len(values) // 2] if values.ndim else np.array([])
        case 2:
            return values[None] if rng.random() < 0.5 else values.ravel()
        case 3 if values.size and values.dtype.kind in "iuf":
            flat = values.reshape(-1)
            extremes = [0, -1, 1, 2**62, 65536] if flat.dtype.kind in "iu" else [np.nan, np.inf, -1e300, 1e300, 0, -1]
            flat[int(rng.integers(flat.size))] = np.array(rng.choice(extremes)).astype(flat.dtype)
            return flat.reshape(values.shape)
        case 4:
            return np.array(str(rng.choice(EXTREMES[:20])))
        case 5:
            return np.concatenate([values, values]) if values.ndim else values
        case 6:
            return np.empty((0, *values.shape[1:]), values.dtype if values.dtype.kind != "O" else float)
        case _:
            return values[::-1] if values.ndim else np.array(float("nan"))


def spoiled_npz(rng: np.random.Generator, content: bytes) -> bytes:
    """An npz with other arrays, other headers, or other bytes."""
    if rng.random() < 0.3:
        return spoiled(rng, content, textual=False)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    out = io.BytesIO()
    method = int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2], p=[0.5, 0.4, 0.1]))
    chosen = str(rng.choice(list(members)))
    match int(rng.integers(5)):
        case 0:
            del members[chosen]
        case 1 | 2:
            changed = io.BytesIO()
            np.save(changed, strange_array(rng, np.load(io.BytesIO(members[chosen]))))
            members[chosen] = changed.getvalue()
        case 3:
            members[chosen] = _with_header(rng, members[chosen])
        case _:
            members[chosen] = spoiled(rng, members[chosen], textual=False)
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return spoiled(rng, out.getvalue(), textual=False) if rng.random() < 0.1 else out.getvalue()


def spoiled_npy(rng: np.random.Generator, content: bytes) -> bytes:
    return _with_header(rng, content) if rng.random() < 0.5 else spoiled(rng, content, textual=False)


def _with_header(rng: np.random.Generator, content: bytes) -> bytes:
    """An npy whose header is another text of the same kind."""
    length = int.from_bytes(content[8:10], "little")
    header = spoiled(rng, content[10 : 10 + length].rstrip(), textual=True)
    if rng.random() < 0.4:
        shape = str(
            rng.choice(["(1000000000000,)", "(-1,)", "(True,)", "(2**62, 4)", "(0, 99999999999)", "()", "(1e9,)"])
        )
        kind = str(rng.choice(["<f8", "|O", "<U0", "<U999999999", "V8", "<i8", "|b1"]))
        header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return content[:8] + min(len(header), 65535).to_bytes(2, "little") + header[:65535] + content[10 + length :]


def spoiled_hdf5(rng: np.random.Generator, path: Path) -> None:
    """Change a valid file of driftcli in place: what it is built of, or its bytes."""
    if rng.random() < 0.7:
        with h5py.File(path, "r+") as file:
            for _ in range(int(rng.integers(1, 3))):
                _of_tree(rng, file)
    if rng.random() < 0.4:
        path.write_bytes(spoiled(rng, path.read_bytes(), textual=False))


def _of_tree(rng: np.random.Generator, file: h5py.File) -> None:
    names: list[str] = []
    file.visit(names.append)
    holders = [file, *(file[name] for name in names)]
    with_attributes = [each for each in holders if len(each.attrs)]
    if rng.random() < 0.35 and with_attributes:
        holder = with_attributes[0] if rng.random() < 0.5 else with_attributes[int(rng.integers(len(with_attributes)))]
        _of_attributes(rng, holder)
        return
    name = str(rng.choice(names)) if names else "peaks"
    thing = file[name] if names else None
    like = (
        thing[()] if isinstance(thing, h5py.Dataset) and thing.shape is not None and thing.size < 10_000 else np.ones(3)
    )
    if thing is not None:
        del file[name]
    match int(rng.integers(10)):
        case 0:
            return
        case 1:
            file[name] = h5py.SoftLink("/" if rng.random() < 0.5 else f"/{rng.choice(names or ['x'])}")
        case 2:
            file[name] = h5py.ExternalLink(str(rng.choice(["other.h5", "/dev/zero", "../x.h5"])), "/peaks")
        case 3:
            file.create_group(name)
        case 4:
            shape = (int(rng.choice([10**6, 10**9, 10**12])),) * int(rng.choice([1, 1, 1, 2]))
            file.create_dataset(name, shape, "f8", chunks=(1000,) * len(shape), compression="gzip")
        case 5:
            file.create_dataset(name, (10 ** int(rng.integers(3, 15)),), "f8", fillvalue=1.0)
        case 6:
            layout = h5py.VirtualLayout((10,), "f8")
            layout[:] = h5py.VirtualSource("other.h5", "data", (10,))
            file.create_virtual_dataset(name, layout)
        case 7:
            file.create_dataset(name, (4,), "f8", external=[("/dev/zero", 0, 32)])
        case 8:
            file[name] = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
        case _:
            strange = strange_array(rng, np.asarray(like) if not isinstance(like, bytes) else np.ones(2))
            file[name] = strange.astype("S") if strange.dtype.kind in "UO" else strange


def _of_attributes(rng: np.random.Generator, holder: h5py.HLObject) -> None:
    name = str(rng.choice(list(holder.attrs)))
    value = holder.attrs[name]
    match int(rng.integers(7)):
        case 0:
            del holder.attrs[name]
        case 1:
            holder.attrs[name] = rng.choice([0.0, -1.0, np.nan, np.inf, 1e300, 1e18, 5e-324])
        case 2:
            holder.attrs[name] = int(rng.choice([0, -1, 1, 2**62, 65536, 2**31]))
        case 3:
            holder.attrs[name] = np.arange(3)
        case 4:
            holder.attrs[name] = h5py.Empty("f8")
        case 5 if isinstance(value, str):
            text = spoiled(rng, value.encode(), textual=True)[:60_000].replace(b"\x00", b"")
            holder.attrs[name] = text.decode("utf-8", "replace")
        case _:
            holder.attrs[name] = str(rng.choice(["", "x", "[" * 5000, "1", "int16", "\x1b[2J"]))
