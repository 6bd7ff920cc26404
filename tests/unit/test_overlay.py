"""Pictures of decoded results: what is drawn where, and that nothing odd in the results keeps a picture from being."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from parity.decoded import Classification, Detections, LabelMap, Lanes
from parity.errors import StructureError
from parity.overlay import Side, View, draw, has_sides
from parity.overlay.canvas import GREEN, MAX_SIDE, SKY_BLUE, VERMILLION, WHITE, YELLOW, open_canvas, scale_for
from parity.overlay.detections import draw_detections
from parity.overlay.lines import Stroke, dashes, draw_outline
from parity.overlay.masks import find_frame
from parity.overlay.tags import Tag, class_name, place_tags, short_name
from tests.decoded_examples import boxes

NAMES = View(class_names=("cat", "dog"))
NONE = boxes()
CAT = boxes((40.0, 30.0, 120.0, 90.0))


def grey(height: int = 160, width: int = 240) -> np.ndarray:
    return np.full((height, width, 3), 127, np.uint8)


def plain(reference, candidate, image=None, **view) -> np.ndarray:
    """Return the drawn image without its legend, at the image's own size and place."""
    image = grey(960, 960) if image is None else image
    return draw(image, reference, candidate, View(**view))[: image.shape[0], : image.shape[1]]


def is_near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=-1) < 40


def has_colour(picture: np.ndarray, x: float, y: float, colour: tuple[int, int, int], radius: int = 3) -> bool:
    column, row = int(x), int(y)
    near = picture[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1]
    return bool(is_near(near, colour).any())


def lanes(points, attributes=((0, 1),)) -> Lanes:
    points = np.array(points, np.float64)
    return Lanes(points, np.array(attributes, np.int64), np.ones(points.shape[:2]))


