"""The counted paths of ``docs/architecture.rst``: none of them gets longer or shorter unnoticed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.rst"

#: The headings of the paths.
HEADINGS = {
    "incoming": "An incoming call",
    "outgoing": "An outgoing call",
    "start": "From the start to joined",
    "stop": "The stop",
}

#: Threads run in a different order each time, so the numbers vary by one or two.
MARGIN = 4


def test_the_page_has_the_numbers_of_today() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.ways", "--json"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120.0,
    )
    counts = json.loads(found.stdout)
    assert counts.keys() == HEADINGS.keys()
    page = PAGE.read_text()
    for name, heading in HEADINGS.items():
        said = re.search(rf"^{heading}: (\d+) steps$", page, flags=re.MULTILINE)
        assert said is not None, heading
        assert abs(counts[name] - int(said[1])) <= MARGIN, f"{name}: {counts[name]} steps"
