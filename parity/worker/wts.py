"""Reader of ``.wts``: weights as text, one tensor a line, as the exporters of TensorRT network-definition code write.

The first line holds the number of tensors. Every other line holds a name, a count, and as many words of eight
hexadecimal digits, each a big-endian float32, separated by one space.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .errors import ModelRefused

_WORD = 9
"""Characters of a word with the space after it."""


def read_wts(path: str) -> dict[str, np.ndarray]:
    """Read all tensors of a file.

    Returns
    -------
    dict
        By name: (n,) float32 arrays; the format knows no other shape.

    Raises
    ------
    ModelRefused
        The file cannot be read, or is not of this format; the message names the line.
    """
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise ModelRefused(f"{path} cannot be read: {error.strerror}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    _check_count(path, lines)
    weights: dict[str, np.ndarray] = {}
    for number, line in enumerate(lines[1:], start=2):
        name, values = _read_line(f"{path}, line {number}", line)
        if name in weights:
            raise ModelRefused(f"{path}, line {number}: there is a second tensor {name!r}")
        weights[name] = values
    return weights


def _check_count(path: str, lines: list[bytes]) -> None:
    told = lines[0].strip() if lines else b""
    if not told.isdigit():
        raise ModelRefused(f"{path}, line 1: expected the number of tensors, got {_shown(told)}")
    if int(told) != len(lines) - 1:
        raise ModelRefused(f"{path}, line 1: says {int(told)} tensors, and {len(lines) - 1} lines follow")


def _read_line(where: str, line: bytes) -> tuple[str, np.ndarray]:
    parts = line.split(None, 2)
    if len(parts) < 2 or not parts[1].isdigit():
        raise ModelRefused(f"{where}: expected a name, a count and that many words, got {_shown(line)}")
    try:
        name = parts[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelRefused(f"{where}: the name {_shown(parts[0])} is not UTF-8 text") from error
    text = parts[2].rstrip() if len(parts) == 3 else b""
    return name, _read_words(f"{where}: {name!r}", text, int(parts[1]))


def _read_words(where: str, text: bytes, count: int) -> np.ndarray:
    if len(text) != max(_WORD * count - 1, 0):
        found = len(text.split())
        told = f"has {found}" if found != count else "some are not eight digits, or more than one space apart"
        raise ModelRefused(f"{where} says {count} values of eight digits, and {told}")
    separators = np.frombuffer(text, np.uint8)[_WORD - 1 :: _WORD]
    try:
        data = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        data = b""
    # Bytes that fromhex skips, spaces inside words, would leave fewer of them.
    if len(data) != 4 * count or not np.all(separators == ord(" ")):
        raise ModelRefused(f"{where}: word {_first_bad_word(text)} is not eight hexadecimal digits")
    return np.frombuffer(data, ">f4").astype(np.float32)


def _first_bad_word(text: bytes) -> str:
    digits = set(b"0123456789abcdefABCDEF")
    words = text.split(b" ")
    number = next(n for n, word in enumerate(words) if len(word) != _WORD - 1 or not digits.issuperset(word))
    return f"{number + 1}, {_shown(words[number])},"


def _shown(data: bytes) -> str:
    return ascii(data[:40].decode("latin-1")) + ("…" if len(data) > 40 else "")
