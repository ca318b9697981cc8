//! A device in QEMU: its console, its network's link, its log.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use defmt_decoder::{DecodeError, Table};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Error, image};

/// How to run a device.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it is.
    pub board: Board,
    /// Whether there is another network to [move](Device::move_cable) to.
    pub elsewhere: bool,
    /// The port that the device listens on.
    pub guest_port: u16,
    /// The port of this machine's loopback interface that leads there; 0 for any that is free.
    pub host_port: u16,
    /// Whether its second serial port is a pseudo-terminal of this machine's.
    pub serial: bool,
    /// Addresses in the image from which and to which instructions are counted.
    pub count: Option<[u64; 2]>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            board: Board::An385,
            elsewhere: false,
            guest_port: 9940,
            host_port: 0,
            serial: false,
            count: None,
        }
    }
}

/// A board of QEMU's; the image is the same.
#[derive(Clone, Copy, Debug)]
pub enum Board {
    /// `mps2-an385`: Cortex-M3.
    An385,
    /// `mps2-an386`: Cortex-M4.
    An386,
}

/// A device that runs. Ends when dropped.
pub struct Device {
    qemu: Child,
    /// Taken to close it.
    console: Option<ChildStdin>,
    monitor: Monitor,
    log: Receiver<String>,
    counts: Receiver<u64>,
    /// Here, and elsewhere if there is that.
    ports: VecDeque<u16>,
    serial: Option<PathBuf>,
    /// Holds the monitor's socket.
    _dir: TempDir,
}

/// This machine's loopback interface, as a device sees it.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// How long QEMU may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

impl Device {
    /// Boots an image that was [provisioned](image::provision).
    ///
    /// # Errors
    /// Where QEMU does not start, or `image` is no such image.
    pub fn boot(image: &Path, options: &Options) -> Result<Self, Error> {
        let failed = |what: &str, error: &dyn std::fmt::Display| Error(format!("{what}: {error}"));
        let elf = fs::read(image).map_err(|error| failed(&image.display().to_string(), &error))?;
        let table = Table::parse(&elf)
            .ok()
            .flatten()
            .ok_or_else(|| failed(&image.display().to_string(), &"no table of defmt's in it"))?;
        let dir = tempfile::tempdir().map_err(|error| failed("a temporary folder", &error))?;
        let monitor = dir.path().join("monitor");
        let tools = image::tools();
        let mut command = Command::new(tools.join("qemu-system-arm"));
        command
            .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
            .arg("-M")
            .arg(match options.board {
                Board::An385 => "mps2-an385",
                Board::An386 => "mps2-an386",
            })
            .args(
                options
                    .serial
                    .then_some(["-serial", "pty"])
                    .iter()
                    .flatten(),
            )
            .arg("-kernel")
            .arg(image)
            .args(networks(options))
            // Not before all is as it is to be.
            .arg("-S")
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", monitor.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some([begin, end]) = options.count {
            let plugin = tools.join("libinsn.so");
            command.arg("-plugin").arg(format!(
                "{},begin={begin:#x},end={end:#x}",
                plugin.display()
            ));
        }
        let mut qemu = command
            .spawn()
            .map_err(|error| failed("qemu-system-arm (targets/toolchain.sh makes it)", &error))?;
        let console = qemu.stdin.take();
        let (send_log, log) = mpsc::channel();
        if let Some(output) = qemu.stdout.take() {
            thread::spawn(move || decode(output, &table, &send_log));
        }
        let (send_count, counts) = mpsc::channel();
        if let Some(errors) = qemu.stderr.take() {
            thread::spawn(move || {
                for line in BufReader::new(errors).lines().map_while(Result::ok) {
                    match line.strip_prefix("section ").map(str::parse) {
                        Some(Ok(count)) => drop(send_count.send(count)),
                        // `serial_path` tells.
                        _ if line.starts_with("char device redirected") => {}
                        _ => eprintln!("qemu: {line}"),
                    }
                }
            });
        }
        // From here on, dropped, it ends.
        let mut device = Self {
            monitor: Monitor::connect(&monitor, &mut qemu)?,
            qemu,
            console,
            log,
            counts,
            ports: VecDeque::new(),
            serial: None,
            _dir: dir,
        };
        if options.serial {
            device.serial = Some(device.monitor.pty()?);
        } else {
            let networks = device.monitor.ask("info usernet")?;
            device.ports = networks
                .lines()
                .filter_map(|line| line.split_once("127.0.0.1 "))
                .filter_map(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
                .collect();
            if device.ports.len() != 1 + usize::from(options.elsewhere) {
                return Err(failed("QEMU forwards other ports", &networks));
            }
        }
        if options.elsewhere {
            device.monitor.ask("set_link elsewhere off")?;
        }
        device.monitor.ask("cont")?;
        Ok(device)
    }

