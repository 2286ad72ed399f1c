//! What dpkg knows: which packages are installed, what each needs, and which package owns a path.
//!
//! The texts are parsed by pure functions; [`Dpkg::load`] is the one that reads the disk. Formats: deb-control(5),
//! dpkg-divert(1), update-alternatives(1). Decides nothing about what a command needs.

use bstr::{BStr, ByteSlice as _};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An installed package: `name:architecture`, so that two architectures of one library are two packages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId(Arc<str>);

impl PackageId {
    /// The id of `name` for `architecture`, which may be `all`.
    pub fn new(name: &str, architecture: &str) -> Self {
        Self(format!("{name}:{architecture}").into())
    }

    /// The id as [`PackageId`]'s `Display` wrote it.
    pub fn parse(text: &str) -> Self {
        Self(text.into())
    }

    /// Without the architecture.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(name, _)| name)
    }

    /// `amd64`, `all`, …
    pub fn architecture(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, architecture)| architecture)
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `/var/lib/dpkg/status` says of one installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Which.
    pub id: PackageId,
    /// With epoch and revision.
    pub version: String,
    /// `Depends` and `Pre-Depends`: each clause is a list of alternatives.
    pub depends: Vec<Vec<Relation>>,
    /// The names of `Provides`, without versions.
    pub provides: Vec<String>,
    /// `Essential: yes`: other packages need it without saying so.
    pub essential: bool,
}

/// One alternative of a dependency. The version it asks for is not kept: dpkg has seen to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package's name, or a virtual one.
    pub name: String,
    /// `amd64` of `libc6:amd64`; `any` counts as none.
    pub architecture: Option<String>,
}

/// `by` has moved everybody else's `from` to `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion {
    /// The path as packages list it.
    pub from: PathBuf,
    /// Where the file is instead.
    pub to: PathBuf,
    /// The package whose own file stays at `from`; `:` stands for none.
    pub by: String,
}

/// Packages that others depend on for their maintainer scripts only, when they are installed. A dependency does not
/// draw them in; a command that names a program of theirs does.
///
/// `dpkg` alone would bring `tar`, `libselinux1` and four compression libraries into every snapshot.
pub const MAINTAINER_SCRIPT_PACKAGES: &[&str] = &[
    "adduser",
    "base-passwd",
    "debconf",
    "dpkg",
    "init-system-helpers",
    "install-info",
    "ucf",
    "usr-is-merged",
    "usrmerge",
];

/// Essential packages that give no command a build script would take for granted.
const ESSENTIAL_WITHOUT_TOOLS: &[&str] = &[
    "base-files",
    "base-passwd",
    "dpkg",
    "init-system-helpers",
    "login",
    "mount",
    "ncurses-base",
    "sysvinit-utils",
    "util-linux",
];

/// The installed packages.
#[derive(Debug, Default)]
pub struct Dpkg {
    packages: BTreeMap<PackageId, Package>,
    by_name: HashMap<String, Vec<PackageId>>,
    providers: HashMap<String, Vec<PackageId>>,
    native: String,
    /// The text of each package's list of paths.
    lists: HashMap<PackageId, Vec<u8>>,
    diversions: Vec<Diversion>,
    /// From canonical path to package; directories too, where they name one of their packages.
    owners: HashMap<Box<[u8]>, u32>,
    order: Vec<PackageId>,
    merged: Merged,
}

impl Dpkg {
    /// Reads the database below `admin`, usually `/var/lib/dpkg`. Where it does not exist nothing is installed: not a
    /// dpkg system.
    ///
    /// # Errors
    /// [`DpkgError`] where a file of it cannot be read.
    pub fn load(admin: &Path, merged: &Merged) -> Result<Self, DpkgError> {
        let Some(status) = read_if_there(&admin.join("status"))? else {
            return Ok(Self { merged: merged.clone(), ..Self::default() });
        };
        let diversions = read_if_there(&admin.join("diversions"))?.unwrap_or_default();
        let packages = parse_status(&status);
        let info = admin.join("info");
        let mut lists = HashMap::new();
        for package in &packages {
            // `Multi-Arch: same` packages have the architecture in the file's name (dpkg 1.16, pkg_infodb_get_file).
            for name in [format!("{}.list", package.id), format!("{}.list", package.id.name())] {
                if let Some(text) = read_if_there(&info.join(name))? {
                    lists.insert(package.id.clone(), text);
                    break;
                }
            }
        }
        Ok(Self::new(packages, lists, parse_diversions(&diversions), merged))
    }

