//! Bills of materials: CycloneDX 1.5, as JSON.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use serde_json::{Value, json};

/// The licence of our own code.
pub const OWN_LICENCE: &str = "MIT OR Apache-2.0";

/// Something that is linked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked<'a> {
    /// Name of the crate or library.
    pub name: &'a str,
    /// Its version, where it is known.
    pub version: Option<&'a str>,
    /// SHA-256 of the package, hexadecimal, for crates of the registry.
    pub sha256: Option<&'a str>,
    /// Licence as an SPDX expression; `-` where it is not known.
    pub licence: &'a str,
}

impl<'a> Linked<'a> {
    /// Reads name, version, SHA-256 and licence from a line; `-` stands for what is not known. `None` for another line.
    pub fn parse(line: &'a str) -> Option<Self> {
        let known = |text: &'a str| (text != "-").then_some(text);
        let mut words = line.splitn(4, ' ');
        let (name, version, sha256) = (words.next()?, known(words.next()?), known(words.next()?));
        Some(Linked { name, version, sha256, licence: words.next()? })
    }
}

/// A model that is compiled in.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    /// Its name.
    pub name: &'a str,
    /// File name of its source.
    pub source: &'a str,
    /// SHA-256 of its source, hexadecimal.
    pub sha256: &'a str,
}

/// What the bill is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A program of this name.
    Program(&'a str),
    /// A library of this name.
    Library(&'a str),
}

/// The bill of materials of `subject`, made by version `compiler` of the compiler.
pub fn document(subject: Subject<'_>, compiler: &str, models: &[Model<'_>], linked: &[Linked<'_>]) -> Value {
    let mut components: Vec<Value> = Vec::new();
    for model in models {
        components.push(json!({
            "type": "machine-learning-model",
            "bom-ref": format!("model:{}", model.name),
            "name": model.source,
            "version": model.sha256.get(..12).unwrap_or(model.sha256),
            "hashes": [{ "alg": "SHA-256", "content": model.sha256 }],
        }));
    }
    components.extend(linked.iter().copied().map(component));
    let (kind, name) = match subject {
        Subject::Program(name) => {
            components.push(json!({
                "type": "data",
                "bom-ref": "font:DejaVu Sans",
                "name": "DejaVu Sans",
                "licenses": [{ "license": { "name": "Bitstream-Vera" } }],
            }));
            ("application", name)
        }
        Subject::Library(name) => ("library", name),
    };
    let parts: Vec<Value> = components.iter().map(|component| component["bom-ref"].clone()).collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "tools": { "components": [{ "type": "application", "name": "peristyle", "version": compiler }] },
            "component": {
                "type": kind,
                "bom-ref": "whole",
                "name": name,
                "version": compiler,
                "licenses": [{ "expression": OWN_LICENCE }],
            },
        },
        "components": components,
        "dependencies": [{ "ref": "whole", "dependsOn": parts }],
    })
}

fn component(linked: Linked<'_>) -> Value {
    let Linked { name, version, sha256, licence } = linked;
    let crate_of_registry = sha256.is_some();
    let reference = match version {
        Some(version) if crate_of_registry => format!("pkg:cargo/{name}@{version}"),
        Some(version) => format!("linked:{name}@{version}"),
        None => format!("linked:{name}"),
    };
    let mut component = json!({ "type": "library", "bom-ref": reference, "name": name });
    if let Some(version) = version {
        component["version"] = version.to_string().into();
    }
    if crate_of_registry {
        component["purl"] = reference.into();
    }
    if let Some(sha256) = sha256 {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sha256 }]);
    }
    if licence != "-" {
        component["licenses"] = json!([{ "expression": licence }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_is_known() {
        let line = Linked::parse("a 1.0.0 00ff MIT OR Apache-2.0").expect("four words");
        assert_eq!(
            line,
            Linked { name: "a", version: Some("1.0.0"), sha256: Some("00ff"), licence: "MIT OR Apache-2.0" }
        );
        assert_eq!(component(line)["purl"], "pkg:cargo/a@1.0.0");
        assert_eq!(Linked::parse("glibc - - LGPL-2.1-or-later").expect("four words").version, None);
        assert_eq!(Linked::parse("nothing"), None);
    }

    #[test]
    fn a_library_has_no_font() {
        let model = Model { name: "net", source: "net.onnx", sha256: "00ff" };
        let names = |subject| {
            let bill = document(subject, "1.0.0", &[model], &[]);
            bill["components"].as_array().expect("components").iter().map(|c| c["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(Subject::Library("net")), ["net.onnx"]);
        assert_eq!(names(Subject::Program("net")), ["net.onnx", "DejaVu Sans"]);
    }
}
