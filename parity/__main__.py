"""The entry of the command line: ``parity`` and ``python -m parity``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code: 0 agreement, 1 disagreement, 2 could not judge."""
    from parity.cli import app

    try:
        app(prog_name="parity")
    except Exception:  # noqa: BLE001 - Python would leave with 1, and 1 means that a disagreement was found
        import traceback

        traceback.print_exc()
        sys.stderr.write("parity: stopped by a defect of its own, shown above; nothing was judged after it\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
