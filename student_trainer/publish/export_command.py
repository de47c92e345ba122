"""The verb ``export``: the student of a run as a file for others.

In: a run folder with a student. Out: the file, and on standard output its name, hash and contents.
"""

from pathlib import Path
from typing import Annotated

import typer

from student_trainer.output import emit
from student_trainer.run_folder import RunFolder


def export(
    *,
    run: Annotated[Path, typer.Option(help="Run folder.")],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="NAME.safetensors, for any student; NAME.pth, written as NAME-HASH.pth, for whole ResNets "
            "and VGG16 (cirtorch). The ending chooses.",
        ),
    ],
    whitening: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Whitenings learned for it, to go along in a cirtorch file."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the student as one file, bit for bit: our safetensors, or the field's public format (cirtorch).

    teacher-service serve --checkpoint FILE serves either.
    """
    from student_trainer.publish.export import export_student

    exported = export_student(RunFolder.existing(run), out, whitening)
    result = {
        "file": str(exported.file),
        "format": exported.form,
        "sha256": exported.sha256,
        "network": exported.network,
        "dimension": exported.dimension,
        "whitenings": list(exported.whitenings),
    }
    lines = [
        f"{exported.network}, descriptors of {exported.dimension} values, SHA-256 {exported.sha256}.",
        *(f"With a learned whitening: {name}" for name in exported.whitenings),
        f"Written: {exported.file}",
    ]
    emit(result, "\n".join(lines), as_json=json)
