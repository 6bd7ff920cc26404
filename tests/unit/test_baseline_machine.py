"""The key of a machine: equal where figures are comparable, another one where they are not, safe as a file's name."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given

from parity.baseline.machine import machine_of, variant_key
from parity.errors import BaselineError
from parity.results import GpuRecord
from tests.accepted import GPU_HOST, LABEL, MACHINE, WORKER
from tests.texts import any_text


def of(label: str = LABEL, **worker) -> str:
    return machine_of(replace(GPU_HOST, workers=(replace(WORKER, **worker),)), label).key


def test_an_engines_machine_is_gpu_capability_and_major_releases() -> None:
    assert of() == MACHINE


def test_minor_releases_are_one_machine() -> None:
    assert of(driver="580.200.1", packages={"tensorrt": "8.6.1"}) == of()


@pytest.mark.parametrize(
    "other",
    [
        {"gpu": "NVIDIA H100"},
        {"compute_capability": "9.1"},
        {"driver": "570.1"},
        {"packages": {"tensorrt": "10.16.1"}},
    ],
)
def test_what_changes_a_figure_is_another_machine(other: dict) -> None:
    assert of(**other) != of()


def test_the_cpus_machine_is_processor_and_minor_release() -> None:
    assert machine_of(GPU_HOST, "fp16@onnxruntime").key == "intel-xeon-onnxruntime-1.31"


def test_a_provider_on_a_gpu_takes_the_gpu_of_the_runs_engines() -> None:
    found = machine_of(GPU_HOST, "fp16@onnxruntime-cuda").key
    assert found == "nvidia-h200-cc9.0-onnxruntime-cuda-1.31-driver-580"


def test_a_provider_on_a_gpu_that_nvml_tells_needs_no_engine_and_is_the_same_machine() -> None:
    gpu = GpuRecord(WORKER.gpu, WORKER.compute_capability, WORKER.driver)
    alone = machine_of(replace(GPU_HOST, workers=(), gpus=(gpu,)), "fp16@onnxruntime-cuda")
    assert alone == machine_of(GPU_HOST, "fp16@onnxruntime-cuda")
    with pytest.raises(BaselineError, match="does not say on which GPU"):
        machine_of(replace(GPU_HOST, gpus=(gpu, replace(gpu, gpu="B"))), "fp16@onnxruntime-cuda")


@pytest.mark.parametrize("label", ["fp16@onnxruntime-cuda", LABEL, "fp16@tensorrt"])
def test_a_run_that_does_not_say_its_gpu_is_refused(label: str) -> None:
    with pytest.raises(BaselineError, match="does not say on which GPU"):
        machine_of(replace(GPU_HOST, workers=()), label)


def test_of_two_workers_the_variants_own_counts() -> None:
    newer = replace(WORKER, name="tensorrt-10.16", packages={"tensorrt": "10.16.1"})
    both = replace(GPU_HOST, workers=(WORKER, newer))
    assert "tensorrt-10-" in machine_of(both, "fp16@tensorrt-10.16").key
    assert machine_of(both, LABEL).key == MACHINE


@given(any_text(max_size=300), any_text(max_size=300))
def test_whatever_a_machine_is_called_its_key_is_a_plain_file_name(gpu: str, driver: str) -> None:
    key = of(gpu=gpu, driver=driver)
    assert re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", key)
    assert len(key) <= 160
    assert ".." not in key


def test_a_name_that_is_cut_ends_as_a_name_does() -> None:
    assert of(gpu="x" * 159 + " y") == "x" * 159


def test_no_fact_names_the_host_or_a_path() -> None:
    assert set(machine_of(GPU_HOST, LABEL).facts) == {
        *("gpu", "compute capability", "driver", "tensorrt", "cuda", "python"),
    }


@pytest.mark.parametrize(
    ("label", "key"),
    [(LABEL, "fp16@tensorrt"), ("fp16@tensorrt", "fp16@tensorrt"), ("a@b@onnxruntime-tensorrt",) * 2],
)
def test_a_variants_key_leaves_out_the_release_of_tensorrt(label: str, key: str) -> None:
    assert variant_key(label) == key
