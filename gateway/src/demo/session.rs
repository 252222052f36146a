//! The interactive demo: everything comes up, a person tries things, everything goes down.

use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};
use tokio::time::{MissedTickBehavior, interval};
use vertice_process::signals::Signals;

use super::client::get;
use super::command::Command;
use super::parts::Parts;
use super::places::free_port;
use super::report::{Report, say};
use super::screen;

/// How often is looked whether a part has ended by itself.
const LOOK_AFTER_PARTS: Duration = Duration::from_millis(500);

/// What ended a stretch of waiting.
enum Event {
    Signal,
    Typed(Option<String>),
    Look,
}

/// Runs until a signal or `quit`. A failure while things come up ends it as well.
pub(super) async fn run(
    parts: &mut Parts,
    notes: &[String],
    report: &mut Report,
    signals: &mut Signals,
) -> Result<(), String> {
    say("Vértice demo: a registry, three services with a sidecar per instance, and a gateway.");
    for note in notes {
        say(&format!("  note: {note}"));
    }
    let started = tokio::select! {
        started = parts.start_all(report) => started,
        _ = signals.next() => Err("stopped before everything was up".into()),
    };
    let ended = match started {
        Ok(()) => {
            say(&screen::welcome(parts, free_port(9000)));
            listen(parts, signals).await;
            Ok(())
        }
        Err(why) => Err(why),
    };
    say("Taking everything down in order; Ctrl-C once more kills what is left.");
    tokio::select! {
        () = parts.take_down(report) => {}
        _ = signals.next() => return Err("killed before everything had stopped in order".into()),
    }
    ended.and_then(|()| report.conclude())?;
    say("Everything is down.");
    Ok(())
}

async fn listen(parts: &mut Parts, signals: &mut Signals) {
    let mut typed = terminal_is_ours().then(|| BufReader::new(tokio::io::stdin()).lines());
    let mut look = interval(LOOK_AFTER_PARTS);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            _ = signals.next() => Event::Signal,
            line = next_line(&mut typed) => Event::Typed(line),
            _ = look.tick() => Event::Look,
        };
        let command = match event {
            Event::Signal => return,
            Event::Look => {
                for ended in parts.ended_by_themselves() {
                    say(&format!("! {ended}"));
                }
                continue;
            }
            // Nobody types any more: signals are what is left.
            Event::Typed(None) => {
                typed = None;
                continue;
            }
            Event::Typed(Some(line)) => match Command::parse(&line) {
                Ok(None) => continue,
                Ok(Some(Command::Quit)) => return,
                Ok(Some(command)) => command,
                Err(why) => {
                    say(&why);
                    continue;
                }
            },
        };
        tokio::select! {
            done = obey(command, parts) => say(&done.unwrap_or_else(|why| format!("! {why}"))),
            // What the command had in hand is killed; the rest is taken down.
            _ = signals.next() => return,
        }
    }
}

/// For ever, when nothing can be read.
async fn next_line(lines: &mut Option<Lines<BufReader<Stdin>>>) -> Option<String> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Not when the demo runs in the background of a terminal: reading would stop the whole process (SIGTTIN).
fn terminal_is_ours() -> bool {
    let stdin = std::io::stdin();
    !stdin.is_terminal()
        || rustix::termios::tcgetpgrp(&stdin).is_ok_and(|foreground| foreground == rustix::process::getpgrp())
}

async fn obey(command: Command, parts: &mut Parts) -> Result<String, String> {
    let gateway = parts.places.gateway;
    let ask = screen::ask_the_pair(gateway);
    match command {
        Command::Stop(number) => {
            let done = parts.stop_instance(number).await?;
            Ok(format!("{done}; ask on: {ask}"))
        }
        Command::Kill(number) => {
            let done = parts.kill_instance(number).await?;
            Ok(format!(
                "{done}; ask on: {ask}\n(the sidecar says it is down after three failed checks: status)"
            ))
        }
        Command::Start(number) => parts.start_instance(number).await,
        Command::StopRegistry => {
            parts.kill_registry().await?;
            Ok(format!(
                "registry: killed; the gateway goes on with what it knew: {ask}\n(ages grow: status; try: gateway restart)"
            ))
        }
        Command::StartRegistry => {
            let done = parts.start_registry().await?;
            say(&format!("registry: {done}, empty; the sidecars come back by themselves ..."));
            let running =
                parts.instances.iter().all(|instance| instance.state().contains("with its sidecar"));
            let back = if running { parts.registered().await? } else { "not all instances run".to_owned() };
            Ok(format!("{back}; the gateway finds it within seconds, then the ages fall: status"))
        }
        Command::RestartGateway => {
            let done = parts.restart_gateway().await?;
            Ok(format!("gateway: {done}; ask on: {ask}"))
        }
        Command::Status => {
            let page = get(parts.places.admin, "/services").await;
            let known = match page {
                Ok(page) => screen::status(&page.json()),
                Err(why) => format!("! the gateway's admin page does not answer: {why}"),
            };
            Ok(format!("{}\n\nWhat the gateway knows:\n{known}", screen::running(parts)))
        }
        Command::Help => Ok(screen::help().to_owned()),
        // Taken care of before.
        Command::Quit => Ok(String::new()),
    }
}
