"""References that are not a runtime: outputs recorded elsewhere, and Python functions of the case folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from parity.case.feeds import as_tensors
from parity.case.files import load_npz
from parity.case.user_code import load_function
from parity.errors import FeedError
from parity.interop.polygraphy import TensorFiles, pick_runner, read_results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from parity.case.model import Case, Reference
    from parity.graph import ModelInterface
    from parity.interop.polygraphy import EncodedTensors


@dataclass(frozen=True, slots=True)
class RecordedOutputs:
    """Outputs recorded elsewhere, by the number of their feed; read when asked for."""

    count: int
    read: Callable[[int], tuple[str, dict[str, np.ndarray]]]
    interface: ModelInterface

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return the outputs of feed ``index``.

        Raises
        ------
        FeedError, ForeignFileError
            The file cannot be read, or does not hold exactly the model's outputs.
        """
        where, outputs = self.read(index)
        check_outputs(outputs, self.interface, where)
        return outputs


def open_recorded(case: Case, interface: ModelInterface, feed_count: int) -> RecordedOutputs:
    """Return a case's recorded reference: of ``.npz``, one file for each feed; of ``.json``, Polygraphy's iterations.

    Raises
    ------
    FeedError
        There are more or fewer of them than feeds.
    ForeignFileError
        A ``.json`` cannot be read, or has several runners and none of them is chosen.
    """
    files = case.reference.files
    if all(file.suffix.lower() == ".json" for file in files):
        recorded, expected = _open_results(case.reference, interface), "iteration of a runner"
    else:
        recorded, expected = RecordedOutputs(len(files), partial(_read_npz, files), interface), ".npz"
    if len(recorded) != feed_count:
        raise FeedError(
            f"{case.name}: has {len(recorded)} recorded outputs for {feed_count} feeds; expected one {expected} for "
            "each feed, in feed order"
        )
    return recorded


def _read_npz(files: Sequence[Path], index: int) -> tuple[str, dict[str, np.ndarray]]:
    return str(files[index]), load_npz(files[index])


def _open_results(reference: Reference, interface: ModelInterface) -> RecordedOutputs:
    def read_file(path: Path) -> tuple[EncodedTensors, ...]:
        return pick_runner(read_results(path), reference.runner, str(path)).iterations

    def read(index: int) -> tuple[str, dict[str, np.ndarray]]:
        encoded = tensors[index]
        return encoded.where, encoded.decode()

    tensors = TensorFiles(reference.files, read_file)
    return RecordedOutputs(len(tensors), read, interface)


def open_reference_function(
    case: Case, interface: ModelInterface
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Load a case's reference function: feed -> outputs, each a mapping of name to array.

    Raises
    ------
    FeedError
        Here, if the function cannot be loaded; in a call, if it raises or does not return exactly the model's outputs.
    """
    where = case.reference.function
    function = load_function(case.folder, where)

    def run(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        # Copies: code that works in place would change what the other side is given.
        outputs = as_tensors(function({name: tensor.copy() for name, tensor in feed.items()}), where)
        check_outputs(outputs, interface, where)
        return outputs

    return run


def check_outputs(outputs: Mapping[str, np.ndarray], interface: ModelInterface, where: str) -> None:
    """Check that outputs have exactly the model's names; shapes and dtypes are the judge's business.

    Raises
    ------
    FeedError
        An output is missing or is not the model's. ``where`` stands before the message.
    """
    expected = [info.name for info in interface.outputs]
    missing = [name for name in expected if name not in outputs]
    extra = [name for name in outputs if name not in expected]
    if missing or extra:
        found = ", ".join(outputs) or "none"
        raise FeedError(f"{where}: has the outputs {found}; expected exactly {', '.join(expected)}")
