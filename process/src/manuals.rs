//! Man pages and shell completions of a program, made from its command line.

use std::path::PathBuf;
use std::{fs, io};

use clap::{Args, Command};
use clap_complete::Shell;

/// The shells that completions are made for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

/// Writes the man pages and the shell completions of this program into a folder.
#[derive(Debug, PartialEq, Eq, Args)]
pub struct ManualsCommand {
    /// The folder for `man` and `completions`; it is created, and existing files are replaced
    folder: PathBuf,
}

impl ManualsCommand {
    /// Writes the man pages of this program and of each of its commands into `man`, and its completions into
    /// `completions`.
    ///
    /// # Errors
    /// A folder or a file cannot be written.
    pub fn write(&self, program: Command) -> io::Result<()> {
        let mut program = program.disable_help_subcommand(true);
        let (pages, completions) = (self.folder.join("man"), self.folder.join("completions"));
        fs::create_dir_all(&pages)?;
        fs::create_dir_all(&completions)?;
        let name = program.get_name().to_owned();
        for shell in SHELLS {
            clap_complete::generate_to(shell, &mut program, &name, &completions)?;
        }
        clap_mangen::generate_to(program, &pages)
    }
}
