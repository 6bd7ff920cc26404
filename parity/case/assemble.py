"""From the tables of a case file to its frozen parts; what needs the model or another table is checked here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from parity.build_options import BuildOptions
from parity.case.assemble_engine import build_engine_options, build_engine_source, is_foreign
from parity.case.mistakes import expected_one_of, join_path, suggest
from parity.case.model import Reference, ReferenceKind, ToleranceRule, Variant
from parity.case.paths import find_files, find_function
from parity.case.regions import expand_region, matches, parse_region, split_output
from parity.case.schema import OnnxRuntimeReference, PythonReference, RecordedReference
from parity.errors import ModelError
from parity.graph import load_model, model_interface
from parity.options import CalibrationMethod, CalibrationOptions, PrecisionOptions, Rounding
from parity.tolerance import Precision, Tolerance, judged_by_decoding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from parity.case.assemble_engine import EngineContext
    from parity.case.mistakes import Mistakes
    from parity.case.model import Profile
    from parity.case.paths import Place
    from parity.case.schema import CalibrationTable, ToleranceTable, VariantTable
    from parity.graph import ModelInterface

_VARIANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

# A kept node may not be coarser than the rest; fp16 and bf16 trade range for digits, so either may help the other.
_RANK = {
    Precision.FP8: 0,
    Precision.INT8: 0,
    Precision.FP16: 1,
    Precision.BF16: 1,
    Precision.TF32: 2,
    Precision.FP32: 3,
}
_HALVES = frozenset({Precision.FP16, Precision.BF16})
_QUANTIZED = frozenset({Precision.INT8, Precision.FP8})
_OF_A_BOUND = frozenset({"rtol", "atol", "atol_rms", "mismatch_fraction", "min_sqnr_db"})


def read_interface(folder: Path, model: str, path: str, mistakes: Mistakes) -> ModelInterface | None:
    """Return a model's inputs and outputs, or None after telling why it cannot be read."""
    try:
        return model_interface(load_model(folder / model))
    except ModelError as error:
        mistakes.add(path, str(error))
        return None


def build_reference(table: OnnxRuntimeReference | RecordedReference | PythonReference, place: Place) -> Reference:
    """Return the reference of a case."""
    match table:
        case OnnxRuntimeReference():
            return Reference(provider=table.provider)
        case RecordedReference():
            return _recorded_reference(table, place)
        case PythonReference():
            function = find_function(place, table.function, "reference.function")
            return Reference(ReferenceKind.PYTHON, function=function or "")


def _recorded_reference(table: RecordedReference, place: Place) -> Reference:
    files = find_files(place, table.files, "reference.files", inside=True)
    suffixes = {file.suffix.lower() for file in files}
    if len(suffixes) > 1:
        place.mistakes.add("reference.files", f"expected files of one kind, .npz or .json; got {sorted(suffixes)}")
    elif table.runner is not None and suffixes and suffixes != {".json"}:
        place.mistakes.add("reference.runner", "has a meaning for Polygraphy's .json alone; leave it out")
    return Reference(ReferenceKind.RECORDED, files=files, runner=table.runner or "")


def default_variants(*, has_calibration: bool, profiles: tuple[Profile, ...] = ()) -> tuple[Variant, ...]:
    """Return the variants of a case that names none.

    TF32 is left out: it is a setting of the runtime, which fp32 turns off; a variant of its own only where asked for.
    """
    precisions = [Precision.FP32, Precision.FP16, Precision.BF16]
    if has_calibration:
        precisions += [Precision.INT8, Precision.FP8]
    build = BuildOptions(profiles=profiles)
    return tuple(Variant(str(precision), PrecisionOptions(precision), build=build) for precision in precisions)


def build_variants(tables: Mapping[str, VariantTable], context: EngineContext) -> tuple[Variant, ...]:
    """Return the variants of a case, in the file's order."""
    built = (_build_variant(name, table, context) for name, table in tables.items())
    return tuple(variant for variant in built if variant is not None)


def _build_variant(name: str, table: VariantTable, context: EngineContext) -> Variant | None:
    path, place = join_path("variants", name), context.place
    if not _VARIANT_NAME.fullmatch(name):
        place.mistakes.add(path, "expected a name of letters, digits, dots, dashes and underscores")
    _check_variant(path, table, place.mistakes, has_calibration=context.has_calibration)
    if table.model is not None:
        _check_typed_model(path, table.model, context.interface, place)
    source = build_engine_source(path, table, place)
    build = build_engine_options(name, table, context)
    if table.precision is None:
        return None
    return Variant(
        name,
        _options(table, table.precision),
        typed_model=place.folder / table.model if table.model else None,
        build=build,
        engine=source.engine,
        network=source.network,
        weights=source.weights,
        census_share=table.census_share,
    )


def _options(table: VariantTable, precision: Precision) -> PrecisionOptions:
    calibration = CalibrationOptions()
    if table.calibration is not None:
        percentile = table.calibration.percentile
        calibration = CalibrationOptions(
            table.calibration.method, calibration.percentile if percentile is None else percentile
        )
    return PrecisionOptions(
        precision=precision,
        keep=tuple(table.keep),
        keep_precision=table.keep_precision,
        io_precision=table.io_precision,
        rounding=table.rounding or Rounding.FUSED,
        calibration=calibration,
    )


