//! The chat's actors from outside: the state machine against a naive model, and the actors over real sockets.

#[cfg(test)]
mod client;
#[cfg(test)]
mod credits;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod model;
#[cfg(test)]
mod server;
#[cfg(test)]
mod slow_consumer;
#[cfg(test)]
mod slow_log;
