"""The engine inspector's JSON: real answers of TensorRT 8.6, and one made by hand from the documented schema of 11."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.errors import BackendError, ParityError
from parity.inspector import EngineLayer, EngineTensor, parse_inspection
from parity.layer_precision import datatype_of, layer_precision
from tests.pages import ROOT
from tests.texts import any_text

DATA = ROOT / "tests" / "data" / "inspector"


def read(name: str) -> str:
    return (DATA / f"{name}.json").read_text(encoding="utf-8")


def one_layer(**fields: object) -> EngineLayer:
    entry = {"Name": "layer", "LayerType": "CaskConvolution", **fields}
    return parse_inspection(json.dumps({"Layers": [entry], "Bindings": []})).layers[0]


@pytest.mark.parametrize(
    ("precision", "counts"),
    [("fp32", {"fp32": 22}), ("tf32", {"tf32": 20, "fp32": 2}), ("fp16", {"fp16": 22}), ("int8", {"int8": 22})],
)
def test_the_arithmetic_layers_of_real_engines_are_told_by_precision(precision: str, counts: dict[str, int]) -> None:
    inspection = parse_inspection(read(f"tensorrt-8.6-{precision}"))
    assert Counter(layer.precision for layer in inspection.layers if layer.is_arithmetic) == counts
    assert inspection.bindings == ("images", "logits", "prob")


def test_a_fused_layer_names_its_onnx_nodes_across_raw_control_characters() -> None:
    text = read("tensorrt-8.6-fp16")
    assert "\x1e" in text
    layers = {layer.name: layer for layer in parse_inspection(text).layers}
    assert layers["s0b0b + s0b0_add + s0b0_relu2"].nodes == ("s0b0b", "s0b0_add", "s0b0_relu2")
    reformat = layers["Reformatting CopyNode for Input Tensor 0 to stem + stem_relu"]
    assert (reformat.is_reformat, reformat.is_arithmetic, reformat.nodes) == (True, False, ())
    assert reformat.inputs == (EngineTensor("images", "fp32", (8, 3, 224, 224), "Row major linear FP32"),)


def test_an_answer_in_the_schema_of_11_is_read_alike() -> None:
    inspection = parse_inspection(read("made-by-hand-11"))
    conv, matmul, pointwise, shape = inspection.layers
    assert inspection.bindings == ("images", "logits")
    assert (conv.precision, conv.is_arithmetic, conv.nodes) == ("int8", True, ("/stem/Conv", "/stem/Relu"))
    assert conv.inputs[0] == EngineTensor("images_q", "int8", (-1, 3, 32, 32), "Row major linear")
    assert (matmul.precision, matmul.is_arithmetic, matmul.nodes) == ("bf16", True, ("/head/MatMul", "/head/Add"))
    assert (pointwise.precision, pointwise.is_arithmetic, pointwise.has_all_nodes) == ("fp8", False, False)
    assert (shape.precision, shape.inputs) == ("other", ())


def test_layers_as_names_are_an_error_that_says_how_to_build() -> None:
    with pytest.raises(BackendError, match=r"'a \+ b' comes as a name only; build the engine with .* DETAILED"):
        parse_inspection('{"Layers": ["a + b"], "Bindings": ["x"]}')


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"Layers": {}}', '{"Layers": [1]}', '{"Layers": [{"LayerType": "x"}]}',
     '{"Layers": [{"Name": "x"}]}', '{"Layers": [{"Name": "x", "LayerType": "y", "Inputs": ["z"]}]}'],
)  # fmt: skip
def test_an_answer_of_another_form_is_an_error_of_the_tree(text: str) -> None:
    with pytest.raises(BackendError, match="engine inspector: "):
        parse_inspection(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("Inputs", "Outputs", "Weights", "TacticName", "Metadata", "ParameterType")


NAMED = {"Name": any_text(), "LayerType": any_text(min_size=1)}


@given(st.fixed_dictionaries(NAMED, optional=dict.fromkeys(KEYS, JSON)), JSON)
def test_whatever_a_layer_holds_is_read_or_told(entry: dict[str, object], bindings: object) -> None:
    with suppress(ParityError):
        inspection = parse_inspection(json.dumps({"Layers": [entry], "Bindings": bindings}))
        assert [layer.name for layer in inspection.layers] == [entry["Name"]]


def test_names_may_repeat() -> None:
    entry = {"Name": "same", "LayerType": "kgen"}
    assert len(parse_inspection(json.dumps({"Layers": [entry, entry]})).layers) == 2


def test_layers_of_8_6_repeat_for_each_profile_and_one_profile_is_taken() -> None:
    names = ("conv", "gap", "conv [profile 1]", "gap [profile 1]")
    entries = [{"Name": name, "LayerType": "CaskConvolution"} for name in names]
    inspection = parse_inspection(json.dumps({"Layers": entries}))
    assert [layer.name for layer in inspection.of_profile(1)] == ["conv [profile 1]", "gap [profile 1]"]
    assert [layer.name for layer in inspection.of_profile(0)] == ["conv", "gap"]


def test_one_list_serves_every_profile_since_10() -> None:
    inspection = parse_inspection(json.dumps({"Layers": [{"Name": "conv", "LayerType": "CaskConvolution"}]}))
    assert inspection.of_profile(3) == inspection.layers


@pytest.mark.parametrize(
    ("metadata", "nodes"),
    [
        ("[ONNX Layer: a]\x1f[ONNX Layer: b]\x1e[ONNX Layer: a]", ("a", "b")),
        ("[ONNX Layer: a][ONNX Layer: b]", ("a", "b")),
        ("[ONNX Layer: /f/Mul | Local Function: f]\x1e[ONNX Layer: c]", ("/f/Mul", "c")),
        ("", ()),
    ],
)
def test_metadata_gives_each_node_once(metadata: str, nodes: tuple[str, ...]) -> None:
    assert one_layer(Metadata=metadata).nodes == nodes


def test_a_foreign_node_is_opaque_and_float32_at_its_boundary_says_nothing() -> None:
    edge = [{"Name": "x", "Format/Datatype": "Row major linear FP32"}]
    layer = one_layer(Name="{ForeignNode[a...b]}", LayerType="Myelin", Inputs=edge, Outputs=edge)
    assert (layer.is_opaque, layer.is_arithmetic, layer.precision) == (True, False, "none")


def test_a_foreign_node_with_half_tensors_runs_in_half() -> None:
    edge = [{"Name": "x", "Format/Datatype": "Row major linear FP16 format"}]
    assert one_layer(Name="{ForeignNode[a...b]}", LayerType="Myelin", Inputs=edge).precision == "fp16"


def test_a_layer_of_myelin_that_fuses_a_product_is_arithmetic_and_a_conversion_is_not() -> None:
    assert one_layer(Name="__myl_FcAddRelu_myl0_3", LayerType="kgen").is_arithmetic
    assert not one_layer(Name="__myl_MulAddConvert_myl0_3", LayerType="kgen").is_arithmetic


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("UINT8", "other"), ("INT8", "int8"), ("Int8", "int8"), ("BFLOAT16", "bf16"), ("BF16", "bf16"),
        ("FLOAT8E4M3FN", "fp8"), ("FP8", "fp8"), ("FLOAT4E2M1", "other"), ("FLOAT", "fp32"), ("HALF", "fp16"),
        ("Two wide channel vectorized row major FP16 format", "fp16"), ("INT64", "other"), ("BOOL", "other"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"), ("", "none"), ("N/A", "none"),
    ],
)  # fmt: skip
def test_words_for_types_are_read_whole(text: str, dtype: str) -> None:
    assert datatype_of(text) == dtype


@pytest.mark.parametrize(
    ("tactic", "operands", "precision"),
    [
        ("sm80_xmma_fprop_implicit_gemm_f32f32_tf32f32_f32_nhwckrsc", "fp32", "tf32"),
        ("sm70_xmma_gemm_as_conv1x1_f32f32_f32_f32_tn_n_simt", "fp32", "fp32"),
        ("sm50_xmma_cublas_gemvx_f16f16_f32_f32_tn_n_int32_unit_n", "fp16", "fp16"),
        ("sm90_xmma_gemm_e4m3e4m3_f32f32_f32_tn_n", "fp8", "fp8"),
        ("sm90_xmma_fprop_implicit_gemm_i8f32_i8i32_f32_nchw", "int8", "int8"),
        ("sm89_xmma_gemm_e4m3bf16_e4m3f32_bf16_tn_n", "fp8", "fp8"),
        ("ampere_sgemm_32x32_sliced1x4_nn", "fp32", "fp32"),
        ("cutlass_80_tensorop_s1688gemm_128x128", "fp32", "tf32"),
        ("turing_fp16_s1688cudnn_fp16_256x64", "fp16", "fp16"),
        ("", "fp16", "fp16"),
        ("", "none", "none"),
    ],
)
def test_the_product_in_a_kernels_name_decides_and_else_its_operands(
    tactic: str, operands: str, precision: str
) -> None:
    found = layer_precision(tactic, inputs=[operands], outputs=["fp32"] * (operands != "none"), weights="none",
                            is_arithmetic=True)  # fmt: skip
    assert found == precision


def test_int8_weights_behind_half_operands_are_half_arithmetic() -> None:
    assert layer_precision("", inputs=["fp16"], outputs=["fp16"], weights="int8", is_arithmetic=True) == "fp16"
