"""``doctor --fix``: what is safe to do about findings. Each says what it did and what it left; a second run finds nothing to do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..notes import size
from ..settings import env_values
from .finding import Finding, Patient
from .folders import leftovers

ENV_FILE = Path(".env")


@dataclass
class Treatment:
    """``ask`` is a question to whoever sits here, answered yes or no; ``done`` and ``left`` are sentences."""

    patient: Patient
    ask: Callable[[str], bool]
    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def of(self, findings: Iterable[Finding]) -> Treatment:
        """Do what can be done; what ``findings`` hold beside that is left to the person."""
        self._folders()
        for finding in findings:
            repair = REPAIRS.get(finding.repair)
            if repair is not None:
                repair(self, finding)
            elif finding.wrong:
                self.left.append(finding.to_dict()["what"])
        return self

    def _folders(self) -> None:
        settings = self.patient.settings
        for folder in (settings.data_dir, settings.models_dir, self.patient.hub.cache):
            if not folder.exists():
                try:
                    folder.mkdir(parents=True)
                    self.done.append(f"Made the folder {folder}.")
                except OSError as error:
                    self.left.append(f"The folder {folder} cannot be made ({error.strerror}).")

    def _leftovers(self, _: Finding) -> None:
        count, freed = 0, 0
        found = leftovers(self.patient)
        for path, bytes_ in found:
            with suppress(OSError):
                path.unlink()
                count, freed = count + 1, freed + bytes_
        for folder in sorted({path.parent for path, _ in found if "uploads" in path.parts}, reverse=True):
            with suppress(OSError):
                folder.rmdir()  # gradio makes one for each upload
        self.done.append(f"Removed leftover files: {count} of {len(found)} files, {size(freed)}.")
        if count < len(found):
            self.left.append("The other files are in use, or belong to another user.")

    def _variables(self, finding: Finding) -> None:
        name, right = finding.params["name"], finding.params["nearest"]
        text = ENV_FILE.read_text("utf-8")
        fresh = re.sub(rf"(?m)^(\s*(?:export\s+)?){re.escape(name)}(?=\s*=)", rf"\g<1>{right}", text)
        if right not in env_values() and fresh != text and self.ask(f"Rename {name} to {right} in {ENV_FILE}?"):
            ENV_FILE.write_text(fresh, "utf-8")
            self.done.append(f"Renamed {name} to {right} in {ENV_FILE}.")
        else:
            self.left.append(f"{name} in {ENV_FILE} was not renamed: agree to it, or add --yes.")

    def _torch(self, finding: Finding) -> None:
        command = finding.params["install"]
        if not self.ask(f"Run: {command}"):
            self.left.append(f"PyTorch was not changed: agree to it, or add --yes, to run: {command}")
        elif subprocess.run([sys.executable, *finding.params["command"].split()], check=False).returncode == 0:
            self.done.append(f"Installed the PyTorch that fits: {command}")
        else:
            self.left.append(f"The installation failed (see above). Try again: {command}")


REPAIRS: dict[str, Callable[[Treatment, Finding], None]] = {
    "leftovers": Treatment._leftovers,
    "variables": Treatment._variables,
    "torch": Treatment._torch,
}
