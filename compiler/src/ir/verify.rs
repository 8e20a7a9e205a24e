//! Checks the invariants listed in [the parent module](super).
