//! When paths were last used: a database of our own beside Nix's, because Nix's must hold nothing that Nix does not
//! know. It may be lost at any time; the collector then goes by the times of registration.

use crate::layout::Layout;
use rusqlite::Connection;
use std::collections::HashMap;
use std::path::Path;

/// Writes times of use, in microseconds since 1970, all at once.
pub(crate) fn record<'a>(layout: &Layout, times: impl Iterator<Item = (&'a str, i64)> + Clone) -> rusqlite::Result<()> {
    with(&layout.usage(), |connection| {
        let transaction = connection.transaction()?;
        {
            let mut upsert = transaction.prepare(
                "insert into Usage (path, time) values (?, ?) on conflict (path) do update set time = max(time, excluded.time)",
            )?;
            for (path, time) in times.clone() {
                upsert.execute((path, time))?;
            }
        }
        transaction.commit()
    })
}

/// The times of all paths, by base name.
pub(crate) fn load(layout: &Layout) -> rusqlite::Result<HashMap<String, i64>> {
    with(&layout.usage(), |connection| {
        let mut query = connection.prepare("select path, time from Usage")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    })
}

/// The latest time of all.
pub(crate) fn latest(layout: &Layout) -> rusqlite::Result<Option<i64>> {
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
            let _ = std::fs::remove_file(file);
            attempt()
        }
        result => result,
    }
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
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

        std::fs::write(layout.usage(), "not a database, though long enough to look like one".repeat(9)).unwrap();
        record(&layout, [("c", 7)].into_iter()).unwrap();
        assert_eq!(load(&layout).unwrap(), HashMap::from([("c".into(), 7)]));
    }
}
