//! The whole system: the real server, tested from outside.

#[cfg(test)]
mod accepting;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod circles;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod compression;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod dashboards;
#[cfg(test)]
mod diagnosis;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod healthcheck;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod http_edge;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod kept_private;
#[cfg(test)]
mod knob_effects;
#[cfg(test)]
mod knobs;
#[cfg(test)]
mod kubernetes;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod log_levels;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod moderation;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod origins;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod own_answers;
#[cfg(test)]
mod pace;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod positions;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod room_history;
#[cfg(test)]
mod room_settings;
#[cfg(test)]
#[path = "../stack/shown.rs"]
mod shown;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod stack_files;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod sub_path;
#[cfg(test)]
mod swarm;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transcripts;
#[cfg(test)]
mod typing;
#[cfg(test)]
mod vanished;
#[cfg(test)]
mod vitals;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod websocket;
