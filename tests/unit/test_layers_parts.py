"""Groups, floors, grids and roles: the small parts that a layer report is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.layer_table import LayerError, LayerRow, Role
from parity.layers.floor import noise_floor_db, reduction_depth
from parity.layers.grid import GridUse, activation_scales
from parity.layers.groups import free_memory_bytes, give_memory_back, group_tensors
from parity.layers.roles import rank_sources, with_roles
from parity.precision import forecast
from parity.tolerance import Precision
from tests.tiny_graphs import affine, half_options, node


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(1, 20000))
def test_groups_hold_every_tensor_once_in_order_and_stay_below_the_budget(sizes: list[int], budget: int) -> None:
    names = [f"t{number}" for number in range(len(sizes))]
    by_name = dict(zip(names, sizes, strict=True))
    inputs = {name: names[max(0, place - 1) : place] for place, name in enumerate(names)}
    groups = group_tensors(names, by_name, inputs, budget)
    assert [name for group in groups for name in group] == names
    for group in groups:
        beside = {name for tensor in group for name in inputs[tensor]} - set(group)
        held = 2 * sum(by_name[name] for name in group) + sum(by_name[name] for name in beside)
        assert held + 2 * max(by_name[name] for name in group) <= budget or len(group) == 1


def test_free_memory_is_some_and_not_more_than_there_is() -> None:
    assert 2**20 < free_memory_bytes() < 2**50


@pytest.mark.parametrize(
    ("op_type", "shapes", "depth"),
    [
        ("Conv", {"a": (1, 6, 8, 8), "b": (4, 3, 5, 5)}, 75),
        ("MatMul", {"a": (2, 7, 64), "b": (64, 3)}, 64),
        ("Gemm", {"a": (2, 10), "b": (10, 3)}, 10),
        ("ReduceMean", {"a": (2, 3, 16), "y": (2, 3, 1)}, 16),
        ("GlobalAveragePool", {"a": (2, 3, 4, 4), "y": (2, 3, 1, 1)}, 16),
        ("Softmax", {"a": (2, 3, 9), "y": (2, 3, 9)}, 9),
        ("Relu", {"a": (2, 3)}, 1),
        ("Conv", {}, 1),
    ],
)
def test_the_depth_of_a_sum_follows_from_shapes(op_type: str, shapes: dict[str, tuple[int, ...]], depth: int) -> None:
    assert reduction_depth([node(op_type, ["a", "b"], ["y"])], shapes) == depth


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16, Precision.INT8])
def test_a_product_of_rounded_operands_reaches_its_floor_and_not_much_more(precision: Precision) -> None:
    generator = np.random.default_rng(0)
    left, right = generator.standard_normal((2, 256, 256)).astype(np.float32)
    exact = left.astype(np.float64) @ right
    if precision is Precision.INT8:
        rounded = [np.rint(m / (np.abs(m).max() / 127)) * (np.abs(m).max() / 127) for m in (left, right)]
        found = rounded[0].astype(np.float64) @ rounded[1]
    else:
        import ml_dtypes

        dtype = np.float16 if precision is Precision.FP16 else ml_dtypes.bfloat16
        product = left.astype(dtype).astype(np.float64) @ right.astype(dtype).astype(np.float64)
        found = product.astype(dtype).astype(np.float64)
    sqnr_db = 20 * math.log10(np.linalg.norm(exact) / np.linalg.norm(found - exact))
    assert abs(sqnr_db - noise_floor_db(precision, 256)) < 3.5


def test_sums_in_half_lie_where_they_were_measured() -> None:
    found = [noise_floor_db(Precision.FP16, depth, sums_in_half=True) for depth in (64, 1024, 4096)]
    assert np.allclose(found, [58.0, 46.5, 40.6], atol=0.6)
    assert noise_floor_db(Precision.FP16, 64) > found[0]


def test_a_grid_says_what_is_cut_off_and_what_is_used() -> None:
    use = GridUse(scale=0.1)
    use.update(np.array([0.0, 0.1, 0.2, 50.0, np.nan], np.float32))
    found = use.result()
    assert found is not None
    assert (found.saturation_share, found.used_bin_share) == (0.25, 4 / 255)


def test_uniform_data_errs_by_a_twelfth_of_a_step() -> None:
    use = GridUse(scale=0.01)
    use.update(np.random.default_rng(0).uniform(-1.2, 1.2, 100_000).astype(np.float32))
    found = use.result()
    assert found is not None
    assert found.rmse_steps == pytest.approx(1 / math.sqrt(12), rel=0.01)


def test_nothing_finite_gives_no_grid() -> None:
    use = GridUse(scale=1.0)
    use.update(np.array([np.inf], np.float32))
    assert use.result() is None


def test_scales_are_read_from_the_pairs_of_the_model() -> None:
    feeds = [{"x": np.array([[1.0, -12.7]], np.float32)}]
    made = forecast(affine(), half_options(Precision.INT8), lambda: feeds)
    assert activation_scales(made.rounded) == pytest.approx({"x": 0.1}, rel=1e-6)


def _row(position: int, inherited: float, injected: float | None, **fields: object) -> LayerRow:
    def error(sqnr_db: float) -> LayerError:
        return LayerError(sqnr_db, 0.0, 0.0, 1.0)

    row = LayerRow(
        position=position,
        layer=f"n{position}",
        nodes=(f"n{position}",),
        operators=("Conv",),
        tensor=f"t{position}",
        inputs=(f"t{position - 1}",) if position else (),
        precision="fp16",
        shape=(1,),
        inherited=error(inherited),
        injected=None if injected is None else error(injected),
        gain_db=None,
        floor_db=69.0,
        reduction_depth=1,
        nonfinite_reference=0,
        nonfinite_candidate=0,
        reference_range=(0.0, 1.0),
        candidate_range=(0.0, 1.0),
    )
    return replace(row, **fields)


def _roles(*rows: LayerRow) -> list[Role]:
    return [row.role for row in with_roles(rows)]


def test_a_layer_far_below_its_floor_by_itself_is_a_source_and_the_next_one_its_victim() -> None:
    assert _roles(_row(0, 68.0, 68.0), _row(1, 20.0, 20.0), _row(2, 19.0, 70.0)) == [
        Role.CLEAN,
        Role.SOURCE,
        Role.VICTIM,
    ]


def test_a_layer_that_errs_little_and_hands_on_much_is_an_amplifier() -> None:
    assert _roles(_row(0, 68.0, 68.0), _row(1, 10.0, 73.0)) == [Role.CLEAN, Role.AMPLIFIER]


def test_without_its_own_error_a_layer_is_not_told_apart() -> None:
    assert _roles(_row(0, 68.0, None), _row(1, 10.0, None)) == [Role.CLEAN, Role.UNKNOWN]


def test_the_first_non_finite_layer_is_the_first_source_whatever_else_is_lost() -> None:
    rows = with_roles(
        [
            _row(0, 68.0, 68.0),
            _row(1, 5.0, 5.0),
            _row(2, 40.0, 60.0, nonfinite_candidate=3),
            _row(3, 1.0, 60.0, nonfinite_candidate=9),
        ]
    )
    assert rank_sources(rows) == (2, 1)
    assert rows[3].role is Role.VICTIM


def test_a_reference_that_is_not_finite_itself_accuses_nobody() -> None:
    assert _roles(_row(0, 68.0, 68.0, nonfinite_reference=2, nonfinite_candidate=2)) == [Role.CLEAN]


def test_a_reference_of_zeros_says_nothing() -> None:
    assert _roles(_row(0, math.nan, math.nan)) == [Role.UNKNOWN]


def test_where_every_layer_agrees_there_is_no_source() -> None:
    assert rank_sources(with_roles([_row(0, 68.0, 68.0), _row(1, 66.0, 70.0)])) == ()


def test_giving_memory_back_is_harmless_where_there_is_none() -> None:
    give_memory_back()
    give_memory_back()
