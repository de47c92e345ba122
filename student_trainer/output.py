"""Results on standard output: text for people, or one JSON object with ``--json``.

In: a plain JSON result and its text. Out: standard output. Progress and errors go to standard error.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any


def emit(result: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print ``text``, or with ``as_json`` the result as one JSON object."""
    sys.stdout.write(json.dumps(result, sort_keys=True) if as_json else text)
    sys.stdout.write("\n")
    sys.stdout.flush()
