"""Calibration: ranges against NumPy, and the cache of results."""

from __future__ import annotations

import json

import numpy as np
import pytest

from parity.errors import PrecisionError
from parity.options import CalibrationMethod, CalibrationOptions
from parity.precision import calibration
from parity.precision.calibration import calibrate
from tests.tiny_graphs import array, model_of, node, pointwise, value

MIN_MAX = CalibrationOptions()
ENTROPY = CalibrationOptions(CalibrationMethod.ENTROPY)
EVERY = [MIN_MAX, ENTROPY, CalibrationOptions(CalibrationMethod.PERCENTILE, 99.0)]
every_method = pytest.mark.parametrize("options", EVERY, ids=lambda options: options.method.value)


def feeds(count=3, size=4000):
    rng = np.random.default_rng(0)
    return [{"x": (rng.standard_normal(size) * (number + 1)).astype(np.float32)} for number in range(count)]


@pytest.fixture
def runs(monkeypatch):
    """Return the list of feeds that the model was run with."""
    seen = []
    plain = calibration._activations

    def counted(model, tensors, given):
        for activation in plain(model, tensors, given):
            seen.append(activation)
            yield activation

    monkeypatch.setattr(calibration, "_activations", counted)
    return seen


def test_minmax_is_the_largest_magnitude_over_all_feeds():
    found = calibrate(pointwise("Neg", "Abs", "Sqrt"), ["t0", "t1"], feeds(), MIN_MAX, None)
    largest = max(float(np.abs(feed["x"]).max()) for feed in feeds())
    assert found == {"t0": largest, "t1": largest}


def test_inputs_and_outputs_can_be_calibrated():
    found = calibrate(pointwise("Neg"), ["x", "y"], [{"x": array(-3.0, 2.0)}], MIN_MAX, None)
    assert found == {"x": 3.0, "y": 3.0}


def test_an_input_that_is_an_output_too_can_be_calibrated():
    model = model_of([node("Neg", ["x"], ["y"], "neg")], ["x"], ["y", "x"])
    assert calibrate(model, ["x"], [{"x": array(-3.0)}], MIN_MAX, None) == {"x": 3.0}


def test_empty_activations_have_no_magnitude():
    assert calibrate(pointwise("Neg"), ["y"], [{"x": array()}, {"x": array(0.5)}], MIN_MAX, None) == {"y": 0.5}


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9])
def test_a_percentile_of_magnitudes_is_numpys_up_to_one_value_and_one_bin(percentile):
    options = CalibrationOptions(CalibrationMethod.PERCENTILE, percentile)
    found = calibrate(pointwise("Neg", "Abs"), ["t0"], feeds(), options, None)["t0"]
    values = np.concatenate([feed["x"] for feed in feeds()])
    # The values that fix the histogram's range are counted as well.
    largest = np.abs(values).max()
    magnitudes = np.sort(np.abs(np.append(values, [-largest, 0, largest])))
    width = magnitudes.max() / 2048
    rank = int(np.searchsorted(magnitudes, np.percentile(magnitudes, percentile, method="inverted_cdf")))
    assert magnitudes[rank - 1] - width <= found <= magnitudes[rank + 1] + width


def passes(options):
    """How often the feeds are run: ranges first, histograms of them second."""
    return 1 if options.method is CalibrationMethod.MIN_MAX else 2


@pytest.mark.parametrize("method", [CalibrationMethod.ENTROPY, CalibrationMethod.PERCENTILE])
def test_a_first_feed_of_zeros_does_not_set_the_bins_width(method):
    given = [{"x": np.zeros(100, np.float32)}, *feeds(1)]
    found = calibrate(pointwise("Neg", "Abs"), ["t0"], given, CalibrationOptions(method), None)["t0"]
    assert 0.1 < found <= float(np.abs(given[1]["x"]).max())


@every_method
def test_nothing_is_printed(options, capsys):
    calibrate(pointwise("Neg", "Abs"), ["t0"], feeds(1, size=50), options, None)
    assert capsys.readouterr() == ("", "")


def test_entropy_cuts_an_outlier_off_that_minmax_keeps():
    values = np.append(feeds(1)[0]["x"], np.float32(300.0))
    found = {
        options.method: calibrate(pointwise("Neg", "Abs"), ["t0"], [{"x": values}], options, None)["t0"]
        for options in (MIN_MAX, ENTROPY)
    }
    assert found[CalibrationMethod.MIN_MAX] == 300.0
    assert 3.0 < found[CalibrationMethod.ENTROPY] < 60.0


