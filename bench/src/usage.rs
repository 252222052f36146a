//! What processes have used, as the kernel counts it in `/proc`.

use std::fs;

/// CPU time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuTime {
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

/// Memory of one process, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident, shared pages counted in full.
    pub(crate) rss_kib: u64,
    /// Resident, each shared page divided by those who share it.
    pub(crate) pss_kib: u64,
}

impl CpuTime {
    /// Of the process `pid` with all its threads, and of its living children with theirs.
    pub(crate) fn of_tree(pid: u32) -> Result<Self, String> {
        let mut sum = Self::default();
        for pid in tree(pid)? {
            let stat = read(&format!("/proc/{pid}/stat"))?;
            let (user, system) = ticks(&stat).ok_or_else(|| format!("/proc/{pid}/stat cannot be read"))?;
            let per_second = f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100));
            sum.user_s += f64::from(user) / per_second;
            sum.system_s += f64::from(system) / per_second;
        }
        Ok(sum)
    }

    /// What was used between `earlier` and now.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { user_s: self.user_s - earlier.user_s, system_s: self.system_s - earlier.system_s }
    }
}

impl Memory {
    /// Of the process `pid` and its children.
    pub(crate) fn of_tree(pid: u32) -> Result<Self, String> {
        let mut sum = Self::default();
        for pid in tree(pid)? {
            let rollup = read(&format!("/proc/{pid}/smaps_rollup"))?;
            let status = read(&format!("/proc/{pid}/status"))?;
            let known = kib(&status, "VmRSS:").zip(kib(&rollup, "Pss:"));
            let (rss_kib, pss_kib) = known.ok_or_else(|| format!("/proc/{pid} tells no memory"))?;
            sum.rss_kib += rss_kib;
            sum.pss_kib += pss_kib;
        }
        Ok(sum)
    }
}

/// `pid` and its living children; theirs are not looked at: no peer has grandchildren.
fn tree(pid: u32) -> Result<Vec<u32>, String> {
    let children = read(&format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(std::iter::once(pid)
        .chain(children.split_whitespace().filter_map(|child| child.parse().ok()))
        .collect())
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc(5)). The second field is a name in brackets that may hold anything.
fn ticks(stat: &str) -> Option<(u32, u32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The number of a line `Name:   123 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_a_name_that_may_hold_anything() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 0 0 0 345 67 0 0 20 0 1 0 100 1 1";
        assert_eq!(ticks(stat), Some((345, 67)));
        assert_eq!(ticks("12 (a) S 1"), None);
    }

    #[test]
    fn memory_is_told_in_kib() {
        assert_eq!(kib("Name:\tx\nVmRSS:\t    5120 kB\n", "VmRSS:"), Some(5120));
        assert_eq!(kib("VmRSSX: 1 kB", "Pss:"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let memory = Memory::of_tree(std::process::id()).unwrap();
        assert!(memory.rss_kib > 0 && memory.pss_kib > 0 && memory.pss_kib <= memory.rss_kib);
        assert!(CpuTime::of_tree(std::process::id()).is_ok());
    }
}
