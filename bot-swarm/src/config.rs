//! Every knob of the swarm: the environment (and `.env`), or flags of the same names.
//!
//! Defaults < `.env` < environment < flags. Checked once, then immutable.

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

/// What every variable of the swarm begins with.
pub const PREFIX: &str = "BOT_";

/// What the URL of a server begins with that speaks TLS.
const WSS: &str = "wss://";

/// What stands for the prefix of the bots' names in the folder of a report.
const NAME_IN_REPORT: &str = "{name}";

/// Most bots that are held each against each, because the server numbers nothing.
const COMPARED_BOTS_MAX: u32 = 2_000;

/// The variable that names a file with settings.
pub const SCENARIO: &str = "BOT_SCENARIO";

impl Config {
    /// Reads a configuration from settings, pairs of variable and value; of two for one variable the later counts.
    /// Variables that do not begin with [`PREFIX`] are not the swarm's.
    ///
    /// # Errors
    /// [`ConfigError`] for the first setting that is wrong.
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

    /// Puts the prefix of the bots' names into the folder of the report: many containers may have one volume.
    fn name_report(&mut self) {
        if let Some(folder) = &self.report {
            self.report = Some(folder.to_string_lossy().replace(NAME_IN_REPORT, &self.name_prefix).into());
        }
    }

    /// Whether the settings go together.
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
            return Err(ConfigError::Conflict("private bots need a name each, and BOT_TOKEN has one for all"));
        }
        if self.dialect == Dialect::Starling {
            return Ok(());
        }
        let has = |behaviour| self.behaviours.has(behaviour);
        if self.rooms > 1 || has(BehaviourKind::Private) || has(BehaviourKind::Hopper) {
            return Err(ConfigError::Conflict("a BOT_DIALECT other than starling has one room, and nothing private"));
        }
        if self.dialect.compares_all() && self.profile().bots_max() > COMPARED_BOTS_MAX {
            return Err(ConfigError::Conflict("this BOT_DIALECT takes at most 2000 bots: each is held against each"));
        }
        Ok(())
    }

    /// Reads the settings of a scenario: lines as in `.env`.
    ///
    /// # Errors
    /// [`ConfigError::Scenario`] where the file cannot be read, or a line of it.
    pub fn scenario_settings(path: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let settings = dotenv::read(Path::new(path)).map_err(|error| ConfigError::Scenario(error.to_string()))?;
        Ok(settings.into_iter().map(|Setting { variable, value }| (variable, value)).collect())
    }

    /// The configuration as a `.env` holds it, one variable a line, values quoted where they must be; secrets are not shown.
    pub fn to_env(&self) -> String {
        KNOBS.iter().map(|knob| dotenv::line(knob.variable, &knob.shown(self)) + "\n").collect()
    }
}

#[cfg(test)]
mod tests;
