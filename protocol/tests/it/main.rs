//! The protocol from outside: its golden frames, its properties, and its page.

#[cfg(test)]
mod contracts;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;
