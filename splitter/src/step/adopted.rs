//! A step that another program has done in this build directory, believed by that program's own account. Nothing of it is
//! added to the store.

use super::{Failed, Steps};
use crate::discover::{Found, is_system};
use crate::graph::{EdgeId, absolute};
use crate::lower::{self, output_names};
use crate::recipe::Recipe;
use crate::roots::Mode;
use crate::state::{Made, Record};
use bstr::ByteSlice as _;
use nixstore::path::StoreName;
use std::collections::BTreeMap;

impl Steps<'_> {
    /// What is known of an edge that another program has done, where the user wants that taken over, and it is as the other
    /// left it; none where what we did stands.
    pub(super) fn adopted(&self, edge: EdgeId, recipe: &Recipe) -> Result<Option<Record>, Failed> {
        let Some(adopt) = self.drive.adopt else { return Ok(None) };
        if let Some(record) = self.old.by_name.get(&self.drive.name(edge))
            && self.changed(edge, record, recipe)?.is_none()
            && self.output_changed(edge, record).is_none()
        {
            return Ok(None);
        }
        let stated = self.drive.stated(edge);
        let Some(discovered) = adopt.read_by(edge, &stated) else { return Ok(None) };
        let base = self.drive.graph.working_directory();
        let discovered = discovered.iter().map(|path| absolute(path.as_bstr(), base));
        let (system, files) = stated.into_iter().chain(discovered).partition(|path| is_system(path.as_bstr()));
        let mut found = Found { files, system, ..Found::default() };
        found.files.retain(|path| !recipe.outputs.contains(path));
        // A tool that cannot be found now could not be seen to be another later.
        let Ok(tools) = self.tools(recipe, &found) else { return Ok(None) };
        self.keep_essential(&mut found);
        let inputs = found.files.iter().map(|path| {
            let name = StoreName::sanitised(path.rsplit_str("/").next().unwrap_or(path));
            Ok((path.clone(), self.contents.unadded(path.as_bstr(), &name)?.to_string()))
        });
        let inputs = inputs.collect::<Result<BTreeMap<_, _>, Failed>>()?;
        let outputs = output_names(recipe.outputs.len()).zip(&recipe.outputs).map(|(output, path)| {
            let content = self.contents.unadded(path.as_bstr(), &lower::name(recipe).of_output(&output))?;
            Ok((path.clone(), Some(content.to_string())))
        });
        let outputs = outputs.collect::<Result<BTreeMap<_, _>, Failed>>()?;
        Ok(Some(Record {
            recipe: recipe.fingerprint(),
            found,
            inputs,
            outputs,
            depfile: None,
            tools: tools.path.to_string(),
            canonical: self.drive.mode == Mode::Canonical,
            made: Made::Adopted,
            audited: None,
        }))
    }
}
