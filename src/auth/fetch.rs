//! Asking other services: a GET with a bound in time and in size.
//!
//! What goes wrong is told without addresses, headers and bodies, for these name users and keys.

use std::error::Error;

use reqwest::{RequestBuilder, Response, StatusCode};

/// Why a service gave no answer of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The whole answer was not there in time.
    #[error("no answer in time")]
    TimedOut,
    /// No connection, or one that broke.
    #[error("not reached: {cause}")]
    Unreachable {
        /// What the system says.
        cause: String,
    },
    /// Another status than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// More bytes than are read.
    #[error("answered with more than {max_bytes} bytes")]
    TooLarge {
        /// The most bytes that are read.
        max_bytes: usize,
    },
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        let error = error.without_url();
        let mut innermost: &dyn Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self::Unreachable { cause: innermost.to_string() }
    }
}

/// Sends `request` and reads the answer, which must be whole within the time of its client.
pub(crate) async fn fetch(
    request: RequestBuilder,
    max_bytes: usize,
) -> Result<Vec<u8>, FetchError> {
    read(request.send().await?, max_bytes).await
}

/// Reads an answer.
pub(crate) async fn read(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Err(FetchError::TooLarge { max_bytes });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::stub::{Answer, Stub, client};

    #[tokio::test]
    async fn not_one_byte_more_is_taken() {
        let stub = Stub::start(Answer::Body("200 OK", "12345".into())).await;
        let read = async |max_bytes| fetch(client().get(stub.url("/")), max_bytes).await;
        assert_eq!(read(5).await, Ok(b"12345".to_vec()));
        assert_eq!(read(4).await, Err(FetchError::TooLarge { max_bytes: 4 }));
    }

    #[tokio::test]
    async fn the_body_counts_into_the_time() {
        let stub = Stub::start(Answer::Head("200 OK\r\ncontent-length: 5")).await;
        let broken = fetch(client().get(stub.url("/")), 9).await;
        assert!(matches!(broken, Err(FetchError::Unreachable { .. })), "cut short: {broken:?}");
        stub.answer(Answer::Endless);
        let endless =
            fetch(client().get(stub.url("/")).timeout(Duration::from_millis(50)), usize::MAX).await;
        assert_eq!(endless, Err(FetchError::TimedOut));
    }
}
