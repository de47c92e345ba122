"""The text files of public sets: some fields a line, where a wrong line is named by its number.

In: a file. Out: fields of text and whole numbers, or :class:`~student_trainer.errors.InvalidInput` that says
where something else stood.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from student_trainer.datasets.ground_truth_checks import stays_inside
from student_trainer.errors import InvalidInput

_SHOWN = 100
"""Characters of a line in a message."""


@dataclass(frozen=True)
class Line:
    """One line that is not empty."""

    file: Path
    number: int
    """Counted from 1."""
    fields: tuple[str, ...]

    @property
    def where(self) -> str:
        """For a message."""
        return f"{self.file}, line {self.number}"

    def whole(self, field: int, low: int, high: int, what: str) -> int:
        """A field as a number from ``low`` to ``high``.

        Raises:
            InvalidInput: it is none.
        """
        text = self.fields[field]
        # int() would also take underscores, signs and digits of other scripts.
        if not (text.isascii() and text.isdigit() and len(text) < 16 and low <= int(text) <= high):
            raise InvalidInput(f"{self.where}: {text[:_SHOWN]!r} is no {what} from {low:,} to {high:,}.")
        return int(text)

    def path(self, field: int) -> str:
        """A field as a path below the folder of images; backslashes are taken for slashes.

        Raises:
            InvalidInput: it leads elsewhere, or no file can have such a name.
        """
        text = self.fields[field].replace("\\", "/")
        if not stays_inside(text) or not PurePosixPath(text).parts:
            raise InvalidInput(f"{self.where}: {text[:_SHOWN]!r} is no path below the folder of images.")
        return text


def read_text(path: Path) -> str:
    """A text file as it is.

    Raises:
        InvalidInput: it cannot be read, or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is no text in UTF-8, from byte {error.start} on.") from None


def read_lines(path: Path, form: str, *, header: bool = False) -> Iterator[Line]:
    """The lines of a file with as many fields as ``form`` has words; the last field may hold spaces.

    Args:
        path: the file; empty lines are passed over.
        form: the names of the fields, as in ``image_id class_id path``.
        header: whether these names stand in the first line, too.

    Raises:
        InvalidInput: the file cannot be read, or a line or the header has another form.
    """
    names = form.split()
    for number, text in enumerate(read_text(path).split("\n"), 1):
        fields = text.strip().split(maxsplit=len(names) - 1)
        if header and number == 1:
            if fields != names:
                raise InvalidInput(f"{path}, line 1: expected {form!r}, found {text.strip()[:_SHOWN]!r}.")
        elif fields and len(fields) != len(names):
            raise InvalidInput(f"{path}, line {number}: expected {form!r}, found {text.strip()[:_SHOWN]!r}.")
        elif fields:
            yield Line(path, number, tuple(fields))


def by_number(path: Path, form: str, high: int, what: str) -> Mapping[int, Line]:
    """Lines by their first field, a number from 1 to ``high``.

    Raises:
        InvalidInput: as :func:`read_lines`; also numbers that repeat.
    """
    found: dict[int, Line] = {}
    for line in read_lines(path, form):
        number = line.whole(0, 1, high, what)
        if number in found:
            raise InvalidInput(
                f"{line.where}: {what} {number} stands in line {found[number].number} already."
            )
        found[number] = line
    return found
