//! The report of `--tracing`: where edges differ from what the build file says of them.

use crate::report::say;
use bstr::{BString, ByteSlice as _};
use clap::ValueEnum;
use serde_json::json;
use splitter::audit::Finding;
use splitter::graph::Graph;
use splitter::state::Records;
use std::io;
use std::path::Path;

/// What is done about edges that do with files what the build file does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tracing {
    /// Nothing; nobody looks.
    Never,
    /// They are told.
    Warn,
    /// They are told, and the run fails.
    Error,
}

/// Writes `tracing.txt` and `tracing.json` into `own` and says how much is in them. Answers whether anything is wrong.
///
/// # Errors
/// Where they cannot be written.
pub fn report(graph: &Graph, records: &Records, own: &Path) -> io::Result<bool> {
    let is_made = |name: &BString| graph.find(name.as_bstr()).is_some_and(|file| graph.file(file).maker.is_some());
    let records = || records.by_name.iter().filter(|(name, _)| is_made(name));
    let edges = || records().filter_map(|(name, record)| Some((name, &record.audited.as_ref()?.findings)));
    let text: String =
        edges().flat_map(|(name, findings)| findings.iter().map(move |f| format!("`{name}` {f}\n"))).collect();
    let list: Vec<_> = edges().filter(|(_, findings)| !findings.is_empty()).map(|(name, f)| entry(name, f)).collect();
    let traced = edges().count();
    let json =
        serde_json::to_vec_pretty(&json!({ "traced_edges": traced, "edges": list })).map_err(io::Error::other)?;
    let file = own.join("tracing.txt");
    std::fs::write(&file, text)?;
    std::fs::write(own.join("tracing.json"), [&json[..], b"\n"].concat())?;
    let wrong = edges().flat_map(|(_, findings)| findings).filter(|finding| finding.is_wrong()).count();
    let all = edges().map(|(_, findings)| findings.len()).sum::<usize>();
    say!(
        "ninja2drv: tracing: {traced} edges traced, {wrong} findings, {} inputs that are not looked at; see `{}`",
        all - wrong,
        file.display()
    );
    Ok(wrong > 0)
}

/// An edge by its first output. Paths that are not UTF-8 have U+FFFD in them.
fn entry(name: &BString, findings: &[Finding]) -> serde_json::Value {
    let findings: Vec<_> = findings.iter().map(one).collect();
    json!({ "edge": name.to_string(), "findings": findings })
}

fn one(finding: &Finding) -> serde_json::Value {
    let path = finding.path().map(ToString::to_string);
    match finding {
        Finding::UnorderedInput { maker, .. } => {
            json!({ "kind": finding.kind(), "path": path, "maker": maker.to_string() })
        }
        _ => json!({ "kind": finding.kind(), "path": path }),
    }
}