    /// From parsed parts. `lists` are the texts of the `.list` files.
    pub fn new(
        packages: Vec<Package>,
        lists: HashMap<PackageId, Vec<u8>>,
        diversions: Vec<Diversion>,
        merged: &Merged,
    ) -> Self {
        // dpkg is always installed for the native architecture.
        let native = packages.iter().find(|p| p.id.name() == "dpkg").map(|p| p.id.architecture().to_owned());
        let mut dpkg =
            Self { native: native.unwrap_or_default(), merged: merged.clone(), diversions, ..Self::default() };
        for package in packages {
            dpkg.by_name.entry(package.id.name().to_owned()).or_default().push(package.id.clone());
            for name in &package.provides {
                dpkg.providers.entry(name.clone()).or_default().push(package.id.clone());
            }
            dpkg.packages.insert(package.id.clone(), package);
        }
        dpkg.order = dpkg.packages.keys().cloned().collect();
        // Files that two architectures share belong to the native one: it is last to be entered.
        dpkg.order.sort_by_key(|id| (id.architecture() == dpkg.native, id.clone()));
        dpkg.lists = lists;
        let lines: usize = dpkg.lists.values().map(|text| text.len() / 60).sum();
        let mut owners = HashMap::with_capacity(lines);
        for (number, id) in dpkg.order.iter().enumerate() {
            for path in dpkg.raw_files(id) {
                owners.insert(path.into_boxed_slice(), u32::try_from(number).expect("fewer than 2^32 packages"));
            }
        }
        dpkg.owners = owners;
        dpkg
    }

    /// True where nothing is known to be installed.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// The package that owns the file at `path`, whose directory part has no symlinks but those of a merged `/usr`.
    /// Meaningless for directories, which many packages share.
    pub fn owner(&self, path: &Path) -> Option<&PackageId> {
        let number = self.owners.get(self.merged.canonical(path.as_os_str().as_bytes()).as_slice())?;
        Some(&self.order[*number as usize])
    }

    /// What is known of a package.
    pub fn package(&self, id: &PackageId) -> Option<&Package> {
        self.packages.get(id)
    }

    /// Every path of a package, canonical and where diversions have put it, directories included.
    pub fn files(&self, id: &PackageId) -> Vec<PathBuf> {
        self.raw_files(id).map(|path| PathBuf::from(std::ffi::OsString::from_vec(path))).collect()
    }

    /// The packages and all that they depend on, by `Depends` and `Pre-Depends`: never by `Recommends`, and without
    /// [`MAINTAINER_SCRIPT_PACKAGES`] that are not asked for. Of alternatives every installed one is taken; a virtual
    /// name stands for its installed providers.
    pub fn closure(&self, packages: &BTreeSet<PackageId>) -> BTreeSet<PackageId> {
        let mut reached = packages.clone();
        let mut rest: Vec<&Package> = packages.iter().filter_map(|id| self.packages.get(id)).collect();
        while let Some(package) = rest.pop() {
            for relation in package.depends.iter().flatten() {
                if MAINTAINER_SCRIPT_PACKAGES.contains(&relation.name.as_str()) {
                    continue;
                }
                for id in self.satisfying(relation, package.id.architecture()) {
                    if reached.insert(id.clone()) {
                        rest.extend(self.packages.get(id));
                    }
                }
            }
        }
        reached
    }

    /// The Essential packages that give commands: what a shell script may use without saying so (Debian Policy 3.8).
    pub fn essential_tools(&self) -> BTreeSet<PackageId> {
        self.packages
            .values()
            .filter(|package| package.essential && !ESSENTIAL_WITHOUT_TOOLS.contains(&package.id.name()))
            .map(|package| package.id.clone())
            .collect()
    }

    /// The installed packages that satisfy one alternative of a package of `architecture`.
    fn satisfying(&self, relation: &Relation, architecture: &str) -> Vec<&PackageId> {
        let Some(real) = self.by_name.get(&relation.name) else {
            return self.providers.get(&relation.name).map(|ids| ids.iter().collect()).unwrap_or_default();
        };
        let wanted = relation.architecture.as_deref().unwrap_or(match architecture {
            "all" => &self.native,
            other => other,
        });
        let exact: Vec<_> =
            real.iter().filter(|id| id.architecture() == wanted || id.architecture() == "all").collect();
        // `Multi-Arch: foreign` and `:any`: whatever architecture there is.
        if exact.is_empty() { real.iter().collect() } else { exact }
    }

