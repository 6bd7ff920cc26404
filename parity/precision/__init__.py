"""ONNX models for a precision: the typed model that TensorRT is given, and the rounded graph that forecasts it.

The two differ for a measured reason. ONNX Runtime's CPU provider keeps float32 between half nodes, so that a half model
executed there never overflows; a cast pair that stands in the graph does round. For int8 and fp8 the Q/DQ model,
executed without graph optimisations, is both.
"""

from __future__ import annotations

from parity.precision.forecast import Forecast, forecast

__all__ = ["Forecast", "forecast"]
