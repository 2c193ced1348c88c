//! Who holds which name, over all nodes. Used where names are not authenticated: then a name has one holder.

use std::collections::BTreeMap;

use starling_protocol::{ClientId, ClientKey};

use super::record::{Incarnation, RemoteSession};

/// Who holds a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The session that speaks under it.
    pub session: RemoteSession,
    /// The secret of its client: whoever shows it takes the name over.
    pub key: ClientKey,
}

/// What becomes of the wish to take a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was free.
    Free,
    /// It was taken from an earlier session of the same client, which is to be closed.
    From(RemoteSession),
    /// Another client holds it.
    Refused,
}

/// All names that are held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<ClientId, Holder>);

impl Names {
    /// Who holds a name.
    pub fn holder(&self, name: &ClientId) -> Option<&Holder> {
        self.0.get(name)
    }

    /// Gives a name to a session, if nobody else's client holds it.
    pub fn take(&mut self, name: ClientId, holder: Holder) -> Taken {
        match self.0.get(&name) {
            Some(held) if held.key != holder.key => return Taken::Refused,
            Some(held) if held.session != holder.session => {
                let from = held.session;
                self.0.insert(name, holder);
                return Taken::From(from);
            }
            _ => {}
        }
        self.0.insert(name, holder);
        Taken::Free
    }

    /// Frees a name, if this session holds it. Whether it did.
    pub fn release(&mut self, name: &ClientId, session: RemoteSession) -> bool {
        let is_held = self.0.get(name).is_some_and(|held| held.session == session);
        if is_held {
            self.0.remove(name);
        }
        is_held
    }

    /// Frees all names of a life of a node.
    pub fn release_all(&mut self, incarnation: Incarnation) {
        self.0.retain(|_, held| held.session.incarnation != incarnation);
    }

    /// All names, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&ClientId, &Holder)> {
        self.0.iter()
    }
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

    #[test]
    fn a_name_has_one_holder_and_goes_over_to_whoever_shows_its_key() {
        let mut names = Names::default();
        assert_eq!(names.take(name("alice"), holder(1, 1, 7)), Taken::Free);
        assert_eq!(names.take(name("alice"), holder(2, 1, 8)), Taken::Refused);
        assert_eq!(names.take(name("alice"), holder(2, 1, 7)), Taken::From(session(1, 1)));
        assert_eq!(names.take(name("alice"), holder(2, 1, 7)), Taken::Free, "it holds it already");
        assert!(!names.release(&name("alice"), session(1, 1)), "who lost the name cannot free it");
        assert!(names.release(&name("alice"), session(2, 1)));
        assert_eq!(names.take(name("alice"), holder(1, 2, 8)), Taken::Free);
    }

    #[test]
    fn a_node_that_is_out_holds_no_name() {
        let mut names = Names::default();
        for (who, incarnation) in [("alice", 1), ("bob", 2), ("carol", 1)] {
            names.take(name(who), holder(incarnation, 1, 7));
        }
        names.release_all(Incarnation(1));
        let left: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, ["bob"]);
    }
}