def _check_variant(path: str, table: VariantTable, mistakes: Mistakes, *, has_calibration: bool) -> None:
    precision = table.precision
    if table.calibration is not None:
        _check_calibration(f"{path}.calibration", table.calibration, precision, mistakes)
    if precision is None:
        return
    brings_its_scales = table.model is not None or is_foreign(table)
    if precision in _QUANTIZED and not brings_its_scales and not has_calibration:
        mistakes.add(f"{path}.precision", f"{precision} needs [calibration] inputs; give them as [inputs] are given")
    _check_keep(path, table, precision, mistakes)
    if table.io_precision is not Precision.FP32 and (table.io_precision is not precision or precision not in _HALVES):
        own = f" or {precision}" if precision in _HALVES else ""
        mistakes.add(f"{path}.io_precision", f"expected fp32{own}; got {str(table.io_precision)!r}")
    if table.rounding is not None and precision not in _HALVES:
        mistakes.add(f"{path}.rounding", f"has a meaning for fp16 and bf16 only; leave it out of {precision}")


def _check_keep(path: str, table: VariantTable, precision: Precision, mistakes: Mistakes) -> None:
    if table.keep and table.model is not None:
        mistakes.add(f"{path}.keep", "has no effect on a model of your own; keep the nodes in the model itself")
    if _RANK[table.keep_precision] < _RANK[precision] or (table.keep and table.keep_precision is precision):
        mistakes.add(
            f"{path}.keep_precision",
            f"expected a higher precision than {precision}; got {str(table.keep_precision)!r}",
        )


def _check_calibration(path: str, table: CalibrationTable, precision: Precision | None, mistakes: Mistakes) -> None:
    if precision is not None and precision not in _QUANTIZED:
        mistakes.add(path, f"has a meaning for int8 and fp8 only; leave it out of {precision}")
    if table.percentile is not None and table.method is not CalibrationMethod.PERCENTILE:
        mistakes.add(f"{path}.percentile", f"is read by the percentile method only; got method {str(table.method)!r}")


def _check_typed_model(path: str, model: str, interface: ModelInterface | None, place: Place) -> None:
    own = read_interface(place.folder, model, f"{path}.model", place.mistakes)
    if own is None or interface is None:
        return
    for side, mine, theirs in (("inputs", own.inputs, interface.inputs), ("outputs", own.outputs, interface.outputs)):
        names, expected = [info.name for info in mine], [info.name for info in theirs]
        if sorted(names) != sorted(expected):
            place.mistakes.add(
                f"{path}.model",
                f"has the {side} {', '.join(names)}; expected those of the case's model, {', '.join(expected)}",
            )


def build_tolerances(
    tables: Sequence[ToleranceTable | None],
    variant_names: Sequence[str],
    interface: ModelInterface | None,
    mistakes: Mistakes,
    *,
    decodes: bool,
) -> tuple[ToleranceRule, ...]:
    """Return the tolerance rules in the file's order.

    ``variant_names`` are the names in the file, those of variants with mistakes included; ``decodes`` says whether the
    case has a [decode] table.
    """
    rules = []
    for index, table in enumerate(tables):
        if table is None:
            continue
        path = join_path("tolerances", index)
        if not any(matches(name, table.variant) for name in variant_names):
            mistakes.add(f"{path}.variant", expected_one_of(table.variant, variant_names))
        name, region = _check_output(path, table.output, interface, mistakes)
        if table.judged == "decoded" and not decodes:
            mistakes.add(
                f"{path}.judged", "needs [decode], which says how outputs are decoded; add it, or give a bound"
            )
        tolerance = _tolerance(path, table, mistakes)
        if tolerance is not None:
            rules.append(ToleranceRule(table.variant, name, region, tolerance))
    return tuple(rules)


def _check_output(path: str, output: str, interface: ModelInterface | None, mistakes: Mistakes) -> tuple[str, str]:
    known = [info.name for info in interface.outputs] if interface else []
    name, region = split_output(output, known)
    where = f"{path}.output"
    matched = [info for info in interface.outputs if matches(info.name, name)] if interface else []
    if interface is not None and not matched:
        mistakes.add(where, f"the model has no output {name!r}; it has {', '.join(known)}{suggest(name, known)}")
    try:
        parsed = parse_region(region) if region else ()
    except ValueError as error:
        mistakes.add(where, str(error))
        return name, region
    # An interface has () for a scalar and for a shape that the model leaves open: such slices are judged when they run.
    for info in (info for info in matched if info.shape):
        try:
            expand_region(parsed, info.shape)
        except ValueError as error:
            mistakes.add(where, f"{region} {error}; the model has {info}")
    return name, region


def _tolerance(path: str, table: ToleranceTable, mistakes: Mistakes) -> Tolerance | None:
    if table.judged == "decoded":
        for key in sorted(table.model_fields_set & _OF_A_BOUND):
            mistakes.add(f"{path}.{key}", 'has no meaning beside judged = "decoded"; leave one of the two out')
        return judged_by_decoding(table.reason or "")
    if table.atol is not None and table.atol_rms is not None:
        mistakes.add(path, "has both atol and atol_rms; give one")
        return None
    atol = table.atol if table.atol_rms is None else table.atol_rms
    if table.rtol is None or atol is None:
        if not any(mistakes.has(f"{path}.{key}") for key in ("rtol", "atol", "atol_rms")):
            mistakes.add(path, "expected both rtol and atol (or atol_rms): the bound is atol + rtol * |expected|")
        return None
    return Tolerance(
        rtol=table.rtol,
        atol=atol,
        reason=table.reason or "",
        atol_unit="absolute" if table.atol_rms is None else "rms",
        mismatch_fraction=table.mismatch_fraction,
        min_sqnr_db=table.min_sqnr_db,
    )
