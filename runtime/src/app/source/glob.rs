//! Patterns of paths, for shells that leave them alone.

use std::fs;
use std::path::{Path, PathBuf};

/// Files and directories that match `pattern`, in no particular order.
///
/// `*` stands for any characters within a name, `?` for one, and a component `**` for any number of directories.
/// Wildcards do not match a leading dot, and `**` does not follow symbolic links. Directories that cannot be read
/// match nothing.
pub fn expand_glob(pattern: &str) -> Vec<PathBuf> {
    let root = if pattern.starts_with('/') { PathBuf::from("/") } else { PathBuf::new() };
    let components: Vec<&str> = pattern.split('/').filter(|component| !component.is_empty()).collect();
    let mut found = Vec::new();
    walk(&root, &components, &mut found);
    found.sort();
    found.dedup();
    found
}

fn walk(directory: &Path, components: &[&str], found: &mut Vec<PathBuf>) {
    let Some((component, rest)) = components.split_first() else {
        found.push(directory.to_owned());
        return;
    };
    if *component == "**" {
        walk(directory, rest, found);
        for (name, path) in entries(directory) {
            if !name.starts_with('.') && path.is_dir() && !path.is_symlink() {
                walk(&path, components, found);
            }
        }
    } else if component.contains(['*', '?']) {
        for (name, path) in entries(directory) {
            let hidden = name.starts_with('.') && !component.starts_with('.');
            if !hidden && matches(component, &name) && (rest.is_empty() || path.is_dir()) {
                walk(&path, rest, found);
            }
        }
    } else {
        let path = directory.join(component);
        if path.exists() {
            walk(&path, rest, found);
        }
    }
}

fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = fs::read_dir(listed) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.map(|name| (name.to_string_lossy().into_owned(), directory.join(name))).collect()
}

/// Whether `name` matches a pattern of `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last `*` has to take one character more.
    let mut retry = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            retry = Some((p + 1, n + 1));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((after_star, next)) = retry {
            (p, n) = (after_star, next);
            retry = Some((after_star, next + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_patterns() {
        for (pattern, name, expected) in [
            ("*.jpg", "a.jpg", true),
            ("*.jpg", "a.jpg.txt", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("???.png", "abc.png", true),
            ("???.png", "ab.png", false),
            ("*", "", true),
            ("?", "é", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_stay_fast() {
        assert!(!matches(&"*a".repeat(30), &"a".repeat(5000).replace("aa", "ab")[..4999].replace('a', "b")));
    }
}
