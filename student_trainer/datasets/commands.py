"""The verb ``datasets``: what the public data sets need, and what of it is there.

In: command-line options. Out: results on standard output. Nothing is downloaded.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from student_trainer.errors import InvalidInput
from student_trainer.output import emit
from student_trainer.progress import progress

if TYPE_CHECKING:
    from student_trainer.datasets.known import KnownSet
    from student_trainer.datasets.labelled.catalogue import LabelledSet

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Where = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The folder of a benchmark (or its gnd_NAME file), or another set."),
]

datasets = typer.Typer(
    name="datasets",
    help="Say what the public data sets and networks need, and what is there. Downloads nothing.",
    invoke_without_command=True,
)


@datasets.callback()
def list_known(
    context: typer.Context,
    *,
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Look here, and say what is there.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what the public data sets and networks need, and what is there. Downloads nothing."""
    if context.invoked_subcommand is not None:
        if root is not None or json:
            raise InvalidInput(
                f"Give options after the verb: student-trainer datasets {context.invoked_subcommand} ..."
            )
        return
    from shared.public_networks import ADDRESS, PUBLISHED
    from student_trainer.datasets.known import KNOWN
    from student_trainer.datasets.labelled.catalogue import LABELLED

    if root is not None and not root.is_dir():
        raise InvalidInput(f"There is no folder {root}: name the one that the data sets are in.")
    sets = [_entry(known, root) for known in KNOWN.values()]
    sets += [_labelled_entry(known, root) for known in LABELLED.values()]
    networks = [
        {"name": name, "page": f"{ADDRESS}/{folder}/{name}", "path": _file(root, name)}
        for folder, names in PUBLISHED.items()
        for name in names
    ]
    lines = ["Nothing is downloaded for you. Data sets, each in a folder of its own:"]
    for entry in sets:
        lines += ["", *_set_lines(entry, root)]
    lines += ["", "Teachers of the public format; a file keeps its name, which states its hash:"]
    lines += [f"  {network['page']}{_state(network['path'], root)}" for network in networks]
    emit(
        {"root": str(root) if root else None, "sets": sets, "networks": networks},
        "\n".join(lines),
        as_json=json,
    )


@datasets.command()
def convert(where: Where, *, json: Json = False) -> None:
    """Write the ground truth of a benchmark as JSON, beside the pickle; other verbs do so by themselves."""
    from student_trainer.datasets.revisited import convert

    _require(where)
    benchmark, path = convert(where)
    result = {
        "name": benchmark.name,
        "protocol": benchmark.protocol,
        "images": len(benchmark.images),
        "queries": len(benchmark.queries),
        "path": str(path),
    }
    text = (
        f"{benchmark.name}: {result['images']:,} database images and {result['queries']:,} queries in {path}"
    )
    emit(result, text, as_json=json)


@datasets.command()
def check(where: Where, *, json: Json = False) -> None:
    """Check that every image of a data set is there, and that it is what was published.

    Exit codes: 0 everything is there; 2 images are missing, or counts are not as published (all is named).
    """
    from student_trainer.datasets import inspection

    _require(where)
    found = inspection.open_any(where)
    with progress("Looking for images", len(found.files), "files") as bar:
        result, text = inspection.check(found, bar.advance)
    emit(result, text, as_json=json)
    if not result["complete"]:
        raise typer.Exit(InvalidInput.exit_code)


@datasets.command()
def describe(where: Where, *, json: Json = False) -> None:
    """Count what a data set says of itself; looks at no image."""
    from student_trainer.datasets import inspection

    _require(where)
    emit(*inspection.describe(inspection.open_any(where)), as_json=json)


def _require(where: Path) -> None:
    """Tell a mistyped folder from one that lacks a file, and say of a known set what to download.

    Raises:
        InvalidInput: nothing is there.
    """
    from student_trainer.datasets.known import KNOWN, LISTED, missing_set
    from student_trainer.datasets.labelled.catalogue import find_labelled, labelled_in

    if where.exists():
        return
    if (name := labelled_in(where)) is not None:
        find_labelled(where, name)
    known = where.name in KNOWN
    raise InvalidInput(f"{where} does not exist. {missing_set(where, where.name) if known else LISTED}")


def _entry(known: "KnownSet", root: Path | None) -> dict[str, Any]:
    return {
        "name": known.name,
        "title": known.title,
        "holds": known.holds,
        "download": list(known.download),
        "layout": f"{known.name}/{known.index_file} and {known.name}/{known.image_folder}/; {known.layout}",
        "path": _folder(root, known.name),
    }


def _labelled_entry(known: "LabelledSet", root: Path | None) -> dict[str, Any]:
    return {
        "name": known.name,
        "title": known.title,
        "holds": known.holds,
        "download": list(known.download),
        "layout": f"{' or '.join(known.folders)}/; {known.layout}",
        "path": _labelled_folder(root, known.name),
    }


def _set_lines(entry: dict[str, Any], root: Path | None) -> list[str]:
    return [
        f"{entry['name']}: {entry['title']}{_state(entry['path'], root)}",
        f"  holds   {entry['holds']}",
        *(f"  get     {part}" for part in entry["download"]),
        f"  layout  {entry['layout']}",
    ]


def _state(path: str | None, root: Path | None) -> str:
    if root is None:
        return ""
    return f" - in {path}" if path else " - not there"


def _folder(root: Path | None, name: str) -> str | None:
    from student_trainer.datasets.known import find_set

    if root is None:
        return None
    try:
        return str(find_set(root, name))
    except InvalidInput:
        return None


def _labelled_folder(root: Path | None, name: str) -> str | None:
    from student_trainer.datasets.labelled.catalogue import find_labelled

    if root is None:
        return None
    try:
        return str(find_labelled(root, name))
    except InvalidInput:
        return None


def _file(root: Path | None, name: str) -> str | None:
    places = [] if root is None else [root / name, root / "networks" / name]
    return next((str(place) for place in places if place.is_file()), None)
