"""Arrays and plain data arrive as they were sent, through mapped files and through the channel."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parity.backends.tensorrt.exchange import Exchange
from parity.errors import BackendError, FeedError
from parity.worker.errors import WorkerError
from parity.worker.exchange import Exchange as WorkerExchange
from parity.worker.segments import create_segment
from parity.worker.tensor import CARRIERS, Tensor
from parity.worker.transport import PIECE_BYTES, ChannelTransport, MappedTransport
from tests.conversations import closing, toy_conversation
from tests.texts import any_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.backends.tensorrt.process import LiveConversation

LIMIT_S = 120.0
FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=["mapped", "channel"])
def toys(request: pytest.FixtureRequest) -> Iterator[LiveConversation]:
    yield from closing(toy_conversation(mapped=request.param == "mapped"))


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name)) if CARRIERS[name] != name else np.dtype(name)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Draw any bits of any dtype, in any layout: strided, transposed, of foreign byte order, empty, without axes."""
    dtype = dtype_of(draw(st.sampled_from(sorted(CARRIERS))))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    count = int(np.prod(shape, dtype=int)) * dtype.itemsize
    bits = np.frombuffer(draw(st.binary(min_size=count, max_size=count)), np.uint8)
    array = (bits & 1).astype(bool) if dtype.kind == "b" else bits.view(dtype)
    array = array.reshape(shape)
    layout = draw(st.sampled_from(["plain", "transposed", "strided", "swapped"]))
    if layout == "transposed":
        return array.T
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "swapped" and CARRIERS[dtype.name] == dtype.name:
        return array.astype(dtype.newbyteorder(">"))
    return array


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    assert (actual.dtype, actual.shape) == (expected.dtype.newbyteorder("="), expected.shape)
    # tobytes() goes in the order of the axes, whatever the layout; NaN of any payload compares equal to itself.
    assert actual.tobytes() == expected.astype(expected.dtype.newbyteorder("=")).tobytes()
    assert actual.flags.writeable
    assert actual.flags.c_contiguous


@FAST
@given(tensors=st.dictionaries(any_text(min_size=1, max_size=4), arrays(), max_size=3))
@pytest.mark.parametrize("operation", ["echo", "allocated"])
def test_arrays_arrive_as_they_were_sent(
    toys: LiveConversation, operation: str, tensors: dict[str, np.ndarray]
) -> None:
    answer = toys.ask(operation, {"tensors": tensors}, LIMIT_S)["tensors"]
    assert list(answer) == list(tensors)
    for name, array in tensors.items():
        assert_same(answer[name], array)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | any_text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@FAST
@given(fields=st.dictionaries(any_text(max_size=5), plain, max_size=4))
def test_plain_data_arrives_as_it_was_sent(toys: LiveConversation, fields: dict[str, Any]) -> None:
    assert toys.ask("echo", fields, LIMIT_S) == fields


def test_tuples_become_lists_and_numbers_of_numpy_become_numbers(toys: LiveConversation) -> None:
    fields = {"shape": (1, np.int64(2)), "scale": np.float32(0.5), "yes": np.bool_(True), "inf": float("-inf")}
    answer = toys.ask("echo", fields, LIMIT_S)
    assert answer == {"shape": [1, 2], "scale": 0.5, "yes": True, "inf": float("-inf")}
    assert [type(value) for value in answer["shape"]] == [int, int]


def test_answers_are_the_callers_own_and_outlive_the_worker(toys: LiveConversation) -> None:
    first = toys.ask("echo", {"a": np.arange(5)}, LIMIT_S)["a"]
    toys.ask("echo", {"a": np.zeros(5, int)}, LIMIT_S)
    toys.close()
    assert first.tolist() == [0, 1, 2, 3, 4]


