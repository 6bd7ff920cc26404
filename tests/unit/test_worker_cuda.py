"""The worker holds the primary context once, and tells a lost context from a failed call."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import pytest

from parity.worker import cuda
from parity.worker.errors import CudaLost, Unavailable, WorkerError
from tests.fake_pycuda import CudaError, CudaMemoryError, FakeGpu

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    stand_in = FakeGpu(count=2)
    stand_in.install(monkeypatch)
    yield stand_in
    cuda.release()


def _refuse_pycuda(monkeypatch: pytest.MonkeyPatch, error: ImportError) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name.startswith("pycuda"):
            raise error
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_the_primary_context_is_retained_and_pushed_once(gpu: FakeGpu) -> None:
    assert cuda.context() is cuda.context(0) is cuda.context()
    assert (gpu.retained, gpu.stack) == ([0], [0])


def test_no_index_means_the_current_device(gpu: FakeGpu) -> None:
    cuda.context(1)
    cuda.context()
    assert (gpu.retained, gpu.stack) == ([1], [1])


def test_another_device_takes_the_place_of_the_first(gpu: FakeGpu) -> None:
    for index in (0, 1, 0):
        cuda.context(index)
    assert (gpu.retained, gpu.stack) == ([0, 1], [0])


def test_release_leaves_nothing_pushed_and_can_be_repeated(gpu: FakeGpu) -> None:
    cuda.context()
    cuda.release()
    cuda.release()
    assert gpu.stack == []


def test_a_device_that_is_not_there_is_named(gpu: FakeGpu) -> None:
    with pytest.raises(Unavailable, match=r"GPU 2 was asked for and 2 are visible.*nvidia-smi -L"):
        cuda.context(2)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ModuleNotFoundError("No module named 'pycuda'", name="pycuda"),
            r"PyCUDA is not installed.*-m pip install pycuda",
        ),
        (ImportError("libcuda.so.1: cannot open shared object file"), r"No NVIDIA driver.*nvidia-smi.*--gpus all"),
        (
            ImportError("_driver.so: undefined symbol: cuCtxCreate_v4"),
            r"driver is older than the CUDA.*--no-binary pycuda",
        ),
        (ImportError("numpy.core.multiarray failed to import"), r"cannot be imported.*multiarray.*--force-reinstall"),
    ],
)
def test_a_missing_part_is_told_with_what_mends_it(
    monkeypatch: pytest.MonkeyPatch, error: ImportError, expected: str
) -> None:
    _refuse_pycuda(monkeypatch, error)
    with pytest.raises(Unavailable, match=expected):
        cuda.driver()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cuInit failed: no CUDA-capable device is detected", "No GPU can be used"),
        ("cuInit failed: CUDA driver version is insufficient for CUDA runtime version", "driver is too old"),
        ("cuInit failed: system has unsupported display driver / cuda driver combination", "driver is too old"),
        ("cuInit failed: initialization error", "cannot be initialized"),
    ],
)
def test_a_driver_that_does_not_start_is_told_apart(gpu: FakeGpu, text: str, expected: str) -> None:
    gpu.faults["init"] = CudaError(text)
    with pytest.raises(Unavailable, match=expected):
        cuda.driver()


def test_a_machine_without_a_gpu_is_unavailable(gpu: FakeGpu) -> None:
    gpu.count = 0
    with pytest.raises(Unavailable, match="No GPU can be used"):
        cuda.driver()


@pytest.mark.parametrize(
    "text",
    [
        "cuMemcpyDtoH failed: an illegal memory access was encountered",
        "cuCtxSynchronize failed: unspecified launch failure",
        "cuEventSynchronize failed: the launch timed out and was terminated",
        "cuStreamSynchronize failed: device-side assert triggered",
        "cuMemAlloc failed: uncorrectable ECC error encountered",
        "cuStreamSynchronize failed: misaligned address",
        "cuStreamSynchronize failed: unknown error",
    ],
)
def test_a_sticky_error_loses_the_worker(gpu: FakeGpu, text: str) -> None:
    with pytest.raises(CudaLost, match=r"the buffers: .*cannot be used any more"), cuda.mapped_errors("the buffers"):
        raise CudaError(text)


def test_an_error_that_repeats_without_reason_loses_the_worker_too(gpu: FakeGpu) -> None:
    gpu.faults["synchronize"] = CudaError("cuCtxSynchronize failed: an error of tomorrow")
    with pytest.raises(CudaLost), cuda.mapped_errors("the buffers"):
        raise CudaError("cuMemcpyHtoD failed: an error of tomorrow")


def test_an_error_that_does_not_repeat_leaves_the_context(gpu: FakeGpu) -> None:
    refused = pytest.raises(WorkerError, match="the buffers: cuMemcpyHtoD failed: invalid argument")
    with refused as caught, cuda.mapped_errors("the buffers"):
        raise CudaError("cuMemcpyHtoD failed: invalid argument")
    assert caught.type is WorkerError


def test_out_of_memory_says_how_much_is_free(gpu: FakeGpu) -> None:
    refused = pytest.raises(WorkerError, match="out of memory, 3072 of the GPU's 142336 MiB are free")
    with refused as caught, cuda.mapped_errors("the buffers"):
        raise CudaMemoryError("cuMemAlloc failed: out of memory")
    assert caught.type is WorkerError


def test_out_of_memory_is_told_even_if_the_gpu_does_not_answer(gpu: FakeGpu) -> None:
    gpu.faults["mem_get_info"] = CudaError("cuMemGetInfo failed: invalid device context")
    with pytest.raises(WorkerError, match="does not say how much is free"), cuda.mapped_errors("the buffers"):
        raise CudaMemoryError("cuMemAlloc failed: out of memory")


def test_errors_that_are_not_cudas_pass_unchanged(gpu: FakeGpu) -> None:
    with pytest.raises(KeyError), cuda.mapped_errors("the buffers"):
        raise KeyError("mine")


def test_memory_answers_in_bytes(gpu: FakeGpu) -> None:
    assert cuda.memory(None, {}) == {"free_bytes": 3 << 30, "total_bytes": 139 << 30}


@pytest.mark.parametrize(
    "text", ["Error Code 1: Cuda Runtime (an illegal memory access was encountered)", "(unknown error)"]
)
def test_texts_of_tensorrt_are_recognized(text: str) -> None:
    assert cuda.is_lost(text)


def test_running_out_of_memory_does_not_lose_the_context() -> None:
    assert not cuda.is_lost("Error Code 2: OutOfMemory (no further information)")
