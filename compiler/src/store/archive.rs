//! `.tar.gz` archives from strangers.

use super::error::{ArchiveFault, Error};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use tar::EntryType;
use tempfile::TempDir;

/// End of the names of archives.
pub const SUFFIX: &str = ".tar.gz";

/// What an archive may unpack to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all its members.
    pub bytes: u64,
    /// Members.
    pub members: usize,
}

/// More than any model that can be compiled, with all that lies beside it.
const LIMITS: Limits = Limits { bytes: 4 << 30, members: 10_000 };

/// Unpacks an archive to a temporary folder, which goes away with what is returned.
///
/// # Errors
/// Names the archive and what is wrong with it.
pub fn unpacked(archive: &Path) -> Result<TempDir, Error> {
    let folder = tempfile::tempdir();
    let error = |fault| Error::Archive { archive: archive.to_path_buf(), fault };
    let folder = folder.map_err(|e| error(ArchiveFault::Damaged(e)))?;
    unpack(archive, folder.path(), LIMITS).map_err(error)?;
    Ok(folder)
}

/// Unpacks the files of an archive to a folder, and nothing but files, and nothing outside of it.
///
/// # Errors
/// At the first member that is not to be trusted, or that would pass a limit; nothing of that member is written.
pub fn unpack(archive: &Path, folder: &Path, limits: Limits) -> Result<(), ArchiveFault> {
    let damaged = ArchiveFault::Damaged;
    let file = BufReader::new(File::open(archive).map_err(damaged)?);
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file));
    let too_large = || ArchiveFault::TooLarge(limits.bytes >> 20);
    let mut left = limits.bytes;
    let mut names = BTreeSet::new();
    // Raw: extended headers come as members of their own. They cannot rename what follows, nor fill the memory.
    for (index, entry) in archive.entries().map_err(damaged)?.raw(true).enumerate() {
        let mut entry = entry.map_err(damaged)?;
        let size = entry.header().entry_size().map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(rest) = left.checked_sub(size) else { return Err(too_large()) };
        left = rest;
        if index >= limits.members {
            return Err(ArchiveFault::TooMany(limits.members));
        }
        match entry.header().entry_type() {
            EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink => continue,
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory => {
                inside(&name)?;
                continue;
            }
            _ => return Err(ArchiveFault::Kind(name)),
        }
        let path = folder.join(inside(&name)?);
        if !names.insert(path.clone()) {
            return Err(ArchiveFault::Twice(name));
        }
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(damaged)?;
        let mut to = File::create(&path).map_err(damaged)?;
        let written = io::copy(&mut entry.by_ref().take(size), &mut to).map_err(damaged)?;
        if written != size {
            return Err(damaged(io::Error::new(io::ErrorKind::UnexpectedEof, format!("`{name}` ends early"))));
        }
    }
    Ok(())
}

/// The path of a member below the folder.
fn inside(name: &str) -> Result<PathBuf, ArchiveFault> {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return Err(ArchiveFault::Outside(name.to_string())),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::{ArchiveFault, Limits, unpack};
    use flate2::{Compression, write::GzEncoder};
    use std::fs::File;
    use std::path::Path;
    use tar::{EntryType, Header};

    const LIMITS: Limits = Limits { bytes: 1 << 20, members: 8 };

    struct Member<'a> {
        name: &'a str,
        kind: EntryType,
        data: &'a [u8],
        size: Option<u64>,
    }

    fn file<'a>(name: &'a str, data: &'a [u8]) -> Member<'a> {
        Member { name, kind: EntryType::Regular, data, size: None }
    }

    /// Writes headers byte by byte: the library would refuse what a stranger would not.
    fn write(path: &Path, members: &[Member<'_>]) {
        let encoder = GzEncoder::new(File::create(path).expect("writable"), Compression::fast());
        let mut builder = tar::Builder::new(encoder);
        for Member { name, kind, data, size } in members {
            let mut header = Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(size.unwrap_or(data.len() as u64));
            header.set_cksum();
            builder.append(&header, *data).expect("writable");
        }
        builder.into_inner().and_then(GzEncoder::finish).expect("writable");
    }

    fn fault(members: &[Member<'_>]) -> String {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let (archive, folder) = (outer.path().join("a.tar.gz"), outer.path().join("in/folder"));
        std::fs::create_dir_all(&folder).expect("writable");
        write(&archive, members);
        let fault: ArchiveFault = unpack(&archive, &folder, LIMITS).expect_err("hostile");
        let outside = ["evil", "in/evil", "in/folder/evil"].map(|name| outer.path().join(name));
        assert!(outside.iter().all(|path| !path.exists()), "{fault}");
        fault.to_string()
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let archive = outer.path().join("a.tar.gz");
        let folder = Member { name: "deployment/", kind: EntryType::Directory, data: b"", size: None };
        let extended = Member { name: "x", kind: EntryType::XHeader, data: b"19 path=../../evil\n", size: None };
        write(&archive, &[folder, extended, file("./deployment/model.onnx", b"model"), file("b.npz", &[7; 5000])]);
        unpack(&archive, outer.path(), LIMITS).expect("an honest archive");
        assert_eq!(std::fs::read(outer.path().join("deployment/model.onnx")).expect("unpacked"), b"model");
        assert_eq!(std::fs::read(outer.path().join("b.npz")).expect("unpacked"), [7; 5000]);
    }

    #[test]
    fn members_outside_links_and_devices_are_refused() {
        for name in ["../evil", "a/../../evil", "/tmp/evil", "./../evil"] {
            assert!(fault(&[file(name, b"x")]).contains(&format!("`{name}` would be written outside")), "{name}");
        }
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Fifo] {
            let member = Member { name: "evil", kind, data: b"", size: None };
            assert_eq!(fault(&[member]), "its member `evil` is neither a file nor a folder; it is not to be trusted");
        }
        assert_eq!(fault(&[file("a", b"1"), file("./a", b"2")]), "it holds `./a` twice");
    }

    #[test]
    fn huge_archives_are_refused_before_they_are_written() {
        let member = Member { name: "evil", kind: EntryType::Regular, data: b"x", size: Some(1 << 33) };
        assert_eq!(fault(&[member]), "it unpacks to more than 1 MiB, which no model has");
        // A bomb: as large as it says, and small in the archive.
        let zeros = vec![0; 700_000];
        assert_eq!(
            fault(&[file("a", &zeros), file("evil", &zeros)]),
            "it unpacks to more than 1 MiB, which no model has"
        );
        let header = Member { name: "x", kind: EntryType::XHeader, data: &zeros, size: None };
        let second = Member { name: "y", kind: EntryType::GNULongName, data: &zeros, size: None };
        assert!(fault(&[header, second]).contains("more than 1 MiB"));
        let names: Vec<String> = (0..9).map(|i| i.to_string()).collect();
        let members: Vec<Member<'_>> = names.iter().map(|name| file(name, b"")).collect();
        assert_eq!(fault(&members), "it has more than 8 members, which no model has");
    }

    #[test]
    fn what_is_no_whole_archive_is_refused() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let archive = outer.path().join("a.tar.gz");
        write(&archive, &[file("a", &(0..200_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect::<Vec<_>>())]);
        let whole = std::fs::read(&archive).expect("readable");
        for bytes in [&b"no archive"[..], &whole[..whole.len() / 2]] {
            std::fs::write(&archive, bytes).expect("writable");
            let fault = unpack(&archive, outer.path(), LIMITS).expect_err("damaged").to_string();
            assert!(fault.starts_with("it is no whole .tar.gz: "), "{fault}");
        }
    }
}
