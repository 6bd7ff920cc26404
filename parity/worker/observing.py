"""Tensors inside a network made visible: as outputs, or as debug tensors where this TensorRT has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, Mapping

from .errors import PrecisionMissing
from .symbols import require_property

if TYPE_CHECKING:
    from typing import List

    Sentences = List[str]

_MOST_NAMES = 5


def expose_tensors(trt: Any, network: Any, asked: Mapping[str, Any], *, is_strong: bool) -> Sentences:
    """Expose what the ``observe`` of a ``build`` request names; a tensor that the network lacks is told.

    Parameters
    ----------
    is_strong
        Whether the network is strongly typed: then its tensors have their types by themselves.

    Returns
    -------
    list of str
        Sentences on what was done and what could not be.

    Raises
    ------
    PrecisionMissing
        This TensorRT has no debug tensors, or not those of unfused tensors.
    """
    if asked["how"] == "unfused":
        require_property(trt, "INetworkDefinition", "mark_unfused_tensors_as_debug_tensors", "observe")
        return _told(network.mark_unfused_tensors_as_debug_tensors(), "the tensors that survive fusion")
    found = dict(_inner_tensors(network))
    wanted = [found[name] for name in asked["tensors"] if name in found]
    if asked["how"] == "debug":
        require_property(trt, "INetworkDefinition", "mark_debug", "observe")
        refused = [tensor.name for tensor in wanted if not network.mark_debug(tensor)]
    else:
        refused = []
        _mark_outputs(trt, network, wanted, () if is_strong else asked.get("half", ()))
    return _sentences(len(wanted), [name for name in asked["tensors"] if name not in found], refused)


def _inner_tensors(network: Any) -> Iterator[tuple[str, Any]]:
    """Yield what layers give, by name, without the outputs that the network has."""
    for layer in network:
        for index in range(layer.num_outputs):
            tensor = layer.get_output(index)
            if tensor is not None and not tensor.is_network_output:
                yield tensor.name, tensor


def _mark_outputs(trt: Any, network: Any, tensors: list[Any], half: Any) -> None:
    halves = frozenset(half)
    for tensor in tensors:
        network.mark_output(tensor)
        if tensor.name in halves:
            # An output of a weakly typed network is float32 unless told otherwise, and TensorRT may then compute it in
            # float32 and round it behind: what is observed would not be what is shipped.
            _make_half(trt, tensor)


def _make_half(trt: Any, tensor: Any) -> None:
    try:
        tensor.dtype = trt.DataType.HALF
    except AttributeError:
        raise PrecisionMissing(
            f"observe: TensorRT {trt.__version__} takes the type of {tensor.name} from the model; leave half out"
        ) from None


def _told(is_done: Any, what: str) -> Sentences:
    return [f"{what} are debug tensors" if is_done else f"TensorRT refuses to make {what} debug tensors"]


def _sentences(count: int, absent: Sentences, refused: Sentences) -> Sentences:
    told = [f"tensors exposed: {count - len(refused)}"]
    for names, why in ((absent, "the network has no tensor"), (refused, "TensorRT refuses to expose")):
        if names:
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            told.append(f"{why} {', '.join(names[:_MOST_NAMES])}{more}")
    return told
