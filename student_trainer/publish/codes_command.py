"""The verb ``codes``: images as binary codes, by a student that was trained with a hash layer.

In: a run folder, and images by any source that ``plan`` takes. Out: one file of packed codes.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from student_trainer.output import emit
from student_trainer.progress import progress
from student_trainer.run_folder import RunFolder


def codes(
    *,
    run: Annotated[Path, typer.Option(help="Run folder, trained with --objective dch or csq.")],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="NAME.npz: codes and paths, for numpy; NAME.bin: the codes alone, and NAME.bin.json beside "
            "it. The ending chooses.",
        ),
    ],
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="A folder of images.")] = None,
    manifest: Annotated[Path | None, typer.Option(metavar="FILE", help="A CSV list.")] = None,
    image_list: Annotated[
        Path | None, typer.Option("--image-list", metavar="FILE", help="A text file, one path a line.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A public set, such as cifar10.")
    ] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder of data sets.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Use only this split of the manifest; of a public set: test, unless you say so, as in "
            "`evaluate`."
        ),
    ] = None,
    scales: Annotated[str, typer.Option(help="Image scales, such as 1,0.7071,0.5.")] = "1",
    image_size: Annotated[
        int | None, typer.Option(help="Longest side in px, of whole images; default: as in training.", min=16)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the binary codes of images, packed in bits: eight bytes an image for 64 of them.

    What is interrupted continues: descriptors are kept in the run's cache.
    """
    from student_trainer.acquire.sources import open_source
    from student_trainer.datasets.labelled.catalogue import TEST
    from student_trainer.evaluate.contestants import line_up
    from student_trainer.evaluate.document import STUDENT
    from student_trainer.evaluate.scales import parse_scales
    from student_trainer.publish.code_files import check_name, write_codes
    from student_trainer.publish.codes import encode

    folder = RunFolder.existing(run, "train --run {} --objective csq --manifest LABELLED")
    chosen_scales = parse_scales(scales)
    check_name(out)
    source = open_source(
        images=images,
        manifest=manifest,
        image_list=image_list,
        dataset=dataset,
        root=root,
        split=TEST if dataset is not None and split is None else split,
        options=("--images DIR", "--manifest FILE", "--image-list FILE", "--dataset NAME"),
    )
    contestants = {one.name: one for one in line_up(folder, None, (), image_size, None)}
    if out.exists():
        print(f"This replaces {out}. To keep that, name another file with --out.", file=sys.stderr)
    count = len(source.entries)
    with progress("Describing", count, "images") as bar:
        made = encode(
            folder, contestants[STUDENT], source, chosen_scales, device=device, on_images=bar.advance
        )
    write_codes(made, out)
    emit(
        {"file": str(out), "source": source.words, **made.document},
        f"{count:,} codes of {made.bits} bits, {made.codes.nbytes:,} bytes: {source.words}. Written: {out}",
        as_json=json,
    )