    fn raw_files<'a>(&'a self, id: &'a PackageId) -> impl Iterator<Item = Vec<u8>> + 'a {
        let text = self.lists.get(id).map(Vec::as_slice).unwrap_or_default();
        text.lines().filter(|line| line.len() > 1 && *line != b"/.").map(|line| {
            let diversion = self.diversions.iter().find(|d| d.from.as_os_str().as_bytes() == line && d.by != id.name());
            self.merged.canonical(diversion.map_or(line, |d| d.to.as_os_str().as_bytes()))
        })
    }
}

/// Which names in `/` are links into `/usr`: `bin` to `usr/bin`, …
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// From the name to the text of its link.
    pub links: BTreeMap<String, PathBuf>,
}

impl Merged {
    /// As on this host. `root` is `/` but in tests.
    pub fn of_host(root: &Path) -> Self {
        let names = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];
        let links = names.into_iter().filter_map(|name| {
            // A name that is missing or no link is simply not merged.
            let text = std::fs::read_link(root.join(name)).ok()?;
            let inside = text.strip_prefix("/").unwrap_or(&text).to_owned();
            inside.starts_with("usr").then(|| (name.to_owned(), inside))
        });
        Self { links: links.collect() }
    }

    /// `/lib/x` as `/usr/lib/x`, if `/lib` is a link to `usr/lib`. Other paths stay.
    pub fn canonical(&self, path: &[u8]) -> Vec<u8> {
        let inside = path.strip_prefix(b"/").unwrap_or(path);
        let (first, rest) = inside.split_once_str("/").unwrap_or((inside, b""));
        match first.to_str().ok().and_then(|first| self.links.get(first)) {
            Some(target) if rest.is_empty() => [b"/", target.as_os_str().as_bytes()].concat(),
            Some(target) => [b"/", target.as_os_str().as_bytes(), b"/", rest].concat(),
            None => path.to_owned(),
        }
    }
}

/// Reads the installed packages out of `/var/lib/dpkg/status`; others are passed over.
pub fn parse_status(text: &[u8]) -> Vec<Package> {
    text.split_str("\n\n").filter_map(parse_paragraph).collect()
}

/// Reads `/var/lib/dpkg/diversions`: three lines each.
pub fn parse_diversions(text: &[u8]) -> Vec<Diversion> {
    let lines: Vec<&[u8]> = text.lines().collect();
    let diversions = lines.chunks_exact(3).map(|lines| Diversion {
        from: OsStr::from_bytes(lines[0]).into(),
        to: OsStr::from_bytes(lines[1]).into(),
        by: lines[2].to_str_lossy().into_owned(),
    });
    diversions.collect()
}

/// Reads a dependency field: `libc6 (>= 2.34), default-mta | mail-transport-agent, python3:any`.
pub fn parse_relations(text: &str) -> Vec<Vec<Relation>> {
    let clause = |clause: &str| clause.split('|').filter_map(parse_relation).collect::<Vec<_>>();
    text.split(',').map(clause).filter(|clause| !clause.is_empty()).collect()
}

fn parse_relation(text: &str) -> Option<Relation> {
    let word = text.trim().split([' ', '\t', '\n', '(', '[']).next().filter(|word| !word.is_empty())?;
    let (name, architecture) = word.split_once(':').map_or((word, None), |(name, a)| (name, Some(a)));
    let architecture = architecture.filter(|&a| a != "any").map(str::to_owned);
    Some(Relation { name: name.to_owned(), architecture })
}

fn parse_paragraph(text: &[u8]) -> Option<Package> {
    let (mut name, mut version, mut architecture, mut essential, mut installed) = ("", "", "", false, false);
    let (mut depends, mut provides) = (Vec::new(), Vec::new());
    for line in text.lines() {
        // Continuation lines belong to fields that are not read here; dependencies are on one line in this file.
        let Some((field, value)) = line.split_once_str(":").filter(|_| !line.starts_with(b" ")) else { continue };
        let Ok(value) = value.trim().to_str() else { continue };
        match BStr::new(field).as_bytes() {
            b"Package" => name = value,
            b"Version" => version = value,
            b"Architecture" => architecture = value,
            b"Essential" => essential = value == "yes",
            // `want flag state`; a package on hold is installed all the same.
            b"Status" => installed = value.ends_with(" installed"),
            b"Depends" | b"Pre-Depends" => depends.extend(parse_relations(value)),
            b"Provides" => provides.extend(parse_relations(value).into_iter().flatten().map(|r| r.name)),
            _ => {}
        }
    }
    (installed && !name.is_empty()).then(|| Package {
        id: PackageId::new(name, architecture),
        version: version.to_owned(),
        depends,
        provides,
        essential,
    })
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, DpkgError> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DpkgError { path: path.to_owned(), source }),
    }
}

