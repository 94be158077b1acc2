"""The systemd unit."""

import re

from common import WORK, read, require, run

# What `systemd-analyze security` may find, of 100. A unit without hardening has 96.
EXPOSURE = 15


def systemd():
    place = WORK / "mana-sync.service"
    # The program need not be installed here; `true` is.
    place.write_text(read("systemd/mana-sync.service").replace("/usr/local/bin/mana-sync", "/bin/true"))
    # What systemd does not know it only mentions.
    said = run("systemd-analyze", "verify", "--man=no", place)
    require(place.name not in said, said.strip())
    said = run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", place)
    exposure = re.search(r"exposure level.*: ([\d.]+)", said)[1]
    return f"systemd-analyze verify, and security --offline (exposure {exposure} of 10)"


CHECKS = [(["systemd/mana-sync.service"], systemd)]
