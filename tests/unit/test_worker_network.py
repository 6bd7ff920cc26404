"""A network comes from a model or a function, and a refusal names the node or the line."""

from __future__ import annotations

import os
import py_compile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from parity.worker import network
from parity.worker.errors import ModelRefused, PrecisionMissing
from parity.worker.heard import Listener
from tests.fake_tensorrt import RELEASES, fake_tensorrt

if TYPE_CHECKING:
    from pathlib import Path

WEAK, STRONG = False, True

LOGGED_NODE = 'input: "x"\noutput: "y"\nname: "block/odd"\nop_type: "Odd"\nattribute {\n  name: "axis"\n}\n'


def _error(node: int, desc: str, **methods: str) -> Any:
    named = {name: (lambda text=text: text) for name, text in methods.items()}
    return SimpleNamespace(node=lambda: node, desc=lambda: desc, **named)


def _parser(release: str, errors: list[Any], *, is_parsed: bool = False) -> Any:
    return fake_tensorrt(
        release,
        {
            "OnnxParser.parse_from_file": lambda _self, _model: is_parsed,
            "OnnxParser.num_errors": len(errors),
            "OnnxParser.get_error": lambda _self, index: errors[index],
        },
    )


def _parse(trt: Any, *logged: str, **parser_flags: bool) -> Any:
    heard = Listener(trt)
    heard.begin(lambda *_: None)
    for text in logged:
        heard.logger.log(trt.ILogger.Severity.ERROR, text)
    return network.parse_onnx(trt, trt.INetworkDefinition(), heard, "/models/model.onnx", parser_flags)


@pytest.mark.parametrize(
    ("release", "is_strong", "expected"),
    [
        ("8.6.0", WEAK, "EXPLICIT_BATCH"),
        ("10.0.1", WEAK, None),
        ("10.0.1", STRONG, "STRONGLY_TYPED"),
        ("10.16.1.11", WEAK, None),
        ("10.16.1.11", STRONG, "STRONGLY_TYPED"),
        ("11.4.0.106", STRONG, "STRONGLY_TYPED"),
    ],
)
def test_a_network_is_made_with_the_flag_of_its_release(release: str, is_strong: bool, expected: str | None) -> None:
    trt = fake_tensorrt(release)
    made = network.new_network(trt, trt.Builder(None), is_strong=is_strong)
    kinds = trt.NetworkDefinitionCreationFlag
    assert made.created_with == (1 << int(getattr(kinds, expected)) if expected else 0)


def test_a_refused_node_is_named_by_the_parsers_error() -> None:
    error = _error(7, "no importer registered", node_name="block/odd", node_operator="Odd")
    with pytest.raises(ModelRefused, match=r"refuses model\.onnx: node 'block/odd' \(Odd\): no importer registered"):
        _parse(_parser("10.0.1", [error]))


def test_a_refused_node_without_a_name_is_told_by_its_number() -> None:
    error = _error(7, "no importer", node_name="", node_operator="Odd")
    with pytest.raises(ModelRefused, match=r"node number 7 \(Odd\): no importer"):
        _parse(_parser("11.4.0.106", [error]))


def test_on_8_6_the_name_is_taken_from_the_log() -> None:
    with pytest.raises(ModelRefused, match=r"node 'block/odd': no importer"):
        _parse(_parser("8.6.0", [_error(7, "no importer")]), "While parsing node number 7 [Odd]:", LOGGED_NODE)


def test_on_8_6_without_a_logged_name_the_number_is_told() -> None:
    with pytest.raises(ModelRefused, match="node number 7: no importer"):
        _parse(_parser("8.6.0", [_error(7, "no importer")]), 'attribute {\n  name: "axis"\n}')


def test_five_errors_are_told_and_the_rest_is_counted() -> None:
    errors = [_error(n, "bad", node_name=f"n{n}", node_operator="Odd") for n in range(7)]
    with pytest.raises(ModelRefused, match=r"'n4' \(Odd\): bad; and 2 more$") as caught:
        _parse(_parser("10.0.1", errors))
    assert "'n5'" not in str(caught.value)


def test_errors_refuse_a_model_that_the_parser_calls_parsed() -> None:
    error = _error(-1, "unsupported opset", node_name="", node_operator="")
    with pytest.raises(ModelRefused, match="the model: unsupported opset"):
        _parse(_parser("10.0.1", [error], is_parsed=True))


