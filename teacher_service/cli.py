"""``teacher-service``: serve a teacher, hand out keys, look after the ledger.

In: the command line and ``TEACHER_...`` variables. Out: results on standard output, logs and errors on
standard error, and the exit codes of ``teacher_service/errors.py``. An end by Ctrl-C or SIGTERM is orderly: 0
from ``serve`` once it has loaded the teacher; Ctrl-C gives 130 from the others, and before that.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from shared.allocator import keep_pages
from shared.interrupts import INTERRUPTED
from teacher_service.access import commands as keys
from teacher_service.errors import CommandFailed
from teacher_service.inference import commands as model
from teacher_service.metering import commands as ledger
from teacher_service.metering.reporting.usage_commands import usage
from teacher_service.options import AsJson, DataDir, LedgerUrl, settings_from

_PLACE, _LIMITS, _BATCHES = "Place", "Limits", "Batching"

app = typer.Typer(
    name="teacher-service",
    help="A rate-limited, metered embedding API around one teacher network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys.app, name="keys")
app.add_typer(ledger.app, name="ledger")
app.add_typer(model.app, name="model")
app.command("usage")(usage)


def _option(help_: str, panel: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=help_, rich_help_panel=panel, show_default=False)
    return option


@app.command("serve")
def serve(
    *,
    checkpoint: model.Checkpoint = None,
    arch: model.Arch = None,
    weights: model.Weights = None,
    weights_seed: model.WeightsSeed = None,
    image_size: model.ImageSize = None,
    scales: model.Scales = None,
    device: model.Device = None,
    truncate_dims: model.TruncateDims = None,
    noise_sigma: model.NoiseSigma = None,
    noise_seed: model.NoiseSeed = None,
    decimals: model.Decimals = None,
    host: Annotated[str | None, _option("Address to listen on. (127.0.0.1)", _PLACE)] = None,
    port: Annotated[int | None, _option("0 picks a free one. (8000)", _PLACE)] = None,
    data_dir: DataDir = None,
    ledger_url: LedgerUrl = None,
    lease_ms: Annotated[int | None, _option("Life of a reservation. (600000; Redis 15000)", _PLACE)] = None,
    accept_new_signing_key: Annotated[
        bool | None, _option("Go on with another signing key. (no)", _PLACE)
    ] = None,
    allow_unsafe_redis: Annotated[
        bool | None, _option("Accept a Redis ledger that may evict or forget. (no)", _PLACE)
    ] = None,
    cache: Annotated[str | None, _option("memory, or redis://... for replicas. (memory)", _PLACE)] = None,
    cache_bytes: Annotated[int | None, _option("Size of a cache in memory. (1000000000)", _PLACE)] = None,
    cache_ttl_s: Annotated[int | None, _option("Life of what is cached in Redis. (604800)", _PLACE)] = None,
    rates: Annotated[
        str | None, _option("Where rates count: memory, redis://..., or as the cache. (auto)", _PLACE)
    ] = None,
    admin_key_file: Annotated[
        Path | None, _option("Opens administration over HTTP; or TEACHER_ADMIN_KEY. (none)", _PLACE)
    ] = None,
    graceful_timeout_s: Annotated[int | None, _option("Patience of a stop. (60)", _PLACE)] = None,
    log_level: Annotated[str | None, _option("debug, info, warning, error. (info)", _PLACE)] = None,
    max_images: Annotated[int | None, _option("In one request. (64)", _LIMITS)] = None,
    max_image_bytes: Annotated[int | None, _option("Of one image. (20000000)", _LIMITS)] = None,
    max_request_bytes: Annotated[int | None, _option("Of one body. (256000000)", _LIMITS)] = None,
    max_bytes_in_flight: Annotated[int | None, _option("Of all bodies. (1000000000)", _LIMITS)] = None,
    max_image_pixels: Annotated[int | None, _option("Of one image. (50000000)", _LIMITS)] = None,
    body_timeout_s: Annotated[float | None, _option("Longest pause in a body. (30)", _LIMITS)] = None,
    body_min_bytes_per_s: Annotated[
        int | None, _option("Least rate of a body; 0 for any. (20000)", _LIMITS)
    ] = None,
    max_batch: Annotated[int | None, _option("Images in one batch. (16)", _BATCHES)] = None,
    max_wait_ms: Annotated[float | None, _option("Wait for company. (5)", _BATCHES)] = None,
    max_queue: Annotated[int | None, _option("Images waiting at most. (512)", _BATCHES)] = None,
    decode_threads: Annotated[int | None, _option("0: one per core. (0)", _BATCHES)] = None,
    max_decode_pixels: Annotated[int | None, _option("Decoded at once. (100000000)", _BATCHES)] = None,
    as_json: AsJson = False,
) -> None:
    """Serve a teacher. Defaults stand in brackets; --image-size is also TEACHER_IMAGE_SIZE, and so on."""
    flags = dict(locals())
    del flags["as_json"]
    settings = settings_from(ledger=flags.pop("ledger_url"), **flags)
    from teacher_service.logs import configure_logs
    from teacher_service.serve import run

    configure_logs(settings.log_level)
    run(settings, as_json=as_json)


def main() -> None:
    """Entry point of the command."""
    keep_pages()
    try:
        app(standalone_mode=True)
    except CommandFailed as error:
        print(f"teacher-service: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
