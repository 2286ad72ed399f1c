//! Which names a file sees: its own, those of the files that it includes, and those of the file that has it as a subninja.
#![deny(clippy::disallowed_methods)]

use bstr::{BStr, BString};
use hashbrown::HashMap;

/// The main file, and every subninja, each with what it includes; numbered in the order in which they are begun, so that
/// what is within one follows it.
pub struct Scopes(Vec<Scope>);

struct Scope {
    parent: Option<u32>,
    depth: u32,
    /// The last one within; itself if there is none.
    last: u32,
}

/// The scope of the main file.
pub const MAIN: u32 = 0;

impl Default for Scopes {
    fn default() -> Self {
        Self(vec![Scope { parent: None, depth: 0, last: u32::MAX }])
    }
}

impl Scopes {
    /// Begins one within another.
    pub fn begin(&mut self, parent: u32) -> u32 {
        let scope = u32::try_from(self.0.len()).expect("a scope takes more than a byte to state");
        // Until it ends, whatever begins is within it.
        self.0.push(Scope { parent: Some(parent), depth: self.0[parent as usize].depth + 1, last: u32::MAX });
        scope
    }

    /// Ends the one that was begun last and has not ended.
    pub fn end(&mut self, scope: u32) {
        self.0[scope as usize].last = self.0.len() as u32 - 1;
    }

    /// The scope around one.
    pub fn parent(&self, scope: u32) -> Option<u32> {
        self.0[scope as usize].parent
    }

    fn encloses(&self, outer: u32, inner: u32) -> bool {
        outer <= inner && inner <= self.0[outer as usize].last
    }
}

/// What names mean, in each scope that gives them a meaning.
pub struct Names<T>(HashMap<BString, Vec<(u32, T)>>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Copy> Names<T> {
    /// Gives a name a meaning, in the place of what it meant there.
    pub fn set(&mut self, scope: u32, name: &BStr, meaning: T) {
        let meanings = self.0.entry_ref(name).or_default();
        match meanings.binary_search_by_key(&scope, |(scope, _)| *scope) {
            Ok(i) => meanings[i].1 = meaning,
            Err(i) => meanings.insert(i, (scope, meaning)),
        }
    }

    /// What a scope itself makes a name mean.
    pub fn own(&self, scope: u32, name: &BStr) -> Option<T> {
        at(self.0.get(name)?, scope)
    }

    /// What a name means in a scope. Takes no longer than the scopes around it are many, and no longer than those are
    /// that give the name a meaning: so neither deep nests nor wide ones cost the square of their size.
    pub fn find(&self, scopes: &Scopes, scope: u32, name: &BStr) -> Option<T> {
        let meanings = self.0.get(name)?;
        let meanings = &meanings[..meanings.partition_point(|(of, _)| *of <= scope)];
        if meanings.len() <= scopes.0[scope as usize].depth as usize {
            return meanings.iter().rev().find(|(of, _)| scopes.encloses(*of, scope)).map(|(_, meaning)| *meaning);
        }
        let around = std::iter::successors(Some(scope), |scope| scopes.parent(*scope));
        around.into_iter().find_map(|scope| at(meanings, scope))
    }

    /// What a scope itself gives a meaning, in no order.
    pub fn of(&self, scope: u32) -> impl Iterator<Item = (&BStr, T)> {
        self.0.iter().filter_map(move |(name, meanings)| Some((name.as_ref(), at(meanings, scope)?)))
    }
}

fn at<T: Copy>(meanings: &[(u32, T)], scope: u32) -> Option<T> {
    let i = meanings.binary_search_by_key(&scope, |(scope, _)| *scope).ok()?;
    Some(meanings[i].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_what_the_nearest_scope_around_makes_it_mean() {
        let mut scopes = Scopes::default();
        let mut names = Names::default();
        let a = scopes.begin(MAIN);
        let b = scopes.begin(a);
        scopes.end(b);
        let c = scopes.begin(a);
        scopes.end(c);
        scopes.end(a);
        let d = scopes.begin(MAIN);
        scopes.end(d);
        let find = |names: &Names<char>| [MAIN, a, b, c, d].map(|scope| names.find(&scopes, scope, "v".into()));
        names.set(b, "v".into(), 'b');
        assert_eq!(find(&names), [None, None, Some('b'), None, None]);
        names.set(a, "v".into(), 'a');
        assert_eq!(find(&names), [None, Some('a'), Some('b'), Some('a'), None]);
        names.set(MAIN, "v".into(), 'm');
        names.set(d, "v".into(), 'd');
        names.set(b, "v".into(), 'B');
        assert_eq!(find(&names), ['m', 'a', 'B', 'a', 'd'].map(Some));
        assert_eq!((names.own(c, "v".into()), names.own(d, "v".into())), (None, Some('d')));
        assert_eq!(names.of(a).collect::<Vec<_>>(), [("v".into(), 'a')]);
    }
}
