//! The functions that run inside Redis: their text, and how they are called.

use redis::{Cmd, from_owned_redis_value};

use super::link::{Away, away};
use super::wire::Connection;

/// What all scripts may touch, in the order of `prelude.lua`.
const KEYS: [&str; 8] = [
    "vertice:meta",
    "vertice:instances",
    "vertice:leases",
    "vertice:drains",
    "vertice:changes",
    "vertice:gone",
    "vertice:expired",
    "vertice:stale",
];
pub(super) const INSTANCES: &str = "vertice:instances";
pub(super) const CHANGES: &str = "vertice:changes";

const PRELUDE: &str = include_str!("scripts/prelude.lua");

/// One of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Join,
    Change,
    Assert,
    Beat,
    Sweep,
    Settle,
    Release,
    PublishLegacy,
}

impl Script {
    const ALL: [Self; 8] = [
        Self::Join,
        Self::Change,
        Self::Assert,
        Self::Beat,
        Self::Sweep,
        Self::Settle,
        Self::Release,
        Self::PublishLegacy,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Join => "join.lua",
            Self::Change => "change.lua",
            Self::Assert => "assert.lua",
            Self::Beat => "beat.lua",
            Self::Sweep => "sweep.lua",
            Self::Settle => "settle.lua",
            Self::Release => "release.lua",
            Self::PublishLegacy => "publish_legacy.lua",
        }
    }

    fn body(self) -> &'static str {
        match self {
            Self::Join => include_str!("scripts/join.lua"),
            Self::Change => include_str!("scripts/change.lua"),
            Self::Assert => include_str!("scripts/assert.lua"),
            Self::Beat => include_str!("scripts/beat.lua"),
            Self::Sweep => include_str!("scripts/sweep.lua"),
            Self::Settle => include_str!("scripts/settle.lua"),
            Self::Release => include_str!("scripts/release.lua"),
            Self::PublishLegacy => include_str!("scripts/publish_legacy.lua"),
        }
    }
}

/// The names under which one Redis knows the scripts.
#[derive(Clone, Debug)]
pub(super) struct Scripts {
    names: Vec<(Script, String)>,
}

impl Scripts {
    /// Loads all of them. A Redis that forgets them (SCRIPT FLUSH) is connected to anew.
    pub(super) async fn load(connection: &dyn Connection) -> Result<Self, Away> {
        let load = |script: Script| {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(format!("{PRELUDE}{}", script.body()));
            command
        };
        let loaded = connection.ask(Script::ALL.into_iter().map(load).collect()).await;
        let names = loaded.map_err(away("loading the scripts"))?.into_iter().map(from_owned_redis_value);
        let names: Vec<String> = names.collect::<Result<_, _>>().map_err(away("loading the scripts"))?;
        Ok(Self { names: Script::ALL.into_iter().zip(names).collect() })
    }

    /// The call of `script`.
    pub(super) fn command(&self, script: Script, arguments: &[String]) -> Cmd {
        let name = self.names.iter().find(|(known, _)| *known == script);
        let mut command = redis::cmd("EVALSHA");
        command.arg(name.map_or("", |(_, name)| name)).arg(KEYS.len()).arg(&KEYS[..]).arg(arguments);
        command
    }
}
