//! Roles and databases of an embedded Postgres, made by its superuser.

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::{EmbeddedPostgres, PostgresError, SUPERUSER};

impl EmbeddedPostgres {
    /// Makes an ordinary role that may log in and to which row-level security applies. A role of
    /// that name that exists becomes such a one.
    ///
    /// # Errors
    /// [`PostgresError::Sql`] where the server says no.
    pub async fn create_role(&self, name: &str) -> Result<(), PostgresError> {
        let role = quoted(name);
        let kind = "login nosuperuser nobypassrls nocreatedb nocreaterole noreplication";
        match self.execute(format!("create role {role} {kind}")).await {
            Err(error) if exists(&error) => {
                self.execute(format!("alter role {role} {kind}")).await?;
            }
            other => other?,
        }
        Ok(())
    }

    /// Makes a database that belongs to `owner`, who may make tables in its schema `public`: since
    /// Postgres 15 as the database's owner, before that as everybody may. It is a copy of
    /// `template` where one is given; nobody may be connected to that meanwhile. Says whether the
    /// database is new: one that exists stays as it is.
    ///
    /// # Errors
    /// [`PostgresError::Sql`] where the server says no.
    pub async fn create_database(
        &self,
        name: &str,
        owner: &str,
        template: Option<&str>,
    ) -> Result<bool, PostgresError> {
        let mut statement = format!("create database {} owner {}", quoted(name), quoted(owner));
        if let Some(template) = template {
            statement.push_str(" template ");
            statement.push_str(&quoted(template));
        }
        match self.execute(statement).await {
            Ok(()) => Ok(true),
            Err(error) if exists(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops a database, if it exists, and whatever is connected to it.
    ///
    /// # Errors
    /// [`PostgresError::Sql`] where the server says no.
    pub async fn drop_database(&self, name: &str) -> Result<(), PostgresError> {
        self.execute(format!("drop database if exists {} with (force)", quoted(name))).await?;
        Ok(())
    }

    /// Runs one statement as the superuser. Names in it are quoted by the caller.
    async fn execute(&self, statement: String) -> Result<(), sqlx::Error> {
        let mut connection: PgConnection = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port())
            .username(SUPERUSER)
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
            .connect()
            .await?;
        connection.execute(AssertSqlSafe(statement)).await?;
        connection.close().await
    }
}

/// A name as SQL wants it, whatever characters it has.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether the thing to be made is there: seen at once, or by a unique index where two made it at
/// the same time.
fn exists(error: &sqlx::Error) -> bool {
    const DUPLICATE_DATABASE: &str = "42P04";
    const DUPLICATE_OBJECT: &str = "42710";
    const UNIQUE_VIOLATION: &str = "23505";
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some(DUPLICATE_DATABASE | DUPLICATE_OBJECT | UNIQUE_VIOLATION))
}
