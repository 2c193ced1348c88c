//! A network for a test, with one far host whose link can be cut.
//!
//! The test runs itself again in its own network namespace ([`crate::namespace`]). It does not touch the machine's
//! network and leaves nothing behind.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::namespace::{self, run};
use crate::{DEADLINE, LOOK, Raw};

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// The network, as seen from the server's side.
#[derive(Debug)]
pub struct Network {
    /// The process that keeps the far network namespace alive.
    far: Child,
}

impl Network {
    /// Builds the network in the inner run of this test. Returns `None` in the outer run, after the inner run has
    /// succeeded.
    pub fn own(test: &str) -> Option<Self> {
        namespace::is_inside(test).then(Self::build)
    }

    /// Builds the network in the current namespace, in which [`namespace::again`] has started this process.
    pub fn here() -> Self {
        Self::build()
    }

    /// A command that runs a program on the far host.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.far.id().to_string(), "--net"]).arg(program);
        command
    }

    fn build() -> Self {
        let far = Command::new("unshare").args(["--net", "--kill-child", "sleep", "600"]).stdout(Stdio::null()).spawn();
        let network = Self { far: far.unwrap() };
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let place = network.place();
        let asked = tokio::time::Instant::now();
        while std::fs::read_link(&place).is_ok_and(|far| far == own) {
            assert!(asked.elapsed() < DEADLINE, "the far namespace does not exist");
            thread::sleep(LOOK);
        }
        run("ip", "link add near type veth peer name far");
        run("ip", &format!("link set far netns {}", network.far.id()));
        run("ip", &format!("addr add {NEAR}/24 dev near"));
        run("ip", "link set near up");
        for arguments in [format!("addr add {FAR}/24 dev far"), "link set far up".to_owned()] {
            run("nsenter", &format!("--target {} --net ip {arguments}", network.far.id()));
        }
        network
    }

    fn place(&self) -> String {
        format!("/proc/{}/ns/net", self.far.id())
    }

    /// The address for a server on the near side: any free port.
    pub fn bind(&self) -> String {
        format!("{NEAR}:0")
    }

    /// Connects from the far host.
    pub fn connect(&self, server: SocketAddr) -> Raw {
        let place = File::open(self.place()).unwrap();
        let connecting = thread::spawn(move || {
            // A socket belongs to the network namespace in which it is created.
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let stream = TcpStream::connect_timeout(&server, DEADLINE).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        });
        Raw::from_std(connecting.join().unwrap())
    }

    /// Cuts the link. Packets are lost from now on, and no side gets an error.
    pub fn cut(&self) {
        // On the far side, because on the near side the server's kernel would notice that the route is gone.
        run("nsenter", &format!("--target {} --net ip link set far down", self.far.id()));
        run("ip", &format!("neigh replace {FAR} lladdr 02:00:00:00:00:01 dev near nud permanent"));
    }

    /// Restores the link.
    pub fn mend(&self) {
        run("nsenter", &format!("--target {} --net ip link set far up", self.far.id()));
        run("ip", &format!("neigh del {FAR} dev near"));
    }

    /// The number of connections to the far host that the near side's kernel still keeps.
    pub fn kept_connections(&self) -> usize {
        let far = format!("{:08X}:", u32::from_ne_bytes(FAR.octets()));
        let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        table.lines().filter(|line| line.split_whitespace().nth(2).is_some_and(|to| to.starts_with(&far))).count()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Everything else disappears with the namespace.
        self.far.kill().unwrap_or_default();
        self.far.wait().map(drop).unwrap_or_default();
    }
}
