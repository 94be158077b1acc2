"""Postgres and PgBouncer, run for real: with what is recommended, and a node on top of them."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from common import DEPLOY, NODE, ROOT, load, read, require, run
from pooler import pgbouncer
from traffic import Keys, pushes_and_pulls

PASSWORD = "secret"
READY = 30


class Server:
    """A Postgres of its own, started with the settings that are recommended."""

    def __init__(self, folder):
        self.folder, self.port, self.processes = folder, free_port(), []
        self.environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port),
                            "PGUSER": "postgres", "PGDATABASE": "postgres", "PGPASSWORD": PASSWORD, "POSTGRES_USER": "postgres",
                            "MANA_SYNC_PASSWORD": PASSWORD}

    def url(self, port=None):
        return f"postgres://mana_sync:{PASSWORD}@127.0.0.1:{port or self.port}/mana_sync"

    def psql(self, query, **environment):
        return run(binary("psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", query, env={**self.environment, **environment}).strip()

    def node(self, *arguments, **environment):
        environment = {**os.environ, "DATABASE_URL": self.url(), **environment}
        return run(NODE, *arguments, env=environment)

    def start(self, *command, **environment):
        """Starts a server as somebody who is not root."""
        log = (self.folder / f"{Path(command[0]).name}-{len(self.processes)}.log").open("w")
        process = subprocess.Popen(
            [*unprivileged(), *map(str, command)], stdout=log, stderr=subprocess.STDOUT,
            cwd=self.folder, env={**os.environ, **environment})
        self.processes.append((process, log.name))

    def await_(self, condition, what):
        """Waits until a condition holds, under a deadline."""
        deadline = time.monotonic() + READY
        while not condition():
            for process, log in self.processes:
                require(process.poll() is None, f"ended: {Path(log).read_text()[-2000:]}")
            require(time.monotonic() < deadline, f"{what}: not within {READY} s")
            time.sleep(0.05)

    def stop(self):
        for process, _ in reversed(self.processes):
            process.send_signal(2)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def server():
    folder = Path(tempfile.mkdtemp(prefix="mana-sync-check-deploy-"))
    one = Server(folder)
    try:
        (folder / "password").write_text(PASSWORD)
        (folder / "postgresql.conf").write_text(read("postgres/postgresql.conf"))
        if unprivileged():
            run("chown", "-R", "postgres", folder)
        run(*unprivileged(), binary("initdb"), "-D", folder / "data", "-U", "postgres", "--no-sync",
            "-A", "scram-sha-256", "--pwfile", folder / "password", cwd=folder)
        one.start(binary("postgres"), "-D", folder / "data", "-c", f"config_file={folder}/postgresql.conf",
                  "-c", f"hba_file={folder}/data/pg_hba.conf", "-c", f"port={one.port}",
                  "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}")
        one.await_(lambda: connects(one.port), "Postgres")
        one.await_(lambda: answers(one, "select 1"), "Postgres")
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder, ignore_errors=True)


def answers(one, query):
    try:
        return one.psql(query)
    except Exception:  # It does not, yet.
        return None


def unprivileged():
    """Postgres and PgBouncer refuse to run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


