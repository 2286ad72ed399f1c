//! Bytes to and from a daemon, without waiting longer than the caller wants to.
//!
//! While it cannot write it reads ahead: a daemon that talks before it has heard everything would otherwise wait for a
//! client that waits for it.

use super::transport::Transport;
use super::wait::Wait;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read, Write};
use std::time::Duration;

/// How much is read at once, and gathered before it is written.
const BUFFER: usize = 64 * 1024;

/// How much is read ahead while writing is not possible.
const MAX_AHEAD: usize = 16 << 20;

/// A transport and what is on its way.
pub(super) struct Channel {
    transport: Box<dyn Transport>,
    inbound: Vec<u8>,
    /// How much at the beginning of `inbound` has been taken.
    taken: usize,
    outbound: Vec<u8>,
    /// Something was said, and nothing heard since.
    asked: bool,
    /// The other side says nothing more.
    ended: bool,
}

impl Channel {
    /// Speaks over `transport`.
    pub fn new(transport: Box<dyn Transport>) -> io::Result<Self> {
        transport.socket().set_nonblocking(true)?;
        Ok(Self { transport, inbound: Vec::new(), taken: 0, outbound: Vec::new(), asked: false, ended: false })
    }

    /// What to say of the other side's end.
    pub fn transport(&mut self) -> &mut dyn Transport {
        &mut *self.transport
    }

    /// Whether the other side has said something that nobody asked for, such as that it is gone.
    pub fn stirs(&mut self) -> bool {
        self.ended || self.taken < self.inbound.len() || !matches!(self.receive(), Ok(None))
    }

    /// Reads what there is, and tells how much; `None` where nothing is there yet.
    fn receive(&mut self) -> io::Result<Option<usize>> {
        self.inbound.drain(..self.taken);
        self.taken = 0;
        let before = self.inbound.len();
        self.inbound.resize(before + BUFFER, 0);
        let read = would_block(self.transport.socket().read(&mut self.inbound[before..]));
        self.inbound.truncate(before + read.as_ref().map_or(0, |read| read.unwrap_or(0)));
        self.ended |= matches!(read, Ok(Some(0)));
        read
    }

    /// Waits until one of `wanted` can be done, and no longer than `time`.
    fn poll(&self, wanted: PollFlags, time: Duration) -> io::Result<PollFlags> {
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        let mut sockets = [PollFd::new(self.transport.socket(), wanted)];
        match poll(&mut sockets, Some(&time)) {
            Ok(_) => Ok(sockets[0].revents()),
            Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A channel for the time of one call.
pub(super) struct Link<'a, 'w> {
    pub channel: &'a mut Channel,
    pub wait: &'a mut Wait<'w>,
}

impl Link<'_, '_> {
    fn go_on(&mut self) -> io::Result<Duration> {
        self.wait.go_on().map_err(io::Error::other)
    }

    /// Reads until there is something to take, or the other side has ended.
    fn fill(&mut self) -> io::Result<()> {
        // Nobody answers at once, so the first thing is to wait.
        let mut asked = std::mem::take(&mut self.channel.asked);
        while !self.channel.ended {
            let time = self.go_on()?;
            if !std::mem::take(&mut asked) && self.channel.receive()?.is_some() {
                self.wait.heard();
                return Ok(());
            }
            self.channel.poll(PollFlags::IN, time)?;
        }
        Ok(())
    }

    /// Waits until writing is possible or something could be read.
    fn wait_to_write(&mut self) -> io::Result<()> {
        let time = self.go_on()?;
        let reads_ahead = !self.channel.ended && self.channel.inbound.len() < MAX_AHEAD;
        let wanted = if reads_ahead { PollFlags::IN | PollFlags::OUT } else { PollFlags::OUT };
        let ready = self.channel.poll(wanted, time)?;
        if ready.contains(PollFlags::IN) && self.channel.receive()?.is_some() {
            self.wait.heard();
        }
        Ok(())
    }
}

impl Read for Link<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.channel.taken == self.channel.inbound.len() {
            self.fill()?;
        }
        let there = &self.channel.inbound[self.channel.taken..];
        let taken = there.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&there[..taken]);
        self.channel.taken += taken;
        Ok(taken)
    }
}

impl Write for Link<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.channel.outbound.len() >= BUFFER {
            self.flush()?;
        }
        let taken = bytes.len().min(BUFFER);
        self.channel.outbound.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.channel.outbound.len() {
            self.go_on()?;
            match would_block(self.channel.transport.socket().write(&self.channel.outbound[sent..]))? {
                Some(written) => {
                    sent += written;
                    self.wait.heard();
                }
                None => self.wait_to_write()?,
            }
        }
        self.channel.asked |= sent > 0;
        self.channel.outbound.clear();
        Ok(())
    }
}

/// Nothing where it has to be tried again.
fn would_block(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
