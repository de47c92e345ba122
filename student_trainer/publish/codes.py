"""The binary codes of images by a run's student and the hash layer that was trained with it.

In: a run folder, image files. Out: packed codes, and what a reader has to know of their making. Descriptors
are kept in the run's cache while they are made: what is interrupted continues.
"""

from collections.abc import Callable

from shared.checkpoints import weights_digest
from shared.digest import JsonValue, float_text
from student_trainer.acquire.sources import Source
from student_trainer.errors import InvalidInput
from student_trainer.evaluate.contestant import Contestant, check_device, open_network
from student_trainer.evaluate.describing import Describer
from student_trainer.evaluate.hamming.hash_layers import codes_of
from student_trainer.publish.code_files import CodeFile
from student_trainer.run_folder import RunFolder


def encode(
    run: RunFolder,
    student: Contestant,
    images: Source,
    scales: tuple[float, ...] = (1.0,),
    *,
    device: str = "auto",
    on_images: Callable[[int], None] = lambda images: None,
) -> CodeFile:
    """The codes of the images, in their order.

    Args:
        run: with the hash layer; descriptors are kept in its cache.
        student: the run's, and how it is shown images.
        images: files, and the names that they go by.
        scales: image scales whose descriptors are combined.
        device: torch device, or ``auto``.
        on_images: called with the number of images done.

    Raises:
        InvalidInput: no hash layer was trained, it is not this student's, an image cannot be read, or there
            is no such device.
        StorageFailed: descriptors cannot be kept.
    """
    check_device(device)
    network = open_network(student)
    layer = student.hash_layer(network)
    if layer is None:
        raise InvalidInput(
            f"{run.root} has no hash layer, so its student makes no codes. Train one with: student-trainer "
            "train --objective csq --manifest LABELLED (or dch)."
        )
    describer = Describer(
        network,
        student.longest_side_px,
        scales,
        device,
        cache=run.cache,
        on_images=on_images,
        view=student.view,
    )
    about: dict[str, JsonValue] = {
        "bit_order": "first bit highest in the first byte",
        "network": network.spec.name,
        "student": weights_digest(network),
        "objective": student.objective,
        "preprocessing": describer.preprocessing.description(),
        "images_root": images.root.absolute().name,
        "scales": [float_text(scale) for scale in scales],
    }
    codes = codes_of(layer, describer.rows([entry.path for entry in images.entries]))
    return CodeFile(codes, layer.out_dim, images.names, about)