    /// Where this machine reaches the device's port, in the network where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let port = self.ports.front().copied().unwrap_or_default();
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()
    }

    /// The pseudo-terminal at the other end of its second serial port, where there is one.
    #[must_use]
    pub fn serial_path(&self) -> Option<&Path> {
        self.serial.as_deref()
    }

    /// Presses its reset button.
    ///
    /// # Errors
    /// Where QEMU does not answer.
    pub fn reset(&mut self) -> Result<(), Error> {
        let reset = json!({"execute": "system_reset"});
        self.monitor.execute(&reset).map(drop)
    }

    /// The next line of its log, if one comes in time.
    pub fn log(&mut self, timeout: Duration) -> Option<String> {
        self.log.recv_timeout(timeout).ok()
    }

    /// Waits for a line of its log that contains `text`.
    ///
    /// # Errors
    /// The last lines that came instead, where that took too long or the device ended.
    pub fn wait_for(&mut self, text: &str) -> Result<String, Error> {
        let start = Instant::now();
        let mut seen = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            match self.log.recv_timeout(left) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(line) => {
                    seen.truncate(20);
                    seen.insert(0, line);
                }
                Err(error) => {
                    let why = match error {
                        RecvTimeoutError::Timeout => "not in time",
                        RecvTimeoutError::Disconnected => "QEMU has ended",
                    };
                    return Err(Error(format!(
                        "no '{text}' in the device's log ({why}): {seen:#?}"
                    )));
                }
            }
        }
    }

    /// The next count of instructions, if one comes in time.
    pub fn count(&mut self, timeout: Duration) -> Option<u64> {
        self.counts.recv_timeout(timeout).ok()
    }

    /// Sends a line to its console.
    ///
    /// # Errors
    /// Where QEMU has ended.
    pub fn send(&mut self, line: &str) -> Result<(), Error> {
        let console = self.console.as_mut();
        console
            .ok_or_else(|| Error("the console is closed".into()))?
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| Error(format!("the device's console: {error}")))
    }

    /// Plugs the network's cable in, or pulls it out.
    ///
    /// # Errors
    /// Where QEMU does not answer.
    pub fn set_link(&mut self, up: bool) -> Result<(), Error> {
        let link = if up { "on" } else { "off" };
        self.monitor
            .ask(&format!("set_link cable {link}"))
            .map(drop)
    }

    /// Pulls the network's cable out, and plugs it in [elsewhere](Options::elsewhere): there the
    /// device has an address in 10.0.3.0/24. To be done once.
    ///
    /// # Errors
    /// Where QEMU does not answer, or there is no such network.
    pub fn move_cable(&mut self) -> Result<(), Error> {
        if self.ports.len() < 2 {
            return Err(Error("there is no other network to move to".into()));
        }
        self.set_link(false)?;
        self.monitor.ask("set_link here off")?;
        self.monitor.ask("set_link elsewhere on")?;
        self.ports.pop_front();
        self.set_link(true)
    }

    /// Whether QEMU still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.qemu.try_wait(), Ok(None))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// QEMU's arguments for the network behind the cable. With two networks the cable leads to a hub
