//! What steps have read and what came of them, of all builds of one user: an SQLite database. It may be lost at any time at
//! no cost but time.
//!
//! Both are looked up by what the command does, with the roots at their canonical places, so that every checkout finds
//! them. A lesson holds if every file that was read has the same content, and what was absent is absent; a realisation
//! holds for its derivation, in every store that has the outputs.

use crate::discover::Found;
use bstr::BString;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

/// What one run of a step taught.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lesson {
    /// What it read, roots at their canonical places.
    pub found: Found,
    /// The content of each of [`Found::files`], as a store path.
    pub contents: BTreeMap<BString, String>,
    /// Whether its outputs, made at the canonical root, hold that; none if nobody has looked.
    pub holds_root: Option<bool>,
}

/// What a derivation has come out as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realisation {
    /// Its store path.
    pub derivation: String,
    /// The store path of each output, by the output's name.
    pub outputs: BTreeMap<String, String>,
}

/// What the history keeps of a command: the newest few of each.
pub trait Fact: Serialize + DeserializeOwned {
    /// The table of the database.
    const TABLE: &'static str;
}

impl Fact for Lesson {
    const TABLE: &'static str = "lesson";
}

impl Fact for Realisation {
    const TABLE: &'static str = "realisation";
}

/// A fact that is to be written.
struct Pending {
    table: &'static str,
    command: [u8; 32],
    fact: Vec<u8>,
}

/// The history of one user. All threads share one.
pub struct History {
    file: PathBuf,
    connection: Mutex<Connection>,
    pending: Mutex<Vec<Pending>>,
    /// What went wrong first: from then on nothing is known and nothing learnt.
    problem: Mutex<Option<HistoryError>>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Its directory cannot be made.
    #[error("cannot make the directory of the history")]
    Directory(#[from] io::Error),
    /// SQLite's error.
    #[error("cannot use the history")]
    Database(#[from] rusqlite::Error),
}

impl HistoryError {
    /// Whether the file is spoilt, and not only out of reach.
    fn is_spoilt(&self) -> bool {
        matches!(self, Self::Database(error) if is_spoilt(error))
    }
}

fn is_spoilt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// The layout of the file, and by which rules its lessons were found; another version is thrown away.
const VERSION: i32 = 8;

/// The tables.
const TABLES: [&str; 2] = [Lesson::TABLE, Realisation::TABLE];

/// How many facts of one kind are kept of one command, and of all.
const OF_ONE: i64 = 8;
const OF_ALL: i64 = 200_000;

/// How many facts wait before they are written.
const BATCH: usize = 64;

impl History {
    /// Opens the file, new where there is none. One that is spoilt is removed first, and `tell` gets what was wrong; one
    /// of another version is emptied.
    ///
    /// # Errors
    /// [`HistoryError`]; the file is as it was.
    pub fn open(file: &Path, tell: &mut dyn FnMut(rusqlite::Error)) -> Result<Self, HistoryError> {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        let connection = Self::try_open(file).or_else(|error| {
            if !is_spoilt(&error) {
                return Err(error); // such as a full disk: what it holds is good
            }
            remove(file);
            tell(error);
            Self::try_open(file)
        })?;
        let (connection, pending, problem) = (Mutex::new(connection), Mutex::default(), Mutex::default());
        Ok(Self { file: file.into(), connection, pending, problem })
    }

    fn try_open(file: &Path) -> rusqlite::Result<Connection> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        // Otherwise a statement is compiled again for each value (SQLITE_ENABLE_STAT4).
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // A crash of the machine may lose the newest facts, which is no loss.
        connection.pragma_update(None, "synchronous", "off")?;
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        for table in TABLES {
            if version != VERSION {
                connection.execute_batch(&format!("drop table if exists {table}"))?;
            }
            connection.execute_batch(&format!(
                "create table if not exists {table} (id integer primary key autoincrement, command blob not null, \
                 fact blob not null); create index if not exists {table}_of_command on {table} (command, id)",
            ))?;
        }
        connection.pragma_update(None, "user_version", VERSION)?;
        Ok(connection)
    }

    /// What is known of a command, the newest first; nothing where the file cannot be read, which [`History::save`] tells.
    pub fn known<F: Fact>(&self, command: &[u8; 32]) -> Vec<F> {
        if self.is_out_of_use() {
            return Vec::new();
        }
        self.try_known(command).unwrap_or_else(|error| {
            self.note(error);
            Vec::new()
        })
    }

    fn try_known<F: Fact>(&self, command: &[u8; 32]) -> Result<Vec<F>, HistoryError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let query = format!("select fact from {} where command = ? order by id desc limit ?", F::TABLE);
        let mut query = connection.prepare_cached(&query)?;
        let rows = query.query_map(params![command, OF_ONE], |row| row.get::<_, Vec<u8>>(0))?;
        let bytes: Vec<Vec<u8>> = rows.collect::<rusqlite::Result<_>>()?;
        Ok(bytes.iter().filter_map(|bytes| postcard::from_bytes(bytes).ok()).collect())
    }