class TestDetections:
    def test_a_missed_box_has_its_colour_at_every_corner_and_an_extra_one_at_its_middle(self) -> None:
        one, other = boxes((100, 200, 300, 400)), boxes((600, 500, 800, 700))
        picture = plain(one, other)
        for x, y in ((100, 200), (300, 200), (300, 400), (100, 400)):
            # A square reaches farther from the corner than the line does.
            assert has_colour(picture, x - 5 if x == 100 else x + 4, y - 5 if y == 200 else y + 4, VERMILLION, 1), (
                x,
                y,
            )
        assert has_colour(picture, 700, 600, SKY_BLUE)
        assert not has_colour(picture, 200, 300, VERMILLION)

    def test_what_agrees_has_no_colour_of_a_disagreement(self) -> None:
        picture = plain(CAT, CAT)
        assert not any(is_near(picture, colour).any() for colour in (VERMILLION, SKY_BLUE, YELLOW))
        assert is_near(picture, WHITE).any()

    def test_a_flipped_class_carries_a_diamond_in_its_middle(self) -> None:
        picture = plain(boxes((100, 200, 300, 400)), boxes((100, 200, 300, 400), classes=(1,)))
        assert has_colour(picture, 200, 300, YELLOW)
        assert not is_near(picture, VERMILLION).any()

    def test_each_side_alone_shows_what_it_has(self) -> None:
        one, other = boxes((100, 200, 300, 400)), boxes((600, 500, 800, 700))
        reference, candidate = (plain(one, other, side=side) for side in (Side.REFERENCE, Side.CANDIDATE))
        assert is_near(reference, VERMILLION).any()
        assert not is_near(reference, SKY_BLUE).any()
        assert is_near(candidate, SKY_BLUE).any()
        assert not is_near(candidate, VERMILLION).any()

    def test_what_lies_below_the_threshold_is_not_drawn(self) -> None:
        weak = boxes((100, 200, 300, 400), scores=(0.1,))
        assert np.array_equal(plain(weak, weak, score_threshold=0.25), grey(960, 960))

    def test_a_box_lies_where_it_does_in_an_enlarged_image(self) -> None:
        picture = draw(grey(160, 160), boxes((20.0, 30.0, 60.0, 70.0)), NONE)
        assert picture.shape[1] == 160 * 6
        assert has_colour(picture, 20 * 6, 50 * 6, VERMILLION)
        assert has_colour(picture, 60 * 6, 50 * 6, VERMILLION)

    def test_turned_corners_are_drawn_instead_of_the_box_around_them(self) -> None:
        corners = np.array([[[200.0, 100], [300, 200], [200, 300], [100, 200]]])
        picture = plain(replace(boxes((100, 100, 300, 300)), corners=corners), NONE)
        assert has_colour(picture, 150, 150, VERMILLION)
        assert not has_colour(picture, 290, 290, VERMILLION)

    def test_keypoints_of_both_sides_are_drawn_unless_they_are_not_visible(self) -> None:
        points = np.array([[[150.0, 250, 1], [250, 350, 0]]])
        picture = plain(replace(boxes((100, 200, 300, 400)), keypoints=points), NONE)
        assert has_colour(picture, 150, 250, VERMILLION)
        assert not has_colour(picture, 250, 350, VERMILLION)

    def test_a_mask_is_drawn_as_its_contour(self) -> None:
        mask = np.zeros((1, 96, 96), np.bool_)
        mask[0, 30:50, 20:40] = True
        picture = plain(replace(boxes((100, 200, 500, 600)), masks=mask), NONE)
        assert has_colour(picture, 205, 400, VERMILLION, 6)
        assert not has_colour(picture, 300, 400, VERMILLION, 6)

    def test_in_a_dense_image_what_differs_is_named_and_names_without_room_are_counted(self) -> None:
        corners = np.random.default_rng(1).uniform(0, 200, (60, 2))
        dense = boxes(*np.concatenate([corners, corners + 30], axis=1))
        canvas = open_canvas(grey(240, 240))
        told = [entry.text for entry in draw_detections(canvas, dense, NONE, NAMES)]
        assert "missed 60" in told
        assert not any("left out" in text for text in told)
        [count] = [
            text for text in (entry.text for entry in draw_detections(canvas, dense, dense, NAMES)) if "left" in text
        ]
        assert int(count.split()[0]) >= 20

    @settings(max_examples=15, deadline=None)
    @given(
        arrays(np.float64, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True)),
        arrays(np.float64, 3, elements=st.floats(allow_nan=True)),
        st.lists(st.integers(-5, 2**40), min_size=3, max_size=3),
    )
    def test_no_numbers_crash_a_picture(self, found: np.ndarray, scores: np.ndarray, classes: list[int]) -> None:
        odd = Detections(found, scores, np.array(classes))
        assert draw(grey(40, 60), odd, CAT, NAMES).dtype == np.uint8

    def test_boxes_far_outside_crash_nothing_and_the_image_stays(self) -> None:
        far = boxes((-1e300, -1e300, 1e300, 1e300), (5000.0, 5000.0, 6000.0, 6000.0))
        assert np.array_equal(plain(far, NONE)[480, 470:490], grey(960, 960)[480, 470:490])


class TestMasks:
    @pytest.mark.parametrize("frame", ["stretched", "centred", "upper left"])
    def test_the_frame_is_the_one_in_which_masks_lie_in_their_boxes(self, frame: str) -> None:
        """An image of 400 x 200 in a square grid of 100 x 100, one mask in one corner."""
        offset, scale = {"stretched": (0, (4, 2)), "centred": (25, (4, 4)), "upper left": (0, (4, 4))}[frame]
        x, y = 10, offset + 5
        mask = np.zeros((1, 100, 100), np.bool_)
        mask[0, y : y + 10, x : x + 10] = True
        y1 = (y - offset) * scale[1]
        box = boxes((40.0, y1, 80.0, y1 + 10 * scale[1]))
        found = find_frame(replace(box, masks=mask), np.array([400.0, 200.0]))
        assert found.scale.tolist() == list(scale)
        assert found.offset.tolist() == [0, -offset * scale[1]]


