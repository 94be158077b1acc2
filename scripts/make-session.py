#!/usr/bin/env python3
"""Makes tests/fixtures/session.jsonl: what three devices of two users push in some weeks.

Ana (laptop, phone) and Ben (tablet) share the space of their household; each has records of
their own as well. A line is a push: {"user", "client", "body"}; the body goes to the server as it
stands, byte for byte. The same seed makes the same bytes, in every version of Python 3:

    scripts/make-session.py > tests/fixtures/session.jsonl
"""

import json

SEED = 20260301
SPACE = "org-haus-7"
TABLES = ["tasks", "projects", "labels", "events", "notes", "settings"]
DEVICES = [("ana", "ana-laptop"), ("ana", "ana-phone"), ("ben", "ben-tablet")]

WORDS = """Milk Brot Käse naïve façade Ärger 牛乳 買う 回议 कल مرحبا بالعالم שלום חלב 👩‍👩‍👧‍👦 🇨🇭 👍🏽 ☕️ 🧾
rent dentist "quoted" back\\slash tab\there O'Neil <b>bold</b> & 50% zero‍width Zażółć gęślą
ﷺ ‮reversed‬ e\u0301 \u2028 \u2029 \ufeff \x7f \x1f /slash/ {brace} [list] null true 1e5 ,comma""".split(" ")

# Numbers as devices write them; none of these survives a 64-bit float, or not in this spelling.
NUMBERS = """9007199254740993 -9007199254740995 18446744073709551615 123456789012345678901234567890
0.1000 3.14159265358979323846264338327950288 -0.0 0 1e3 1E+2 6.02214076e23 -1.5e-7
99999999999999999.99 0.30000000000000004 100.10 2.50 -273.15 42""".split()


class Raw(str):
    """JSON that is written as it stands."""


class Dice:
    """A small generator of its own (mulberry32): the standard one may change what it picks."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state + 0x6D2B79F5) & 0xFFFFFFFF
        t = self.state
        t = ((t ^ (t >> 15)) * (t | 1)) & 0xFFFFFFFF
        t ^= (t + ((t ^ (t >> 7)) * (t | 61) & 0xFFFFFFFF)) & 0xFFFFFFFF
        return ((t ^ (t >> 14)) & 0xFFFFFFFF) % n

    def pick(self, things):
        return things[self.below(len(things))]

    def chance(self, percent):
        return self.below(100) < percent


dice = Dice(SEED)
minutes = 0


def write(value):
    """JSON text. Some strings are escaped wholly, as some encoders do, others hardly."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=dice.chance(15))
        return text.replace("/", "\\/") if dice.chance(10) else text
    if isinstance(value, list):
        return "[" + ",".join(write(item) for item in value) + "]"
    if isinstance(value, dict):
        comma, colon = dice.pick([(",", ":"), (", ", ": "), (",\n  ", " : ")])
        return "{" + comma.join(json.dumps(k) + colon + write(v) for k, v in value.items()) + "}"
    return json.dumps(value)


def now():
    """A time a little later than the last, in one of the spellings of clients."""
    global minutes
    minutes += 1 + dice.below(40)
    day, hour, minute = 1 + minutes // 1440, minutes // 60 % 24, minutes % 60
    head = f"2026-{3 + day // 29:02}-{1 + day % 28:02}T{hour:02}:{minute:02}:{dice.below(60):02}"
    return head + dice.pick(["Z", ".5Z", f".{dice.below(1000):03}Z", ".123456Z", "+02:00"])


def text(words):
    return " ".join(dice.pick(WORDS) for _ in range(words))


def number():
    return Raw(dice.pick(NUMBERS))


def note():
    """A long text: some kilobytes, with paragraphs."""
    return "\n\n".join(text(40 + dice.below(60)) for _ in range(2 + dice.below(8)))


