"""The loop that times ONNX Runtime, under I/O binding: nothing is copied but what the provider needs copied."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def time_bound(
    session: Any,
    values: Mapping[str, Any],
    outputs: Sequence[str],
    run_options: Any,
    *,
    warm_up_ms: float,
    min_iterations: int,
    min_s: float,
) -> tuple[float, ...]:
    """Run a session again and again and return the host's time for each inference, in ms.

    Inputs are bound anew each time, which is when a GPU provider copies them; outputs end in the host's memory. So a
    reading holds both transfers where there are any.

    Parameters
    ----------
    values
        An ``OrtValue`` in the host's memory for each input; the caller keeps what it points into.
    """
    binding = session.io_binding()
    for name in outputs:
        binding.bind_output(name)

    def once() -> float:
        started = perf_counter()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        session.run_with_iobinding(binding, run_options)
        return (perf_counter() - started) * 1e3

    _repeat(once, 1, warm_up_ms / 1e3)
    return _repeat(once, min_iterations, min_s)


def time_transferless(
    session: Any,
    values: Mapping[str, Any],
    outputs: Sequence[str],
    run_options: Any,
    *,
    device: tuple[str, int],
    min_s: float,
) -> tuple[float, ...]:
    """Run a session again and again and return the host's time for each inference without transfers, in ms.

    Inputs are bound once, which copies them to where the provider reads them; outputs stay on the device.

    Parameters
    ----------
    values
        As ``time_bound``.
    device
        Kind and number, such as ``("cuda", 0)``.
    """
    binding = session.io_binding()
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    for name in outputs:
        binding.bind_output(name, *device)
    binding.synchronize_inputs()

    def once() -> float:
        started = perf_counter()
        session.run_with_iobinding(binding, run_options)
        # Without a copy to the host, nothing else says that the provider has finished.
        binding.synchronize_outputs()
        return (perf_counter() - started) * 1e3

    once()
    return _repeat(once, 1, min_s)


def _repeat(once: Callable[[], float], min_iterations: int, min_s: float) -> tuple[float, ...]:
    readings: list[float] = []
    end = perf_counter() + min_s
    while len(readings) < max(min_iterations, 1) or perf_counter() < end:
        readings.append(once())
    return tuple(readings)
