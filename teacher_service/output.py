"""Results on standard output: text for people, or one JSON object with ``--json``.

In: a plain JSON result and its text. Out: standard output. Logs, warnings and errors go to standard error.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def emit(result: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print ``text``, or with ``as_json`` the result as one JSON object; at once, also into a pipe."""
    sys.stdout.write(json.dumps(result, sort_keys=True) if as_json else text)
    sys.stdout.write("\n")
    sys.stdout.flush()


def warn(message: str) -> None:
    """One line on standard error, under the program's name as errors are."""
    print(f"teacher-service: {message}", file=sys.stderr)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows under their header, columns aligned: numbers to the right, with thousands separated."""
    cells = [list(header)] + [[f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    numeric = [
        bool(rows) and all(isinstance(row[column], int) for row in rows) for column in range(len(header))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in cells
    )