def binary(name):
    places = [os.environ.get("PG_BINDIR", "")]
    places += sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    places += os.environ["PATH"].split(":")
    found = [Path(place) / name for place in places if place and (Path(place) / name).exists()]
    require(found, f"Postgres' {name} is not found: set PG_BINDIR")
    return found[0]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connects(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def postgres():
    with server() as one:
        # What the command line says here, the file cannot.
        wrong = one.psql("select name, setting, error from pg_file_settings f where error is not null "
                         "and not exists (select from pg_settings s where s.name = f.name "
                         "and s.source = 'command line')")
        require(not wrong, f"Postgres does not take {wrong}")
        written = re.findall(r"^(\w+) = ", read("postgres/postgresql.conf"), re.M)
        require(len(written) == len(set(written)), "something is set twice")
        names = ",".join(f"'{name}'" for name in written)
        strange = one.psql("select string_agg(n, ' ') from unnest(array[" + names + "]) n "
                           "where not exists (select from pg_settings s where lower(s.name) = n)")
        require(not strange, f"Postgres has no {strange}")
        require_connections(int(one.psql("show max_connections")))
        create_role(one)
        one.node("migrate")
        with Keys(one.folder) as keys:
            # It exits with 1 where anything is to be mended.
            said = one.node("doctor", JWKS_URL=keys.url)
        require("ok " in said and "WRONG" not in said, said)
        version = one.psql("show server_version").split()[0]
        return f"started Postgres {version} with its {len(written)} settings; mana-sync doctor finds all well"


def create_role(one):
    """Runs init.sh, which runs role.sql."""
    script = one.folder / "init.sh"
    script.write_text(read("postgres/init.sh").replace("/etc/mana-sync", str(DEPLOY / "postgres")))
    path = f"{binary('psql').parent}:{os.environ['PATH']}"
    run("sh", script, env={**one.environment, "PATH": path})
    rights = one.psql("select rolsuper or rolbypassrls or rolcreatedb or rolcreaterole "
                      "from pg_roles where rolname = 'mana_sync'")
    require(rights == "f", "the role has rights that it does not need")


def require_connections(most):
    """All nodes that hpa.yaml allows, and the one more of an upgrade, find room."""
    [hpa] = load("k8s/hpa.yaml")
    pool = int(re.search(r"`DATABASE_POOL_SIZE` \| [^|]+ \| `(\d+)`", (ROOT / "README.md").read_text())[1])
    taken = (hpa["spec"]["maxReplicas"] + 1) * (pool + 4)
    require(taken <= most, f"hpa.yaml allows nodes that take {taken} connections of {most}")


def role():
    with server() as one:
        create_role(one)
        one.psql("create role stranger login password 'secret'")
        try:
            one.psql("select 1", PGUSER="stranger", PGDATABASE="mana_sync")
        except Exception as refused:
            require("permission denied" in str(refused), str(refused))
            return "run by init.sh on a real Postgres; a role that was not named cannot connect"
        require(False, "any role may connect")


def pooled():
    """A node works through transaction pooling, with fewer connections than it holds."""
    command, version = pgbouncer()
    text = read("postgres/pgbouncer.ini")
    named = set(re.findall(r'^        \("(\w+)"', (ROOT / "src/store/connect.rs").read_text(), re.M))
    said = set(re.findall(r"set (\w+) =", text))
    # Postgres' own default, which no role or database of ours changes.
    require(named - said == {"default_transaction_isolation"}, f"connect_query differs: {named ^ said}")
    with server() as one:
        create_role(one)
        port, hands = free_port(), 3
        for pattern, value in [(r"host=\S+ port=\d+", f"host=127.0.0.1 port={one.port}"),
                               (r"listen_addr = .*", "listen_addr = 127.0.0.1\nunix_socket_dir ="),
                               (r"listen_port = .*", f"listen_port = {port}"),
                               (r"auth_file = .*", f"auth_file = {one.folder}/userlist.txt"),
                               (r"default_pool_size = .*", f"default_pool_size = {hands}")]:
            text, count = re.subn(pattern, value, text)
            require(count == 1, f"pgbouncer.ini has no {pattern}")
        (one.folder / "pgbouncer.ini").write_text(text)
        (one.folder / "userlist.txt").write_text(f'"mana_sync" "{PASSWORD}"\n')
        one.start(*command, one.folder / "pgbouncer.ini")
        one.await_(lambda: connects(port), "PgBouncer")
        mine = {"PGUSER": "mana_sync", "PGPORT": str(port), "PGDATABASE": "mana_sync"}
        query = "select current_setting('statement_timeout') || current_setting('plan_cache_mode')"
        told = one.psql(query, **mine)
        require(told == "5sforce_generic_plan", f"connections are told {told}")
        stored = through(one, port)
    return f"PgBouncer {version}: a node stored {stored} pushes and read them over {hands} connections"


def through(one, port):
    """A node's traffic; how many pushes it acknowledged."""
    with Keys(one.folder) as keys:
        address = free_port()
        one.start(NODE, "serve", "--bind", "127.0.0.1", PORT=str(address), DATABASE_URL=one.url(port),
                  LISTEN_DATABASE_URL=one.url(), JWKS_URL=keys.url)
        one.await_(lambda: connects(address), "the node")
        return pushes_and_pulls(address, keys)


CHECKS = [
    (["postgres/postgresql.conf"], postgres),
    (["postgres/role.sql", "postgres/init.sh"], role),
    (["postgres/pgbouncer.ini"], pooled),
]
