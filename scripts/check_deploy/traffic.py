"""Clients of a node: an issuer of tokens, and many pushes and pulls at once."""

import base64
import http.client
import http.server
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from common import require, run

CLIENTS, PUSHES = 16, 10


def text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Keys:
    """An issuer with a key of its own, made and used by openssl, and a server of its key set."""

    def __init__(self, folder):
        self.key = folder / "issuer.pem"
        run("openssl", "genpkey", "-algorithm", "ed25519", "-out", self.key)
        run("openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER", "-out", folder / "issuer.der")
        # The last 32 bytes of the DER form are the key.
        public = text((folder / "issuer.der").read_bytes()[-32:])
        jwk = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "here", "x": public}
        body = json.dumps({"keys": [jwk]}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def token(self, user):
        claims = {"sub": user, "exp": int(time.time()) + 600}
        parts = [{"alg": "EdDSA", "typ": "JWT", "kid": "here"}, claims]
        signed = ".".join(text(json.dumps(part).encode()) for part in parts)
        message = self.key.with_name(f"{user}.message")
        signature = message.with_suffix(".signature")
        message.write_text(signed)
        run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in", message, "-out", signature)
        return f"{signed}.{text(signature.read_bytes())}"


def ask(port, token, client, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Authorization": f"Bearer {token}", "X-Client-Id": client})
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    require(answer.status == 200, f"{method} {path}: {answer.status} {said}")
    return json.loads(said)


def pushes_and_pulls(port, keys):
    """Many clients push and pull at once; each finds all that it pushed. Gives how much was pushed."""
    def client(number):
        user = f"user-{number}"
        token = keys.token(user)
        for push in range(PUSHES):
            change = {"table": "tasks", "id": f"{push}", "op": "insert", "data": {"title": "Milk"}}
            ask(port, token, "one", "POST", "/sync/todo", json.dumps({"changes": [change]}))
        # The client's own changes are left out: another device of the user asks.
        path = "/sync/todo/pull?collection=tasks&since=1970-01-01T00:00:00Z"
        found = ask(port, token, "other", "GET", path)["serverChanges"]
        require([each["id"] for each in found] == [f"{push}" for push in range(PUSHES)],
                f"{user} finds {found}")

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return CLIENTS * PUSHES
