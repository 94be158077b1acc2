//! The console: who serves it, and that it is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use reqwest::StatusCode;
use url::Url;

use crate::protocol::talk::http;
use crate::support::World;
use crate::support::world::TestNode;

async fn status(url: &str, path: &str) -> StatusCode {
    http().get(format!("{url}{path}")).send().await.unwrap().status()
}

async fn with_console(world: &World, flags: &[&str]) -> TestNode {
    let flags: Vec<_> = ["--console"].iter().chain(flags).copied().collect();
    world.start(world.settings_with(&flags)).await
}

#[tokio::test]
async fn a_node_serves_the_console_only_where_it_is_told_to() {
    let world = World::new().await;
    let without = world.node().await;
    for path in ["/", "/console/main.js", "/console/client/index.js"] {
        assert_eq!(status(&without.url, path).await, StatusCode::NOT_FOUND, "{path}");
    }
    let with = with_console(&world, &[]).await;
    for path in ["/", "/console/main.js", "/console/client/index.js"] {
        assert_eq!(status(&with.url, path).await, StatusCode::OK, "{path}");
    }
    assert_eq!(status(&with.url, "/console/Cargo.toml").await, StatusCode::NOT_FOUND);
    let page = http().get(&with.url).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("data-speaks-to=\"node\""), "{page}");
}

#[tokio::test]
async fn the_console_is_for_the_port_of_clients() {
    let world = World::new().await;
    let mut settings = world.settings_with(&["--console"]);
    settings.admin_address = Some(([127, 0, 0, 1], 0).into());
    let TestNode { url, node } = world.start(settings).await;
    assert_eq!(status(&url, "/").await, StatusCode::OK);
    let operators = format!("http://{}", node.admin_address());
    assert_eq!(status(&operators, "/").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn no_node_stops_or_makes_members_for_whoever_asks() {
    let world = World::new().await;
    let node = with_console(&world, &[]).await;
    assert_eq!(status(&node.url, "/dev/fleet").await, StatusCode::NOT_FOUND);
    for path in ["/dev/replicas/1/stop", "/dev/spaces/home/members/eve"] {
        let answer = http().post(format!("{}{path}", node.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_browser_runs_the_consoles_own_scripts_alone() {
    let world = World::new().await;
    let node = with_console(&world, &[]).await;
    let answer = http().get(&node.url).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    for part in [
        "default-src 'none'",
        "script-src 'self';",
        "connect-src 'self' ;",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    let page = answer.text().await.unwrap();
    for inline in ["<style", " style=", " onclick=", "<script>"] {
        assert!(!page.contains(inline), "{inline} is refused by the policy");
    }
}

/// What stands between `begin` and `end` in `text`.
fn between<'a>(text: &'a str, begin: &str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).filter_map(move |rest| rest.split(end).next())
}

/// Everything that the page loads, by its path: what its files name is loaded, too.
async fn loaded(url: &str) -> BTreeMap<String, String> {
    let base = Url::parse(url).unwrap();
    let (mut found, mut open) = (BTreeMap::new(), vec![base.clone()]);
    let mut known = BTreeSet::from([base]);
    while let Some(at) = open.pop() {
        let answer = http().get(at.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{at}");
        let text = answer.text().await.unwrap();
        // Comments name types, which browsers don't load.
        let code = text.lines().filter(|line| !line.trim_start().starts_with(['/', '*']));
        let code: String = code.collect();
        let named = [" src=\"", " href=\"", " from \"", "import \""];
        for name in named.iter().flat_map(|begin| between(&code, begin, '"')) {
            let next = at.join(name).unwrap();
            if known.insert(next.clone()) {
                open.push(next);
            }
        }
        found.insert(at.path().to_owned(), text);
    }
    found
}

#[tokio::test]
async fn all_that_the_page_loads_is_served_by_the_node() {
    let world = World::new().await;
    let node = with_console(&world, &[]).await;
    let loaded = loaded(&node.url).await;
    assert!(loaded.contains_key("/console/console.css"), "{:?}", loaded.keys());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut of_client = 0;
    for (path, text) in &loaded {
        let Some(file) = path.strip_prefix("/console/") else { continue };
        let file = match file.strip_prefix("client/") {
            Some(name) => root.join("clients/js/src").join(name),
            None => root.join("console").join(file),
        };
        of_client += usize::from(path.starts_with("/console/client/"));
        assert_eq!(*text, fs::read_to_string(&file).unwrap(), "{path}");
    }
    assert!(of_client >= 14, "it uses the client: {:?}", loaded.keys());
    let own = fs::read_dir(root.join("console")).unwrap().count();
    assert_eq!(
        loaded.len() - of_client,
        own,
        "a file of console/ is not used: {:?}",
        loaded.keys()
    );
}
