"""What the training scripts of the cases share: arguments, drawing in parallel, moving averages, export, figures."""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import tempfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPSET = 17
# IR version 8 belongs to opset 17: older parsers refuse what newer exporters write by default.
IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """The sizes of one training.

    Attributes
    ----------
    out
        Where the ONNX file goes; ``metrics.json`` goes beside it.
    images, evaluation
        Training and evaluation images.
    batch, epochs, seed, workers
        Batch size, passes over the images, seed of everything random, drawing processes.
    """

    out: Path
    images: int
    evaluation: int
    batch: int
    epochs: int
    seed: int
    workers: int

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.epochs * (self.images // self.batch)


def parse_settings(out: Path, images: int, batch: int, epochs: int) -> Settings:
    """Read the command line; the arguments are its defaults. ``--smoke`` shrinks all to what a CPU does in seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=out, help="the ONNX file to write")
    parser.add_argument("--images", type=int, default=images, help="training images to draw")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=min(16, os.cpu_count() or 1), help="processes that draw")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that everything runs")
    given = parser.parse_args()
    if given.smoke:
        return Settings(given.out, images=64, evaluation=32, batch=16, epochs=1, seed=given.seed, workers=given.workers)
    return Settings(given.out, given.images, 1024, given.batch, given.epochs, given.seed, given.workers)


def start(settings: Settings) -> torch.device:
    """Seed torch and return the device to train on; TF32 is on until `exact`."""
    torch.manual_seed(settings.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def exact() -> None:
    """Turn TF32 off: from here on, figures are those of FP32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def drawn(sample: Callable[[int, int], Any], split: int, count: int, workers: int) -> Iterator[Any]:
    """Yield ``sample(split, index)`` for every index below `count`, in order, drawn by `workers` processes."""
    with multiprocessing.get_context("spawn").Pool(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.imap(partial(sample, split), range(count), chunksize=16)


def cosine(settings: Settings) -> Callable[[int], float]:
    """Return the learning rate's factor by step: linear warm-up over 3 %, then half a cosine down to 1 %."""
    warm_up = max(1, round(0.03 * settings.steps))

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        progress = (step - warm_up) / max(1, settings.steps - warm_up)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def moving_average(model: torch.nn.Module, settings: Settings) -> AveragedModel:
    """Return an exponential moving average of weights and batch statistics, shorter for shorter trainings."""
    decay = 1 - 1 / min(500, max(2, settings.steps // 10))
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def batches(settings: Settings, device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (epoch, indices of one batch) for the whole training; each epoch visits the images in a new order."""
    for epoch in range(settings.epochs):
        order = torch.randperm(settings.images, device=device)
        for first in range(0, settings.images - settings.batch + 1, settings.batch):
            yield epoch, order[first : first + settings.batch]


def fit(
    model: torch.nn.Module,
    cost: Callable[[torch.Tensor], torch.Tensor],
    settings: Settings,
    device: torch.device,
    rate: float,
) -> torch.nn.Module:
    """Train `model` by AdamW and return the moving average of its weights, in evaluation mode.

    Parameters
    ----------
    cost
        Indices of a batch's images -> its loss, a scalar.
    rate
        The highest learning rate.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": 0.02},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine(settings))
    average = moving_average(model, settings)
    seen = -1
    for epoch, chosen in batches(settings, device):
        loss = cost(chosen)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        if epoch != seen:
            print(f"epoch {epoch}: loss {loss.item():.4f}", flush=True)
            seen = epoch
    return average.module.eval()


def export(model: torch.nn.Module, example: torch.Tensor, names: tuple[str, ...], out: Path) -> None:
    """Write `model` as ONNX with a dynamic batch, rid it of traces of this machine and check it.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU; gives a tensor or a tuple of them.
    example
        A batch of at least two preprocessed inputs, float32.
    names
        Of the input and the outputs.
    out
        The file to write.

    Raises
    ------
    AssertionError
        Where ONNX Runtime and torch disagree.
    """
    exported = export_graph(model, example, names, dynamic=True)
    save(exported, out)
    for batch in (example, example[:1]):
        verify(exported, batch, dict(zip(names[1:], outputs_of(model, batch), strict=True)))


def export_graph(
    model: torch.nn.Module, example: torch.Tensor, names: tuple[str, ...], *, dynamic: bool
) -> onnx.ModelProto:
    """Return `model` as ONNX, rid of traces of this machine; arguments as in `export`.

    ``dynamic``: whether the graph takes any batch; else that of `example`.
    """
    axes = {name: {0: "batch"} for name in names} if dynamic else None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The TorchScript exporter is deprecated; it is the one whose names and operators did not change for years.
        warnings.simplefilter("ignore")
        file = Path(folder) / "model.onnx"
        torch.onnx.export(
            model,
            (example,),
            str(file),
            input_names=[names[0]],
            output_names=list(names[1:]),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        exported = _anonymous(onnx.load(file))
    for declared, tensor in zip(exported.graph.output, outputs_of(model, example), strict=True):
        _declare_shape(declared, ["batch" if dynamic else len(tensor), *tensor.shape[1:]])
    return exported


def save(model: onnx.ModelProto, out: Path) -> None:
    """Check an ONNX model and write it."""
    onnx.checker.check_model(model, full_check=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, out)


def outputs_of(model: torch.nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return what a module gives, as a tuple even of one output."""
    with torch.inference_mode():
        outputs = model(batch)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _anonymous(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what depends on who exported and where: producer, stack traces, metadata."""
    for field in ("producer_name", "producer_version", "doc_string", "domain", "metadata_props"):
        model.ClearField(field)
    model.ir_version = IR_VERSION
    graph = model.graph
    # Shapes of intermediate tensors name dimensions by an exporter's counter; any reader infers them again.
    graph.ClearField("value_info")
    graph.name = "main"
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    return model


def _declare_shape(output: onnx.ValueInfoProto, shape: list[int | str]) -> None:
    """Name an output's dimensions by what torch gives: the exporter loses those behind a reshape."""
    output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, shape))


def verify(model: onnx.ModelProto, batch: torch.Tensor, expected: dict[str, torch.Tensor]) -> None:
    """Compare what ONNX Runtime makes of `batch` with `expected`, by name."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    actual = session.run(list(expected), {session.get_inputs()[0].name: batch.numpy()})
    for name, found in zip(expected, actual, strict=True):
        np.testing.assert_allclose(found, expected[name].numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def write_metrics(model: torch.nn.Module, settings: Settings, figures: dict[str, Any]) -> None:
    """Print `figures` with how they came about and write them beside the ONNX file."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    counts = {"training_images": settings.images, "evaluation_images": settings.evaluation, "parameters": parameters}
    origin = {"epochs": settings.epochs, "batch": settings.batch, "seed": settings.seed, "torch": torch.__version__}
    text = json.dumps(figures | counts | origin, indent=2)
    print(text, flush=True)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.with_name("metrics.json").write_text(text + "\n", encoding="utf-8")