    /// Adds what was learnt of a command; it is written by and by, at the latest by [`History::save`].
    pub fn learn<F: Fact>(&self, command: [u8; 32], fact: &F) {
        if self.is_out_of_use() {
            return;
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let fact = postcard::to_stdvec(fact).expect("a fact is plain data");
        pending.push(Pending { table: F::TABLE, command, fact });
        if pending.len() < BATCH {
            return;
        }
        let batch = std::mem::take(&mut *pending);
        drop(pending);
        self.write(&batch).unwrap_or_else(|error| self.note(error));
    }

    /// Writes what waits. A file that was found to be spoilt is removed: the next run begins a new one.
    ///
    /// # Errors
    /// What went wrong first since the history was opened, at no cost but time.
    pub fn save(&self) -> Result<(), HistoryError> {
        let batch = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.is_out_of_use() {
            self.write(&batch).unwrap_or_else(|error| self.note(error));
        }
        match self.problem.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(error) => {
                if error.is_spoilt() {
                    remove(&self.file);
                }
                Err(error)
            }
        }
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn is_out_of_use(&self) -> bool {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn note(&self, error: HistoryError) {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn write(&self, batch: &[Pending]) -> Result<(), HistoryError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for table in TABLES {
            let prepare = |statement: String| transaction.prepare_cached(&statement);
            let mut same = prepare(format!("delete from {table} where command = ? and fact = ?"))?;
            let mut insert = prepare(format!("insert into {table} (command, fact) values (?, ?)"))?;
            let mut oldest =
                prepare(format!("select id from {table} where command = ? order by id desc limit 1 offset ?"))?;
            let mut forget = prepare(format!("delete from {table} where command = ? and id <= ?"))?;
            for Pending { command, fact, .. } in batch.iter().filter(|pending| pending.table == table) {
                same.execute(params![command, fact])?;
                insert.execute(params![command, fact])?;
                let old = oldest.query_row(params![command, OF_ONE], |row| row.get::<_, i64>(0)).optional()?;
                if let Some(old) = old {
                    forget.execute(params![command, old])?;
                }
            }
            let excess = format!("delete from {table} where id <= (select max(id) from {table}) - ?");
            transaction.execute(&excess, params![OF_ALL])?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Removes a history, with what SQLite keeps beside it.
fn remove(file: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        fs::remove_file(name).ok(); // it may not be there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(text: &str) -> Lesson {
        let files = [BString::from("/build/source/a.c")];
        Lesson {
            found: Found { files: files.clone().into(), ..Found::default() },
            contents: files.map(|file| (file, text.into())).into(),
            holds_root: None,
        }
    }

    #[test]
    fn the_newest_lessons_of_a_command_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory.path().join("state/history"));
        for i in 0..20 {
            history.learn([1; 32], &lesson(&i.to_string()));
        }
        history.learn([1; 32], &lesson("15"));
        history.save().unwrap();
        drop(history);
        let history = open(&directory.path().join("state/history"));
        let contents = |lesson: &Lesson| lesson.contents.values().next().unwrap().clone();
        let known: Vec<String> = history.known::<Lesson>(&[1; 32]).iter().map(contents).collect();
        assert_eq!(known, ["15", "19", "18", "17", "16", "14", "13", "12"]);
        assert_eq!(history.known::<Lesson>(&[2; 32]), []);
    }

    /// A good one.
    fn open(file: &Path) -> History {
        History::open(file, &mut |error| panic!("{error}")).unwrap()
    }

    #[test]
    fn a_spoilt_file_is_told_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("history");
        fs::write(&file, vec![7; 8192]).unwrap();
        let mut told = 0;
        let history = History::open(&file, &mut |_| told += 1).unwrap();
        assert_eq!(told, 1);
        history.learn([1; 32], &lesson("1"));
        history.save().unwrap();
        assert_eq!(history.known::<Lesson>(&[1; 32]).len(), 1);
    }

    #[test]
    fn a_file_that_is_spoilt_behind_its_head_is_told_once_and_then_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("history");
        let history = open(&file);
        history.learn([1; 32], &lesson("1"));
        history.save().unwrap();
        drop(history);
        let mut bytes = fs::read(&file).unwrap();
        bytes[4096..].fill(7);
        fs::write(&file, bytes).unwrap();

        let history = open(&file);
        assert_eq!(history.known::<Lesson>(&[1; 32]), []);
        history.learn([1; 32], &lesson("2"));
        history.save().unwrap_err();
        drop(history);
        let history = open(&file);
        history.learn([1; 32], &lesson("3"));
        history.save().unwrap();
        assert_eq!(history.known::<Lesson>(&[1; 32]), [lesson("3")]);
    }

    #[test]
    fn a_file_that_is_only_out_of_reach_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("history");
        fs::create_dir(&file).unwrap();
        assert!(History::open(&file, &mut |error| panic!("{error}")).is_err());
        assert!(file.exists());
    }
}
