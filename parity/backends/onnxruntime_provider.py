"""ONNX Runtime's execution providers: which there are, the libraries that they load, and whether one really came.

pip puts the libraries of CUDA, cuDNN and TensorRT where the dynamic linker does not look. One that is in the process
already satisfies a provider that is linked against it, so they are loaded before the provider is.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from parity.errors import BackendUnavailable
from parity.options import Provider

if TYPE_CHECKING:
    from parity.options import SessionOptions

PROVIDER_NAMES = {
    Provider.CPU: "CPUExecutionProvider",
    Provider.CUDA: "CUDAExecutionProvider",
    Provider.TENSORRT: "TensorrtExecutionProvider",
}
_ON_A_GPU = "and a GPU with its driver, which nvidia-smi shows"
MEND = {
    Provider.CPU: "run: pip install --force-reinstall onnxruntime",
    Provider.CUDA: (
        "it needs the CUDA and cuDNN that onnxruntime-gpu was built for, which "
        f'pip install "onnxruntime-gpu[cuda,cudnn]" brings, {_ON_A_GPU}'
    ),
    Provider.TENSORRT: (
        "it needs TensorRT 10, CUDA and cuDNN, which "
        f'pip install "trt-parity[gpu-trt10]" "onnxruntime-gpu[cuda,cudnn]" brings, {_ON_A_GPU}'
    ),
}
"""What a provider needs that does not start."""

# TF32 is on by default in the CUDA provider, and an fp32 reference must not round to 10 bits.
_DEFAULTS = {Provider.CUDA: {"use_tf32": "0"}}


def require_provider(runtime: Any, provider: Provider) -> None:
    """Raise ``BackendUnavailable`` where ONNX Runtime was built without a provider."""
    available = runtime.get_available_providers()
    if PROVIDER_NAMES[provider] not in available:
        raise BackendUnavailable(
            f"onnxruntime {runtime.__version__}: has no {PROVIDER_NAMES[provider]}, only {', '.join(available)}; "
            "run: pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
        )


def load_libraries(runtime: Any, provider: Provider) -> str:
    """Load what a GPU provider is linked against from pip's packages; return what could not be loaded, else nothing."""
    if provider is Provider.CPU:
        return ""
    complaints = [_load_cuda(runtime)]
    if provider is Provider.TENSORRT:
        complaints.append(_load_tensorrt())
    return "; ".join(filter(None, complaints))


# A run opens many sessions, and each call looks through pip's packages and the linker's path again.
@cache
def _load_cuda(runtime: Any) -> str:
    # Releases before 1.21 have no such function: CUDA has to be on the linker's path.
    preload = getattr(runtime, "preload_dlls", None)
    if preload is None:
        return ""
    # It tells its failures by print alone, and nothing but a command's own answer belongs on stdout.
    told = io.StringIO()
    with redirect_stdout(told):
        preload()
    return "; ".join(line for line in told.getvalue().splitlines() if line.startswith("Failed to load"))


def _load_tensorrt() -> str:
    try:
        # Its own import is what finds the libraries beside it.
        import_module("tensorrt")
    except (ImportError, OSError, RuntimeError) as error:
        return str(error)
    return ""


def require_loaded(session: Any, provider: Provider, complaint: str) -> None:
    """Raise ``BackendUnavailable`` where another provider answers than the one that was asked for.

    Parameters
    ----------
    session
        ONNX Runtime's. A provider whose libraries are missing is dropped with a warning, and the CPU takes its place.
    provider
        The one asked for.
    complaint
        What ``load_libraries`` returned.
    """
    loaded = session.get_providers()
    if loaded[:1] != [PROVIDER_NAMES[provider]]:
        reason = f" ({complaint})" if complaint else ""
        raise BackendUnavailable(
            f"onnxruntime: {PROVIDER_NAMES[provider]} was asked for, but {', '.join(loaded)} was loaded{reason}; "
            f"{MEND[provider]}"
        )


def provider_entry(options: SessionOptions) -> tuple[str, dict[str, str]]:
    """Return a provider and its options, as a session takes them."""
    return PROVIDER_NAMES[options.provider], {
        **_DEFAULTS.get(options.provider, {}),
        **dict(options.provider_options),
    }
