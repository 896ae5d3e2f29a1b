"""Runs a command with its standard input behind a pipe, as `kubectl exec -i POD -- COMMAND` does.

    python kubectl_exec.py exec -i POD -- COMMAND [ARGUMENT ...]

EXEC_PREFIX is a prefix of the command. The program ends after all of its input was read. If the command exits
before, nothing reads the rest, and the program blocks when the pipe (64 KiB on Linux) is full.
"""

import os
import shlex
import subprocess
import sys


def main(command: list[str]) -> int:
    """Forward the input to the command and return its exit code."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(command, stdin=read_end)
    while chunk := os.read(0, 2**16):
        while chunk:
            chunk = chunk[os.write(write_end, chunk) :]
    os.close(write_end)
    os.close(read_end)
    return process.wait()


if __name__ == "__main__":
    sys.exit(main([*shlex.split(os.environ["EXEC_PREFIX"]), *sys.argv[sys.argv.index("--") + 1 :]]))
