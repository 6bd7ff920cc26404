"""Outputs of a rounded graph, set aside: what an engine is compared with beside the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.backends import get_backend
from parity.runner.planned import typed_inputs

if TYPE_CHECKING:
    from parity.options import SessionOptions
    from parity.runner.planned import PlannedVariant
    from parity.runner.store import StoredTensors, TensorStore


class RoundedOutputs:
    """The rounded graph's outputs by feed, executed in ONNX Runtime when the first is asked for."""

    def __init__(self, planned: PlannedVariant, options: SessionOptions, store: TensorStore) -> None:
        self._planned = planned
        self._options = options
        self._store = store
        self._outputs: dict[int, StoredTensors] = {}

    def __getitem__(self, feed: int) -> StoredTensors:
        """Return the outputs of a feed by its number.

        Raises
        ------
        ModelError, BackendError
            ONNX Runtime refuses the rounded graph, or fails.
        RunError
            There is no space to set the tensors aside.
        """
        if not self._outputs:
            self._outputs = self._execute()
        return self._outputs[feed]

    def _execute(self) -> dict[int, StoredTensors]:
        with self._planned.open_rounded(get_backend("onnxruntime"), self._options) as session:
            halves = self._planned.half_tensors(session.inputs)
            return {
                feed.number: self._store.put(session.run(typed_inputs(feed.tensors, halves)))
                for feed in self._planned.prepared.feeds
            }
