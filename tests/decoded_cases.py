"""Cases whose results are decoded by a function, with images and annotations to be matched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from parity.case.loader import load_case
from tests.tiny_models import write_case, write_images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from parity.case import Case

IMAGES = ("a.png", "b.png", "c.png")
FILES = '[inputs]\nkind = "images"\nfiles = ["images/*.png"]\npreprocess = { preset = "yolo", size = [8, 8] }\n'
DRAWN = (
    '[inputs]\nkind = "python"\nfunction = "code.py:draw"\ncount = 3\npreprocess = { preset = "yolo", size = [8, 8] }\n'
)


def decoded_case(
    folder: Path, *, task: str = "detection", inputs: str = FILES, code: str = "", keys: str = "", beside: str = ""
) -> Case:
    """Return a case whose ``code.py`` decodes; ``keys`` go into [decode], ``beside`` behind it."""
    decode = f'[decode]\nname = "python"\nfunction = "code.py:decode"\ntask = "{task}"\n{keys}'
    write_case(folder, f'model = "model.onnx"\n{inputs}{decode}{beside}')
    write_images(folder / "images", list(IMAGES), (6, 10))
    (folder / "code.py").write_text(code, encoding="utf-8")
    return load_case(folder)


def annotated_case(folder: Path, content: Mapping[str, object] | bytes, **options: str) -> Case:
    """Return a case whose annotations are a COCO file with some content."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "truth.json").write_bytes(raw)
    return decoded_case(folder, beside='[annotations]\nfile = "truth.json"\n', **options)


def coco(**changes: object) -> dict[str, object]:
    """Return a COCO file's content on the three images: two objects in a.png, one crowd in b.png, nothing in c.png."""
    content: dict[str, object] = {
        "info": {"year": 2020},
        "images": [
            {"id": 7, "file_name": "train/a.png", "width": 10, "height": 6},
            {"id": 3, "file_name": "b.png"},
            {"id": 9, "file_name": "sub\\c.png"},
        ],
        "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 4, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3.5, 1], "area": 2.5, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [0, 0, 2, 2], "segmentation": [[0, 0, 1, 1, 0, 1]]},
            {"id": 3, "image_id": 3, "category_id": 4, "bbox": [4, 0, 2, 6], "iscrowd": 1},
        ],
    }
    return {**content, **changes}
