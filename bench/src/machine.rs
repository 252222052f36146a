//! The machine of a run: figures mean nothing without it.

use std::fs;

use serde::Serialize;

/// What can be said of it in a line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// 1, 5 and 15 minutes, at the start.
    pub(crate) load_average: String,
}

impl Machine {
    /// Looks at this one.
    pub(crate) fn look() -> Self {
        let cpus = read("/proc/cpuinfo");
        let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            cpu: cpu.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: load_average(),
        }
    }

    /// In a line.
    pub(crate) fn describe(&self) -> String {
        let Self { date, cpu, cores, kernel, load_average } = self;
        format!("{date}, {cores} cores of {cpu}, Linux {kernel}, load average {load_average} at the start")
    }
}

/// How many wanted to run over the last 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
