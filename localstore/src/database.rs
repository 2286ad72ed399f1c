//! Which paths are valid and what each output came out as: Nix's own database (schema 10 with the tables of
//! realisations, Nix 2.34). Knows nothing of files.
//!
//! One connection writes, one transaction for each registration; others read, and in WAL mode neither waits for the
//! other. Commits are not synchronised to the disk one by one (`synchronous=NORMAL`): after a loss of power the last
//! registrations may be missing, and the database is intact.

use crate::layout::{self, Layout};
use nixstore::{DrvOutputId, PathInfo, Realisation, Sha256, StoreDir, StorePath};
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension as _, TransactionBehavior, params};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(120);

/// The database of one store.
pub struct Database {
    file: PathBuf,
    store_dir: StoreDir,
    journal: Journal,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    leaves_log: AtomicBool,
}

/// How SQLite keeps a transaction whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// Readers and the writer do not wait for each other. Needs memory that all processes share, so one machine.
    WriteAhead,
    /// For file systems that machines share.
    Truncate,
}

/// A path and what else is known of it, as the collector wants it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which path.
    pub path: StorePath,
    /// Size of its NAR.
    pub nar_size: u64,
    /// Seconds since 1970.
    pub registration_time: u64,
    /// Indices of the paths it refers to, without itself.
    pub references: Vec<usize>,
}

/// Sums over all valid paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// How many there are.
    pub paths: u64,
    /// What they take together, as NARs.
    pub nar_size: u64,
    /// When the newest was registered, in seconds since 1970.
    pub last_registration: Option<u64>,
}

impl Database {
    /// Opens the database of `layout`, and makes it if there is none.
    ///
    /// # Errors
    /// [`DatabaseError`] where SQLite or the file system refuses.
    pub fn open(layout: &Layout, store_dir: &StoreDir, journal: Journal) -> Result<Self, DatabaseError> {
        let file = layout.database();
        let fail = |source| DatabaseError { operation: format!("open the database `{}`", file.display()), source };
        // SQLite would not let a group write, whatever the file mode creation mask says; beside a file it makes others like that.
        let opened = File::options().append(true).create(true).open(&file).and_then(|file| file.metadata());
        // One that was lost knows of nothing any more, and what is made takes the place of the files that are there.
        let is_empty = opened.is_ok_and(|metadata| metadata.len() == 0); // else SQLite says why
        let connection = connect(&file, journal).map_err(fail)?;
        let schema = layout.database_directory().join("schema");
        if !schema.exists() || is_empty {
            // One statement list in one transaction: two processes may do this at the same time.
            let all = format!("begin immediate; {} commit;", include_str!("schema.sql"));
            connection.execute_batch(&all).map_err(fail)?;
            let write = |path: PathBuf, version: u32| layout::write_atomically(&path, version.to_string().as_bytes());
            write(layout.database_directory().join("ca-schema"), layout::CA_SCHEMA)
                .and_then(|()| write(schema, layout::SCHEMA))
                .map_err(|error| DatabaseError {
                    operation: format!("note the version of the database `{}`", file.display()),
                    source: rusqlite::Error::ToSqlConversionFailure(Box::new(error)),
                })?;
        } else if !layout.database_directory().join("ca-schema").exists() {
            let realisations: bool = connection
                .query_row("select count(*) from sqlite_master where name = 'Realisations'", [], |row| row.get(0))
                .map_err(fail)?;
            if !realisations {
                // Nix made it without the feature `ca-derivations`.
                let all = format!("begin immediate; {} commit;", include_str!("schema.sql"));
                connection.execute_batch(&all).map_err(fail)?;
            }
        }
        let (writer, readers) = (Mutex::new(connection), Mutex::default());
        let leaves_log = AtomicBool::new(false);
        Ok(Self { file, store_dir: store_dir.clone(), journal, writer, readers, leaves_log })
    }

