//! When paths were last used: a database of our own beside Nix's, because Nix's must hold nothing that Nix does not
//! know. It may be lost at any time; the collector then goes by the times of registration.

use crate::layout::Layout;
use rusqlite::Connection;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// So many times at once are worth opening the database for.
const MANY: usize = 512;

/// A list of more bytes is taken into the database by whoever adds to it.
const LONG: u64 = 1 << 20;

/// Writes times of use, in microseconds since 1970, all at once. Few go to a list beside the database, which is taken into that
/// when somebody asks.
pub(crate) fn record<'a>(layout: &Layout, times: impl Iterator<Item = (&'a str, i64)> + Clone) -> rusqlite::Result<()> {
    if times.clone().nth(MANY).is_none() {
        let lines: String = times.clone().map(|(path, time)| format!("{path} {time}\n")).collect();
        let list = File::options().append(true).create(true).open(list(layout));
        let added = list.and_then(|mut list| list.write_all(lines.as_bytes()).and_then(|()| list.metadata()));
        match added {
            Ok(list) if list.len() > LONG => return take_in(layout),
            Ok(_) => return Ok(()),
            Err(_) => {} // the database may be written
        }
    }
    with(&layout.usage(), |connection| upsert(connection, times.clone()))
}

fn upsert<'a>(connection: &mut Connection, times: impl Iterator<Item = (&'a str, i64)>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut upsert = transaction.prepare(
            "insert into Usage (path, time) values (?, ?) on conflict (path) do update set time = max(time, excluded.time)",
        )?;
        for (path, time) in times {
            upsert.execute((path, time))?;
        }
    }
    transaction.commit()
}

fn list(layout: &Layout) -> PathBuf {
    layout.usage().with_extension("list")
}

/// Takes the list into the database.
fn take_in(layout: &Layout) -> rusqlite::Result<()> {
    let taken = layout.usage().with_extension(std::process::id().to_string());
    if fs::rename(list(layout), &taken).is_err() {
        return Ok(()); // there is none
    }
    let text = fs::read_to_string(&taken).unwrap_or_default();
    let times = || {
        text.lines().filter_map(|line| line.split_once(' ').and_then(|(path, time)| Some((path, time.parse().ok()?))))
    };
    with(&layout.usage(), |connection| upsert(connection, times()))?;
    fs::remove_file(taken).ok(); // only times are in it
    Ok(())
}

/// The times of all paths, by base name.
pub(crate) fn load(layout: &Layout) -> rusqlite::Result<HashMap<String, i64>> {
    take_in(layout)?;
    with(&layout.usage(), |connection| {
        let mut query = connection.prepare("select path, time from Usage")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    })
}

/// The latest time of all.
pub(crate) fn latest(layout: &Layout) -> rusqlite::Result<Option<i64>> {
    take_in(layout)?;
    with(&layout.usage(), |connection| connection.query_row("select max(time) from Usage", [], |row| row.get(0)))
}

/// Forgets paths.
pub(crate) fn forget<'a>(layout: &Layout, paths: impl Iterator<Item = &'a str> + Clone) -> rusqlite::Result<()> {
    with(&layout.usage(), |connection| {
        let transaction = connection.transaction()?;
        {
            let mut delete = transaction.prepare("delete from Usage where path = ?")?;
            for path in paths.clone() {
                delete.execute([path])?;
            }
        }
        transaction.commit()
    })
}

/// Runs `f` on the database; on an empty one where the file is damaged.
fn with<T>(file: &Path, mut f: impl FnMut(&mut Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let mut attempt = || f(&mut open(file)?);
    match attempt() {
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
            ) =>
        {
            // If it cannot be deleted, the second attempt says so.
            let _ = fs::remove_file(file);
            attempt()
        }
        result => result,
    }
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    File::options().append(true).create(true).open(file).ok(); // as that of the paths; SQLite says why it cannot be
    let connection = Connection::open(file)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    // Not worth waiting for the disk: a damaged file is replaced by an empty one.
    connection.pragma_update(None, "synchronous", "off")?;
    connection.execute_batch(
        "create table if not exists Usage (path text primary key not null, time integer not null) without rowid",
    )?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).create().unwrap();
        record(&layout, [("a", 5), ("b", 6), ("a", 4)].into_iter()).unwrap();
        assert_eq!(load(&layout).unwrap(), HashMap::from([("a".into(), 5), ("b".into(), 6)]));
        assert_eq!(latest(&layout).unwrap(), Some(6));

        fs::write(layout.usage(), "not a database, though long enough to look like one".repeat(9)).unwrap();
        record(&layout, [("c", 7)].into_iter()).unwrap();
        assert_eq!(load(&layout).unwrap(), HashMap::from([("c".into(), 7)]));
    }
}
