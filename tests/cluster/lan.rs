//! Machines with a router between them. The test is on the router, and reaches all of them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use test_kit::namespace::run;
use test_kit::{DEADLINE, LOOK};

/// The lost packets, as seen from one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Both,
    /// The packets that it sends.
    From,
    /// The packets that are sent to it.
    To,
}

/// A network namespace with a link to the router.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The process that keeps the namespace alive.
    keeper: Child,
    number: usize,
}

impl Machine {
    /// Machines have numbers from 1.
    pub(crate) fn new(number: usize) -> Self {
        let keeper = Command::new("unshare").args(["--net", "--kill-child", "sleep", "infinity"]).spawn().unwrap();
        let machine = Self { keeper, number };
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let place = format!("/proc/{}/ns/net", machine.keeper.id());
        let begun = tokio::time::Instant::now();
        while fs::read_link(&place).is_ok_and(|place| place == own) {
            assert!(begun.elapsed() < DEADLINE, "the namespace does not exist");
            thread::sleep(LOOK);
        }
        let (process, ip) = (machine.keeper.id(), machine.ip());
        run("ip", &format!("link add m{number} type veth peer name eth0 netns {process}"));
        run("ip", &format!("addr add 10.9.{number}.1/24 dev m{number}"));
        run("ip", &format!("link set m{number} up"));
        for command in [
            format!("addr add {ip}/24 dev eth0"),
            "link set eth0 up".to_owned(),
            "link set lo up".to_owned(),
            format!("route add default via 10.9.{number}.1"),
        ] {
            run("nsenter", &format!("--target {process} --net ip {command}"));
        }
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        machine
    }

    pub(crate) fn ip(&self) -> String {
        format!("10.9.{}.2", self.number)
    }

    /// A command that runs on this machine, without standard input, with all output in this file.
    pub(crate) fn command(&self, program: &Path, log: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.keeper.id().to_string(), "--net"]).arg(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        let file = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        command
    }

    /// The rules that lose packets between this machine and the others.
    pub(crate) fn losses(&self, others: &[&Self], way: Way) -> Vec<String> {
        let rule = |from: &Self, to: &Self| format!("from {} to {} blackhole", from.ip(), to.ip());
        let each = |other: &&Self| match way {
            Way::Both => vec![rule(self, other), rule(other, self)],
            Way::From => vec![rule(self, other)],
            Way::To => vec![rule(other, self)],
        };
        others.iter().flat_map(each).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.keeper.kill().unwrap_or_default();
        self.keeper.wait().map(drop).unwrap_or_default();
    }
}
