//! What a release asks of the database: its statements, as it sends them, with the types of their
//! parameters and of the columns that it reads.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgTypeInfo;
use sqlx::postgres::types::Oid;
use sqlx::{
    AssertSqlSafe, Column as _, Executor, PgConnection, Row as _, SqlSafeStr, Statement as _,
    TypeInfo as _,
};

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Statement {
    /// Its text, with single spaces.
    pub sql: String,
    /// The types of its parameters, as the node declares them.
    pub parameters: Vec<String>,
    /// The name and the type of each column of its answer.
    pub columns: Vec<(String, String)>,
}

/// A statement as it was sent: its text, and the object ids of its parameters' types.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Its text, with single spaces.
    pub sql: String,
    /// The types.
    pub types: Vec<u32>,
}

/// A release of which there is a recording, or is to be.
pub struct Release {
    /// Its version.
    pub name: String,
    path: PathBuf,
}

impl Release {
    /// The release of this name.
    pub fn named(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/queries");
        Self { name: name.to_owned(), path: folder.join(format!("{name}.json")) }
    }

    /// All that are recorded.
    pub fn all() -> Vec<Self> {
        let folder = Self::named("").path;
        let entries = fs::read_dir(folder.parent().unwrap()).unwrap();
        let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries.map(|entry| Self::named(&name(entry.unwrap().path()))).collect()
    }

    /// Its statements.
    pub fn read(&self) -> Vec<Statement> {
        let text = fs::read_to_string(&self.path);
        let text = text.unwrap_or_else(|_| panic!("scripts/record-queries records {}", self.name));
        serde_json::from_str(&text).unwrap()
    }

    /// Keeps its statements, one a line.
    pub fn write(&self, statements: &[Statement]) {
        let lines = statements.iter().map(|one| serde_json::to_string(one).unwrap());
        let lines = lines.collect::<Vec<_>>().join(",\n");
        fs::write(&self.path, format!("[\n{lines}\n]\n")).unwrap();
    }
}

/// A statement with single spaces.
pub fn plain(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a statement is about our schema.
pub fn is_ours(sql: &str) -> bool {
    let names_it = sql.contains("sync_") || sql.contains("_sqlx_migrations");
    // A channel needs no schema.
    names_it && !sql.starts_with("LISTEN")
}

/// What the schema of today makes of statements.
pub async fn describe(
    sql: &mut PgConnection,
    all: impl IntoIterator<Item = Asked>,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    for asked in all {
        let mut parameters = Vec::new();
        for oid in asked.types {
            let name = sqlx::query_scalar("select format_type($1, null)").bind(Oid(oid));
            parameters.push(name.fetch_one(&mut *sql).await.unwrap());
        }
        let mut statement = Statement { sql: asked.sql, parameters, columns: Vec::new() };
        statement.columns = columns(sql, &statement).await.unwrap();
        statements.push(statement);
    }
    statements.sort();
    statements
}

/// What a schema refuses statements for, or answers otherwise than it did.
pub async fn problems(sql: &mut PgConnection, statements: &[Statement]) -> Vec<String> {
    let mut problems = Vec::new();
    for statement in statements {
        match columns(sql, statement).await {
            Err(error) => problems.push(format!("{}: {error}", statement.sql)),
            Ok(columns) if columns != statement.columns => {
                problems.push(format!("{}: answers {columns:?}", statement.sql));
            }
            Ok(_) => {}
        }
    }
    problems
}

/// Prepares a statement as a node does; gives the columns of its answer.
async fn columns(
    sql: &mut PgConnection,
    statement: &Statement,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let mut types = Vec::new();
    for name in &statement.parameters {
        let oid = sqlx::query("select $1::regtype::oid").bind(name).fetch_one(&mut *sql).await?;
        types.push(PgTypeInfo::with_oid(oid.get(0)));
    }
    let text = AssertSqlSafe(statement.sql.clone()).into_sql_str();
    let prepared = sql.prepare_with(text, &types).await?;
    let column = |column: &sqlx::postgres::PgColumn| {
        (column.name().to_owned(), column.type_info().name().to_owned())
    };
    Ok(prepared.columns().iter().map(column).collect())
}
