//! The chat's actors from outside: the state machine against a naive model, and the actors over real sockets.