def test_a_refusal_without_an_error_tells_the_log_or_that_there_is_no_reason() -> None:
    with pytest.raises(ModelRefused, match="Failed to open file"):
        _parse(_parser("10.0.1", []), "Failed to open file: /models/model.onnx")
    with pytest.raises(ModelRefused, match="gives no reason"):
        _parse(_parser("10.0.1", []))


def test_parser_flags_are_set_before_parsing_and_missed_on_8_6() -> None:
    (parser,) = _parse(_parser("10.0.1", [], is_parsed=True), native_instancenorm=False)
    names = [name for name, _, _ in parser.calls]
    assert names.index("clear_flag") < names.index("parse_from_file")
    with pytest.raises(PrecisionMissing, match="OnnxParserFlag"):
        _parse(_parser("8.6.0", [], is_parsed=True), native_instancenorm=False)


def _fill(folder: Path, code: str, *, weights: str | None = None, function: str = "build") -> tuple[Any, Any]:
    (folder / "network.py").write_text(code, encoding="utf-8")
    trt = fake_tensorrt(RELEASES[0])
    made = trt.Builder(None).create_network(1)
    source = {"kind": "network", "file": str(folder / "network.py"), "function": function, "weights": weights}
    return made, network.fill(trt, made, Listener(trt), source, {})


def test_a_function_fills_the_network_and_its_weights_stay_alive(tmp_path: Path) -> None:
    (tmp_path / "model.wts").write_text("1\nscale 1 40000000\n")
    code = (
        "def build(network, weights, trt):\n"
        "    x = network.add_input('x', trt.float32, (1, 3))\n"
        "    network.mark_output(x)\n"
        "    return weights['scale'] * 2\n"
    )
    made, kept = _fill(tmp_path, code, weights=str(tmp_path / "model.wts"))
    assert [made.get_input(0).name, made.num_outputs] == ["x", 1]
    weights, _, returned = kept
    assert (weights["scale"].tolist(), returned.tolist()) == ([2.0], [4.0])


def test_a_function_that_was_edited_within_a_second_is_not_answered_by_its_bytecode(tmp_path: Path) -> None:
    trt = fake_tensorrt("8.6.0")
    file = tmp_path / "net.py"
    for expected in (1, 2):
        file.write_text(f"def build(network, weights, trt):\n    return {expected}\n", encoding="utf-8")
        os.utime(file, (1_000_000_000, 1_000_000_000))
        if expected == 1:
            py_compile.compile(str(file))
        source = {"kind": "network", "file": str(file), "function": "build", "weights": None}
        *_, returned = network.call_function(trt, trt.INetworkDefinition(), source)
        assert returned == expected


def test_a_function_may_use_dataclasses_with_annotations_as_text(tmp_path: Path) -> None:
    code = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Size:\n"
        "    rows: int = 3\n"
        "def build(network, weights, trt):\n"
        "    network.mark_output(network.add_input('x', trt.float32, (Size().rows,)))\n"
    )
    made, _ = _fill(tmp_path, code)
    assert made.num_outputs == 1


def test_two_files_of_one_name_do_not_answer_for_each_other(tmp_path: Path) -> None:
    names = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        code = (
            "def build(network, weights, trt):\n"
            f"    network.mark_output(network.add_input({name!r}, trt.float32, (1,)))\n"
        )
        names.append(_fill(tmp_path / name, code)[0].get_input(0).name)
    assert names == ["first", "second"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import nowhere_to_be_found\n", r"network\.py, line 1, in import: ModuleNotFoundError: No module named"),
        (
            "def build(network, weights, trt):\n    return weights['w']\n",
            r"network\.py, line 2, in build: KeyError: 'w'",
        ),
        ("def built(): pass\n", r"has no function 'build'; it is called as build\(network, weights, trt\)"),
        ("build = 3\n", "has no function 'build'"),
        ("def build(network, weights, trt): pass\n", "the network has no outputs"),
        ("def build(:\n", "in import: SyntaxError"),
    ],
)
def test_a_function_that_fails_is_refused_with_its_line(tmp_path: Path, code: str, expected: str) -> None:
    with pytest.raises(ModelRefused, match=expected):
        _fill(tmp_path, code)


def test_a_missing_file_and_one_that_is_no_python_are_refused(tmp_path: Path) -> None:
    trt = fake_tensorrt("8.6.0")
    for name, expected in (("absent.py", "FileNotFoundError"), ("network.txt", r"expected one that ends in \.py")):
        source = {"kind": "network", "file": str(tmp_path / name), "function": "build", "weights": None}
        with pytest.raises(ModelRefused, match=expected):
            network.call_function(trt, trt.INetworkDefinition(), source)
