//! The page in a real browser, against the real server.
//!
//! Needs the tools of `scripts/install-test-tools`: Chromium and its driver, Node.js, axe-core.

#[cfg(test)]
mod accessible;
#[cfg(test)]
mod authenticated;
#[cfg(test)]
mod changing;
#[cfg(test)]
mod chatting;
#[cfg(test)]
mod embedding;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod logic;
#[cfg(test)]
mod moderating;
#[cfg(test)]
mod places;
#[cfg(test)]
mod proxied;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod screenshots;
#[cfg(test)]
mod served;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod survives;
#[cfg(test)]
mod swarm;
#[cfg(test)]
mod typing;
#[cfg(test)]
mod typists;