    /// Leaves what is written in the write-ahead log while that is short, also when the last process closes the database, as it
    /// would be written twice, and the disk waited for, by each of many processes that run one after the other.
    pub fn leave_log(&self) {
        self.leaves_log.store(true, Ordering::Relaxed);
    }

    /// What is known of each path, in one view of the database; `None` where it is not valid.
    ///
    /// # Errors
    /// [`DatabaseError`] where the database cannot be read or holds what it should not.
    pub fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>, DatabaseError> {
        self.read("read path infos", |connection| {
            let mut infos = InfoQuery::new(connection, &self.store_dir)?;
            paths.iter().map(|path| infos.get(path)).collect()
        })
    }

    /// What each output came out as, in one view of the database. All that are given are of valid paths.
    ///
    /// # Errors
    /// As [`Database::path_infos`].
    pub fn realisations(&self, outputs: &[DrvOutputId]) -> Result<Vec<Option<Realisation>>, DatabaseError> {
        self.read("read realisations", |connection| {
            let mut query = connection.prepare_cached(
                "select path, signatures from Realisations join ValidPaths on ValidPaths.id = outputPath \
                 where drvPath = ? and outputName = ? order by Realisations.id desc limit 1",
            )?;
            let mut get = |id: &DrvOutputId| {
                let row = query.query_row(params![hash_text(&id.drv_hash), id.output.as_str()], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
                });
                let Some((path, signatures)) = row.optional()? else { return Ok(None) };
                Ok(Some(Realisation {
                    id: id.clone(),
                    path: self.store_dir.parse(&path).map_err(conversion)?,
                    signatures: words(signatures),
                    dependent: BTreeMap::new(),
                }))
            };
            outputs.iter().map(&mut get).collect()
        })
    }

    /// Compiles the statements of [`Database::register`], which takes longer than to run them.
    ///
    /// # Errors
    /// [`DatabaseError`] where that cannot be.
    pub fn prepare(&self) -> Result<(), DatabaseError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let prepare = |statement: &&str| writer.prepare_cached(statement).map(drop);
        REGISTER.iter().try_for_each(prepare).map_err(self.write_error())
    }

    /// Makes paths valid and records realisations, all or nothing. `placing` moves the files of each path that was not
    /// valid before to where they belong, while no other process can register.
    ///
    /// References are to valid paths or to others of `infos`. A path that is valid already stays as it is. A
    /// realisation takes the place of an older one of the same output.
    ///
    /// # Errors
    /// [`RegisterError`]; nothing is registered then, and `placing` has been told to undo.
    pub fn register<P: Placing>(
        &self,
        infos: &[&PathInfo],
        realisations: &[Realisation],
        placing: &mut P,
    ) -> Result<(), RegisterError<P::Error>> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.execute_batch("begin immediate").map_err(self.write_error())?;
        let result = self
            .insert(&writer, infos, realisations)
            .and_then(|added| added.iter().try_for_each(|info| placing.place(info).map_err(RegisterError::Place)))
            .and_then(|()| Ok(writer.execute_batch("commit").map_err(self.write_error())?));
        if result.is_err() {
            // Where SQLite itself has rolled back, as it does on a full disk, another process may have registered by
            // now: then the files stay, in nobody's way.
            let ours = !writer.is_autocommit()
                || writer.execute_batch("begin immediate").is_ok() && self.none_is_valid(&writer, infos);
            if ours {
                placing.undo();
            }
            // What is left to do is to end the transaction, if there is one; the cause is in `result`.
            let _ = writer.execute_batch("rollback");
        }
        result
    }

    /// Everything of a registration but its start and end. Gives the paths that were not valid before.
    fn insert<'i, E>(
        &self,
        connection: &Connection,
        infos: &[&'i PathInfo],
        realisations: &[Realisation],
    ) -> Result<Vec<&'i PathInfo>, RegisterError<E>> {
        let fail = self.write_error();
        let mut added: Vec<(i64, &PathInfo)> = Vec::with_capacity(infos.len());
        let mut insert = connection.prepare_cached(INSERT_PATH).map_err(&fail)?;
        for info in infos {
            let new = insert
                .execute(params![
                    self.store_dir.print(&info.path),
                    hash_text(&info.nar_hash),
                    info.registration_time as i64,
                    info.deriver.as_ref().map(|deriver| self.store_dir.print(deriver)),
                    (info.nar_size != 0).then_some(info.nar_size as i64),
                    info.ultimate.then_some(1),
                    (!info.signatures.is_empty()).then(|| join(&info.signatures)),
                    info.ca.as_ref().map(ToString::to_string),
                ])
                .map_err(&fail)?;
            if new == 1 {
                added.push((connection.last_insert_rowid(), info));
            }
        }
        let mut refer = connection.prepare_cached(INSERT_REFERENCE).map_err(&fail)?;
        for (id, info) in &added {
            for reference in &info.references {
                if refer.execute(params![id, self.store_dir.print(reference)]).map_err(&fail)? == 0 {
                    let (path, reference) = (info.path.clone(), reference.clone());
                    return Err(RegisterError::MissingReference { path, reference });
                }
            }
        }
        for realisation in realisations {
            self.record(connection, realisation).map_err(&fail)?;
        }
        Ok(added.into_iter().map(|(_, info)| info).collect())
    }

    fn none_is_valid(&self, connection: &Connection, infos: &[&PathInfo]) -> bool {
        let absent = |info: &&PathInfo| {
            let mut query = connection.prepare_cached("select 1 from ValidPaths where path = ?")?;
            query.exists([self.store_dir.print(&info.path)]).map(|exists| !exists)
        };
        infos.iter().all(|info| absent(info).unwrap_or(false))
    }

    fn write_error(&self) -> impl Fn(rusqlite::Error) -> DatabaseError {
        |source| DatabaseError { operation: format!("write `{}`", self.file.display()), source }
    }

    fn record(&self, connection: &Connection, realisation: &Realisation) -> rusqlite::Result<()> {
        let drv = hash_text(&realisation.id.drv_hash);
        let (output, path) = (realisation.id.output.as_str(), self.store_dir.print(&realisation.path));
        let signatures = join(&realisation.signatures);
        let mut find = connection.prepare_cached(FIND_REALISATION)?;
        let known: Vec<i64> = find.query_map([&drv, output], |row| row.get(0))?.collect::<Result<_, _>>()?;
        if known.is_empty() {
            let mut insert = connection.prepare_cached(INSERT_REALISATION)?;
            insert.execute(params![drv, output, path, signatures])?;
        }
        for id in known {
            connection.prepare_cached(UPDATE_REALISATION)?.execute(params![path, signatures, id])?;
        }
        Ok(())
    }

    /// Every valid path, with its references among them.
    ///
    /// # Errors
    /// As [`Database::path_infos`].
    pub fn all(&self) -> Result<Vec<Entry>, DatabaseError> {
        self.read("list the valid paths", |connection| {
            let mut entries = Vec::new();
            let mut by_id = BTreeMap::new();
            let mut query = connection.prepare("select id, path, narSize, registrationTime from ValidPaths")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                by_id.insert(row.get::<_, i64>(0)?, entries.len());
                entries.push(Entry {
                    path: self.store_dir.parse(row.get_ref(1)?.as_str()?).map_err(conversion)?,
                    nar_size: row.get::<_, Option<i64>>(2)?.unwrap_or(0) as u64,
                    registration_time: row.get::<_, i64>(3)? as u64,
                    references: Vec::new(),
                });
            }
            let mut query = connection.prepare("select referrer, reference from Refs where referrer <> reference")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let (referrer, reference) = (by_id.get(&row.get(0)?), by_id.get(&row.get(1)?));
                if let (Some(&referrer), Some(&reference)) = (referrer, reference) {
                    entries[referrer].references.push(reference);
                }
            }
            Ok(entries)
        })
    }

    /// The sums over all valid paths: one pass, without reading their names.
    ///
    /// # Errors
    /// As [`Database::path_infos`].
    pub fn totals(&self) -> Result<Totals, DatabaseError> {
        self.read("sum up the sizes", |connection| {
            let sums = "select count(*), total(narSize), max(registrationTime) from ValidPaths";
            connection.query_row(sums, [], |row| {
                Ok(Totals {
                    paths: row.get::<_, i64>(0)? as u64,
                    nar_size: row.get::<_, f64>(1)? as u64,
                    last_registration: row.get::<_, Option<i64>>(2)?.map(|time| time as u64),
                })
            })
        })
    }

    /// What the paths take together, as NARs, that were registered after the one with the number `after`; the number of
    /// the newest path; and how many these are. Numbers only grow and are not given twice.
    ///
    /// # Errors
    /// As [`Database::path_infos`].
    pub fn size_after(&self, after: i64) -> Result<(u64, i64, u64), DatabaseError> {
        self.read("sum up the sizes", |connection| {
            let sums = "select total(narSize), coalesce(max(id), ?1), count(*) from ValidPaths where id > ?1";
            connection.query_row(sums, [after], |row| {
                Ok((row.get::<_, f64>(0)? as u64, row.get(1)?, row.get::<_, i64>(2)? as u64))
            })
        })
    }

    /// Makes paths invalid, in the order given: none may have referrers left but itself. The realisations that gave
    /// them go too.
    ///
    /// # Errors
    /// [`DatabaseError`]; all are valid then as before.
    pub fn invalidate(&self, paths: &[StorePath]) -> Result<(), DatabaseError> {
        let fail = self.write_error();
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
        {
            let mut delete = transaction.prepare_cached("delete from ValidPaths where path = ?").map_err(&fail)?;
            for path in paths {
                delete.execute([self.store_dir.print(path)]).map_err(&fail)?;
            }
        }
        transaction.commit().map_err(fail)
    }

    /// Runs `query` in one read transaction, on a connection that nobody else uses meanwhile.
    fn read<T>(&self, what: &str, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DatabaseError> {
        let fail = |source| DatabaseError { operation: format!("{what} from `{}`", self.file.display()), source };
        let ask = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let result = query(&transaction)?;
            transaction.finish()?;
            Ok(result)
        };
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match (idle, self.writer.try_lock()) {
            (Some(connection), _) => connection,
            // Who is alone needs no second connection.
            (None, Ok(mut writer)) => return ask(&mut writer).map_err(fail),
            (None, Err(_)) => connect(&self.file, self.journal).map_err(fail)?,
        };
        let result = ask(&mut connection).map_err(fail)?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(result)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let log = self.file.with_extension("sqlite-wal");
        let is_short = || std::fs::metadata(log).is_ok_and(|log| log.len() < SHORT);
        if self.leaves_log.load(Ordering::Relaxed) && is_short() {
            let readers = self.readers.get_mut().unwrap_or_else(PoisonError::into_inner);
            let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
            for connection in readers.iter().chain([&*writer]) {
                // Else it is written now.
                let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            }
        }
    }
}

