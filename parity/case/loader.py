"""Reading cases: ``case.toml`` to a frozen ``Case``, with every mistake in it told at once."""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.case.assemble import (
    build_reference,
    build_tolerances,
    build_variants,
    default_variants,
    read_interface,
)
from parity.case.assemble_baseline import build_baseline
from parity.case.assemble_decode import DecodeContext, build_decoding, check_left_to_decoding
from parity.case.assemble_engine import EngineContext
from parity.case.assemble_inputs import InputContext, build_source, check_apart
from parity.case.assemble_latency import build_latency, parse_budgets
from parity.case.mistakes import Mistakes, TableT, parse_table
from parity.case.model import Case
from parity.case.paths import Place, case_name
from parity.case.profiles import build_more_profiles, build_profile
from parity.case.schema import CaseTable, ToleranceTable
from parity.case.schema_decode import GateTable
from parity.environment import naming_advice
from parity.errors import CaseError, Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from parity.case.model import InputSource, ShapeProfile, Variant
    from parity.graph import ModelInterface

CASE_FILE = "case.toml"


def load_case(path: Path, *, allow_python: bool = True) -> Case:
    """Read a case.

    Parameters
    ----------
    path
        A case folder, or the ``case.toml`` in it.
    allow_python
        Whether the case may name Python functions. None is loaded here in either case.

    Raises
    ------
    CaseError
        The file is missing, is no TOML, or has mistakes: all of them, each with its path in the file.
    """
    file = path.resolve() / CASE_FILE if path.is_dir() else path.parent.resolve() / path.name
    content, data = _read_toml(file, str(path))
    mistakes = Mistakes()
    case = _Assembly(file, data, mistakes, allow_python=allow_python).case(hashlib.sha256(content).hexdigest())
    # A file that cannot be named is not found, which is told as that it is not there.
    if mistakes.found and (text := next(_beyond_locale(data), "")):
        mistakes.add("", f"holds {text!r}, and {naming_advice()}")
    if case is None or mistakes.found:
        raise CaseError(str(path), tuple(mistakes.found))
    return case


def _read_toml(file: Path, shown: str) -> tuple[bytes, dict[str, Any]]:
    try:
        content = file.read_bytes()
        return content, tomllib.loads(content.decode())
    except OSError as error:
        message = f"cannot be read ({error.strerror}); write one as docs/case-file.md shows"
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text ({error.reason} at byte {error.start})"
    except tomllib.TOMLDecodeError as error:
        message = f"is not TOML: {error}"
    raise CaseError(shown, (Mistake("", f"{CASE_FILE} {message}"),))


