"""What the kernel says of the service's memory."""

from __future__ import annotations

import re
from pathlib import Path

KB = 1024


class Memory:
    """Resident memory of a process: as it is, and the highest since it was last asked (proc(5), clear_refs)."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def begin(self) -> int:
        (self._folder / "clear_refs").write_text("5")
        return self._read("VmRSS")

    def peak(self) -> int:
        return self._read("VmHWM")

    def _read(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB$", (self._folder / "status").read_text(), re.M)
        assert found is not None
        return int(found[1]) * KB
