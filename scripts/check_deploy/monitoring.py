"""Prometheus and Grafana."""

import json
import re
import shutil

from common import DEPLOY, ROOT, WORK, load, read, require, run


def metrics():
    """The names of all metrics of a node."""
    table = (ROOT / "src/metrics/table.rs").read_text()
    return {f"mana_sync_{name}" for name in re.findall(r'^    \w+ \w+ "(\w+)"', table, re.M)}


def known(text):
    """Requires that the metrics named in a text are the node's, or recorded by rules.yaml."""
    names = set(re.findall(r"(?<![:\w])mana_sync_\w+(?![:\w])", text)) - {"mana_sync_streams"}
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    require(names <= metrics(), f"no such metric: {sorted(names - metrics())}")
    recorded = set(re.findall(r"\b\w+:mana_sync_\w+:\w+", text))
    if recorded:
        rules = {rule.get("record") for group in load("prometheus/rules.yaml")[0]["groups"]
                 for rule in group["rules"]}
        require(recorded <= rules, f"recorded by no rule: {sorted(recorded - rules)}")


def prometheus():
    folder = WORK / "prometheus"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DEPLOY / "prometheus", folder)
    run("promtool", "check", "config", "prometheus.yaml", cwd=folder)
    return "promtool check config, rules included"


def rules():
    known(read("prometheus/rules.yaml"))
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", DEPLOY / "prometheus/rules.yaml")
    run("promtool", "test", "rules", "rules.test.yaml", cwd=DEPLOY / "prometheus")
    tested = set(re.findall(r"alertname: (\w+)", read("prometheus/rules.test.yaml")))
    alerts = [rule["alert"] for group in load("prometheus/rules.yaml")[0]["groups"]
              for rule in group["rules"] if "alert" in rule]
    require(set(alerts) <= tested, f"no test: {sorted(set(alerts) - tested)}")
    return f"promtool check rules, promtool test rules: {len(alerts)} alerts, each tested; metrics exist"


def adapter():
    [rule] = load("prometheus/adapter.yaml")[0]["rules"]
    known(read("prometheus/adapter.yaml"))
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'pod="a"')
    series = re.match(r"\w+", rule["seriesQuery"])[0]
    place = WORK / "adapter.yaml"
    query = query.replace("<<.Series>>", series)
    place.write_text(json.dumps({"groups": [{"name": "adapter", "rules": [
        {"record": "a", "expr": query}, {"record": "b", "expr": rule["seriesQuery"]}]}]}))
    run("promtool", "check", "rules", place)
    [hpa] = load("k8s/hpa.yaml")
    asked = hpa["spec"]["metrics"][0]["pods"]["metric"]["name"]
    require(rule["name"]["as"] == asked, f"hpa.yaml asks for {asked}")
    return "promtool check rules on its queries; the metric exists; hpa.yaml asks for it"


def datasource():
    [source] = load("grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"]
    services = load("compose.yaml")[0]["services"]
    require(source["url"] == "http://prometheus:9090" and "prometheus" in services,
            "the data source is not compose.yaml's Prometheus")
    interval = load("prometheus/prometheus.yaml")[0]["global"]["scrape_interval"]
    require(source["jsonData"]["timeInterval"] == interval, f"Prometheus scrapes every {interval}")
    [provider] = load("grafana/provisioning/dashboards/mana-sync.yaml")[0]["providers"]
    volumes = services["grafana"]["volumes"]
    require(any(f":{provider['options']['path']}/" in volume for volume in volumes),
            "compose.yaml puts no dashboard where the provider looks")
    return "agree with compose.yaml and prometheus.yaml"


def dashboard():
    text = read("grafana/dashboard.json")
    board = json.loads(text)
    require(board.get("uid") and board.get("title"), "it needs a uid and a title")
    known(text)
    sources = {json.dumps(each) for each in find(board, "datasource")}
    uid = load("grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"][0]["uid"]
    good = re.compile(rf'"\$\{{?\w+\}}?"|"uid": "({re.escape(uid)}|\$\{{?\w+\}}?|-- Grafana --)"')
    require(all(good.search(each) for each in sources), f"data sources {sources}; provisioned is {uid}")
    count = sum(1 for _ in find(board, "expr"))
    require(count > 0, "it has no query")
    return f"JSON, metrics, data sources; {count} queries"


def find(value, key):
    """All values of a key, however deep."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        value = list(value.values())
    for each in value if isinstance(value, list) else []:
        yield from find(each, key)


CHECKS = [
    (["prometheus/prometheus.yaml"], prometheus),
    (["prometheus/rules.yaml", "prometheus/rules.test.yaml"], rules),
    (["prometheus/adapter.yaml"], adapter),
    (["grafana/provisioning/datasources/prometheus.yaml",
      "grafana/provisioning/dashboards/mana-sync.yaml"], datasource),
    (["grafana/dashboard.json"], dashboard),
]
