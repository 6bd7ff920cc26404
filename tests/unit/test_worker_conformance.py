"""Every symbol of ``tensorrt`` that the worker uses is in every supported release, or a probe guards it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.tensorrt_symbols import own_names, read_uses, releases, unguarded

WORKER = sorted((Path(__file__).parents[2] / "parity" / "worker").glob("*.py"))
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in WORKER}
OWN = own_names(iter(SOURCES.values()))

# Uses that a function's callers guard, each with the reason why it is not reached in the releases without it.
GUARDED_BY_CALLERS = {
    ("config.py", "IBuilderConfig.int8_calibrator="): "require_scales has refused a calibrator before",
    ("config.py", "IBuilderConfig.set_calibration_profile"): "called for a calibrator alone, as above",
    ("constraints.py", "ILayer.precision="): "_require_constraints has refused a TensorRT without it before",
    ("constraints.py", "ILayer.set_output_type"): "as above: the two came and went together",
    ("debug.py", "IDebugListener"): "listening has asked the context for set_debug_listener, as old as the class",
    ("network_options.py", "ITensor.dtype="): "weak typing was refused before, strong is here",
    ("plan.py", "ICudaEngine.max_batch_size"): "only 8.6 loads engines with an implicit batch dimension",
}


def unguarded_uses(file: str) -> set[tuple[str, str]]:
    return {(use.file, use.symbol) for use in read_uses(SOURCES[file], file, OWN) if use.absent}


def found_in(source: str) -> list[str]:
    return unguarded(textwrap.dedent(source))


@pytest.mark.parametrize("file", SOURCES)
def test_the_worker_uses_nothing_that_a_supported_release_lacks_without_a_probe(file: str) -> None:
    left = unguarded_uses(file) - GUARDED_BY_CALLERS.keys()
    assert left == set(), unguarded(SOURCES[file], f"parity/worker/{file}", OWN)


def test_no_reason_has_outlived_the_use_that_it_is_for() -> None:
    assert GUARDED_BY_CALLERS.keys() - set().union(*map(unguarded_uses, SOURCES)) == set()


def test_the_reader_sees_the_symbols_that_the_worker_cannot_do_without() -> None:
    used = {use.symbol for file, source in SOURCES.items() for use in read_uses(source, file, OWN)}
    assert used >= {
        "BuilderFlag",
        "EngineInspector.get_engine_information",
        "IBuilderConfig.set_flag",
        "ICudaEngine.num_io_tensors",
        "IExecutionContext.execute_async_v3",
        "ILogger",
        "IOutputAllocator",
        "IProfiler",
        "Runtime",
        "Runtime.deserialize_cuda_engine",
    }


def test_releases_go_from_8_6_to_11_4() -> None:
    assert releases()[0] == "8.6.0"
    assert {"10.0.1", "10.16.1.11", "11.0.0.114", "11.4.0.106"} < set(releases())


UNGUARDED = {
    "an enum member": ("config.set_flag(trt.BuilderFlag.FP16)", "BuilderFlag.FP16 is not in 11.0.0.114 to 11.4.0.106,"),
    "an enum member of the module by its name": ("tensorrt.DataType.BF16", "DataType.BF16 is not in 8.6.0,"),
    "an enum member of a module that an object keeps": ("self.trt.DataType.BF16", "DataType.BF16 is not in 8.6.0,"),
    "a class": ("listener = trt.IDebugListener()", "IDebugListener is not in 8.6.0,"),
    "a function of no release": ("trt.made_up()", "made_up is not in 8.6.0 to 11.4.0.106,"),
    "a member of no release of a class that is read": ("trt.BuilderFlag.ODD", "BuilderFlag.ODD is not in 8.6.0 to"),
    "a name that is asked for without a default": ('getattr(trt.BuilderFlag, "INT8")', "BuilderFlag.INT8 is not"),
    "a method, by convention": ("def f(context): context.execute(1)", "IExecutionContext.execute is not in 10.0.1 to"),
    "a method of an attribute": (
        "self._context.get_debug_state(1)",
        "IExecutionContext.get_debug_state is not in 8.6.0,",
    ),
    "a property of what a factory makes": ("c = b.create_builder_config()\nc.int8_calibrator = k", "int8_calibrator="),
    "a property of what a class makes": ("b = trt.Builder(log)\nb.platform_has_tf32", "Builder.platform_has_tf32"),
    "an alias of an enum": (
        "flags = trt.BuilderFlag\nflags.BF16",
        "BuilderFlag.BF16 is not in 8.6.0 and 11.0.0.114 to",
    ),
    "an annotated argument": ("def f(x: trt.ITensor): x.dynamic_range = (0, 1)", "ITensor.dynamic_range="),
    "an unmistakable method of whatever it is": ("thing().set_binding_shape(0, (1,))", "?.set_binding_shape is not in"),
    "an unmistakable enum member of whatever it is": ("kinds[0].STRONGLY_TYPED", "?.STRONGLY_TYPED is not in 8.6.0,"),
    "a setter that went while its getter stayed": (
        """
        def f(tensor):
            if hasattr(tensor, "dtype"):
                tensor.dtype = 1
        """,
        "ITensor.dtype= is not in 11.0.0.114 to",
    ),
    "a probe in another function": (
        """
        def f(): return hasattr(trt.BuilderFlag, "FP16")
        def g(): return trt.BuilderFlag.FP16
        """,
        "BuilderFlag.FP16 is not in 11.0.0.114 to",
    ),
    "a probe of another enum": (
        'def f(): return hasattr(trt.DataType, "BF16") and trt.BuilderFlag.BF16',
        "BuilderFlag.BF16 is not in 8.6.0 and 11.0.0.114 to",
    ),
    "a probe of the class alone, where the member came later": (
        'def f(): return hasattr(trt, "PreviewFeature") and trt.PreviewFeature.PROFILE_SHARING_0806',
        "PreviewFeature.PROFILE_SHARING_0806 is not",
    ),
    "a probe that asks without a default": (
        """
        def f():
            x = getattr(trt.BuilderFlag, "FP16")
            return x
        """,
        "BuilderFlag.FP16 is not",
    ),
    "a choice that leaves a release without either": (
        """
        def f(context):
            if hasattr(context, "set_debug_listener"):
                return
            context.set_device_memory(1, 2)
        """,
        "IExecutionContext.set_device_memory is not in 8.6.0",
    ),
    "a refusal that comes too late": (
        """
        def f(trt, parser):
            parser.set_flag(1)
            member(trt, "OnnxParserFlag", "NATIVE_INSTANCENORM", "parser_flags")
        """,
        "OnnxParser.set_flag is not in 8.6.0,",
    ),
    "a refusal of what came before": (
        """
        def f(trt, engine):
            require_property(trt, "ICudaEngine", "streamable_weights_size", "budget")
            return engine.weight_streaming_budget_v2
        """,
        "ICudaEngine.weight_streaming_budget_v2 is not in 10.0.1,",
    ),
    "another exception that is caught": (
        """
        try:
            trt.IDebugListener
        except TypeError:
            pass
        """,
        "IDebugListener is not in 8.6.0,",
    ),
}

GUARDED = {
    "hasattr": """
        def f(config):
            if hasattr(trt.BuilderFlag, "FP16"):
                config.set_flag(trt.BuilderFlag.FP16)
        """,
    "getattr with a default": 'def f(): return getattr(trt.BuilderFlag, "FP16", None)',
    "a probe around a function": """
        def f():
            if hasattr(trt, "IDebugListener"):
                def g(): return trt.IDebugListener()
                return g
        """,
    "a probe on the module's level": """
        HAS = {"bf16": hasattr(trt.DataType, "BF16")}
        def f(): return trt.DataType.BF16
        """,
    "a probe of a class whose member is as old": """
        def f():
            if hasattr(trt, "OnnxParserFlag"):
                return trt.OnnxParserFlag.NATIVE_INSTANCENORM
        """,
    "a probe of a method": """
        def f(context):
            if hasattr(context, "set_debug_listener"):
                context.set_debug_listener(1)
        """,
    "a caught AttributeError": """
        try:
            trt.IDebugListener
        except (AttributeError, TypeError):
            pass
        """,
    "a companion of the same releases": """
        def f(error):
            if hasattr(error, "node_name"):
                return error.node_operator()
        """,
    "a choice of two": """
        def f(engine):
            if hasattr(engine, "get_tensor_profile_values"):
                return engine.get_tensor_profile_values(0, "x")
            return engine.get_profile_shape_input(0, "x")
        """,
    "a refusal before, of what came in the same releases": """
        def f(trt, parser, name):
            flag = member(trt, "OnnxParserFlag", name.upper(), "parser_flags")
            parser.set_flag(flag)
        """,
    "a refusal before, of what came later": """
        def f(trt, engine):
            require_property(trt, "ICudaEngine", "weight_streaming_budget_v2", "budget")
            return engine.streamable_weights_size
        """,
    "what every release has": """
        trt.BuilderFlag.TF32
        context.execute_async_v3(1)
        trt.ILogger.Severity
        """,
    "what is the worker's own": """
        engine.stream.synchronize()
        self.context.heard = 1
        result.update({})
        text.format(1)
        """,
    "special names": """
        trt.__version__
        trt.ILogger.__init__(self)
        """,
}


@pytest.mark.parametrize(("source", "told"), UNGUARDED.values(), ids=UNGUARDED)
def test_an_unguarded_use_is_found(source: str, told: str) -> None:
    found = found_in(source)
    assert any(told in text for text in found), found


@pytest.mark.parametrize("source", GUARDED.values(), ids=GUARDED)
def test_a_guarded_use_is_not_reported(source: str) -> None:
    assert found_in(source) == []


def test_the_line_of_an_unguarded_use_is_told() -> None:
    [text] = unguarded("x = 1\n\ny = trt.BuilderFlag.FP16\n", "config.py")
    assert text.startswith("config.py:3: BuilderFlag.FP16 is not in 11.0.0.114 to 11.4.0.106, ")


def test_a_name_that_the_worker_defines_itself_is_not_taken_for_tensorrts() -> None:
    source = "class Plan:\n    set_device_memory: int\n\ndef f(plan): return plan.set_device_memory"
    assert unguarded(source, own=own_names(iter([source]))) == []
    assert unguarded(source) != []
