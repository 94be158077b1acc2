"""What artefacts say of the same thing, they must say alike: variables, ports, times, versions."""

import re
import tomllib

from common import ROOT, load, manifests, read, require

UNIT = "systemd/mana-sync.service"


def defaults():
    """The node's variables and their defaults, from the README's table."""
    table = (ROOT / "README.md").read_text().split("<!-- configuration -->")[1]
    return {name: value.strip("`") for name, value in
            re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", table, re.M)}


def environments():
    """What each artefact tells a node."""
    services = load("compose.yaml")[0]["services"]
    config = {name: each for name, each in manifests() if each["kind"] in ("ConfigMap", "Secret")}
    unit = read(UNIT)
    image = re.search(r"^ENV (.*)$", read("Dockerfile"), re.M)[1]
    return {
        "Dockerfile": dict(pair.split("=") for pair in image.split()),
        "compose.yaml": services["node-1"]["environment"],
        UNIT: dict(pair.split("=") for line in re.findall(r"^Environment=(.*)$", unit, re.M)
                   for pair in line.split()),
        "k8s": {key: value for each in config.values()
                for key, value in {**each.get("data", {}), **each.get("stringData", {})}.items()},
    }


def variables():
    known, named = defaults(), environments()
    for artefact, environment in named.items():
        strange = environment.keys() - known.keys()
        require(not strange, f"{artefact} names {sorted(strange)}, which the node does not know")
    prose = "".join(read(name) for name in FILES) + read("README.md")
    written = set(re.findall(r"\b((?:DATABASE|LISTEN|LIMIT|DRAIN|PUSH|ACQUIRE|JWT|JWKS|MANA|CORS|ADMIN)_[A-Z_]+)\b", prose))
    strange = written - known.keys() - {"MANA_SYNC_PASSWORD", "MANA_SYNC_BIN"}
    require(not strange, f"{sorted(strange)} are named, which the node does not know")
    # A number in brackets behind a variable is its default, or what the artefact itself sets.
    for name in FILES:
        for variable, number in re.findall(r"\b([A-Z]+(?:_[A-Z]+)+) \(([\d,]+)\)", read(name)):
            said = number.replace(",", "")
            meant = {known[variable], named["k8s"].get(variable) if name.startswith("k8s") else None}
            require(said in meant, f"{name}: {variable} ({number}), but it is {meant}")
    return f"{len(written | set().union(*named.values()))} variables of the node's {len(known)}; their numbers"


def ports():
    table = defaults()
    port = table["PORT"]
    admin = environments()["Dockerfile"]["ADMIN_PORT"]
    for artefact, environment in environments().items():
        told = (environment["PORT"], environment["ADMIN_PORT"])
        require(told == (port, admin), f"{artefact} has the ports {told}, not {(port, admin)}")
    require(f"EXPOSE {port} {admin}\n" in read("Dockerfile"), "Dockerfile exposes other ports")
    places = {"nginx/mana-sync.conf": port, "haproxy/haproxy.cfg": port, "prometheus/prometheus.yaml": admin}
    for name, right in places.items():
        found = re.findall(r"\bnode-\d:(\d+)", read(name))
        require(found and set(found) == {right}, f"{name} has the ports {set(found)}, not {right}")
    kinds = {}
    for name, each in manifests():
        kinds.setdefault(each["kind"], []).append(each)
    opened = {p["name"]: str(p["containerPort"]) for each in kinds["Deployment"]
              for p in each["spec"]["template"]["spec"]["containers"][0]["ports"]}
    served = {p["name"]: str(p["port"]) for each in kinds["Service"] for p in each["spec"]["ports"]}
    allowed = {str(p["port"]) for each in kinds["NetworkPolicy"]
               for rule in each["spec"]["ingress"] for p in rule["ports"]}
    right = {"http": port, "admin": admin}
    require(opened == served == right, f"the deployment has {opened}, the services {served}")
    require(allowed == set(right.values()), f"networkpolicy.yaml lets {allowed} in")
    return f"{port} for clients, {admin} for operators, everywhere"


def drains():
    """A node that leaves: delay, spread, and some seconds for what is under way; then the deadline;
    then whoever started it loses patience."""
    known, named = defaults(), environments()
    pods = [each["spec"]["template"]["spec"] for _, each in manifests() if each["kind"] == "Deployment"]
    patience = {
        "compose.yaml": load("compose.yaml")[0]["services"]["node-1"]["stop_grace_period"].rstrip("s"),
        UNIT: re.search(r"^TimeoutStopSec=(\d+)$", read(UNIT), re.M)[1],
        "k8s": pods[0]["terminationGracePeriodSeconds"],
    }
    said = []
    for artefact, grace in patience.items():
        delay, spread, deadline = [
            int(named[artefact].get(f"DRAIN_{word}_SECONDS", known[f"DRAIN_{word}_SECONDS"]))
            for word in ("DELAY", "SPREAD", "DEADLINE")]
        require(delay + spread + 10 <= deadline, f"{artefact}: {delay} + {spread} + 10 > {deadline}")
        require(deadline + 5 <= int(grace), f"{artefact}: ends after {deadline}, killed after {grace}")
        said.append(f"{delay}+{spread}<{deadline}<{grace}")
    return f"the times of a drain: {', '.join(said)}"


def versions():
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    version = manifest["workspace"]["package"]["version"]
    images = re.findall(r"image: (\S*mana-sync:\S+)", "".join(read(name) for name in FILES))
    require(images and all(image.endswith(f":{version}") for image in images), f"{images}, not {version}")
    job = next(each for _, each in manifests() if each["kind"] == "Job")
    name = f"mana-sync-migrate-{version.replace('.', '-')}"
    require(job["metadata"]["name"] == name, f"the migration should be named {name}")
    rust = manifest["workspace"]["package"]["rust-version"]
    require(f"FROM rust:{rust}-" in read("Dockerfile"), f"the image should be built with Rust {rust}")
    return f"mana-sync {version} and Rust {rust}, as in Cargo.toml"


def limits():
    source = (ROOT / "src/protocol/limits.rs").read_text()
    require("MAX_BODY_BYTES: usize = 10 * 1024 * 1024;" in source, "a body may have another size now")
    require("client_max_body_size 10m;" in read("nginx/mana-sync.conf"), "nginx' limit is another")
    # HAProxy passes bodies on as they come: the node itself refuses, and lets the client finish.
    require("content-length" not in read("haproxy/haproxy.cfg").lower(), "HAProxy has a limit of its own")
    require("proxy-body-size: 10m" in read("k8s/ingress.yaml"), "the ingress' limit is another")
    heartbeat = int(re.search(r"HEARTBEAT: Duration = Duration::from_secs\((\d+)\)", source)[1])
    patience = {
        "nginx/mana-sync.conf": r"stream\$ \{[^}]*proxy_read_timeout (\d+)s;",
        "haproxy/haproxy.cfg": r"\nbackend streams\n(?:    .*\n)*?    timeout server (\d+)s",
        "k8s/ingress.yaml": r'proxy-read-timeout: "(\d+)"',
    }
    for name, pattern in patience.items():
        found = re.search(pattern, read(name))
        require(found and int(found[1]) > 2 * heartbeat, f"{name} does not wait for two heartbeats")
    idle = int(re.search(r"keepalive_timeout (\d+)s;\n    keepalive_requests", read("nginx/mana-sync.conf"))[1])
    require(idle < int(defaults()["LIMIT_HEADER_SECONDS"]), "nginx keeps connections that the node closes")
    return f"10 MiB a body, more than two heartbeats of {heartbeat} s, {idle} s idle: as the node's"


FILES = ["Dockerfile", "compose.yaml", UNIT, "nginx/mana-sync.conf", "haproxy/haproxy.cfg",
         "postgres/postgresql.conf", "postgres/pgbouncer.ini", "prometheus/prometheus.yaml",
         *sorted({name for name, _ in manifests()})]
CHECKS = [([f"all: {check.__name__}"], check) for check in (variables, ports, drains, versions, limits)]
