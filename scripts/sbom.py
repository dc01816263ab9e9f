"""What is installed, as CycloneDX 1.6 JSON: ``.venv/bin/python scripts/sbom.py > sbom.json``.

From the packages' own metadata: nothing is asked of an index. Give it to a scanner that knows of faults (pip-audit, grype).
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def component(found: Distribution) -> dict[str, Any]:
    """A package, its licence as it says it itself."""
    about = found.metadata
    name = re.sub(r"[-_.]+", "-", about["Name"]).lower()
    url = f"pkg:pypi/{name}@{found.version}"
    entry: dict[str, Any] = {"type": "library", "bom-ref": url, "name": name, "version": found.version, "purl": url}
    if expression := about.get("License-Expression"):
        entry["licenses"] = [{"expression": expression}]
    elif licence := (about.get("License") or "").strip().splitlines()[:1]:
        entry["licenses"] = [{"license": {"name": licence[0][:120]}}]
    return entry


def needs(found: Distribution, known: dict[str, str]) -> list[str]:
    """The references of what a package needs and is here."""
    names = (re.match(r"[\w.-]+", line) for line in found.requires or [] if "extra ==" not in line)
    wanted = (re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name)
    return sorted({known[name] for name in wanted if name in known})


def bill(packages: list[Distribution]) -> dict[str, Any]:
    """The whole document, in the order of names."""
    from svd_ui import __version__

    by_ref = {component(one)["bom-ref"]: one for one in packages if one.metadata["Name"]}
    components = sorted(map(component, by_ref.values()), key=lambda one: one["bom-ref"])
    known = {one["name"]: one["bom-ref"] for one in components}
    app = {"type": "application", "bom-ref": "svd-ui", "name": "svd-ui", "version": __version__}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**app, "licenses": [{"expression": "Apache-2.0"}]}},
        "components": components,
        "dependencies": [
            {"ref": one["bom-ref"], "dependsOn": needs(by_ref[one["bom-ref"]], known)} for one in components
        ],
    }


if __name__ == "__main__":
    json.dump(bill(list(distributions())), sys.stdout, indent=2)
    print()