const INSERT_PATH: &str = "insert into ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca) \
                           values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (path) do nothing";
const INSERT_REFERENCE: &str = "insert into Refs (referrer, reference) select ?, id from ValidPaths where path = ?";
/// One update for all that these find would make a table for their ids each time.
const FIND_REALISATION: &str = "select id from Realisations where drvPath = ? and outputName = ?";
const UPDATE_REALISATION: &str = "update Realisations set outputPath = (select id from ValidPaths where path = ?), \
                                  signatures = ? where id = ?";
const INSERT_REALISATION: &str = "insert into Realisations (drvPath, outputName, outputPath, signatures) \
                                  values (?, ?, (select id from ValidPaths where path = ?), ?)";
const REGISTER: [&str; 4] = [INSERT_PATH, INSERT_REFERENCE, FIND_REALISATION, INSERT_REALISATION];

/// A log of fewer bytes is read again faster by whoever comes next than it is written into the database.
const SHORT: u64 = 256 * 1024;

fn connect(file: &std::path::Path, journal: Journal) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    // Otherwise a statement is compiled again for each value (SQLITE_ENABLE_STAT4).
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    // As Nix: a build of usual size ends with a single checkpoint, when the last connection is closed.
    connection
        .execute_batch("pragma foreign_keys = on; pragma synchronous = normal; pragma wal_autocheckpoint = 40000;")?;
    let wanted = match journal {
        Journal::WriteAhead => "wal",
        Journal::Truncate => "truncate",
    };
    let now: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if now != wanted {
        connection.pragma_update_and_check(None, "journal_mode", wanted, |row| row.get::<_, String>(0))?;
    }
    Ok(connection)
}

