//! `/etc/ld.so.cache`: through it the loader finds libraries outside its default directories. A snapshot has a cache of
//! its own, with the entries of the host's that name files in it. Pure.
//!
//! Format: glibc 2.36, `sysdeps/generic/dl-cache.h`, `struct cache_file_new`; all numbers in the host's byte order.
#![deny(clippy::disallowed_methods)]

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// The entries of `cache` whose path `keep` accepts, as a cache; `None` where there are none or it is no such cache.
/// Extensions (hardware capabilities by name, the generator) are dropped, and entries that need them with them.
pub fn filter(cache: &[u8], keep: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    // Before glibc 2.32 the new format stands after the old one.
    let start = cache.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let cache = &cache[start..];
    let number = |at: usize| Some(u32::from_ne_bytes(cache.get(at..at + 4)?.try_into().ok()?));
    let string = |at: u32| cache.get(at as usize..)?.split(|&byte| byte == 0).next();
    let count = number(MAGIC.len())? as usize;
    let mut kept = Vec::new();
    for entry in cache.get(HEADER..)?.chunks_exact(ENTRY).take(count) {
        let field = |at: usize| Some(u32::from_ne_bytes(entry.get(at..at + 4)?.try_into().ok()?));
        let (flags, name, path) = (field(0)?, string(field(4)?)?, string(field(8)?)?);
        if entry[16..24] == [0; 8] && keep(path) {
            kept.push((flags, field(12)?, name, path));
        }
    }
    if kept.is_empty() {
        return None;
    }
    let (mut entries, mut strings) = (Vec::new(), Vec::new());
    let base = HEADER + ENTRY * kept.len();
    let mut intern = |text: &[u8]| {
        let at = u32::try_from(base + strings.len()).expect("smaller than what it was read from");
        strings.extend_from_slice(text);
        strings.push(0);
        at
    };
    // The order is that of the loader's binary search; a part of a sorted list is sorted.
    for &(flags, os_version, name, path) in &kept {
        for field in [flags, intern(name), intern(path), os_version, 0, 0] {
            entries.extend_from_slice(&field.to_ne_bytes());
        }
    }
    let count = u32::try_from(kept.len()).expect("no more than there were");
    let length = u32::try_from(strings.len()).expect("smaller than what it was read from");
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&count.to_ne_bytes());
    out.extend_from_slice(&length.to_ne_bytes());
    // The byte of flags: 2 little-endian, 3 big-endian, as `cache_file_new_flags_endian_current`.
    out.extend_from_slice(&[if cfg!(target_endian = "little") { 2 } else { 3 }, 0, 0, 0]);
    out.resize(HEADER, 0);
    out.extend_from_slice(&entries);
    out.extend_from_slice(&strings);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test on real files")]
    fn a_filtered_cache_is_a_cache_with_fewer_entries() {
        let Ok(cache) = std::fs::read("/etc/ld.so.cache") else {
            eprintln!("not run: there is no `/etc/ld.so.cache`");
            return;
        };
        let all = filter(&cache, |_| true).expect("it has entries");
        assert_eq!(filter(&all, |_| true).expect("it has the same"), all);
        let libc = filter(&cache, |path| path.ends_with(b"/libc.so.6")).expect("there is a C library");
        assert!(libc.len() < 400 && libc.ends_with(b"/libc.so.6\0"));
        assert_eq!(filter(&cache, |_| false), None);
    }

    #[test]
    fn what_is_no_cache_gives_none() {
        assert_eq!(filter(b"", |_| true), None);
        assert_eq!(filter(b"glibc-ld.so.cache1.1\xff\xff\xff\xff", |_| true), None);
        assert_eq!(filter(&[MAGIC, &[0xff; 400]].concat(), |_| true), None);
    }
}
