"""A loop that shares no code with the worker's: travels to the worker as ``parity_worker.bare``.

It loads the plan once more in the worker's process, so that both loops meet the same GPU in turn.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np

from . import cuda, handlers
from .tensor import Tensor


def bare(state, request):
    """Return the GPU's time of each inference in ms, of ``execute_async_v3`` between two events and nothing else."""
    driver = cuda.driver()
    import tensorrt as trt

    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(Path(request["plan"]).read_bytes())
    context, stream = engine.create_execution_context(), driver.Stream()
    memory = {}
    for place in range(engine.num_io_tensors):
        name = engine.get_tensor_name(place)
        shape = tuple(engine.get_tensor_shape(name))
        array = request["tensors"][name].array if name in request["tensors"] else np.zeros(shape, np.float32)
        memory[name] = driver.mem_alloc(array.nbytes)
        driver.memcpy_htod(memory[name], np.ascontiguousarray(array))
        context.set_tensor_address(name, int(memory[name]))
    before, after, readings = driver.Event(), driver.Event(), []
    started = perf_counter()
    warm, end = started + request["warm_up_s"], started + request["warm_up_s"] + request["min_s"]
    while perf_counter() < end:
        before.record(stream)
        context.execute_async_v3(int(stream.handle))
        after.record(stream)
        after.synchronize()
        if perf_counter() > warm:
            readings.append(before.time_till(after))
    stream.synchronize()
    for address in memory.values():
        address.free()
    return {"gpu_ms": Tensor(np.array(readings, np.float32), "float32")}


HANDLERS = {**handlers.HANDLERS, "bare": bare}
