//! What can be written in a configuration file: one table per section, read by the reader and by the reference page.

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: &'static str,
    /// The value that leaving it out amounts to; where that cannot be written as a value, [`Key::absent`] says it.
    pub default: Option<&'static str>,
    /// What leaving it out means, where [`Key::default`] says nothing.
    pub absent: &'static str,
    /// A value that is accepted.
    pub example: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Why the default is what it is, or what to think of when setting it.
    pub why: &'static str,
}

/// One section.
#[derive(Clone, Copy, Debug)]
pub struct SectionKeys {
    /// As it is written: `[limits]`, `[[route]]`, or empty for what stands before the first section.
    pub header: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// Its keys, in the order in which they are explained.
    pub keys: &'static [Key],
}

/// The names of `keys`.
pub(crate) fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}
