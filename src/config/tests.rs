use std::process::Command as Process;

use clap::{Args, Parser};

use super::*;

const NEEDED: [&str; 4] = ["--database-url", "postgres://n@db/sync", "--jwks-url", "http://a/jwks"];

fn read(flags: &[&str]) -> Result<Config, String> {
    match Config::from_flags(NEEDED.iter().chain(flags)) {
        Ok(config) => Ok(config),
        Err(Stop::Refused(sentence)) => Err(sentence),
        Err(Stop::Asked(_)) => Err("help".into()),
    }
}

fn refusal(flag: &str, value: &str) -> String {
    read(&[flag, value]).unwrap_err()
}

#[test]
fn defaults_go_together() {
    let config = read(&[]).unwrap();
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.server.port, 3050);
    assert_eq!(config.server.bind.to_string(), "0.0.0.0");
    assert_eq!(config.listener.heartbeat, Duration::from_secs(1));
    assert_eq!(config.limits.inflight_bytes, 256 << 20);
    assert_eq!(config.limits.tail_bytes, 64 << 20);
    assert_eq!(config.database.urls.listen_url().reveal(), "postgres://n@db/sync");
    assert!(config.tokens.jwt_audience.is_empty());
}

#[test]
fn lists_are_separated_by_commas() {
    let flags =
        ["--cors-origins", "https://a.example:443, http://localhost:5173,tauri://localhost"];
    let config = read(&[&flags[..], &["--billing-exempt-apps", "todo,mail"]].concat()).unwrap();
    let origins: Vec<_> = config.server.cors_origins.iter().map(Origin::as_str).collect();
    assert_eq!(origins, ["https://a.example", "http://localhost:5173", "tauri://localhost"]);
    assert_eq!(config.services.billing_exempt_apps.len(), 2);
}

