"""Calibration gives each batch once, in TensorRT's order, and nothing is raised into TensorRT."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parity.worker import cuda
from parity.worker.calibrator import Batches, calibration_feeds, make_calibrator
from parity.worker.errors import FeedRefused, PrecisionMissing, WorkerError
from parity.worker.tensor import Tensor
from tests.fake_pycuda import CudaError, CudaMemoryError, FakeGpu
from tests.fake_tensorrt import fake_tensorrt
from tests.fake_tensorrt_objects import make_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NPTYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    stand_in = FakeGpu()
    stand_in.install(monkeypatch)
    yield stand_in
    cuda.release()


@pytest.fixture
def trt() -> Any:
    return fake_tensorrt("8.6.0", {"nptype": lambda dtype: NPTYPES[dtype.name]})


def _feeds(count: int) -> list[dict[str, np.ndarray]]:
    return [{"a": np.full((2, 3), n, np.float32), "b": np.full((2,), -n, np.float32)} for n in range(1, count + 1)]


def _on_device(gpu: FakeGpu, address: int) -> np.ndarray:
    return next(held.data for held in gpu.allocations if int(held) == address).view(np.float32)


@pytest.mark.parametrize(
    ("kind", "base"), [("entropy", "IInt8EntropyCalibrator2"), ("minmax", "IInt8MinMaxCalibrator")]
)
def test_each_batch_is_given_once_in_the_order_of_the_names(gpu: FakeGpu, trt: Any, kind: str, base: str) -> None:
    calibrator = make_calibrator(trt, kind, Batches(_feeds(2), None))
    assert isinstance(calibrator, getattr(trt, base))
    assert calibrator.get_batch_size() == 2
    seen = []
    for _ in range(2):
        b, a = calibrator.get_batch(["b", "a"])
        seen.append((_on_device(gpu, a)[0], _on_device(gpu, b)[0]))
    assert seen == [(1.0, -1.0), (2.0, -2.0)]
    assert calibrator.get_batch(["b", "a"]) is None


def test_buffers_are_made_once_and_freed(gpu: FakeGpu) -> None:
    batches = Batches(_feeds(3), None)
    while batches.next(["a", "b"]):
        pass
    assert len(gpu.allocations) == 2
    batches.release()
    assert all(held.is_free for held in gpu.allocations)


def test_a_feed_that_is_not_contiguous_arrives_in_order(gpu: FakeGpu) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    addresses = Batches([{"a": array}], None).next(["a"])
    assert addresses is not None
    assert _on_device(gpu, addresses[0]).tolist() == [0, 3, 1, 4, 2, 5]


def test_a_failure_ends_the_batches_and_is_raised_afterwards(gpu: FakeGpu) -> None:
    batches = Batches(_feeds(2), None)
    gpu.faults["mem_alloc"] = CudaMemoryError("cuMemAlloc failed: out of memory")
    assert batches.next(["a"]) is None
    gpu.faults.clear()
    assert batches.next(["a"]) is None
    with pytest.raises(WorkerError, match="the buffers of calibration: out of memory"):
        batches.check()


def test_an_input_without_a_feed_is_named_afterwards(gpu: FakeGpu) -> None:
    batches = Batches(_feeds(1), None)
    assert batches.next(["a", "mask"]) is None
    with pytest.raises(FeedRefused, match="the feeds lack mask; they have a, b"):
        batches.check()


def test_nothing_is_raised_where_nothing_failed(gpu: FakeGpu) -> None:
    batches = Batches(_feeds(1), None)
    batches.next(["a", "b"])
    batches.check()
    assert batches.served == 1


def test_the_cache_is_written_and_read_back(trt: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "calibration.cache")
    first = make_calibrator(trt, "entropy", Batches(_feeds(1), path))
    assert first.read_calibration_cache() is None
    first.write_calibration_cache(memoryview(b"TRT-8600-EntropyCalibration2\nx: 3c010a14\n"))
    batches = Batches(_feeds(1), path)
    assert make_calibrator(trt, "entropy", batches).read_calibration_cache().startswith(b"TRT-8600")
    assert batches.has_read_cache
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.cache"]


def test_a_cache_that_cannot_be_used_is_told_afterwards(trt: Any, tmp_path: Path) -> None:
    unreadable, unwritable = Batches(_feeds(1), str(tmp_path)), Batches(_feeds(1), str(tmp_path / "absent" / "x"))
    assert make_calibrator(trt, "entropy", unreadable).read_calibration_cache() is None
    make_calibrator(trt, "entropy", unwritable).write_calibration_cache(b"x")
    for batches, expected in (
        (unreadable, "cannot be read: Is a directory"),
        (unwritable, "cannot be written: No such"),
    ):
        with pytest.raises(WorkerError, match=expected):
            batches.check()


def test_without_a_cache_nothing_is_kept(trt: Any) -> None:
    calibrator = make_calibrator(trt, "entropy", Batches(_feeds(1), None))
    calibrator.write_calibration_cache(b"x")
    assert calibrator.read_calibration_cache() is None


def test_a_tensorrt_without_calibrators_says_what_to_do() -> None:
    with pytest.raises(PrecisionMissing, match=r"11\.4\.0\.106 has no calibrators: quantize the model with Q/DQ"):
        make_calibrator(fake_tensorrt("11.4.0.106"), "entropy", Batches(_feeds(1), None))


def _network(trt: Any, **dtypes: str) -> Any:
    inputs = [make_tensor(trt, name, getattr(trt.DataType, dtype), (2,)) for name, dtype in dtypes.items()]
    return SimpleNamespace(num_inputs=len(inputs), get_input=inputs.__getitem__)


def test_integers_are_narrowed_as_the_network_narrows_them(trt: Any) -> None:
    feed = {"ids": Tensor(np.array([1, -7], np.int64), "int64"), "spare": Tensor(np.zeros(1), "float64")}
    (taken,) = calibration_feeds(trt, _network(trt, ids="INT32"), [feed])
    assert taken.keys() == {"ids"}
    assert (taken["ids"].dtype.name, taken["ids"].tolist()) == ("int32", [1, -7])


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ([], "there are no feeds"),
        ([np.zeros(2, np.float16)], "x is float16, and the network takes float32"),
        (
            [np.zeros((4, 1), np.float32), np.zeros((3, 1), np.float32)],
            r"shape \(4, 1\) in the first .*\(3, 1\) in feed 2",
        ),
    ],
)
def test_feeds_that_tensorrt_would_misread_are_refused(trt: Any, arrays: list[np.ndarray], expected: str) -> None:
    feeds = [{"x": Tensor(array, array.dtype.name)} for array in arrays]
    with pytest.raises(FeedRefused, match=expected):
        calibration_feeds(trt, _network(trt, x="FLOAT"), feeds)


def test_an_integer_beyond_32_bits_is_refused(trt: Any) -> None:
    with pytest.raises(FeedRefused, match="ids is int64, and the network takes int32"):
        calibration_feeds(trt, _network(trt, ids="INT32"), [{"ids": Tensor(np.array([2**31]), "int64")}])


def test_raw_bfloat16_passes_as_it_is() -> None:
    trt = fake_tensorrt("10.0.1")
    raw = np.array([0x3F80], np.uint16)
    (taken,) = calibration_feeds(trt, _network(trt, x="BF16"), [{"x": Tensor(raw, "bfloat16")}])
    assert taken["x"] is raw


def test_a_cuda_error_of_a_copy_is_told_afterwards(gpu: FakeGpu) -> None:
    gpu.faults["memcpy_htod"] = CudaError("cuMemcpyHtoD failed: invalid argument")
    batches = Batches(_feeds(1), None)
    assert batches.next(["a"]) is None
    with pytest.raises(WorkerError, match="invalid argument"):
        batches.check()