/// The statements that give all of a path info.
struct InfoQuery<'c> {
    store_dir: &'c StoreDir,
    info: CachedStatement<'c>,
    references: CachedStatement<'c>,
}

impl<'c> InfoQuery<'c> {
    fn new(connection: &'c Connection, store_dir: &'c StoreDir) -> rusqlite::Result<Self> {
        let info = connection.prepare_cached(
            "select id, hash, registrationTime, deriver, narSize, ultimate, sigs, ca from ValidPaths where path = ?",
        )?;
        let references =
            connection.prepare_cached("select path from Refs join ValidPaths on id = reference where referrer = ?")?;
        Ok(Self { store_dir, info, references })
    }

    fn get(&mut self, path: &StorePath) -> rusqlite::Result<Option<PathInfo>> {
        let row = self.info.query_row([self.store_dir.print(path)], |row| {
            let deriver: Option<String> = row.get(3)?;
            let ca: Option<String> = row.get(7)?;
            let info = PathInfo {
                path: path.clone(),
                nar_hash: read_hash(row.get_ref(1)?.as_str()?)?,
                nar_size: row.get::<_, Option<i64>>(4)?.unwrap_or(0) as u64,
                references: BTreeSet::new(),
                deriver: deriver.map(|path| self.store_dir.parse(&path).map_err(conversion)).transpose()?,
                ca: ca.map(|ca| ca.parse().map_err(conversion)).transpose()?,
                ultimate: row.get::<_, Option<i64>>(5)? == Some(1),
                signatures: words(row.get(6)?),
                registration_time: row.get::<_, i64>(2)? as u64,
            };
            Ok((row.get::<_, i64>(0)?, info))
        });
        let Some((id, mut info)) = row.optional()? else { return Ok(None) };
        let mut rows = self.references.query([id])?;
        while let Some(row) = rows.next()? {
            info.references.insert(self.store_dir.parse(row.get_ref(0)?.as_str()?).map_err(conversion)?);
        }
        Ok(Some(info))
    }
}

