//! Where the configuration comes from, so that it can be read again: a file, and the flags and the environment of the start.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use vertice_config::Env;
use vertice_config::gateway::{self, FILE_BYTES, Flags, GatewayConfig};

/// The three places.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `--config`
    pub file: Option<PathBuf>,
    /// The other flags.
    pub flags: Flags,
    /// As it was at the start: nobody can change it from outside.
    pub env: Env,
}

impl Origin {
    /// Reads it; every mistake is a line. Blocks on the disk.
    pub fn read(&self) -> Result<GatewayConfig, Vec<String>> {
        let file = match &self.file {
            Some(path) => Some((path.display().to_string(), text(path)?)),
            None => None,
        };
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        gateway::resolve(file, &self.env, &self.flags)
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    /// For people.
    pub fn shown(&self) -> String {
        self.file
            .as_ref()
            .map_or_else(|| "flags and environment".to_owned(), |path| path.display().to_string())
    }
}

fn text(path: &Path) -> Result<String, Vec<String>> {
    let mut text = String::new();
    // One byte more than is read of it: the reader says so with the right words, and a huge file costs no memory.
    let limit = u64::try_from(FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .map_err(|error| vec![format!("{}: {error}", path.display())])?;
    Ok(text)
}
