//! `--emit wheel`: a Python package around the shared libraries of models.

use super::super::compile::describe;
use super::super::{elf, expect_folder};
use super::{Args, Artefact, bill, cargo, megabytes, write_models};
use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use indicatif::ProgressBar;
use peristyle_compiler::{Compilation, emit, unfinished};
use peristyle_runtime::ffi::PYTHON;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{Cursor, Write as _};
use std::path::PathBuf;
use std::time::Instant;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Builds the libraries of all models and packs them.
pub fn run(
    args: &Args,
    compilations: &[Compilation],
    name: &str,
    progress: &ProgressBar,
    start: Instant,
) -> anyhow::Result<()> {
    let folder = args.output.clone().unwrap_or_else(|| PathBuf::from("."));
    expect_folder(&folder, "-o")?;
    if args.no_image_files {
        bail!("--no-image-files: a Python package reads image files; the option is for --emit staticlib and cdylib");
    }
    let package = name.replace('-', "_");
    let mut files: Vec<(String, Vec<u8>)> = vec![
        (format!("{package}/__init__.py"), PYTHON.replace("PACKAGE", &package).into_bytes()),
        (format!("{package}/_models.py"), models(compilations).into_bytes()),
    ];
    let mut glibc = 0;
    let dirs = write_models(args, compilations, progress)?;
    // All libraries link the same crates.
    let mut linked = None;
    for (compilation, dir) in compilations.iter().zip(&dirs) {
        let artefact = Artefact::Library { shared: true, image_files: true };
        let built = cargo::build(dir, &compilation.identity.name, artefact, progress)?;
        linked = built.linked;
        let built = built.file;
        let bytes = std::fs::read(&built).with_context(|| format!("cannot read `{}`", built.display()))?;
        glibc = glibc.max(elf::glibc_minor(&bytes).context(
            "the shared library does not say which C library it needs; wheels are built for Linux with the GNU C library",
        )?);
        files.push((format!("{package}/{}", library(compilation)), bytes));
    }
    // The version tells models and choices of classes apart, so that pip replaces one by another.
    let identities =
        compilations.iter().map(|c| format!("{} {}\n", c.identity.sha256, c.identity.class_names.join(",")));
    let digest = Sha256::digest(identities.collect::<String>());
    let version = format!("{}+{}", env!("CARGO_PKG_VERSION"), emit::hexadecimal(&digest[..4]));
    // Linux has had no wheels for a C library before 2.17.
    let tag = format!("py3-none-manylinux_2_{}_{}", glibc.max(17), std::env::consts::ARCH);
    let info = format!("{package}-{version}.dist-info");
    files.push((format!("{info}/METADATA"), metadata(&package, &version, compilations).into_bytes()));
    let generator = format!("peristyle {}", env!("CARGO_PKG_VERSION"));
    let wheel = format!("Wheel-Version: 1.0\nGenerator: {generator}\nRoot-Is-Purelib: false\nTag: {tag}\n");
    files.push((format!("{info}/WHEEL"), wheel.into_bytes()));
    if let Some(linked) = linked {
        files.push((format!("{info}/sboms/{package}.cdx.json"), bill(&package, compilations, &linked).into_bytes()));
    }
    files.push((format!("{info}/RECORD"), record(&files, &info).into_bytes()));

    let path = folder.join(format!("{package}-{version}-{tag}.whl"));
    let archive = pack(&files)?;
    std::fs::create_dir_all(&folder)
        .and_then(|()| unfinished::write(&path, &archive))
        .with_context(|| format!("cannot write wheel `{}`", path.display()))?;
    progress.finish_and_clear();
    for compilation in compilations {
        println!("{}", describe(compilation));
    }
    println!(
        "{}: {}, `from {package} import Pipeline`, built in {:.1} s",
        path.display(),
        megabytes(usize::try_from(std::fs::metadata(&path)?.len())?),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn library(compilation: &Compilation) -> String {
    format!("lib{}.so", emit::c_name(&compilation.identity))
}

/// The Python module that tells which models there are.
fn models(compilations: &[Compilation]) -> String {
    let mut text = String::from("\"\"\"The models of this package.\"\"\"\n\nMODELS = (\n");
    for compilation in compilations {
        let identity = &compilation.identity;
        let prefix = emit::c_name(identity);
        let external = if compilation.external_files.is_empty() { "False" } else { "True" };
        writeln!(
            text,
            "    {{\n        \"name\": {:?},\n        \"source\": {},\n        \"sha256\": {:?},\n        \
             \"external_data\": {external},\n        \"library\": {:?},\n        \"prefix\": {prefix:?},\n    }},",
            identity.name,
            serde_json::Value::from(identity.source.as_str()),
            identity.sha256,
            library(compilation),
        )
        .expect("writing to a string succeeds");
    }
    text + ")\n"
}

fn metadata(package: &str, version: &str, compilations: &[Compilation]) -> String {
    let sources: Vec<&str> = compilations.iter().map(|compilation| compilation.identity.source.as_str()).collect();
    format!(
        "Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n\
         Summary: Finds objects in images with {}, compiled by peristyle\n\
         License: MIT OR Apache-2.0 for the code; the licence of a model is its owner's\n\
         Requires-Python: >=3.8\nDescription-Content-Type: text/plain\n\n\
         from {package} import Pipeline\n\
         found = Pipeline.create(task=\"yolo\", model_path=\"{}\")(images=[\"photo.jpg\"])\n",
        sources.join(", "),
        sources[0],
    )
}

/// Every file with its hash and size, as installers check them.
fn record(files: &[(String, Vec<u8>)], info: &str) -> String {
    let line = |(path, bytes): &(String, Vec<u8>)| {
        format!("{path},sha256={},{}\n", URL_SAFE_NO_PAD.encode(Sha256::digest(bytes)), bytes.len())
    };
    files.iter().map(line).collect::<String>() + &format!("{info}/RECORD,,\n")
}

/// The files as a zip archive, the same bytes every time.
fn pack(files: &[(String, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        let mode = if path.ends_with(".so") { 0o755 } else { 0o644 };
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(mode);
        archive.start_file(path, options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}
