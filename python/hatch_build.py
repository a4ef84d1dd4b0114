"""Puts the program dtpnode into the wheel, as a script that is the real binary: no interpreter starts before it, and
signals reach it.

The program is $DTPNODE_BINARY, or else made by Go from the sources beside this folder. It is static, so that one wheel
does for all Pythons and Linux distributions of its architecture, which is $GOARCH or that of this host.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # names of architectures, in Go's words and in Python's


class Binary(BuildHookInterface):  # type: ignore[type-arg, misc]
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        repository = Path(self.root).parent
        go = os.environ.get("GO", "go")
        named = os.environ.get("DTPNODE_BINARY")
        binary = Path(named) if named else Path(self.directory) / "dtpnode"
        if not named:
            self._make(go, repository, binary)
        arch = os.environ.get("GOARCH") or self._ask([go, "env", "GOARCH"], repository)
        if arch not in MACHINES:
            raise RuntimeError(f"wheels have no name for the architecture {arch}: known are {', '.join(MACHINES)}")
        machine = MACHINES[arch]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_2_17_{machine}.manylinux2014_{machine}.musllinux_1_1_{machine}"
        build_data["shared_scripts"] = {str(binary): "dtpnode"}

    def _make(self, go: str, repository: Path, binary: Path) -> None:
        if not (repository / "go.mod").exists():
            raise RuntimeError(
                f"the wheel has the program dtpnode inside, and {repository} has no sources of it: install from a "
                "clone of the repository, or name a program with DTPNODE_BINARY"
            )
        describe = ["git", "describe", "--tags", "--always", "--dirty"]
        stamp = os.environ.get("DTPNODE_VERSION") or self._ask(describe, repository)
        flags = f"-s -w -X github.com/dtpnode/dtpnode/internal/version.stamp={stamp}"
        command = [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(binary), "./cmd/dtpnode"]
        self._ask(command, repository, CGO_ENABLED="0", GOOS="linux")

    def _ask(self, command: list[str], folder: Path, **env: str) -> str:
        try:
            done = subprocess.run(
                command, cwd=folder, env={**os.environ, **env}, check=True, capture_output=True, text=True
            )
        except FileNotFoundError:
            raise RuntimeError(f"there is no {command[0]}, which making the program dtpnode takes") from None
        except subprocess.CalledProcessError as e:
            raise RuntimeError(f"{' '.join(command[:2])} failed: {e.stderr.strip()}") from None
        return done.stdout.strip()
