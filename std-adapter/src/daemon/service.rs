//! A daemon as a service: signals, systemd and the status socket.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use super::{Counters, Error, Monitoring, Running, status::Status};

/// Runs a daemon as this process's service until SIGINT or SIGTERM [stops](Running::stop) it; a
/// second one ends the process at once. SIGHUP has `reload` reload what can be.
///
/// Tells systemd, if that started it (`Type=notify` or `notify-reload`): that it is ready, reloads
/// and stops, and, where `WatchdogSec` is set, that messages are still being passed on. Tells its
/// status every 5 s to who listens at `monitoring`; where that cannot be bound the daemon runs
/// without, with a warning.
///
/// # Errors
/// [`Error::Signals`]; [`Error::Transport`] if the daemon ended by itself.
pub fn serve(
    running: Running,
    monitoring: Option<&Monitoring>,
    mut reload: impl FnMut(),
) -> Result<Counters, Error> {
    let name = running.kind().name;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Error::Signals)?;
    let handle = signals.handle();
    let (sender, received) = mpsc::channel();
    // Ends when the handle is closed.
    let listener = thread::spawn(move || {
        let mut stopping = false;
        for signal in &mut signals {
            if signal != SIGHUP && std::mem::replace(&mut stopping, true) {
                // It ends the process, whatever it returns.
                let _ = emulate_default_handler(signal);
            }
            let _ = sender.send(signal);
        }
    });
    let mut status = monitoring.and_then(|monitoring| match Status::bind(monitoring) {
        Ok(status) => Some(status),
        Err(error) => {
            log::warn!("{name}: runs without a status socket: {error}");
            None
        }
    });
    let watchdog = sd_notify::watchdog_enabled();
    let turn = watchdog.map_or(TURN, |interval| TURN.min(interval / 4));
    let (mut told, mut turns) = (Instant::now(), running.turns());
    tell(&[NotifyState::Ready]);
    loop {
        match received.recv_timeout(turn) {
            Ok(SIGHUP) => {
                // systemd wants to hear both at once.
                let since = NotifyState::monotonic_usec_now().ok();
                tell(&Vec::from_iter(
                    [NotifyState::Reloading].into_iter().chain(since),
                ));
                reload();
                tell(&[NotifyState::Ready]);
            }
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if running.has_ended() {
            break;
        }
        if watchdog.is_some() && running.turns() != turns {
            turns = running.turns();
            tell(&[NotifyState::Watchdog]);
        }
        if told.elapsed() >= FREQUENCY {
            told = Instant::now();
            if let Some(status) = &mut status {
                status.send(&running);
            }
        }
    }
    log::info!("{name}: stopping");
    tell(&[NotifyState::Stopping]);
    let stopped = running.stop();
    handle.close();
    // It only listened.
    let _ = listener.join();
    let counters = stopped?;
    log::info!(
        "{name}: messages handed on: {}; refused: {}; dropped for slow subscribers: {}",
        counters.forwarded,
        counters.all_refused(),
        counters.dropped,
    );
    Ok(counters)
}

/// Where nobody listens, nothing happens; where telling fails, systemd will say so.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// How often the status is told: what the peer's `fedmsg-check` waits for, up to 10 s.
pub(super) const FREQUENCY: Duration = Duration::from_secs(5);
/// How often the service is looked at.
const TURN: Duration = Duration::from_secs(1);
