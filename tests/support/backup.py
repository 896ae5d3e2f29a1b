"""`deploy/backup` as in Kubernetes: PG_EXEC is `kubectl exec -i postgres-0 --`, and kubectl is a replacement."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.waiting import DEADLINE_S

KUBECTL = Path(__file__).with_name("kubectl_exec.py")


def run_over_pipe(
    arguments: Sequence[str], url: str, env: Mapping[str, str], exec_prefix: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `deploy/backup` with these arguments. `exec_prefix` precedes PostgreSQL's programs.

    The script's input never ends, as in a terminal. Raise TimeoutExpired if a program does not read its input.
    """
    read_end, write_end = os.pipe()
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "kubectl"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{KUBECTL}" "$@"\n')
        program.chmod(0o755)
        variables = {"PG_EXEC": "kubectl exec -i postgres-0 --", "PG_URL": url, "EXEC_PREFIX": exec_prefix}
        process = subprocess.Popen(
            [ROOT / "deploy/backup", *arguments],
            env={**env, **variables, "PATH": f"{directory}:{env['PATH']}"},
            stdin=read_end,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            os.close(read_end)
            os.close(write_end)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
