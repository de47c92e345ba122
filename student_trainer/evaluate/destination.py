"""Where an evaluation is written, and what it replaces: known before anything is measured.

In: the file that is to be written. Out: a refusal, or a sentence on standard error.
"""

from pathlib import Path
from tempfile import TemporaryFile

from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.evaluate.document import read_evaluation
from student_trainer.output import say
from student_trainer.run_folder import RunFolder


def destination(run: RunFolder, out: Path | None) -> Path:
    """The file to write; that one can be written beside it was tried.

    Args:
        run: its own evaluation is meant where nothing else is.
        out: another file.

    Raises:
        InvalidInput: no file can stand at ``out``, or one does that is no evaluation.
        StorageFailed: nothing can be written there.
    """
    if out is not None:
        _check(out)
    file = out or run.evaluation
    try:
        with TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise StorageFailed(
            f"{file} cannot be written: {error.strerror}. Nothing was measured. Name a file elsewhere with "
            "--out FILE."
        ) from None
    return file


def say_what_is_replaced(file: Path) -> None:
    """Name the older evaluation that stands there, if any, and how to keep it."""
    if file.is_file():
        say(f"This replaces {_what(file)} in {file}. To keep that, write this one elsewhere: --out FILE.")


def _check(out: Path) -> None:
    if out.is_dir() or not out.parent.is_dir():
        why = "is a folder" if out.is_dir() else f"cannot be written: there is no folder {out.parent}"
        raise InvalidInput(f"--out {out} {why}. Name a file in a folder that is there.")
    if out.is_file():
        try:
            read_evaluation(out)
        except InvalidInput:
            raise InvalidInput(
                f"--out {out} is there and no evaluation, so it is not replaced. Name another file."
            ) from None


def _what(file: Path) -> str:
    try:
        former = read_evaluation(file).protocol
    except InvalidInput:
        return "what cannot be read as an evaluation"
    split = f", split {former.split}" if former.split else ""
    return f"the evaluation on {former.manifest}{split}"