/// between them, of which one is switched off.
fn networks(options: &Options) -> Vec<String> {
    if options.serial {
        return vec!["-nic".into(), "none".into()];
    }
    let network = |name: &str, own: &str| {
        let (port, to) = (options.host_port, options.guest_port);
        format!("user,id={name},{own}hostfwd=tcp:127.0.0.1:{port}-:{to}")
    };
    let networks = if options.elsewhere {
        vec![
            network("here", ""),
            "hubport,id=hub-here,hubid=0,netdev=here".into(),
            network("elsewhere", "net=10.0.3.0/24,"),
            "hubport,id=hub-elsewhere,hubid=0,netdev=elsewhere".into(),
            "hubport,id=cable,hubid=0".into(),
        ]
    } else {
        vec![network("cable", "")]
    };
    let nic = ["-net", "nic,model=lan9118,netdev=cable"].map(String::from);
    let arguments = networks
        .into_iter()
        .flat_map(|network| ["-netdev".into(), network]);
    nic.into_iter().chain(arguments).collect()
}

/// Turns what defmt wrote to lines: `LEVEL text`. What is damaged is passed over.
fn decode(mut output: ChildStdout, table: &Table, log: &mpsc::Sender<String>) {
    let mut decoder = table.new_stream_decoder();
    let mut bytes = [0; 1024];
    while let Ok(n @ 1..) = output.read(&mut bytes) {
        decoder.received(bytes.get(..n).unwrap_or_default());
        loop {
            match decoder.decode() {
                Ok(frame) => {
                    let level = frame.level().map_or("", |level| level.as_str());
                    let line = format!("{level} {}", frame.display_message());
                    if log.send(line).is_err() {
                        return;
                    }
                }
                Err(DecodeError::Malformed) => {}
                Err(DecodeError::UnexpectedEof) => break,
            }
        }
    }
}

/// QEMU's monitor (QMP).
struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    fn connect(path: &Path, qemu: &mut Child) -> Result<Self, Error> {
        let start = Instant::now();
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error)
                    if start.elapsed() > PATIENCE || !matches!(qemu.try_wait(), Ok(None)) =>
                {
                    let _ = qemu.kill();
                    return Err(Error(format!("QEMU's monitor: {error}")));
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let mut monitor = Self {
            stream: BufReader::new(stream),
        };
        monitor.answer("QMP")?;
        monitor.execute(&json!({"execute": "qmp_capabilities"}))?;
        Ok(monitor)
    }

    /// Gives the monitor for people a command.
    fn ask(&mut self, command: &str) -> Result<String, Error> {
        let answer = self.execute(&json!({
            "execute": "human-monitor-command",
            "arguments": {"command-line": command},
        }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// The path of the only serial port that is a pseudo-terminal.
    fn pty(&mut self) -> Result<PathBuf, Error> {
        let devices = self.execute(&json!({"execute": "query-chardev"}))?;
        let mut names = devices.as_array().into_iter().flatten();
        names
            .find_map(|device| device.get("filename")?.as_str()?.strip_prefix("pty:"))
            .map(PathBuf::from)
            .ok_or_else(|| Error(format!("QEMU has made no pseudo-terminal: {devices}")))
    }

    fn execute(&mut self, command: &Value) -> Result<Value, Error> {
        self.stream
            .get_mut()
            .write_all(format!("{command}\n").as_bytes())
            .map_err(|error| Error(format!("QEMU's monitor: {error}")))?;
        self.answer("return")
    }

    /// The next line that has this member; others are events.
    fn answer(&mut self, member: &str) -> Result<Value, Error> {
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Ok(1..) => {}
                Ok(0) => return Err(Error("QEMU's monitor has closed".into())),
                Err(error) => return Err(Error(format!("QEMU's monitor: {error}"))),
            }
            let mut answer: Value = serde_json::from_str(&line)
                .map_err(|error| Error(format!("QEMU's monitor: {error}: {line}")))?;
            if answer.get("error").is_some() {
                return Err(Error(format!("QEMU's monitor: {line}")));
            }
            if let Some(value) = answer.get_mut(member) {
                return Ok(value.take());
            }
        }
    }
}
