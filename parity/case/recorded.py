"""References that are not a runtime: outputs recorded elsewhere, and Python functions of the case folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.case.feeds import as_tensors
from parity.case.files import load_npz
from parity.case.user_code import load_function
from parity.errors import FeedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from parity.case.model import Case
    from parity.graph import ModelInterface


@dataclass(frozen=True, slots=True)
class RecordedOutputs:
    """Outputs recorded elsewhere: one ``.npz`` per feed, in feed order, read when asked for."""

    files: tuple[Path, ...]
    interface: ModelInterface

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Return the outputs of feed ``index``.

        Raises
        ------
        FeedError
            The file cannot be read, or does not hold exactly the model's outputs.
        """
        path = self.files[index]
        outputs = load_npz(path)
        check_outputs(outputs, self.interface, str(path))
        return outputs


def open_recorded(case: Case, interface: ModelInterface, feed_count: int) -> RecordedOutputs:
    """Return a case's recorded reference.

    Raises
    ------
    FeedError
        There are more or fewer files than feeds.
    """
    files = case.reference.files
    if len(files) != feed_count:
        raise FeedError(
            f"{case.name}: has {len(files)} recorded outputs for {feed_count} feeds; expected one .npz for each feed, "
            "in feed order"
        )
    return RecordedOutputs(files, interface)


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