#[test]
fn a_wrong_value_is_one_sentence() {
    let cases = [
        ("--port", "99999", r#"PORT: "99999" is not a port (1 to 65535)."#),
        ("--port", "0", r#"PORT: "0" is not a port (1 to 65535)."#),
        ("--bind", "here", r#"BIND: "here" is not an IP address (such as 0.0.0.0 or ::)."#),
        (
            "--push-timeout-seconds",
            "10s",
            r#"PUSH_TIMEOUT_SECONDS: "10s" is not a number of seconds (1 to 300)."#,
        ),
        (
            "--limit-inflight-bytes",
            "1000",
            r#"LIMIT_INFLIGHT_BYTES: "1000" is not a number of bytes (16777216 to 1099511627776, or 0 for no limit)."#,
        ),
        (
            "--limit-outgoing-seconds",
            "0",
            r#"LIMIT_OUTGOING_SECONDS: "0" is not a number of seconds (1 to 60)."#,
        ),
        ("--log-format", "xml", r#"LOG_FORMAT: "xml" is not text or json."#),
        (
            "--log",
            "mana_sync=loud",
            r#"LOG: "mana_sync=loud" is not a list of filter directives (such as info,mana_sync=debug)."#,
        ),
        (
            "--cors-origins",
            "https://a.example,*",
            r#"CORS_ORIGINS: "*" is no exact origin, and patterns are not supported (list each scheme://host[:port])."#,
        ),
        (
            "--mana-auth-url",
            "ftp://auth",
            r#"MANA_AUTH_URL: "ftp://auth" is not a URL that begins with http:// or https://."#,
        ),
        (
            "--billing-exempt-apps",
            "todo,,mail",
            r#"BILLING_EXEMPT_APPS: "" is not an app's id (it is empty)."#,
        ),
    ];
    for (flag, value, sentence) in cases {
        assert_eq!(refusal(flag, value), sentence);
    }
}

#[test]
fn an_origin_is_exact() {
    for wrong in [
        "https://a.example/",
        "https://a.example/app",
        "a.example",
        "https://u@a.example",
        "https://a.example?x",
        "https://*.example",
        "null",
        "localhost:5173",
        "https://",
    ] {
        assert!(refusal("--cors-origins", wrong).starts_with("CORS_ORIGINS: "), "{wrong}");
    }
}

#[test]
fn a_secret_is_never_printed() {
    let config = read(&[
        "--mana-service-key",
        "hunter2",
        "--listen-database-url",
        "postgres://n:hunter2@db/sync",
    ]);
    assert!(!format!("{:?}", config.unwrap()).contains("hunter2"));
    for (flag, value) in [
        ("--mana-service-key", "hunter2 and more"),
        ("--listen-database-url", "mysql://n:hunter2@db"),
        ("--listen-database-url", "postgres://n@db/sync?sslmode=hunter2"),
        ("--listen-database-url", "n:hunter2"),
        ("--jwks-url", "http://n:hunter2@keys"),
    ] {
        let sentence = Config::from_flags([flag, value]).unwrap_err();
        assert!(!format!("{sentence:?}").contains("hunter2"), "{sentence:?}");
    }
}

#[test]
fn what_is_required_is_named() {
    let stop = Config::from_flags([""; 0]).unwrap_err();
    let Stop::Refused(sentence) = stop else { panic!("{stop:?}") };
    assert_eq!(sentence, "DATABASE_URL and JWKS_URL must be set.");
}

#[test]
fn an_unknown_flag_is_one_sentence() {
    let sentence = read(&["--prot", "1"]).unwrap_err();
    assert_eq!(sentence, "unexpected argument '--prot' found.");
}

#[test]
fn settings_must_go_together() {
    let cases: [(&[&str], &str); 6] = [
        (
            &["--mana-auth-url", "http://auth"],
            "MANA_SERVICE_KEY must be set, because MANA_AUTH_URL is.",
        ),
        (
            &["--mana-credits-url", "http://credits"],
            "MANA_SERVICE_KEY must be set, because MANA_CREDITS_URL is.",
        ),
        (
            &["--database-pool-size", "6"],
            "DATABASE_POOL_SIZE: 6 is too few for 4 WRITER_LANES (at least 3 more than lanes).",
        ),
        (
            &["--push-timeout-seconds", "5"],
            "PUSH_TIMEOUT_SECONDS: 5 is too short (more than DATABASE_TIMEOUT_SECONDS, 5).",
        ),
        (
            &["--drain-delay-seconds", "20"],
            "DRAIN_DEADLINE_SECONDS: 30 is too short (more than DRAIN_DELAY_SECONDS and \
             DRAIN_SPREAD_SECONDS together, 35).",
        ),
        (
            &["--limit-connections", "100"],
            "LIMIT_STREAMS: 18000 leaves no connection to push with (fewer than \
             LIMIT_CONNECTIONS, 100).",
        ),
    ];
    for (flags, sentence) in cases {
        assert_eq!(read(flags).unwrap().check().unwrap_err().to_string(), sentence);
    }
    let off = read(&["--limit-connections", "0"]).unwrap();
    assert_eq!((off.limits.connections, off.check()), (NO_LIMIT, Ok(())));
}

#[test]
fn a_secret_matches_itself_alone() {
    let secret = Secret::new("hunter2");
    assert!(secret.matches(b"hunter2"));
    for other in ["", "hunter", "hunter22", "Hunter2"] {
        assert!(!secret.matches(other.as_bytes()));
    }
}

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    config: Config,
}

/// A process has one environment, and its tests share it.
#[test]
#[ignore = "run by reads_the_environment, in a process with an environment of its own"]
fn in_an_environment() {
    match parse::<Program>(["mana-sync"]) {
        Ok(Program { config }) => println!("port {} {:?}", config.server.port, pg_bindir()),
        Err(stop) => println!("{stop:?}"),
    }
}

fn in_environment(variables: &[(&str, &str)]) -> String {
    let output = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "config::tests::in_an_environment", "--ignored", "--nocapture"])
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn reads_the_environment() {
    let needed = [("DATABASE_URL", "postgres://n@db/sync"), ("JWKS_URL", "http://a/jwks")];
    let with = |more: &[(&str, &str)]| in_environment(&[&needed[..], more].concat());
    let said = with(&[("PORT", "4000"), ("PG_BINDIR", "/pg/bin")]);
    assert!(said.contains(r#"port 4000 Some("/pg/bin")"#), "{said}");
    let said = with(&[("PORT", ""), ("MANA_AUTH_URL", " "), ("PG_BINDIR", "")]);
    assert!(said.contains("port 3050 None"), "an empty variable counts as unset: {said}");
    let said = with(&[("PORT", "http")]);
    assert!(said.contains("is not a port (1 to 65535)."), "{said}");
    let said = with(&[("DATABASE_URL", "")]);
    assert!(said.contains("DATABASE_URL must be set."), "{said}");
}

#[cfg(unix)]
#[test]
fn a_variable_is_text() {
    use std::os::unix::ffi::OsStrExt;
    let output = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "config::tests::in_an_environment", "--ignored", "--nocapture"])
        .env_clear()
        .env("JWT_ISSUER", std::ffi::OsStr::from_bytes(b"\xff"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("JWT_ISSUER is not set to UTF-8 text."), "{said}");
}

/// The table of the README, made from what clap knows.
fn table() -> String {
    let command = Config::augment_args(clap::Command::new("mana-sync"));
    let head = "| Variable | Flag | Default | Meaning |\n|---|---|---|---|\n";
    let rows = command.get_arguments().map(|arg| {
        let name = arg.get_env().expect("every setting has a variable").to_str().unwrap();
        let flag = arg.get_long().expect("every setting has a flag");
        let help = arg.get_help().expect("every setting has a meaning");
        let default = match arg.get_default_values() {
            [value] => format!("`{}`", value.to_str().unwrap()),
            _ if arg.is_required_set() => "required".to_owned(),
            _ => "–".to_owned(),
        };
        format!("| `{name}` | `--{flag}` | {default} | {help}. |\n")
    });
    head.to_owned()
        + &rows.collect::<String>()
        + "| `PG_BINDIR` | – | – | Folder of Postgres' server programs, for `mana-sync dev` and \
            the tests only; searched for where it is not set. |\n"
}

#[test]
fn the_readme_tells_every_setting() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("<!-- configuration -->\n").unwrap();
    let (told, _) = rest.split_once("<!-- /configuration -->").unwrap();
    assert_eq!(told.trim(), table().trim(), "copy this into README.md:\n\n{}", table());
}

#[test]
fn flags_are_spelled_like_their_variables() {
    for arg in Config::augment_args(clap::Command::new("mana-sync")).get_arguments() {
        let flag = arg.get_long().unwrap().replace('-', "_").to_uppercase();
        assert_eq!(Some(flag.as_str()), arg.get_env().and_then(|name| name.to_str()));
        assert!(arg.get_help_heading().is_some());
    }
}
