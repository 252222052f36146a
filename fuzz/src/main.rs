//! `cargo xtask fuzz`.
#![allow(clippy::disallowed_methods, reason = "test equipment: it reads the clock and files")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use vertice_fuzz::run::{self, Until};
use vertice_fuzz::targets;

/// Feeds parsers with mutated input until one panics or breaks a law.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask fuzz", bin_name = "cargo xtask fuzz")]
struct Cli {
    /// Which target; all of them, one after the other, when left out
    target: Option<String>,
    /// Seconds per target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Draw the inputs from this seed; a new one when left out
    #[arg(long)]
    seed: Option<u64>,
    /// Feed this one input instead
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// List the targets
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        for target in targets::ALL {
            println!("{:20} {}", target.name, target.what);
        }
        return ExitCode::SUCCESS;
    }
    let wanted = |name: &str| cli.target.as_deref().is_none_or(|target| target == name);
    let chosen: Vec<_> = targets::ALL.iter().filter(|target| wanted(target.name)).collect();
    if chosen.is_empty() {
        eprintln!("there is no such target; --list shows them");
        return ExitCode::from(2);
    }
    let mut failed = false;
    for target in chosen {
        if let Some(path) = &cli.input {
            match std::fs::read(path) {
                Ok(input) => match run::fed(target, &input) {
                    Ok(answer) => println!("{}: {answer}", target.name),
                    Err(message) => {
                        println!("{}: panicked: {message}", target.name);
                        failed = true;
                    }
                },
                Err(error) => {
                    eprintln!("{}: {error}", path.display());
                    return ExitCode::from(2);
                }
            }
            continue;
        }
        let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..));
        match run::run(target, seed, Until::Time(Duration::from_secs(cli.seconds))) {
            Ok(done) => println!(
                "{}: {} inputs, {} different answers, no crash (--seed {seed})",
                target.name, done.inputs, done.answers
            ),
            Err(crash) => {
                failed = true;
                println!("{}: CRASH (--seed {seed}): {}", target.name, crash.message);
                println!("  input: {:?}", String::from_utf8_lossy(&crash.input));
                if let Some(saved) = crash.saved {
                    println!("  again: cargo xtask fuzz {} --input {}", target.name, saved.display());
                    println!("  once mended, put it into fuzz/corpus/{}/", target.name);
                }
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
