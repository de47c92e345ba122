"""``teacher-service`` from its first moment: Ctrl-C gives 130 while the program loads, too.

In: the command line. Out: what :mod:`teacher_service.cli` makes of it. This module loads nothing until
:func:`main` is called.
"""

INTERRUPTED = 130  # stated here as well, since whatever holds it has to be loaded first


def main() -> None:
    """Entry point of the installed command, and of ``python -m teacher_service``."""
    try:
        from shared.interrupts import ending_at_once

        with ending_at_once():
            from teacher_service import cli
        cli.main()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
