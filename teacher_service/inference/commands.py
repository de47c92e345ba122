"""``teacher-service model``: what would be served, and under which revision, without serving it.

In: the flags that choose a teacher, which ``serve`` shares. Out: its card.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from teacher_service.options import AsJson, settings_from
from teacher_service.output import emit, warn

app = typer.Typer(help="Look at the teacher.", no_args_is_help=True)


def _option(help_: str, panel: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=help_, rich_help_panel=panel, show_default=False)
    return option


_TEACHER, _OUTPUT = "Teacher", "Output policy"

RANDOM_WEIGHTS = (
    "warning: descriptors of random weights carry no meaning; name weights with --checkpoint or --weights."
)

Checkpoint = Annotated[Path | None, _option("Network file; its architecture is in it.", _TEACHER)]
Arch = Annotated[str | None, _option("Architecture and pooling. (resnet101-gem)", _TEACHER)]
Weights = Annotated[str | None, _option("FILE, imagenet or random. (random)", _TEACHER)]
WeightsSeed = Annotated[int | None, _option("Seed of random weights. (0)", _TEACHER)]
ImageSize = Annotated[int | None, _option("Longest side in pixels. (362)", _TEACHER)]
Scales = Annotated[str | None, _option("Such as 1,0.7071,0.5. (1)", _TEACHER)]
Device = Annotated[str | None, _option("auto, cpu, cuda, cuda:1. (auto)", _TEACHER)]
TruncateDims = Annotated[int | None, _option("Send the first k dimensions.", _OUTPUT)]
NoiseSigma = Annotated[float | None, _option("Gaussian noise on each value. (0)", _OUTPUT)]
NoiseSeed = Annotated[str | None, _option("Secret of the noise; safer as TEACHER_NOISE_SEED.", _OUTPUT)]
Decimals = Annotated[int | None, _option("Round each value to so many decimals.", _OUTPUT)]


@app.callback()
def _model() -> None:
    """Look at the teacher."""


@app.command("info")
def info(
    *,
    checkpoint: Checkpoint = None,
    arch: Arch = None,
    weights: Weights = None,
    weights_seed: WeightsSeed = None,
    image_size: ImageSize = None,
    scales: Scales = None,
    device: Device = None,
    truncate_dims: TruncateDims = None,
    noise_sigma: NoiseSigma = None,
    noise_seed: NoiseSeed = None,
    decimals: Decimals = None,
    as_json: AsJson = False,
) -> None:
    """Name, revision, dimension and description of the teacher that these settings choose."""
    flags = dict(locals())
    del flags["as_json"]
    settings = settings_from(**flags)
    from teacher_service.inference.teacher import build_teacher

    teacher = build_teacher(settings)
    card = {
        "model": teacher.model_id,
        "teacher_revision": teacher.revision,
        "dimension": teacher.dimension,
        "parameters": sum(parameter.numel() for parameter in teacher.network.parameters()),
        "weights": settings.weights_in_words,
    }
    if settings.weights_are_random:
        warn(RANDOM_WEIGHTS)
    lines = [f"{name} {value}" for name, value in card.items()]
    text = "\n".join([*lines, json.dumps(teacher.description, indent=2)])
    emit({**card, "description": teacher.description}, text, as_json=as_json)
