"""Finds a PgBouncer that is new enough, or gets one."""

import re
import shutil
import subprocess
from pathlib import Path

from common import WORK, require, run

# The first that keeps prepared statements in transaction pooling.
NEEDED = (1, 21)
# The release of Debian that has one, and what its program needs of that release's libraries.
RELEASE = "trixie"
PACKAGES = ["pgbouncer", "libc6", "libevent-2.1-7t64", "libcares2", "libssl3t64", "libsystemd0",
            "libpam0g", "libcap2"]


def pgbouncer():
    """The command that runs it, and its version."""
    for command in (["pgbouncer"], unpacked()):
        try:
            said = run(*command, "--version")
        except (FileNotFoundError, subprocess.SubprocessError):
            continue
        version = tuple(int(part) for part in re.search(r"PgBouncer (\d+)\.(\d+)", said).groups())
        if version >= NEEDED:
            return command, ".".join(map(str, version))
    fetch()
    return pgbouncer()


def unpacked():
    """The command of the one that `fetch` gets, run with its own libraries."""
    root = WORK / RELEASE
    loader = next(root.glob("usr/lib*/**/ld-linux-*.so.*"), root / "missing")
    return [str(loader), "--library-path", str(loader.parent) if loader.parent.name != "lib64"
            else str(next(root.glob("usr/lib/*-linux-gnu"), root)), str(root / "usr/sbin/pgbouncer")]


def fetch():
    """Unpacks a later release's packages into a folder of their own: nothing is installed."""
    root, state = WORK / RELEASE, WORK / "apt"
    require(not (root / "usr/sbin/pgbouncer").exists(), "the PgBouncer that was fetched does not run")
    require(shutil.which("apt-get"), f"please install PgBouncer {NEEDED[0]}.{NEEDED[1]} or later")
    for folder in (root, state / "lists/partial", state / "archives/partial"):
        folder.mkdir(parents=True, exist_ok=True)
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources = state / "sources.list"
    sources.write_text(f"deb [signed-by={keys}] http://deb.debian.org/debian {RELEASE} main\n")
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null",
           "-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}",
           "-o", "APT::Sandbox::User=root"]
    run(*apt, "update", seconds=120)
    run(*apt, "download", *PACKAGES, seconds=120, cwd=state)
    for package in state.glob("*.deb"):
        run("dpkg-deb", "-x", package, root)
        package.unlink()
