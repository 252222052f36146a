//! Programs of Python's with packages of PyPI: peers that nobody here wrote, from the environment that `cargo xtask test` makes.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::wait::{PATIENCE, within};

/// A running script of this crate. It ends with this.
#[derive(Debug)]
pub struct Script {
    name: String,
    _child: Child,
    says: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
}

impl Script {
    /// Starts `name`, a path within this crate.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let exe = std::env::current_exe().unwrap();
        let python = exe.ancestors().nth(3).unwrap().join("tools/python/bin/python3");
        assert!(python.is_file(), "{} is missing: `cargo xtask test` installs it", python.display());
        let mut command = Command::new(python);
        // No compiled modules beside the sources.
        command.arg("-B").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { name: name.to_owned(), _child: child, says, input }
    }

    /// Its next line; `None` after the last.
    pub async fn line(&mut self) -> Option<String> {
        within(PATIENCE, &format!("a line of {}", self.name), self.says.next_line()).await.unwrap()
    }

    /// The URL of a server whose next line is its port.
    pub async fn url(&mut self) -> String {
        format!("http://127.0.0.1:{}", self.line().await.expect("a server says its port"))
    }

    /// Tells it `line`.
    pub async fn tell(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
}
