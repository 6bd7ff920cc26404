"""Tensors of a network are exposed in the way that the release has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from parity.worker.errors import PrecisionMissing
from parity.worker.observing import expose_tensors
from tests.fake_tensorrt import RELEASES, fake_tensorrt
from tests.fake_tensorrt_objects import make_tensor

WITH_DEBUG = [release for release in RELEASES if release != "8.6.0"]


def network_of(trt: Any, *names: str) -> Any:
    """Return a network of one layer for each tensor; the last tensor is its output, one more layer has no output."""
    network = trt.INetworkDefinition()
    tensors = [make_tensor(trt, name, trt.DataType.FLOAT, (2, 3)) for name in names]
    tensors[-1].__dict__["is_network_output"] = True
    layers = [SimpleNamespace(num_outputs=1, get_output=lambda _index, given=tensor: given) for tensor in tensors]
    layers.append(SimpleNamespace(num_outputs=1, get_output=lambda _index: None))
    network.kept("layers", list).extend(layers)
    return network


def asked(how: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"tensors": list(names), "how": how, **more}


def test_outputs_are_marked_and_what_was_half_inside_leaves_as_half() -> None:
    trt = fake_tensorrt("8.6.0")
    network = network_of(trt, "a", "b", "y")
    notes = expose_tensors(trt, network, asked("output", "a", "b", half=["b"]), is_strong=False)
    a, b = network.kept("outputs", list)
    assert (a.name, a.dtype, b.name, b.dtype) == ("a", trt.DataType.FLOAT, "b", trt.DataType.HALF)
    assert notes == ["tensors exposed: 2"]


def test_an_output_of_a_strongly_typed_network_keeps_its_own_type() -> None:
    trt = fake_tensorrt("10.16.1.11")
    network = network_of(trt, "a", "y")
    expose_tensors(trt, network, asked("output", "a", half=["a"]), is_strong=True)
    assert [tensor.dtype for tensor in network.kept("outputs", list)] == [trt.DataType.FLOAT]


def test_a_tensor_that_is_absent_or_an_output_already_is_told_and_no_error() -> None:
    trt = fake_tensorrt("8.6.0")
    network = network_of(trt, "a", "y")
    notes = expose_tensors(trt, network, asked("output", "a", "y", "gone"), is_strong=False)
    assert notes == ["tensors exposed: 1", "the network has no tensor y, gone"]


@pytest.mark.parametrize("release", WITH_DEBUG)
def test_debug_tensors_are_marked_and_refused_ones_told(release: str) -> None:
    trt = fake_tensorrt(release)
    network = network_of(trt, "a", "refused", "y")
    notes = expose_tensors(trt, network, asked("debug", "a", "refused"), is_strong=True)
    assert [args[0].name for args in network.called("mark_debug")] == ["a", "refused"]
    assert notes == ["tensors exposed: 1", "TensorRT refuses to expose refused"]
    assert not network.kept("outputs", list)


@pytest.mark.parametrize("release", ["10.16.1.11", "11.4.0.106"])
def test_unfused_tensors_are_marked_all_at_once(release: str) -> None:
    trt = fake_tensorrt(release)
    network = network_of(trt, "a", "y")
    assert expose_tensors(trt, network, asked("unfused"), is_strong=True) == [
        "the tensors that survive fusion are debug tensors"
    ]
    assert len(network.called("mark_unfused_tensors_as_debug_tensors")) == 1


@pytest.mark.parametrize(
    ("release", "how", "has"),
    [("8.6.0", "debug", r"10\.0 and later"), ("8.6.0", "unfused", r"10\.12 and"), ("10.0.1", "unfused", r"10\.12 and")],
)
def test_what_a_release_lacks_is_refused_by_name(release: str, how: str, has: str) -> None:
    trt = fake_tensorrt(release)
    with pytest.raises(PrecisionMissing, match=rf"observe: TensorRT {release} has no INetworkDefinition\..*{has}"):
        expose_tensors(trt, network_of(trt, "a", "y"), asked(how, "a"), is_strong=False)


def test_a_type_that_can_no_longer_be_set_is_refused_with_what_to_do() -> None:
    trt = fake_tensorrt("11.4.0.106")
    with pytest.raises(PrecisionMissing, match="takes the type of a from the model"):
        expose_tensors(trt, network_of(trt, "a", "y"), asked("output", "a", half=["a"]), is_strong=False)
