"""Run a peer in the peers' environment: `python -m benchmarks.peers PEER prepare | feed COUNT | work`."""

import os
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.peers import rows


def main() -> None:
    """Create its tables, queue new rows, or become its worker."""
    peer = import_module(f"benchmarks.peers.{sys.argv[1]}_peer")
    match sys.argv[2:]:
        case ["prepare"]:
            getattr(peer, "prepare", lambda: None)()
        case ["feed", count]:
            peer.enqueue(rows.insert(int(count)))
        case _:
            program = str(Path(sys.executable).with_name(peer.COMMAND[0]))
            os.execv(program, [program, *peer.COMMAND[1:]])


if __name__ == "__main__":
    main()
