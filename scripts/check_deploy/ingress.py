"""nginx and HAProxy read their configurations; only addresses and folders are put right for here."""

import re
import shutil

from common import WORK, read, require, run


def here(text):
    """The same, for nodes on this machine: names can't be resolved here."""
    return re.sub(r"\bnode-(\d):", "127.0.0.1:", text)


def haproxy():
    place = WORK / "haproxy.cfg"
    place.write_text(here(read("haproxy/haproxy.cfg")))
    # -dW: warnings are errors.
    run("haproxy", "-c", "-dW", "-f", place)
    return f"haproxy -c ({version(run('haproxy', '-v'))})"


def nginx():
    said = [nginx_reads(with_tls) for with_tls in (False, True)]
    require(not any("[warn]" in each for each in said), f"nginx warns: {said}")
    return f"nginx -t, without TLS and with ({version(run('nginx', '-v'))})"


def nginx_reads(with_tls):
    folder = WORK / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "conf.d").mkdir(parents=True)
    main = read("nginx/nginx.conf").replace("/etc/nginx/conf.d", str(folder / "conf.d"))
    (folder / "nginx.conf").write_text(main.replace("/run/nginx.pid", str(folder / "pid")))
    (folder / "conf.d/mana-sync.conf").write_text(here(read("nginx/mana-sync.conf")))
    if with_tls:
        tls = read("nginx/mana-sync-tls.conf").replace("/etc/nginx/tls", str(folder))
        (folder / "mana-sync-tls.conf").write_text(tls)
        run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", "/CN=here",
            "-keyout", folder / "tls.key", "-out", folder / "tls.crt")
    whole = run("nginx", "-T", "-c", folder / "nginx.conf", "-e", folder / "errors",
                "-g", f"daemon off; error_log {folder}/errors;")
    require(("ssl_certificate" in whole) == with_tls, "mana-sync.conf does not include its TLS")
    return (folder / "errors").read_text() + whole.split("# configuration file", 1)[0]


def version(said):
    return re.search(r"\d+\.\d+\.\d+", said)[0]


CHECKS = [
    (["nginx/nginx.conf", "nginx/mana-sync.conf", "nginx/mana-sync-tls.conf"], nginx),
    (["haproxy/haproxy.cfg"], haproxy),
]
