"""Image lists: a text file with the path of one image a line, as the public distractors have one.

In: the file, or a folder of distractors. Out: photographs in its order. No image is opened.
"""

from pathlib import Path

from student_trainer.datasets.known import DISTRACTORS, KNOWN
from student_trainer.datasets.manifest import Entry, scan_folder
from student_trainer.errors import InvalidInput

BESIDE = ("images", "jpg")
"""Folders beside the list in which a path is looked for, if it is not found from the list itself."""


def read_image_list(path: Path) -> list[Entry]:
    """The images that a list names; relative paths count from the list's folder, empty lines are passed over.

    As public lists give paths below their folder of images, a path that leads nowhere is looked for in
    ``images/`` and ``jpg/`` beside the list, too. What is listed twice is returned twice.

    Raises:
        InvalidInput: the list cannot be read, is no UTF-8, or lists nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InvalidInput(f"The image list {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"The image list {path} is no text in UTF-8, from byte {error.start} on."
        ) from None
    named = [line.strip() for line in lines if line.strip()]
    if not named:
        raise InvalidInput(f"The image list {path} lists no images; it has the path of one image a line.")
    if any("\0" in name for name in named):
        raise InvalidInput(f"The image list {path} is no text: it holds zero bytes.")
    return [Entry(_locate(path.parent, name), listed_as=name) for name in named]


def listed_distractors(where: Path) -> Path | None:
    """The public list of distractors in a folder, if it is there."""
    listed = where / KNOWN[DISTRACTORS].index_file
    return listed if listed.is_file() else None


def find_distractors(where: Path) -> list[Path]:
    """Of an image list, or of a folder with the public list, the images listed; of another folder all files.

    Raises:
        InvalidInput: as :func:`read_image_list` and :func:`~student_trainer.datasets.manifest.scan_folder`.
    """
    listed = where if where.is_file() else listed_distractors(where)
    return [entry.path for entry in (read_image_list(listed) if listed else scan_folder(where))]


def set_of_distractors(where: Path) -> str:
    """Of what set they are: the public one by its list or their folder's name, else the name given."""
    folder = where.resolve()
    listed = folder.stem if where.is_file() else folder.name
    return DISTRACTORS if listed_distractors(where) or listed == DISTRACTORS else folder.name


def _locate(folder: Path, name: str) -> Path:
    direct = folder / name
    if direct.exists():
        return direct
    return next((folder / beside / name for beside in BESIDE if (folder / beside / name).exists()), direct)
