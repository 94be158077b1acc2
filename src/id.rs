//! The names of things: users, spaces, apps, clients, tables, and stamps.
//!
//! Every id of the wire has a type of its own, so that a space can't be passed where a user is
//! meant. They are cheap to clone (a shared string) and can only be made from text that Postgres
//! can store and whose length is bounded.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// Why a text can't be an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// The text has no characters.
    #[error("is empty")]
    Empty,
    /// The text has more bytes than the id may have.
    #[error("has more than {max} bytes")]
    TooLong {
        /// The most bytes this id may have.
        max: usize,
    },
    /// The text has a U+0000, which Postgres cannot store.
    #[error("contains U+0000")]
    Nul,
}

fn check(text: &str, max: usize) -> Result<(), BadId> {
    if text.is_empty() {
        return Err(BadId::Empty);
    }
    if text.len() > max {
        return Err(BadId::TooLong { max });
    }
    if text.contains('\0') {
        return Err(BadId::Nul);
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most bytes such an id may have.
            pub const MAX_BYTES: usize = $max;

            /// Takes `text` as an id.
            ///
            /// # Errors
            /// [`BadId`] where the text is empty, too long, or holds a U+0000.
            pub fn new(text: &str) -> Result<Self, BadId> {
                check(text, $max)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// Who is speaking: the `sub` of a verified token.
    UserId,
    255
);
text_id!(
    /// A group of users who share records: an organization of the auth service.
    SpaceId,
    255
);
text_id!(
    /// One client application: the `{appId}` of the path.
    AppId,
    255
);
text_id!(
    /// One device or tab of a user.
    ClientId,
    255
);
text_id!(
    /// A client-side table (collection) of an app.
    TableName,
    255
);

/// A place in the one order of all changes: microseconds since 1970-01-01 UTC.
///
/// Postgres gives each change a stamp of its own; a cursor is nothing but a stamp. In the
/// database it is a `timestamptz`, whose microseconds it maps one to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(i64);

/// 2000-01-01, where Postgres' own count of microseconds begins.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl Stamp {
    /// Before every change: a cursor here reads from the start.
    pub const START: Self = Self(0);

    /// After every change.
    pub const LAST: Self = Self(i64::MAX);

    /// The stamp at `micros` microseconds since 1970.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The time of day, by this machine's clock.
    #[must_use]
    pub fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
    }

    /// How long ago it was given, by this machine's clock; zero where that is behind.
    #[must_use]
    pub fn age(self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_micros(u64::try_from(self.0).unwrap_or(0)))
    }

    /// How far `self` lies after `earlier`; zero where it does not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Type<Postgres> for Stamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("TIMESTAMPTZ")
    }
}

impl PgHasArrayType for Stamp {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("TIMESTAMPTZ[]")
    }
}

impl Encode<'_, Postgres> for Stamp {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(self.0 - POSTGRES_EPOCH_MICROS, buf)
    }
}

impl Decode<'_, Postgres> for Stamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a stamp is read in binary".into());
        }
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(Self(micros.saturating_add(POSTGRES_EPOCH_MICROS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_bounded_and_storable() {
        assert_eq!(UserId::new(""), Err(BadId::Empty));
        assert_eq!(UserId::new("a\0b"), Err(BadId::Nul));
        assert_eq!(UserId::new(&"x".repeat(256)), Err(BadId::TooLong { max: 255 }));
        assert_eq!(UserId::new(&"x".repeat(255)).map(|id| id.as_str().len()), Ok(255));
    }
}
