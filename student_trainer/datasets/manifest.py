"""The list of a user's photographs: from a CSV manifest, or from a folder of sub-folders.

In: a CSV file with the header ``path[,label][,labels][,split][,query]`` (further columns are ignored), or a
folder. Out: entries in the manifest's order, or sorted by path. No image is opened here. Several labels of an
image stand in the column ``labels``, with semicolons between them.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from student_trainer.errors import InvalidInput

_COLUMNS = ("path", "label", "labels", "split", "query")
_TRUE = frozenset({"1", "true", "yes"})
_FALSE = frozenset({"", "0", "false", "no"})
_BETWEEN_LABELS = ";"

Label: TypeAlias = str | tuple[str, ...]
"""What an image shows; all that it shows, where images have several labels."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One photograph as its owner lists it; the file may turn out to be missing or unreadable."""

    path: Path
    label: Label | None = None
    """None, and never an empty one, where its owner does not say."""
    split: str | None = None
    is_query: bool = False
    listed_as: str = field(default="", compare=False)
    """Its path as its owner wrote it; nothing where it was found and not listed."""


def read_manifest(path: Path, split: str | None = None) -> list[Entry]:
    """Entries of a CSV manifest, in its order, or those of one split.

    A relative path counts from the manifest's folder; if nothing is there, from ``images/`` beside it.

    A path may stand there twice, as a query and in the database, but not with two labels or in two splits.

    Raises:
        InvalidInput: the manifest cannot be read, a row is malformed or contradicts another (the message
            names its line), or nothing is listed (for this split).
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            entries = list(_consistent(_rows(csv.DictReader(file, strict=True), path), path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"The manifest {path} cannot be read: {error}.") from None
    if not entries:
        raise InvalidInput(f"The manifest {path} lists no images.")
    if split is None:
        return entries
    chosen = [entry for entry in entries if entry.split == split]
    if not chosen:
        splits = ", ".join(sorted({entry.split or "(none)" for entry in entries}))
        raise InvalidInput(f"The manifest {path} has no images of split {split!r}; its splits: {splits}.")
    return chosen


def scan_folder(root: Path) -> list[Entry]:
    """Every regular file under ``root`` that is not hidden, sorted by path.

    Files are not told apart by their suffix: some public photograph sets have none. The label is the
    first sub-folder's name; files directly in ``root`` have none. Links to folders are not followed.

    Raises:
        InvalidInput: no such folder, a folder that cannot be listed, or no files in it.
    """
    if not root.is_dir():
        raise InvalidInput(f"There is no folder {root}.")
    files = sorted(_files(root), key=lambda file: file.relative_to(root).parts)
    if not files:
        raise InvalidInput(f"The folder {root} holds no files.")
    return [Entry(file, label=_folder_label(file.relative_to(root))) for file in files]


def labelled_entries(path: Path, split: str | None = None) -> list[Entry]:
    """What a manifest lists (of one split), or a folder holds; raises as the two functions above.

    Raises:
        InvalidInput: also a split of a folder, which has none.
    """
    if not path.is_dir():
        return read_manifest(path, split)
    if split is not None:
        raise InvalidInput(f"{path} is a folder and has no splits: give a CSV manifest, or drop --split.")
    return scan_folder(path)


def _consistent(rows: Iterator[tuple[int, Entry]], manifest: Path) -> Iterator[Entry]:
    """The entries, if no file is said to be two things."""
    first: dict[Path, tuple[int, Entry]] = {}
    for line, entry in rows:
        before, same = first.setdefault(entry.path.resolve(), (line, entry))
        for what in ("label", "split"):
            said, says = getattr(same, what), getattr(entry, what)
            if said != says:
                raise InvalidInput(
                    f"The manifest {manifest}, line {line}: {entry.listed_as} has the {what} {says!r} here "
                    f"and {said!r} in line {before}."
                )
        yield entry


def _rows(reader: "csv.DictReader[str]", manifest: Path) -> Iterator[tuple[int, Entry]]:
    """Each entry with the number of its (last) line."""
    columns = list(reader.fieldnames or ())
    if "path" not in columns:
        found = ", ".join(columns) or "nothing"
        raise InvalidInput(
            f"The manifest {manifest} needs a header with a column 'path'; its first line holds: {found}."
        )
    twice = [name for name in _COLUMNS if columns.count(name) > 1]
    if twice:
        raise InvalidInput(f"The manifest {manifest} has two columns named {twice[0]!r}.")
    for row in reader:
        where = f"The manifest {manifest}, line {reader.line_num}"
        if None in row or None in row.values():
            raise InvalidInput(f"{where}: the number of fields is not that of the header.")
        listed = row["path"].strip()
        if not listed:
            raise InvalidInput(f"{where}: the path is empty.")
        if "\0" in listed:
            raise InvalidInput(f"{where}: the path holds a zero byte.")
        entry = Entry(
            path=_locate(manifest.parent, listed),
            label=_label(row, where),
            split=row.get("split", "").strip() or None,
            is_query=_flag(row.get("query", ""), where),
            listed_as=listed,
        )
        yield reader.line_num, entry


def _locate(folder: Path, text: str) -> Path:
    direct = folder / text
    beside = folder / "images" / text
    return beside if not direct.exists() and beside.exists() else direct


def _label(row: "dict[str, str]", where: str) -> Label | None:
    one, several = row.get("label", "").strip() or None, row.get("labels", "").strip() or None
    if several is None:
        return one
    if one is not None:
        raise InvalidInput(f"{where}: it has a label and labels; put all of them into 'labels'.")
    names = (name.strip() for name in several.split(_BETWEEN_LABELS))
    return tuple(dict.fromkeys(name for name in names if name)) or None


def _flag(text: str, where: str) -> bool:
    value = text.strip().lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise InvalidInput(f"{where}: query is {text!r}, expected 0 or 1.")


def _files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root, onerror=_cannot_list):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            file = Path(folder) / name
            # Broken links are kept, to be named as unreadable; pipes and sockets are not files.
            if not name.startswith(".") and (file.is_file() or file.is_symlink()):
                yield file


def _cannot_list(error: OSError) -> None:
    raise InvalidInput(f"The folder {error.filename} cannot be listed: {error.strerror}.")


def _folder_label(relative: Path) -> str | None:
    return relative.parts[0] if len(relative.parts) > 1 else None
