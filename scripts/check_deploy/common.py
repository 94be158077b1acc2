"""What all checks use: running programs, and saying what was found."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
WORK = ROOT / "target" / "check-deploy"
VENV = Path(sys.executable).parent
NODE = Path(os.environ["MANA_SYNC_BIN"]).resolve()

# Debian keeps servers where ordinary users don't look.
os.environ["PATH"] += ":/usr/sbin:/sbin"


class Failed(Exception):
    """An artefact is not as it should be; says why."""


def require(condition, why):
    """Fails where the condition does not hold."""
    if not condition:
        raise Failed(why)


def run(*command, seconds=60, **options):
    """Runs a program to its end, and ends all of it if that takes too long; gives what it printed."""
    command = [str(part) for part in command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          start_new_session=True, **options) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    require(process.returncode == 0, f"{Path(command[0]).name}: {said.strip()}")
    return said


def read(name):
    """An artefact's text."""
    return (DEPLOY / name).read_text()


def load(name):
    """An artefact's YAML documents."""
    return [document for document in yaml.safe_load_all(read(name)) if document]


def kubernetes_files():
    """Every manifest, as names under deploy/."""
    return sorted(str(path.relative_to(DEPLOY)) for path in (DEPLOY / "k8s").rglob("*.yaml"))


def manifests():
    """Every object for Kubernetes: its file's name, and the object."""
    return [(name, each) for name in kubernetes_files() for each in load(name)]
