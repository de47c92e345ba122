"""A trained student as one file for others: our safetensors, or the public format of the field (cirtorch).

In: a run folder with a student, and perhaps whitenings learned for it. Out: a file that holds the student's
weights bit for bit, and what is in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from shared.checkpoints import load_network, read_notes, save_network
from shared.digest import sha256_of_file
from shared.network import CheckpointError, DescriptorNet
from shared.public_export import Whitenings, save_public_network
from shared.public_networks import read_learned_whitenings
from student_trainer.errors import InvalidInput, StorageFailed
from student_trainer.run_folder import RunFolder

Form: TypeAlias = Literal["cirtorch", "safetensors"]
SUFFIXES: dict[Form, str] = {"cirtorch": ".pth", "safetensors": ".safetensors"}


@dataclass(frozen=True)
class Exported:
    """A written file."""

    file: Path
    form: Form
    sha256: str
    """Of the whole file."""
    network: str
    """Such as ``resnet34-gem``."""
    dimension: int
    whitenings: tuple[str, ...]
    """``<data set>/<ss or ms>``, one scale or several."""


def export_student(run: RunFolder, out: Path, whitening: Path | None = None) -> Exported:
    """Write the student of a run.

    Args:
        run: trained.
        out: replaced if it exists; its suffix says the form. In the public one (``.pth``) the start of the
            file's SHA-256 is put before the suffix, as the published files have it.
        whitening: a file of whitenings, ours or a public network's; for the public form, which holds them.

    Raises:
        InvalidInput: no student, no folder for the file, a suffix of no form, an architecture that the
            public format does not know, or whitenings that cannot be read or do not fit.
        StorageFailed: the file cannot be written.
    """
    chosen = _form(out)
    if whitening is not None and chosen != "cirtorch":
        raise InvalidInput(
            "A safetensors file holds the network alone. Leave out --whitening, and hand on "
            f"{whitening} beside it."
        )
    if not out.parent.is_dir():
        raise InvalidInput(f"There is no folder {out.parent}: make it, or name another one with --out.")
    network = _student(run)
    try:
        learned = read_learned_whitenings(whitening) if whitening is not None else {}
        file = _write(run, network, out, chosen, learned)
        digest = sha256_of_file(file)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    except OSError as error:
        raise StorageFailed(
            f"{out} cannot be written: {error.strerror or error}. Name another folder with --out."
        ) from None
    names = tuple(f"{dataset}/{kind}" for dataset, kinds in learned.items() for kind in kinds)
    return Exported(file, chosen, digest, network.spec.name, network.dim, names)


def _form(out: Path) -> Form:
    found = next((form for form, suffix in SUFFIXES.items() if suffix == out.suffix), None)
    if found is None:
        endings = " and ".join(f"{form} in {suffix}" for form, suffix in SUFFIXES.items())
        raise InvalidInput(f"--out names {out.name}: files in the form {endings}.")
    return found


def _student(run: RunFolder) -> DescriptorNet:
    if not run.student.is_file():
        raise InvalidInput(
            f"There is no student in {run.root} yet. Train one with: student-trainer train --run {run.root}"
        )
    try:
        return load_network(run.student)
    except CheckpointError as error:
        raise InvalidInput(str(error)) from None


def _write(run: RunFolder, network: DescriptorNet, out: Path, form: Form, learned: Whitenings) -> Path:
    if form == "cirtorch":
        return save_public_network(network, out, learned)
    save_network(network, out, read_notes(run.student))
    return out
