//! Sections of a 64-bit little-endian ELF file.

/// Size in bytes of a section, when the file is such an ELF file and has it.
pub fn section_bytes(file: &[u8], section: &str) -> Option<usize> {
    self::section(file, section).map(|(_, size)| size)
}

/// The newest version of the GNU C library that the file asks for: its minor number, that of 2.34 being 34.
pub fn glibc_minor(file: &[u8]) -> Option<u32> {
    let (start, size) = section(file, ".dynstr")?;
    let names = file.get(start..start.checked_add(size)?)?;
    let versions = names.split(|byte| *byte == 0).filter_map(|name| name.strip_prefix(b"GLIBC_2."));
    let minor = |version: &[u8]| {
        let digits: Vec<u8> = version.iter().copied().take_while(u8::is_ascii_digit).collect();
        String::from_utf8(digits).ok()?.parse().ok()
    };
    versions.filter_map(minor).max()
}

/// Where a section starts, and its size.
fn section(file: &[u8], section: &str) -> Option<(usize, usize)> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?) as usize);
    let u32_at = |at: usize| Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?) as usize);
    let u64_at = |at: usize| usize::try_from(u64::from_le_bytes(file.get(at..at + 8)?.try_into().ok()?)).ok();
    if file.get(..6)? != [0x7f, b'E', b'L', b'F', 2, 1] {
        return None;
    }
    let (table, entry, count, names) = (u64_at(0x28)?, u16_at(0x3a)?, u16_at(0x3c)?, u16_at(0x3e)?);
    let header = |index: usize| table.checked_add(index.checked_mul(entry)?);
    let names = u64_at(header(names)?.checked_add(0x18)?)?;
    for index in 0..count {
        let header = header(index)?;
        let name = file.get(names.checked_add(u32_at(header)?)?..)?;
        if name.starts_with(section.as_bytes()) && name.get(section.len()) == Some(&0) {
            return Some((u64_at(header.checked_add(0x18)?)?, u64_at(header.checked_add(0x20)?)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{glibc_minor, section_bytes};

    #[test]
    fn own_binary_has_code_and_truncations_have_no_answer() {
        let file = std::fs::read(std::env::current_exe().expect("tests run from a file")).expect("readable");
        if cfg!(target_os = "linux") {
            assert!(section_bytes(&file, ".text").is_some_and(|n| n > 1000));
        }
        if cfg!(all(target_os = "linux", target_env = "gnu")) {
            assert!(glibc_minor(&file).is_some_and(|minor| (2..100).contains(&minor)));
        }
        assert_eq!(section_bytes(&file, ".no-such-section"), None);
        for n in 0..200 {
            let _ = section_bytes(&file[..n], ".text");
            let _ = glibc_minor(&file[..n]);
        }
    }
}
