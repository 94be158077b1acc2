"""The image and the fleet of compose.yaml."""

import os
import re
import shutil
from pathlib import Path

from common import DEPLOY, NODE, ROOT, VENV, WORK, load, read, require, run

# Files that the build of the dependencies may see: manifests, and what .cargo says.
MANIFEST = re.compile(r"(^|/)(Cargo\.(toml|lock)|config\.toml)$")

BUILD = "cargo build --release --locked --package mana-sync"
# A test that is there, though empty, has dependencies take the features that they have for the
# tests: so they need not be compiled anew.
STANDS_FOR = [
    "cargo metadata --quiet --locked --offline --format-version 1 --filter-platform "
    "$(rustc -vV | sed -n 's/^host: //p') >/dev/null",
    "mkdir -p tests/it && touch tests/it/main.rs && cargo check --quiet --locked --offline "
    "--workspace --lib --bins --test it",
]


def instructions():
    """The Dockerfile's instructions, as (word, rest)."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.M))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def context():
    """The build's context: what .dockerignore lets through of what git knows."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().split("\n")
             if line and not line.startswith("#")]
    require(rules[0] == "*", ".dockerignore must first leave everything out")
    allowed = [rule.removeprefix("!") for rule in rules[1:]]
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\n")
    return [name for name in files
            if any(name == each or name.startswith(f"{each}/") for each in allowed)]


def copy(sources, target, known, tree):
    """What COPY does in the build stage."""
    for source in sources:
        files = [name for name in known if name == source or name.startswith(f"{source}/")]
        require(files, f"COPY {source}: .dockerignore leaves nothing of it")
        for name in files:
            inside = Path(name).name if name == source else str(Path(name).relative_to(source))
            folder = tree / target
            place = folder / inside if name != source or target.endswith("/") else folder
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place)


def build_stage():
    """Takes the steps of the build stage in an empty folder. For the layer of dependencies it is
    enough that cargo reads the manifests; the program is checked, with what the tests compiled."""
    tree, known = WORK / "image", context()
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    environment = {"CARGO_TARGET_DIR": str(ROOT / "target"), **os.environ}
    layers = []
    for word, rest in instructions():
        if word == "COPY" and "--from" not in rest:
            *sources, place = rest.split()
            copy(sources, place, known, tree)
        elif word == "RUN":
            require(BUILD in rest, f"RUN must {BUILD}")
            run("sh", "-euc", rest.replace(BUILD, STANDS_FOR[len(layers)]), cwd=tree, seconds=600,
                env=environment)
            layers.append(sorted(str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file()))
    require(len(layers) == 2, "there must be a layer of dependencies, and one of the program")
    dummies = {"src/main.rs", "src/lib.rs", "loadtest/src/main.rs", "loadtest/tests/chaos.rs"}
    extra = [name for name in layers[0] if not MANIFEST.search(name) and name not in dummies]
    require(not extra, f"the layer of dependencies changes with {extra}")


def dockerfile():
    run(VENV / "hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile")
    build_stage()
    stages = [rest for word, rest in instructions() if word == "FROM"]
    require(all(":" in stage for stage in stages), "images must be named with a tag")
    final = dict(instructions())
    user = final["USER"].split(":")[0]
    require(user.isdigit() and int(user) > 0, "USER must be a number, and not root")
    health = re.search(r"CMD (\[.*\])$", final["HEALTHCHECK"])
    require(health, "HEALTHCHECK must not need a shell")
    commands = run(NODE, "--help")
    for command in [eval_list(health[1])[1], eval_list(final["CMD"])[0]]:
        require(re.search(rf"^  {command}\b", commands, re.M), f"mana-sync has no command {command}")
    return "hadolint, its build stage's steps taken with cargo check, commands asked of mana-sync"


def eval_list(text):
    return re.findall(r'"([^"]*)"', text)


def compose():
    run(VENV / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    [fleet] = load("compose.yaml")
    services = fleet["services"]
    for name, service in services.items():
        require("image" in service and ":" in service["image"], f"{name}: no image with a tag")
        for other in service.get("depends_on", {}):
            require(other in services, f"{name} depends on {other}, which is not there")
        for network in service["networks"]:
            require(network in fleet["networks"], f"{name}: no network {network}")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (DEPLOY / source).exists() if source.startswith(".") else source in fleet["volumes"]
            require(there, f"{name}: {source} is not there")
    require(sum(name.startswith("node-") for name in services) == 3, "there must be three nodes")
    variables = set(re.findall(r"\$\{(\w+)", read("compose.yaml")))
    offered = set(re.findall(r"^(\w+)=", read("compose.env.example"), re.M))
    require(variables == offered, f"compose.env.example differs in {variables ^ offered}")
    return "the compose specification's schema (check-jsonschema); files, networks, variables are there"


CHECKS = [
    (["Dockerfile"], dockerfile),
    (["compose.yaml", "compose.env.example"], compose),
]
