"""Runs in a process that has TensorRT's bindings: every check is a function; the last line has what all found."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np


def as_json(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def outcome(check: Any) -> dict[str, Any]:
    """Return what a check found, or the traceback that its test shows."""
    try:
        return {"found": check()}
    except Exception:  # noqa: BLE001 - told to the check's test, so that the others are told as well
        return {"error": traceback.format_exc()}


def main() -> None:
    """Print what every check found, as one line of JSON."""
    import building_checks
    import callback_checks
    from loaded import load_worker

    load_worker()
    found = (vars(building_checks) | vars(callback_checks)).items()
    checks = {name.removeprefix("check_"): check for name, check in found if name.startswith("check_")}
    print(json.dumps({name: outcome(check) for name, check in checks.items()}, default=as_json))  # noqa: T201 - the answer


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
