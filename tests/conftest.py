"""Fixtures that every part of the tests may use."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photographs: ``RATION_DATA``, or ``../shared/data`` beside the repository.

    It is no part of the project, so tests that ask for it are marked ``data`` and skip where it is absent.
    """
    named = os.environ.get("RATION_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (folder / "landmarks" / "manifest.csv").is_file():
        pytest.skip(f"no real photographs in {folder}; name their folder in RATION_DATA")
    return folder
