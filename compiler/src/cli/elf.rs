//! Sizes of sections in a 64-bit little-endian ELF file.

/// Size in bytes of a section, when the file is such an ELF file and has it.
pub fn section_bytes(file: &[u8], section: &str) -> Option<usize> {
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
            return u64_at(header.checked_add(0x20)?);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::section_bytes;

    #[test]
    fn own_binary_has_code_and_truncations_have_no_answer() {
        let file = std::fs::read(std::env::current_exe().expect("tests run from a file")).expect("readable");
        if cfg!(target_os = "linux") {
            assert!(section_bytes(&file, ".text").is_some_and(|n| n > 1000));
        }
        assert_eq!(section_bytes(&file, ".no-such-section"), None);
        for n in 0..200 {
            let _ = section_bytes(&file[..n], ".text");
        }
    }
}
