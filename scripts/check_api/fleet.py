"""A real node beside the Postgres and the issuer of `mana-sync dev`."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

NODE = Path(os.environ["MANA_SYNC_BIN"]).resolve()
# That of every `dev` fleet.
SERVICE_KEY = "dev-service-key"
PATIENCE_SECONDS = 120


class Fleet:
    """One node, which ends with this object, as all that it stands on."""

    def __init__(self):
        self.processes = []
        self.folder = tempfile.TemporaryDirectory(prefix="mana-sync-api-")
        # The account that Postgres runs under must get there.
        os.chmod(self.folder.name, 0o755)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, *_):
        failed = self.stop()
        if failed and kind is None:
            sys.exit(f"check-api: ended otherwise than with 0: {', '.join(failed)}")

    def start(self):
        data = Path(self.folder.name) / "data"
        _, guide = self.run("dev", "dev", "--port=0", "--replicas=1", f"--data={data}")
        await_("the fleet", lambda: "Ctrl-C stops" in guide.read_text())
        self.issuer = re.search(r"issuer +(\S+)", guide.read_text())[1]
        port = (data / "postgres/postmaster.pid").read_text().splitlines()[3]
        self.url = f"http://127.0.0.1:{free_port()}"
        self.node, _ = self.run(
            "node", "serve", f"--database-url=postgres://mana_sync@127.0.0.1:{port}/mana_sync",
            f"--jwks-url={self.issuer}/.well-known/jwks.json", f"--mana-auth-url={self.issuer}",
            f"--mana-service-key={SERVICE_KEY}", "--bind=127.0.0.1", f"--port={self.url.rsplit(':', 1)[1]}",
            # One user asks as quickly as it can.
            "--limit-user-requests=0", "--log=warn",
            "--drain-delay-seconds=0", "--drain-spread-seconds=1")
        await_("a node that is ready", self.is_ready)

    def is_ready(self):
        try:
            return requests.get(f"{self.url}/health/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def run(self, name, *arguments):
        """Starts the program; gives the process, and the file that it writes to."""
        out = Path(self.folder.name) / name
        with out.open("w") as file:
            process = subprocess.Popen([NODE, *arguments], stdout=file, stderr=subprocess.STDOUT)
        self.processes.append((process, out))
        return process, out

    def token(self, user, seconds=3600):
        return requests.get(f"{self.issuer}/token", {"user": user, "ttl": seconds}, timeout=5).text

    def stop(self):
        """Ends them all; gives the names of those that did not end well."""
        failed = []
        # The node before what it stands on.
        for process, out in reversed(self.processes):
            process.terminate()
            try:
                ended = process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                ended = process.wait()
            if ended != 0:
                failed.append(out.name)
                print(f"{out.name} ended with {ended}:\n{out.read_text()}", file=sys.stderr)
        self.processes.clear()
        self.folder.cleanup()
        return failed


def await_(what, condition):
    """Waits until the condition holds, under a deadline."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"check-api: in vain: {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
