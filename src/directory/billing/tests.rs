use futures::future::join_all;
use serde_json::json;

use super::*;
use crate::auth::stub::{Answer as Reply, Stub, client, client_within};

fn user(id: &str) -> UserId {
    UserId::new(id).expect("a user id")
}

const ANSWER_HOLDS: Duration = Duration::from_mins(5);

fn app(id: &str) -> AppId {
    AppId::new(id).expect("an app id")
}

/// A service that says this of everybody, and the gate that asks it.
async fn gate(active: bool) -> (Stub, Billing) {
    let reply = json!({"active": active, "plan": "x"}).to_string();
    let stub = Stub::start(Reply::Body("200 OK", reply)).await;
    let key = ServiceKey::new("s3cret").expect("a key");
    let exempt = HashSet::from([app("free")]);
    let service = Some((stub.url("/credits/"), key));
    let billing = Billing::new(service, exempt, ANSWER_HOLDS, client());
    (stub, billing)
}

/// The same gate with a time-out fit for tests.
fn hasty(stub: &Stub) -> Billing {
    let key = ServiceKey::new("s3cret").expect("a key");
    let service = Service::new(stub.url("/"), key, client_within(Duration::from_millis(50)));
    let (answers, down_until) = (Cache::new(MAX_USERS), ArcSwapOption::empty());
    let gate = Gate { service, answers, life: ANSWER_HOLDS, down_until };
    Billing { exempt: Arc::default(), gate: Some(Arc::new(gate)) }
}

#[tokio::test]
async fn the_service_decides_and_is_asked_every_five_minutes() {
    let (stub, billing) = gate(false).await;
    let start = Instant::now();
    let at = async |seconds| {
        billing.active_at(&user("a/da"), &app("todo"), start + Duration::from_secs(seconds)).await
    };
    assert!(!at(0).await);
    stub.body(&json!({"active": true}));
    assert!(!at(299).await);
    assert_eq!(stub.heads().len(), 1);
    assert!(at(300).await);
    let head = stub.heads().pop().expect("a request");
    assert!(head.starts_with("GET /credits/api/v1/internal/sync/status/a%2Fda HTTP/1.1\r\n"));
    assert!(head.contains("\r\nx-service-key: s3cret\r\n"), "{head}");
}

#[tokio::test]
async fn exempt_apps_and_nodes_without_a_service_ask_nobody() {
    let (stub, billing) = gate(false).await;
    assert!(billing.active(&user("ada"), &app("free")).await);
    assert!(stub.heads().is_empty());
    let open = Billing::new(None, HashSet::new(), ANSWER_HOLDS, client());
    assert!(open.active(&user("ada"), &app("todo")).await);
}

#[tokio::test]
async fn a_hundred_requests_of_a_user_ask_once() {
    let (stub, billing) = gate(false).await;
    let (ada, todo) = (user("ada"), app("todo"));
    let answers = join_all((0..100).map(|_| billing.active(&ada, &todo))).await;
    assert!(answers.iter().all(|active| !active));
    assert_eq!(stub.heads().len(), 1);
}

#[tokio::test]
async fn a_useless_answer_opens_the_gate_for_its_user_and_seconds_only() {
    for useless in [
        Reply::Body("500 Oh No", json!({"active": false}).to_string()),
        Reply::Body("200 OK", "<html>".into()),
        Reply::Body("200 OK", json!({"active": "no"}).to_string()),
        Reply::Head("302 Found\r\nlocation: /elsewhere"),
    ] {
        let (stub, billing) = gate(false).await;
        stub.answer(useless);
        let start = Instant::now();
        let at = async |name, seconds| {
            billing.active_at(&user(name), &app("todo"), start + Duration::from_secs(seconds)).await
        };
        assert!(at("ada", 0).await);
        stub.body(&json!({"active": false}));
        assert!(at("ada", 7).await);
        assert_eq!(stub.heads().len(), 1);
        assert!(!at("bob", 0).await);
        assert!(!at("ada", 8).await);
        assert_eq!(stub.heads().len(), 3);
    }
}

#[tokio::test]
async fn a_dead_service_costs_its_time_out_once_for_all_users() {
    let stub = Stub::start(Reply::Body("200 OK", json!({"active": false}).to_string())).await;
    let billing = hasty(&stub);
    let start = Instant::now();
    let at = async |name, seconds| {
        billing.active_at(&user(name), &app("todo"), start + Duration::from_secs(seconds)).await
    };
    assert!(!at("known", 0).await);
    stub.answer(Reply::Silence);
    assert!(at("ada", 0).await);
    assert_eq!(stub.heads().len(), 2);
    assert!(at("bob", 1).await);
    assert!(at("ada", 7).await);
    assert!(!at("known", 7).await, "an answer holds, whatever came of the service");
    assert_eq!(stub.heads().len(), 2);
    stub.body(&json!({"active": false}));
    assert!(!at("bob", 8).await);
    assert!(!at("ada", 8).await);
}

#[tokio::test]
async fn whoever_hangs_up_leaves_the_asking_to_the_next() {
    let (stub, billing) = gate(false).await;
    stub.answer(Reply::Silence);
    let (ada, todo) = (user("ada"), app("todo"));
    tokio::select! {
        _ = billing.active(&ada, &todo) => panic!("nothing was answered"),
        () = stub.arrived(1) => {}
    }
    stub.body(&json!({"active": false}));
    assert!(!billing.active(&ada, &todo).await);
}

#[tokio::test]
async fn the_key_is_never_printed() {
    let (_stub, billing) = gate(true).await;
    assert!(!format!("{billing:?}").contains("s3cret"));
}
