//! `-t rules`: the rules of the main manifest.
#![deny(clippy::disallowed_methods)]

use super::arguments::Options;
use super::{Context, Stop};
use std::io::Write;

const OPTIONS: Options = Options {
    tool: "rules",
    letters: "hd",
    long: &[],
    usage: "usage: ninja -t rules [options]\n\noptions:\n  -d     also print the description of the rule\n  -h     print \
            this message\n",
};

pub fn rules(context: &Context<'_>, out: &mut dyn Write) -> Result<(), Stop> {
    let given = OPTIONS.read(context.arguments)?;
    for (name, description) in context.manifest.rules() {
        match description.filter(|_| given.has('d')) {
            Some(description) => writeln!(out, "{name}: {description}")?,
            None => writeln!(out, "{name}")?,
        }
    }
    Ok(())
}
