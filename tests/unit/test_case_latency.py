"""``[latency]`` of a case file: every mistake told with its path, and what a budget becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parity.case.loader import load_case
from parity.case.model import LatencyBudget, LatencyOptions
from parity.errors import CaseError
from tests.tiny_cases import RANDOM_INPUTS, two_matmuls
from tests.tiny_cases import write_matmul_case as write_fixed_case
from tests.unit.tiny_case import CASE_FILE, write_case

if TYPE_CHECKING:
    from pathlib import Path


NO_LIMIT = "a budget without a limit lets everything through"
OTHER_BATCHES = "[latency]\nbatch_sizes = [4, 8]\n"


def loaded(folder: Path, text: str) -> LatencyOptions:
    return load_case(write_case(folder, f"{CASE_FILE}{text}")).latency


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(CaseError) as caught:
        loaded(folder, text)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_without_a_table_the_cases_own_batch_is_measured_and_nothing_judged(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == LatencyOptions((2,))


def test_budgets_are_kept_in_order_with_the_batch_they_judge(tmp_path: Path) -> None:
    text = """
[latency]
batch_sizes = [1, 2, 8]
[[latency.budgets]]
variant = "fp16@tensorrt-8.6"
max_median_ms = 1.5
max_p99_ms = 2
reason = "a frame"
[[latency.budgets]]
variant = "fp*"
batch = 8
max_ratio = 0.6
to = "fp32@onnxruntime"
reason = "worth its precision"
"""
    assert loaded(tmp_path, text) == LatencyOptions(
        (2, 1, 8),
        budgets=(
            LatencyBudget("fp16@tensorrt-8.6", 2, 1.5, 2, None, "", "a frame"),
            LatencyBudget("fp*", 8, None, None, 0.6, "fp32@onnxruntime", "worth its precision"),
        ),
    )


def test_the_mode_is_what_the_table_says(tmp_path: Path) -> None:
    options = loaded(tmp_path, "[latency]\ncuda_graph = true\nstreams = 4\n")
    assert options == LatencyOptions((2,), cuda_graph=True, streams=4)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = """
[latency]
streams = 0
cuda_grap = true
[[latency.budgets]]
variant = "fp61"
max_median_ms = 1
reason = "r"
[[latency.budgets]]
variant = "fp16"
reason = "no limit"
[[latency.budgets]]
max_ratio = 0.5
reason = "to is missing"
[[latency.budgets]]
max_ratio = 0.5
to = "fp31"
reason = "r"
[[latency.budgets]]
max_median_ms = 0
batch = 16
[[latency.budgets]]
variant = "fp32"
max_ratio = 1
to = "fp32"
reason = "itself"
"""
    found = mistakes(tmp_path, text)
    assert set(found) == {
        "latency.streams: expected greater than or equal to 1; got 0",
        "latency.cuda_grap: unknown key; did you mean 'cuda_graph'?",
        "latency.budgets[0].variant: expected one of fp32, fp16; got 'fp61'; did you mean 'fp16'?",
        f"latency.budgets[1]: expected one of max_median_ms, max_p99_ms, max_ratio; {NO_LIMIT}",
        'latency.budgets[2]: max_ratio and to go together, such as max_ratio = 0.6, to = "fp32"',
        "latency.budgets[3].to: expected one of fp32, fp16; got 'fp31'; did you mean 'fp32'?",
        "latency.budgets[4].max_median_ms: expected greater than 0; got 0",
        "latency.budgets[4].reason: is missing",
        "latency.budgets[4].batch: batch 16 is not measured; expected one of 2 (batch_sizes)",
        "latency.budgets[5].to: is the judged variant itself, 'fp32'; name another one",
    }


@pytest.mark.parametrize("where", ["tensort", "", "tensorrt-8", "cuda", "onnxruntime-8.6", "onnxrt*"])
@pytest.mark.parametrize("key", ["variant", "to"])
def test_a_budget_that_no_run_would_ever_judge_is_a_mistake(tmp_path: Path, key: str, where: str) -> None:
    names = {"variant": "fp16", "to": "fp32"}
    names[key] += f"@{where}"
    text = f"""
[[latency.budgets]]
variant = "{names["variant"]}"
max_ratio = 0.5
to = "{names["to"]}"
reason = "r"
"""
    [found] = mistakes(tmp_path, text)
    assert found.startswith(f"latency.budgets[0].{key}: behind @ expected one of onnxruntime, onnxruntime-cuda")


@pytest.mark.parametrize(
    "where",
    [
        *("onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-8.6", "tensorrt-10.16-gpu1"),
        *("*", "tensorrt*", "tensorrt-10.*", "onnxruntime-*"),
    ],
)
def test_a_budget_may_name_every_place_that_a_variant_runs_at(tmp_path: Path, where: str) -> None:
    text = f'[[latency.budgets]]\nvariant = "fp16@{where}"\nmax_median_ms = 1\nreason = "r"\n'
    assert loaded(tmp_path, text).budgets[0].variant == f"fp16@{where}"


@pytest.mark.parametrize(
    ("variant", "to", "is_itself"),
    [
        ("fp32@onnxruntime", "fp32", True),
        ("fp32*", "fp32", True),
        ("fp32@tensorrt-8.6", "fp32@tensorrt-8.6", True),
        ("fp32", "fp32@onnxruntime", False),
        ("fp32@tensorrt", "fp32@onnxruntime", False),
        ("fp*", "fp32", False),
    ],
)
def test_a_variant_is_no_multiple_of_itself(tmp_path: Path, variant: str, to: str, is_itself: bool) -> None:
    text = f'[[latency.budgets]]\nvariant = "{variant}"\nmax_ratio = 0.5\nto = "{to}"\nreason = "r"\n'
    if is_itself:
        [found] = mistakes(tmp_path, text)
        assert "is the judged variant itself" in found
    else:
        assert loaded(tmp_path, text).budgets


@pytest.mark.parametrize("text", ["latency = 3\n", "[latency]\nbudgets = 3\n", "[latency]\nbudgets = [3]\n"])
def test_what_is_no_table_is_told(text: str, tmp_path: Path) -> None:
    whole = f"{text}{CASE_FILE}" if text.startswith("latency =") else f"{CASE_FILE}{text}"
    with pytest.raises(CaseError) as caught:
        load_case(write_case(tmp_path, whole))
    assert [mistake.path.partition("[")[0] for mistake in caught.value.mistakes] == [
        "latency" if text.startswith("latency =") else "latency.budgets"
    ]


def test_other_batches_of_a_model_with_a_fixed_batch_are_refused(tmp_path: Path) -> None:
    folder = write_fixed_case(tmp_path / "fixed", inputs=f"{RANDOM_INPUTS}{OTHER_BATCHES}")
    assert two_matmuls(1.0).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    with pytest.raises(CaseError, match=r"latency\.batch_sizes: the model's batch is fixed .*leave out all but 4"):
        load_case(folder)
