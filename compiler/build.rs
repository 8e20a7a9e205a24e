//! Names this compiler by what it is made of, so that what an older one wrote is told apart.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let mut hasher = DefaultHasher::new();
    // The runtime's types are a part of what is emitted; a published compiler has it in a crate of its own.
    for folder in ["src", "../runtime/src"].map(Path::new) {
        if folder.is_dir() {
            println!("cargo::rerun-if-changed={}", folder.display());
            let mut files = BTreeSet::new();
            list(folder, &mut files)?;
            for file in files {
                file.hash(&mut hasher);
                std::fs::read(&file)?.hash(&mut hasher);
            }
        }
    }
    println!("cargo::rustc-env=PERISTYLE_FINGERPRINT={:016x}", hasher.finish());
    println!("cargo::rustc-env=PERISTYLE_OPT_LEVEL={}", std::env::var("OPT_LEVEL").unwrap_or_default());
    Ok(())
}

fn list(folder: &Path, files: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.insert(path);
        }
    }
    Ok(())
}
