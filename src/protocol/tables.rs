//! Which tables a request reads.
//!
//! A request names the tables it wants, or wants all. The store takes them as ranges of names, so
//! that both are one statement; a cursor keeps a digest of them, so that it knows which request
//! its history was read for.

use super::limits::MAX_COLLECTIONS;
use crate::id::{BadId, TableName};

/// The tables of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tables {
    /// Every table of the app.
    All,
    /// These, sorted, each once; never none. [`Tables::parse`] and [`Tables::one`] make it so.
    Some(Vec<TableName>),
}

/// Why a `collections=` list can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTables {
    /// One of the names is no table name.
    #[error("collection {} {reason}", super::scan::quoted(name))]
    Name {
        /// The name as it came.
        name: String,
        /// What is wrong with it.
        reason: BadId,
    },
    /// The list is longer than [`MAX_COLLECTIONS`].
    #[error("at most {MAX_COLLECTIONS} collections in one request, not {count}")]
    TooMany {
        /// How many there were.
        count: usize,
    },
}

impl Tables {
    /// Reads a comma-separated list. Spaces around names and empty names are passed over, as the
    /// old server did; a list without names means all tables.
    ///
    /// # Errors
    /// [`BadTables`] where a name can't be a table's, or where there are too many.
    pub fn parse(list: &str) -> Result<Self, BadTables> {
        let names = || list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let count = names().count();
        if count > MAX_COLLECTIONS {
            return Err(BadTables::TooMany { count });
        }
        let mut tables = names()
            .map(|name| {
                TableName::new(name)
                    .map_err(|reason| BadTables::Name { name: name.to_owned(), reason })
            })
            .collect::<Result<Vec<_>, _>>()?;
        tables.sort_unstable();
        tables.dedup();
        Ok(if tables.is_empty() { Self::All } else { Self::Some(tables) })
    }

    /// One table.
    #[must_use]
    pub fn one(table: TableName) -> Self {
        Self::Some(vec![table])
    }

    /// Whether `table` is among them.
    #[must_use]
    pub fn contains(&self, table: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.binary_search_by(|name| name.as_str().cmp(table)).is_ok(),
        }
    }

    /// A number that stands for the set, the same on every node and in every version: FNV-1a over
    /// the names, each ended by a byte that no name has.
    #[must_use]
    pub fn digest(&self) -> u64 {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        match self {
            Self::All => OFFSET,
            Self::Some(names) => names
                .iter()
                .flat_map(|name| name.as_str().bytes().chain([0]))
                .fold(OFFSET, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(PRIME)),
        }
    }

    /// The tables as the store takes them.
    #[must_use]
    pub fn ranges(&self) -> Ranges {
        let text = |name: &TableName| name.as_str().to_owned();
        match self {
            // No name of at most 255 bytes sorts after 256 bytes of the highest character.
            Self::All => Ranges {
                lows: vec![String::new()],
                highs: vec!["\u{10FFFF}".repeat(64)],
                names: None,
            },
            Self::Some(names) if names.len() > MAX_RANGES => Ranges {
                lows: names.first().map(text).into_iter().collect(),
                highs: names.last().map(text).into_iter().collect(),
                names: Some(names.iter().map(text).collect()),
            },
            Self::Some(names) => {
                let names: Vec<_> = names.iter().map(text).collect();
                Ranges { lows: names.clone(), highs: names, names: None }
            }
        }
    }
}

/// Each range is read on its own: more names than this are read as one range, and picked out.
/// Clients that name many tables name nearly all of their app.
const MAX_RANGES: usize = 4;

/// Tables as ranges `low..=high` of names, lows and highs apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// The first name of each range.
    pub lows: Vec<String>,
    /// The last name of each range.
    pub highs: Vec<String>,
    /// The names within the ranges that are meant, where not all are.
    pub names: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(list: &str) -> Tables {
        Tables::parse(list).unwrap()
    }

    #[test]
    fn a_list_is_sorted_and_each_name_counts_once() {
        let Tables::Some(names) = tables("tasks, notes,tasks,,ärger,") else { panic!() };
        let names: Vec<_> = names.iter().map(TableName::as_str).collect();
        assert_eq!(names, ["notes", "tasks", "ärger"]);
        assert_eq!(tables("b,a"), tables("a,b,a"));
        assert_eq!(tables("a"), Tables::one(TableName::new("a").unwrap()));
    }

    #[test]
    fn a_list_without_names_means_all() {
        assert_eq!(tables(""), Tables::All);
        assert_eq!(tables(" ,,"), Tables::All);
    }

    #[test]
    fn a_bad_list_says_what_is_wrong() {
        let long = "x".repeat(256);
        let error = Tables::parse(&format!("a,{long}")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("collection \"{}…\" has more than 255 bytes", "x".repeat(60))
        );
        let error = Tables::parse("a,b\0c").unwrap_err();
        assert_eq!(error.to_string(), "collection \"b\\0c\" contains U+0000");
        let many = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
        assert!(Tables::parse(&many(1000)).is_ok());
        assert_eq!(
            Tables::parse(&many(1001)).unwrap_err().to_string(),
            "at most 1000 collections in one request, not 1001"
        );
    }

    #[test]
    fn they_contain_what_they_name() {
        assert!(Tables::All.contains("anything"));
        assert!(tables("c,a,b").contains("b"));
        assert!(!tables("c,a,b").contains("bb"));
    }

    #[test]
    fn the_digest_is_the_same_everywhere() {
        // Written down, so that a change of the digest is noticed: cursors in the field have it.
        assert_eq!(Tables::All.digest(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(tables("tasks").digest(), 0x0aee_b666_028a_0917);
        assert_eq!(tables("notes,tasks").digest(), tables("tasks,notes").digest());
        assert_ne!(tables("ab,c").digest(), tables("a,bc").digest());
        assert_ne!(tables("a,b").digest(), tables("ab").digest());
    }

    #[test]
    fn ranges_hold_exactly_the_tables() {
        let few: Vec<String> = vec!["a".into(), "b".into()];
        assert_eq!(tables("b,a").ranges(), Ranges { lows: few.clone(), highs: few, names: None });
        let many = tables("e,d,c,b,a").ranges();
        assert_eq!((many.lows, many.highs), (vec!["a".to_owned()], vec!["e".to_owned()]));
        assert_eq!(many.names.map(|names| names.join(",")), Some("a,b,c,d,e".to_owned()));
        let Ranges { lows, highs, names } = Tables::All.ranges();
        assert_eq!((lows.len(), highs.len(), names), (1, 1, None));
        let last = "\u{10FFFF}".repeat(TableName::MAX_BYTES / 4);
        assert!(lows[0].as_str() <= "\u{1}" && last < highs[0]);
        assert!("\u{10FFFF}zz" < highs[0].as_str());
    }
}