fn hash_text(hash: &Sha256) -> String {
    format!("sha256:{}", hash.hex())
}

fn read_hash(text: &str) -> rusqlite::Result<Sha256> {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    Sha256::from_hex(hex).map_err(conversion)
}

fn join(words: &BTreeSet<String>) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn words(text: Option<String>) -> BTreeSet<String> {
    text.unwrap_or_default().split_whitespace().map(String::from).collect()
}

fn conversion(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
}

/// What could not be done with the database.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}{}", advice(.source))]
pub struct DatabaseError {
    /// A phrase that follows "cannot".
    pub operation: String,
    /// What SQLite says.
    pub source: rusqlite::Error,
}

/// What to do about an error, where something can be done.
fn advice(error: &rusqlite::Error) -> &'static str {
    if is_damage(error) {
        "; it is damaged: `splitter store delete`, or `ccwrap -C` where the store is that of ccwrap, deletes what can be made again"
    } else {
        ""
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether an error, or what has caused it, is that a database is damaged.
pub fn is_damaged(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref::<rusqlite::Error>()).any(is_damage)
}

/// Moves files while paths are being registered.
pub trait Placing {
    /// Why it could not.
    type Error;

    /// Moves the files of a path that is about to become valid.
    ///
    /// # Errors
    /// Whatever is in the way; the registration is given up then.
    fn place(&mut self, info: &PathInfo) -> Result<(), Self::Error>;