def nested(depth):
    leaf = [number, lambda: text(2), lambda: None, lambda: dice.chance(50), dict, list]
    if depth == 0:
        return dice.pick(leaf)()
    return {
        "kind": dice.pick(["rule", "step", "näher"]),
        "": number(),
        "items": [nested(depth - 1) for _ in range(dice.below(3))],
        "meta": {"by": nested(depth - 1), "a.b/c~d": None, "🔑": number()},
    }


def record(table):
    if table == "tasks":
        row = {"title": text(4), "done": False, "order": number(), "tags": [text(1), text(1)]}
    elif table == "projects":
        row = {"name": text(2), "color": "#0af", "budget": {"amount": number(), "currency": "CHF"}}
    elif table == "labels":
        row = {"name": dice.pick(WORDS), "uses": number()}
    elif table == "events":
        row = {"title": text(3), "start": now(), "end": None, "repeat": nested(2)}
    elif table == "notes":
        row = {"body": note(), "pinned": dice.chance(20)}
    else:
        row = {"value": nested(4)}
    return row


def value(name):
    return {"title": lambda: text(5), "done": lambda: True, "body": note, "note 🗒": lambda: nested(2)}.get(name, number)()


def field(name):
    times = {"updatedAt": now()} if dice.chance(50) else {"at": now()}
    if dice.chance(8):
        times = {}
    if dice.chance(8):
        time = now()
        times = {"updatedAt": time, "at": time}
    return {"value": value(name), **times}


def change(rows, user):
    """A change of one of the rows that its user may see, or a new row."""
    seen = [row for row in rows if row["shared"] or row["user"] == user]
    roll = dice.below(100)
    if not seen or roll < 45:
        table, shared = dice.pick(TABLES), dice.chance(60)
        row = {"table": table, "id": f"{table[:2]}-{len(rows) + 1}", "user": user, "shared": shared}
        row["id"] += dice.pick(["", "", "é", " with space", "/🧺"])
        rows.append(row)
        made = {"op": "insert", "data": record(table)}
        # The space stands beside the data, or in it, or in both.
        place = dice.below(3)
        if shared and place > 0:
            made["data"]["spaceId"] = SPACE
        if shared and place < 2:
            made["spaceId"] = SPACE
        if not shared and dice.chance(30):
            made["spaceId"] = dice.pick([f"_personal:{user}", "", None])
        if not shared and dice.chance(5):
            del made["data"]
    else:
        row = dice.pick(seen)
        if roll < 85:
            names = ["title", "done", "order", "body", "amount", "note 🗒", ""]
            chosen = {dice.pick(names) for _ in range(1 + dice.below(4))}
            made = {"op": "update", "fields": {n: field(n) for n in sorted(chosen)}}
            if row["shared"] and dice.chance(30):
                made["fields"]["spaceId"] = {"value": SPACE, "updatedAt": now()}
            elif row["shared"]:
                made["spaceId"] = SPACE
        else:
            made = {"op": "delete"}
            if dice.chance(70):
                made["deletedAt"] = now()
            if row["shared"]:
                made["spaceId"] = SPACE
    made = {"table": row["table"], "id": row["id"], **made}
    if dice.chance(40):
        made["actor"] = {"kind": dice.pick(["user", "agent"]), "run": number()}
    if dice.chance(40):
        made["origin"] = dice.pick(["user", "import", "migration", "näher 🤖"])
    if dice.chance(30):
        made["schemaVersion"] = dice.pick([1, 0])
    if dice.chance(10):
        made["localSeq"] = number()
    return made


def main():
    rows = []
    for _ in range(36):
        user, client = dice.pick(DEVICES)
        body = {"clientId": client, "schemaVersion": 1} if dice.chance(50) else {}
        body["changes"] = [change(rows, user) for _ in range(1 + dice.below(21))]
        # Spaces between tokens may be line ends; the recording has a push a line.
        push = {"user": user, "client": client, "body": Raw(write(body).replace("\n", " "))}
        print(write({k: Raw(json.dumps(v)) if k != "body" else v for k, v in push.items()})
              .replace("\n", " "))


main()
