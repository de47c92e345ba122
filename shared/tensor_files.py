"""Tensors from files, and their exact fit into a module.

In: a path to a safetensors file or to a PyTorch pickle. Out: named tensors on the CPU, or
:class:`CheckpointError` with the file, the fault and the next step. Pickles are read by PyTorch's
restricted unpickler alone: a file that names anything but tensors, plain values and numpy arrays is refused.
"""

import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from shared.digest import sha256_of_file
from shared.pickle_checks import Unfit, check_values, opened

NAMES_SHOWN = 5
_LENGTH_BYTES = 8
BATCH_COUNTER = "num_batches_tracked"
"""Buffer of a batch-norm layer that no descriptor depends on, and that old files lack."""

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{7,64})(?:\.pth|\.pt|\.pth\.tar)$")
_RECONSTRUCT, _SCALAR = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
# Files written under numpy 1 and under numpy 2 name the same two functions by different modules.
_NUMPY_GLOBALS: list[Any] = [
    np.ndarray,
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    *((_RECONSTRUCT, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


class CheckpointError(ValueError):
    """A file of weights cannot be used."""


def is_safetensors(path: Path) -> bool:
    """By the name, as every tool of the field does."""
    return path.suffix == ".safetensors"


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        CheckpointError: missing, cut or not such a file.
    """
    with _opened(path) as file:
        # Cloned, because they are views of the mapped file: overwriting it would change a network in use.
        tensors = {name: file.get_tensor(name).clone() for name in file.offset_keys()}
        return tensors, dict(file.metadata() or {})


def read_safetensors_metadata(path: Path) -> dict[str, str]:
    """The metadata alone, without reading a tensor; raises as :func:`read_safetensors`."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


def read_pickle(path: Path) -> Any:
    """What a ``.pth`` file holds (zip or legacy form), after checking the hash that its name may carry.

    Raises:
        CheckpointError: missing, cut, wrong hash, it names code, its records are compressed, or it holds
            tensors that are not dense (see :mod:`shared.pickle_checks`).
    """
    _require_file(path)
    check_hash_in_name(path)
    try:
        with opened(path) as file, torch.serialization.safe_globals(_NUMPY_GLOBALS):
            content = torch.load(file, map_location="cpu", weights_only=True)
        check_values(content, path.stat().st_size)
        return content
    except Unfit as unfit:
        raise CheckpointError(
            f"{path} is refused: {unfit} Get the file again from whoever publishes it, or save it again with "
            "torch.save."
        ) from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is refused: it is damaged, or would run code when read ({_offender(str(error))}). "
            "Only tensors, plain values and numpy arrays are accepted; there is no way to override this."
        ) from None
    # The unpickler meets damaged bytes with anything from EOFError to KeyError.
    except Exception as error:
        raise CheckpointError(
            f"{path} is not a whole PyTorch file: {type(error).__name__}: {error}. Fetch it again."
        ) from error


def check_hash_in_name(path: Path) -> None:
    """A name such as ``x-b80fb85.pth`` promises how the SHA-256 of the file starts.

    Raises:
        CheckpointError: it does not.
    """
    named = _HASH_IN_NAME.search(path.name)
    if named is None:
        return
    actual = sha256_of_file(path)
    if not actual.startswith(named[1]):
        raise CheckpointError(
            f"{path.name} promises a SHA-256 that starts with {named[1]}; its content has "
            f"{actual[: len(named[1])]}. The file is damaged or not what it says: fetch it again "
            "(or rename it, if those digits were never meant as a hash)."
        )


def as_tensors(content: Any) -> dict[str, Tensor]:
    """The content of a pickle, if it is tensors by name.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(content, dict):
        raise TypeError(f"expected tensors by name, found {type(content).__name__}")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(f"expected tensors by name, found {type(tensor).__name__} under {name!r}")
    return content


def fit(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    name_in_file: Callable[[str], str] = str,
) -> None:
    """Give a module exactly these tensors; batch counters may be absent.

    Works on a module on the ``meta`` device too, which then takes the tensors as its own.

    Args:
        module: changed in place, or not at all.
        tensors: by the module's names.
        source: where they come from, for messages.
        name_in_file: from the module's name of a tensor to that in the source, for messages.

    Raises:
        CheckpointError: missing or unknown names, or a wrong shape; the first five are named.
    """
    own = module.state_dict()
    wanted = [name for name in own if not name.endswith(BATCH_COUNTER)]
    missing = [name_in_file(name) for name in wanted if name not in tensors]
    unknown = [name_in_file(name) for name in tensors if name not in own]
    if missing or unknown:
        raise CheckpointError(
            f"{source} does not fit {type(module).__name__}: "
            f"{_counted(missing, 'missing')}; {_counted(unknown, 'unknown')}."
        )
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"{source} does not fit {type(module).__name__}: {name_in_file(name)} has shape "
                f"{tuple(tensor.shape)}, expected {tuple(own[name].shape)}."
            )
    state = {name: tensors.get(name, torch.zeros((), dtype=torch.long)).to(own[name].dtype) for name in own}
    module.load_state_dict(state, assign=any(tensor.is_meta for tensor in own.values()))


def _counted(names: Iterable[str], what: str) -> str:
    listed = list(names)
    if not listed:
        return f"none {what}"
    more = ", ..." if len(listed) > NAMES_SHOWN else ""
    return f"{len(listed)} {what} ({', '.join(listed[:NAMES_SHOWN])}{more})"


def _offender(message: str) -> str:
    """The function that PyTorch's long message names, or its first sentence."""
    found = re.search(r"GLOBAL (\S+)", message)
    return found[1] if found else message.partition(". ")[0]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    _require_file(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")


def sorted_metadata(file: bytes) -> bytes:
    """A safetensors file with its metadata sorted by name; the library's own order changes from call to call.

    The form: the header's length in 8 bytes, little-endian; the header in JSON, filled up with spaces to a
    multiple of 8 bytes; the tensors, whose places count from the header's end.
    """
    end = _LENGTH_BYTES + int.from_bytes(file[:_LENGTH_BYTES], "little")
    header = orjson.loads(file[_LENGTH_BYTES:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = orjson.dumps(header)
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + file[end:]
