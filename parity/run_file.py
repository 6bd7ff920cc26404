"""A run as one versioned JSON document: the run.json of a report folder."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from parity.errors import RunError
from parity.results import FORMAT_VERSION, Run

if TYPE_CHECKING:
    from pathlib import Path


@cache
def _adapter() -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    configured = with_config(ConfigDict(ser_json_inf_nan="strings"))(Run)
    return TypeAdapter(configured)


def run_to_json(run: Run) -> str:
    """Return a run as JSON; NaN and infinities are strings, so that any reader takes it.

    Text that is no Unicode, as names of files and of metadata may hold, is written with its lone surrogates spelt out.
    """
    from pydantic_core import PydanticSerializationError, to_json

    try:
        text: str = _adapter().dump_json(run, indent=1).decode()
    except PydanticSerializationError:
        plain = as_unicode(_adapter().dump_python(run, mode="json"))
        text = to_json(plain, indent=1, inf_nan_mode="strings").decode()
    return text


def as_unicode(plain: Any) -> Any:
    """Return plain data of JSON with every text as Unicode, its lone surrogates spelt out."""
    if isinstance(plain, dict):
        return {as_unicode(key): as_unicode(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [as_unicode(value) for value in plain]
    return plain.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(plain, str) else plain


def run_from_json(text: str, where: str) -> Run:
    """Read a run from JSON.

    Raises
    ------
    RunError
        Not JSON, another format version, or not a run; ``where`` names the file in the message.
    """
    from pydantic import ValidationError

    try:
        version = json.loads(text).get("format_version")
    except (ValueError, AttributeError, RecursionError) as error:
        raise RunError(f"{where}: is not a saved run ({error}); expected the run.json of a report folder") from error
    if version != FORMAT_VERSION:
        raise RunError(f"{where}: has format version {version!r}; this release reads {FORMAT_VERSION}")
    try:
        run: Run = _adapter().validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{where}: {place}: {first['msg']}; the file is damaged, run again") from error
    return run


def load_run(path: Path) -> Run:
    """Read the run in a report folder, or in a run.json.

    Raises
    ------
    RunError
        The file is missing, unreadable or not a run.
    """
    file = path / "run.json" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{file}: cannot be read ({reason}); expected a report folder with run.json") from error
    return run_from_json(text, str(file))