    /// Moves back what was moved: the registration is given up.
    fn undo(&mut self);
}

/// Why nothing was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError<E> {
    /// The database refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A path refers to one that is not valid.
    #[error("`{path}` refers to `{reference}`, which is not in the store")]
    MissingReference {
        /// The path to be registered.
        path: StorePath,
        /// The path it names.
        reference: StorePath,
    },
    /// The files could not be moved.
    #[error("cannot put the files of a path in their place")]
    Place(#[source] E),
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixstore::ContentAddress;

    struct Fixture {
        directory: tempfile::TempDir,
        database: Database,
    }

    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).create().unwrap();
        let database = Database::open(&layout, &StoreDir::default(), Journal::WriteAhead).unwrap();
        Fixture { directory, database }
    }

    fn info(name: &str, references: &[&PathInfo]) -> PathInfo {
        let hash = Sha256::of(name);
        PathInfo {
            path: StorePath::new(hash.compress(), name.parse().unwrap()),
            nar_hash: hash,
            nar_size: 100,
            references: references.iter().map(|info| info.path.clone()).collect(),
            deriver: Some(StorePath::new([7; 20], format!("{name}.drv").parse().unwrap())),
            ca: Some(ContentAddress::nar(hash)),
            ultimate: true,
            signatures: ["a:x".into(), "b:y".into()].into(),
            registration_time: 1_700_000_000,
        }
    }

    fn realisation(drv: &str, output: &str, path: &PathInfo) -> Realisation {
        Realisation {
            id: DrvOutputId { drv_hash: Sha256::of(drv), output: output.parse().unwrap() },
            path: path.path.clone(),
            signatures: BTreeSet::new(),
            dependent: BTreeMap::new(),
        }
    }

    /// Notes which paths are placed, and refuses one of them.
    #[derive(Default)]
    struct Placed {
        paths: Vec<StorePath>,
        refused: Option<StorePath>,
    }

    impl Placing for Placed {
        type Error = std::io::Error;

        fn place(&mut self, info: &PathInfo) -> std::io::Result<()> {
            if self.refused.as_ref() == Some(&info.path) {
                return Err(std::io::Error::other("no space"));
            }
            self.paths.push(info.path.clone());
            Ok(())
        }

        fn undo(&mut self) {
            self.paths.clear();
        }
    }

    fn nothing() -> Placed {
        Placed::default()
    }

    #[test]
    fn what_is_registered_is_read_back_as_it_was() {
        let database = fixture();
        let a = info("a", &[]);
        let b = info("b", &[&a]);
        let mut of_itself = info("c", &[&a, &b]);
        of_itself.references.insert(of_itself.path.clone());
        of_itself.ca = None;
        of_itself.deriver = None;
        of_itself.ultimate = false;
        // The order among paths of one registration does not matter.
        database.database.register(&[&of_itself, &b, &a], &[realisation("d", "out", &b)], &mut nothing()).unwrap();

        let paths = [a.path.clone(), info("absent", &[]).path, b.path.clone(), of_itself.path.clone()];
        let read = database.database.path_infos(&paths).unwrap();
        assert_eq!(read, [Some(a), None, Some(b.clone()), Some(of_itself)]);
        let ids = [realisation("d", "out", &b).id, realisation("d", "dev", &b).id];
        assert_eq!(database.database.realisations(&ids).unwrap(), [Some(realisation("d", "out", &b)), None]);
    }

    #[test]
    fn a_path_with_a_reference_that_is_not_valid_registers_nothing() {
        let Fixture { directory: _here, database } = fixture();
        let (absent, a) = (info("absent", &[]), info("a", &[]));
        let b = info("b", &[&absent]);
        let error = database.register(&[&a, &b], &[], &mut nothing()).unwrap_err();
        assert!(matches!(error, RegisterError::MissingReference { .. }), "{error}");
        assert_eq!(database.path_infos(std::slice::from_ref(&a.path)).unwrap(), [None]);
    }

    #[test]
    fn a_path_whose_files_cannot_be_placed_takes_the_others_with_it() {
        let Fixture { directory: _here, database } = fixture();
        let (a, b) = (info("a", &[]), info("b", &[]));
        let mut placed = Placed { refused: Some(b.path.clone()), ..Placed::default() };
        let error = database.register(&[&a, &b], &[], &mut placed);
        assert!(matches!(error, Err(RegisterError::Place(_))));
        assert_eq!(placed.paths, []);
        assert_eq!(database.path_infos(&[a.path, b.path]).unwrap(), [None, None]);
    }

    #[test]
    fn only_paths_that_were_not_valid_are_placed() {
        let Fixture { directory: _here, database } = fixture();
        let (a, b) = (info("a", &[]), info("b", &[]));
        database.register(&[&a], &[], &mut nothing()).unwrap();
        let mut placed = nothing();
        database.register(&[&a, &b], &[], &mut placed).unwrap();
        assert_eq!(placed.paths, [b.path]);
    }

    #[test]
    fn the_last_realisation_of_an_output_counts() {
        let Fixture { directory: _here, database } = fixture();
        let (a, b) = (info("a", &[]), info("b", &[]));
        database.register(&[&a], &[realisation("d", "out", &a)], &mut nothing()).unwrap();
        database.register(&[&b], &[realisation("d", "out", &b)], &mut nothing()).unwrap();
        let id = realisation("d", "out", &a).id;
        assert_eq!(database.realisations(&[id]).unwrap()[0].as_ref().unwrap().path, b.path);
    }

    #[test]
    fn a_realisation_goes_with_its_path() {
        let Fixture { directory: _here, database } = fixture();
        let mut a = info("a", &[]);
        a.references.insert(a.path.clone());
        database.register(&[&a], &[realisation("d", "out", &a)], &mut nothing()).unwrap();
        database.invalidate(std::slice::from_ref(&a.path)).unwrap();
        assert_eq!(database.realisations(&[realisation("d", "out", &a).id]).unwrap(), [None]);
    }

    #[test]
    fn a_path_with_referrers_cannot_be_made_invalid() {
        let Fixture { directory: _here, database } = fixture();
        let a = info("a", &[]);
        let b = info("b", &[&a]);
        database.register(&[&a, &b], &[], &mut nothing()).unwrap();
        assert!(database.invalidate(std::slice::from_ref(&a.path)).is_err());
        assert!(database.path_infos(std::slice::from_ref(&a.path)).unwrap()[0].is_some());
        database.invalidate(&[b.path, a.path]).unwrap();
    }

    #[test]
    fn a_log_that_was_left_is_read_by_the_next_and_stays_short() {
        let Fixture { directory, database } = fixture();
        let layout = Layout::new(directory.path());
        drop(database);
        let log = layout.database().with_extension("sqlite-wal");
        let log_size = || std::fs::metadata(&log).map_or(0, |log| log.len());
        assert_eq!(log_size(), 0);
        let mut left = Vec::new();
        for number in 0..100 {
            let database = Database::open(&layout, &StoreDir::default(), Journal::WriteAhead).unwrap();
            database.leave_log();
            let info = info(&format!("p{number}"), &[]);
            database.register(&[&info], &[], &mut nothing()).unwrap();
            drop(database);
            left.push(log_size());
        }
        assert!(left.iter().any(|size| *size > 0) && left.iter().all(|size| *size < SHORT), "{left:?}");
        let database = Database::open(&layout, &StoreDir::default(), Journal::WriteAhead).unwrap();
        assert_eq!(database.totals().unwrap().paths, 100);
        drop(database);
        assert_eq!(log_size(), 0);
    }
}
