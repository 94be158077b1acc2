//! Connections that listen for rings and do nothing else. They speak just enough of Postgres'
//! protocol for that, and throw away what they hear: what they cost is Postgres' part alone.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use url::Url;

use crate::Outcome;

/// Listeners; dropping them closes their connections.
pub(super) struct Listeners(JoinSet<()>);

impl Listeners {
    /// So many, each on a connection of its own. The server lets the role in without a password.
    pub(super) async fn connect(database: &str, channel: &str, count: usize) -> Outcome<Self> {
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let stream = listen(&database.parse()?, channel).await?;
            tasks.spawn(discard(stream));
        }
        Ok(Self(tasks))
    }

    /// Closes them all.
    pub(super) async fn close(mut self) {
        self.0.shutdown().await;
    }
}

async fn listen(database: &Url, channel: &str) -> Outcome<TcpStream> {
    const PROTOCOL: u32 = 3 << 16;
    let host = database.host_str().ok_or("a database URL without a host")?;
    let port = database.port().ok_or("a database URL without a port")?;
    let mut stream = TcpStream::connect((host, port)).await?;
    let mut start = PROTOCOL.to_be_bytes().to_vec();
    for text in ["user", database.username(), "database", database.path().trim_start_matches('/')] {
        start.extend_from_slice(text.as_bytes());
        start.push(0);
    }
    start.push(0);
    stream.write_all(&message(None, &start)?).await?;
    ready(&mut stream).await?;
    stream.write_all(&message(Some(b'Q'), format!("listen {channel}\0").as_bytes())?).await?;
    ready(&mut stream).await?;
    Ok(stream)
}

fn message(kind: Option<u8>, body: &[u8]) -> Outcome<Vec<u8>> {
    let length = u32::try_from(body.len() + 4)?;
    Ok(kind.into_iter().chain(length.to_be_bytes()).chain(body.iter().copied()).collect())
}

/// Reads until the server is ready for a query.
async fn ready(stream: &mut TcpStream) -> Outcome {
    const MOST: usize = 100;
    for _ in 0..MOST {
        let kind = stream.read_u8().await?;
        let length = usize::try_from(stream.read_u32().await?)?.saturating_sub(4);
        let mut body = vec![0; length.min(64 * 1024)];
        stream.read_exact(&mut body).await?;
        match kind {
            b'Z' => return Ok(()),
            b'E' => return Err("Postgres refuses a listener".into()),
            _ => {}
        }
    }
    Err("Postgres is not ready for a listener".into())
}

async fn discard(mut stream: TcpStream) {
    let mut heard = vec![0; 8 * 1024];
    while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {}
}
