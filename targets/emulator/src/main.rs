//! `targets/mps2/run`: see there.

use std::{
    env, fs,
    io::{self, BufRead},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use fedmsg_core::provision::{Bus, Provision};
use fedmsg_emulator::{Device, Error, HOST, Options, TimeServer, image, size};

const USAGE: &str = "usage: targets/mps2/run build [IMAGE] | run NAME.device [PORT] | \
                     provision NAME.device IMAGE | test | size [--check]";

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["build"] => build("device"),
        ["build", image] => build(image),
        ["provision", blob, out] => provision(blob, Path::new(out)),
        ["run", blob] => run(blob, "9940"),
        ["run", blob, port] => run(blob, port),
        ["size"] => measure(false),
        ["size", "--check"] => measure(true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("targets/mps2/run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(name: &str) -> Result<(), Error> {
    image::build(&image::named(name)?).map(|path| println!("{}", path.display()))
}

fn provision(blob: &str, out: &Path) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error(format!("{blob}: {error}"));
    let bytes = fs::read(blob).map_err(|error| failed(&error))?;
    let own = Provision::parse(&bytes).map_err(|error| failed(&error))?;
    let image = match own.bus {
        Bus::Serial => image::SERIAL,
        Bus::Listen(_) | Bus::Connect(_) => image::DEVICE,
    };
    image::provision(&image::build(&image)?, &bytes, out)
}

fn measure(check: bool) -> Result<(), Error> {
    match size::measure(check)?.as_slice() {
        [] => Ok(()),
        complaints => Err(Error(complaints.join("; "))),
    }
}

/// Runs a device until its console ends, or it. Where it asks this machine for the time, it is told.
fn run(blob: &str, port: &str) -> Result<(), Error> {
    let host_port = port
        .parse()
        .map_err(|_| Error(format!("{port} is no port")))?;
    let dir = tempfile::tempdir().map_err(|error| Error(format!("a temporary folder: {error}")))?;
    let image = dir.path().join("image");
    provision(blob, &image)?;
    let bytes = fs::read(blob).map_err(|error| Error(format!("{blob}: {error}")))?;
    let own = Provision::parse(&bytes).map_err(|error| Error(format!("{blob}: {error}")))?;
    let mut options = Options {
        host_port,
        serial: own.bus == Bus::Serial,
        ..Options::default()
    };
    if let Bus::Listen(port) = own.bus {
        options.guest_port = port;
    }
    if !options.serial {
        // QEMU would say so, too, in its own words.
        let taken = |error| {
            Error(format!(
                "port {port}: {error}; give another: run {blob} PORT"
            ))
        };
        TcpListener::bind((Ipv4Addr::LOCALHOST, host_port)).map_err(taken)?;
    }
    let asked = own.time_server;
    let _time = if *asked.ip() == HOST {
        let port = asked.port();
        let failed = |error| {
            Error(format!(
                "a time server on port {port}: {error}; another device's `run` may answer there: \
                 issue this one with another port of --time-server"
            ))
        };
        Some(TimeServer::start(port).map_err(failed)?)
    } else {
        None
    };
    let mut device = Device::boot(&image, &options)?;
    match device.serial_path() {
        Some(path) => println!("a bridge is awaited on {}", path.display()),
        None => println!("subscribers are awaited on {}", device.address()),
    }

    let (line, lines) = mpsc::channel();
    thread::spawn(move || {
        let typed = io::stdin().lock().lines().map_while(Result::ok);
        typed
            .take_while(|text| line.send(text.clone()).is_ok())
            .count()
    });
    while device.is_running() {
        match lines.try_recv() {
            Ok(text) => device.send(&text)?,
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
        }
        if let Some(line) = device.log(Duration::from_millis(50)) {
            println!("{line}");
        }
    }
    Err(Error("QEMU has ended".into()))
}
