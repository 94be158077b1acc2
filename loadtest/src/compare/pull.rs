//! What a pull with nothing new asks of Postgres.

use serde::Deserialize;

use crate::Outcome;
use crate::push::{Clients, Load, user};
use crate::stats::float;
use crate::stored::page;

use super::Bench;
use super::row::{Bound, Row};
use super::statements::Statements;

const DATABASE: &str = "pull";
const PULLS: u32 = 2_000;
const SPACE: &str = "pulled";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    synced_until: String,
}

/// The rows.
pub(super) async fn pull(bench: &Bench) -> Outcome<Vec<Row>> {
    let ground = &bench.ground;
    ground.issuer.join(&user(0), SPACE);
    let url = ground.database(DATABASE).await?;
    let mut statements = Statements::of(ground, DATABASE).await?;
    let tokens = ground.tokens()?;
    let before = ground.node(&url, &[]).await?;
    let mut client = Clients::connect(std::slice::from_ref(&before.target), &tokens, 1).await?;
    let load = Load {
        clients: 1,
        changes: 1,
        seconds: 1,
        rate: None,
        space: Some(SPACE.to_owned()),
        app: "loadtest".to_owned(),
    };
    client.run(&load).await;
    before.stop().await?;
    statements.alone().await?;

    let (log_before, others_before) = statements.index_scans().await?;
    let node = ground.node(&url, &[]).await?;
    let token = tokens.of(&user(0)).await?;
    let mut connection = node.target.connect().await?;
    let mut cursor = format!("{:.6}", jiff::Timestamp::now());
    for number in 0..=PULLS {
        let answer = connection.get(&page(&cursor), &token, "reading").await?;
        if answer.status != 200 {
            return Err(format!("a pull was answered {}", answer.status).into());
        }
        cursor = serde_json::from_slice::<Answer>(&answer.body)?.synced_until;
        if number == 0 {
            statements.reset().await?;
        }
    }
    let pulls = f64::from(PULLS);
    let each = |count: i64| float(count.unsigned_abs()) / pulls;
    let asked = each(statements.frequent(i64::from(PULLS / 10)).await?);
    let horizons = each(statements.calls("sync_horizon").await?);
    node.stop().await?;
    statements.alone().await?;
    let (log, others) = statements.index_scans().await?;
    statements.close().await?;
    Ok(vec![
        Row::new("statements a pull with nothing new", &[asked], &[])
            .asked(Bound::AtMost(2.0), Some(Bound::AtMost(1.0))),
        Row::new("index scans of the log a pull with nothing new", &[each(log - log_before)], &[])
            .asked(Bound::AtMost(2.05), None),
        Row::new("other index scans a pull with nothing new", &[each(others - others_before)], &[]),
        Row::new("horizon queries a pull with nothing new", &[horizons], &[])
            .asked(Bound::AtMost(0.01), None),
    ])
}