@every_method
def test_an_activation_that_is_always_zero_has_the_range_zero_or_a_finite_one(options):
    found = calibrate(pointwise("Neg", "Abs"), ["t0"], [{"x": np.zeros(100, np.float32)}], options, None)["t0"]
    assert 0.0 <= found < np.inf


@every_method
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_activation_that_is_not_finite_is_named(options, bad):
    with pytest.raises(PrecisionError, match="calibration: 't0' holds NaN or infinities in float32"):
        calibrate(pointwise("Neg", "Abs"), ["t0"], [{"x": array(1.0, bad)}], options, None)


def test_no_feeds_are_an_error():
    with pytest.raises(PrecisionError, match="calibration: no feeds; expected at least one"):
        calibrate(pointwise("Neg"), ["y"], [], MIN_MAX, None)


def test_the_model_is_not_changed():
    model = pointwise("Neg", "Abs")
    before = model.SerializeToString()
    calibrate(model, ["t0"], feeds(1), MIN_MAX, None)
    assert model.SerializeToString() == before


@every_method
def test_the_second_time_the_cache_answers_alike_and_the_model_does_not_run(options, runs, tmp_path):
    given = feeds(3)
    first, second = (calibrate(pointwise("Neg", "Abs"), ["t0"], given, options, tmp_path / "c") for _ in range(2))
    assert first == second
    assert len(runs) == passes(options) * 3
    assert [file.suffix for file in (tmp_path / "c").iterdir()] == [".json"]


@every_method
def test_fewer_tensors_than_were_measured_are_answered_by_the_cache(options, runs, tmp_path):
    model, given = pointwise("Neg", "Abs", "Sqrt"), feeds(2)
    both = calibrate(model, ["t0", "t1"], given, options, tmp_path)
    assert calibrate(model, ["t1"], given, options, tmp_path) == {"t1": both["t1"]}
    assert len(runs) == passes(options) * 2
    assert calibrate(model, ["t1"], given, options, None) == {"t1": both["t1"]}


@pytest.mark.parametrize(
    "change",
    [
        {"model": pointwise("Neg", "Relu")},
        {"tensors": ["x"]},
        {"given": feeds(2)},
        {"given": feeds(2, size=10) + feeds(1)},
        {"options": CalibrationOptions(CalibrationMethod.PERCENTILE)},
    ],
    ids=["model", "tensors", "fewer feeds", "other feeds", "method"],
)
def test_whatever_changes_the_result_misses_the_cache(change, runs, tmp_path):
    plain = {"model": pointwise("Neg", "Abs"), "tensors": ["t0"], "given": feeds(), "options": MIN_MAX}
    for arguments in (plain, plain | change):
        calibrate(arguments["model"], arguments["tensors"], arguments["given"], arguments["options"], tmp_path)
    expected = [passes(arguments["options"]) * len(arguments["given"]) for arguments in (plain, plain | change)]
    assert len(runs) == sum(expected)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[1.0]",
        b'{"t0": "1.0"}',
        b'{"t0": NaN}',
        b'{"t0": Infinity}',
        b'{"t0": -1.0}',
        b'{"other": 1.0}',
        b'{"t0": 1.0, "other": "1.0"}',
        b'{"t0": true}',
    ],
    ids=repr,
)
def test_a_damaged_cache_file_is_measured_again_and_repaired(content, runs, tmp_path):
    arguments = (pointwise("Neg", "Abs"), ["t0"], feeds(1), MIN_MAX, tmp_path)
    first = calibrate(*arguments)
    file = next(tmp_path.iterdir())
    file.write_bytes(content)
    assert calibrate(*arguments) == first
    assert len(runs) == 2
    assert json.loads(file.read_text()) == first


def test_a_cache_folder_that_cannot_be_written_costs_time_only(runs, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    arguments = (pointwise("Neg", "Abs"), ["t0"], feeds(1), MIN_MAX, blocked / "cache")
    assert calibrate(*arguments) == calibrate(*arguments)
    assert len(runs) == 2


def test_a_cache_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path):
    arguments = (pointwise("Neg", "Abs"), ["t0"], feeds(1), MIN_MAX, tmp_path)
    first = calibrate(*arguments)
    file = next(tmp_path.iterdir())
    file.unlink()
    file.mkdir()
    assert calibrate(*arguments) == first
    assert list(tmp_path.iterdir()) == [file]


def test_activations_of_models_with_several_inputs_are_found():
    nodes = [node("Add", ["x", "z"], ["t"], "add"), node("Abs", ["t"], ["y"], "abs")]
    model = model_of(nodes, ["x", value("z", 1)], ["y"])
    assert calibrate(model, ["t", "z"], [{"x": array(1.0), "z": array(-4.0)}], MIN_MAX, None) == {"t": 3.0, "z": 4.0}
