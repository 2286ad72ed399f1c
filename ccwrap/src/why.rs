//! Why a call goes straight to the compiler.

/// Why nothing is to be remembered of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It links.
    Link,
    /// It preprocesses.
    Preprocess,
    /// It has no source, or one that is not there: it is asked something.
    NoInput,
    /// The source comes by standard input.
    StandardInput,
    /// An option that is not understood, or does more than make an object.
    Option,
    /// What it makes is no file.
    Output,
    /// What it makes cannot be written, as where its directory is not there, or goes through a link.
    BadOutput,
    /// A language that is none of C, C++, Objective-C and assembler.
    Language,
    /// A precompiled header of which the compiler remembers when its text was changed.
    Precompiled,
    /// A probe of a configure script.
    Probe,
    /// Words that the compiler will complain of.
    Bad,
    /// A variable of the environment.
    Environment,
    /// The date or the time is in it.
    Time,
    /// It may read anything.
    Unknowable,
    /// It is no compiler that is known.
    Compiler,
    /// The compiler has failed: it says itself why.
    Failed,
    /// There is nothing to be had, and nothing is to be written.
    ReadOnly,
    /// Switched off.
    Disabled,
    /// A file that is to count as read is not there.
    ExtraFile,
    /// Its working directory is not there any more.
    Directory,
}