class TestLanes:
    STRAIGHT = ([[100, 100], [100, 200], [100, 300]], [[500, 100], [500, 200], [500, 300]])

    def test_a_point_that_only_one_side_has_is_marked_as_missed_or_extra(self) -> None:
        gap = np.array(self.STRAIGHT, np.float64)
        gap[0, 1] = math.nan
        assert has_colour(plain(lanes(self.STRAIGHT), lanes(gap)), 100, 200, VERMILLION)
        assert has_colour(plain(lanes(gap), lanes(self.STRAIGHT)), 100, 200, SKY_BLUE)

    def test_points_that_moved_are_joined_and_others_not(self) -> None:
        moved = np.array(self.STRAIGHT, np.float64)
        moved[0, 1, 0] += 40
        assert has_colour(plain(lanes(self.STRAIGHT), lanes(moved)), 120, 200, YELLOW)
        assert not is_near(plain(lanes(self.STRAIGHT), lanes(self.STRAIGHT)), YELLOW).any()

    def test_a_changed_attribute_is_told_in_the_colour_of_a_flip(self) -> None:
        changed = plain(lanes(self.STRAIGHT), lanes(self.STRAIGHT, ((0, 2),)))
        assert is_near(changed, YELLOW).any()

    @pytest.mark.parametrize("side", Side)
    def test_lanes_without_any_point_leave_the_image_as_it_is(self, side: Side) -> None:
        nothing = lanes(np.full((2, 3, 2), math.nan))
        assert np.array_equal(plain(nothing, nothing, side=side), grey(960, 960))

    def test_lanes_of_other_shapes_are_a_clear_error(self) -> None:
        with pytest.raises(StructureError, match=r"\(2, 3, 2\) and \(1, 3, 2\).*same lanes"):
            draw(grey(), lanes(self.STRAIGHT), lanes(self.STRAIGHT[:1], ((0,),)))


class TestLabelMaps:
    def test_pixels_that_differ_are_white_and_the_others_dark(self) -> None:
        labels = np.zeros((48, 48), np.int64)
        other = labels.copy()
        other[24:, 24:] = 1
        picture = draw(grey(480, 480), LabelMap(labels), LabelMap(other), NAMES)
        width = (picture.shape[1] - 8) // 2
        last = picture[2 * 24 + width : 2 * 24 + 2 * width, width + 8 :]
        assert (last[-20:, -20:] == 255).all()
        assert (last[:20, :20] < 100).all()

    @pytest.mark.parametrize("shape", [(48, 48), (24, 48), (1, 1), (7, 300)])
    def test_maps_of_any_shape_are_drawn(self, shape: tuple[int, int]) -> None:
        labels = LabelMap(np.full(shape, 300, np.int64))
        assert draw(grey(), labels, LabelMap(np.zeros((48, 48), np.int64))).ndim == 3


class TestClassifications:
    def test_a_changed_top_class_carries_a_diamond(self) -> None:
        scores = np.array([0.7, 0.2, 0.1])
        same = draw(grey(), Classification(scores), Classification(scores))
        flipped = draw(grey(), Classification(scores), Classification(scores[::-1].copy()))
        assert not is_near(same, YELLOW).any()
        assert is_near(flipped, YELLOW).any()

    def test_a_bar_is_as_long_as_its_score(self) -> None:
        def filled(score: float) -> int:
            scores = np.array([score, 0.0])
            return int(is_near(draw(grey(), Classification(scores), Classification(scores)), GREEN).sum())

        empty = filled(0.0)
        assert (filled(0.8) - empty) / (filled(0.4) - empty) == pytest.approx(2, rel=0.1)

    @pytest.mark.parametrize("scores", [[], [math.nan], [math.nan, 3.0, -math.inf], [-5.0, -5.0], [1e308, -1e308]])
    def test_no_scores_crash_a_picture(self, scores: list[float]) -> None:
        odd = Classification(np.array(scores, np.float64))
        assert draw(grey(), odd, odd).dtype == np.uint8


