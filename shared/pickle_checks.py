"""What a PyTorch file may hold beside naming no code, so that a small file cannot take much memory.

In: the file before PyTorch reads it, and the content afterwards. Out: the file as PyTorch may read it, or
:class:`Unfit`. The unpickler itself is PyTorch's, see :mod:`shared.tensor_files`.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

_ZIP = b"PK\x03\x04"
"""How PyTorch tells its two forms apart."""
_LONGEST_KEY = 40
"""Characters of each part of a name in a message."""


class Unfit(ValueError):
    """A file holds, or claims, something that no network needs."""


def opened(path: Path) -> BinaryIO:
    """The file, to be closed; of a zip the records, written once more in memory.

    A second copy, because two readers can see two different archives in one file: PyTorch gets the one that
    was checked here.

    Raises:
        Unfit: a record of the zip is compressed or there twice, or they claim more bytes than the file has.
        OSError, RuntimeError, zipfile.BadZipFile: it cannot be read, or is damaged.
    """
    file = path.open("rb")
    if file.read(len(_ZIP)) != _ZIP:
        file.seek(0)
        return file
    with file, zipfile.ZipFile(file) as archive:
        _check_records(archive.infolist(), path.stat().st_size)
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as checked:
            for record in archive.infolist():
                checked.writestr(record.filename, archive.read(record))
    copy.seek(0)
    return copy


def check_values(content: Any, file_bytes: int) -> None:
    """Look at every tensor and array in the dictionaries, lists, tuples and sets of a file of this size.

    Raises:
        Unfit: one is not dense, not in memory, quantised, or larger than what the file holds of it; or an
            array holds objects. The message has its name.
    """
    for name, value in _leaves(content):
        if isinstance(value, Tensor) and (fault := _fault(value)):
            raise Unfit(f"{name} is {fault}. Only dense tensors that hold all of their values are accepted.")
        if isinstance(value, np.ndarray) and (value.dtype.hasobject or value.nbytes > file_bytes):
            raise Unfit(
                f"{name} is an array of {value.nbytes:,} bytes of type {value.dtype}. Only arrays of numbers "
                f"are accepted, none larger than the file, which has {file_bytes:,}."
            )


def _check_records(records: list[zipfile.ZipInfo], file_bytes: int) -> None:
    compressed = next((one.filename for one in records if one.compress_type != zipfile.ZIP_STORED), None)
    if compressed is not None:
        raise Unfit(f"its record {compressed[:100]!r} is compressed, which torch.save never does.")
    if len({one.filename for one in records}) != len(records):
        raise Unfit("two of its records have one name.")
    claimed = sum(one.file_size for one in records)
    if claimed > file_bytes:
        raise Unfit(f"its records claim {claimed:,} bytes, but the file has {file_bytes:,}.")


def _leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """What is no container, by names such as ``state_dict.pool.p``; what is shared comes once."""
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("content", content)]
    while waiting:
        name, value = waiting.pop()
        if not isinstance(value, dict | list | tuple | set | frozenset):
            yield name, value
        elif id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            start = "" if value is content else f"{name}."
            waiting.extend((f"{start}{str(key)[:_LONGEST_KEY]}", item) for key, item in items)


def _fault(tensor: Tensor) -> str | None:
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"a tensor of the layout {'nested' if tensor.is_nested else tensor.layout}"
    if tensor.device.type != "cpu":
        return f"a tensor on the device {tensor.device.type}, without values"
    if tensor.is_quantized:
        return f"quantised ({tensor.dtype})"
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        return (
            f"a tensor of {tensor.nbytes:,} bytes, of which there are {tensor.untyped_storage().nbytes():,}"
        )
    return None
