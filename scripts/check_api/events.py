"""Reads streams to their end, and compares each event with the document.

A stream ends by itself when its token runs out, and when its node leaves: so the whole of it is read, and nothing is
waited for that may not come.
"""

import json
import time

import requests
from jsonschema import Draft202012Validator

from fleet import PATIENCE_SECONDS

KIND = "text/event-stream"
# Enough for a backlog to be read; streams of a token end no sooner.
TOKEN_SECONDS = 5


class Streams:
    """Every operation of the document that answers with events."""

    def __init__(self, document, fleet):
        self.document, self.fleet = document, fleet
        self.operations = {
            path: (says["get"], says["get"]["responses"]["200"]["content"][KIND]["schema"])
            for path, says in document["paths"].items()
            if KIND in says.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        }
        assert self.operations, "the document has no streams"

    def open(self, token):
        """Opens them all, as their examples say."""
        return {path: self.open_one(path, operation, token) for path, (operation, _) in self.operations.items()}

    def open_one(self, path, operation, token):
        given = required(path, operation)
        url = self.fleet.url + path.format(**given)
        query = {name: value for name, value in given.items() if f"{{{name}}}" not in path}
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.get(url, query, headers=headers, stream=True, timeout=60)
        assert answer.ok and answer.headers["content-type"] == KIND, f"{path}: {answer.status_code}"
        return answer

    def read(self, answers, last):
        """Reads them to the end. Each has told of three changes of each of its apps, in the one order, and then of
        `last`."""
        for path, answer in answers.items():
            operation, schema = self.operations[path]
            events = [dict(lines(event)) for event in content(path, answer).split("\n\n") if event]
            told = [self.data(path, schema, event) for event in events]
            names = [event["event"] for event in events]
            assert names[-1] == last and "spaces" in names, f"{path}: {names}"
            ops = {}
            for changes in (data for data in told if "changes" in data):
                ops.setdefault(changes.get("appId"), []).extend(change["op"] for change in changes["changes"])
            assert ops.keys() == apps_of(path, operation), f"{path}: {ops}"
            assert all(of_app[:3] == ["insert", "update", "delete"] for of_app in ops.values()), f"{path}: {ops}"
            print(f"{path}: {len(events)} events as documented, the last one {last}", flush=True)

    def data(self, path, schema, event):
        """The data of an event that is as documented."""
        self.compare(path, schema, event)
        data = json.loads(event["data"])
        branches = self.resolved(schema)["oneOf"]
        branch, = [each for each in branches if event["event"] in each["properties"]["event"]["enum"]]
        self.compare(path, branch["properties"]["data"]["contentSchema"], data)
        return data

    def compare(self, path, schema, value):
        validator = Draft202012Validator({**schema, "components": self.document["components"]})
        wrong = [error.message for error in validator.iter_errors(value)]
        assert not wrong, f"{path}: {value} is not as documented: {wrong}"

    def resolved(self, schema):
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema


def content(path, answer):
    """All that it says, under a deadline: heartbeats would put off a socket's."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    parts = []
    for part in answer.iter_content(chunk_size=None):
        parts.append(part)
        assert time.monotonic() < deadline, f"{path}: the stream does not end"
    return b"".join(parts).decode()


def apps_of(path, operation):
    """What the `appId` of its events may be: there is none on a stream of one app."""
    apps = required(path, operation).get("apps")
    return set(apps.split(",")) if apps else {None}


def required(path, operation):
    return {parameter["name"]: example(path, parameter)
            for parameter in operation["parameters"] if parameter["required"]}


def example(path, parameter):
    value = parameter.get("example", parameter.get("schema", {}).get("example"))
    assert value is not None, f"{path}: the parameter {parameter['name']} is required and has no example"
    return ",".join(value) if isinstance(value, list) else value


def lines(event):
    return (line.split(": ", 1) for line in event.split("\n"))


def push(fleet, app, token):
    """What streams tell of: each operation once."""
    record = {"table": "tasks", "id": "t1", "spaceId": "home"}
    time = "2026-01-01T10:05:00Z"
    changes = [
        {**record, "op": "insert", "data": {"title": "Milk"}, "actor": {"kind": "user"}, "origin": "user"},
        {**record, "op": "update", "fields": {"title": {"value": "Eggs", "updatedAt": time}}},
        {**record, "op": "delete", "deletedAt": time},
    ]
    answer = requests.post(f"{fleet.url}/sync/{app}", json={"changes": changes},
                           headers={"Authorization": f"Bearer {token}"}, timeout=60)
    assert answer.status_code == 200, answer.text
