//! `starling token NAME`: a token to try out a server that authenticates names.

use std::io::Write;

use anyhow::bail;
use clap::Args;
use starling_actors::identity::{BadPattern, check_pattern};
use starling_protocol::ClientId;

use crate::auth;
use crate::config::{AuthMode, Config};

/// The content of the token.
#[derive(Debug, Args)]
pub struct TokenCommand {
    /// The name of the client
    #[arg(value_parser = name_of_token)]
    name: ClientId,
    /// The rooms it may be in, like `lobby,dev-*`; without it all
    #[arg(long, value_delimiter = ',', value_parser = pattern_of_token)]
    rooms: Option<Vec<String>>,
    /// Lets it do what operators do
    #[arg(long)]
    admin: bool,
    /// For how long it is valid
    #[arg(long, default_value_t = 3_600, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=31_536_000))]
    seconds: u32,
}

fn name_of_token(text: &str) -> Result<ClientId, String> {
    let name = ClientId::parse(text).map_err(|error| error.to_string())?;
    if name.is_guest() { Err("only the server assigns guest names".to_owned()) } else { Ok(name) }
}

fn pattern_of_token(text: &str) -> Result<String, BadPattern> {
    check_pattern(text).map(|()| text.to_owned())
}

impl TokenCommand {
    /// Prints the token.
    ///
    /// # Errors
    /// This configuration has no secret to sign with.
    pub fn run(self, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
        if config.auth.value == AuthMode::Open {
            bail!("CHAT_AUTH=open uses no tokens; set CHAT_AUTH=jwt and CHAT_JWT_SECRET");
        }
        let Some(token) = auth::mint(config, &self.name, self.rooms, self.admin, self.seconds) else {
            bail!("CHAT_JWT_PUBLIC_KEY_FILE can verify tokens but not sign them: set CHAT_JWT_SECRET instead");
        };
        writeln!(out, "{}", token?)?;
        Ok(())
    }
}
