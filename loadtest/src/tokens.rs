//! Tokens for the simulated users, from wherever the fleet's issuer hands them out.

use url::Url;

use crate::Outcome;
use crate::client::Target;

/// Where tokens come from.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct TokenArgs {
    /// URL that answers GET with a token; `{user}` in it is replaced by the user.
    #[arg(long, value_name = "URL")]
    pub(crate) token_url: Option<String>,
}

/// Hands out tokens.
#[derive(Debug, Clone)]
pub(crate) struct Tokens(String);

impl Tokens {
    /// From this URL, with `{user}` in it.
    pub(crate) fn new(url: &str) -> Outcome<Self> {
        if !url.contains("{user}") {
            return Err("the URL of tokens needs {user} in it".into());
        }
        Ok(Self(url.to_owned()))
    }

    /// The URL, for other processes.
    pub(crate) fn url(&self) -> &str {
        &self.0
    }

    /// A token of `user`.
    pub(crate) async fn of(&self, user: &str) -> Outcome<String> {
        let url: Url = self.0.replace("{user}", user).parse()?;
        let mut connection = Target::resolve(&url).await?.connect().await?;
        let path = url
            .query()
            .map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let answer = connection.get(&path, "", "").await?;
        if answer.status != 200 {
            return Err(format!("no token for {user}: status {}", answer.status).into());
        }
        Ok(std::str::from_utf8(&answer.body)?.trim().to_owned())
    }
}
