"""Names of layers on a page: whole where there is room, shortened alike where the page would be too large."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from parity.latency_table import LayerLatency
from parity.report.html import report_html
from parity.report.layer_names import WHOLE, name_room, nodes_text, shortened
from parity.report.pictures import Picture, View
from tests.latency_examples import RECORD, latency
from tests.layer_examples import BLANK, row
from tests.layer_examples import FAILING as FAILED_LAYERS
from tests.run_examples import CENSUS, FAILING, INVARIANTS, JUDGED_ENGINE, make_run

LONG = "/model/encoder/layers.7/attention/self/query_key_value/dense_projection/quantized/MatMul_output_of_block"


@pytest.mark.parametrize(
    ("layer", "nodes", "told"),
    [
        ("/conv1", ("/conv1",), ""),
        ("/conv1 + /relu1", ("/conv1", "/relu1"), ""),
        ("PWN(/sigmoid, /mul)", ("/sigmoid", "/mul"), ""),
        ("a name with spaces", ("a name with spaces",), ""),
        ("/conv12", ("/conv1",), "/conv1"),
        ("{ForeignNode[/a.../c]}", ("/a", "/b", "/c"), "/a, /b, /c"),
    ],
)
def test_nodes_stand_beside_a_layer_whose_name_does_not_have_them(
    layer: str, nodes: tuple[str, ...], told: str
) -> None:
    assert nodes_text(row(1, layer=layer, nodes=nodes)) == told


def variants(count: int, name: str, of: int = 300) -> list:
    """Return variants with every check, each layer and timed layer of one name with its place."""
    rows = tuple(
        row(at, layer=f"{name}_{at}", nodes=(f"{name}_{at}_a", f"{name}_{at}_b"), time_ms=0.0123456) for at in range(of)
    )
    layers = replace(FAILED_LAYERS, rows=rows, sources=())
    timed = tuple(LayerLatency(at, f"{name}_{at}", 0.0123456, (f"{name}_{at}",), "fp16") for at in range(of))
    checks = (
        *(
            replace(FAILING, engine=JUDGED_ENGINE.engine),
            CENSUS,
            INVARIANTS,
            replace(BLANK, check="layers", layers=layers),
        ),
        latency(record=replace(RECORD, layers=timed)),
    )
    return [replace(one, variant=f"v{number}@tensorrt-8.6") for number in range(count) for one in checks]


def test_names_are_whole_where_a_page_has_room() -> None:
    page = report_html(make_run(*variants(5, LONG)))
    assert f"<td class=w>{LONG}_299<" in page
    assert "layers.csv has them whole" not in page


@pytest.mark.parametrize("name", [LONG, LONG * 5])
def test_twenty_variants_with_every_check_and_long_names_stay_below_three_megabytes(name: str) -> None:
    page = report_html(make_run(*variants(20, name)))
    assert 2.8e6 < len(page.encode()) < 3e6
    [room] = set(map(int, re.findall("Names of more than ([0-9]+) characters are shortened", page)))
    assert 24 <= room < len(LONG)
    assert f">{shortened(f'{name}_299', room)}<" in page


def test_pictures_cost_no_name_its_beginning() -> None:
    run = make_run(*variants(5, LONG))
    picture = Picture("a.png", "an image", (View("both", "data:image/png;base64," + "A" * 3_000_000),))
    page = report_html(run, {("shapes", "v0@tensorrt-8.6", "layers"): [picture]})
    assert len(page) > 4_000_000
    assert f"<td class=w>{LONG}_299<" in page


def test_what_a_page_has_too_much_is_taken_from_the_longest_names() -> None:
    rows = tuple(row(at, layer="n" * length, nodes=("n" * length,)) for at, length in enumerate((10, 50, 100)))
    run = make_run(replace(BLANK, check="layers", layers=replace(FAILED_LAYERS, rows=rows, sources=())))
    assert name_room(run, 0) == WHOLE
    assert name_room(run, 40) == 60
    assert name_room(run, 60) == 45
    assert name_room(run, 1_000) == 24