def test_messages_grow_and_shrink(toys: LiveConversation) -> None:
    for size in (10, 3 * PIECE_BYTES + 1, 1, 5 * PIECE_BYTES, 0, 7):
        sent = {name: np.arange(size, dtype=np.uint16) for name in "ab"}
        answer = toys.ask("allocated", {"tensors": sent}, LIMIT_S)["tensors"]
        assert all(np.array_equal(answer[name], sent[name]) for name in "ab")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (np.array(["text"]), "an array of <U4 cannot travel; expected one of bool,"),
        (np.array([1], dtype=object), "an array of object cannot travel"),
        (object(), "object cannot travel; expected plain data, an array"),
        ({3: "a key"}, "the key 3 cannot travel; expected text"),
        ("\udc80", "cannot travel; expected Unicode"),
    ],
)
def test_what_cannot_travel_is_refused_with_its_place_and_the_conversation_goes_on(
    toys: LiveConversation, value: object, part: str
) -> None:
    with pytest.raises(FeedError, match=r"^tensors\.x\[0\]: ") as caught:
        toys.ask("echo", {"tensors": {"x": [value]}}, LIMIT_S)
    assert part in str(caught.value)
    assert toys.ask("echo", {"a": 1}, LIMIT_S) == {"a": 1}


def test_an_answer_that_cannot_travel_names_its_place(toys: LiveConversation) -> None:
    with pytest.raises(BackendError, match=r"inner\[0\]: object cannot travel; expected plain data or a Tensor"):
        toys.ask("answer_object", {}, LIMIT_S)


def test_a_tensor_in_another_carrier_than_its_dtypes_is_refused() -> None:
    exchange = WorkerExchange(ChannelTransport())
    with pytest.raises(TypeError, match="a tensor of bfloat16 came in an array of float32; expected uint16"):
        exchange.write(lambda _: None, {"y": Tensor(np.ones(2, np.float32), "bfloat16")})


def test_memory_is_reused_by_the_next_message(tmp_path: Path) -> None:
    harness, sent = Exchange(MappedTransport([str(tmp_path)])), []
    for size in (400_000, 600_000, 300_000, 900_000):
        harness.write(sent.append, {"fields": {"a": np.zeros(size, np.uint8), "b": np.zeros(size, np.uint8)}})
    segments = [message["segments"] for message in sent]
    # The second message needs a second file, the third gets one that holds both, and the fourth reuses it.
    assert [len(names) for names in segments] == [1, 2, 1, 1]
    assert segments[2] == segments[3]


def test_a_message_that_was_never_sent_leaves_no_file(tmp_path: Path) -> None:
    transport = MappedTransport([str(tmp_path)])
    for _ in range(3):
        transport.restart()
        transport.allocate((2**20,), "uint8")
        transport.allocate((2**20,), "uint8")
    assert len(list(tmp_path.iterdir())) == 1


def test_both_ends_leave_no_file_once_they_have_mapped_it(tmp_path: Path) -> None:
    harness, worker = Exchange(MappedTransport([str(tmp_path)])), WorkerExchange(MappedTransport([str(tmp_path)]))
    sent: list[dict[str, Any]] = []
    harness.write(sent.append, {"fields": {"a": np.arange(3)}})
    assert len(list(tmp_path.iterdir())) == 1
    received = worker.read(sent.pop, sent[0])
    assert list(tmp_path.iterdir()) == []
    assert received["a"].array.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        received["a"].array[0] = 1


def test_a_full_folder_is_passed_over_and_two_are_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "roomy").mkdir()

    def fallocate(descriptor: int, offset: int, size: int) -> None:
        if "/full/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("os.posix_fallocate", fallocate)
    monkeypatch.setattr("mmap.mmap", lambda _, size: bytearray(size))
    full, roomy = str(tmp_path / "full"), str(tmp_path / "roomy")
    assert create_segment([full, roomy], 2**20).path.startswith(roomy)
    with pytest.raises(WorkerError, match=r"no space for 1\.0 MiB of tensors in .*full; make room there, or name"):
        create_segment([full], 2**20)
    assert list((tmp_path / "full").iterdir()) == []
