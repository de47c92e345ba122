"""Binary codes as a file for others; ``docs/codes.md`` describes the form.

In: packed codes, the images that they are of, and how they were made. Out: ``NAME.npz``; or ``NAME.bin``, the
codes and nothing else, with ``NAME.bin.json`` beside it. Both are read back here.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared.digest import JsonValue, canonical_json
from shared.tensor_files import write_whole
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.hamming.packing import Codes, bytes_of, check_codes

FORMAT = "ration-codes/1"
NPZ, BIN, BESIDE = ".npz", ".bin", ".bin.json"
_FIXED = ("format", "bits", "bytes", "images")


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
        codes, document, paths = _read_npz(path) if path.suffix == NPZ else _read_bin(path)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}, expected {FORMAT!r}")
        about = {key: value for key, value in document.items() if key not in _FIXED}
        return CodeFile(codes, int(document["bits"]), tuple(paths), about)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"{path} holds no codes that can be read ({error}). Write it again with: student-trainer codes"
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


def _read_npz(path: Path) -> tuple[Codes, dict[str, Any], list[str]]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["codes"], json.loads(str(arrays["about"])), arrays["paths"].tolist()


def _read_bin(path: Path) -> tuple[Codes, dict[str, Any], list[str]]:
    document = json.loads(path.with_suffix(BESIDE).read_bytes())
    paths = document.pop("paths")
    shape = (int(document["images"]), int(document["bytes"]))
    return np.frombuffer(path.read_bytes(), np.uint8).reshape(shape), document, paths
