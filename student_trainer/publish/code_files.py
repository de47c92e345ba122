"""Binary codes as a file for others; ``docs/codes.md`` describes the form.

In: packed codes, the images that they are of, and how they were made. Out: ``NAME.npz``; or ``NAME.bin``, the
codes and nothing else, with ``NAME.bin.json`` beside it. Both are read back here, also when strangers made
them: what a file says of itself is checked before memory is taken for it.
"""

import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from shared.digest import JsonValue, canonical_json
from shared.whole_files import write_whole
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.hamming.packing import Codes, bytes_of, check_codes

FORMAT = "ration-codes/1"
NPZ, BIN, BESIDE = ".npz", ".bin", ".bin.json"
_FIXED = ("format", "bits", "bytes", "images")
_DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, OverflowError, EOFError, SyntaxError, MemoryError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What damaged bytes lead to in the libraries that read them; RuntimeError includes recursion too deep, and
kinds of archives that Python does not read."""


@dataclass(frozen=True)
class CodeFile:
    """What the file holds."""

    codes: Codes
    """uint8 [n, ceil(bits / 8)]"""
    bits: int
    paths: tuple[str, ...]
    """Of the n images."""
    about: Mapping[str, JsonValue] = field(default_factory=dict)
    """How the codes were made: the student's digest, its objective, sizes and scales."""

    def __post_init__(self) -> None:
        check_codes(self.codes, self.bits)
        if len(self.paths) != len(self.codes):
            raise ValueError(f"{len(self.codes)} codes and {len(self.paths)} paths do not belong together.")

    @property
    def document(self) -> dict[str, JsonValue]:
        """Everything but codes and paths."""
        return {
            "format": FORMAT,
            "bits": self.bits,
            "bytes": bytes_of(self.bits),
            "images": len(self.codes),
            **self.about,
        }


def check_name(path: Path) -> None:
    """Raises InvalidInput where a file of that name cannot hold codes, or its folder is not there."""
    if path.suffix not in (NPZ, BIN):
        raise InvalidInput(
            f"--out names {path.name}: codes are written as NAME{NPZ} (numpy, with the paths) or NAME{BIN} "
            f"(the codes alone, and NAME{BESIDE} beside it)."
        )
    if not path.parent.is_dir():
        raise InvalidInput(f"There is no folder {path.parent}: make it, or name another one with --out.")


def write_codes(file: CodeFile, path: Path) -> None:
    """Write it, whole or not at all; the same codes give the same bytes.

    Raises:
        InvalidInput: the name's ending is of no form.
        StorageFailed: it cannot be written.
    """
    check_name(path)
    try:
        if path.suffix == NPZ:
            write_whole(path, _npz(file))
        else:
            beside = {**file.document, "paths": list(file.paths)}
            write_whole(path.with_suffix(BESIDE), canonical_json(beside) + b"\n")
            write_whole(path, file.codes.tobytes())
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written: {error.strerror or error}. Name another folder with --out."
        ) from None


def read_codes(path: Path) -> CodeFile:
    """What :func:`write_codes` wrote.

    Raises:
        InvalidInput: no such file, or not one of codes.
    """
    check_name(path)
    try:
        return _read_npz(path) if path.suffix == NPZ else _read_bin(path)
    except _DAMAGE as error:
        raise InvalidInput(
            f"{path} holds no codes that can be read ({type(error).__name__}: {str(error)[:200]}). Write it "
            "again with: student-trainer codes"
        ) from None


def _npz(file: CodeFile) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        codes=file.codes,
        paths=np.array(file.paths, dtype=np.str_),
        about=np.array(canonical_json(file.document).decode()),
    )
    return buffer.getvalue()


def _read_npz(path: Path) -> CodeFile:
    with zipfile.ZipFile(path) as archive:
        about = _array(archive, "about", "U", 0)
        codes, paths = _array(archive, "codes", "u", 2), _array(archive, "paths", "U", 1)
    return _checked(codes, _document(str(about)), paths.tolist())


def _array(archive: zipfile.ZipFile, name: str, kind: str, dimensions: int) -> Any:
    """One array of the file; none takes more memory than the file has bytes."""
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed, as codes are never written")
    content = io.BytesIO(archive.read(member))
    version = npy.read_magic(content)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(content)
    if dtype.kind != kind or len(shape) != dimensions or min(shape, default=0) < 0:
        raise ValueError(f"{name} is of type {dtype} and shape {shape}")
    if prod(shape) * dtype.itemsize != len(content.getbuffer()) - content.tell():
        raise ValueError(f"{name} has not as many bytes as its shape {shape} says")
    content.seek(0)
    return npy.read_array(content, allow_pickle=False)


def _read_bin(path: Path) -> CodeFile:
    document = _document(path.with_suffix(BESIDE).read_bytes())
    paths = document.pop("paths")
    shape = (_whole(document, "images"), _whole(document, "bytes"))
    if path.stat().st_size != prod(shape):
        raise ValueError(f"it has {path.stat().st_size:,} bytes, and should have {shape[0]:,} x {shape[1]:,}")
    return _checked(np.frombuffer(path.read_bytes(), np.uint8).reshape(shape), document, paths)


def _document(text: str | bytes) -> dict[str, Any]:
    document = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"it is not of the format {FORMAT!r}")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it says {name} where a number should be")


def _whole(document: Mapping[str, Any], key: str) -> int:
    value = document[key]
    if type(value) is not int or value < 0:  # a bool is none
        raise ValueError(f"{key} is {value!r}, expected a whole number from 0 up")
    return value


def _checked(codes: Codes, document: Mapping[str, Any], paths: Any) -> CodeFile:
    """The file, if what it says of itself fits what it holds."""
    if not isinstance(paths, list) or not all(isinstance(one, str) for one in paths):
        raise ValueError("its paths are no list of texts")
    said = (_whole(document, "images"), _whole(document, "bytes"))
    if said != codes.shape:
        raise ValueError(f"it speaks of {said[0]:,} codes of {said[1]:,} bytes, and holds {codes.shape}")
    about = {key: value for key, value in document.items() if key not in _FIXED}
    return CodeFile(codes, _whole(document, "bits"), tuple(paths), about)
