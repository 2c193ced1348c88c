//! A node's `ChatServer` takes the events of the log and of other nodes; see [`Gathering`](super::gathering::Gathering).

use actix::prelude::*;

use super::ChatServer;
use super::command::Command;
use super::gathering::Next;
use super::mailbox::{SentToChat, WroteToMany};
use super::state::ChatState;
use crate::clock;
use crate::hub::MANY;
use crate::nodes::heard::Heard;

impl ChatServer {
    /// Takes an event of the log or of another node. A record may wait for later ones.
    pub(super) fn hear(&mut self, event: SentToChat, context: &mut Context<Self>) {
        let Command::Heard(Heard::Record { record, .. }) = &event.command else {
            self.end_gathering(context);
            return self.take(event, context);
        };
        let next = if self.gathering.has_events() {
            let is_since = self.state.is_since(record);
            self.gathering.add(event, is_since)
        } else {
            let writes = self.state.writes_of(record);
            if writes.most_on_one_hub < MANY {
                return self.take(event, context);
            }
            let to_come = self.state.to_come_after(record);
            self.gathering.begin(event, writes, to_come, clock::now())
        };
        self.proceed(next, context);
    }

    fn proceed(&mut self, next: Next, context: &mut Context<Self>) {
        match next {
            Next::Wait => {}
            Next::WaitAtMost(limit) => {
                context.cancel_future(self.gathered_within);
                self.gathered_within = context.run_later(limit, Self::gathered_for_long);
            }
            Next::Apply => self.end_gathering(context),
        }
    }

    fn gathered_for_long(&mut self, context: &mut Context<Self>) {
        let next = self.gathering.time_is_up(|last| to_come_after(last, &self.state));
        self.proceed(next, context);
    }

    fn end_gathering(&mut self, context: &mut Context<Self>) {
        if !self.gathering.has_events() {
            return;
        }
        context.cancel_future(self.gathered_within);
        for event in self.gathering.end(clock::now()) {
            self.take(event, context);
        }
    }
}

/// The counter of this node's newest record, if it is still to come after an event.
fn to_come_after(event: &SentToChat, state: &ChatState) -> Option<u64> {
    let Command::Heard(Heard::Record { record, .. }) = &event.command else { return None };
    state.to_come_after(record)
}

impl Handler<WroteToMany> for ChatServer {
    type Result = ();

    fn handle(&mut self, _: WroteToMany, context: &mut Context<Self>) {
        let next = self.gathering.written(|last| to_come_after(last, &self.state));
        self.proceed(next, context);
    }
}
