"""Failures that the worker tells by kind; the harness turns each kind into an exception of its own tree."""

from __future__ import annotations


class WorkerError(Exception):
    """A failure with a kind; the message names the thing, what was found and what to do."""

    kind = "backend"


class ModelRefused(WorkerError):  # noqa: N818 - a kind, named as the harness names its own
    """The parser or the builder refuses the model."""

    kind = "model"


class PrecisionMissing(WorkerError):  # noqa: N818 - as above
    """What was asked for is not in this TensorRT, or not on this GPU."""

    kind = "precision"


class FeedRefused(WorkerError):  # noqa: N818 - as above
    """A feed's names, dtypes or shapes do not fit the engine."""

    kind = "feed"


class Unavailable(WorkerError):  # noqa: N818 - as above
    """TensorRT, PyCUDA, the driver or a GPU is missing."""

    kind = "unavailable"


class CudaLost(WorkerError):  # noqa: N818 - as above
    """A CUDA error after which the context cannot be used; the worker has to be replaced."""

    kind = "cuda"
