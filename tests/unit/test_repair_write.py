"""Writing a keep-list into a case file: the list, its reason, and not one byte more."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from parity.case.loader import load_case
from parity.errors import RunError
from parity.repair.write import write_keep
from tests.repair_cases import write_products_case

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'model = "model.onnx"\n[inputs]\nkind = "random"  # drawn\nseed = 1\ncount = 2\n\n'


def written(folder: Path, variants: str, keep: tuple[str, ...] = ("first",), keep_precision: str = "fp32") -> str:
    """Write into a case with these variants and return the new text."""
    file = write_products_case(folder) / "case.toml"
    file.write_bytes(f"{HEAD}{variants}".encode())
    write_keep(load_case(folder), "fp16", keep, keep_precision, "because\nit overflows")
    return file.read_bytes().decode()


def test_the_list_stands_behind_the_variants_last_key_with_its_reason(tmp_path: Path) -> None:
    text = written(
        tmp_path / "c", '# mine\n[variants.fp16]  # half\nprecision = "fp16"\n\n[variants.bf16]\nprecision="bf16"\n'
    )
    assert text == (
        f'{HEAD}# mine\n[variants.fp16]  # half\nprecision = "fp16"\nkeep = ["first"] # because it overflows\n'
        '\n[variants.bf16]\nprecision="bf16"\n'
    )


def test_what_was_kept_before_stays_with_its_comments(tmp_path: Path) -> None:
    variants = '[variants.fp16]\nkeep = ["third",  # by hand\n  "first"]  # old\nprecision = "fp16"\n'
    text = written(tmp_path / "c", variants, ("first", "second"))
    assert tomllib.loads(text)["variants"]["fp16"]["keep"] == ["third", "first", "second"]
    assert "# by hand" in text
    assert "# old; because it overflows" in text


@pytest.mark.parametrize(
    "variants",
    [
        '[variants]\nfp16 = { precision = "fp16" }  # inline\nfp32 = { precision = "fp32" }\n',
        '[variants]\nfp16.precision = "fp16"\nfp32.precision = "fp32"\n',
        '[variants.fp16]\nprecision = "fp16"',
    ],
    ids=["inline", "dotted", "no newline at the end"],
)
def test_other_ways_to_write_a_table_are_edited_too(variants: str, tmp_path: Path) -> None:
    text = written(tmp_path / "c", variants)
    expected = tomllib.loads(HEAD + variants)
    expected["variants"]["fp16"]["keep"] = ["first"]
    assert tomllib.loads(text) == expected
    assert "because it overflows" in text
    assert text.startswith(HEAD)


def test_lines_end_as_they_did(tmp_path: Path) -> None:
    file = write_products_case(tmp_path / "c") / "case.toml"
    file.write_bytes(f'{HEAD}[variants.fp16]\nprecision = "fp16"\n\n[latency]\n'.replace("\n", "\r\n").encode())
    write_keep(load_case(tmp_path / "c"), "fp16", [f"node_{number:020}" for number in range(9)], "fp32", "because")
    content = file.read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") > 15


def test_another_precision_to_keep_at_is_written_and_fp32_is_not(tmp_path: Path) -> None:
    variants = '[variants.fp16]\nprecision = "fp16"\n'
    assert "keep_precision" not in written(tmp_path / "a", variants)
    assert tomllib.loads(written(tmp_path / "b", variants, keep_precision="bf16"))["variants"]["fp16"] == {
        "precision": "fp16",
        "keep": ["first"],
        "keep_precision": "bf16",
    }


def test_names_with_quotes_come_back_as_they_are(tmp_path: Path) -> None:
    name = 'a"b\\c\t é'
    text = written(tmp_path / "c", '[variants.fp16]\nprecision = "fp16"\n', (name,))
    assert tomllib.loads(text)["variants"]["fp16"]["keep"] == [name]


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    folder = write_products_case(tmp_path / "c")
    case = load_case(folder)
    file = folder / "case.toml"
    file.write_text(file.read_text(encoding="utf-8") + "# somebody else\n", encoding="utf-8")
    before = file.read_bytes()
    with pytest.raises(RunError, match="has changed since it was read"):
        write_keep(case, "fp16", ["first"], "fp32", "because")
    assert file.read_bytes() == before


def test_default_variants_have_no_table_to_write_into(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no \[variants.fp16\] to write into"):
        written(tmp_path / "c", "")


def test_nothing_is_left_beside_the_file_and_its_mode_stays(tmp_path: Path) -> None:
    folder = write_products_case(tmp_path / "c")
    (folder / "case.toml").chmod(0o640)
    write_keep(load_case(folder), "fp16", ["first"], "fp32", "because")
    assert sorted(path.name for path in folder.iterdir()) == ["case.toml", "model.onnx"]
    assert (folder / "case.toml").stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    folder = write_products_case(tmp_path / "c")
    real = (folder / "case.toml").rename(tmp_path / "real.toml")
    (folder / "case.toml").symlink_to(real)
    write_keep(load_case(folder), "fp16", ["first"], "fp32", "because")
    assert (folder / "case.toml").is_symlink()
    assert "keep" in real.read_text(encoding="utf-8")
