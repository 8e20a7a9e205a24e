//! Where emitted crates find the runtime.

use crate::emit::RuntimeSource;
use std::path::{Path, PathBuf};

/// The runtime beside this compiler's source when it is there, else the published crate.
pub fn runtime_source(dir: &Path) -> RuntimeSource {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (Ok(workspace), Ok(runtime)) = (workspace.canonicalize(), workspace.join("runtime").canonicalize()) else {
        return RuntimeSource::Registry;
    };
    match resolved(dir).strip_prefix(&workspace) {
        Ok(inside) => {
            let up = "../".repeat(inside.components().count());
            RuntimeSource::Path(format!("{up}runtime"))
        }
        Err(_) => RuntimeSource::Path(runtime.display().to_string()),
    }
}

/// The absolute path of a folder that may not exist yet, links and `..` resolved as far as it does.
fn resolved(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let existing = absolute.ancestors().find_map(|a| Some((a.canonicalize().ok()?, absolute.strip_prefix(a).ok()?)));
    existing.map_or_else(|| absolute.clone(), |(existing, rest)| existing.join(rest))
}

#[cfg(test)]
mod tests {
    use super::runtime_source;
    use crate::emit::RuntimeSource;
    use std::path::Path;

    #[test]
    fn crates_in_the_workspace_reach_the_runtime_relatively() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../generated/no-such-crate");
        assert_eq!(runtime_source(&dir), RuntimeSource::Path("../../runtime".to_string()));
    }
}
