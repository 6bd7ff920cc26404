"""TensorRT's EfficientNMS_TRT on a GPU, and what torchvision keeps of the same boxes.

Three steps in three environments, in the repository's root; each leaves its file in FOLDER for the next:
``python -m tests.oracles.efficient_nms_plugin model FOLDER`` with onnx;
``python -m tests.oracles.efficient_nms_plugin run FOLDER`` with TensorRT 8.6 to 10 and Polygraphy, on a GPU;
``python -m tests.oracles.efficient_nms_plugin store FOLDER`` with torch and torchvision.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests.oracles.making import CLASSES, INPUT, LOWEST, NMS_IOU, ORIGINALS, PLACES, draw_head, store

_ROWS = 100
_OUTPUTS = ("num_dets", "det_boxes", "det_scores", "det_classes")


def draw_inputs() -> dict[str, np.ndarray]:
    """Return boxes, (images, PLACES, 4) x1 y1 x2 y2, and scores, (images, PLACES, CLASSES)."""
    head = draw_head(np.random.default_rng(80))
    half = head[..., 2:4] / 2
    boxes = np.concatenate([head[..., :2] - half, head[..., :2] + half], axis=2)
    return {"boxes": boxes, "scores": head[..., 4:].copy()}


def write_model(folder: Path) -> None:
    """Write a model of the plugin alone."""
    import onnx
    from onnx import TensorProto, helper

    images = len(ORIGINALS)
    shapes = ((images, 1), (images, _ROWS, 4), (images, _ROWS), (images, _ROWS))
    types = (TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    node = helper.make_node(
        "EfficientNMS_TRT",
        ["boxes", "scores"],
        list(_OUTPUTS),
        plugin_version="1",
        background_class=-1,
        box_coding=0,
        class_agnostic=0,
        iou_threshold=NMS_IOU,
        max_output_boxes=_ROWS,
        score_activation=0,
        score_threshold=LOWEST,
    )
    graph = helper.make_graph(
        [node],
        "efficient_nms",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, (images, PLACES, 4)),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, (images, PLACES, CLASSES)),
        ],
        [helper.make_tensor_value_info(*output) for output in zip(_OUTPUTS, types, shapes, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "efficient_nms.onnx")


def run_plugin(folder: Path) -> None:
    """Build an engine of the model, run it, and write its outputs."""
    import tensorrt
    from polygraphy.backend.trt import CreateConfig, EngineFromNetwork, NetworkFromOnnxPath, TrtRunner, get_trt_logger

    tensorrt.init_libnvinfer_plugins(get_trt_logger(), "")
    # cuBLAS and cuDNN, which 8.6 asks for by default, are not needed and not always installed.
    config = CreateConfig(tactic_sources=[tensorrt.TacticSource.JIT_CONVOLUTIONS])
    engine = EngineFromNetwork(NetworkFromOnnxPath(str(folder / "efficient_nms.onnx")), config)
    with TrtRunner(engine) as runner:
        outputs = {name: np.array(output) for name, output in runner.infer(draw_inputs()).items()}
    np.savez(folder / "efficient_nms.npz", version=tensorrt.__version__, **outputs)


def store_results(folder: Path) -> None:
    """Store the plugin's outputs, and torchvision's boxes of every class above the threshold, cut to the image."""
    import torch
    from torchvision.ops import batched_nms

    inputs = draw_inputs()
    found = []
    for image, (height, width) in enumerate(ORIGINALS):
        boxes, scores = torch.from_numpy(inputs["boxes"][image]), torch.from_numpy(inputs["scores"][image])
        places, classes = torch.nonzero(scores > LOWEST, as_tuple=True)
        sure = scores[places, classes]
        kept = batched_nms(boxes[places], sure, classes, NMS_IOU)[:_ROWS]
        to_image = np.float32([width / INPUT[1], height / INPUT[0]] * 2)
        in_image = (boxes[places[kept]].numpy() * to_image).clip(0, [width, height, width, height])
        found.append({"boxes": in_image, "scores": sure[kept].numpy(), "classes": classes[kept].numpy()})
    with np.load(folder / "efficient_nms.npz") as arrays:
        outputs = {name: arrays[name] for name in _OUTPUTS}
        store("efficient_nms", (f"tensorrt {arrays['version']}", "torchvision", "torch"), outputs, found)


if __name__ == "__main__":
    step, place = sys.argv[1:]
    {"model": write_model, "run": run_plugin, "store": store_results}[step](Path(place))
