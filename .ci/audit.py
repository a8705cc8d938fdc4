"""Known vulnerabilities of what is pinned, by pip-audit, which asks PyPI for them.

python .ci/audit.py

Exit status 0: none; 1: some, listed, or a package that PyPI does not know; 3: PyPI's advisories cannot be reached.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from pip._internal.models.index import PyPI

ROOT = Path(__file__).parents[1]
ADVISORIES = f"{PyPI.pypi_url}/pip/20.0/json"  # of a release that has some


def main() -> None:
    try:
        with urllib.request.urlopen(ADVISORIES, timeout=30) as answer:
            json.load(answer)["vulnerabilities"][0]
    except (OSError, ValueError, LookupError) as error:
        advice = "run make audit where PyPI itself, not a mirror of its files, can be reached"
        print(f"nothing was audited: no advisories at {ADVISORIES} ({error}); {advice}", file=sys.stderr)
        sys.exit(3)
    command = ["pip_audit", "--strict", "--disable-pip", "--require-hashes", "--requirement", ROOT / "pins.txt"]
    sys.exit(subprocess.run([sys.executable, "-m", *command]).returncode)


if __name__ == "__main__":
    main()
