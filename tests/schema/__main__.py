"""`make schema`: holds a live service against its document, and says what does not fit."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.schema.run import hold


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=50, help="of each operation and phase")
    parser.add_argument("--seed", type=int, default=1)
    asked, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="taskrelay-schema-") as folder:
        code, said = asyncio.run(hold(Path(folder), examples=asked.examples, seed=asked.seed, more=tuple(more)))
    sys.stdout.write(said)
    return code


if __name__ == "__main__":
    sys.exit(main())
