//! Where the last known good stands on disk, and what becomes of a file that cannot be used.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::format::{self, About, EntryRef, Kept, Unusable};

/// The newest file.
pub const CURRENT: &str = "last-known-good.jsonl";
/// The one before it.
pub const PREVIOUS: &str = "last-known-good.jsonl.previous";

/// A folder of one gateway.
#[derive(Clone, Debug)]
pub struct StateDir {
    dir: PathBuf,
    /// By process: one that drains while its successor starts must not write into the same file.
    temporary: PathBuf,
}

/// What a load found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The newest file that is whole.
    pub kept: Option<Kept>,
    /// Its name.
    pub name: Option<PathBuf>,
    /// What an operator should know.
    pub remarks: Vec<String>,
    /// A file is in the way that must not be overwritten and could not be moved.
    pub blocked: bool,
}

impl StateDir {
    /// Makes the folder if it is missing, and makes sure that it can be written to.
    pub fn open(dir: &Path, process: u32) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let temporary = dir.join(format!("{CURRENT}.{process}.tmp"));
        fs::write(&temporary, b"")?;
        fs::remove_file(&temporary)?;
        Ok(Self { dir: dir.to_owned(), temporary })
    }

    /// The newest whole file about `registry`. What cannot be used is moved aside, never deleted. `unix_ms` tells files
    /// apart that are moved away from under one name.
    pub fn load(&self, registry: &str, unix_ms: u64) -> Loaded {
        let mut loaded = Loaded::default();
        for path in [self.dir.join(CURRENT), self.dir.join(PREVIOUS)] {
            let shown = path.display();
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    loaded.remarks.push(format!("{shown}: it cannot be opened: {error}"));
                    continue;
                }
            };
            let aside = match format::read(&mut BufReader::new(file)) {
                Ok(kept) if kept.registry != registry => {
                    loaded.remarks.push(format!(
                        "{shown}: not used, it is of the registry {}; the one of this gateway is {registry}",
                        kept.registry
                    ));
                    continue;
                }
                Ok(kept) => {
                    if kept.left_out > 0 {
                        loaded.remarks.push(format!("{shown}: {} entries break a rule", kept.left_out));
                    }
                    (loaded.kept, loaded.name) = (Some(kept), Some(path));
                    break;
                }
                Err(error @ Unusable::Newer(format)) => {
                    loaded.remarks.push(format!("{shown}: not used, {error}"));
                    with_suffix(&path, &format!(".format-{format}.{unix_ms}"))
                }
                Err(error @ Unusable::Corrupt(_)) => {
                    loaded.remarks.push(format!("{shown}: not used, {error}"));
                    with_suffix(&path, ".corrupt")
                }
                Err(error @ Unusable::Read(_)) => {
                    loaded.remarks.push(format!("{shown}: not used, {error}"));
                    continue;
                }
            };
            match fs::rename(&path, &aside) {
                Ok(()) => loaded.remarks.push(format!("{shown}: moved to {}", aside.display())),
                Err(error) => {
                    loaded
                        .remarks
                        .push(format!("{shown}: it cannot be moved aside, so nothing is kept: {error}"));
                    loaded.blocked = true;
                }
            }
        }
        loaded
    }

    /// Puts a new file in the place of the current one, which becomes the previous one. At every moment one of the two is
    /// whole on disk.
    pub fn write<'a, I>(&self, about: &About, entries: I) -> io::Result<()>
    where
        I: Iterator<Item = EntryRef<'a>> + Clone,
    {
        let current = self.dir.join(CURRENT);
        let mut out = BufWriter::with_capacity(256 * 1024, File::create(&self.temporary)?);
        format::write(about, entries, &mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        match fs::rename(&current, self.dir.join(PREVIOUS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::rename(&self.temporary, &current)?;
        // The names are data of the folder.
        File::open(&self.dir)?.sync_all()
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