class TestPicture:
    def test_the_image_given_is_not_changed(self) -> None:
        image = grey(960, 960)
        draw(image, CAT, NONE, NAMES)
        assert np.array_equal(image, grey(960, 960))

    def test_grey_images_are_drawn_on_in_colour(self) -> None:
        assert is_near(draw(grey(960, 960)[:, :, 0], CAT, NONE), VERMILLION).any()

    @pytest.mark.parametrize("shape", [(0, 5, 3), (5, 5, 4), (5,), (5, 5, 3, 1)])
    def test_what_is_no_image_is_a_clear_error(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(StructureError, match="expected uint8"):
            draw(np.zeros(shape, np.uint8), CAT, CAT)
        with pytest.raises(StructureError, match="float32"):
            draw(np.zeros((5, 5, 3), np.float32), CAT, CAT)

    def test_results_of_two_kinds_are_a_clear_error(self) -> None:
        with pytest.raises(StructureError, match="Detections and Classification"):
            draw(grey(), CAT, Classification(np.ones(3)))

    @pytest.mark.parametrize(
        ("height", "width", "scale"),
        [(320, 320, 3), (32, 32, 8), (1, 1, 8), (700, 900, 1), (4000, 2000, 0.4), (1600, 10, 1), (10, 3200, 0.5)],
    )
    def test_small_images_are_enlarged_and_large_ones_made_smaller(self, height: int, width: int, scale: float) -> None:
        assert scale_for(height, width) == scale
        assert max(open_canvas(grey(height, width)).pixels.shape) <= MAX_SIDE

    def test_only_results_that_lie_on_the_image_have_sides(self) -> None:
        assert has_sides(CAT)
        assert not has_sides(Classification(np.ones(3)))

    def test_the_legend_stands_below_and_never_on_the_image(self) -> None:
        assert np.array_equal(draw(grey(960, 960), NONE, NONE, caption="a.png")[:960], grey(960, 960))
        assert (draw(grey(), NONE, NONE, caption="a.png") != draw(grey(), NONE, NONE, caption="b.png")).any()


class TestLines:
    def test_a_dashed_outline_leaves_gaps_that_a_solid_one_has_not(self) -> None:
        square = np.array([[100.0, 100], [300, 100], [300, 300], [100, 300]])
        rows = {}
        for is_dashed in (False, True):
            canvas = open_canvas(grey(960, 960))
            draw_outline(canvas, square, Stroke(VERMILLION, 3, is_dashed=is_dashed, has_halo=False))
            rows[is_dashed] = is_near(canvas.pixels[100, 102:298], VERMILLION)
        assert rows[False].all()
        assert 0.4 < rows[True].mean() < 0.8

    @given(st.floats(0.5, 3000), st.integers(2, 40))
    def test_dashes_begin_and_end_where_their_path_does_and_never_leave_it(self, length: float, points: int) -> None:
        path = np.stack([np.linspace(0, length, points), np.zeros(points)], axis=1)
        pieces = dashes(path)
        assert pieces[0][0].tolist() == [0, 0]
        assert pieces[-1][-1, 0] == pytest.approx(length)
        ends = np.concatenate([piece[[0, -1], 0] for piece in pieces])
        assert (np.diff(ends) > 0).all()

    def test_a_dash_follows_the_bend_of_its_path(self) -> None:
        [first, *_] = dashes(np.array([[0.0, 0], [4, 0], [4, 40]]))
        assert [4.0, 0.0] in first.tolist()


class TestTags:
    def test_a_tag_stays_in_the_picture_wherever_its_box_is(self) -> None:
        for x, y in ((0, 0), (950, 0), (0, 950), (950, 950), (-500, 2000)):
            canvas = open_canvas(grey(960, 960))
            place_tags(canvas, [Tag("cat 0.91", np.array([x, y, x + 10, y + 10.0]), YELLOW)])
            assert is_near(canvas.pixels, YELLOW).sum() > 300, (x, y)

    def test_tags_that_are_not_needed_give_way_and_are_counted(self) -> None:
        canvas = open_canvas(grey(960, 960))
        box = np.array([400.0, 400, 410, 410])
        assert place_tags(canvas, [Tag("cat 0.91", box, YELLOW, needed=False)] * 20) > 5
        assert place_tags(canvas, [Tag("cat 0.91", box, YELLOW)] * 20) == 0

    def test_no_tag_hides_what_is_kept_clear(self) -> None:
        canvas = open_canvas(grey(960, 960))
        mark = (390, 380, 500, 399)
        place_tags(canvas, [Tag("cat 0.91", np.array([400.0, 400, 410, 410]), YELLOW)], [mark])
        assert (canvas.pixels[380:399, 390:500] == 127).all()

    def test_names_are_cut_and_cleared_of_what_moves_a_cursor(self) -> None:
        assert short_name("a\x1b[2J\nb") == "a [2J b"
        assert len(short_name("n" * 100)) == 24
        assert class_name(("cat",), 0) == "cat"
        assert class_name(("cat",), 1) == "class 1"
        assert class_name(("cat",), -1) == "class -1"
