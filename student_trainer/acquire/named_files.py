"""Files and their reasons, a line each, of which a text shows the first few.

In: paths with a reason each. Out: lines that any terminal can print. No I/O.
"""

from collections.abc import Mapping
from pathlib import Path

NAMED = 5
"""Files that a refusal names."""


def named_files(
    title: str, files: Mapping[Path, str], *, shown: int = NAMED, elsewhere: str = ""
) -> list[str]:
    """A title with the count, the first files with their reasons; nothing at all where there are none.

    Args:
        title: what these files have in common.
        files: path -> reason.
        shown: at most so many are named.
        elsewhere: where all are named, such as ``--json names all``.
    """
    if not files:
        return []
    lines = [_printable(f"  {path}: {reason}") for path, reason in list(files.items())[:shown]]
    more, where = len(files) - len(lines), f" ({elsewhere})" if elsewhere else ""
    return [f"{title}: {len(files):,}", *lines, *([f"  and {more:,} more{where}"] if more else [])]


def _printable(text: str) -> str:
    """File names may hold bytes that are not UTF-8, and control characters."""
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in safe)
