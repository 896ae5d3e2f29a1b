"""A Kubernetes API server for a client that may only create Secrets in one namespace.

    python api_server.py DIRECTORY

DIRECTORY contains the certificate `server.crt`, its key and the only valid token. The server stores Secrets there.
"""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PATH = "/api/v1/namespaces/issuetracker/secrets"


class ApiServer(ThreadingHTTPServer):
    """Serves a directory over TLS."""

    def __init__(
        self, directory: Path, address: tuple[str, int], handler: type[BaseHTTPRequestHandler] | None = None
    ) -> None:
        super().__init__(address, handler or Handler)
        self.directory = directory
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "server.crt", directory / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)


class Handler(BaseHTTPRequestHandler):
    """Responds with the created object or with a Status, as the API server does."""

    server: ApiServer

    def _respond(self, code: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _reject(self, code: int, reason: str) -> None:
        self._respond(
            code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
        )

    def do_GET(self) -> None:
        """Reject the request, which the Role does not allow."""
        self._reject(403, "Forbidden")

    def do_POST(self) -> None:
        """Create a Secret."""
        directory = self.server.directory
        if self.headers["Authorization"] != f"Bearer {(directory / 'token').read_text()}":
            self._reject(401, "Unauthorized")
            return
        if self.path != PATH:
            self._reject(403, "Forbidden")
            return
        secret = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        file = directory / "secrets" / f"{secret['metadata']['name']}.json"
        if file.exists():
            self._reject(409, "AlreadyExists")
            return
        data = {key: base64.b64encode(value.encode()).decode() for key, value in secret.pop("stringData").items()}
        file.write_text(json.dumps({**secret, "data": data}))
        self._respond(201, secret)


if __name__ == "__main__":
    ApiServer(Path(sys.argv[1]), ("", 6443)).serve_forever()
