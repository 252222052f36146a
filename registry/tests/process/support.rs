//! The binary, run and talked to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vertice-registry"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Output of a run that ends by itself.
pub(crate) fn output(arguments: &[&str]) -> (Output, String) {
    let output = command(arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    (output, stderr)
}

/// A registry that runs; killed when the test is over.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    /// Its log before it listened.
    pub(crate) said: String,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawned(&mut command(&[&["run", "--listen", "127.0.0.1:0"], arguments].concat()))
    }

    pub(crate) fn spawned(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut said) = (String::new(), String::new());
        while !line.contains("the registry listens") {
            said.push_str(&line);
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended without listening");
        }
        let after = |mark: &str| {
            let text = line.split_once(mark)?.1;
            let end =
                text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).unwrap_or(text.len());
            text[..end].parse().ok()
        };
        let (address, admin) = (after(" address=").unwrap(), after(" admin=Some("));
        Self { child, stderr, address, admin, said }
    }

    pub(crate) fn stop(mut self, signal: Signal) -> (Option<i32>, String) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (status.code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: r\r\n\r\n").unwrap();
    stream
}

pub(crate) fn first_line(stream: TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

pub(crate) fn read_all(address: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// Sends `body` and returns status and body of the answer; status 0: nobody answered, because the process was killed.
pub(crate) fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    exchange(address, method, path, body).unwrap_or_default()
}

fn exchange(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let head = "host: r\r\nconnection: close\r\ncontent-length:";
    write!(stream, "{method} {path} HTTP/1.1\r\n{head} {length}\r\n\r\n{body}").ok()?;
    let mut all = String::new();
    stream.read_to_string(&mut all).ok()?;
    let status = all.split(' ').nth(1)?.parse().ok()?;
    Some((status, all.split_once("\r\n\r\n")?.1.to_owned()))
}
