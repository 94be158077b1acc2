"""Compares a running node with its own OpenAPI document."""

import os
import subprocess
import sys
from pathlib import Path

import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

import events
from fleet import SERVICE_KEY, Fleet

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[1] / "target/check-api"
SCHEMATHESIS = Path(sys.executable).absolute().with_name("schemathesis")
# What examples of the document name.
APPS = ["todo", "calendar"]


def main():
    with Fleet() as fleet:
        document = requests.get(f"{fleet.url}/openapi.json", timeout=5).json()
        OpenAPIV31SpecValidator(document).validate()
        print(f"The document is OpenAPI {document['openapi']}.", flush=True)
        alice = fleet.token("alice")
        for app in APPS:
            events.push(fleet, app, alice)
        streams = events.Streams(document, fleet)
        streams.read(streams.open(fleet.token("bob", events.TOKEN_SECONDS)), "expired")
        ask(fleet, alice)
        open_ones = streams.open(fleet.token("bob"))
        fleet.node.terminate()
        streams.read(open_ones, "reconnect")


def ask(fleet, token):
    """Has schemathesis ask for everything that is documented, and for what is not."""
    asked = subprocess.run(
        [SCHEMATHESIS, "--config-file", HERE / "schemathesis.toml", "run", f"{fleet.url}/openapi.json",
         "--max-examples", "25", *sys.argv[1:]],
        # Where it keeps what failed.
        cwd=WORK,
        env={**os.environ, "TOKEN": token, "SERVICE_KEY": SERVICE_KEY,
             "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")})
    if asked.returncode != 0:
        sys.exit("check-api: the node and its document differ; --seed with the number above repeats the run")


main()
