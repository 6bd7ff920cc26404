"""The page on engines is held against the code: ways to a precision, time limits, the cache, the network function."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import onnx
import pytest

from parity.backends.engine import EngineRequest, NetworkSource, OnnxSource
from parity.backends.tensorrt.backend import ask_worker
from parity.backends.tensorrt.cache import cache_limit_bytes
from parity.backends.tensorrt.interpreter import VARIABLE
from parity.backends.tensorrt.link import HELLO_LIMIT_S
from parity.backends.tensorrt.process import START_LIMIT_S
from parity.backends.tensorrt.recipe import Recipe, choose_recipe
from parity.build_options import BuildOptions, Quantization, Typing
from parity.errors import PrecisionError
from parity.run_file import load_run
from parity.runner import JudgeSettings
from parity.runner.selection import checks_of
from parity.tolerance import Precision
from parity.worker.network import call_function
from tests.fake_tensorrt import RELEASES, fake_tensorrt
from tests.pages import ROOT, blocks, read, section, table
from tests.simulated_worker import SimulatedWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.results import Outcome, TensorOutcome

PAGE = read("docs/tensorrt.md")
MEASURED = read("docs/measured.md")
ROWS = {row[0]: row[1:] for row in table(PAGE, "asked for")}
SAMPLE = load_run(ROOT / "reports/samples/20261121-045047-h200-tensorrt-8.6")
SOURCE = OnnxSource(onnx.ModelProto(), onnx.ModelProto())
OLD, TEN, NEW = (ask_worker(SimulatedWorker(release)) for release in ("8.6.0", "10.16.1.11", "11.4.0.106"))
# Strong typing is there, but not yet recommended: 10.0 to 10.11.
COLUMNS = (OLD, replace(TEN, capabilities=TEN.capabilities | {"strong_typing_recommended": False}), TEN, NEW)


def request(precision: Precision, *, network: bool = False, **options: object) -> EngineRequest:
    source = NetworkSource(Path("net.py"), "build") if network else SOURCE
    return EngineRequest(source, precision, Precision.FP32, BuildOptions(**options))  # type: ignore[arg-type]


REQUESTS = {
    "typing left out": request(Precision.FP16),
    '`typing = "strong"`': request(Precision.FP16, typing=Typing.STRONG),
    '`typing = "weak"`': request(Precision.FP16, typing=Typing.WEAK),
    "fp16": request(Precision.FP16),
    "bf16": request(Precision.BF16),
    "int8": request(Precision.INT8),
    'int8, `quantization = "implicit"`': request(Precision.INT8, quantization=Quantization.IMPLICIT),
    "fp8": request(Precision.FP8),
    "a network function": request(Precision.FP16, network=True),
}


def told_by(recipe: Recipe) -> str:
    """Return a pattern that the cell of a recipe matches."""
    if recipe.is_calibrated:
        return "calibrator"
    if recipe.obey:
        return "typed model, flags"
    return "weak|flag" if recipe.typing is Typing.WEAK else "strong|model$"


@pytest.mark.parametrize("asked", REQUESTS)
def test_the_page_tells_the_way_to_a_precision_on_every_release(asked: str) -> None:
    for worker, cell in zip(COLUMNS, ROWS[asked], strict=True):
        try:
            pattern = told_by(choose_recipe(REQUESTS[asked], worker))
        except PrecisionError:
            pattern = "^refused$"
        assert re.search(pattern, cell), (asked, worker.name, cell)
        assert pattern == "^refused$" or cell != "refused"


def test_the_page_has_no_other_way() -> None:
    assert set(ROWS) - set(REQUESTS) == {"fp32, tf32", "`keep`"}


def test_the_page_has_the_time_limits() -> None:
    limits = [row[1] for row in table(PAGE, "what")]
    hours = JudgeSettings().build_timeout_s / 3600
    assert limits == [f"{START_LIMIT_S:g} s", f"{HELLO_LIMIT_S:g} s", f"{hours:g} h", f"{hours:g} h"]


def test_the_page_has_the_variables_and_the_limit_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARITY_CACHE_LIMIT_GIB", raising=False)
    assert f"`PARITY_CACHE_LIMIT_GIB`, {cache_limit_bytes() / 2**30:g} if not set" in PAGE
    assert f"`{VARIABLE}`" in PAGE


def test_the_page_has_every_check() -> None:
    rows = {row[0].strip("`"): row[2] for row in table(PAGE, "check")}
    assert list(rows) == list(checks_of("tensorrt-8.6", decodes=True))
    assert [name for name, where in rows.items() if "providers" in where or "every" in where] == list(
        checks_of("onnxruntime-cuda", decodes=True)
    )


@pytest.mark.parametrize("release", RELEASES)
def test_the_example_of_a_network_function_uses_what_every_release_has(release: str, tmp_path: Path) -> None:
    [example] = blocks(PAGE, "python")
    (tmp_path / "net.py").write_text(example, encoding="utf-8")
    (tmp_path / "model.wts").write_text("1\nkernel 30" + " 3f800000" * 30 + "\n", encoding="utf-8")
    product = SimpleNamespace(name="")
    layers = {f"INetworkDefinition.{name}": _layer(product) for name in ("add_constant", "add_matrix_multiply")}
    trt = fake_tensorrt(release, layers)
    made = trt.INetworkDefinition()
    source = {"file": str(tmp_path / "net.py"), "function": "build", "weights": str(tmp_path / "model.wts")}
    weights, *_ = call_function(trt, made, source)
    assert (weights["kernel"].shape, made.get_input(0).name, made.num_outputs) == ((30,), "x", 1)
    assert product.name == "y"


def test_the_page_has_the_figures_of_the_sample() -> None:
    rows = {(row[0], row[1]): (*row[2:6], *row[7:]) for row in table(section(MEASURED, "## Figures"), "case")}
    shares = {(o.case, o.variant): o.census.share for o in SAMPLE.outcomes if o.census}
    judged = [outcome for outcome in SAMPLE.outcomes if outcome.check == "outputs"]
    assert rows == {
        (outcome.case, outcome.variant.partition("@")[0]): _figures(outcome, shares[outcome.case, outcome.variant])
        for outcome in judged
    }
    [tf32] = [o for o in judged if (o.case, o.precision) == ("shapes_yolo", "tf32")]
    documented = [
        tuple(row[1:]) for row in table(section(MEASURED, "### tf32"), "output") if row[0].startswith("detector")
    ]
    assert documented == [_distances(tensor) for tensor in tf32.tensors]


def test_the_page_has_the_differences_of_fp32_in_the_sample() -> None:
    tensors = [t for o in SAMPLE.outcomes if (o.precision, o.check) == ("fp32", "outputs") for t in o.tensors]
    rows = [(float(row[1]), float(row[3])) for row in table(section(MEASURED, "### fp32"), "output")]
    assert rows == [(pytest.approx(a, rel=0.01), pytest.approx(share, rel=0.05)) for a, share in map(_largest, tensors)]
    assert max(share for _, share in rows) < 1e-4


def _largest(tensor: TensorOutcome) -> tuple[float, float]:
    """Return the largest absolute difference, and its share of the reference's range."""
    found = tensor.difference
    assert found
    assert found.worst_absolute
    largest = found.worst_absolute.difference
    return largest, largest / (found.expected.maximum - found.expected.minimum)


def _figures(outcome: Outcome, share: float) -> tuple[str, ...]:
    """Return a row of the table of figures, but for its first build."""
    furthest = min(outcome.tensors, key=lambda tensor: float(_distances(tensor)[2]))
    assert outcome.engine
    later = f"{outcome.engine.build_s:.1f}"
    return (*_distances(furthest), f"{100 * share:.1f}", later, f"{outcome.engine.size_bytes / 1e6:.2f}")


def _distances(tensor: TensorOutcome) -> tuple[str, str, str]:
    found = tensor.triangulation
    assert found
    return f"{found.conversion.sqnr_db:.1f}", f"{found.engine.sqnr_db:.1f}", f"{found.total.sqnr_db:.1f}"


def _layer(output: object) -> Callable[..., object]:
    return lambda *_: SimpleNamespace(get_output=lambda _index: output)
