"""Git repositories that tests make, whatever the machine's own settings of git say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def git_in(folder: Path) -> list[str]:
    """Return the words of a git that works in a folder, and that may commit there."""
    return ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
