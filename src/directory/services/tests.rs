use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::stub::{Answer, Stub, client, client_within};

fn user(id: &str) -> UserId {
    UserId::new(id).expect("a user id")
}

fn key() -> ServiceKey {
    ServiceKey::new("s3cret").expect("a key")
}

fn asking(stub: &Stub, path: &str) -> AuthService {
    AuthService::new(stub.url(path), key(), client())
}

fn read(answer: &Value) -> Result<Vec<String>, LookupError> {
    let spaces = spaces(answer.to_string().as_bytes(), &user("ada"))?;
    Ok(spaces.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_user_id_is_one_segment_on_the_wire() {
    let stub = Stub::start(Answer::Body("200 OK", json!({"memberships": []}).to_string())).await;
    let hostile = [
        ("ada", "ada"),
        ("a/../../admin", "a%2F..%2F..%2Fadmin"),
        ("../memberships", "..%2Fmemberships"),
        ("/", "%2F"),
        ("...", "..."),
        ("..;", "..%3B"),
        ("%2e%2e", "%252e%252e"),
        ("a?b=c#d", "a%3Fb%3Dc%23d"),
        ("a\\..\\b", "a%5C..%5Cb"),
        ("a b\r\nx-evil: 1", "a%20b%0D%0Ax-evil%3A%201"),
        ("\t..\n", "%09..%0A"),
        ("ä\u{202e}🦀", "%C3%A4%E2%80%AE%F0%9F%A6%80"),
        ("https://evil.example", "https%3A%2F%2Fevil.example"),
        ("a@b:c", "a%40b%3Ac"),
    ];
    for (base, prefix) in [("", ""), ("/", ""), ("/auth/v2/?x=1#y", "/auth/v2")] {
        for (id, segment) in hostile {
            assert_eq!(asking(&stub, base).memberships(&user(id)).await, Ok(vec![]), "{id}");
            let head = stub.heads().pop().expect("a request");
            let mut lines = head.lines();
            let line = format!("GET {prefix}/api/v1/internal/users/{segment}/memberships HTTP/1.1");
            assert_eq!(lines.next(), Some(line.as_str()));
            assert!(lines.any(|line| line == "x-service-key: s3cret"), "{head}");
            assert!(!head.contains("\nx-evil"), "{head}");
        }
    }
    let asked = stub.heads().len();
    for id in [".", ".."] {
        let outcome = asking(&stub, "").memberships(&user(id)).await;
        assert_eq!(outcome, Err(LookupError::Unaddressable));
    }
    assert_eq!(stub.heads().len(), asked, "what can't be addressed is not asked for");
}

proptest! {
    #[test]
    fn any_user_id_stays_within_its_segment(id in "[./%?#\\\\a\u{e9}\u{1}-]{1,8}|\\PC{1,60}") {
        prop_assume!(id.len() <= UserId::MAX_BYTES);
        let base = Url::parse("https://auth.example/prefix/").expect("an address");
        match address(&base, "/users/", &user(&id), "/memberships") {
            Err(error) => {
                prop_assert_eq!(error, LookupError::Unaddressable);
                prop_assert!(id == "." || id == "..");
            }
            Ok(url) => {
                let segments: Vec<_> = url.path_segments().expect("a path").collect();
                prop_assert_eq!(segments.len(), 4);
                prop_assert_eq!((segments[0], segments[1], segments[3]), ("prefix", "users", "memberships"));
                let decoded = percent_encoding::percent_decode_str(segments[2]).decode_utf8();
                prop_assert_eq!(decoded.expect("UTF-8"), id);
                prop_assert_eq!((url.query(), url.fragment()), (None, None));
                prop_assert_eq!(url.host_str(), Some("auth.example"));
            }
        }
    }
}

#[test]
fn spaces_are_sorted_unique_and_valid() {
    let answer = json!({"userId": "ada", "memberships": [
        {"organizationId": "b", "role": "owner"},
        {"organizationId": "a"},
        {"organizationId": "b"},
        {"organizationId": ""},
        {"organizationId": "x\0y"},
        {"organizationId": "x".repeat(256)},
    ]});
    assert_eq!(read(&answer), Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(read(&json!({"memberships": []})), Ok(vec![]));
    assert_eq!(read(&json!({"userId": null, "memberships": []})), Ok(vec![]));
}

#[test]
fn a_lying_or_confused_service_is_not_believed() {
    for named in ["eve", "", "Ada", "ada "] {
        let answer = json!({"userId": named, "memberships": [{"organizationId": "a"}]});
        assert_eq!(read(&answer), Err(LookupError::WrongUser));
    }
    for answer in [
        json!(null),
        json!({}),
        json!({"memberships": null}),
        json!({"memberships": {}}),
        json!({"memberships": ["a"]}),
        json!({"memberships": [{"role": "owner"}]}),
        json!({"memberships": [{"organizationId": 5}]}),
        json!({"userId": 5, "memberships": []}),
    ] {
        assert_eq!(read(&answer), Err(LookupError::Malformed), "{answer}");
    }
}

#[test]
fn too_many_spaces_are_refused_rather_than_cut() {
    let member = |n: usize| json!({"organizationId": format!("s{n}")});
    let answer = |count: usize| json!({"memberships": (0..count).map(member).collect::<Vec<_>>()});
    assert_eq!(read(&answer(MAX_SPACES)).map(|spaces| spaces.len()), Ok(MAX_SPACES));
    assert_eq!(read(&answer(MAX_SPACES + 1)), Err(LookupError::TooManySpaces));
}

#[tokio::test]
async fn no_answer_of_use_is_an_error_that_tells_no_secret() {
    let stub = Stub::start(Answer::Silence).await;
    let mut service = asking(&stub, "/pre");
    let secret = "answer with a secret".to_owned();
    for (answer, error) in [
        (Answer::Body("404 Not Found", secret.clone()), FetchError::Status(404).into()),
        (Answer::Body("204 No Content", String::new()), FetchError::Status(204).into()),
        (Answer::Head("302 Found\r\nlocation: /elsewhere"), FetchError::Status(302).into()),
        (Answer::Body("200 OK", secret), LookupError::Malformed),
        (Answer::Endless, FetchError::TooLarge { max_bytes: MAX_ANSWER_BYTES }.into()),
    ] {
        stub.answer(answer);
        let outcome = service.memberships(&user("ada")).await;
        assert_eq!(outcome.as_ref().err(), Some(&error));
        assert!(!format!("{outcome:?} {error}").contains("secret"));
    }
    stub.answer(Answer::Silence);
    service.0.http = client_within(Duration::from_millis(50));
    assert_eq!(service.memberships(&user("ada")).await, Err(FetchError::TimedOut.into()));
    assert!(stub.heads().iter().all(|head| head.starts_with("GET /pre/api/")));
}

#[tokio::test]
async fn a_service_that_is_away_is_told_from_one_that_answers() {
    let stub = Stub::start(Answer::Silence).await;
    let service = asking(&stub, "/");
    drop(stub);
    let error = service.memberships(&user("ada")).await.expect_err("nobody there");
    assert!(error.not_reached(), "{error}");
    assert!(!error.to_string().contains("ada"), "{error}");
    assert!(!LookupError::from(FetchError::Status(500)).not_reached());
}

#[test]
fn the_key_is_never_printed() {
    let base = Url::parse("https://u:s3cret@auth.example/").expect("an address");
    let service = AuthService::new(base, key(), client());
    assert!(!format!("{:?} {service:?}", key()).contains("s3cret"));
    assert_eq!(ServiceKey::new("a\nb").map(|_| ()), Err(BadServiceKey));
}
