"""Golden tensors are computed here from the published formulas in plain NumPy, never by the code under test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.errors import FeedError
from parity.preprocess import (
    PRESET_NAMES,
    CenterCrop,
    Color,
    Dtype,
    Geometry,
    Layout,
    Letterbox,
    Normalize,
    Pipeline,
    Resize,
    ResizeShorter,
    Scale,
    preset,
)

ODD = (333, 517)
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def draw_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def run(image: np.ndarray, *steps: object) -> np.ndarray:
    """Return the NHWC tensor of one image without its batch axis."""
    return Pipeline((*steps, Layout("nhwc")))(image).tensor[0]


def axis_weights(source: int, target: int) -> np.ndarray:
    """Return the (target, source) matrix of half-pixel bilinear interpolation with clamped borders."""
    weights = np.zeros((target, source))
    for index in range(target):
        position = min(max((index + 0.5) * source / target - 0.5, 0.0), source - 1.0)
        lower = min(int(position), source - 1)
        upper = min(lower + 1, source - 1)
        weights[index, lower] += 1.0 - (position - lower)
        weights[index, upper] += position - lower
    return weights


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = axis_weights(image.shape[0], height), axis_weights(image.shape[1], width)
    return np.einsum("yh,hwc,xw->yxc", rows, image.astype(np.float64), columns, optimize=True)


def assert_same_levels(actual: np.ndarray, expected: np.ndarray) -> None:
    """OpenCV interpolates 8-bit images in fixed point: one level off the real formula at most."""
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(np.float64) - expected).max() <= 1.0


@pytest.mark.parametrize("size", [(64, 80), (224, 224), (640, 320), ODD])
def test_resize_stretches_by_the_half_pixel_bilinear_formula(size: tuple[int, int]) -> None:
    image = draw_image(*ODD)
    assert_same_levels(run(image, Resize(size)), bilinear(image, *size))


def test_resize_by_nearest_takes_the_pixel_at_the_floor() -> None:
    image = draw_image(*ODD)
    rows = np.floor(np.arange(100) * ODD[0] / 100).astype(int)
    columns = np.floor(np.arange(200) * ODD[1] / 200).astype(int)
    np.testing.assert_array_equal(run(image, Resize((100, 200), "nearest")), image[rows][:, columns])


def test_resize_by_area_averages_whole_blocks() -> None:
    image = draw_image(60, 90)
    blocks = image.reshape(20, 3, 30, 3, 3).astype(np.float64).mean(axis=(1, 3))
    assert_same_levels(run(image, Resize((20, 30), "area")), blocks)


def test_a_coordinate_convention_off_by_half_a_pixel_would_be_seen() -> None:
    image = draw_image(*ODD)
    shifted = bilinear(np.roll(image, 1, axis=1), 224, 224)
    with pytest.raises(AssertionError):
        assert_same_levels(run(image, Resize((224, 224))), shifted)


# height, width, target -> resized height, width, top, left: worked out by hand from
# r = min(H/h, W/w), new = round(side * r), pad = round((side - new) / 2 - 0.1).
CENTRED = [
    ((333, 517), (640, 640), (412, 640, 114, 0)),
    ((517, 333), (640, 640), (640, 412, 0, 114)),
    ((375, 500), (320, 320), (240, 320, 40, 0)),
    ((101, 203), (64, 96), (48, 96, 8, 0)),
    ((97, 64), (320, 320), (320, 211, 0, 54)),
    ((64, 97), (320, 321), (212, 321, 54, 0)),
]


@pytest.mark.parametrize(("source", "target", "expected"), CENTRED)
def test_a_centred_letterbox_is_the_resized_image_in_grey(
    source: tuple[int, int], target: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    image = draw_image(*source)
    height, width, top, left = expected
    golden = np.full((*target, 3), 114.0)
    golden[top : top + height, left : left + width] = bilinear(image, height, width)
    result = Pipeline((Letterbox(target), Layout("nhwc")))(image)
    assert_same_levels(result.tensor[0], golden)
    ratio = min(target[0] / source[0], target[1] / source[1])
    assert result.geometry == Geometry(*source, ratio, ratio, left, top)


def test_an_odd_pixel_of_padding_goes_to_the_bottom() -> None:
    tensor = run(np.zeros((3, 10, 3), np.uint8), Letterbox((10, 10)))
    assert [int(row[0, 0]) for row in tensor] == [114] * 3 + [0] * 3 + [114] * 4


def test_the_top_left_letterbox_truncates_where_the_centred_one_rounds() -> None:
    image = draw_image(64, 97)
    # 97 wide to 320: 64 * 320 / 97 = 211.13; 97 high: 64 * 321 / 97 = 211.79, truncated to 211.
    golden = np.full((321, 321, 3), 114.0)
    golden[:211, :321] = bilinear(image, 211, 321)
    result = Pipeline((Letterbox((321, 321), anchor="top-left"), Layout("nhwc")))(image)
    assert_same_levels(result.tensor[0], golden)
    assert (result.geometry.left, result.geometry.top) == (0, 0)


def test_a_letterbox_without_scaleup_leaves_a_small_image_as_it_is() -> None:
    image = draw_image(30, 51)
    golden = np.full((64, 64, 3), 114, np.uint8)
    golden[17:47, 6:57] = image
    np.testing.assert_array_equal(run(image, Letterbox((64, 64), scaleup=False)), golden)


def test_the_shorter_side_is_resized_and_the_longer_one_truncated() -> None:
    image = draw_image(*ODD)
    # 256 * 517 / 333 = 397.45...
    assert_same_levels(run(image, ResizeShorter(256)), bilinear(image, 256, 397))
    upright = draw_image(517, 333)
    assert_same_levels(run(upright, ResizeShorter(256)), bilinear(upright, 397, 256))


@pytest.mark.parametrize(
    ("source", "crop", "top", "left"),
    [((333, 517), (224, 224), 54, 146), ((10, 11), (7, 8), 2, 2), ((9, 13), (4, 8), 2, 2), ((5, 5), (5, 5), 0, 0)],
)
def test_the_crop_is_taken_from_the_middle(source: tuple[int, int], crop: tuple[int, int], top: int, left: int) -> None:
    image = draw_image(*source)
    golden = image[top : top + crop[0], left : left + crop[1]]
    np.testing.assert_array_equal(run(image, CenterCrop(crop)), golden)


def test_colour_order_swaps_blue_and_red_once() -> None:
    image = draw_image(4, 5)
    golden = np.stack([image[..., 2], image[..., 1], image[..., 0]], axis=-1)
    np.testing.assert_array_equal(run(image, Color("rgb")), golden)
    np.testing.assert_array_equal(run(image, Color("rgb"), Color("rgb")), golden)
    np.testing.assert_array_equal(run(image, Color("bgr")), image)
    np.testing.assert_array_equal(run(image, Color("rgb"), Color("bgr")), image)


def test_a_divisor_divides_in_float32_to_the_last_bit() -> None:
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    golden = image.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(run(image, Scale(divisor=255)), golden, strict=True)


def test_a_factor_multiplies_in_float32() -> None:
    image = draw_image(7, 9)
    golden = image.astype(np.float32) * np.float32(1 / 128)
    np.testing.assert_array_equal(run(image, Scale(factor=1 / 128)), golden, strict=True)


def test_normalize_subtracts_and_divides_channel_by_channel() -> None:
    image = draw_image(7, 9)
    golden = np.empty((7, 9, 3), np.float32)
    for channel, (mean, std) in enumerate(zip((104.0, 117.0, 123.0), (1.0, 2.0, 4.0), strict=True)):
        golden[..., channel] = (image[..., channel].astype(np.float32) - np.float32(mean)) / np.float32(std)
    np.testing.assert_array_equal(run(image, Normalize((104.0, 117.0, 123.0), (1.0, 2.0, 4.0))), golden, strict=True)


@pytest.mark.parametrize(("order", "shape"), [("nchw", (1, 3, 5, 7)), ("nhwc", (1, 5, 7, 3))])
def test_layout_moves_axes_and_no_values(order: str, shape: tuple[int, ...]) -> None:
    image = draw_image(5, 7)
    tensor = Pipeline((Layout(order),))(image).tensor  # type: ignore[arg-type]
    assert tensor.shape == shape
    assert tensor.flags.c_contiguous
    pick = (0, 2, 3, 4) if order == "nchw" else (0, 3, 4, 2)
    assert tensor[pick] == image[3, 4, 2]


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_dtype_converts_the_tensor(dtype: str) -> None:
    image = draw_image(5, 7)
    tensor = Pipeline((Layout("nhwc"), Dtype(dtype)))(image).tensor  # type: ignore[arg-type]
    np.testing.assert_array_equal(tensor[0], image.astype(dtype), strict=True)


def test_the_imagenet_preset_is_256_224_rgb_and_imagenets_numbers() -> None:
    image = draw_image(*ODD)
    resized = bilinear(image, 256, 397)[16:240, 86:310]  # round(173 / 2) is 86: half to even
    rgb = resized[..., ::-1].astype(np.float32) / 255
    golden = ((rgb - MEAN) / STD).transpose(2, 0, 1)[np.newaxis]
    actual = preset("imagenet")(image).tensor
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, golden, rtol=0, atol=1.01 / 255 / STD.min())


def test_the_yolo_preset_is_letterboxed_rgb_in_0_to_1() -> None:
    image = draw_image(375, 500)
    golden = np.full((320, 320, 3), 114.0)
    golden[40:280] = bilinear(image, 240, 320)
    golden = golden[..., ::-1].transpose(2, 0, 1)[np.newaxis] / 255
    actual = preset("yolo", (320, 320))(image).tensor
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, golden, rtol=0, atol=1.01 / 255)


def test_the_yolox_preset_is_bgr_in_0_to_255_from_the_upper_left() -> None:
    image = draw_image(375, 500)
    golden = np.full((1, 3, 640, 640), 114.0)
    golden[0, :, :480] = bilinear(image, 480, 640).transpose(2, 0, 1)
    actual = preset("yolox")(image).tensor
    assert actual.dtype == np.float32
    assert_same_levels(actual, golden)


def test_the_rtdetr_preset_stretches() -> None:
    image = draw_image(*ODD)
    golden = bilinear(image, 640, 640)[..., ::-1].transpose(2, 0, 1)[np.newaxis] / 255
    np.testing.assert_allclose(preset("rtdetr")(image).tensor, golden, rtol=0, atol=1.01 / 255)


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_every_preset_takes_another_size(name: str) -> None:
    assert preset(name, (96, 128))(draw_image(70, 50)).tensor.shape == (1, 3, 96, 128)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="expected one of imagenet, yolo, yolox, rtdetr; got 'yolov8'"):
        preset("yolov8")


def test_a_pipeline_leaves_its_image_alone() -> None:
    image = draw_image(20, 30)
    image.flags.writeable = False
    copy = image.copy()
    Pipeline((Color("rgb"), Layout("nchw")))(image)
    np.testing.assert_array_equal(image, copy)


STEPS = st.one_of(
    st.builds(
        Letterbox, st.tuples(st.integers(8, 300), st.integers(8, 300)), anchor=st.sampled_from(["center", "top-left"])
    ),
    st.builds(Resize, st.tuples(st.integers(8, 300), st.integers(8, 300))),
    st.builds(ResizeShorter, st.integers(8, 200)),
    st.builds(CenterCrop, st.tuples(st.integers(1, 8), st.integers(1, 8))),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=3), st.integers(20, 90), st.integers(20, 90))
def test_boxes_mapped_to_the_tensor_come_back_whatever_the_steps(steps: list, height: int, width: int) -> None:
    pipeline = Pipeline((*[step for step in steps if not isinstance(step, CenterCrop)], Layout("nchw")))
    geometry = pipeline(np.zeros((height, width, 3), np.uint8)).geometry
    boxes = np.array([[0.0, 0.0, width, height], [3.5, 1.25, 17.0, 12.0]])
    np.testing.assert_allclose(geometry.to_image(geometry.to_tensor(boxes)), boxes, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(20, 300),
    st.integers(20, 300),
    st.integers(32, 300),
    st.integers(32, 300),
    st.sampled_from(["center", "top-left"]),
)
def test_the_letterbox_geometry_says_where_the_image_really_lies(
    height: int, width: int, target_height: int, target_width: int, anchor: str
) -> None:
    image = np.full((height, width, 3), 255, np.uint8)
    result = Pipeline((Letterbox((target_height, target_width), anchor=anchor), Layout("nhwc")))(image)  # type: ignore[arg-type]
    rows, columns = np.nonzero(result.tensor[0, ..., 0] == 255)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    told = result.geometry.to_tensor([[0, 0, width, height]])[0]
    assert np.abs(told - seen).max() <= 1.0
    assert seen[:2] == [result.geometry.left, result.geometry.top]


def test_a_crop_moves_the_geometry_the_other_way() -> None:
    geometry = Pipeline((CenterCrop((20, 30)), Layout("nchw")))(draw_image(40, 50)).geometry
    np.testing.assert_array_equal(geometry.to_image([[0, 0, 30, 20]]), [[10, 10, 40, 30]])


def test_geometries_of_one_step_after_another_are_composed() -> None:
    # 40 x 50 loses 10 on each side, is doubled, and lies 3 below the upper edge of the letterbox.
    steps = (CenterCrop((20, 30)), Resize((40, 60)), Letterbox((46, 60)), Layout("nchw"))
    geometry = Pipeline(steps)(draw_image(40, 50)).geometry
    assert geometry == Geometry(40, 50, 2.0, 2.0, -20.0, -17.0)
    np.testing.assert_array_equal(geometry.to_tensor([[10, 10, 40, 30]]), [[0, 3, 60, 43]])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_what_is_no_8_bit_bgr_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(FeedError, match="expected uint8"):
        preset("yolo")(image)


def test_an_image_too_thin_to_keep_a_pixel_is_refused() -> None:
    with pytest.raises(FeedError, match="would be resized to 0 x 64"):
        run(draw_image(1, 1000), Letterbox((64, 64)))


def test_an_image_smaller_than_its_crop_is_refused() -> None:
    with pytest.raises(FeedError, match="smaller than the crop of 224 x 224"):
        run(draw_image(100, 300), CenterCrop((224, 224)))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((Color("rgb"),), r"steps\[1\]: there is no layout step"),
        ((Layout("nchw"), Color("rgb")), r"steps\[1\]: color stands behind layout"),
        (
            (Dtype("float32"), Layout("nchw")),
            r"steps\[0\]: dtype stands before layout.*steps\[1\]: layout stands behind dtype",
        ),
        ((Scale(divisor=255), Letterbox((8, 8)), Layout("nchw")), r"steps\[1\]: letterbox would pad"),
        ((Normalize("imagenet", "imagenet"), Layout("nchw")), r"steps\[0\]: 'imagenet' is in RGB order"),
        ((Scale(divisor=255), Layout("nchw"), Dtype("uint8")), r"steps\[2\]: dtype uint8 would cut off what scale"),
    ],
)
def test_an_order_of_steps_that_makes_no_sense_is_refused(steps: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pipeline(steps)


@pytest.mark.parametrize(
    ("step", "settings"),
    [
        (Resize, {"size": (0, 4)}),
        (ResizeShorter, {"size": 0}),
        (Letterbox, {"size": (4, 4), "value": 256}),
        (Scale, {}),
        (Scale, {"factor": 1.0, "divisor": 2.0}),
        (Scale, {"divisor": 0.0}),
        (Scale, {"factor": math.nan}),
        (Normalize, {"mean": (0.0, 0.0, 0.0), "std": (1.0, 0.0, 1.0)}),
        (Normalize, {"mean": (0.0, 0.0), "std": (1.0, 1.0, 1.0)}),
        (Normalize, {"mean": (0.0, 0.0, math.inf), "std": (1.0, 1.0, 1.0)}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(step: type, settings: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        step(**settings)
