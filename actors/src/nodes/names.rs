//! The names on all nodes, and their holders.
//!
//! A name that is not authenticated has one holder. A client whose name is authenticated may have several sessions.

use std::collections::BTreeMap;

use smallvec::SmallVec;
use starling_protocol::{ClientId, ClientKey, limits};

use super::record::{Incarnation, RemoteSession};

/// A session that holds a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The session with the name.
    pub session: RemoteSession,
    /// The secret of its client. A connection that shows it takes the name over.
    pub key: ClientKey,
}

/// The outcome of taking a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The session holds the name now.
    Granted {
        /// The session that lost the name and must be closed: an earlier session of the same client, or its oldest
        /// session if the client had too many.
        replaced: Option<RemoteSession>,
    },
    /// Another client holds it.
    Refused,
}

/// All names that are held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<ClientId, SmallVec<[Holder; 1]>>);

impl Names {
    /// The holders of a name, the oldest first.
    pub fn holders(&self, name: &ClientId) -> &[Holder] {
        self.0.get(name).map_or(&[], |holders| holders)
    }

    /// Whether this session holds the name.
    pub fn holds(&self, session: RemoteSession, name: &ClientId) -> bool {
        self.holders(name).iter().any(|holder| holder.session == session)
    }

    /// Whether a session of the node of this life holds a name.
    pub fn is_held_on(&self, name: &ClientId, life: Incarnation) -> bool {
        self.holders(name).iter().any(|holder| holder.session.incarnation == life)
    }

    /// Whether a session may take a name: no other client holds it, or the name is authenticated.
    pub fn may_take(&self, name: &ClientId, holder: &Holder, is_authenticated: bool) -> bool {
        let holders = self.holders(name);
        is_authenticated || holders.is_empty() || holders.iter().any(|held| is_earlier(held, holder))
    }

    /// Gives a name to a session, if it [may take](Self::may_take) it.
    pub fn take(&mut self, name: ClientId, holder: Holder, is_authenticated: bool) -> Taken {
        if !self.may_take(&name, &holder, is_authenticated) {
            return Taken::Refused;
        }
        let holders = self.0.entry(name).or_default();
        let earlier = holders.iter().position(|held| is_earlier(held, &holder));
        let lost = earlier.or_else(|| (holders.len() >= limits::CONNECTIONS_PER_CLIENT_MAX).then_some(0));
        let replaced = lost.map(|lost| holders.remove(lost).session).filter(|lost| *lost != holder.session);
        holders.push(holder);
        Taken::Granted { replaced }
    }

    /// Adds a holder from another node's state, after the holders before it.
    pub fn restore(&mut self, name: ClientId, holder: Holder) {
        self.0.entry(name).or_default().push(holder);
    }

    /// Frees a name, if this session holds it. Returns the key of its client, if it did.
    pub fn release(&mut self, name: &ClientId, session: RemoteSession) -> Option<ClientKey> {
        let holders = self.0.get_mut(name)?;
        let held = holders.iter().position(|holder| holder.session == session)?;
        let Holder { key, .. } = holders.remove(held);
        if holders.is_empty() {
            self.0.remove(name);
        }
        Some(key)
    }

    /// Frees all names of a life of a node. Returns the guests among them: they are gone.
    pub fn release_all(&mut self, incarnation: Incarnation) -> Vec<(ClientId, ClientKey)> {
        let mut guests = Vec::new();
        self.0.retain(|name, holders| {
            let freed = |holder: &&Holder| holder.session.incarnation == incarnation;
            if name.is_guest() {
                guests.extend(holders.iter().filter(freed).map(|holder| (name.clone(), holder.key)));
            }
            holders.retain(|holder| holder.session.incarnation != incarnation);
            !holders.is_empty()
        });
        guests
    }

    /// All names and their holders, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&ClientId, &[Holder])> {
        self.0.iter().map(|(name, holders)| (name, holders.as_slice()))
    }
}

/// Whether a session is that of the same client as one that holds the name, which it replaces.
fn is_earlier(held: &Holder, holder: &Holder) -> bool {
    held.session == holder.session || held.key == holder.key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ClientId {
        ClientId::parse(name).unwrap()
    }

    fn session(incarnation: u64, session: u64) -> RemoteSession {
        RemoteSession { incarnation: Incarnation(incarnation), session }
    }

    fn holder(incarnation: u64, number: u64, key: u128) -> Holder {
        Holder { session: session(incarnation, number), key: ClientKey(key) }
    }

    const FREE: Taken = Taken::Granted { replaced: None };

    #[test]
    fn a_name_has_one_holder_and_goes_over_to_whoever_shows_its_key() {
        let (mut names, alice) = (Names::default(), name("alice"));
        assert_eq!(names.take(alice.clone(), holder(1, 1, 7), false), FREE);
        assert_eq!(names.take(alice.clone(), holder(2, 1, 8), false), Taken::Refused);
        let replaced = Some(session(1, 1));
        assert_eq!(names.take(alice.clone(), holder(2, 1, 7), false), Taken::Granted { replaced });
        assert_eq!(names.take(alice.clone(), holder(2, 1, 7), false), FREE, "it holds it already");
        assert_eq!(names.release(&alice, session(1, 1)), None, "who lost the name cannot free it");
        assert_eq!(names.release(&alice, session(2, 1)), Some(ClientKey(7)));
        assert_eq!(names.take(alice, holder(1, 2, 8), false), FREE);
    }

    #[test]
    fn an_authenticated_client_has_several_sessions_up_to_the_limit() {
        let (mut names, alice) = (Names::default(), name("alice"));
        for number in 0..limits::CONNECTIONS_PER_CLIENT_MAX as u64 {
            assert_eq!(names.take(alice.clone(), holder(1, number, number.into()), true), FREE);
        }
        let first = Taken::Granted { replaced: Some(session(1, 0)) };
        assert_eq!(names.take(alice.clone(), holder(2, 0, 1_000), true), first);
        let same = Taken::Granted { replaced: Some(session(1, 5)) };
        assert_eq!(names.take(alice.clone(), holder(2, 1, 5), true), same);
        assert_eq!(names.holders(&alice).len(), limits::CONNECTIONS_PER_CLIENT_MAX);
    }

    #[test]
    fn a_node_that_is_out_holds_no_name() {
        let mut names = Names::default();
        for (who, incarnation) in [("alice", 1), ("bob", 2), ("carol", 1), ("guest-1", 1)] {
            names.take(name(who), holder(incarnation, 1, 7), false);
        }
        assert_eq!(names.release_all(Incarnation(1)), [(name("guest-1"), ClientKey(7))]);
        let left: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, ["bob"]);
    }
}
