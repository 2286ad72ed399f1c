//! Users and groups of this machine, made for a test by who is root, and gone with it.

use std::process::Command;

/// A user without a home, with a group of the same name.
pub struct User {
    name: String,
}

/// A group.
pub struct Group {
    name: String,
}

fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(output.stdout) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A name that nobody else has.
fn name(which: &str) -> Result<String, String> {
    if run(Command::new("id").arg("-u"))? != b"0\n" {
        return Err("only root can make another user".into());
    }
    Ok(format!("splitter{}{which}", std::process::id()))
}

impl User {
    /// A new one; `which` tells those of one test apart.
    ///
    /// # Errors
    /// Why there can be none here.
    pub fn new(which: &str) -> Result<Self, String> {
        let name = name(which)?;
        run(Command::new("useradd").args(["--no-create-home", "--user-group", &name]))?;
        Ok(Self { name })
    }

    /// As the machine knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command of this user, who is in some more groups, with hardly any environment.
    pub fn command(&self, groups: &[&Group], words: &[&str]) -> Command {
        let names: Vec<&str> = groups.iter().map(|group| group.name()).collect();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &self.name, "--regid", &self.name]);
        match names.is_empty() {
            true => command.arg("--clear-groups"),
            false => command.args(["--groups", &names.join(",")]),
        };
        command.args(words).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        Command::new("userdel").arg(&self.name).output().ok(); // the machine keeps a user too many
    }
}

impl Group {
    /// A new one.
    ///
    /// # Errors
    /// Why there can be none here.
    pub fn new(which: &str) -> Result<Self, String> {
        let name = name(which)?;
        run(Command::new("groupadd").arg(&name))?;
        Ok(Self { name })
    }

    /// As the machine knows it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        Command::new("groupdel").arg(&self.name).output().ok(); // the machine keeps a group too many
    }
}
