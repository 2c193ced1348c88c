//! Every knob of the swarm, from the environment, `.env`, a scenario file or flags.
//!
//! Precedence: defaults < scenario < `.env` < environment < flags. The configuration is checked once, then immutable.

mod error;
mod knobs;
mod settings;

use std::path::Path;

pub use error::ConfigError;
pub use knobs::{KNOBS, Knob};
pub use settings::{Config, METRICS_OFF};
use starling_process::dotenv::{self, Setting};

use crate::behaviour::BehaviourKind;
use crate::dialect::Dialect;
use crate::endpoint::room_in;
use crate::find_limit::find::Find;

/// The prefix of every variable of the swarm.
pub const PREFIX: &str = "BOT_";

/// The beginning of the URL of a server that uses TLS.
const WSS: &str = "wss://";

/// The placeholder for the bots' name prefix in the folder of a report.
const NAME_IN_REPORT: &str = "{name}";

/// The most bots with a server that does not number its messages: each is compared with all.
const COMPARED_BOTS_MAX: u32 = 2_000;

/// The variable with the path of a file of settings.
pub const SCENARIO: &str = "BOT_SCENARIO";

impl Config {
    /// Reads a configuration from settings, pairs of variable and value; if two set the same variable, the later one
    /// wins. Variables that do not begin with [`PREFIX`] are ignored.
    ///
    /// # Errors
    /// [`ConfigError`] for the first wrong setting.
    pub fn from_settings(settings: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (variable, value) in settings {
            if variable.starts_with(PREFIX) {
                Knob::of(&variable)?.set(&mut config, &value)?;
            }
        }
        config.name_report();
        config.check()?;
        Ok(config)
    }

    /// Replaces [`NAME_IN_REPORT`] in the report's folder, so that many containers can share one volume.
    fn name_report(&mut self) {
        if let Some(folder) = &self.report {
            self.report = Some(folder.to_string_lossy().replace(NAME_IN_REPORT, &self.name_prefix).into());
        }
    }

    /// Checks that the settings fit together.
    fn check(&self) -> Result<(), ConfigError> {
        if self.server_urls().any(|url| url.starts_with(WSS)) && self.ca_file.is_none() && !self.insecure {
            return Err(ConfigError::Conflict("wss:// needs BOT_CA_FILE, or BOT_INSECURE=true"));
        }
        let tokens = [self.token.is_some(), self.token_file.is_some(), self.token_secret.is_some()];
        if tokens.into_iter().filter(|is_set| *is_set).count() > 1 {
            return Err(ConfigError::Conflict(
                "of BOT_TOKEN, BOT_TOKEN_FILE and BOT_TOKEN_SECRET at most one may be set",
            ));
        }
        if self.token.is_some() && self.behaviours.has(BehaviourKind::Private) {
            return Err(ConfigError::Conflict("private bots need different names, but BOT_TOKEN is the same for all"));
        }
        if self.dialect == Dialect::Starling {
            return self.check_named_room();
        }
        let has = |behaviour| self.behaviours.has(behaviour);
        if self.rooms > 1 || has(BehaviourKind::Private) || has(BehaviourKind::Hopper) {
            return Err(ConfigError::Conflict("a BOT_DIALECT other than starling has one room, and nothing private"));
        }
        if self.dialect.compares_all() && self.profile().bots_max() > COMPARED_BOTS_MAX {
            return Err(ConfigError::Conflict("this BOT_DIALECT allows at most 2000 bots: it compares each with all"));
        }
        Ok(())
    }

    /// Checks that the servers' URLs name one room or none, and that it is the only home.
    fn check_named_room(&self) -> Result<(), ConfigError> {
        let named = self.named_room();
        if self.server_urls().any(|url| room_in(url) != named) {
            return Err(ConfigError::Conflict("the URLs of BOT_SERVER_URL name different rooms"));
        }
        if named.is_some() && (self.rooms > 1 || self.find == Find::Room) {
            return Err(ConfigError::Conflict("BOT_SERVER_URL names a room: the bots cannot be in several"));
        }
        Ok(())
    }

    /// Reads the settings of a scenario file: lines as in `.env`.
    ///
    /// # Errors
    /// [`ConfigError::Scenario`] if the file or a line of it cannot be read.
    pub fn scenario_settings(path: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let settings = dotenv::read(Path::new(path)).map_err(|error| ConfigError::Scenario(error.to_string()))?;
        Ok(settings.into_iter().map(|Setting { variable, value }| (variable, value)).collect())
    }

    /// The configuration in the form of a `.env` file, one variable a line, with quotes where needed; secrets are
    /// hidden.
    pub fn to_env(&self) -> String {
        KNOBS.iter().map(|knob| dotenv::line(knob.variable, &knob.shown(self)) + "\n").collect()
    }
}

#[cfg(test)]
mod tests;
