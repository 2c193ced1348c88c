//! The run: connects, waits, loads, and takes every delivery.
//!
//! One thread, one edge-triggered epoll, one read for a readable socket. Nothing is computed for a delivery that can be
//! computed for a frame, and nothing for a frame that can be computed for a read.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs as _};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, bail};
use memchr::memmem;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;

use crate::clock::{SECOND, nanos, now};
use crate::connection::{Connection, Stage};
use crate::frame::{self, Frame};
use crate::marker::{Content, Marker};
use crate::options::{Options, name_of};
use crate::process::Usage;
use crate::report::{Moment, Report, Run};
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::template::{Template, Values};
use crate::transport::{Tls, Transport};

/// Most bytes of one read.
const READ_BYTES: usize = 256 * 1024;

/// Most events that are taken from the kernel at once.
const EVENTS: usize = 4_096;

/// Events after which the clock is read, so that due messages do not wait for the other events.
const EVENTS_PER_LOOK: usize = 64;

/// A source address of this process. The kernel keeps the ports of closed connections for a minute. If an earlier run has left
/// thousands of them at the same address, the search for a free port is slow.
fn first_source() -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    // Not 127.0.x.x, where servers listen. The last byte is the offset of a source.
    Ipv4Addr::new(127, 1 + high % 254, low, 1)
}

/// In the closed loop, messages that did not arrive for so long are lost, and others are sent in their place.
const STALL: u64 = SECOND;

/// See the module.
pub(crate) struct Load {
    options: Options,
    address: SocketAddrV4,
    host: String,
    tls: Option<Tls>,
    /// The first source address of connections to a loopback address.
    first_source: Ipv4Addr,
    path: Template,
    message: Template,
    hellos: Vec<Template>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// The senders' connections, each with its room.
    senders: Vec<(usize, usize)>,
    /// The next message's number, by sender; of private messages by sender and receiver.
    numbers: Vec<u32>,
    /// The ready connections, by room.
    ready_in: Vec<u64>,
    tally: Tally,
    /// Where the newest marker stood in its frame; the next one most likely stands there, too.
    usual_offset: usize,
    schedule: Option<Schedule>,
    /// The sender whose turn it is.
    turn: usize,
    /// Deliveries of messages that were given up after a [`STALL`].
    given_up: u64,
    run: Run,
    buffer: Vec<u8>,
    payload: Vec<u8>,
    text: Vec<u8>,
    frame: Vec<u8>,
}

