//! The `splitter` command: reads the command line, chooses the store, and says what came of it.

mod store;
mod time;

use clap::{Parser, Subcommand};
use nixstore::causes::causes;
use std::ffi::OsString;
use std::process::ExitCode;

/// Looks after the store that inner builds share.
#[derive(Debug, Parser)]
#[command(name = "splitter", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
    /// The store: `auto`, `local?root=DIR` for the embedded store in DIR, or DIR itself; `daemon`, `unix://SOCKET` or
    /// `ssh-ng://HOST` for a Nix daemon.
    #[arg(long, value_name = "URL", env = "SPLITTER_STORE", default_value = "auto", global = true)]
    store: OsString,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The store as a whole.
    #[command(subcommand)]
    Store(store::Command),
}

/// Any error, with what caused it.
type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("splitter: {error}");
            for cause in causes(&*error) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, Error> {
    let store = localstore::store_of(&options.store, |name| std::env::var_os(name), &std::env::current_dir()?)?;
    match &options.command {
        Command::Store(command) => store::run(command, &store),
    }
}