/// A file of dpkg's database could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}`", .path.display())]
pub struct DpkgError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9
Depends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10~)

Package: libgcc-s1
Status: hold ok installed
Architecture: amd64
Version: 12.2.0-14
Description: two lines
 Depends: nothing

Package: dash
Essential: yes
Status: install ok installed
Architecture: amd64
Version: 0.5.12
Pre-Depends: libc6 (>= 2.36), dpkg (>= 1.19)

Package: dpkg
Essential: yes
Status: install ok installed
Architecture: amd64
Version: 1.21.22

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: mawk
Status: install ok installed
Architecture: amd64
Version: 1.3
Provides: awk
Depends: libc6

Package: script
Status: install ok installed
Architecture: all
Version: 1
Depends: original-awk | awk, perl:any
";

    fn merged() -> Merged {
        Merged { links: [("bin", "usr/bin"), ("lib", "usr/lib")].map(|(a, b)| (a.into(), b.into())).into() }
    }

    fn dpkg() -> Dpkg {
        let id = |name: &str| PackageId::new(name, "amd64");
        let lists = HashMap::from([
            (id("dash"), b"/.\n/bin\n/bin/dash\n/bin/sh\n".to_vec()),
            (id("mawk"), b"/.\n/usr\n/usr/bin\n/usr/bin/mawk\n/bin/sh\n".to_vec()),
        ]);
        let diversions = parse_diversions(b"/bin/sh\n/bin/sh.distrib\ndash\n");
        Dpkg::new(parse_status(STATUS.as_bytes()), lists, diversions, &merged())
    }

    fn closure(names: &[&str]) -> Vec<String> {
        let ids = names.iter().map(|name| PackageId::parse(name)).collect();
        dpkg().closure(&ids).iter().map(|id| id.name().to_owned()).collect()
    }

    #[test]
    fn only_installed_packages_are_read() {
        let names: Vec<_> = parse_status(STATUS.as_bytes()).iter().map(|p| p.id.to_string()).collect();
        assert_eq!(names, ["libc6:amd64", "libgcc-s1:amd64", "dash:amd64", "dpkg:amd64", "mawk:amd64", "script:all"]);
    }

    #[test]
    fn a_relation_keeps_its_alternatives_without_versions() {
        let relation = |name: &str, a: Option<&str>| Relation { name: name.into(), architecture: a.map(Into::into) };
        assert_eq!(
            parse_relations("a (>= 1:2.0~), b:any | c:i386 (<< 3) [linux-any],, d"),
            [
                vec![relation("a", None)],
                vec![relation("b", None), relation("c", Some("i386"))],
                vec![relation("d", None)]
            ]
        );
    }

    #[test]
    fn a_closure_follows_dependencies_and_providers() {
        assert_eq!(closure(&["script:all"]), ["libc6", "libgcc-s1", "mawk", "script"]);
    }

    #[test]
    fn dpkg_is_in_a_closure_only_when_asked_for() {
        assert_eq!(closure(&["dash:amd64"]), ["dash", "libc6", "libgcc-s1"]);
        assert_eq!(closure(&["dpkg:amd64"]), ["dpkg"]);
    }

    #[test]
    fn a_merged_usr_gives_one_path_for_two_spellings() {
        let dpkg = dpkg();
        for path in ["/bin/dash", "/usr/bin/dash"] {
            assert_eq!(dpkg.owner(Path::new(path)).expect("it is listed").name(), "dash", "{path}");
        }
        assert_eq!(dpkg.owner(Path::new("/usr/bin/nothing")), None);
        assert_eq!(merged().canonical(b"/library/x"), b"/library/x");
    }

    #[test]
    fn a_diversion_moves_the_file_of_everybody_else() {
        let dpkg = dpkg();
        assert_eq!(dpkg.owner(Path::new("/bin/sh")).expect("it is listed").name(), "dash");
        assert_eq!(dpkg.owner(Path::new("/usr/bin/sh.distrib")).expect("it is diverted").name(), "mawk");
    }

    #[test]
    fn essential_tools_leave_out_the_package_manager() {
        assert_eq!(dpkg().essential_tools(), BTreeSet::from([PackageId::new("dash", "amd64")]));
    }
}
