//! Lookups under way: who asks for what is being looked up already waits with the others.
//!
//! Invariant: a lookup goes on for as long as anybody waits for it, whoever began it. (The cache's
//! own way begins anew when the one who began hangs up, and panics after 200 times of that.)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

use crate::id::UserId;

/// By user. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Lookups<T>(Arc<Mutex<HashMap<UserId, WeakShared<BoxFuture<'static, T>>>>>);

impl<T: Clone> Default for Lookups<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Lookups<T> {
    /// The user's lookup that is under way, or else a new one.
    pub(super) fn join(
        &self,
        user: &UserId,
        look_up: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> Shared<BoxFuture<'static, T>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = all.get(user).and_then(WeakShared::upgrade);
        if let Some(under_way) = under_way.filter(|lookup| lookup.peek().is_none()) {
            return under_way;
        }
        if all.len() == all.capacity() {
            all.retain(|_, lookup| lookup.upgrade().is_some());
            // So that the next such look is as many lookups away.
            let left = all.len();
            all.reserve(left + 1);
        }
        let lookup = look_up().shared();
        all.extend(lookup.downgrade().map(|waited_for| (user.clone(), waited_for)));
        lookup
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{pending, ready};
    use tokio::sync::oneshot;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[tokio::test]
    async fn a_lookup_outlives_whoever_began_it() {
        let lookups = Lookups::default();
        let alice = user("alice");
        let (answer, answered) = oneshot::channel();
        let mut first = lookups.join(&alice, || async { answered.await.unwrap() }.boxed());
        assert_eq!((&mut first).now_or_never(), None);
        let second = lookups.join(&alice, || ready(2).boxed());
        drop(first);
        answer.send(1).unwrap();
        assert_eq!(second.await, 1);
    }

    #[tokio::test]
    async fn one_that_has_ended_or_that_nobody_waits_for_is_not_joined() {
        let lookups = Lookups::default();
        let alice = user("alice");
        drop(lookups.join(&alice, || pending().boxed()));
        let slow = lookups.join(&alice, || ready(1).boxed());
        let quick = slow.clone();
        assert_eq!(quick.await, 1);
        assert_eq!(lookups.join(&alice, || ready(2).boxed()).await, 2);
        assert_eq!(slow.await, 1);
    }

    #[test]
    fn what_has_ended_is_not_kept_for_ever() {
        let lookups = Lookups::default();
        let kept = lookups.join(&user("kept"), || pending::<()>().boxed());
        for n in 0..1000 {
            drop(lookups.join(&user(&n.to_string()), || ready(()).boxed()));
        }
        let all = lookups.0.lock().unwrap();
        assert!(all.len() < 10, "{} are kept", all.len());
        assert!(all.contains_key(&user("kept")) && kept.peek().is_none());
    }
}
