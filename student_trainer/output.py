"""Results on standard output, as text for people or one JSON object with ``--json``; all else beside them.

In: a plain JSON result and its text; or a line. Out: the result on standard output; the line on standard
error, where progress and errors go too.
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


def say(line: str) -> None:
    """A line to the person who waits; results go to standard output and are not mixed with it."""
    print(line, file=sys.stderr, flush=True)
