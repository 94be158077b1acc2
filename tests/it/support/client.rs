//! A client of the wire.

use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::Events;

/// A device of a user.
#[expect(clippy::struct_field_names, reason = "that is what the protocol calls it")]
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// The bearer token.
    pub token: String,
    /// The `X-Client-Id`; empty for none.
    pub client: String,
    /// The app.
    pub app: String,
}

impl Client {
    /// A device `client` of whoever holds `token`, in the app `todo`.
    pub fn new(token: String, client: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, token, client: client.to_owned(), app: "todo".to_owned() }
    }

    /// The same device in another app.
    pub fn app(&self, app: &str) -> Self {
        Self { app: app.to_owned(), ..self.clone() }
    }

    fn dress(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.bearer_auth(&self.token);
        if self.client.is_empty() { request } else { request.header("X-Client-Id", &self.client) }
    }

    /// Any GET with the client's token.
    pub async fn get(&self, node: &str, path: &str) -> Response {
        self.dress(self.http.get(format!("{node}{path}"))).send().await.unwrap()
    }

    /// Posts a body as it is.
    pub async fn post(&self, node: &str, body: impl Into<reqwest::Body>) -> Response {
        self.try_post(node, body).await.unwrap()
    }

    /// Posts a body as it is; the connection may break.
    pub async fn try_post(
        &self,
        node: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Response> {
        self.dress(self.http.post(format!("{node}/sync/{}", self.app))).body(body).send().await
    }

    /// Pushes changes and expects 200.
    pub async fn push(&self, node: &str, changes: &[Value]) -> Value {
        self.push_since(node, "", changes).await
    }

    /// Pushes changes with a cursor and expects 200.
    pub async fn push_since(&self, node: &str, since: &str, changes: &[Value]) -> Value {
        let body = json!({ "since": since, "changes": changes }).to_string();
        expect_ok(self.post(node, body).await).await
    }

    /// Pulls one page of one table.
    pub async fn pull(&self, node: &str, table: &str, since: &str) -> Value {
        let since: String = url::form_urlencoded::byte_serialize(since.as_bytes()).collect();
        let table: String = url::form_urlencoded::byte_serialize(table.as_bytes()).collect();
        let path = format!("/sync/{}/pull?collection={table}&since={since}", self.app);
        expect_ok(self.get(node, &path).await).await
    }

    /// Pulls pages of one table until there is no more; gives the changes and the last cursor.
    pub async fn pull_all(&self, node: &str, table: &str, since: &str) -> (Vec<Value>, String) {
        let (mut changes, mut since) = (Vec::new(), since.to_owned());
        loop {
            let page = self.pull(node, table, &since).await;
            changes.extend(page["serverChanges"].as_array().unwrap().iter().cloned());
            let until = page["syncedUntil"].as_str().unwrap().to_owned();
            assert!(until >= since || since.is_empty(), "a cursor goes back: {since} to {until}");
            since = until;
            if page["hasMore"] != json!(true) {
                return (changes, since);
            }
        }
    }

    /// Opens a stream of some tables (none: all) and expects 200.
    pub async fn stream(&self, node: &str, tables: &str, since: &str) -> Events {
        let since: String = url::form_urlencoded::byte_serialize(since.as_bytes()).collect();
        let path = format!("/sync/{}/stream?collections={tables}&since={since}", self.app);
        self.events(node, &path).await
    }

    /// Opens a stream of several apps, comma-separated, and expects 200.
    pub async fn stream_of_apps(&self, node: &str, apps: &str, since: &str) -> Events {
        let since: String = url::form_urlencoded::byte_serialize(since.as_bytes()).collect();
        self.events(node, &format!("/stream?apps={apps}&since={since}")).await
    }

    async fn events(&self, node: &str, path: &str) -> Events {
        let response = self.get(node, path).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events::new(response)
    }
}

async fn expect_ok(response: Response) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A change of the table `tasks`.
pub fn change(record: &str, op: &str) -> Value {
    json!({ "table": "tasks", "id": record, "op": op })
}

/// An insert into `tasks`.
pub fn insert(record: &str, data: &Value) -> Value {
    json!({ "table": "tasks", "id": record, "op": "insert", "data": data })
}

/// An update of one field.
pub fn update(record: &str, field: &str, value: &Value, at: &str) -> Value {
    let fields = json!({ field: { "value": value, "updatedAt": at } });
    json!({ "table": "tasks", "id": record, "op": "update", "fields": fields })
}

/// A delete.
pub fn delete(record: &str, at: &str) -> Value {
    json!({ "table": "tasks", "id": record, "op": "delete", "deletedAt": at })
}
