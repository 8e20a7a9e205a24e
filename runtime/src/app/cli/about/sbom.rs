//! The bill of materials of this program: CycloneDX 1.5, as JSON.

use serde_json::{Value, json};

use super::{CRATES, OWN_LICENCE};
use crate::app::Compiled;

/// What was linked, as `peristyle build` found it: name, version, SHA-256 of the package and licence on every line.
const LINKED: Option<&str> = option_env!("PERISTYLE_LINKED");

/// Something that is linked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Linked {
    pub name: &'static str,
    pub version: Option<&'static str>,
    pub sha256: Option<&'static str>,
    pub licence: &'static str,
}

/// Everything that is linked in. A program that was not built by `peristyle build` knows names and licences only.
pub(super) fn linked() -> Vec<Linked> {
    match LINKED {
        Some(list) => list.lines().filter_map(exact).collect(),
        None => {
            let named = CRATES.lines().filter_map(|line| line.split_once(' '));
            named.map(|(name, licence)| Linked { name, version: None, sha256: None, licence }).collect()
        }
    }
}

fn exact(line: &'static str) -> Option<Linked> {
    let known = |text: &'static str| (text != "-").then_some(text);
    let mut words = line.splitn(4, ' ');
    let (name, version, sha256) = (words.next()?, known(words.next()?), known(words.next()?));
    Some(Linked { name, version, sha256, licence: words.next()? })
}

/// The bill of materials of a program with these models.
pub(super) fn sbom(models: &[Compiled], program: &str) -> Value {
    let compiler = models[0].spec.compiler;
    let mut components: Vec<Value> = Vec::new();
    for Compiled { spec, .. } in models {
        components.push(json!({
            "type": "machine-learning-model",
            "bom-ref": format!("model:{}", spec.name),
            "name": spec.source,
            "version": spec.sha256.get(..12).unwrap_or(spec.sha256),
            "hashes": [{ "alg": "SHA-256", "content": spec.sha256 }],
        }));
    }
    components.extend(linked().into_iter().map(component));
    components.push(json!({
        "type": "data",
        "bom-ref": "font:DejaVu Sans",
        "name": "DejaVu Sans",
        "licenses": [{ "license": { "name": "Bitstream-Vera" } }],
    }));
    let parts: Vec<Value> = components.iter().map(|component| component["bom-ref"].clone()).collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "tools": { "components": [{ "type": "application", "name": "peristyle", "version": compiler }] },
            "component": {
                "type": "application",
                "bom-ref": "program",
                "name": program,
                "version": compiler,
                "licenses": [{ "expression": OWN_LICENCE }],
            },
        },
        "components": components,
        "dependencies": [{ "ref": "program", "dependsOn": parts }],
    })
}

fn component(linked: Linked) -> Value {
    let Linked { name, version, sha256, licence } = linked;
    let crate_of_registry = sha256.is_some();
    let reference = match version {
        Some(version) if crate_of_registry => format!("pkg:cargo/{name}@{version}"),
        Some(version) => format!("linked:{name}@{version}"),
        None => format!("linked:{name}"),
    };
    let mut component = json!({ "type": "library", "bom-ref": reference, "name": name });
    if let Some(version) = version {
        component["version"] = version.into();
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
        let line = exact("a 1.0.0 00ff MIT OR Apache-2.0").expect("four words");
        assert_eq!(
            line,
            Linked { name: "a", version: Some("1.0.0"), sha256: Some("00ff"), licence: "MIT OR Apache-2.0" }
        );
        let component = component(line);
        assert_eq!(component["purl"], "pkg:cargo/a@1.0.0");
        assert_eq!(exact("glibc - - LGPL-2.1-or-later").expect("four words").version, None);
        assert_eq!(exact("nothing"), None);
    }
}
