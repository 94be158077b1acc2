"""Checks every artefact in deploy/: one line each, with what checked it."""

import sys

import agreement
import database
import image
import ingress
import kubernetes
import monitoring
import unit
from common import DEPLOY, WORK, Failed

CHECKS = [
    *image.CHECKS, *kubernetes.CHECKS, *ingress.CHECKS, *unit.CHECKS, *monitoring.CHECKS,
    *database.CHECKS, *agreement.CHECKS,
]


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    wanted = set(sys.argv[1:])
    if "--write" in wanted:
        kubernetes.write_rules()
        wanted.remove("--write")
    failures, seen = 0, {"README.md"}
    for artefacts, check in CHECKS:
        seen.update(artefacts)
        if wanted and not wanted & set(artefacts):
            continue
        try:
            say("ok", artefacts, check())
        except Failed as error:
            failures += 1
            say("WRONG", artefacts, error)
        except Exception as error:  # What cannot even be read is wrong, too.
            failures += 1
            say("WRONG", artefacts, repr(error))
    files = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    # What an operator filled in is none of ours.
    for name in sorted(files - seen - {".env"}):
        failures += 1
        say("WRONG", [name], "nothing checks it")
    unknown = wanted - seen
    if failures or unknown:
        sys.exit(f"check-deploy: {failures} things are wrong {' '.join(map(repr, unknown))}".rstrip())
    print(f"check-deploy: {len(files)} artefacts are well")


def say(grade, artefacts, how):
    for name in artefacts:
        print(f"{grade:5} {name:50} {how}", flush=True)


main()
