"""Where an evaluation is written, and what it replaces: said before anything is measured.

In: the file that is to be written. Out: a sentence on standard error, or a refusal.
"""

import sys
from pathlib import Path

from student_trainer.errors import InvalidInput
from student_trainer.evaluate.document import read_evaluation
from student_trainer.run_folder import RunFolder


def destination(run: RunFolder, out: Path | None) -> Path:
    """The file to write; which older evaluation it will replace is said, and how to keep that.

    Args:
        run: its own evaluation is meant where nothing else is.
        out: another file.

    Raises:
        InvalidInput: no file can stand at ``out``, or one does that is no evaluation.
    """
    if out is not None:
        _check(out)
    file = out or run.evaluation
    if file.is_file():
        print(
            f"This replaces {_what(file)} in {file}. To keep that, write this one elsewhere: --out FILE.",
            file=sys.stderr,
        )
    return file


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
