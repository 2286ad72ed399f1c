//! A call of a compiler, understood: what is handed to the splitter. Pure.

use bstr::BString;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the compiler is to be called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The program that is meant, absolute.
    pub compiler: PathBuf,
    /// The words of the command, the first as it was written.
    pub words: Vec<BString>,
    /// Where relative paths start, absolute and without links.
    pub directory: BString,
    /// The variables that a compiler looks at, see [`crate::environment`].
    pub env: BTreeMap<BString, BString>,
    /// Variables that it may read besides, whether or not they are set: by the text of a script in the place of the compiler, or by
    /// the sources of a crate.
    pub read: BTreeMap<BString, Option<BString>>,
    /// How diagnostics are to be written.
    pub manner: Manner,
}

/// How diagnostics are written, where that is another manner than that in which every command runs: without colours, in
/// English, with the quotes of Unicode. It makes no other object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manner {
    /// With colours, though no word asks for them: they go to a terminal.
    pub coloured: bool,
    /// With links to what is written of each warning, if it is GCC.
    pub links: bool,
    /// In this locale.
    pub locale: Option<BString>,
}
