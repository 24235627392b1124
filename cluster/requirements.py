"""Print what the package needs, one requirement a line, so that an image can install it before the code is there.

`python cluster/requirements.py pyproject.toml`: the list stands in pyproject.toml and nowhere else.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path) -> list[str]:
    """Return the run-time dependencies of a pyproject.toml."""
    return list(tomllib.loads(pyproject.read_text())["project"]["dependencies"])


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]))))