impl Load {
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        let is_tls = options.url.starts_with("wss://");
        let rest = options.url.strip_prefix(if is_tls { "wss://" } else { "ws://" });
        let rest = rest.context("--url must begin with ws:// or wss://")?;
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let tls = match &options.ca {
            Some(ca) if is_tls => Some(Tls::new(ca, host, options.handshake)?),
            None if is_tls => bail!("wss:// needs --ca"),
            _ => None,
        };
        let mut addresses = host.to_socket_addrs().with_context(|| format!("--url: no HOST:PORT: {host}"))?;
        let ipv4 = |address| if let SocketAddr::V4(address) = address { Some(address) } else { None };
        let address = addresses.find_map(ipv4).context("--url: the host has no IPv4 address")?;
        let all = options.connections + options.slow_readers;
        let wanted = (all + 64) as u64;
        let files = rlimit::increase_nofile_limit(wanted)?;
        anyhow::ensure!(files >= wanted, "{wanted} open files are needed, {files} are allowed");
        let per_sender = if options.private { options.connections } else { 1 };
        Ok(Self {
            address,
            host: host.to_owned(),
            tls,
            first_source: first_source(),
            path: Template::parse(path),
            message: Template::parse(&options.message),
            hellos: options.hello.iter().map(|hello| Template::parse(hello)).collect(),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: (0..all).map(|number| Connection::new(number >= options.connections)).collect(),
            senders: (0..options.senders)
                .map(|sender| sender * options.connections / options.senders)
                .map(|connection| (connection, options.room_of(connection)))
                .collect(),
            numbers: vec![0; options.senders * per_sender],
            ready_in: vec![0; options.rooms],
            tally: Tally::new(options.connections, options.senders),
            usual_offset: 0,
            schedule: None,
            turn: 0,
            given_up: 0,
            run: Run::new()?,
            buffer: vec![0; READ_BYTES],
            payload: vec![b'x'; options.size],
            text: Vec::new(),
            frame: Vec::new(),
            options,
        })
    }

    /// Runs from the first connection to the last delivery.
    pub(crate) fn run(mut self) -> anyhow::Result<Report> {
        let mut events = Vec::with_capacity(EVENTS);
        self.run.usage_before = self.usage();
        self.connect_all(&mut events)?;
        self.run.usage_connected = self.usage();
        self.wait_until(now() + nanos(self.options.settle), &mut events)?;
        self.run.usage_idle = self.usage();
        let schedule = Schedule::new(&self.options, now());
        self.run.seconds = schedule.seconds();
        self.schedule = Some(schedule.clone());
        self.wait_until(schedule.window.start, &mut events)?;
        let begin = self.moment();
        self.wait_until(schedule.window.end, &mut events)?;
        let end = self.moment();
        let drained_by = now() + nanos(self.options.drain);
        while self.tally.counts.received < self.run.expected && now() < drained_by {
            self.poll(drained_by, &mut events)?;
        }
        self.run.usage_after = self.usage();
        Ok(Report::new(&self.options, &self.run, &self.tally.counts, (begin, end)))
    }

    fn usage(&self) -> Usage {
        Usage::of(&self.options.server_pid)
    }

    fn moment(&self) -> Moment {
        let counts = self.tally.counts;
        Moment { at: now(), received: counts.received, busy: self.run.busy, server: self.usage(), own: Usage::own() }
    }

    // ---- connections

    fn connect_all(&mut self, events: &mut Vec<Event>) -> anyhow::Result<()> {
        let began = now();
        let (mut next, mut decided, mut moved) = (0, 0, began);
        while next < self.connections.len() || self.run.connecting > 0 {
            while next < self.connections.len() && self.run.connecting < self.options.connect_concurrency {
                self.connect(next)?;
                next += 1;
            }
            self.poll(now() + SECOND / 10, events)?;
            let (before, time) = (decided, now());
            decided = self.run.ready + self.run.failed;
            if decided != before {
                moved = time;
            } else if time - moved > nanos(self.options.connect_timeout) {
                self.run.failed += self.run.connecting + self.connections.len() - next;
                break;
            }
        }
        self.run.connect_seconds = (now() - began) as f64 / SECOND as f64;
        if self.run.ready == 0 {
            bail!("no connection became ready: {}", self.run.note);
        }
        Ok(())
    }

    fn connect(&mut self, number: usize) -> anyhow::Result<()> {
        let offset = u32::try_from(number / self.options.per_address)?;
        let from = self.address.ip().is_loopback().then(|| Ipv4Addr::from_bits(self.first_source.to_bits() + offset));
        let connection = &mut self.connections[number];
        self.run.connecting += 1;
        if let Err(error) = connection.connect(self.address, from, self.tls.as_ref(), now()) {
            connection.stage = Stage::Connecting;
            self.lose(number, &error);
        } else if let Some(socket) = &connection.socket {
            let all = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, socket.tcp(), EventData::new_u64(number as u64), all)?;
        }
        Ok(())
    }

    /// A connection has ended, or does not become ready.
    #[cold]
    fn lose(&mut self, number: usize, why: &dyn std::fmt::Display) {
        let connection = &mut self.connections[number];
        match connection.stage {
            Stage::Connecting | Stage::Handshake | Stage::Greeting => {
                self.run.connecting -= 1;
                self.run.failed += 1;
            }
            Stage::Ready if !connection.is_slow => {
                self.run.disconnects += 1;
                self.ready_in[self.options.room_of(number)] -= 1;
            }
            Stage::New | Stage::Ready | Stage::Ended => {}
        }
        if self.run.note.is_empty() {
            self.run.note = why.to_string();
        }
        self.connections[number].end();
    }

    fn request(&mut self, number: usize) {
        self.text.clear();
        let values = Values { id: &name_of(number), room: self.options.room_of(number), ..Values::default() };
        self.path.fill(values, &mut self.text);
        let path = String::from_utf8_lossy(&self.text).into_owned();
        let key = fastrand::u128(..).to_le_bytes();
        if let Err(error) = self.connections[number].request(&self.host, &path, key) {
            self.lose(number, &error);
        }
    }

    fn accepted(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.stage = Stage::Greeting;
        self.run.resumed += usize::from(connection.socket.as_ref().is_some_and(Transport::is_resumed));
        let mut text = Vec::new();
        for hello in 0..self.hellos.len() {
            text.clear();
            let values = Values { id: &name_of(number), room: self.options.room_of(number), ..Values::default() };
            self.hellos[hello].fill(values, &mut text);
            self.send(number, frame::TEXT, &text);
        }
        if self.options.ready_contains.is_none() {
            self.is_ready(number);
        }
    }

    fn is_ready(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if connection.stage != Stage::Greeting {
            return;
        }
        connection.stage = Stage::Ready;
        self.run.connecting -= 1;
        self.run.ready += 1;
        self.run.handshake.saturating_record(now() - connection.begun);
        if !connection.is_slow {
            self.ready_in[self.options.room_of(number)] += 1;
        } else if let Some(socket) = &connection.socket
            && let Err(error) = epoll::delete(&self.epoll, socket.tcp())
        {
            self.lose(number, &error);
        }
    }

    // ---- sending

    fn send(&mut self, number: usize, kind: u8, payload: &[u8]) {
        self.frame.clear();
        frame::write(kind, payload, fastrand::u32(..).to_le_bytes(), &mut self.frame);
        match self.connections[number].send(&self.frame) {
            Ok(true) => {}
            Ok(false) => self.run.sends_queued += 1,
            Err(error) => self.lose(number, &error),
        }
    }

    /// Sends the messages that are due, or that the window has space for.
    fn send_due(&mut self, time: u64) {
        let Some(schedule) = &mut self.schedule else { return };
        if self.options.closed_loop {
            if time >= schedule.window.end {
                return;
            }
            let receivers = if self.options.private { 1 } else { self.ready_in[0].max(1) };
            let most = self.options.window * receivers;
            while self.in_flight() < most && self.send_message(now()) {}
            return;
        }
        while let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take_due(time)) {
            self.send_message(due);
            if self.is_measured(due) {
                self.run.lateness.saturating_record(time - due);
            }
        }
    }

    /// Deliveries that are still awaited.
    fn in_flight(&self) -> u64 {
        let counts = &self.tally.counts;
        self.run.expected.saturating_sub(counts.received + counts.skipped + self.given_up)
    }

    fn is_measured(&self, due: u64) -> bool {
        self.schedule.as_ref().is_some_and(|schedule| schedule.window.contains(&due))
    }

    /// Sends one message of the next sender that is connected. Returns whether there is one.
    fn send_message(&mut self, due: u64) -> bool {
        let count = self.senders.len();
        let is_ready = |sender: &usize| self.connections[self.senders[*sender].0].stage == Stage::Ready;
        let Some(sender) = (self.turn..self.turn + count).map(|turn| turn % count).find(is_ready) else { return false };
        self.turn = (sender + 1) % count;
        let (from, room) = self.senders[sender];
        let (target, place, receivers) = if self.options.private {
            let Some(target) = self.another_than(from) else { return false };
            (target, sender * self.options.connections + target, 1)
        } else {
            (0, sender, self.ready_in[room])
        };
        let number = self.numbers[place];
        self.numbers[place] += 1;
        Content { sender, target, number, due }.write(&mut self.payload);
        let (id, to) = (name_of(from), name_of(target));
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        self.message.fill(Values { id: &id, room, target: &to, payload: &self.payload }, &mut text);
        self.send(from, frame::TEXT, &text);
        self.text = text;
        self.run.expected += receivers;
        self.run.sent += 1;
        if self.is_measured(due) {
            self.run.sent_in_window += 1;
        }
        true
    }

    /// Another connection that is ready, at random.
    fn another_than(&self, own: usize) -> Option<usize> {
        let begin = fastrand::usize(..self.options.connections);
        let others = (begin..self.options.connections).chain(0..begin);
        others.into_iter().find(|other| *other != own && self.connections[*other].stage == Stage::Ready)
    }

    // ---- receiving

    /// Reads until the socket has no more, at its end only once: a full buffer says that there is more.
    fn read(&mut self, number: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let connection = &mut self.connections[number];
            if connection.socket.is_none() || (connection.is_slow && connection.stage == Stage::Ready) {
                break;
            }
            let kept = connection.unread.len();
            if buffer.len() < kept + READ_BYTES / 2 {
                buffer.resize(kept + READ_BYTES, 0);
            }
            buffer[..kept].copy_from_slice(&connection.unread);
            let count = match connection.read(&mut buffer[kept..]) {
                Ok(None) => break,
                Ok(Some(0)) => {
                    self.lose(number, &"the server has ended the connection");
                    break;
                }
                Ok(Some(count)) => count,
                Err(error) => {
                    self.lose(number, &error);
                    break;
                }
            };
            let read = &buffer[..kept + count];
            let rest = self.take(number, read);
            let unread = &mut self.connections[number].unread;
            unread.clear();
            unread.extend_from_slice(rest);
            if kept + count < buffer.len() {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Takes all complete frames. Returns the rest.
    fn take<'a>(&mut self, number: usize, mut bytes: &'a [u8]) -> &'a [u8] {
        if self.connections[number].stage == Stage::Handshake {
            match response_length(bytes) {
                Ok(None) => return bytes,
                Ok(Some(length)) => bytes = &bytes[length..],
                Err(refusal) => {
                    self.lose(number, &refusal);
                    return &[];
                }
            }
            self.accepted(number);
        }
        let time = if self.schedule.is_some() { now() } else { 0 };
        loop {
            match frame::split(bytes) {
                Ok(Some((frame, rest))) => {
                    bytes = rest;
                    self.take_frame(number, frame, time);
                    if self.connections[number].socket.is_none() {
                        return &[];
                    }
                }
                Ok(None) => return bytes,
                Err(frame::BadFrame) => {
                    self.run.protocol_errors += 1;
                    self.lose(number, &"a frame of the server is masked or uses an extension");
                    return &[];
                }
            }
        }
    }

    #[inline]
    fn take_frame(&mut self, number: usize, Frame { kind, payload }: Frame<'_>, time: u64) {
        match kind {
            0..=2 => self.take_data(number, payload, time),
            frame::CLOSE => {
                self.send(number, frame::CLOSE, payload);
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                self.lose(number, &format_args!("the server has closed the connection with {code}"));
            }
            frame::PING => self.send(number, frame::PONG, payload),
            frame::PONG => {}
            _ => self.run.protocol_errors += 1,
        }
    }

    /// Takes the messages of a frame; a frame may have several.
    #[inline]
    fn take_data(&mut self, number: usize, payload: &[u8], time: u64) {
        let mut found = Marker::at(payload, self.usual_offset).map(|marker| (self.usual_offset, marker));
        let mut from = 0;
        let mut has_one = false;
        loop {
            if found.is_none() {
                found = Marker::find(payload, from).and_then(|at| Some((at, Marker::at(payload, at)?)));
            }
            let Some((at, marker)) = found.take() else { break };
            if !has_one {
                (has_one, self.usual_offset) = (true, at);
            }
            self.delivered(number, marker, time);
            from = at + self.options.size;
        }
        if !has_one {
            self.take_other(number, payload);
        }
    }

    #[cold]
    fn take_other(&mut self, number: usize, payload: &[u8]) {
        let text = self.options.ready_contains.as_ref();
        if text.is_some_and(|text| memmem::find(payload, text.as_bytes()).is_some()) {
            self.is_ready(number);
        }
    }

    #[inline]
    fn delivered(&mut self, number: usize, marker: Marker<'_>, time: u64) {
        let sender = marker.sender();
        let Some((from, room)) = self.senders.get(sender).copied() else {
            self.run.protocol_errors += 1;
            return;
        };
        let is_meant = if self.options.private {
            // A server may return a private message to its sender.
            if number == from {
                return;
            }
            marker.target() == number
        } else {
            self.options.rooms == 1 || room == self.options.room_of(number)
        };
        if !is_meant {
            self.tally.counts.misrouted += 1;
        } else if self.tally.take(number, sender, marker.number()) {
            let due = marker.due();
            if self.is_measured(due) {
                self.run.latency.saturating_record(time.saturating_sub(due));
            }
        }
    }

    // ---- the loop

    /// Loads until this time.
    fn wait_until(&mut self, end: u64, events: &mut Vec<Event>) -> anyhow::Result<()> {
        let mut moved = (self.tally.counts.received, now());
        loop {
            let time = now();
            if time >= end {
                return Ok(());
            }
            self.send_due(time);
            let received = self.tally.counts.received;
            if received != moved.0 {
                moved = (received, time);
            } else if self.options.closed_loop && time - moved.1 > STALL {
                self.given_up += self.in_flight();
                moved.1 = time;
            }
            let due = self.schedule.as_ref().and_then(Schedule::next).unwrap_or(u64::MAX);
            self.poll(due.min(end).min(time + SECOND), events)?;
        }
    }

    /// Waits for events, at most until this time, and handles them.
    fn poll(&mut self, until: u64, events: &mut Vec<Event>) -> anyhow::Result<()> {
        let before = now();
        let wait = if self.options.busy_poll && self.schedule.is_some() { 0 } else { until.saturating_sub(before) };
        let timeout = Timespec { tv_sec: i64::try_from(wait / SECOND)?, tv_nsec: i64::try_from(wait % SECOND)? };
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let begun = if wait == 0 { before } else { now() };
        for (index, event) in events.iter().enumerate() {
            let number = usize::try_from(event.data.u64())?;
            self.happened(number, event.flags);
            if index % EVENTS_PER_LOOK == EVENTS_PER_LOOK - 1 && self.schedule.is_some() {
                self.send_due(now());
            }
        }
        if !events.is_empty() {
            self.run.busy += now() - begun;
        }
        Ok(())
    }

    fn happened(&mut self, number: usize, flags: EventFlags) {
        let connection = &mut self.connections[number];
        if flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP)
            && connection.stage == Stage::Connecting
        {
            self.request(number);
        } else if flags.contains(EventFlags::OUT)
            && connection.has_unsent()
            && let Err(error) = connection.flush()
        {
            self.lose(number, &error);
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            self.read(number);
        }
    }
}

/// The length of the response to the handshake. `Ok(None)`: it is incomplete.
///
/// # Errors
/// The server has refused; the text says how.
fn response_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) if response.code == Some(101) => Ok(Some(length)),
        Ok(httparse::Status::Complete(_)) => Err(format!("the server has refused with {}", response.code.unwrap_or(0))),
        Err(error) => Err(format!("the server's response is no HTTP: {error}")),
    }
}
