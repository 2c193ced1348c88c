//! The whole system: the real server, from outside.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod origins;
#[cfg(test)]
mod pace;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod swarm;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transcripts;
#[cfg(test)]
mod vitals;
