"""What `kubectl apply` takes."""

import yaml
from cloudcoil.models.prometheus_operator import v1 as operator
from common import DEPLOY, VENV, kubernetes_files, load, manifests, read, require, run
from jsonschema import Draft202012Validator

RULES = "k8s/prometheus-operator/prometheusrule.yaml"
MONITOR = "k8s/prometheus-operator/servicemonitor.yaml"
NATIVE = [name for name in kubernetes_files() if name not in (RULES, MONITOR)]


def native():
    run(VENV / "kubernetes-validate", "--strict", *[DEPLOY / name for name in NATIVE])
    objects = {(each["kind"], each["metadata"]["name"]): each
               for name, each in manifests() if name in NATIVE}
    for each in objects.values():
        refers(each, objects)
    for kind, name in [("Deployment", "mana-sync"), ("Job", None)]:
        for key, each in objects.items():
            if key[0] == kind and name in (None, key[1]):
                locked_down(each)
    probes(objects[("Deployment", "mana-sync")])
    count = len(objects)
    return f"kubernetes-validate --strict ({count} objects); selectors, names, probes, rights agree"


def refers(each, objects):
    """Requires that what an object names is there."""
    kind, spec = each["kind"], each.get("spec", {})
    labels = objects[("Deployment", "mana-sync")]["spec"]["template"]["metadata"]["labels"]
    selector = spec.get("podSelector") or spec.get("selector") or {}
    wanted = selector.get("matchLabels", selector)
    require(wanted.items() <= labels.items(), f"{kind} {each['metadata']['name']} selects no node")
    target = spec.get("scaleTargetRef")
    require(not target or (target["kind"], target["name"]) in objects, f"{kind}: no {target}")
    for rule in spec.get("rules", []):
        for path in rule["http"]["paths"]:
            service = path["backend"]["service"]
            there = objects.get(("Service", service["name"]), {"spec": {"ports": []}})
            names = [port["name"] for port in there["spec"]["ports"]]
            require(service["port"]["name"] in names, f"{kind}: no {service}")
            require(path["path"] in ("/sync", "/stream", "/ws"), f"{path['path']} is not for clients")
    for container in spec.get("template", {}).get("spec", {}).get("containers", []):
        for source in container["envFrom"]:
            for key, kind in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")]:
                require(key not in source or (kind, source[key]["name"]) in objects, f"no {source}")


def locked_down(each):
    """Requires that pods can do nothing but run their program."""
    pod = each["spec"]["template"]["spec"]
    inside, outside = pod["containers"][0]["securityContext"], pod["securityContext"]
    require(outside["runAsNonRoot"] and outside["runAsUser"] > 0, "pods must not run as root")
    require(outside["seccompProfile"]["type"] == "RuntimeDefault", "pods need a seccomp profile")
    require(inside["readOnlyRootFilesystem"] and not inside["allowPrivilegeEscalation"],
            "pods must not write, nor get further rights")
    require(inside["capabilities"] == {"drop": ["ALL"]}, "pods need no capabilities")
    require(not pod["automountServiceAccountToken"], "pods need no token of the cluster")


def probes(deployment):
    """Requires that probes ask what the node serves, at a port that it opens."""
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    paths = {"startupProbe": "/health/live", "readinessProbe": "/health/ready",
             "livenessProbe": "/health/live"}
    for probe, path in paths.items():
        asked = container[probe]["httpGet"]
        require(asked == {"path": path, "port": "admin"}, f"{probe} asks {asked}")


def strict(model):
    """A validator that refuses fields which the resource does not have, as the API server does."""
    schema = model.model_json_schema(by_alias=True)
    for part in [schema, *schema.get("$defs", {}).values()]:
        if "properties" in part:
            part.setdefault("additionalProperties", False)
    return Draft202012Validator(schema)


def resource(name, model):
    [each] = load(name)
    for error in strict(model).iter_errors(each):
        require(False, f"{'.'.join(map(str, error.absolute_path))}: {error.message}")
    return each


def monitor():
    each = resource(MONITOR, operator.ServiceMonitor)
    services = [found for _, found in manifests() if found["kind"] == "Service"]
    wanted = each["spec"]["selector"]["matchLabels"].items()
    [service] = [one for one in services if wanted <= one["metadata"]["labels"].items()]
    ports = [port["name"] for port in service["spec"]["ports"]]
    require(each["spec"]["endpoints"][0]["port"] in ports, f"{service['metadata']['name']} has {ports}")
    return "the operator's schema (cloudcoil); it selects one service, by a port that this has"


def rule():
    resource(RULES, operator.PrometheusRule)
    require(read(RULES) == generated(), "it is not what rules.yaml says: scripts/check-deploy --write")
    return "the operator's schema (cloudcoil); generated anew from rules.yaml and compared"


def generated():
    """The PrometheusRule of rules.yaml, its text kept as it is."""
    head = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "mana-sync", "labels": {"app.kubernetes.io/name": "mana-sync"}},
    }
    lines = read("prometheus/rules.yaml").splitlines()
    body = "".join(f"  {line}\n" if line else "\n" for line in lines)
    return ("# Written from deploy/prometheus/rules.yaml by `scripts/check-deploy --write`.\n"
            f"{yaml.safe_dump(head, sort_keys=False)}spec:\n{body}")


def write_rules():
    (DEPLOY / RULES).write_text(generated())
    print(f"wrote deploy/{RULES}")


CHECKS = [(NATIVE, native), ([MONITOR], monitor), ([RULES], rule)]
