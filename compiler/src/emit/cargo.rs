//! The files that make the modules a crate: manifest, build script, library, program.

use super::entry::header_of;
use super::profile::profile;
use super::{Identity, OptTime, Package, RuntimeSource};
use peristyle_runtime::ffi::HEADER;

/// Adds the crate's own files.
pub fn emit(identity: &Identity, runtime: &RuntimeSource, assembly: &[String], package: &mut Package) {
    package.insert("Cargo.toml", manifest(identity, runtime, !assembly.is_empty()));
    if !assembly.is_empty() {
        package.insert("build.rs", build_script(identity, assembly));
    }
    package.insert("src/lib.rs", library(identity));
    package.insert(header_path(identity), c_header(identity));
    package.insert("src/main.rs", program(identity));
}

fn manifest(identity: &Identity, runtime: &RuntimeSource, assembly: bool) -> String {
    let Identity { name, source, version, .. } = identity;
    let license = match &identity.license {
        Some(license) => format!("license = {license:?}\n"),
        None => "publish = false\n".to_string(),
    };
    let runtime = dependency(runtime, &[]);
    // Said aloud: a folder may keep the build script of a crate that had assembly.
    let script = if assembly { "" } else { "build = false\n" };
    let build = if assembly { "\n[build-dependencies]\ncc = \"1\"\n" } else { "" };
    format!(
        "# {header}\n\
         [package]\n\
         name = {name:?}\n\
         version = {version:?}\n\
         edition = \"2024\"\n\
         rust-version = \"{RUST_VERSION}\"\n\
         description = \"Compiled from {source}; the licence of the model is its owner's\"\n\
         {license}\
         {script}\n\
         [features]\n\
         default = [\"app\"]\n\
         # Threads, and finding out what the machine has. Without it `core` and `alloc` will do.\n\
         std = [\"peristyle-runtime/std\"]\n\
         # The command-line program. Without it this crate is a library with `Model` and no image codecs.\n\
         app = [\"std\", \"peristyle-runtime/app\"]\n\
         # The C interface of `include`, to be built as a static or shared library; `ffi-image` reads image files too.\n\
         ffi = [\"std\", \"peristyle-runtime/ffi\"]\n\
         ffi-image = [\"ffi\", \"peristyle-runtime/image\"]\n\
         \n\
         [[bin]]\n\
         name = {name:?}\n\
         path = \"src/main.rs\"\n\
         required-features = [\"app\"]\n\
         \n\
         [dependencies]\n\
         peristyle-runtime = {runtime}\n\
         {build}\n\
         {profile}",
        header = header_of(&[identity]),
        profile = profile(identity.opt_time),
    )
}

fn build_script(identity: &Identity, assembly: &[String]) -> String {
    let files: String = assembly.iter().map(|path| format!("    {path:?},\n")).collect();
    let library = format!("{}_kernels", identity.name.replace('-', "_"));
    format!(
        "// {header}\n\
         \n\
         //! Assembles the unrolled kernels.\n\
         \n\
         const KERNELS: &[&str] = &[\n{files}];\n\
         \n\
         fn main() {{\n\
         \x20   for file in KERNELS {{\n\
         \x20       println!(\"cargo::rerun-if-changed={{file}}\");\n\
         \x20   }}\n\
         \x20   let target = |key: &str| std::env::var(key).unwrap_or_default();\n\
         \x20   if target(\"CARGO_CFG_TARGET_ARCH\") == \"x86_64\" && target(\"CARGO_CFG_TARGET_OS\") == \"linux\" {{\n\
         \x20       cc::Build::new().files(KERNELS).compile({library:?});\n\
         \x20   }}\n\
         }}\n",
        header = header_of(&[identity]),
    )
}

fn library(identity: &Identity) -> String {
    format!(
        "// {header}\n\
         \n\
         //! The compiled model `{name}`.\n\
         \n\
         #![cfg_attr(not(feature = \"std\"), no_std)]\n\
         \n\
         mod model;\n\
         \n\
         pub use model::*;\n\
         \n\
         #[cfg(feature = \"ffi\")]\n\
         peristyle_runtime::export_c_api!({symbol:?}, Model, SPEC);\n",
        header = header_of(&[identity]),
        name = identity.name,
        symbol = c_name(identity),
    )
}

/// What the names of a model's C interface start with.
pub fn c_name(identity: &Identity) -> String {
    identity.name.replace('-', "_")
}

/// The model's C header in its crate.
pub fn header_path(identity: &Identity) -> String {
    format!("include/{}.h", c_name(identity))
}

fn c_header(identity: &Identity) -> String {
    let name = c_name(identity);
    let text = HEADER.replace("@NAME@", &name.to_ascii_uppercase()).replace("@name@", &name);
    format!("/* {} */\n{text}", header_of(&[identity]))
}

fn program(identity: &Identity) -> String {
    format!("// {}\n\n{}", header_of(&[identity]), main(&[identity]))
}

/// The source of a program of these models.
fn main(models: &[&Identity]) -> String {
    let models: String = (models.iter().map(|identity| identity.name.replace('-', "_")))
        .map(|library| {
            format!(
                "\x20       Compiled {{\n\
                 \x20           new: |threads| Ok(Box::new({library}::Model::new(threads)?.into_engine())),\n\
                 \x20           spec: &{library}::SPEC,\n\
                 \x20       }},\n"
            )
        })
        .collect();
    format!(
        "//! The program of what was compiled: `--help` lists its commands.\n\
         \n\
         use peristyle_runtime::app::{{self, Compiled}};\n\
         \n\
         fn main() -> std::process::ExitCode {{\n\
         \x20   app::main(&[\n{models}\x20   ])\n\
         }}\n"
    )
}

/// Emits the crate of a program of several models, whose crates are in the folders beside it.
pub fn several(name: &str, models: &[&Identity], runtime: &RuntimeSource) -> Package {
    let header = header_of(models);
    let dependencies: String = (models.iter())
        .map(|Identity { name, .. }| format!("{name} = {{ path = \"../{name}\", default-features = false }}\n"))
        .collect();
    let mut package = Package::default();
    package.insert(
        "Cargo.toml",
        format!(
            "# {header}\n\
             [package]\n\
             name = {name:?}\n\
             version = \"0.1.0\"\n\
             edition = \"2024\"\n\
             publish = false\n\
             \n\
             [dependencies]\n\
             peristyle-runtime = {runtime}\n\
             {dependencies}\n\
             {profile}",
            runtime = dependency(runtime, &["app"]),
            profile = profile(models.first().map_or(OptTime::Full, |model| model.opt_time)),
        ),
    );
    package.insert("src/main.rs", format!("// {header}\n\n{}", main(models)));
    package
}

/// How the runtime is depended on.
fn dependency(runtime: &RuntimeSource, features: &[&str]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let features = if features.is_empty() { String::new() } else { format!(", features = {features:?}") };
    match runtime {
        RuntimeSource::Path(path) => {
            format!("{{ path = {path:?}, version = \"{version}\", default-features = false{features} }}")
        }
        RuntimeSource::Registry => format!("{{ version = \"{version}\", default-features = false{features} }}"),
    }
}

/// What compiles the runtime compiles what uses it.
const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");
