"""Whether the graphs that torchvision and timm export go through every precision to a verdict.

Usage: ``python benchmarks/try_exports.py [NAME ...]``; needs torch, torchvision and timm, no GPU and no network.
Weights are random, and batch normalisations are calibrated on three random batches. Prints the verdict and the SQNR in
dB of every precision; exits with 1 where one ends in an error.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from parity.backends import get_backend
from parity.case.loader import load_case
from parity.errors import CaseError
from parity.options import SessionOptions
from parity.runner.case_judge import open_case_judge
from parity.runner.settings import JudgeSettings
from parity.verdict import Verdict

if TYPE_CHECKING:
    from parity.results import Outcome

CLASSIFIERS = (
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "regnet_y_400mf",
    "densenet121", "shufflenet_v2_x1_0", "squeezenet1_1", "swin_t",
)  # fmt: skip
TIMM = (
    "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mobilevit_s", "convnext_atto", "efficientformer_l1",
    "mixer_s32_224", "repvgg_a0", "nfnet_l0", "levit_128s", "fastvit_t8", "maxvit_nano_rw_256",
    "eva02_tiny_patch14_224",
)  # fmt: skip
SEGMENTERS = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")
DETECTORS = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn",
             "fasterrcnn_mobilenet_v3_large_320_fpn")  # fmt: skip
DYNAMO = ("vit_b_16", "resnet18", "mobilenet_v3_small", "convnext_tiny", "swin_t", "efficientnet_b0")
_THREAD_COUNT = 2
CASE = """model = "model.onnx"
{batch}
[inputs]
kind = "random"
count = 2
seed = 1
[inputs.tensors."{name}"]
low = {low}
high = {high}
[calibration]
kind = "random"
count = 3
seed = 2
[calibration.tensors."{name}"]
low = {low}
high = {high}
"""


def make_model(name: str) -> tuple[Any, Any]:
    """Return a torch module in eval mode and its example arguments."""
    import timm
    import torch
    from torchvision import models

    torch.manual_seed(0)
    # Several processes export at once: with a thread for every core each, they stand in each other's way.
    torch.set_num_threads(_THREAD_COUNT)
    if name in DETECTORS:
        sizes = {"min_size": 224, "max_size": 320} if name.startswith("retinanet") else {}
        module = getattr(models.detection, name)(weights=None, weights_backbone=None, **sizes)
        return module.eval(), ([torch.rand(3, 320, 320)],)
    if name in SEGMENTERS:
        module = getattr(models.segmentation, name)(weights=None, weights_backbone=None)
    else:
        module = timm.create_model(name) if name in TIMM else getattr(models, name)()
    side = 256 if name.endswith("256") else 224
    module.train()
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(4, 3, side, side))
    return _with_plain_outputs(module.eval()), (torch.randn(2, 3, side, side),)


def _with_plain_outputs(module: Any) -> Any:
    import torch

    class Plain(torch.nn.Module):
        """Segmentation models answer with a mapping, which the exporter does not take."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, image: Any) -> Any:
            answer = self.inner(image)
            return tuple(answer.values()) if isinstance(answer, dict) else answer

    return Plain()


def export(name: str, exporter: str, file: Path) -> None:
    """Write a model to a file by torch's older exporter (opset 17) or its newer one."""
    import torch

    module, arguments = make_model(name)
    with torch.no_grad():
        if exporter == "dynamo":
            onnx.save(torch.onnx.export(module, arguments, dynamo=True, verbose=False).model_proto, file)
        else:
            torch.onnx.export(module, arguments, str(file), opset_version=17, dynamo=False, input_names=["image"])


def judge(job: tuple[str, str]) -> tuple[str, list[Outcome]]:
    """Export a model, judge all its variants, and return them with a title."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    name, exporter = job
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export(name, exporter, file)
        is_detector = name in DETECTORS
        text = CASE.format(
            name=onnx.load(file).graph.input[0].name,
            batch="" if is_detector else "batch_size = 2",
            low=0 if is_detector else -2,
            high=1 if is_detector else 2,
        )
        (file.parent / "case.toml").write_text(text)
        case = load_case(file.parent)
        backend = get_backend("onnxruntime")
        with open_case_judge(case, JudgeSettings(session=SessionOptions(thread_count=_THREAD_COUNT))) as judging:
            return f"{name} ({exporter})", [
                outcome for variant in case.variants for outcome in judging.judge_variant(variant, backend)
            ]


def describe(outcome: Outcome) -> str:
    """Return one outcome as a cell of the table."""
    figures = [tensor.difference.sqnr_db for tensor in outcome.tensors if tensor.difference is not None]
    figure = f" {min(figures):.1f}" if figures and outcome.verdict in {Verdict.PASS, Verdict.FAIL} else ""
    return f"{outcome.precision} {outcome.verdict}{figure}"


def main() -> int:
    """Try every export, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="models; all of them if left out")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of two threads each")
    arguments = parser.parse_args()
    jobs = [(name, "torchscript") for name in (*CLASSIFIERS, *TIMM, *SEGMENTERS, *DETECTORS)]
    jobs += [(name, "dynamo") for name in DYNAMO]
    chosen = [job for job in jobs if not arguments.names or job[0] in arguments.names]
    failed = 0
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        for job, future in [(job, pool.submit(judge, job)) for job in chosen]:
            try:
                title, outcomes = future.result()
            except (CaseError, RuntimeError) as error:
                print(f"{job[0]} ({job[1]}): {type(error).__name__}: {error}")
                failed += 1
                continue
            print(f"{title}: {', '.join(map(describe, outcomes))}", flush=True)
            failed += sum(outcome.verdict is Verdict.ERROR for outcome in outcomes)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
