//! Names of emitted crates and modules.

/// Crates that the emitted one uses, and folders that cargo keeps in its build folder.
const RESERVED: &[&str] = &[
    "core",
    "std",
    "alloc",
    "test",
    "cc",
    "peristyle-runtime",
    "peristyle_runtime",
    "build",
    "deps",
    "examples",
    "incremental",
];

/// A valid crate name: lower case letters, digits, `-` and `_`, starting with a letter.
#[must_use]
pub fn crate_name(text: &str) -> String {
    let mut name: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' })
        .collect();
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    let name = name.trim_matches('-');
    let keyword = syn::parse_str::<syn::Ident>(&name.replace('-', "_")).is_err();
    if keyword || RESERVED.contains(&name) { format!("model-{name}") } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::crate_name;

    #[test]
    fn crate_names_are_valid() {
        assert_eq!(crate_name("yolov5n-pruned65_quant.qdq"), "yolov5n-pruned65_quant-qdq");
        assert_eq!(crate_name("best (1)"), "best-1");
        assert_eq!(crate_name("8bit"), "model-8bit");
        assert_eq!(crate_name("type"), "model-type");
        assert_eq!(crate_name("cc"), "model-cc");
        assert_eq!(crate_name("ümlaut"), "mlaut");
        assert_eq!(crate_name("…"), "model-");
    }
}
