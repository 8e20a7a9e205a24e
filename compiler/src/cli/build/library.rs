//! `--emit staticlib` and `cdylib`: a library, and beside it a C header and a bill of materials.

use super::super::compile::describe;
use super::{Args, Artefact, Emit, cargo, install, megabytes, write};
use anyhow::{Context, bail};
use indicatif::ProgressBar;
use peristyle_compiler::{Compilation, emit, unfinished};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Builds the library of one model; `output` is its path without `lib` and extension.
pub fn run(
    args: &Args,
    compilations: &[Compilation],
    output: &Path,
    progress: &ProgressBar,
    start: Instant,
) -> anyhow::Result<()> {
    let [compilation] = compilations else {
        bail!(
            "a library holds one model; build one per model: their names start with the model's, so that they link into \
             one program"
        );
    };
    let shared = args.emit == Emit::Cdylib;
    let (library, header) = files(output, if shared { "so" } else { "a" });
    let dir = write(args, compilations, &compilation.identity.name, progress)?;
    let artefact = Artefact::Library { shared, image_files: !args.no_image_files };
    let cargo::Built { file: built, linked } = cargo::build(&dir, &compilation.identity.name, artefact, progress)?;
    let prefix = emit::c_name(&compilation.identity);
    let hidden =
        if shared { None } else { hide(&built, &prefix, &dir.join(emit::header_path(&compilation.identity)))? };
    let built = hidden.as_ref().map_or(built, |folder| folder.path().join(HIDDEN));
    install(&built, &library).with_context(|| format!("cannot write library `{}`", library.display()))?;
    install(&dir.join(emit::header_path(&compilation.identity)), &header)
        .with_context(|| format!("cannot write header `{}`", header.display()))?;
    if let Some(linked) = linked {
        let bill = super::bill(&compilation.identity.name, compilations, &linked);
        let path = header.with_extension("cdx.json");
        unfinished::write(&path, bill.as_bytes())
            .with_context(|| format!("cannot write bill of materials `{}`", path.display()))?;
    }
    progress.finish_and_clear();
    println!("{}", describe(compilation));
    println!(
        "{}: {}, functions `{}_...` of {}, built in {:.1} s",
        library.display(),
        megabytes(usize::try_from(std::fs::metadata(&library)?.len())?),
        prefix,
        header.display(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// File name of an archive in its temporary folder.
const HIDDEN: &str = "library.a";

/// An archive of the one object that the functions of the header need, in which nobody else's names are visible: not
/// those of the Rust libraries and not those of libjpeg, which the program may have copies of. `None`, said aloud, where
/// the tools for that are missing.
fn hide(archive: &Path, prefix: &str, header: &Path) -> anyhow::Result<Option<tempfile::TempDir>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let at = |name: &str| folder.path().join(name);
    let header = std::fs::read_to_string(header)?;
    let functions = functions(&header, prefix);
    let roots = functions.iter().flat_map(|function| ["-u", function]);
    let mut link = Command::new("ld");
    link.args(["-r", "--gc-sections", "-S", "-o"]).arg(at("whole.o")).args(roots).arg(archive);
    let mut hide = Command::new("objcopy");
    // The standard library's bitcode does not survive being joined, and linkers with plugins stumble over it.
    hide.args(["-R", ".llvmbc", "-R", ".llvmcmd", "--wildcard", "--keep-global-symbol", &format!("{prefix}_*")]);
    hide.arg(at("whole.o")).arg(at(&format!("{prefix}.o")));
    let mut pack = Command::new("ar");
    pack.arg("crsD").arg(at(HIDDEN)).arg(at(&format!("{prefix}.o")));
    for mut tool in [link, hide, pack] {
        let name = tool.get_program().to_string_lossy().into_owned();
        match tool.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => bail!("`{name}` failed: {}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => {
                eprintln!(
                    "note: names of what is linked in stay visible in the library, because `{name}` cannot start: {error}"
                );
                return Ok(None);
            }
        }
    }
    Ok(Some(folder))
}

/// The functions that a header declares.
fn functions<'a>(header: &'a str, prefix: &str) -> Vec<&'a str> {
    let word = |line: &'a str| line.split_once('(')?.0.rsplit([' ', '*']).next();
    let own = |name: &&str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_'));
    let code = header.lines().filter(|line| !line.starts_with([' ', '/', '#']) && !line.starts_with("typedef"));
    code.filter_map(word).filter(own).collect()
}

/// The library and its header for `DIR/NAME`, also when it is spelled `DIR/libNAME.a`.
fn files(output: &Path, extension: &str) -> (PathBuf, PathBuf) {
    let name = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let spelled = name.strip_prefix("lib").and_then(|name| name.strip_suffix(&format!(".{extension}")));
    let name = spelled.unwrap_or(&name);
    (output.with_file_name(format!("lib{name}.{extension}")), output.with_file_name(format!("{name}.h")))
}

#[cfg(test)]
mod tests {
    use super::{files, functions};
    use peristyle_runtime::ffi::HEADER;
    use std::path::Path;

    #[test]
    fn every_function_of_the_header_is_kept() {
        let header = HEADER.replace("@name@", "net");
        let functions = functions(&header, "net");
        assert_eq!(functions.len(), 15, "{functions:?}");
        assert!(functions.contains(&"net_detect") && functions.contains(&"net_last_error"));
    }

    #[test]
    fn a_library_may_be_named_with_or_without_its_extension() {
        let expected = (Path::new("out/libnet.a").to_owned(), Path::new("out/net.h").to_owned());
        assert_eq!(files(Path::new("out/net"), "a"), expected);
        assert_eq!(files(Path::new("out/libnet.a"), "a"), expected);
        assert_eq!(files(Path::new("net.v2"), "so").0, Path::new("libnet.v2.so"));
    }
}