def _beyond_locale(data: Any) -> Iterator[str]:
    """Yield the texts of a case file that cannot name a file in this locale."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        for part in data:
            yield from _beyond_locale(part)
    elif isinstance(data, str):
        try:
            os.fsencode(data)
        except UnicodeEncodeError:
            yield data


class _Assembly:
    """One case on its way from data to frozen objects."""

    def __init__(self, file: Path, data: dict[str, Any], mistakes: Mistakes, *, allow_python: bool) -> None:
        self._file = file
        self._data = data
        self._mistakes = mistakes
        self._place = Place(file.parent, mistakes, allow_python)

    def case(self, sha256: str) -> Case | None:
        """Return the case, or None if a part is missing; the collector has the reasons."""
        tolerances, gates = self._each("tolerances", ToleranceTable), self._each("gates", GateTable)
        done: dict[str, Any] = {key: [] for key, found in (("tolerances", tolerances), ("gates", gates)) if found}
        budgets = parse_budgets(self._data, self._mistakes)
        if budgets is not None:
            done["latency"] = {**self._data["latency"], "budgets": []}
        table = parse_table(CaseTable, {**self._data, **done}, self._mistakes)
        if table is None:
            return None
        model = self._place.folder / (table.model or "")
        interface = read_interface(self._place.folder, table.model, "model", self._mistakes) if table.model else None
        batch_size = table.batch_size or _fixed_batch(interface)
        profiles = build_profile(table.shapes, interface, self._mistakes, batch_size=batch_size)
        evaluation, calibration = self._sources(table, interface, profiles, batch_size)
        variants = self._variants(table, interface, profiles)
        # Names in the file, not what was built: a variant with a mistake is there all the same.
        names = list(table.variants) or [variant.name for variant in variants]
        decodes = "decode" in self._data
        rules = build_tolerances(tolerances, names, interface, self._mistakes, decodes=decodes)
        reference = build_reference(table.reference, self._place)
        context = DecodeContext(self._place, self._data, interface, evaluation, names)
        decoding = build_decoding(table, gates, context)
        if decoding is not None:
            check_left_to_decoding(rules, decoding.settings, context)
        latency = build_latency(
            table.latency, budgets or [], names, self._mistakes, interface=interface, batch_size=batch_size
        )
        if "variants" in self._data and not self._data["variants"]:
            self._mistakes.add("variants", "is empty; name a variant, or leave the table out for the default ones")
        if evaluation is None:
            return None
        return Case(
            name=case_name(self._place.folder),
            description=table.description,
            folder=self._place.folder,
            file=self._file,
            model=model,
            reference=reference,
            evaluation=evaluation,
            calibration=calibration,
            batch_size=batch_size,
            shapes=profiles,
            variants=variants,
            tolerances=rules,
            decoding=decoding,
            latency=latency,
            baseline=build_baseline(table.baseline, self._mistakes),
            file_sha256=sha256,
        )

    def _each(self, key: str, table: type[TableT]) -> list[TableT | None]:
        """Return a list of tables, validated one by one: a mistake in one keeps no other from being checked."""
        raw = self._data.get(key)
        if not isinstance(raw, list):
            return []
        return [parse_table(table, item, self._mistakes, (key, index)) for index, item in enumerate(raw)]

    def _sources(
        self,
        table: CaseTable,
        interface: ModelInterface | None,
        profiles: Mapping[str, ShapeProfile],
        batch_size: int,
    ) -> tuple[InputSource | None, InputSource | None]:
        contexts = {
            path: InputContext(self._place, path, interface, profiles, batch_size) for path in ("inputs", "calibration")
        }
        evaluation = build_source(table.inputs, contexts["inputs"]) if table.inputs else None
        calibration = build_source(table.calibration, contexts["calibration"]) if table.calibration else None
        if evaluation is not None and calibration is not None:
            check_apart(evaluation, calibration, contexts["calibration"])
        return evaluation, calibration

    def _variants(
        self, table: CaseTable, interface: ModelInterface | None, shapes: Mapping[str, ShapeProfile]
    ) -> tuple[Variant, ...]:
        # A [calibration] with a mistake is told of by itself, not as missing.
        has_calibration = "calibration" in self._data
        profiles = build_more_profiles(table.profiles, shapes, interface, self._mistakes, ("profiles",))
        if "variants" in self._data:
            context = EngineContext(self._place, interface, shapes, profiles, has_calibration)
            return build_variants(table.variants, context)
        return default_variants(has_calibration=has_calibration, profiles=profiles)


def _fixed_batch(interface: ModelInterface | None) -> int:
    """Return the batch that the model's first input is fixed to, 1 if it is free."""
    first = interface.inputs[0].shape[:1] if interface and interface.inputs else ()
    return first[0] if first and isinstance(first[0], int) else 1


def find_cases(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Find case files.

    Parameters
    ----------
    paths
        Each a case folder, a ``case.toml``, or a folder of case folders; none means ``cases/``.

    Returns
    -------
    The ``case.toml`` files in the order asked for, then by name; each once.

    Raises
    ------
    CaseError
        There is no case in one of the paths.
    """
    found: dict[Path, None] = {}
    for path in paths or (Path("cases"),):
        files = _cases_in(path)
        if not files:
            way = "write one with parity init MODEL.onnx, or as docs/case-file.md shows"
            message = f"no {CASE_FILE} here or one folder below; {way}"
            raise CaseError(str(path), (Mistake("", message),))
        found.update(dict.fromkeys(files))
    return tuple(found)


def _cases_in(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name == CASE_FILE else []
    if (path / CASE_FILE).is_file():
        return [path / CASE_FILE]
    return sorted(path.glob(f"*/{CASE_FILE}"))
