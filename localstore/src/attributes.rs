//! Structured attributes as a builder gets them: the JSON of the derivation with the paths of its outputs, and the same
//! as assignments for bash (Nix 2.34, `StructuredAttrs`). Pure.

use bstr::{BString, ByteSlice as _};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// `json`, an object, with `outputs` set to the path of each output.
///
/// # Errors
/// [`AttributesError`] where it is no JSON object.
pub(crate) fn with_outputs(json: &[u8], outputs: &BTreeMap<String, String>) -> Result<BString, AttributesError> {
    let paths = serde_json::to_vec(outputs).expect("texts can be JSON");
    // The attributes of an edge are long and lack the key: it is put in without reading the rest.
    if json.find("\"outputs\"").is_none()
        && let Some(rest) = json.trim_start().strip_prefix(b"{")
    {
        let comma: &[u8] = if rest.trim_start().starts_with(b"}") { b"" } else { b"," };
        return Ok([b"{\"outputs\":", &*paths, comma, rest].concat().into());
    }
    let mut attributes: Map<String, Value> = serde_json::from_slice(json).map_err(AttributesError)?;
    attributes.insert("outputs".into(), serde_json::from_slice(&paths).map_err(AttributesError)?);
    Ok(serde_json::to_vec(&attributes).map_err(AttributesError)?.into())
}

/// Assignments for bash: of every attribute whose name and value it can hold. A list is an array, an object an
/// associative array, `true` is `1`, `false` and `null` are empty.
///
/// # Errors
/// [`AttributesError`] where `json` is no JSON object.
pub(crate) fn shell(json: &[u8]) -> Result<String, AttributesError> {
    let attributes: Map<String, Value> = serde_json::from_slice(json).map_err(AttributesError)?;
    let mut text = String::new();
    for (name, value) in attributes.iter().filter(|(name, _)| is_variable(name)) {
        let declaration = match value {
            Value::Array(items) => {
                let words: Option<String> = items.iter().map(|item| Some(simple(item)? + " ")).collect();
                words.map(|words| format!("declare -a {name}=({words})\n"))
            }
            Value::Object(entries) => {
                let words = entries.iter().map(|(key, value)| Some(format!("[{}]={} ", quote(key), simple(value)?)));
                words.collect::<Option<String>>().map(|words| format!("declare -A {name}=({words})\n"))
            }
            value => simple(value).map(|word| format!("declare {name}={word}\n")),
        };
        text += &declaration.unwrap_or_default();
    }
    Ok(text)
}

fn simple(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(quote(text)),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Some(number.to_string()),
            None => number.as_f64().filter(|number| number.fract() == 0.0).map(|number| (number as i64).to_string()),
        },
        Value::Null => Some("''".into()),
        Value::Bool(true) => Some("1".into()),
        Value::Bool(false) => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn is_variable(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.as_bytes().first().is_some_and(|&b| letter(b)) && name.bytes().all(|b| letter(b) || b.is_ascii_digit())
}

/// Structured attributes that are no JSON object.
#[derive(Debug, thiserror::Error)]
#[error("`__json` is not a JSON object")]
pub(crate) struct AttributesError(#[source] serde_json::Error);

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs() -> BTreeMap<String, String> {
        BTreeMap::from([("out".into(), "/nix/store/x".into())])
    }

    #[test]
    fn outputs_take_the_place_of_their_names() {
        for (json, expected) in [
            (r#"{"a":1}"#, r#"{"outputs":{"out":"/nix/store/x"},"a":1}"#),
            (r#" { } "#, r#"{"outputs":{"out":"/nix/store/x"} } "#),
            (r#"{"z":1,"outputs":["out"]}"#, r#"{"outputs":{"out":"/nix/store/x"},"z":1}"#),
        ] {
            assert_eq!(with_outputs(json.as_bytes(), &outputs()).unwrap(), expected);
        }
        assert!(with_outputs(b"[\"outputs\"]", &outputs()).is_err());
    }

    #[test]
    fn bash_gets_what_it_can_hold() {
        let json = r#"{"array":["a b",1,true],"map":{"k":"v'"},"n":null,"deep":[[1]],"no-name":1,"f":1.5,"g":2.0,"off":false}"#;
        let expected = "declare -a array=('a b' 1 1 )\ndeclare g=2\ndeclare -A map=(['k']='v'\\''' )\ndeclare n=''\ndeclare off=\n";
        assert_eq!(shell(json.as_bytes()).unwrap(), expected);
    }
}
