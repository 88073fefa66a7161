"""Refuse tracked files that name a package registry's address or a path of somebody's machine.

Such names work for one person and break for the next. Usage: python scripts/check_tree.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FORBIDDEN = {
    "a package registry's address": re.compile(
        r"https?://[\w.@:-]*(?:pypi|artifactory|nexus|devpi|files\.pythonhosted)[\w.-]*[/:]"
        r"|--(?:extra-)?index-url|^\s*index-url\s*=|registry\.npmjs",
        re.MULTILINE,
    ),
    "a path of one machine": re.compile(
        r"(?<![\w.~-])/(?:home|Users)/(?!you\b|user\b|\.\.\.|<)[\w.-]+/|(?<![\w./-])/(?:root|work)/[\w.-]+"
    ),
}
HERE = Path(__file__).resolve()
TEXT_LIMIT = 2_000_000


def main() -> int:
    """Print each finding as ``file:line: what``; 1 when there is one."""
    root = HERE.parent.parent
    findings = [found for path in tracked(root) for found in faults(root, path)]
    print(*findings, sep="\n", end="\n" if findings else "")
    return 1 if findings else 0


def tracked(root: Path) -> list[Path]:
    """Return the files that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout
    return [root / name for name in listed.decode().split("\0") if name]


def faults(root: Path, path: Path) -> list[str]:
    """Return what is wrong in a file; binary files and this one are left out."""
    if path == HERE or not path.is_file() or path.stat().st_size > TEXT_LIMIT:
        return []
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return []
    return [
        f"{path.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match[0].strip()}"
        for what, pattern in FORBIDDEN.items()
        for match in pattern.finditer(text)
    ]


if __name__ == "__main__":
    sys.exit(main())
